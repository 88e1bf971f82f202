"""Size ranges: average precision of the small, of the large, of the 8 to 16 pixel high objects.

A ground truth outside of a range is ignored for that range: not finding it is no mistake, and a
detection that finds it is neither right nor wrong. So is a detection outside of the range that
finds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tlx.evaluation.boxes import Booleans, Detections, Floats, GroundTruth, box_area, box_height

Measure: TypeAlias = Literal["area", "height"]

# A height is a difference of two coordinates, so 16 may come out as 15.999999999999998 and land
# in the bin below. Heights are compared after rounding to this many decimals of a pixel.
_HEIGHT_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Range:
    """A range of object sizes.

    Attributes:
        name: the key of the range in results.
        measure: "area" in square pixels: `low <= area <= high`, both bounds included as in the
            COCO API, and a ground truth is measured by the area that its annotation states;
            "height" in pixels of the box: `low <= height < high`, so that bins that touch count
            each box once.
        low: lower bound, 0 or more.
        high: upper bound, may be `math.inf`.

    Raises:
        ValueError: the bounds are not 0 <= low <= high (low < high for heights), or the measure
            is unknown.
    """

    name: str
    measure: Measure
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.measure not in ("area", "height"):
            message = f"Range {self.name!r}: measure must be 'area' or 'height': {self.measure!r}"
            raise ValueError(message)
        empty = self.low == self.high and self.measure == "height"
        if not 0 <= self.low <= self.high or empty:
            message = f"Range {self.name!r}: bounds {self.low} to {self.high} hold no size"
            raise ValueError(message)

    @property
    def label(self) -> str:
        """The range for people: "8-16 px", "64+ px", "1024-9216 px²"."""
        unit = "px" if self.measure == "height" else "px²"
        if math.isinf(self.high):
            return f"{self.low:g}+ {unit}"
        return f"{self.low:g}-{self.high:g} {unit}"

    def outside_ground_truth(self, ground_truth: GroundTruth) -> Booleans:
        """bool[G]: the boxes whose size is not in the range."""
        if self.measure == "area":
            return self._outside(ground_truth.box_area)
        return self._outside(box_height(ground_truth.box))

    def outside_detections(self, detections: Detections) -> Booleans:
        """bool[D]: the boxes whose size is not in the range."""
        measure = box_area if self.measure == "area" else box_height
        return self._outside(measure(detections.box))

    def _outside(self, size: Floats) -> Booleans:
        if self.measure == "area":
            return (size < self.low) | (size > self.high)
        height = np.round(size, _HEIGHT_DECIMALS)
        return (height < self.low) | (height >= self.high)


def height_ranges(bounds: Sequence[float] = (8, 16, 32, 64)) -> tuple[Range, ...]:
    """Bins of box height between `bounds` (pixels, ascending), from 0 and open at the top.

    Returns:
        len(bounds) + 1 ranges, named `height_0_8`, `height_8_16`, ..., `height_64_up`.

    Raises:
        ValueError: the bounds are not above 0 and ascending.
    """
    edges = (0.0, *bounds, math.inf)
    names = [f"{edge:g}" for edge in edges[:-1]] + ["up"]
    return tuple(
        Range(f"height_{names[i]}_{names[i + 1]}", "height", edges[i], edges[i + 1])
        for i in range(len(edges) - 1)
    )


# The bounds of the COCO API (pycocotools cocoeval.py, Params.setDetParams).
COCO_AREA_RANGES: tuple[Range, ...] = (
    Range("all", "area", 0, 1e5**2),
    Range("small", "area", 0, 32**2),
    Range("medium", "area", 32**2, 96**2),
    Range("large", "area", 96**2, 1e5**2),
)

# A traffic light at 1280 x 720 is mostly 8 to 64 pixels high.
DEFAULT_RANGES: tuple[Range, ...] = (*COCO_AREA_RANGES, *height_ranges())
