"""Between two keyframes of a track: the geometry that CVAT shows there.

Boxes, ellipses and cuboids move linearly corner by corner, the rotation goes the short way round,
a single point moves linearly, several points stand still until the next keyframe, and so does a
mask. Lines and polygons, whose keyframes may differ in their number of points, are matched by the
share of the outline's length at which each point lies, and thinned out again.

The rule is that of CVAT's ``TrackManager.get_interpolated_shapes``
(``cvat/apps/dataset_manager/annotation.py``, cvat-ai/cvat), with one exception: CVAT's server
turns a shape by a single degree where the two rotations differ by exactly half a turn; its own
page, and this module, turn it by half a turn, clockwise.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

Numbers = tuple[float, ...]
Point = tuple[float, float]

LINEAR = frozenset({"box", "ellipse", "cuboid"})
TURNING = LINEAR | {"skeleton"}
"""Shapes that have a rotation."""


def between(kind: str, left: Numbers, right: Numbers, share: float) -> Numbers:
    """The numbers of a shape at a share (0 to 1) of the way from one keyframe to the next.

    Args:
        kind: Name of the shape's element.
        left: Its numbers at the keyframe before, as `tlx_plugins.formats.cvat_shapes` reads them.
        right: Its numbers at the keyframe after.
        share: 0 is the left keyframe, 1 the right one.
    """
    if kind in LINEAR or (kind == "points" and len(left) == len(right) == 2):
        if len(left) != len(right):
            return left
        return tuple(a + (b - a) * share for a, b in zip(left, right, strict=True))
    if kind == "polygon":
        # The outline is closed for the matching, and the doubled end is taken off again.
        return _outline(left + left[:2], right + right[:2], share)[:-2]
    if kind == "polyline":
        return _outline(left, right, share)
    return left


def turned(left: float, right: float, share: float) -> float:
    """The rotation in degrees, 0 to 360, at a share of the short way between two."""
    difference = (right - left + 180) % 360 - 180
    if difference == -180:
        difference = 180
    return (left + difference * share) % 360


def _outline(left: Numbers, right: Numbers, share: float) -> Numbers:
    left_points, right_points = _points(left), _points(right)
    matching = _match(_positions(left_points), _positions(right_points))
    moved = [
        (x + (right_points[index][0] - x) * share, y + (right_points[index][1] - y) * share)
        for (x, y), indices in zip(left_points, matching, strict=True)
        for index in indices
    ]
    thinned = _Thinning(left_points, right_points, matching, moved).points()
    return tuple(value for point in thinned for value in point)


def _points(numbers: Numbers) -> list[Point]:
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _length(points: list[Point]) -> float:
    return sum(math.dist(a, b) for a, b in pairwise(points))


def _positions(points: list[Point]) -> list[float]:
    """At which share of the length each point lies."""
    reached = [0.0, *accumulate(math.dist(a, b) for a, b in pairwise(points))]
    # All points in one place: they share its beginning.
    return [value / reached[-1] if reached[-1] else 0.0 for value in reached]


def _nearest(value: float, positions: list[float]) -> int:
    return min(range(len(positions)), key=lambda index: abs(value - positions[index]))


def _match(left: list[float], right: list[float]) -> list[list[int]]:
    """For each point on the left the points on the right that it goes to; none is left out."""
    matching = [[_nearest(value, right)] for value in left]
    reached = {index for indices in matching for index in indices}
    for index, value in enumerate(right):
        if index not in reached:
            matching[_nearest(value, left)].append(index)
    return [sorted(indices) for indices in matching]


class _Thinning:
    """Takes out points that came to lie close together, run by run."""

    def __init__(
        self,
        left: list[Point],
        right: list[Point],
        matching: list[list[int]],
        moved: list[Point],
    ) -> None:
        self.left = left
        self.right = right
        self.matching = matching
        self.moved = moved
        self.first = [0, *accumulate(map(len, matching))]
        """Of each point on the left the position of its first moved point."""
        self.kept: list[Point] = []

    def points(self) -> list[Point]:
        """The moved points that stay."""
        opened: int | None = None
        for index, indices in enumerate(self.matching):
            if len(indices) > 1:
                if opened is not None:
                    self._merging(opened, index - 1)
                    opened = None
                self._splitting(index)
            elif opened is None:
                opened = index
            elif indices[0] != self.matching[opened][0]:
                self._merging(opened, index - 1)
                opened = index
        if opened is not None:
            self._merging(opened, len(self.matching) - 1)
        return self.kept

    def _merging(self, start: int, stop: int) -> None:
        """Several points on the left that go to one on the right."""
        if start == stop:
            self.kept.append(self.moved[self.first[start]])
            return
        length = _length(self.left[start : stop + 1])
        self._reduce(length, stop - start + 1, self.first[start], self.first[stop])

    def _splitting(self, index: int) -> None:
        """One point on the left that goes to several on the right."""
        start, stop = self.matching[index][0], self.matching[index][-1]
        length = _length(self.right[start : stop + 1])
        self._reduce(length, stop - start + 1, self.first[index], self.first[index + 1] - 1)

    def _reduce(self, length: float, number: int, start: int, stop: int) -> None:
        threshold = length / (2 * number)
        kept = [self.moved[start]]
        for point in self.moved[start + 1 : stop]:
            if math.dist(kept[-1], point) >= threshold:
                kept.append(point)
        last = self.moved[stop]
        if len(kept) == 1 and math.dist(kept[0], last) < threshold:
            kept = [((kept[0][0] + last[0]) / 2, (kept[0][1] + last[1]) / 2)]
        else:
            kept.append(last)
        self.kept += kept
