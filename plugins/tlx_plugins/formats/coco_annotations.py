"""Annotations of a COCO file as columns, with those apart that need a closer look.

An annotation of nearly every file is a category, a box, perhaps polygons and an area. Of these no
Python object is kept. Whatever else there is, or is wrong, is an *odd* one: it keeps the form in
which it was decoded, and `coco_object` makes of it what it can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw

from tlx.box_policy import faulty
from tlx.schema import BOX, OBJECT, SEGMENTATION
from tlx_plugins.formats.coco_file import CocoAnnotation
from tlx_plugins.formats.coco_object import MISFIT
from tlx_plugins.formats.coco_outline import as_float
from tlx_plugins.formats.coco_polygons import Flags, Floats, Integers, Polygons, parse
from tlx_plugins.formats.coco_positions import Ids, Outlines, Places, Positions, plain_id
from tlx_plugins.formats.coco_sections import (
    Annotations,
    BoxAnnotation,
    PlainAnnotation,
)

AREA_TOLERANCE = 1e-6
"""Share by which a stated area may differ from the computed one and count as the same."""

Marks = np.ndarray[Any, np.dtype[np.uint64]]
Crowds = np.ndarray[Any, np.dtype[np.int8]]

_NO_BOX = (np.nan,) * 4
_PART = 1 << 12
"""Annotations that are looked at together."""


@dataclass(slots=True)
class AnnotationTable:
    """All annotations of a file, numbered in its order; first they are added, then settled.

    Attributes:
        count: How many there are.
        odd: Annotations that need a closer look for what they are by themselves.
        strays: Image ids of annotations whose image the file does not have, by their number.
        order: Numbers of all annotations that have an image, in the order of the images.
        starts: Where those of each image begin in ``order``, and the end; length M + 1.
        is_odd: Which of them need a closer look, for whatever reason; flags like ``order``.
        crowded: Which images may have an annotation twice; flags [M]. Two that say the same have
            one category and one box, but for boxes that are still to be mended.
    """

    count: int = 0
    odd: dict[int, CocoAnnotation] = field(default_factory=dict)
    strays: dict[int, int | str] = field(default_factory=dict)
    order: Places = field(default_factory=lambda: np.zeros(0, np.int32))
    starts: Integers = field(default_factory=lambda: np.zeros(1, np.int64))
    is_odd: Flags = field(default_factory=lambda: np.zeros(0, bool))
    crowded: Flags = field(default_factory=lambda: np.zeros(0, bool))
    _outlines: Outlines = field(default_factory=Outlines)
    _columns: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    _settled: dict[str, Any] = field(default_factory=dict)
    _foreign: dict[int, int | str] = field(default_factory=dict)
    _class_ids: Ids = field(default_factory=list)

    def add(self, annotations: Annotations) -> None:
        """Take the next annotations of the file."""
        if not annotations:
            return
        boxes = _boxes(annotations)
        corners = _corners(boxes)
        areas = _areas(annotations)
        if isinstance(annotations[0], BoxAnnotation):
            misfit = np.zeros(len(annotations), bool)
            telling = _differs(areas, _box_areas(corners)) > 0
            self._outlines.add(None, len(annotations))
        else:
            polygons, strange = parse([bytes(a.segmentation) for a in annotations])  # type: ignore[union-attr]
            if not isinstance(annotations[0], PlainAnnotation):
                strange |= _manifold(annotations) | ~np.isfinite(boxes).all(axis=1)
            bounds = polygons.bounds()
            misfit = _misfit(corners, bounds)
            telling, doubtful = _kept_areas(areas, corners, polygons, bounds)
            for index in np.flatnonzero(strange | misfit | doubtful).tolist():
                self.odd[self.count + index] = _detached(annotations[index])  # type: ignore[arg-type]
            self._outlines.add(polygons.column() if len(polygons.values) else None, len(misfit))
        columns = {
            "images": _identifiers(annotations, "image_id"),
            "categories": _identifiers(annotations, "category_id"),
            "boxes": boxes,
            "areas": areas,
            "telling": telling,
            "misfit": misfit,
            "crowds": _crowds(annotations),
            "ids": _ids(annotations),
        }
        for name, column in columns.items():
            self._columns[name].append(column)
        self.count += len(annotations)

    def settle(self, images: Positions, sizes: Floats, classes: Ids) -> None:
        """Bring all annotations to their images and classes, and in order.

        Args:
            images: The images.
            sizes: Width and height of each in pixels, infinite if not known; float64 [M, 2].
            classes: The id of each category.
        """
        self._class_ids = classes
        rows = self._placed("images", images, self.strays)
        categories = self._placed("categories", Positions(classes), self._foreign)
        whole = {
            name: _end_to_end(self._columns.pop(name, []), empty)
            for name, empty in _EMPTY_COLUMNS.items()
        }
        boxes, misfit = whole["boxes"], whole.pop("misfit")
        unfit = _faulty(boxes, rows, sizes) | misfit
        odd = unfit | (categories < 0)
        odd[list(self.odd)] = True
        self.crowded = _crowded(rows, unfit, categories, boxes, len(sizes))
        # NumPy sorts numbers several times faster than it finds their order.
        keys = rows.astype(np.int64) << 32 | np.arange(self.count)
        keys.sort()
        self.order = (keys[len(self.strays) :] & 0xFFFFFFFF).astype(np.int32)
        del keys
        counts = np.bincount(rows[self.order], minlength=len(sizes))
        self.starts = np.concatenate(([0], np.cumsum(counts)))
        self.is_odd = odd[self.order]
        self._settled = {"categories": categories[self.order]}
        for name in list(whole):
            self._settled[name] = whole.pop(name)[self.order]

    def _placed(self, name: str, known: Positions, unknown: dict[int, int | str]) -> Places:
        """Where the images or categories of all annotations are; notes those that are nowhere."""
        found = []
        before = 0
        for ids in self._columns.pop(name, ()):
            places = known.find(ids)
            for index in np.flatnonzero(places < 0).tolist():
                unknown[before + index] = ids[index] if isinstance(ids, list) else int(ids[index])
            found.append(places)
            before += len(places)
        together: Places = _end_to_end(found, np.zeros(0, np.int32))
        return together

    def entry(self, place: int) -> CocoAnnotation:
        """The annotation at a place of ``order`` as it would have been decoded."""
        number = int(self.order[place])
        if number in self.odd:
            return self.odd[number]
        columns = {name: values[place] for name, values in self._settled.items()}
        position = int(columns["categories"])
        outline = self._outlines.take(self.order[place : place + 1])
        category = self._foreign[number] if position < 0 else self._class_ids[position]
        return CocoAnnotation(
            image_id=0,
            category_id=category if isinstance(category, str) else int(category),
            id=None if columns["ids"] is None else str(columns["ids"]),
            bbox=tuple(columns["boxes"].tolist()),
            segmentation=Raw(b"" if outline is None else msgspec.json.encode(outline[0].as_py())),
            area=None if np.isnan(columns["areas"]) else float(columns["areas"]),
            iscrowd=None if columns["crowds"] < 0 else int(columns["crowds"]),
        )

    def objects(self, places: Integers | slice, names: pa.Array) -> pa.StructArray:
        """Annotations without the odd ones as the struct array [N] of `tlx.schema.OBJECT`.

        Args:
            places: Which of ``order``.
            names: Text array of the class of each category.
        """
        columns = {name: values[places] for name, values in self._settled.items()}
        count = len(columns["areas"])
        stated, crowds = columns["telling"], columns["crowds"]
        ids = columns["ids"]
        values = {
            "category": names.take(pa.array(columns["categories"])),
            "box": _box_column(columns["boxes"]),
            "object_id": pa.array(ids.tolist(), pa.string())
            if ids.dtype == object
            else pa.array(ids).cast(pa.string()),
            "segmentation": _segmentations(self._outlines.take(self.order[places]), count),
            "crowd": pa.array(crowds == 1, mask=crowds < 0),
            "attributes": _area_attributes(columns["areas"][stated], stated),
            "keypoints": _empty_lists(OBJECT.field("keypoints").type, count),
        }
        arrays = [values.get(f.name) for f in OBJECT]
        return pa.StructArray.from_arrays(
            [
                pa.nulls(count, f.type) if array is None else array
                for f, array in zip(OBJECT, arrays, strict=True)
            ],
            fields=list(OBJECT),
        )


_EMPTY_COLUMNS: dict[str, Any] = {
    "boxes": np.zeros((0, 4)),
    "areas": np.zeros(0),
    "telling": np.zeros(0, bool),
    "misfit": np.zeros(0, bool),
    "crowds": np.zeros(0, np.int8),
    "ids": np.zeros(0, np.int64),
}


def _end_to_end(parts: list[Any], empty: Any) -> Any:
    """Arrays end to end."""
    if any(part.dtype == object for part in parts):
        parts = [_as_texts(part) for part in parts]
    return np.concatenate(parts) if parts else empty


def _as_texts(ids: Any) -> Any:
    if ids.dtype == object:
        return ids
    texts = np.empty(len(ids), object)
    texts[:] = [str(number) for number in ids.tolist()]
    return texts


def _faulty(boxes: Floats, rows: Places, sizes: Floats) -> Flags:
    """What `tlx.box_policy.fault_of` would find fault with."""
    found = np.zeros(len(rows), bool)
    for first in range(0, len(rows), _PART):
        part = slice(first, first + _PART)
        owners = rows[part]
        limits = np.full((len(owners), 2), np.inf)
        limits[owners >= 0] = sizes[owners[owners >= 0]]
        found[part] = faulty(_corners(boxes[part]), limits)
    return found


def _crowded(rows: Places, unfit: Flags, categories: Places, boxes: Floats, count: int) -> Flags:
    """Which of ``count`` images may have an annotation twice."""
    found = np.zeros(count, bool)
    mended = np.unique(rows[unfit & (rows >= 0)])
    counts = np.bincount(rows[rows >= 0], minlength=count)
    found[mended] = counts[mended] > 1
    marks = np.empty(len(rows), np.uint64)
    for first in range(0, len(rows), _PART):
        part = slice(first, first + _PART)
        marks[part] = _marks(categories[part], boxes[part])
    marks ^= rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    ordered = np.sort(marks)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        twins = rows[np.isin(marks, twice)]
        found[twins[twins >= 0]] = True
    return found


def _identifiers(annotations: Annotations, name: str) -> Ids:
    """An id of each annotation: numbers where the decoder took nothing else, or as they are."""
    values = map(attrgetter(name), annotations)
    if isinstance(annotations[0], CocoAnnotation):
        return [plain_id(value) for value in values]
    try:
        return np.fromiter(values, np.int64, len(annotations))
    except OverflowError:
        return [plain_id(getattr(annotation, name)) for annotation in annotations]


def _manifold(annotations: Annotations) -> Flags:
    """Which annotations have attributes, keypoints, or keys that are none of COCO's."""
    found = [
        isinstance(a, CocoAnnotation) and bool(a.attributes or a.keypoints or a.other)
        for a in annotations
    ]
    return np.array(found, bool)


