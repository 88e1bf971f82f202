"""The Arrow schema of a dataset, and the way between it and `tlx.model` values.

One row is one image with nested lists of objects and labels. All of it has Arrow types; an
attribute keeps its type in one of four columns, so no cell holds JSON text and any Parquet reader
can use the file.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa

from tlx.model import (
    AttributeValue,
    Box,
    Keypoint,
    Label,
    Object,
    Origin,
    Record,
    Segmentation,
    Shape,
)

SCHEMA_VERSION = 1

ATTRIBUTE = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("integer", pa.int64()),
        pa.field("real", pa.float64()),
        pa.field("flag", pa.bool_()),
    ]
)
BOX = pa.struct(
    [pa.field(name, pa.float64(), nullable=False) for name in ("xmin", "ymin", "xmax", "ymax")]
)
SEGMENTATION = pa.struct(
    [
        pa.field("polygons", pa.list_(pa.list_(pa.float64()))),
        pa.field("counts", pa.binary()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("compressed", pa.bool_()),
    ]
)
SHAPE = pa.struct([("kind", pa.string()), ("coordinates", pa.list_(pa.float64()))])
KEYPOINT = pa.struct(
    [
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
        pa.field("visibility", pa.int8()),
        pa.field("name", pa.string()),
    ]
)
OBJECT = pa.struct(
    [
        pa.field("category", pa.string(), nullable=False),
        pa.field("box", BOX),
        pa.field("object_id", pa.string()),
        pa.field("segmentation", SEGMENTATION),
        pa.field("shape", SHAPE),
        pa.field("rotation", pa.float64()),
        pa.field("keypoints", pa.list_(KEYPOINT), nullable=False),
        pa.field("track", pa.string()),
        pa.field("crowd", pa.bool_()),
        pa.field("difficult", pa.bool_()),
        pa.field("truncated", pa.bool_()),
        pa.field("occluded", pa.bool_()),
        pa.field("attributes", pa.list_(ATTRIBUTE), nullable=False),
        pa.field("line", pa.int64()),
    ]
)
LABEL = pa.struct(
    [pa.field("category", pa.string(), nullable=False), pa.field("present", pa.bool_())]
)
ORIGIN = pa.struct([pa.field("path", pa.string(), nullable=False), pa.field("line", pa.int64())])
RECORD = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("split", pa.string()),
        pa.field("group", pa.string()),
        pa.field("frame", pa.int64()),
        pa.field("labels", pa.list_(LABEL), nullable=False),
        pa.field("objects", pa.list_(OBJECT), nullable=False),
        pa.field("attributes", pa.list_(ATTRIBUTE), nullable=False),
        pa.field("origin", ORIGIN),
    ]
)

Rows = Sequence[Any]


def _list_array(values: Sequence[Sequence[Any]], kind: pa.StructType, build: Any) -> pa.ListArray:
    """Lay lists of values end to end and build their struct array once."""
    offsets = pa.array([0, *accumulate(map(len, values))], type=pa.int32())
    flat = list(chain.from_iterable(values))
    return pa.ListArray.from_arrays(offsets, build(flat), type=pa.list_(kind))


def _struct(
    kind: pa.StructType, columns: Sequence[Any], mask: Sequence[bool] | None = None
) -> pa.StructArray:
    """Build a struct array from one sequence or array per field; ``mask`` marks null rows."""
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
        for field, column in zip(kind, columns, strict=True)
    ]
    null = None if mask is None or not any(mask) else pa.array(mask, type=pa.bool_())
    return pa.StructArray.from_arrays(arrays, fields=list(kind), mask=null)


def _box_array(boxes: Sequence[Box | None]) -> pa.StructArray:
    known = [box if box is not None else _NO_BOX for box in boxes]
    return _struct(
        BOX,
        (
            [box.xmin for box in known],
            [box.ymin for box in known],
            [box.xmax for box in known],
            [box.ymax for box in known],
        ),
        [box is None for box in boxes],
    )


_NO_BOX = Box(0.0, 0.0, 0.0, 0.0)


def attribute_lists(mappings: Sequence[Mapping[str, AttributeValue]]) -> pa.ListArray:
    """The list array [N] of `ATTRIBUTE` from the attributes of N images or objects."""
    return _list_array([tuple(m.items()) if m else () for m in mappings], ATTRIBUTE, _attributes)


def _attributes(items: Sequence[tuple[str, AttributeValue]]) -> pa.StructArray:
    # bool is a subclass of int, so the types are compared exactly.
    values = [value for _, value in items]
    kinds = set(map(type, values))
    if not kinds <= {str, int, float, bool}:
        values = [_plain(name, value) for name, value in items]
        kinds = set(map(type, values))
    return _struct(
        ATTRIBUTE,
        (
            [name for name, _ in items],
            *(
                [value if type(value) is kind else None for value in values]
                if kind in kinds
                else pa.nulls(len(values), field.type)
                for kind, field in zip((str, int, float, bool), list(ATTRIBUTE)[1:], strict=True)
            ),
        ),
    )


def _plain(name: str, value: Any) -> AttributeValue:
    """An attribute of a type that derives from one of the four, as that type."""
    for kind in (bool, str, float, int):
        if isinstance(value, kind):
            return kind(value)
    message = f"the attribute {name!r} is a {type(value).__name__}, not text, a number or a flag"
    raise TypeError(message)


def _segmentation_array(values: Sequence[Segmentation | None]) -> pa.StructArray:
    return _struct(
        SEGMENTATION,
        (
            [None if v is None else [list(p) for p in v.polygons] for v in values],
            [None if v is None else v.counts for v in values],
            [None if v is None or v.size is None else v.size[0] for v in values],
            [None if v is None or v.size is None else v.size[1] for v in values],
            [None if v is None else v.compressed for v in values],
        ),
        [v is None for v in values],
    )


def _shape_array(values: Sequence[Shape | None]) -> pa.StructArray:
    kinds = [None if v is None else v.kind for v in values]
    coordinates = [None if v is None else v.coordinates for v in values]
    return _struct(SHAPE, (kinds, coordinates), [v is None for v in values])


def _keypoints(values: Sequence[Keypoint]) -> pa.StructArray:
    return _struct(
        KEYPOINT,
        (
            [v.x for v in values],
            [v.y for v in values],
            [v.visibility for v in values],
            [v.name for v in values],
        ),
    )


def object_array(values: Sequence[Object]) -> pa.StructArray:
    """The struct array [N] of `OBJECT` from N objects."""
    segmented = any(v.segmentation is not None for v in values)
    return _struct(
        OBJECT,
        (
            [v.category for v in values],
            _box_array([v.box for v in values]),
            [v.object_id for v in values],
            _segmentation_array([v.segmentation for v in values])
            if segmented
            else pa.nulls(len(values), SEGMENTATION),
            _shape_array([v.shape for v in values])
            if any(v.shape is not None for v in values)
            else pa.nulls(len(values), SHAPE),
            [v.rotation for v in values],
            _list_array([v.keypoints for v in values], KEYPOINT, _keypoints),
            [v.track for v in values],
            [v.crowd for v in values],
            [v.difficult for v in values],
            [v.truncated for v in values],
            [v.occluded for v in values],
            attribute_lists([v.attributes for v in values]),
            [v.line for v in values],
        ),
    )


def _labels(values: Sequence[Label]) -> pa.StructArray:
    return _struct(LABEL, ([v.category for v in values], [v.present for v in values]))


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause Python's collector of cycles.

    Of hundreds of thousands of short-lived lists and tuples without a cycle it would walk all again
    and again, which costs a third of the time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def records_to_batch(records: Sequence[Record]) -> pa.RecordBatch:
    """One Arrow batch of `RECORD` from records."""
    with uncollected():
        return _records_to_batch(records)


def _records_to_batch(records: Sequence[Record]) -> pa.RecordBatch:
    origins = [r.origin for r in records]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([r.image_id for r in records], pa.string()),
            pa.array([r.uri for r in records], pa.string()),
            pa.array([r.width for r in records], pa.int32()),
            pa.array([r.height for r in records], pa.int32()),
            pa.array([r.split for r in records], pa.string()),
            pa.array([r.group for r in records], pa.string()),
            pa.array([r.frame for r in records], pa.int64()),
            _list_array([r.labels for r in records], LABEL, _labels),
            _list_array([r.objects for r in records], OBJECT, object_array),
            attribute_lists([r.attributes for r in records]),
            _struct(
                ORIGIN,
                (
                    [o.path if o is not None else "" for o in origins],
                    [o.line if o is not None else None for o in origins],
                ),
                [o is None for o in origins],
            ),
        ],
        schema=RECORD,
    )


def _lists(array: pa.ListArray) -> tuple[list[int], pa.Array]:
    """Offsets, starting at 0, and the flat values that they point into."""
    offsets = array.offsets.to_pylist()
    start, stop = offsets[0], offsets[-1]
    return [offset - start for offset in offsets], array.values.slice(start, stop - start)


def _field(array: pa.StructArray, name: str) -> list[Any]:
    return array.field(name).to_pylist()  # type: ignore[no-any-return]


def _read_boxes(array: pa.StructArray) -> list[Box | None]:
    columns = zip(*(_field(array, name) for name in ("xmin", "ymin", "xmax", "ymax")), strict=True)
    if array.null_count == 0:
        return [Box(*corners) for corners in columns]
    valid = array.is_valid().to_pylist()
    return [Box(*c) if ok else None for c, ok in zip(columns, valid, strict=True)]


def attributes_of(array: pa.ListArray) -> list[dict[str, AttributeValue]]:
    """The attributes of each of N images or objects; not to be changed."""
    offsets, flat = _lists(array)
    if not len(flat):
        return [{}] * len(array)
    items = [
        (name, next(v for v in values if v is not None))
        for name, *values in zip(
            *(_field(flat, f) for f in ("name", "text", "integer", "real", "flag")), strict=True
        )
    ]
    return [dict(items[a:b]) for a, b in zip(offsets, offsets[1:], strict=False)]


def _read_segmentations(array: pa.StructArray) -> list[Segmentation | None]:
    if array.null_count == len(array):
        return [None] * len(array)
    return [
        None
        if row is None
        else Segmentation(
            polygons=tuple(tuple(p) for p in row["polygons"] or ()),
            counts=row["counts"],
            size=None if row["height"] is None else (row["height"], row["width"]),
            compressed=row["compressed"],
        )
        for row in array.to_pylist()
    ]


def _read_shapes(array: pa.StructArray) -> list[Shape | None]:
    if array.null_count == len(array):
        return [None] * len(array)
    return [
        None if row is None else Shape(row["kind"], tuple(row["coordinates"]))
        for row in array.to_pylist()
    ]


def _read_keypoints(array: pa.ListArray) -> list[tuple[Keypoint, ...]]:
    offsets, flat = _lists(array)
    if not len(flat):
        return [()] * len(array)
    points = [
        Keypoint(*row)
        for row in zip(*(_field(flat, f) for f in ("x", "y", "visibility", "name")), strict=True)
    ]
    return [tuple(points[a:b]) for a, b in zip(offsets, offsets[1:], strict=False)]


def objects_of(flat: pa.StructArray) -> list[Object]:
    """The objects of a struct array [N] of `OBJECT`."""
    flags = ("crowd", "difficult", "truncated", "occluded")
    plain = ("object_id", "rotation", "track", *flags, "line")
    return [
        Object(
            category=category,
            box=box,
            segmentation=segmentation,
            shape=shape,
            keypoints=keypoints,
            attributes=attributes,
            object_id=object_id,
            rotation=rotation,
            track=track,
            crowd=crowd,
            difficult=difficult,
            truncated=truncated,
            occluded=occluded,
            line=line,
        )
        for (
            category,
            box,
            segmentation,
            shape,
            keypoints,
            attributes,
            object_id,
            rotation,
            track,
            crowd,
            difficult,
            truncated,
            occluded,
            line,
        ) in zip(
            _field(flat, "category"),
            _read_boxes(flat.field("box")),
            _read_segmentations(flat.field("segmentation")),
            _read_shapes(flat.field("shape")),
            _read_keypoints(flat.field("keypoints")),
            attributes_of(flat.field("attributes")),
            *(_field(flat, name) for name in plain),
            strict=True,
        )
    ]


def batch_to_records(batch: pa.RecordBatch) -> Iterator[Record]:
    """The records of an Arrow batch of `RECORD`, in order."""
    object_offsets, flat_objects = _lists(batch.column("objects"))
    objects = objects_of(flat_objects)
    label_offsets, flat_labels = _lists(batch.column("labels"))
    labels = [
        Label(*row)
        for row in zip(_field(flat_labels, "category"), _field(flat_labels, "present"), strict=True)
    ]
    attributes = attributes_of(batch.column("attributes"))
    origins = batch.column("origin")
    valid = origins.is_valid().to_pylist()
    places = zip(_field(origins, "path"), _field(origins, "line"), valid, strict=True)
    names = ("image_id", "uri", "width", "height", "split", "group", "frame")
    columns = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
    for row, (values, place) in enumerate(zip(columns, places, strict=True)):
        image_id, uri, width, height, split, group, frame = values
        yield Record(
            image_id=image_id,
            uri=uri,
            width=width,
            height=height,
            split=split,
            group=group,
            frame=frame,
            labels=tuple(labels[label_offsets[row] : label_offsets[row + 1]]),
            objects=tuple(objects[object_offsets[row] : object_offsets[row + 1]]),
            attributes=attributes[row],
            origin=Origin(place[0], place[1]) if place[2] else None,
        )


def flat_objects(batch: pa.RecordBatch) -> tuple[Any, pa.StructArray]:
    """The objects of a batch as columns.

    Returns:
        The row of each object in the batch (int64 array [N]), and the struct array [N] of
        `OBJECT`.
    """
    column = batch.column("objects")
    import pyarrow.compute as pc

    return pc.list_parent_indices(column), pc.list_flatten(column)


def chunked(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Cut a stream of records into lists of at most ``size``."""
    part: list[Record] = []
    for record in records:
        part.append(record)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
