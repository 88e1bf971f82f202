"""The numbers of many shapes at once, and which of them need a closer look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx_plugins.formats.column_values import Flags, Integers, flags, ragged
from tlx_plugins.formats.cvat_forms import Tags

Floats = np.ndarray[Any, np.dtype[np.float64]]

KINDS = ("box", "polygon", "polyline", "points")
"""The shapes that are read as columns."""

BOX, POLYGON, POLYLINE, POINTS = range(4)
CORNERS = ("xtl", "ytl", "xbr", "ybr")
_LEAST_POINTS = np.array([0, 3, 2, 1])
_SEPARATORS = b",;\n"
_COMMA, _, _NEWLINE = _SEPARATORS
_LARGEST = 1e12
"""Numbers beyond are looked at one by one, so that no sum can overflow."""

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_PLAIN_NUMBER = f"^{_NUMBER}$"
_PLAIN_POINTS = f"^{_NUMBER},{_NUMBER}(?:;{_NUMBER},{_NUMBER})*$"


@dataclass(frozen=True, slots=True)
class Geometries:
    """The geometry of N shapes, in absolute pixels.

    Attributes:
        kinds: Place in `KINDS`; -1 for any other shape; [N].
        bounds: xmin, ymin, xmax, ymax of the box or around the points; [N, 4]; NaN for others.
        points: x0, y0, x1, y1, ... of all shapes but boxes, end to end.
        starts: Where the numbers of each shape begin in ``points``, and the end; [N + 1].
        odd: Shapes whose numbers need a closer look; their geometry here means nothing; [N].
    """

    kinds: Integers
    bounds: Floats
    points: Floats
    starts: Integers
    odd: Flags

    def take(self, rows: Integers) -> Geometries:
        """Some of the shapes."""
        starts, places = ragged(self.starts, rows)
        return Geometries(
            self.kinds[rows], self.bounds[rows], self.points[places], starts, self.odd[rows]
        )


def read_geometries(tags: Tags) -> Geometries:
    """Read the numbers of start tags."""
    numbers = [KINDS.index(name) if name in KINDS else -1 for name in tags.names]
    kinds = np.array([*numbers, -1])[tags.kinds]
    corners, odd = _corners(tags)
    points, starts, unread = _points(tags.column("points"))
    stated = tags.stated("points")
    lengths = np.diff(starts) // 2
    odd |= unread | (kinds < 0) | (stated != (kinds != BOX))
    odd |= lengths < _LEAST_POINTS[kinds]
    bounds = _bounds(points, starts)
    of_box = kinds == BOX
    bounds[of_box] = corners[of_box]
    # Corners of another shape are the box that tlx states for it; a box needs all four.
    has_corner = np.zeros(len(kinds), bool)
    for name in CORNERS:
        has_corner |= tags.stated(name)
    odd |= has_corner & ~of_box
    odd |= ~(np.abs(bounds) <= _LARGEST).all(axis=1)
    return Geometries(kinds, bounds, points, starts, odd)


def _corners(tags: Tags) -> tuple[Floats, Flags]:
    found = np.empty((len(tags.kinds), 4))
    odd = np.zeros(len(tags.kinds), bool)
    for place, name in enumerate(CORNERS):
        column = tags.column(name)
        try:
            numbers = pc.cast(column, pa.float64())
        except pa.ArrowInvalid:
            plain = pc.match_substring_regex(column, _PLAIN_NUMBER)
            odd |= ~flags(pc.fill_null(plain, True))
            numbers = pc.cast(pc.if_else(plain, column, None), pa.float64())
        found[:, place] = numbers.to_numpy(zero_copy_only=False)
    return found, odd


def _points(column: Any) -> tuple[Floats, Integers, Flags]:
    """Numbers end to end, where those of each text begin, and texts that were not read."""
    odd = np.zeros(len(column), bool)
    read = _parsed(column)
    if read is None:
        plain = pc.match_substring_regex(column, _PLAIN_POINTS)
        odd = ~flags(pc.fill_null(plain, True))
        column = pc.if_else(plain, column, None)
        read = _parsed(column)
    if read is None:
        odd = np.ones(len(column), bool)
        column = pa.nulls(len(column), pa.string())
        read = np.zeros(0), np.zeros(0, np.int64)
    lengths = np.zeros(len(column), np.int64)
    lengths[flags(column.is_valid())] = read[1] * 2
    return read[0], np.concatenate(([0], np.cumsum(lengths))), odd


def _parsed(column: Any) -> tuple[Floats, Integers] | None:
    """The numbers of the texts ``x,y;x,y;...`` that there are, and how many points each has.

    Returns:
        x and y of all points in turn, and an array of the counts; None where a text is something
        else.
    """
    texts = column.drop_null()
    if not len(texts):
        return np.zeros(0), np.zeros(0, np.int64)
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    joined = pc.binary_join(whole, "\n")[0].as_buffer().to_pybytes() + b"\n"
    letters = np.frombuffer(joined, np.uint8)
    comma, semicolon, newline = (letters == separator for separator in _SEPARATORS)
    ends = np.flatnonzero(comma | semicolon | newline)
    kinds = letters[ends]
    if len(ends) % 2 or (kinds[0::2] != _COMMA).any() or (kinds[1::2] == _COMMA).any():
        return None
    # Without what separates them the numbers lie end to end, as Arrow has texts.
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends - np.arange(len(ends))
    digits = joined.translate(None, _SEPARATORS)
    split = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(digits))
    try:
        numbers: Floats = split.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    last = np.flatnonzero(kinds[1::2] == _NEWLINE)
    return (numbers, np.diff(last, prepend=-1)) if np.isfinite(numbers).all() else None


def _bounds(points: Floats, starts: Integers) -> Floats:
    found = np.full((len(starts) - 1, 4), np.nan)
    filled = np.diff(starts) > 0
    if filled.any():
        begin = starts[:-1][filled] // 2
        xs, ys = points[0::2].copy(), points[1::2].copy()
        measures = (np.minimum, xs), (np.minimum, ys), (np.maximum, xs), (np.maximum, ys)
        for place, (measure, values) in enumerate(measures):
            found[filled, place] = measure.reduceat(values, begin)
    return found