def _areas(annotations: Annotations) -> Floats:
    """The stated areas, else NaN."""
    get = attrgetter("area")
    try:
        return np.fromiter(map(get, annotations), np.float64, len(annotations))
    except (TypeError, OverflowError):
        stated = map(get, annotations)
        return np.array([np.nan if area is None else as_float(area) for area in stated], np.float64)


def _boxes(annotations: Annotations) -> Floats:
    """COCO's x, y, width, height as an array [N, 4]; not finite where they are something else."""
    try:
        sides = np.fromiter(_sides(annotations), np.float64, 4 * len(annotations))
    except OverflowError:
        sides = np.fromiter(map(as_float, _sides(annotations)), np.float64, 4 * len(annotations))
    return sides.reshape(-1, 4)


def _sides(annotations: Annotations) -> Iterable[float]:
    if not isinstance(annotations[0], CocoAnnotation):
        return chain.from_iterable(map(attrgetter("bbox"), annotations))
    return chain.from_iterable(
        a.bbox if a.bbox is not None and len(a.bbox) == 4 and None not in a.bbox else _NO_BOX  # type: ignore[misc]
        for a in annotations
    )


def _corners(boxes: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def _box_column(boxes: Floats) -> pa.StructArray:
    x, y, width, height = boxes.T
    corners = (x, y, x + width, y + height)
    return pa.StructArray.from_arrays([pa.array(c) for c in corners], fields=list(BOX))


def _marks(categories: Places, boxes: Floats) -> Marks:
    """Numbers [N] that are the same for the same category and box; rarely for others too."""
    # Adding 0 makes -0.0 and 0.0 one number.
    bits = np.nan_to_num(boxes + 0.0).view(np.uint64)
    marks = categories.astype(np.uint64)
    for column in range(4):
        marks = (marks ^ bits[:, column]) * np.uint64(0xFF51AFD7ED558CCD)
        marks ^= marks >> np.uint64(33)
    return marks


def _misfit(corners: Floats, bounds: Floats) -> Flags:
    """Boxes that differ from the bounds of their polygons; false where there are none."""
    return np.asarray((np.abs(corners - bounds) >= MISFIT).any(axis=1))


def _kept_areas(
    areas: Floats, corners: Floats, polygons: Polygons, bounds: Floats
) -> tuple[Flags, Flags]:
    """Which stated areas differ from the computed ones, and for which it is too close to say.

    Sums in another order differ in their last digits.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        present = polygons.present()
        excess = _differs(areas, np.where(present, polygons.areas(), _box_areas(corners)))
        reach = np.maximum(np.abs(bounds[:, :2]), np.abs(bounds[:, 2:])).prod(axis=1)
        points = np.diff(polygons.starts[polygons.owners]) / 2
        doubtful = present & (np.abs(excess) <= 1e-12 * reach * points)
    return excess > 0, doubtful


def _box_areas(corners: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        sides = corners[:, 2:] - corners[:, :2]
        areas: Floats = sides[:, 0] * sides[:, 1]
    return areas


def _differs(areas: Floats, computed: Floats) -> Floats:
    """By how much the stated areas differ from the computed ones beyond the tolerance."""
    with np.errstate(over="ignore", invalid="ignore"):
        excess: Floats = np.abs(areas - computed) - AREA_TOLERANCE * np.abs(areas)
    return excess


def _crowds(annotations: Annotations) -> Crowds:
    get = attrgetter("iscrowd")
    try:
        stated = np.fromiter(map(get, annotations), np.int64, len(annotations))
    except (TypeError, OverflowError):
        values = map(get, annotations)
        return np.array([-1 if value is None else bool(value) for value in values], np.int8)
    flags: Crowds = (stated != 0).astype(np.int8)
    return flags


def _ids(annotations: Annotations) -> Any:
    """The id of each: int64, or texts and None as objects."""
    get = attrgetter("id")
    if not isinstance(annotations[0], CocoAnnotation) or set(map(type, map(get, annotations))) == {
        int
    }:
        try:
            return np.fromiter(map(get, annotations), np.int64, len(annotations))
        except OverflowError:
            pass
    texts = np.empty(len(annotations), object)
    values = map(get, annotations)
    texts[:] = [None if value is None else str(value) for value in values]
    return texts


def _detached(annotation: PlainAnnotation | CocoAnnotation) -> CocoAnnotation:
    """The annotation without a hold on the text that it was decoded from."""
    return CocoAnnotation(
        image_id=annotation.image_id,
        category_id=annotation.category_id,
        id=annotation.id,
        bbox=annotation.bbox,
        segmentation=Raw(bytes(annotation.segmentation)),
        area=annotation.area,
        iscrowd=annotation.iscrowd,
        keypoints=annotation.keypoints,
        attributes=annotation.attributes,
        other=None if isinstance(annotation, PlainAnnotation) else annotation.other,
    )


def _segmentations(outlines: Any, count: int) -> Any:
    if outlines is None:
        return pa.nulls(count, SEGMENTATION)
    missing = pc.fill_null(pc.equal(pc.list_value_length(outlines), 0), True)
    rest = [pa.nulls(count, f.type) for f in list(SEGMENTATION)[1:]]
    return pa.StructArray.from_arrays([outlines, *rest], fields=list(SEGMENTATION), mask=missing)


def _area_attributes(areas: Floats, stated: Flags) -> Any:
    """Lists with the attribute ``area`` where it is stated."""
    kind = OBJECT.field("attributes").type
    names = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(len(areas), np.int32)), pa.array(["area"])
    )
    inner = kind.value_type
    values = {"name": names.cast(pa.string()), "real": pa.array(areas)}
    entries = pa.StructArray.from_arrays(
        [values.get(f.name, pa.nulls(len(areas), f.type)) for f in inner], fields=list(inner)
    )
    offsets = np.concatenate(([0], np.cumsum(stated)))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), entries, type=kind)


def _empty_lists(kind: Any, count: int) -> Any:
    offsets = pa.array(np.zeros(count + 1, np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array([], kind.value_type), type=kind)
