"""What entries of ``images`` say beside name and size, as attributes of a dataset and back.

Keys that only COCO knows are carried as the attribute ``coco.KEY``; a list or an object, for which
attributes have no type, as JSON text in ``coco-json.KEY``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import msgspec
import numpy as np
import pyarrow as pa

from tlx.model import AttributeValue
from tlx.schema import ATTRIBUTE, RECORD
from tlx_plugins.formats.coco_file import CocoImage

SOURCE_ID = "coco_image_id"
"""The attribute of an image that keeps the id it had."""

PLAIN = "coco."
JSON = "coco-json."
PUBLISHED = {
    "license": "integer",
    "coco_url": "text",
    "flickr_url": "text",
    "date_captured": "text",
}
"""Keys of the published files, with their kind among the fields of `tlx.schema.ATTRIBUTE`."""

_SIDES = 2**63


def is_int64(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number that an attribute can hold."""
    return isinstance(value, int) and -_SIDES <= value < _SIDES


def carried(other: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Keys and values as attributes; null is not stated."""
    attributes: dict[str, AttributeValue] = {}
    for key, value in other.items():
        if isinstance(value, str | bool | float) or is_int64(value):
            attributes[PLAIN + key] = value
        elif value is not None:
            attributes[JSON + key] = msgspec.json.encode(value).decode()
    return attributes


def restored(attributes: dict[str, Any], taken: frozenset[str]) -> dict[str, Any]:
    """Take carried keys out of the attributes of an image or object.

    Args:
        attributes: Changed in place.
        taken: Keys that the entry has anyway, which stay attributes.
    """
    other: dict[str, Any] = {}
    for name in [name for name in attributes if name.startswith(("coco.", "coco-json."))]:
        key = name.partition(".")[2]
        if key in taken or key in other:
            continue
        if name.startswith(PLAIN):
            other[key] = attributes.pop(name)
        elif isinstance(attributes[name], str):
            try:
                other[key] = msgspec.json.decode(attributes[name])
            except msgspec.DecodeError:
                continue
            del attributes[name]
    return other


def other_keys(image: CocoImage) -> dict[str, Any]:
    """What an entry says beside what the record has fields for."""
    published = {key: getattr(image, key) for key in PUBLISHED}
    if not image.file_name:
        # It is the uri.
        del published["coco_url"]
    return published | (image.other or {})


def is_plain(image: CocoImage) -> bool:
    """Whether an entry has nothing but the published keys, of the published types."""
    return (
        is_int64(image.id)
        and not image.attributes
        and not image.other
        and (image.license is None or (type(image.license) is int and is_int64(image.license)))
        and bool(image.file_name)
        and (image.coco_url is None or isinstance(image.coco_url, str))
        and (image.flickr_url is None or isinstance(image.flickr_url, str))
        and (image.date_captured is None or isinstance(image.date_captured, str))
    )


def plain_attributes(images: Sequence[CocoImage]) -> pa.ListArray:
    """The attributes of N plain images as a list array [N]."""
    count = len(images)
    columns: dict[str, list[Any]] = {SOURCE_ID: [image.id for image in images]}
    for key in PUBLISHED:
        columns[PLAIN + key] = [getattr(image, key) for image in images]
    kinds = ["integer", *PUBLISHED.values()]
    arrays = [
        pa.array(values, ATTRIBUTE.field(kind).type)
        for values, kind in zip(columns.values(), kinds, strict=True)
    ]
    present = np.stack([np.asarray(array.is_valid()) for array in arrays], axis=1)
    rows, keys = np.nonzero(present)
    order = pa.array(keys * count + rows)
    fields = []
    for field in ATTRIBUTE:
        if field.name == "name":
            fields.append(pa.array(list(columns), pa.string()).take(pa.array(keys)))
            continue
        parts = [
            array if kind == field.name else pa.nulls(count, field.type)
            for array, kind in zip(arrays, kinds, strict=True)
        ]
        used = field.name in kinds
        fields.append(
            pa.concat_arrays(parts).take(order) if used else pa.nulls(len(rows), field.type)
        )
    offsets = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        pa.StructArray.from_arrays(fields, fields=list(ATTRIBUTE)),
        type=RECORD.field("attributes").type,
    )
