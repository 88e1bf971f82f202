"""What an object looks like beyond its upright box: lines to draw, and its mask.

Everything that shows labels (`tlx.drawing`, viewers) takes its geometry from here, so that a
rotated box or a cuboid looks the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlx.model import Object, Segmentation, Shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Point = tuple[float, float]
"""x and y in absolute pixels."""

_ELLIPSE_CORNERS = 48
_LARGEST_MASK = 1 << 28
"""Pixels; beyond it a size is a mistake or an attack, and would fill the memory."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points in absolute pixels; a closed one returns to its first point."""

    points: tuple[Point, ...]
    closed: bool


def lines_of(thing: Object) -> list[Line]:
    """The lines of an object: polygons, the rotated box, polyline, ellipse, cuboid.

    An object that is only an upright box, points or a run-length encoded mask has none.
    """
    lines: list[Line] = []
    if thing.segmentation is not None:
        lines += [Line(_pairs(polygon), closed=True) for polygon in thing.segmentation.polygons]
    if thing.shape is not None:
        lines += _shape_lines(thing.shape, thing.rotation or 0.0)
    elif thing.rotation and thing.box is not None and not lines:
        box = thing.box
        corners = (
            (box.xmin, box.ymin),
            (box.xmax, box.ymin),
            (box.xmax, box.ymax),
            (box.xmin, box.ymax),
        )
        centre = ((box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2)
        lines.append(Line(_turned(corners, centre, thing.rotation), closed=True))
    return lines


def _shape_lines(shape: Shape, rotation: float) -> list[Line]:
    values = shape.coordinates
    if shape.kind == "polyline":
        return [Line(_pairs(values), closed=False)]
    if shape.kind == "ellipse":
        x, y, radius_x, radius_y = values[:4]
        angles = (2 * math.pi * n / _ELLIPSE_CORNERS for n in range(_ELLIPSE_CORNERS))
        ring = [(x + radius_x * math.cos(a), y + radius_y * math.sin(a)) for a in angles]
        return [Line(_turned(ring, (x, y), rotation), closed=True)]
    corners = _pairs(values)
    around = (0, 1, 3, 2)  # Top left, bottom left, bottom right, top right.
    faces = [
        Line(tuple(face[n] for n in around), closed=True) for face in (corners[:4], corners[4:8])
    ]
    edges = [Line((corners[n], corners[n + 4]), closed=False) for n in range(4)]
    return [*faces, *edges]


def _pairs(values: Sequence[float]) -> tuple[Point, ...]:
    return tuple(zip(values[::2], values[1::2], strict=False))


def _turned(points: Iterable[Point], centre: Point, degrees: float) -> tuple[Point, ...]:
    """Points turned clockwise as seen in an image, whose y axis points down."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    x0, y0 = centre
    return tuple(
        (
            x0 + (x - x0) * cosine - (y - y0) * sine,
            y0 + (x - x0) * sine + (y - y0) * cosine,
        )
        for x, y in points
    )


def mask_of(segmentation: Segmentation) -> npt.NDArray[np.bool_] | None:
    """A run-length encoded mask as array [height, width]; None if there is none.

    Raises:
        ValueError: If its run lengths do not fill its size, or the size is beyond reason.
    """
    if segmentation.counts is None or segmentation.size is None:
        return None
    import numpy as np
    from pycocotools import mask

    height, width = segmentation.size
    if height * width > _LARGEST_MASK:
        raise ValueError(f"a mask of {width} x {height} pixels is beyond reason")
    decoded = mask.decode({"size": [height, width], "counts": segmentation.counts})
    return np.asarray(decoded, dtype=np.bool_)
