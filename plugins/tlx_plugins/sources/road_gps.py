"""Images joined to segments by the position that the camera wrote: EXIF GPS (EXIF 2.32, 4.6.6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import ceil, cos, floor, hypot, isfinite, radians
from pathlib import Path
from typing import Any, NamedTuple

from tlx_plugins.sources.road_segments import TOLERANCE, Segment, road_key

Degrees = tuple[float, float]
"""Latitude and longitude in degrees, WGS 84, north and east positive."""

_METRES = 111_195.0
"""Metres of a degree of latitude on a sphere of 6,371 km."""
_GPS_DIRECTORY = 0x8825
_CLOSE = 5.0
"""Metres by which another road must be farther away, or nobody knows which one it is."""


class _Line(NamedTuple):
    first: Degrees
    last: Degrees
    segment: Segment


class GpsIndex:
    """The nearest segment to a position.

    A segment is the straight line between its two ends; where a row has its beginning only, up to
    the beginning of the next one of its road, or that one point.

    Args:
        segments: In any order; those without a position are passed over.
        limit: Metres beyond which no segment is near.
    """

    def __init__(self, segments: Sequence[Segment], limit: float) -> None:
        self.limit = limit
        self.cell = max(limit, 100.0) / _METRES
        self.cells: dict[tuple[int, int], list[_Line]] = defaultdict(list)
        # Cells are as wide as they are high at the latitude farthest from the equator, and wider
        # elsewhere: what is near lies in a neighbouring one.
        farthest = max((abs(point[0]) for s in segments for point in s.points), default=0.0)
        self.narrow = max(0.01, cos(radians(min(farthest, 90.0))))
        self.size = 0
        ways: dict[tuple[str, str], list[Segment]] = defaultdict(list)
        for segment in segments:
            if segment.points:
                ways[road_key(segment.road), road_key(segment.carriageway)].append(segment)
        for found in ways.values():
            found.sort(key=lambda s: (s.start, s.line))
            for segment, following in zip(found, [*found[1:], None], strict=True):
                first, last = segment.points[0], segment.points[-1]
                meets = following is not None and abs(following.start - segment.end) <= TOLERANCE
                if len(segment.points) == 1 and following is not None and meets:
                    last = following.points[0]
                self._add(first, last, segment)

    def _add(self, first: Degrees, last: Degrees, segment: Segment) -> None:
        self.size += 1
        steps = max(1, ceil(2 * _distance(first, last) / (self.cell * _METRES)))
        if steps > 100_000:
            steps = 1  # No road: one of the two ends is wrong.
        keys = {
            self._key((first[0] + (last[0] - first[0]) * n / steps,
                       first[1] + (last[1] - first[1]) * n / steps))
            for n in range(steps + 1)
        }  # fmt: skip
        for key in keys:
            self.cells[key].append(_Line(first, last, segment))

    def _key(self, point: Degrees) -> tuple[int, int]:
        return floor(point[0] / self.cell), floor(point[1] * self.narrow / self.cell)

    def nearest(self, point: Degrees) -> tuple[Segment, float] | Segment | None:
        """The nearest segment and its distance in metres.

        Returns:
            None if none is near; a segment alone where another road or carriageway is as near.
        """
        row, column = self._key(point)
        found: dict[int, tuple[float, Segment]] = {}
        for across in (-1, 0, 1):
            for along in (-1, 0, 1):
                for first, last, segment in self.cells.get((row + across, column + along), ()):
                    distance = _to_line(point, first, last)
                    known = found.get(id(segment))
                    if distance <= self.limit and (known is None or distance < known[0]):
                        found[id(segment)] = (distance, segment)
        # Where two meet, the end of the one belongs to the other.
        ranked = sorted(found.values(), key=lambda item: (round(item[0], 2), -item[1].start))
        if not ranked:
            return None
        distance, best = ranked[0]
        for other, segment in ranked[1:]:
            same = _way(segment) == _way(best)
            if other - distance < _CLOSE and not same:
                return best
        return best, distance


def _way(segment: Segment) -> tuple[str, str]:
    return road_key(segment.road), road_key(segment.carriageway)


def _flat(point: Degrees, origin: Degrees) -> tuple[float, float]:
    """Metres east and north of an origin; exact enough for some kilometres."""
    east = (point[1] - origin[1]) * cos(radians(origin[0]))
    return east * _METRES, (point[0] - origin[0]) * _METRES


def _distance(first: Degrees, last: Degrees) -> float:
    return hypot(*_flat(last, first))


def _to_line(point: Degrees, first: Degrees, last: Degrees) -> float:
    """Metres from a point to the line between two others."""
    (ax, ay), (bx, by) = _flat(first, point), _flat(last, point)
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    share = 0.0 if square == 0 else min(1.0, max(0.0, -(ax * dx + ay * dy) / square))
    return hypot(ax + share * dx, ay + share * dy)


def read_position(path: Path) -> Degrees | None:
    """Where an image was taken, by its EXIF data; None if they do not say."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            facts: Any = image.getexif().get_ifd(_GPS_DIRECTORY)
            latitude = _angle(facts[2], facts[1], "S")
            longitude = _angle(facts[4], facts[3], "W")
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, ArithmeticError,
            UnidentifiedImageError, Image.DecompressionBombError):  # fmt: skip
        return None
    if abs(latitude) > 90 or abs(longitude) > 180 or (latitude, longitude) == (0.0, 0.0):
        return None  # Zero and zero is what cameras write that do not know.
    return latitude, longitude


def _angle(parts: Any, side: Any, negative: str) -> float:
    whole, minutes, seconds = (float(part) for part in parts)
    value = whole + minutes / 60 + seconds / 3600
    if not isfinite(value):
        message = "an angle is not finite"
        raise ValueError(message)
    return -value if str(side).strip("\0 ").upper() == negative else value
