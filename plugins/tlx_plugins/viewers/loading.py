"""A dataset and its predictions into FiftyOne's database.

Documents are written straight into the sample collection, some fifty times faster than
FiftyOne's ``add_samples``. That uses private names of FiftyOne (all of them are in this module), so
the first document is compared with one that FiftyOne writes itself; where they differ, everything
goes through ``add_samples``, slowly.

A loaded dataset is never changed afterwards: its name holds a fingerprint of all that went in, and
other input makes another dataset. What a user marked in the App thus cannot be overwritten.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.errors import DataError, UsageError, nearest
from tlx.mistakes import Mistakes, find_mistakes
from tlx_plugins.viewers.documents import LABEL_FIELDS, DocumentMaker
from tlx_plugins.viewers.evaluation_run import begin_runs, finish_runs
from tlx_plugins.viewers.findings import Findings
from tlx_plugins.viewers.layout import OBJECT_FIELDS, Attribute, Kind, Layout, survey
from tlx_plugins.viewers.views import (
    MISTAKES,
    configure_app,
    dataset_views,
    mistake_views,
    save_views,
)

if TYPE_CHECKING:
    from tlx.dataset import Dataset

LOADER_VERSION = 2
"""Raised whenever the same input makes other documents."""

_BATCH = 1000
_VARYING = ("_id", "_rand", "_dataset_id", "created_at", "last_modified_at")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be shown; see the viewer's options."""

    split: str | None = None
    limit: int | None = None
    score_threshold: float = 0.3
    iou: float = 0.5
    small_height: float = 16.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A dataset in FiftyOne.

    Attributes:
        name: Its name there.
        images: Its samples.
        views: Saved views: their names, and the part of the URL that opens each.
        first: The view to begin with if none is asked for; None for the whole dataset.
        reused: It was in the database already.
        notes: Sentences for the user on what could not be shown.
    """

    name: str
    images: int
    views: Mapping[str, str]
    first: str | None
    reused: bool
    notes: tuple[str, ...] = ()

    def opening(self, wanted: str | None) -> str | None:
        """The part of the URL for the view to begin with, None for the whole dataset.

        Raises:
            UsageError: If there is no view of that name.
        """
        if wanted is None:
            return None if self.first is None else self.views[self.first]
        if wanted == "all":
            return None
        for name, slug in self.views.items():
            if wanted.lower() in (name, slug):
                return slug
        raise UsageError(
            f"there is no view {wanted!r}.", hint=nearest(wanted, ["all", *self.views])
        )


def load(
    dataset: Dataset, predictions: Path | None, choice: Choice, say: Callable[[str], None]
) -> Loaded:
    """Load a dataset, or find it loaded.

    Args:
        dataset: The dataset.
        predictions: A predictions file made on it.
        choice: What of it.
        say: Takes a line about what is being done.

    Raises:
        UsageError: The split has no images, or a threshold is out of range.
        DataError: The predictions do not fit the dataset, or no image file is there.
    """
    import fiftyone as fo

    identity = _fingerprint(dataset, predictions, choice)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", dataset.path.resolve().stem).strip("-") or "dataset"
    name = f"{stem}-{identity[:8]}"
    if fo.dataset_exists(name):
        earlier = fo.load_dataset(name)
        state = earlier.info.get("tlx", {})
        if state.get("fingerprint") == identity:
            first, notes = state["first"], tuple(state["notes"])
            return Loaded(name, len(earlier), state["views"], first, True, notes)
        # Loading it was interrupted, so nobody has seen or marked it.
        fo.delete_dataset(name)
    findings = None
    if predictions is not None:
        say("matching predictions")
        mistakes = find_mistakes(
            dataset, predictions, choice.split, choice.iou, choice.score_threshold
        )
        findings = Findings(mistakes, choice.small_height)
    elif choice.split is not None:
        dataset.require_split(choice.split)
    layout = survey(dataset)
    target = fo.Dataset(name, persistent=True)
    _declare(target, layout, judged=findings is not None)
    runs = {} if findings is None else begin_runs(target, findings)
    maker = DocumentMaker(layout, target._doc.id, datetime.now(UTC).replace(tzinfo=None))  # noqa: SLF001
    image_ids = _insert(target, dataset, choice, findings, maker, say)
    notes = _notes(maker, layout, len(image_ids), findings)
    say("saving views")
    views = dataset_views(target, layout)
    first = None
    if findings is not None:
        first = MISTAKES if len(findings.mistakes.worst_images) else None
        finish_runs(target, runs, findings, image_ids)
        sure = {"score_threshold": choice.score_threshold, "small_height": choice.small_height}
        views = [*mistake_views(target, **sure), *views]
    slugs = save_views(target, views)
    configure_app(target, dataset.taxonomy, layout, judged=findings is not None)
    target.info["tlx"] = {
        "fingerprint": identity,
        "views": slugs,
        "first": first,
        "notes": list(notes),
    }
    target.save()
    return Loaded(name, len(image_ids), slugs, first, False, notes)


def known_files() -> set[str]:
    """The image files of all datasets in the database: what the server may give out."""
    import fiftyone as fo

    files: set[str] = set()
    for name in fo.list_datasets():
        files.update(fo.load_dataset(name).values("filepath"))
    return files


def _fingerprint(dataset: Dataset, predictions: Path | None, choice: Choice) -> str:
    import fiftyone as fo

    content = None
    if predictions is not None and predictions.is_file():
        with predictions.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    parts = [LOADER_VERSION, fo.__version__, dataset.fingerprint, str(dataset.media_root), content]
    options = {name: getattr(choice, name) for name in Choice.__dataclass_fields__}
    return hashlib.sha256(json.dumps([parts, options]).encode()).hexdigest()


def _declare(target: Any, layout: Layout, *, judged: bool) -> None:
    """Declare every field, so that FiftyOne knows its type before the first sample."""
    import fiftyone as fo

    kinds: dict[Kind, Any] = {
        "text": fo.StringField,
        "integer": fo.IntField,
        "real": fo.FloatField,
        "flag": fo.BooleanField,
    }

    def add(path: str, kind: Kind) -> None:
        target.add_sample_field(path, kinds[kind])

    target.media_type = "image"
    for path, kind in _sample_fields(layout, judged):
        add(path, kind)
    boxes = [("ground_truth", fo.Detections)] + [("predictions", fo.Detections)] * judged
    tags = [(LABEL_FIELDS[state], fo.Classifications) for state in layout.labels]
    drawn: list[tuple[str, Any]] = [("outlines", fo.Polylines)] * layout.outlines
    drawn += [("keypoints", fo.Keypoints)] * layout.keypoints
    for path, document in (*boxes, *drawn, *sorted(tags)):
        target.add_sample_field(path, fo.EmbeddedDocumentField, embedded_doc_type=document)
    for path, _ in boxes:
        add(f"{path}.detections.height_px", "real")
        if judged:
            add(f"{path}.detections.confused_with", "text")
    add("ground_truth.detections.object_index", "integer")
    if layout.outlines:
        add("outlines.polylines.object_index", "integer")
    if layout.keypoints:
        add("keypoints.keypoints.object_index", "integer")
    for name in layout.object_fields:
        field, kind = OBJECT_FIELDS[name]
        add(f"ground_truth.detections.{field}", kind)
    for attribute in layout.object_attributes.values():
        add(f"ground_truth.detections.{attribute.name}", attribute.kind)


def _sample_fields(layout: Layout, judged: bool) -> Iterator[tuple[str, Kind]]:
    yield from (("image_id", "text"), ("split", "text"), ("objects", "integer"))
    yield "smallest_height", "real"
    if layout.groups:
        yield "group", "text"
    if layout.frames:
        yield "frame", "integer"
    if judged:
        yield from ((name, "integer") for name in ("mistakes", "confused", "missed_small"))
        yield from ((name, "real") for name in ("hardness", "lowest_correct"))
    attributes: Mapping[str, Attribute] = layout.image_attributes
    yield from ((attribute.name, attribute.kind) for attribute in attributes.values())


def _insert(
    target: Any,
    dataset: Dataset,
    choice: Choice,
    findings: Findings | None,
    maker: DocumentMaker,
    say: Callable[[str], None],
) -> list[str]:
    """Write the samples; returns the ids of the images in their order."""
    image_ids: list[str] = []
    trusted: bool | None = None
    part: list[dict[str, Any]] = []

    def flush() -> None:
        nonlocal trusted
        if part and trusted is None:
            trusted = is_native(target, max(part, key=lambda d: len(str(d))))
        if part:
            write(target, part, trusted=bool(trusted))
            part.clear()
            say(f"loaded {len(image_ids)} images")

    for document in _documents(dataset, choice, findings, maker):
        image_ids.append(document["image_id"])
        part.append(document)
        if len(part) == _BATCH:
            flush()
    flush()
    target.reload()
    return image_ids


def _documents(
    dataset: Dataset, choice: Choice, findings: Findings | None, maker: DocumentMaker
) -> Iterator[dict[str, Any]]:
    wanted = None if findings is None else _worst(findings.mistakes, choice.limit)
    left = choice.limit
    root = dataset.media_root
    for record in dataset.records(choice.split):
        if wanted is not None and record.image_id not in wanted:
            continue
        if wanted is None and left is not None:
            if left == 0:
                return
            left -= 1
        path = record.uri if "://" in record.uri else str(root / record.uri)
        found = None if findings is None else findings.of(record.image_id)
        yield maker.document(record, path, found)


def _worst(mistakes: Mistakes, limit: int | None) -> frozenset[str] | None:
    """The images with the most mistakes, and then others, as many as may be shown."""
    if limit is None:
        return None
    worst = [mistakes.image_ids[row] for row in mistakes.worst_images[:limit].tolist()]
    rest = [name for name in (*mistakes.image_ids, *mistakes.unpredicted) if name not in {*worst}]
    return frozenset([*worst, *rest[: limit - len(worst)]])


def write(target: Any, documents: list[dict[str, Any]], *, trusted: bool) -> None:
    """Write documents into a FiftyOne dataset, directly or through its own ``add_samples``."""
    if not trusted:
        target.add_samples([as_sample(document) for document in documents], progress=False)
        return
    import bson
    from bson.raw_bson import RawBSONDocument

    raw = [RawBSONDocument(bson.encode(document)) for document in documents]
    target._sample_collection.insert_many(raw, ordered=True)  # noqa: SLF001


def is_native(target: Any, document: dict[str, Any]) -> bool:
    """Whether FiftyOne itself would write this document, apart from ids, dates and empty fields."""
    collection = target._sample_collection  # noqa: SLF001
    identity = target.add_sample(as_sample(document), validate=False)
    from bson import ObjectId

    native = collection.find_one({"_id": ObjectId(identity)})
    collection.delete_one({"_id": ObjectId(identity)})
    same_kind = all(type(native.get(name)) is type(document.get(name)) for name in _VARYING)
    return same_kind and _comparable(native) == _comparable(document)


def _comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    return {n: v for n, v in document.items() if n not in _VARYING and v is not None}


def as_sample(document: Mapping[str, Any]) -> Any:
    """The FiftyOne sample of a document, made with public constructors only."""
    import fiftyone as fo

    lists = {
        "Detections": (fo.Detections, fo.Detection, "detections"),
        "Classifications": (fo.Classifications, fo.Classification, "classifications"),
        "Polylines": (fo.Polylines, fo.Polyline, "polylines"),
        "Keypoints": (fo.Keypoints, fo.Keypoint, "keypoints"),
    }
    fields: dict[str, Any] = {}
    for name, value in document.items():
        if name.startswith("_") or name in _VARYING:
            continue
        kind = value.get("_cls") if isinstance(value, dict) else None
        if kind in lists:
            outer, inner, key = lists[kind]
            fields[name] = outer(**{key: [_label(inner, label) for label in value[key]]})
        elif kind == "ImageMetadata":
            fields[name] = fo.ImageMetadata(**{k: v for k, v in value.items() if k != "_cls"})
        else:
            fields[name] = value
    return fo.Sample(**fields)


def _label(kind: Any, label: Mapping[str, Any]) -> Any:
    from fiftyone.core.utils import deserialize_numpy_array

    values = {name: value for name, value in label.items() if not name.startswith("_")}
    if "mask" in values:
        values["mask"] = deserialize_numpy_array(values["mask"])
    return kind(id=label["_id"], **values)


def _notes(
    maker: DocumentMaker, layout: Layout, images: int, findings: Findings | None
) -> tuple[str, ...]:
    """What the user should know of the loaded images."""
    local = [path for path in maker.missing if "://" not in path]
    if images and len(local) == images:
        raise DataError(
            f"none of the {images} image files is there.",
            place=local[0],
            hint="Put the images there, or make the dataset again where they are.",
        )
    notes = []
    if local:
        notes.append(f"{len(local)} of {images} image files are not there; the first: {local[0]}")
    if layout.nothing_to_show:
        notes.append(f"{layout.nothing_to_show} objects have no place and are not shown")
    if findings is not None:
        mistakes = findings.mistakes
        if mistakes.unpredicted:
            count = len(mistakes.unpredicted)
            notes.append(f"{count} images are not in the predictions file and are not judged")
        if not len(mistakes.worst_images):
            notes.append(
                f"no mistake in {len(mistakes.image_ids)} judged images, "
                "so the whole dataset is shown"
            )
    return tuple(notes)
