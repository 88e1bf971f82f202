"""Rotated boxes of YOLO: four corners of a rectangle, each divided by the size of the image.

Ultralytics (docs.ultralytics.com/datasets/obb) has ``class x1 y1 x2 y2 x3 y3 x4 y4``. The corners
go round from the one that is top left before the rotation, so that the first side is the width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx.model import Box

Point = tuple[float, float]

_SQUARE = 1e-3
"""How far, in pixels, a corner may lie from where a rectangle has it."""
_DECIMALS = 6


def quadrilaterals(objects: pa.StructArray, corners: Sequence[Any]) -> list[Any]:
    """The corners of each object's rectangle: x0, y0, ... x3, y3 as float arrays, null as given.

    A box is turned by its rotation; an object with one polygon or more, and no rotation, gets the
    smallest rectangle around them.

    Args:
        objects: Struct array of `tlx.schema.OBJECT`.
        corners: Arrays of xmin, ymin, xmax, ymax in absolute pixels.
    """
    known = np.asarray(corners[0].is_valid())
    left, top, right, bottom = (np.array(pc.fill_null(values, 0.0)) for values in corners)
    rotation = pc.struct_field(objects, "rotation")
    angle = np.radians(np.asarray(pc.fill_null(rotation, 0.0)))
    x, y = (left + right) / 2, (top + bottom) / 2
    half, tall = (right - left) / 2, (bottom - top) / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    found = []
    straight = angle == 0.0
    for across, down in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        # What is not turned stays what it is to the last bit.
        here = left if across < 0 else right, top if down < 0 else bottom
        turned_x = x + across * half * cosine - down * tall * sine
        turned_y = y + across * half * sine + down * tall * cosine
        found.append(np.where(straight, here[0], turned_x))
        found.append(np.where(straight, here[1], turned_y))
    outlines = pc.struct_field(objects, ["segmentation", "polygons"])
    outlined = pc.and_(pc.greater(pc.list_value_length(outlines), 0), rotation.is_null())
    for place in pc.indices_nonzero(pc.fill_null(outlined, False)).to_pylist():
        values = [value for polygon in outlines[place].as_py() for value in polygon]
        rectangle = smallest_rectangle(list(zip(values[0::2], values[1::2], strict=True)))
        for number, value in enumerate(v for point in rectangle for v in point):
            found[number][place] = value
    return [pa.array(values, pa.float64(), mask=~known) for values in found]


def extents(points: Sequence[Any], corners: Sequence[Any]) -> list[Any]:
    """The box around each rectangle; an empty or inverted box stays what it is.

    Args:
        points: From `quadrilaterals`.
        corners: Arrays of xmin, ymin, xmax, ymax that they were made of.
    """
    real = pc.and_(pc.less(corners[0], corners[2]), pc.less(corners[1], corners[3]))
    around = [
        pc.min_element_wise(*points[0::2]),
        pc.min_element_wise(*points[1::2]),
        pc.max_element_wise(*points[0::2]),
        pc.max_element_wise(*points[1::2]),
    ]
    return [pc.if_else(real, new, old) for new, old in zip(around, corners, strict=True)]


def smallest_rectangle(points: Sequence[Point]) -> list[Point]:
    """The corners of the rectangle of least area around points.

    One side of it lies on a side of the convex hull (Freeman and Shapira, "Determining the
    minimum-area encasing rectangle for an arbitrary closed curve", 1975).
    """
    hull = np.array(_hull(points))
    best: tuple[float, list[Point]] | None = None
    for side in np.roll(hull, -1, axis=0) - hull:
        length = float(np.hypot(*side))
        if not length:
            continue
        along = side / length
        across = np.array([-along[1], along[0]])
        u, v = hull @ along, hull @ across
        area = float((u.max() - u.min()) * (v.max() - v.min()))
        if best is None or area < best[0]:
            ends = ((u.min(), v.min()), (u.max(), v.min()), (u.max(), v.max()), (u.min(), v.max()))
            places = (a * along + b * across for a, b in ends)
            best = area, [(float(p), float(q)) for p, q in places]
    return best[1] if best is not None else [points[0]] * 4


def _hull(points: Sequence[Point]) -> list[Point]:
    """The convex hull, clockwise on the screen (Andrew's monotone chain)."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    chains = []
    for run in (ordered, ordered[::-1]):
        chain: list[Point] = []
        for point in run:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains += chain[:-1]
    return chains


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def rotated_box(points: Sequence[Point]) -> tuple[Box, float | None] | None:
    """The box and rotation that four corners are; None if they are no rectangle.

    Returns:
        The box before its rotation, in absolute pixels, and degrees, clockwise, from 0 to 360;
        None for the rotation of a box that is not turned.
    """
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    width, height = math.hypot(bx - ax, by - ay), math.hypot(dx - ax, dy - ay)
    if not width or not height:
        return None
    # The fourth corner of a parallelogram, and a right angle, both measured in pixels.
    apart = math.hypot(ax + cx - bx - dx, ay + cy - by - dy)
    lean = abs((bx - ax) * (dx - ax) + (by - ay) * (dy - ay)) / max(width, height)
    clockwise = _turn(points[0], points[1], points[3]) > 0
    if apart > _SQUARE or lean > _SQUARE or not clockwise:
        return None
    x, y = (ax + bx + cx + dx) / 4, (ay + by + cy + dy) / 4
    box = Box(
        round(x - width / 2, _DECIMALS),
        round(y - height / 2, _DECIMALS),
        round(x + width / 2, _DECIMALS),
        round(y + height / 2, _DECIMALS),
    )
    angle = round(math.degrees(math.atan2(by - ay, bx - ax)) % 360, _DECIMALS) % 360
    return box, angle or None
