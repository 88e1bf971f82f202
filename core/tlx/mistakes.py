"""Where a network is wrong: a dataset and a predictions file joined, matched, and told apart.

A detection is right when it overlaps an object of its own class that no better detection has
taken (COCO's greedy assignment, `tlx.evaluation`). What is left over is a mistake::

    false positive   a detection at or above the score threshold that found nothing
    miss             an object that no detection at or above the score threshold found
    confusion        a miss and a false positive of another class that overlap: the network saw
                     the object and called it something else

Crowds are neither missed nor confused, and what falls into them is not false.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.errors import DataError, Place, UsageError, nearest
from tlx.thresholds import Thresholds, threshold_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from tlx.dataset import Dataset
    from tlx.evaluation import Detections, GroundTruth, Matches
    from tlx.evaluation.boxes import Booleans, Floats, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Mistakes:
    """The judged images of a dataset with everything right and wrong in them.

    I images, K classes, G objects, D detections. Boxes are absolute pixels, half open.

    Attributes:
        image_ids: The judged images, sorted: those of the split that the predictions file has a
            row for, be it an empty one.
        unpredicted: Image ids of the split that the predictions file does not mention, sorted.
            They are not judged.
        class_names: The K names of the dataset's taxonomy, in order.
        objects: The boxes of the judged images, by image and then in the order of the record.
        object_index: int64[G], place of each box in its record's ``objects``. Objects without a
            box are not in the arrays.
        detections: The detections of the judged images, by image and then in the order of the
            file, those below the score threshold too.
        detection_index: int64[D], place of each one in its prediction's ``detections``.
        matches: The assignment within each class, of the detections that are judged.
        confusions: int64[C, 2], rows of a missed object and of the false positive on it.
        iou: The overlap that a match needs.
        score_threshold: The score that a detection needs to be judged, one or per class.
    """

    image_ids: tuple[str, ...]
    unpredicted: tuple[str, ...]
    class_names: tuple[str, ...]
    objects: GroundTruth
    object_index: Integers
    detections: Detections
    detection_index: Integers
    matches: Matches
    confusions: Integers
    iou: float
    score_threshold: Thresholds

    @property
    def true_positive(self) -> Booleans:
        """bool[D]: judged, and found an object of its class."""
        from tlx.evaluation import Status

        flags: Booleans = self.matches.status == Status.TRUE_POSITIVE
        return flags

    @property
    def false_positive(self) -> Booleans:
        """bool[D]: judged, and found nothing."""
        from tlx.evaluation import Status

        flags: Booleans = self.matches.status == Status.FALSE_POSITIVE
        return flags

    @property
    def found(self) -> Booleans:
        """bool[G]: a judged detection of its class found it; crowds are never found."""
        flags: Booleans = (self.matches.detection >= 0) & ~self.objects.crowd
        return flags

    @property
    def missed(self) -> Booleans:
        """bool[G]: no judged detection of its class found it, and it is no crowd."""
        flags: Booleans = (self.matches.detection < 0) & ~self.objects.crowd
        return flags

    @property
    def false_positives_per_image(self) -> Integers:
        """int64[I]."""
        return self._per_image(self.detections.image[self.false_positive])

    @property
    def true_positives_per_image(self) -> Integers:
        """int64[I]."""
        return self._per_image(self.detections.image[self.true_positive])

    @property
    def misses_per_image(self) -> Integers:
        """int64[I]."""
        return self._per_image(self.objects.image[self.missed])

    @property
    def confusions_per_image(self) -> Integers:
        """int64[I]."""
        return self._per_image(self.objects.image[self.confusions[:, 0]])

    @property
    def worst_images(self) -> Integers:
        """int64[W]: the images with a mistake; most mistakes first, then by image id."""
        import numpy as np

        count = self.false_positives_per_image + self.misses_per_image
        order = np.argsort(-count, kind="stable")
        rows: Integers = order[count[order] > 0]
        return rows

    def confused_classes(self) -> list[tuple[str, str, int]]:
        """Each pair of classes that was confused as (labelled, predicted, how often).

        The most frequent come first, equals in the order of the taxonomy.
        """
        rows = self.confusions
        labelled = self.objects.category[rows[:, 0]].tolist()
        predicted = self.detections.category[rows[:, 1]].tolist()
        counts = Counter(zip(labelled, predicted, strict=True))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [(self.class_names[a], self.class_names[b], count) for (a, b), count in ranked]

    def _per_image(self, image: Integers) -> Integers:
        import numpy as np

        return np.bincount(image, minlength=len(self.image_ids)).astype(np.int64)


def find_mistakes(
    dataset: Dataset,
    predictions: Path,
    split: str | None = None,
    iou: float = 0.5,
    score_threshold: Thresholds = 0.3,
) -> Mistakes:
    """Join a dataset with a predictions file and find what the network did wrong.

    Args:
        dataset: The dataset that the predictions were made on.
        predictions: A predictions file (`tlx.predictions`); one row per image that was looked at.
        split: Judge the images of this split only; the file may hold others.
        iou: Overlap that a match needs, above 0 and up to 1.
        score_threshold: Score that a detection needs to be judged, one or by class name.

    Returns:
        The boxes as arrays, their matches and mistakes. All boxes are in memory at once, about
        100 bytes each.

    Raises:
        UsageError: The split has no images, or a threshold is out of range.
        DataError: The predictions name an image or a class that the dataset lacks, name an image
            twice, or a box is inverted or not finite.
    """
    from tlx.evaluation import match

    if not 0 < iou <= 1:
        raise UsageError(f"the IoU threshold must be above 0 and at most 1, not {iou:g}.")
    limits = threshold_array(dataset.taxonomy.names, score_threshold)
    for limit in limits:
        if not 0 <= limit <= 1:
            raise UsageError(f"the score threshold must be from 0 to 1, not {limit:g}.")
    if split is not None:
        dataset.require_split(split)
    membership = _membership(dataset, split)
    found = _read_predictions(dataset, predictions, membership)
    image_ids = tuple(sorted(found.image_ids))
    index = {image_id: place for place, image_id in enumerate(image_ids)}
    objects, object_index = _objects(dataset, index)
    detections, detection_index = _detections(dataset, predictions, found, index)
    matches = match(objects, detections, iou_threshold=iou, score_threshold=limits or 0.0)
    unpredicted = (name for name, inside in membership.items() if inside and name not in index)
    return Mistakes(
        image_ids=image_ids,
        unpredicted=tuple(sorted(unpredicted)),
        class_names=dataset.taxonomy.names,
        objects=objects,
        object_index=object_index,
        detections=detections,
        detection_index=detection_index,
        matches=matches,
        confusions=_confusions(objects, detections, matches, iou),
        iou=iou,
        score_threshold=score_threshold,
    )


def _confusions(
    objects: GroundTruth, detections: Detections, matches: Matches, iou: float
) -> Integers:
    """Match what is left over on both sides across classes: int64[C, 2]."""
    import numpy as np

    from tlx.evaluation import Status, match

    missed = np.flatnonzero((matches.detection < 0) & ~objects.crowd)
    false = np.flatnonzero(matches.status == Status.FALSE_POSITIVE)
    pairs = match(
        _rows(objects, missed), _rows(detections, false), iou_threshold=iou, class_agnostic=True
    )
    took = pairs.ground_truth >= 0
    rows = np.stack([missed[pairs.ground_truth[took]], false[took]], axis=1)
    ordered: Integers = rows[np.argsort(rows[:, 0], kind="stable")]
    return ordered


def _rows(boxes: Any, rows: Integers) -> Any:
    """Some rows of `GroundTruth` or `Detections`."""
    import dataclasses

    columns = {f.name: getattr(boxes, f.name) for f in dataclasses.fields(boxes)}
    return type(boxes)(**{n: None if c is None else c[rows] for n, c in columns.items()})


def _membership(dataset: Dataset, split: str | None) -> dict[str, bool]:
    """For each image of the dataset whether it is in the split."""
    inside: dict[str, bool] = {}
    for batch in dataset.batches(["image_id", "split"]):
        names = batch.column("image_id").to_pylist()
        splits = batch.column("split").to_pylist()
        inside.update((n, split is None or s == split) for n, s in zip(names, splits, strict=True))
    return inside


@dataclass(slots=True)
class _Found:
    """Columns of the detections, as they are read from the file."""

    image_ids: list[str]
    rows: list[tuple[str, int, str, float, float, float, float, float]]


def _read_predictions(dataset: Dataset, path: Path, membership: dict[str, bool]) -> _Found:
    from tlx.predictions import open_predictions

    found = _Found([], [])
    seen: set[str] = set()
    for prediction in open_predictions(path):
        image_id = prediction.image_id
        inside = membership.get(image_id)
        if inside is None:
            raise DataError(
                f"it holds predictions for the image {image_id!r}, which {dataset.path} lacks.",
                place=path,
                hint="Give the dataset that they were made on, or run tlx predict again.",
            )
        if image_id in seen:
            raise DataError(f"it holds the image {image_id!r} twice.", place=path)
        seen.add(image_id)
        if not inside:
            continue
        found.image_ids.append(image_id)
        for place, d in enumerate(prediction.detections):
            corners = (d.box.xmin, d.box.ymin, d.box.xmax, d.box.ymax)
            found.rows.append((image_id, place, d.category, *corners, d.score))
    return found


def _objects(dataset: Dataset, index: dict[str, int]) -> tuple[GroundTruth, Integers]:
    """The boxes of the judged images, sorted by image, and their places in the records."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from tlx.evaluation import GroundTruth
    from tlx.schema import flat_objects

    classes = pa.array(dataset.taxonomy.names, pa.string())
    columns: dict[str, list[npt.NDArray[Any]]] = {
        name: [] for name in ("image", "place", "category", "crowd", "box")
    }
    for batch in dataset.batches(["image_id", "objects"]):
        images = [index.get(name, -1) for name in batch.column("image_id").to_pylist()]
        parents, flat = flat_objects(batch)
        row = parents.to_numpy(zero_copy_only=False).astype(np.int64)
        image = np.array(images, dtype=np.int64)[row]
        box = flat.field("box")
        keep = (image >= 0) & box.is_valid().to_numpy(zero_copy_only=False)
        columns["image"].append(image[keep])
        columns["place"].append(_places(row)[keep])
        category = pc.index_in(flat.field("category"), value_set=classes)
        columns["category"].append(category.to_numpy(zero_copy_only=False)[keep].astype(np.int64))
        crowd = pc.fill_null(flat.field("crowd"), False)
        columns["crowd"].append(crowd.to_numpy(zero_copy_only=False)[keep].astype(np.bool_))
        corners = [box.field(n).to_numpy(zero_copy_only=False) for n in _CORNERS]
        columns["box"].append(np.stack(corners, axis=1)[keep])
    table = {
        name: np.concatenate(parts)
        if parts
        else np.zeros((0, 4) if name == "box" else 0, dtype=np.int64)
        for name, parts in columns.items()
    }
    order = np.argsort(table["image"], kind="stable")
    image = table["image"][order].astype(np.int64)
    names = sorted(index, key=index.__getitem__)
    box = table["box"][order].astype(np.float64)
    _require_boxes(box, image, names, dataset.path, "an object")
    objects = GroundTruth(
        image=image,
        category=table["category"][order].astype(np.int64),
        box=box,
        crowd=table["crowd"][order].astype(np.bool_),
    )
    return objects, table["place"][order].astype(np.int64)


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _places(row: Integers) -> Integers:
    """Place of each item within its row; ``row`` is ascending."""
    import numpy as np

    first = np.searchsorted(row, row, side="left")
    places: Integers = np.arange(len(row)) - first
    return places


