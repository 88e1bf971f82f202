"""Anchor boxes from the boxes of the data.

The published configurations have anchors for COCO's objects: squares and mild rectangles from a
tenth of the image up. A traffic light is a quarter of that and twice as high as wide, and an
object that no anchor covers at IoU 0.5 is matched to its best anchor only and learned slowly.
Sizes here are the square roots of areas, in pixels of the network's input; ratios are width /
height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .families import Family

# COCO's usual ones, where there is no box to learn from.
_DEFAULT_RATIOS = (0.5, 1.0, 2.0)
_CLOSE_RATIOS = 1.35
_NEIGHBOUR = 1.5
_MATCHED = 0.5
# An anchor this much larger than a box of its shape still covers it at IoU 0.5, with room.
_LARGER = 1.3


@dataclass(frozen=True, slots=True)
class Anchors:
    """What anchors a network shall have.

    Attributes:
        ratios: Width / height, ascending.
        smallest: Size that a twentieth of the boxes does not reach, input pixels.
        largest: Size that a twentieth exceeds, input pixels.
        boxes: How many boxes this comes from; 0 for the defaults.
    """

    ratios: tuple[float, ...]
    smallest: float
    largest: float
    boxes: int

    def plain(self) -> dict[str, Any]:
        """For a message."""
        return asdict(self)


def input_boxes(
    boxes: Sequence[Sequence[float]], size: int, *, stretch: bool
) -> list[tuple[float, float]]:
    """Boxes as they lie in the network's input.

    Args:
        boxes: Width and height of each box, then of its image, in pixels of the image.
        size: Side of the square input in pixels.
        stretch: Whether the image fills the square; else its longer side does.

    Returns:
        Width and height in input pixels; boxes without an area are left out.
    """
    found = []
    for width, height, image_width, image_height in boxes:
        longer = max(image_width, image_height)
        across = size / (image_width if stretch else longer)
        down = size / (image_height if stretch else longer)
        if width > 0 and height > 0:
            found.append((width * across, height * down))
    return found


def _quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the ascending values lie, interpolated."""
    place = share * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def anchors_of(boxes: Sequence[tuple[float, float]], size: int) -> Anchors:
    """Ratios at the 10th, 50th and 90th percentile, sizes at the 5th and 95th."""
    if not boxes:
        return Anchors(_DEFAULT_RATIOS, size / 10, size * 0.95, 0)
    logs = sorted(math.log(width / height) for width, height in boxes)
    ratios: list[float] = []
    for share in (0.1, 0.5, 0.9):
        ratio = round(min(max(math.exp(_quantile(logs, share)), 0.1), 10.0), 3)
        if not ratios or ratio / ratios[-1] > _CLOSE_RATIOS:
            ratios.append(ratio)
    # Objects of one shape get neighbours of it: with one anchor per place and size, few match.
    if len(ratios) == 1:
        (ratio,) = ratios
        ratios = [round(ratio / _NEIGHBOUR, 3), ratio, round(ratio * _NEIGHBOUR, 3)]
    sizes = sorted(math.sqrt(width * height) for width, height in boxes)
    return Anchors(tuple(ratios), _quantile(sizes, 0.05), _quantile(sizes, 0.95), len(boxes))


def generator(family: Family, anchors: Anchors, size: int) -> dict[str, Any] | None:
    """The anchor generator of a configuration; None for CenterNet, which has no anchors."""
    if family.kind == "center_net":
        return None
    if family.kind == "faster_rcnn":
        return {
            "grid_anchor_generator": {
                "scales": _scales(anchors, 256.0, 4),
                "aspect_ratios": list(anchors.ratios),
                "height_stride": 16,
                "width_stride": 16,
            }
        }
    if family.kind == "ssd":
        smallest = min(max(anchors.smallest / size, 0.02), 0.3)
        largest = min(max(anchors.largest / size, smallest * 2), 0.95)
        return {
            "ssd_anchor_generator": {
                "num_layers": 6,
                "min_scale": round(smallest, 4),
                "max_scale": round(largest, 4),
                "aspect_ratios": list(anchors.ratios),
                "reduce_boxes_in_lowest_layer": False,
            }
        }
    # Level 3 has a stride of 8 pixels; anchors below one stride fall between its cells.
    # The finest level shall see as many objects as it can.
    scale = min(max(anchors.smallest * _LARGER / 8, 1.0), 4.0)
    return {
        "multiscale_anchor_generator": {
            "min_level": 3,
            "max_level": 7,
            "anchor_scale": round(scale, 3),
            "aspect_ratios": list(anchors.ratios),
            "scales_per_octave": 3 if family.kind == "efficientdet" else 2,
        }
    }


def _scales(anchors: Anchors, base: float, count: int) -> list[float]:
    low = min(max(anchors.smallest, 12.0), 2 * base) / base
    high = min(max(anchors.largest / base, low * 2), 2.0)
    step = (high / low) ** (1 / (count - 1))
    return [round(low * step**index, 4) for index in range(count)]


def covered(boxes: Sequence[tuple[float, float]], shapes: Sequence[tuple[float, float]]) -> float:
    """Share of boxes that some anchor shape, laid on the same centre, covers at IoU 0.5 or more."""
    if not boxes or not shapes:
        return 0.0
    return sum(max(_overlap(box, shape) for shape in shapes) >= _MATCHED for box in boxes) / len(
        boxes
    )


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    shared = min(one[0], other[0]) * min(one[1], other[1])
    return shared / (one[0] * one[1] + other[0] * other[1] - shared)


def shapes_of(config: dict[str, Any], size: int) -> list[tuple[float, float]]:
    """Width and height of every anchor that a generator of `generator` makes, input pixels."""
    (kind, values), *_ = config.items()
    ratios = values["aspect_ratios"]
    if kind == "grid_anchor_generator":
        sizes = [256.0 * scale for scale in values["scales"]]
    elif kind == "ssd_anchor_generator":
        count = values["num_layers"]
        low, high = values["min_scale"], values["max_scale"]
        sizes = [size * (low + (high - low) * i / (count - 1)) for i in range(count)]
    else:
        octaves = values["scales_per_octave"]
        levels = range(values["min_level"], values["max_level"] + 1)
        sizes = [
            2**level * values["anchor_scale"] * 2 ** (part / octaves)
            for level in levels
            for part in range(octaves)
        ]
    return [(side * math.sqrt(r), side / math.sqrt(r)) for side in sizes for r in ratios]
