"""The images of a block of a CVAT file as columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx.model import Record
from tlx_plugins.formats.column_values import Flags, Integers, flags, marks, twins
from tlx_plugins.formats.columned_records import Columned
from tlx_plugins.formats.cvat_columns import read_shapes
from tlx_plugins.formats.cvat_forms import Tags
from tlx_plugins.formats.cvat_lines import BEGIN, Layout
from tlx_plugins.formats.cvat_meta import count_of
from tlx_plugins.formats.cvat_numbers import POLYGON
from tlx_plugins.formats.cvat_shapes import ShapeReader, Size


@dataclass(slots=True)
class ImageBlock:
    """P images.

    Attributes:
        values: The attributes of each image.
        lines: The line of each in the file.
        sizes: Width and height in pixels that the file states for each.
        odd: Images that have to be parsed; [P].
    """

    values: list[dict[str, str]]
    lines: list[int]
    sizes: list[Size | None]
    odd: Flags
    _objects: pa.StructArray
    _starts: list[int]
    _polygons: list[int]
    _shapes: ShapeReader = field(repr=False)

    def columned(self, piece: int, record: Record) -> Columned:
        """The record of an image that is not odd, with its objects."""
        if self._polygons[piece]:
            self._shapes.derived["polygon"] += self._polygons[piece]
        return Columned(record, self._objects, self._starts[piece], self._starts[piece + 1])


def read_images(layout: Layout, shapes: ShapeReader) -> ImageBlock:
    """Read the images of a block.

    Args:
        layout: The block.
        shapes: Knows the labels, and the rules.
    """
    tags, count = layout.tags(BEGIN), len(layout.begins)
    odd = layout.odd | spoilt(tags, "image")
    values = values_of(tags)
    sizes = [_size(one) for one in values]
    odd |= np.array([size == (0, 0) for size in sizes], bool)
    columns = read_shapes(layout, shapes)
    owners, kinds = columns.owners, columns.geometries.kinds
    limits = np.array([size or (np.inf, np.inf) for size in sizes]).reshape(count, 2)
    odd[owners[columns.odd | columns.faulty(limits)]] = True
    if shapes.options.duplicates != "keep":
        same = twins(marks(columns.geometries.bounds, owners * 4 + kinds))
        odd[owners[same]] = True
    polygons: Integers = np.bincount(owners[kinds == POLYGON], minlength=count)
    return ImageBlock(
        values=values,
        lines=(layout.begins + layout.block.line).tolist(),
        sizes=sizes,
        odd=odd,
        _objects=columns.objects(outline_boxes=shapes.options.outline_boxes),
        _starts=[0, *np.cumsum(columns.counts(count)).tolist()],
        _polygons=polygons.tolist(),
        _shapes=shapes,
    )


def spoilt(tags: Tags, name: str) -> Flags:
    """Start tags that are not those of an element, or have a value that does not mean itself."""
    known = tags.names.index(name) if name in tags.names else -2
    found: Flags = tags.kinds != known
    for column in tags.values.values():
        found |= flags(pc.fill_null(pc.match_substring_regex(column, "[<&>]"), False))
    return found


def values_of(tags: Tags) -> list[dict[str, str]]:
    """The attributes of each start tag."""
    columns = [column.to_pylist() for column in tags.values.values()]
    if not columns:
        return [{} for _ in tags.kinds]
    if not any(column.null_count for column in tags.values.values()):
        return [dict(zip(tags.values, row, strict=True)) for row in zip(*columns, strict=True)]
    return [
        {name: text for name, text in zip(tags.values, row, strict=True) if text is not None}
        for row in zip(*columns, strict=True)
    ]


def _size(values: dict[str, str]) -> Size | None:
    """The stated size; 0 x 0 for one that is none."""
    width, height = count_of(values.get("width")), count_of(values.get("height"))
    if width and height:
        return width, height
    return (0, 0) if values.get("width") or values.get("height") else None