def _detections(
    dataset: Dataset, path: Path, found: _Found, index: dict[str, int]
) -> tuple[Detections, Integers]:
    """The detections of the judged images, sorted by image, and their places in the file."""
    import numpy as np

    from tlx.evaluation import Detections

    classes = dataset.taxonomy.index()
    unknown = sorted({row[2] for row in found.rows} - set(classes))
    if unknown:
        raise DataError(
            f"it predicts the class {unknown[0]!r}, which {dataset.path} does not have.",
            place=path,
            hint=nearest(unknown[0], classes),
        )
    rows = sorted(found.rows, key=lambda row: index[row[0]])
    image = _integers(index[row[0]] for row in rows)
    numbers = np.array([row[3:] for row in rows], dtype=np.float64).reshape(-1, 5)
    names = sorted(index, key=index.__getitem__)
    _require_boxes(numbers, image, names, path, "a detection")
    detections = Detections(
        image=image,
        category=_integers(classes[row[2]] for row in rows),
        box=numbers[:, :4],
        score=numbers[:, 4],
    )
    return detections, _integers(row[1] for row in rows)


def _integers(values: Iterable[int]) -> Integers:
    import numpy as np

    return np.fromiter(values, dtype=np.int64)


def _require_boxes(
    numbers: Floats,
    image: Integers,
    image_ids: Sequence[str],
    path: Path,
    what: str,
) -> None:
    """Refuse boxes (and scores) that no overlap can be computed with, by the image's name."""
    import numpy as np

    finite = np.isfinite(numbers).all(axis=1)
    upright = (numbers[:, 2] >= numbers[:, 0]) & (numbers[:, 3] >= numbers[:, 1])
    bad = np.flatnonzero(~(finite & upright))
    if len(bad):
        row = int(bad[0])
        box = ", ".join(f"{value:g}" for value in numbers[row, :4])
        raise DataError(
            f"{what} of the image {image_ids[int(image[row])]!r} has no usable box ({box}).",
            place=Place(str(path)),
            hint="A box is xmin, ymin, xmax, ymax in pixels, with xmin <= xmax and ymin <= ymax.",
        )
