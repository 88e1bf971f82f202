"""Annotations of a COCO file as columns, with those apart that need a closer look.

An annotation of nearly every file is a category, a box, perhaps polygons and an area. Of these no
Python object is kept. Whatever else there is, or is wrong, is an *odd* one: it keeps the form in
which it was decoded, and `coco_object` makes of it what it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
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
from tlx_plugins.formats.coco_polygons import Flags, Floats, Integers, Polygons, parse
from tlx_plugins.formats.coco_sections import Annotations, PlainAnnotation

AREA_TOLERANCE = 1e-6
"""Share by which a stated area may differ from the computed one and count as the same."""

Marks = np.ndarray[Any, np.dtype[np.uint64]]

_NO_BOX = (np.nan,) * 4


@dataclass(frozen=True, slots=True)
class Piece:
    """The columns of N annotations that follow each other in the file.

    Attributes:
        categories: Number of the class of each, int32 [N].
        boxes: x, y, width, height in absolute pixels, float64 [N, 4].
        outlines: List array [N] of polygons; None where no annotation has any.
        areas: The stated area in square pixels, else NaN; float64 [N].
        telling: Whether the area is another than that of outline or box; bool [N].
        crowds: 1 or 0, or -1 where it is not stated; int8 [N].
        ids: Text array [N].
    """

    categories: Integers
    boxes: Floats
    outlines: Any
    areas: Floats
    telling: Flags
    crowds: Integers
    ids: Any


@dataclass(slots=True)
class AnnotationTable:
    """All annotations of a file, numbered in its order.

    Args:
        images: Position of each image by its `plain_id`.
        sizes: Width and height of each image in pixels, infinite if not known; float64 [M, 2].
        classes: Number of each class by the `plain_id` of its category.

    Attributes:
        odd: Annotations that need a closer look.
        strays: Annotations of images that the file does not have, by their number.
    """

    images: Mapping[int | str, int]
    sizes: Floats
    classes: Mapping[int | str, int]
    odd: dict[int, CocoAnnotation] = field(default_factory=dict)
    strays: dict[int, int | str] = field(default_factory=dict)
    count: int = 0
    _pieces: list[Piece] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _rows: list[Integers] = field(default_factory=list)
    _unfit: list[Flags] = field(default_factory=list)

    def add(self, annotations: Annotations) -> None:
        """Take the next annotations of the file."""
        if not annotations:
            return
        count = len(annotations)
        general = not isinstance(annotations[0], PlainAnnotation)
        images: Iterable[int | str] = map(attrgetter("image_id"), annotations)
        classes: Iterable[int | str] = map(attrgetter("category_id"), annotations)
        if general:
            images, classes = map(plain_id, images), map(plain_id, classes)
        rows = _numbers(images, self.images, count)
        categories = _numbers(classes, self.classes, count)
        boxes = _boxes(annotations)
        corners = _corners(boxes)
        polygons, strange = parse([bytes(a.segmentation) for a in annotations])
        strange |= categories < 0
        strange |= _manifold(annotations)
        bounds, areas = polygons.bounds(), _floats(a.area for a in annotations)
        unfit = self._faulty(corners, rows) | _misfit(corners, bounds)
        strange |= unfit
        telling, doubtful = _kept_areas(areas, corners, polygons, bounds)
        for index in np.flatnonzero(strange | doubtful).tolist():
            self.odd[self.count + index] = _detached(annotations[index])
        for index in np.flatnonzero(rows < 0).tolist():
            self.strays[self.count + index] = annotations[index].image_id
        self._pieces.append(
            Piece(
                categories,
                boxes,
                polygons.column() if len(polygons.values) else None,
                areas,
                telling,
                _crowds(annotations),
                _ids(annotations),
            )
        )
        self._rows.append(rows)
        self._unfit.append(unfit)
        self._starts.append(self.count)
        self.count += count

    def by_image(self) -> tuple[Integers, Integers]:
        """The annotations in the order of the images.

        Returns:
            The numbers of all annotations that have an image; and where those of each image begin
            among them, and the end; length M + 1.
        """
        rows = np.concatenate(self._rows) if self._rows else np.zeros(0, np.int32)
        counts = np.bincount(rows[rows >= 0], minlength=len(self.sizes))
        order = np.argsort(rows, kind="stable")[len(self.strays) :]
        return order, np.concatenate(([0], np.cumsum(counts)))

    def crowded(self) -> Flags:
        """Which images may have an annotation twice; flags [M].

        Two that say the same have one category and one box, but for boxes that are still to be
        mended.
        """
        found = np.zeros(len(self.sizes), bool)
        if not self.count:
            return found
        rows, unfit = np.concatenate(self._rows), np.concatenate(self._unfit)
        mended = np.unique(rows[unfit & (rows >= 0)])
        counts = np.bincount(rows[rows >= 0], minlength=len(found))
        found[mended] = counts[mended] > 1
        marks = np.concatenate([_marks(piece) for piece in self._pieces])
        marks ^= rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        ordered = np.sort(marks)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(twice):
            twins = rows[np.isin(marks, twice)]
            found[twins[twins >= 0]] = True
        return found

    def entry(self, number: int) -> CocoAnnotation:
        """One annotation as it would have been decoded."""
        if number in self.odd:
            return self.odd[number]
        piece = self._taken(np.array([number]))
        named = {position: key for key, position in self.classes.items()}
        outline = b"" if piece.outlines is None else msgspec.json.encode(piece.outlines[0].as_py())
        return CocoAnnotation(
            image_id=0,
            category_id=named[int(piece.categories[0])],
            id=piece.ids[0].as_py(),
            bbox=tuple(piece.boxes[0].tolist()),
            segmentation=Raw(outline),
            area=None if np.isnan(piece.areas[0]) else float(piece.areas[0]),
            iscrowd=None if piece.crowds[0] < 0 else int(piece.crowds[0]),
        )

    def objects(self, numbers: Integers, names: pa.Array) -> pa.StructArray:
        """Annotations without the odd ones as the struct array [N] of `tlx.schema.OBJECT`.

        Args:
            numbers: Which annotations, in the wanted order.
            names: Text array of the classes.
        """
        count = len(numbers)
        columns = self._taken(numbers)
        stated = columns.telling
        attributes = _area_attributes(columns.areas[stated], stated)
        crowd = pa.array(columns.crowds == 1, mask=columns.crowds < 0)
        box = pa.StructArray.from_arrays(
            [pa.array(column) for column in _corners(columns.boxes).T.copy()], fields=list(BOX)
        )
        values = {
            "category": names.take(pa.array(columns.categories)),
            "box": box,
            "object_id": columns.ids,
            "segmentation": _segmentations(columns.outlines, count),
            "crowd": crowd,
            "attributes": attributes,
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

    def _faulty(self, corners: Floats, rows: Integers) -> Flags:
        """What `tlx.box_policy.fault_of` would find fault with."""
        limits = np.full((len(rows), 2), np.inf)
        limits[rows >= 0] = self.sizes[rows[rows >= 0]]
        return faulty(corners, limits)

    def _taken(self, numbers: Integers) -> Piece:
        """The columns of some annotations; the pieces are never put together as a whole."""
        where = np.searchsorted(self._starts, numbers, side="right") - 1
        used = np.unique(where)
        parts = []
        for piece in used.tolist():
            local = numbers[where == piece] - self._starts[piece]
            parts.append(_take(self._pieces[piece], local))
        if not parts:
            return _take(_NOTHING, np.zeros(0, np.int64))
        if len(parts) == 1:
            return parts[0]
        back = np.empty(len(numbers), np.int64)
        back[np.argsort(where, kind="stable")] = np.arange(len(numbers))
        return _take(_joined(parts), back)


def plain_id(number: int | str) -> int | str:
    """An id in one of the forms that mean the same: "7" is 7, but "07" is not."""
    if isinstance(number, str) and number.removeprefix("-").isdecimal() and len(number) < 20:
        plain = int(number)
        return plain if str(plain) == number else number
    return number


def _numbers(ids: Iterable[int | str], known: Mapping[int | str, int], count: int) -> Integers:
    return np.fromiter(map(known.get, ids, repeat(-1)), np.int32, count)


def _manifold(annotations: Annotations) -> Flags:
    """Which annotations have attributes, keypoints, or keys that are none of COCO's."""
    found = [
        isinstance(a, CocoAnnotation) and bool(a.attributes or a.keypoints or a.other)
        for a in annotations
    ]
    return np.array(found, bool)


