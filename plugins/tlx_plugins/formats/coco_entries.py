"""Objects of a dataset as entries of COCO's ``annotations``, a batch at a time.

Nearly every object is a box, perhaps with polygons and an area: these become entries straight from
the columns. The others are asked one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from tlx.model import Object
from tlx.schema import objects_of
from tlx_plugins.formats.coco_polygons import Floats, Integers, Polygons
from tlx_plugins.formats.text_columns import CORNERS, rounded

DECIMALS = 10
"""395.92999999999995 would be noise of a subtraction."""


class Entry(Struct, gc=False, omit_defaults=True):
    """A plain entry of ``annotations``."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    segmentation: list[list[float]] | None = None
    attributes: dict[str, str] | None = None


def entries(
    flat: pa.StructArray,
    numbers: Integers,
    image_ids: Integers,
    category_ids: Mapping[str, int],
    given_ids: bool,
    single: Callable[[Object, int, int], Any],
) -> list[Any]:
    """What is to be written of each object, as values for a JSON encoder.

    Args:
        flat: Struct array [N] of `tlx.schema.OBJECT`.
        numbers: The id of each, int64 [N].
        image_ids: The id of the image of each, int64 [N].
        category_ids: The id of each class.
        given_ids: The ids are those of the objects; otherwise the latter become attributes.
        single: Makes the entry of an object that is not plain, from its id and its image's.
    """
    plain = _plain(flat)
    if pc.all(plain).as_py():
        return _plain_entries(flat, numbers, image_ids, category_ids, given_ids)
    mask = np.asarray(plain)
    chosen = _plain_entries(
        flat.filter(plain), numbers[mask], image_ids[mask], category_ids, given_ids
    )
    others = objects_of(flat.filter(pc.invert(plain)))
    made = map(single, others, numbers[~mask].tolist(), image_ids[~mask].tolist())
    quick = iter(chosen)
    return [next(quick) if is_plain else next(made) for is_plain in mask.tolist()]


def _plain(flat: pa.StructArray) -> Any:
    """Which objects have a box, and nothing beside it but polygons, an area, an id and crowd."""
    plain = flat.field("box").is_valid()
    for name in ("rotation", "track", "difficult", "truncated", "occluded"):
        plain = pc.and_(plain, flat.field(name).is_null())
    plain = pc.and_(plain, pc.equal(pc.list_value_length(flat.field("keypoints")), 0))
    outlines = pc.struct_field(flat, ["segmentation", "polygons"])
    filled = pc.fill_null(pc.greater(pc.list_value_length(outlines), 0), False)
    plain = pc.and_(plain, pc.or_(filled, flat.field("segmentation").is_null()))
    # Objects with polygons and a mask have the mask written.
    plain = pc.and_(plain, pc.struct_field(flat, ["segmentation", "counts"]).is_null())
    column = flat.field("attributes")
    other = pc.invert(_is_area(pc.list_flatten(column)))
    mask = np.ones(len(flat), bool)
    mask[np.asarray(pc.list_parent_indices(column).filter(other))] = False
    return pc.and_(plain, pa.array(mask))


def _is_area(attributes: pa.StructArray) -> Any:
    return pc.and_(pc.equal(attributes.field("name"), "area"), attributes.field("real").is_valid())


def _plain_entries(
    flat: pa.StructArray,
    numbers: Integers,
    image_ids: Integers,
    category_ids: Mapping[str, int],
    given_ids: bool,
) -> list[Entry]:
    corners = np.stack([np.asarray(pc.struct_field(flat, ["box", c])) for c in CORNERS], axis=1)
    sides = np.asarray(rounded(pa.array((corners[:, 2:] - corners[:, :2]).ravel()), DECIMALS))
    boxes = np.concatenate((corners[:, :2], sides.reshape(-1, 2)), axis=1)
    polygons = _polygons(flat)
    coded = flat.field("category").dictionary_encode()
    known = np.array([category_ids[name] for name in coded.dictionary.to_pylist()], np.int64)
    columns: list[list[Any]] = [
        numbers.tolist(),
        image_ids.tolist(),
        known[np.asarray(coded.indices)].tolist() if len(known) else [],
        boxes.tolist(),
        _areas(flat, corners, polygons).tolist(),
        pc.fill_null(flat.field("crowd"), False).cast(pa.int8()).to_pylist(),
    ]
    outlines = [None] * len(flat) if polygons is None else _lists(polygons)
    if given_ids or flat.field("object_id").null_count == len(flat):
        return list(map(Entry, *columns, outlines))
    given = [
        None if text is None else {"object_id": text}
        for text in flat.field("object_id").to_pylist()
    ]
    return list(map(Entry, *columns, outlines, given))


def _polygons(flat: pa.StructArray) -> Polygons | None:
    outlines = pc.struct_field(flat, ["segmentation", "polygons"])
    if outlines.null_count == len(outlines):
        return None
    inner = pc.list_flatten(outlines)
    owners = np.asarray(pc.fill_null(pc.list_value_length(outlines), 0))
    lengths = np.asarray(pc.list_value_length(inner))
    return Polygons(
        np.asarray(pc.list_flatten(inner)),
        np.concatenate(([0], np.cumsum(lengths))),
        np.concatenate(([0], np.cumsum(owners))),
    )


def _areas(flat: pa.StructArray, corners: Floats, polygons: Polygons | None) -> Floats:
    """The area of each as it is stated, else of its polygons, else of its box; square pixels."""
    areas: Floats = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    if polygons is not None:
        areas = np.where(polygons.present(), polygons.areas(), areas)
    areas = np.array(rounded(pa.array(areas), DECIMALS))
    column = flat.field("attributes")
    areas[np.asarray(pc.list_parent_indices(column))] = np.asarray(
        pc.list_flatten(column).field("real")
    )
    return areas


def _lists(polygons: Polygons) -> list[list[list[float]] | None]:
    """The polygons of each as lists; None where there are none."""
    values = polygons.values.tolist()
    starts = polygons.starts.tolist()
    each = [values[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    owners = polygons.owners.tolist()
    return [each[a:b] or None for a, b in zip(owners, owners[1:], strict=False)]
