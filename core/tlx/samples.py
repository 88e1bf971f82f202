"""The images and boxes of one split, cleaned so that no loss ever meets a degenerate box.

Every backend learns from the same boxes.

Policy: crowd boxes are not trained on (in validation they are crowds, so finding them is neither
right nor wrong); difficult, truncated and occluded objects are trained on like any other. Boxes
are cut to the image. What has no box, or no area within the image, is left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError
from tlx.issues import Issue
from tlx.media import image_size
from tlx.model import Box, Object, Record

_FIRST_PLACES = 3
# Narrower boxes come from rounding; no detector can learn a place from them.
_SMALLEST_SIDE = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a split.

    Attributes:
        image_id: The record's id.
        path: The image file.
        size: Width and height as the dataset states them, or as the file's header does; None
            where neither can be known, and then the image cannot be decoded either.
        boxes: float32 [n, 4], xmin, ymin, xmax, ymax in stored pixels, within the image.
        classes: int64 [n], class indices.
        crowd: bool [n].
    """

    image_id: str
    path: str
    size: tuple[int, int] | None
    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Samples:
    """A split: its images in the dataset's order, and what was left out of it."""

    split: str
    items: tuple[Sample, ...]
    dropped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.items)


def load_samples(dataset: Dataset, split: str, context: Context) -> Samples:
    """Read one split of a dataset.

    Raises:
        UsageError: If the split has no images.
        DataError: If image files are missing, under the policy ``fail``: how many, and the first.
    """
    dataset.require_split(split)
    index = dataset.taxonomy.index()
    dropped: Counter[str] = Counter()
    items = [
        _sample(record, dataset.image_path(record.uri), index, dropped)
        for record in dataset.records(split)
    ]
    missing = {item.path for item in items if not Path(item.path).is_file()}
    if missing:
        _report_missing(missing, items, dataset, context)
        items = [item for item in items if item.path not in missing]
    if not items:
        raise DataError(
            f"none of the images of the split {split!r} is there.",
            place=dataset.media_root,
            hint="Put the images where the dataset's media root says, or ingest again.",
        )
    return Samples(split, tuple(items), dict(dropped))


def size_of(record: Record, path: Path) -> tuple[int, int] | None:
    """Width and height in pixels as the record states them, or as the file's header does."""
    if record.width is not None and record.height is not None:
        return record.width, record.height
    return image_size(path)


def usable_objects(
    record: Record, size: tuple[int, int] | None, dropped: Counter[str]
) -> Iterator[tuple[Object, Box]]:
    """The objects of a record that have a box to learn from, with the box cut to the image.

    Args:
        record: An image with its objects.
        size: Its width and height in pixels, None where they are not known.
        dropped: Counts what is left out, by reason.
    """
    for item in record.objects:
        box = item.box
        if box is None:
            dropped["no box"] += 1
            continue
        if not np.isfinite((box.xmin, box.ymin, box.xmax, box.ymax)).all():
            dropped["not finite"] += 1
            continue
        if box.width <= 0 or box.height <= 0:
            dropped["no area"] += 1
            continue
        cut = box if size is None else box.clip(*size)
        if size is not None and (cut.width < _SMALLEST_SIDE or cut.height < _SMALLEST_SIDE):
            dropped["outside the image or too thin"] += 1
            continue
        yield item, cut


def _sample(record: Record, path: Path, index: Mapping[str, int], dropped: Counter[str]) -> Sample:
    size = size_of(record, path)
    kept = list(usable_objects(record, size, dropped))
    boxes = [(box.xmin, box.ymin, box.xmax, box.ymax) for _, box in kept]
    classes = [index[item.category] for item, _ in kept]
    crowd = [bool(item.crowd) for item, _ in kept]
    return Sample(
        image_id=record.image_id,
        path=str(path),
        size=size,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        classes=np.array(classes, dtype=np.int64),
        crowd=np.array(crowd, dtype=np.bool_),
    )


def _report_missing(
    missing: set[str], items: list[Sample], dataset: Dataset, context: Context
) -> None:
    paths = sorted(missing)
    if context.issues.policy == "fail":
        first = ", ".join(paths[:_FIRST_PLACES])
        raise DataError(
            f"{len(paths)} of {len(items)} images are missing, the first: {first}.",
            place=dataset.path,
            hint="Put them there, or go on without them: --on-error skip",
        )
    for path in paths:
        context.issues.report(Issue("missing-image", "the image file is missing.", path=path))