def _floats(values: Any) -> Floats:
    return np.array([np.nan if v is None else v for v in values], np.float64)


def _boxes(annotations: Annotations) -> Floats:
    """COCO's x, y, width, height as an array [N, 4]; not finite where they are something else."""
    if isinstance(annotations[0], PlainAnnotation):
        values = chain.from_iterable([a.bbox for a in annotations])  # type: ignore[misc]
    else:
        values = chain.from_iterable(
            a.bbox if a.bbox is not None and len(a.bbox) == 4 and None not in a.bbox else _NO_BOX
            for a in annotations
        )
    return np.fromiter(values, np.float64, 4 * len(annotations)).reshape(-1, 4)


def _corners(boxes: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def _marks(piece: Piece) -> Marks:
    """Numbers [N] that are the same for the same category and box; rarely for others too."""
    # Adding 0 makes -0.0 and 0.0 one number.
    bits = np.nan_to_num(piece.boxes + 0.0).view(np.uint64)
    marks = piece.categories.astype(np.uint64)
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
        sides = corners[:, 2:] - corners[:, :2]
        present = polygons.present()
        computed = np.where(present, polygons.areas(), sides[:, 0] * sides[:, 1])
        excess = np.abs(areas - computed) - AREA_TOLERANCE * np.abs(areas)
        reach = np.maximum(np.abs(bounds[:, :2]), np.abs(bounds[:, 2:])).prod(axis=1)
        points = np.diff(polygons.starts[polygons.owners]) / 2
        doubtful = present & (np.abs(excess) <= 1e-12 * reach * points)
    return excess > 0, doubtful


def _crowds(annotations: Annotations) -> Integers:
    stated = [-1 if a.iscrowd is None else bool(a.iscrowd) for a in annotations]
    return np.array(stated, np.int8)


def _ids(annotations: Annotations) -> Any:
    try:
        numbers = np.fromiter(map(attrgetter("id"), annotations), np.int64, len(annotations))
        return pa.array(numbers).cast(pa.string())
    except (TypeError, ValueError, OverflowError):
        texts = [None if a.id is None else str(a.id) for a in annotations]
        return pa.array(texts, pa.string())


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


def _take(piece: Piece, local: Integers) -> Piece:
    return Piece(
        piece.categories[local],
        piece.boxes[local],
        None if piece.outlines is None else piece.outlines.take(pa.array(local)),
        piece.areas[local],
        piece.telling[local],
        piece.crowds[local],
        piece.ids.take(pa.array(local)),
    )


_NOTHING = Piece(
    np.zeros(0, np.int32),
    np.zeros((0, 4)),
    None,
    np.zeros(0),
    np.zeros(0, bool),
    np.zeros(0, np.int8),
    pa.array([], pa.string()),
)
_OUTLINES = SEGMENTATION.field("polygons").type


def _joined(parts: Sequence[Piece]) -> Piece:
    outlines = None
    if any(part.outlines is not None for part in parts):
        outlines = pa.concat_arrays(
            pa.nulls(len(part.areas), _OUTLINES) if part.outlines is None else part.outlines
            for part in parts
        )
    return Piece(
        np.concatenate([part.categories for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        outlines,
        np.concatenate([part.areas for part in parts]),
        np.concatenate([part.telling for part in parts]),
        np.concatenate([part.crowds for part in parts]),
        pa.concat_arrays([part.ids for part in parts]),
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
    return pa.array([[]] * count, kind)
