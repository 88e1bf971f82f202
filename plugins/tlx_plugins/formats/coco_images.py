"""What entries of ``images`` say beside name and size, as attributes of a dataset and back.

Keys that only COCO knows are carried as the attribute ``coco.KEY``; a list or an object, for which
attributes have no type, as JSON text in ``coco-json.KEY``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, TypeGuard

import msgspec
import numpy as np
import pyarrow as pa

from tlx.model import AttributeValue
from tlx.schema import ATTRIBUTE, RECORD
from tlx_plugins.formats.coco_file import CocoImage
from tlx_plugins.formats.coco_polygons import Floats, Integers

Sizes = np.ndarray[Any, np.dtype[np.int32]]

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


class PlainImages(NamedTuple):
    """The columns of N entries of ``images`` that have nothing but the published keys.

    Attributes:
        ids: int64 [N].
        names: Text array [N] of ``file_name``.
        sizes: Width and height in pixels, int32 [N, 2].
        published: Arrays [N] of the keys of `PUBLISHED`, null where not stated.
    """

    ids: Integers
    names: Any
    sizes: Sizes
    published: tuple[Any, ...]

    def slice(self, first: int, last: int) -> PlainImages:
        """Those from the first to before the last."""
        return PlainImages(
            self.ids[first:last],
            self.names.slice(first, last - first),
            self.sizes[first:last],
            tuple(column.slice(first, last - first) for column in self.published),
        )

    def entries(self) -> list[CocoImage]:
        """The entries as they would have been decoded."""
        rows = zip(
            self.ids.tolist(),
            self.names.to_pylist(),
            self.sizes.tolist(),
            *(column.to_pylist() for column in self.published),
            strict=True,
        )
        return [
            CocoImage(
                id=number,
                file_name=name,
                width=width,
                height=height,
                **dict(zip(PUBLISHED, published, strict=True)),
            )
            for number, name, (width, height), *published in rows
        ]

    def attributes(self) -> pa.ListArray:
        """What is stated beside name and size, as a list array [N] of `tlx.schema.ATTRIBUTE`."""
        count = len(self.ids)
        arrays = [pa.array(self.ids), *self.published]
        names = pa.array([SOURCE_ID, *(PLAIN + key for key in PUBLISHED)], pa.string())
        kinds = ["integer", *PUBLISHED.values()]
        present = np.stack([np.asarray(array.is_valid()) for array in arrays], axis=1)
        rows, keys = np.nonzero(present)
        order = pa.array(keys * count + rows)
        fields = []
        for part in ATTRIBUTE:
            if part.name == "name":
                fields.append(names.take(pa.array(keys)))
                continue
            parts = [
                array if kind == part.name else pa.nulls(count, part.type)
                for array, kind in zip(arrays, kinds, strict=True)
            ]
            used = part.name in kinds
            fields.append(
                pa.concat_arrays(parts).take(order) if used else pa.nulls(len(rows), part.type)
            )
        offsets = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()),
            pa.StructArray.from_arrays(fields, fields=list(ATTRIBUTE)),
            type=RECORD.field("attributes").type,
        )


def plain_images(images: Sequence[CocoImage]) -> PlainImages | None:
    """The columns of some entries; None if any has a key, a type or a size that is not usual."""
    if (
        set(map(type, map(attrgetter("id"), images))) != {int}
        or any(map(attrgetter("attributes"), images))
        or any(map(attrgetter("other"), images))
        or not set(map(type, map(attrgetter("license"), images))) <= {int, type(None)}
        or not all(map(attrgetter("file_name"), images))
    ):
        return None
    count = len(images)
    try:
        ids = np.fromiter(map(attrgetter("id"), images), np.int64, count)
        sides = [np.fromiter(map(attrgetter(s), images), float, count) for s in ("width", "height")]
        names = pa.array([image.file_name for image in images], pa.string())
        published = tuple(
            pa.array(list(map(attrgetter(key), images)), ATTRIBUTE.field(kind).type)
            for key, kind in PUBLISHED.items()
        )
    except (TypeError, OverflowError, pa.ArrowException, UnicodeEncodeError):
        return None
    sizes = np.stack(sides, axis=1)
    if not ((sizes > 0) & (sizes < 2**31) & (sizes == np.floor(sizes))).all():
        return None
    return PlainImages(ids, names, sizes.astype(np.int32), published)


@dataclass(slots=True)
class ImageTable:
    """All entries of ``images``, numbered in the order of the file."""

    count: int = 0
    _plain: list[PlainImages] = field(default_factory=list)
    _other: list[CocoImage] | None = None

    def add(self, images: Sequence[CocoImage]) -> None:
        """Take the next entries of the file."""
        self.count += len(images)
        columns = plain_images(images) if images and self._other is None else None
        if columns is not None:
            self._plain.append(columns)
        elif images:
            if self._other is None:
                self._other = [entry for piece in self._plain for entry in piece.entries()]
                self._plain = []
            self._other += images

    def plain(self) -> PlainImages | None:
        """The columns of all entries; None unless all of them are plain."""
        if self._other is not None or not self._plain:
            return None
        if len(self._plain) > 1:
            ids, names, sizes, published = zip(*self._plain, strict=True)
            whole = PlainImages(
                np.concatenate(ids),
                pa.concat_arrays(names),
                np.concatenate(sizes),
                tuple(pa.concat_arrays(columns) for columns in zip(*published, strict=True)),
            )
            self._plain = [whole]
        return self._plain[0]

    def ids(self) -> Integers | list[int | str]:
        """The id of each."""
        plain = self.plain()
        return [image.id for image in self._other or ()] if plain is None else plain.ids

    def sizes(self) -> Floats:
        """Width and height in pixels, both infinite unless both are known; float64 [M, 2]."""
        plain = self.plain()
        if plain is not None:
            return plain.sizes.astype(np.float64)
        sizes = np.full((self.count, 2), np.inf)
        for row, image in enumerate(self._other or ()):
            width, height = image.width, image.height
            if width is not None and height is not None and is_side(width) and is_side(height):
                sizes[row] = width, height
        return sizes

    def entries(self, first: int, last: int) -> list[CocoImage]:
        """Those from the first to before the last."""
        plain = self.plain()
        if plain is not None:
            return plain.slice(first, last).entries()
        return (self._other or [])[first:last]


def is_side(value: float) -> bool:
    """Whether a number can be the width or height of an image in pixels."""
    return value == int(value) and 0 < value < 2**31
