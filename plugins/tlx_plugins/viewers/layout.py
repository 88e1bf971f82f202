"""Which fields a dataset needs in FiftyOne, found on its columns before any document is made.

Fields are declared once with one type; FiftyOne cannot live with an attribute that is a whole
number in one object and a fraction in the next, so each attribute gets the widest type it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pyarrow.compute as pc

from tlx.model import AttributeValue
from tlx.schema import flat_objects

if TYPE_CHECKING:
    import pyarrow as pa

    from tlx.dataset import Dataset

Kind = Literal["text", "integer", "real", "flag"]

OBJECT_FIELDS: Mapping[str, tuple[str, Kind]] = {
    "object_id": ("object_id", "text"),
    "track": ("track", "text"),
    "rotation": ("rotation", "real"),
    "crowd": ("iscrowd", "flag"),
    "difficult": ("difficult", "flag"),
    "truncated": ("truncated", "flag"),
    "occluded": ("occluded", "flag"),
}
"""Fields of an object that are shown where any object states them, with their name in FiftyOne
(``iscrowd`` is the name that its evaluation looks for)."""

_SAMPLE_NAMES = frozenset(
    {
        *("id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "media_type"),
        *("image_id", "split", "group", "frame", "ground_truth", "predictions", "labels"),
        *("labels_absent", "labels_unsure", "objects", "smallest_height", "mistakes", "confused"),
        *(
            "outlines",
            "keypoints",
            "missed_small",
            "hardness",
            "lowest_correct",
            "eval_tp",
            "eval_fp",
            "eval_fn",
        ),
        *("confusion_tp", "confusion_fp", "confusion_fn", "filename", "dataset_id", "sample_id"),
    }
)
_OBJECT_NAMES = frozenset(
    {
        *("id", "tags", "attributes", "label", "bounding_box", "mask", "mask_path", "confidence"),
        *("index", "instance", "object_index", "height_px", "confused_with", "eval", "eval_id"),
        *("eval_iou", "confusion", "confusion_id", "confusion_iou", "has_mask"),
        *(name for name, _ in OBJECT_FIELDS.values()),
    }
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute as a field: its name there and the type that holds all of its values."""

    name: str
    kind: Kind

    def cast(self, value: AttributeValue) -> AttributeValue:
        """The value in the type of the field."""
        if self.kind == "real":
            return float(value)
        return str(value) if self.kind == "text" else value


@dataclass(frozen=True, slots=True)
class Layout:
    """What the images of a dataset state.

    Attributes:
        image_attributes: Attributes of images by their name in the dataset.
        object_attributes: Attributes of objects, likewise.
        object_fields: The names in `OBJECT_FIELDS` that some object states.
        groups: Some image belongs to a group.
        frames: Some image has a position in its group.
        labels: States of image-level labels that occur: True present, False absent, None unsure.
        outlines: Some object has polygons, a rotated box, or lines.
        keypoints: Some object has keypoints.
        nothing_to_show: Objects that have neither box nor anything else that was drawn.
    """

    image_attributes: Mapping[str, Attribute] = field(default_factory=dict)
    object_attributes: Mapping[str, Attribute] = field(default_factory=dict)
    object_fields: tuple[str, ...] = ()
    groups: bool = False
    frames: bool = False
    labels: frozenset[bool | None] = frozenset()
    outlines: bool = False
    keypoints: bool = False
    nothing_to_show: int = 0


def survey(dataset: Dataset) -> Layout:
    """Look through the columns of a dataset."""
    images: dict[str, set[Kind]] = {}
    objects: dict[str, set[Kind]] = {}
    stated: set[str] = set()
    labels: set[bool | None] = set()
    groups = frames = False
    nothing_to_show = 0
    outlines = keypoints = False
    for batch in dataset.batches(["group", "frame", "labels", "objects", "attributes"]):
        groups = groups or batch.column("group").null_count < batch.num_rows
        frames = frames or batch.column("frame").null_count < batch.num_rows
        _, flat = flat_objects(batch)
        outlined = _outlined(flat)
        pointed = pc.greater(pc.list_value_length(flat.field("keypoints")), 0)
        masked = flat.field("segmentation").field("counts").is_valid()
        outlines = outlines or bool(pc.any(outlined).as_py())
        keypoints = keypoints or bool(pc.any(pointed).as_py())
        drawn = pc.or_(pc.or_(outlined, pointed), pc.or_(masked, flat.field("box").is_valid()))
        nothing_to_show += int(pc.sum(pc.invert(drawn)).as_py() or 0)
        stated.update(n for n in OBJECT_FIELDS if flat.field(n).null_count < len(flat))
        _kinds(pc.list_flatten(batch.column("attributes")), images)
        _kinds(pc.list_flatten(flat.field("attributes")), objects)
        labels.update(pc.list_flatten(batch.column("labels")).field("present").unique().to_pylist())
    return Layout(
        image_attributes=_named(images, _SAMPLE_NAMES),
        object_attributes=_named(objects, _OBJECT_NAMES),
        object_fields=tuple(name for name in OBJECT_FIELDS if name in stated),
        groups=groups,
        frames=frames,
        labels=frozenset(labels),
        outlines=outlines,
        keypoints=keypoints,
        nothing_to_show=nothing_to_show,
    )


def _outlined(flat: pa.StructArray) -> pa.BooleanArray:
    """Which objects `tlx.outlines.lines_of` has lines for."""
    polygons = pc.list_value_length(flat.field("segmentation").field("polygons"))
    turned = pc.and_(flat.field("box").is_valid(), pc.not_equal(flat.field("rotation"), 0))
    return pc.or_(
        pc.or_(pc.fill_null(pc.greater(polygons, 0), False), pc.fill_null(turned, False)),
        flat.field("shape").is_valid(),
    )


def _kinds(flat: pa.StructArray, into: dict[str, set[Kind]]) -> None:
    """Note the types that each attribute has in a column of `tlx.schema.ATTRIBUTE`."""
    kinds: tuple[Kind, ...] = ("text", "integer", "real", "flag")
    for kind in kinds:
        held = flat.filter(flat.field(kind).is_valid())
        for name in held.field("name").unique().to_pylist():
            into.setdefault(name, set()).add(kind)


def _named(kinds: Mapping[str, set[Kind]], reserved: frozenset[str]) -> dict[str, Attribute]:
    """Give each attribute a name that FiftyOne accepts and that nothing else has."""
    taken = set(reserved)
    attributes: dict[str, Attribute] = {}
    for name in sorted(kinds):
        plain = re.sub(r"\W", "_", name).strip("_") or "attribute"
        while plain in taken:
            plain += "_"
        taken.add(plain)
        attributes[name] = Attribute(plain, _widest(kinds[name]))
    return attributes


def _widest(kinds: set[Kind]) -> Kind:
    if len(kinds) == 1:
        return next(iter(kinds))
    return "real" if kinds == {"integer", "real"} else "text"
