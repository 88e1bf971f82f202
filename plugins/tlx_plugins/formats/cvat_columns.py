"""The shapes of a block as columns: those that nothing has to be said about.

The rules are those of `cvat_shapes`. What this module reads is a shape of which they would make an
object without an issue; any other is *odd*, and its whole image or track is read by them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tlx.box_policy import faulty
from tlx.schema import BOX, KEYPOINT, OBJECT, SEGMENTATION, SHAPE
from tlx_plugins.formats import cvat_lines
from tlx_plugins.formats.column_values import Flags, Integers, coded
from tlx_plugins.formats.cvat_attributes import Attributes, read_attributes
from tlx_plugins.formats.cvat_forms import Tags, is_literal
from tlx_plugins.formats.cvat_geometry import flag_of
from tlx_plugins.formats.cvat_lines import Layout
from tlx_plugins.formats.cvat_numbers import (
    BOX as IS_BOX,
)
from tlx_plugins.formats.cvat_numbers import (
    CORNERS,
    POINTS,
    POLYGON,
    POLYLINE,
    Floats,
    Geometries,
    read_geometries,
)
from tlx_plugins.formats.cvat_shapes import ShapeReader

_BUILTINS = ("source", "z_order", "group_id")
_COMMON = frozenset({*_BUILTINS, "occluded", "points", *CORNERS})
_IN_IMAGE = _COMMON | {"label"}
_IN_TRACK = _COMMON | {"frame", "keyframe", "outside"}


@dataclass(frozen=True, slots=True)
class ShapeColumns:
    """The S shapes of a block.

    Attributes:
        owners: The image or track of each, numbered within the block; [S].
        lines: Number of the line of each in the file; [S].
        labels: Text array [S].
        occluded: Bool array [S].
        geometries: Their numbers.
        attributes: What is said of them.
        tags: Their start tags, as they were read.
        odd: Shapes that need a closer look; [S].
    """

    owners: Integers
    lines: Integers
    labels: Any
    occluded: Any
    geometries: Geometries
    attributes: Attributes
    tags: Tags
    odd: Flags

    def counts(self, pieces: int) -> Integers:
        """Number of shapes in each image or track."""
        return np.bincount(self.owners, minlength=pieces)

    def take(self, rows: Integers) -> ShapeColumns:
        """Some of the shapes, some of them perhaps several times."""
        places = pa.array(rows)
        return replace(
            self,
            owners=self.owners[rows],
            lines=self.lines[rows],
            labels=self.labels.take(places),
            occluded=self.occluded.take(places),
            geometries=self.geometries.take(rows),
            attributes=self.attributes.take(rows),
            odd=self.odd[rows],
        )

    def faulty(self, sizes: Floats) -> Flags:
        """Boxes, and boxes around polygons, that a policy has to judge; [S].

        Args:
            sizes: Width and height in pixels of what each image or track is drawn on, infinite if
                not known; [P, 2].
        """
        found = faulty(self.geometries.bounds, sizes[self.owners])
        return found & (self.geometries.kinds <= POLYGON)

    def objects(self, tracks: Any = None, *, outline_boxes: bool) -> pa.StructArray:
        """The shapes as struct array [S] of `tlx.schema.OBJECT`; odd ones mean nothing.

        Args:
            tracks: Text array [S] of the ids of their tracks.
            outline_boxes: Polygons get the box around them.
        """
        kinds, count = self.geometries.kinds, len(self.owners)
        boxed = (kinds == IS_BOX) | ((kinds == POLYGON) & outline_boxes)
        values = {
            "category": self.labels,
            "box": _boxes(self.geometries.bounds, boxed),
            "segmentation": _segmentations(self.geometries, kinds == POLYGON),
            "shape": _lines(self.geometries, kinds == POLYLINE),
            "keypoints": _keypoints(self.geometries, kinds == POINTS),
            "track": tracks,
            "occluded": self.occluded,
            "attributes": self.attributes.lists(),
            "line": pa.array(self.lines),
        }
        arrays = [values.get(f.name) for f in OBJECT]
        return pa.StructArray.from_arrays(
            [
                pa.nulls(count, f.type) if array is None else array
                for f, array in zip(OBJECT, arrays, strict=True)
            ],
            fields=list(OBJECT),
        )


def read_shapes(layout: Layout, shapes: ShapeReader, tracks: Tags | None = None) -> ShapeColumns:
    """Read the shapes of a block.

    Args:
        layout: The block.
        shapes: Knows the labels, and the rules.
        tracks: The start tags of the tracks, where the block holds tracks.
    """
    places, tags = layout.places(cvat_lines.SHAPE), layout.tags(cvat_lines.SHAPE)
    owners = np.searchsorted(layout.begins, places, side="right") - 1
    geometries = read_geometries(tags)
    odd = geometries.odd | _unusual(tags, _IN_IMAGE if tracks is None else _IN_TRACK)
    odd |= _ended_by_others(layout, tags, len(places))
    if tracks is None:
        labels = coded(tags.column("label"))
        if shapes.options.groups == "join":
            odd |= tags.stated("group_id")
    else:
        texts, codes = coded(tracks.column("label"))
        labels = texts, codes[owners]
    usable = [
        text if is_literal(text) and text in shapes.meta.inputs else None for text in labels[0]
    ]
    codes = np.array([*(-1 if t is None else n for n, t in enumerate(usable)), -1])[labels[1]]
    odd |= codes < 0
    builtins = [
        (name, _stated(tags, tracks, owners, name)) for name in ("source", "z_order", "group_id")
    ]
    if tracks is not None:
        builtins.append(("keyframe", tags.column("keyframe")))
    attributes = read_attributes(
        layout, shapes, (labels[0], codes), builtins, in_track=tracks is not None
    )
    return ShapeColumns(
        owners=owners,
        lines=layout.block.line + places,
        labels=pa.array([*labels[0], ""], pa.string()).take(pa.array(codes % (len(labels[0]) + 1))),
        occluded=_flags_of(tags, "occluded"),
        geometries=geometries,
        attributes=attributes,
        tags=tags,
        odd=odd | attributes.odd,
    )


def _stated(tags: Tags, tracks: Tags | None, owners: Integers, name: str) -> Any:
    """What a shape says, or else its track."""
    column = tags.column(name)
    if tracks is None or name not in tracks.values:
        return column
    import pyarrow.compute as pc

    return pc.coalesce(column, tracks.column(name).take(pa.array(owners)))


def _unusual(tags: Tags, names: frozenset[str]) -> Flags:
    """Tags that have an attribute with a meaning of its own."""
    found = np.zeros(len(tags.kinds), bool)
    for name in tags.values.keys() - names:
        found |= tags.stated(name)
    return found


def _ended_by_others(layout: Layout, tags: Tags, count: int) -> Flags:
    """Shapes that another end tag than their own ends."""
    found = np.zeros(count, bool)
    if not count:
        return found
    numbers = [layout.names.index(name) if name in layout.names else -1 for name in tags.names]
    own = np.array([*numbers, -1])[tags.kinds]
    places = np.flatnonzero(layout.marks == cvat_lines.CLOSE)
    shapes = (np.cumsum(layout.marks == cvat_lines.SHAPE) - 1)[places]
    found[shapes[layout.closed[places] != own[shapes]]] = True
    return found


def _flags_of(tags: Tags, name: str) -> Any:
    texts, codes = coded(tags.column(name))
    values = pa.array([*(flag_of({name: text}, name) for text in texts), None], pa.bool_())
    return values.take(pa.array(codes % (len(texts) + 1)))


def _boxes(bounds: Floats, boxed: Flags) -> pa.StructArray:
    columns = [pa.array(column) for column in np.ascontiguousarray(bounds.T)]
    return pa.StructArray.from_arrays(columns, fields=list(BOX), mask=pa.array(~boxed))


def _numbers_of(geometries: Geometries, chosen: Flags) -> tuple[Integers, Any]:
    """Where the numbers of each shape begin, and these, of the chosen shapes only."""
    lengths = np.where(chosen, np.diff(geometries.starts), 0)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    points = geometries.points
    if starts[-1] < len(points):
        points = points[np.repeat(chosen, np.diff(geometries.starts))]
    return starts, points


def _segmentations(geometries: Geometries, chosen: Flags) -> Any:
    if not chosen.any():
        return None
    starts, points = _numbers_of(geometries, chosen)
    ends = np.concatenate(([0], starts[1:][chosen]))
    polygons = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(points))
    owners = np.concatenate(([0], np.cumsum(chosen)))
    count = len(chosen)
    return pa.StructArray.from_arrays(
        [
            pa.ListArray.from_arrays(pa.array(owners, pa.int32()), polygons),
            *(pa.nulls(count, field.type) for field in list(SEGMENTATION)[1:]),
        ],
        fields=list(SEGMENTATION),
        mask=pa.array(~chosen),
    )


def _lines(geometries: Geometries, chosen: Flags) -> Any:
    if not chosen.any():
        return None
    starts, points = _numbers_of(geometries, chosen)
    coordinates = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), pa.array(points))
    kinds = pa.array(["polyline"]).take(pa.array(np.zeros(len(chosen), np.int32)))
    return pa.StructArray.from_arrays(
        [kinds, coordinates], fields=list(SHAPE), mask=pa.array(~chosen)
    )


def _keypoints(geometries: Geometries, chosen: Flags) -> pa.ListArray:
    starts, points = _numbers_of(geometries, chosen)
    xs, ys = pa.array(points[0::2].copy()), pa.array(points[1::2].copy())
    blank = [pa.nulls(len(xs), field.type) for field in list(KEYPOINT)[2:]]
    values = pa.StructArray.from_arrays([xs, ys, *blank], fields=list(KEYPOINT))
    return pa.ListArray.from_arrays(
        pa.array(starts // 2, pa.int32()), values, type=OBJECT.field("keypoints").type
    )
