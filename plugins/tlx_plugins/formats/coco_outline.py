"""Polygons and masks of COCO: checked, measured; and boxes."""

from __future__ import annotations

import math
from operator import mul

from tlx.model import Box, Keypoint, Segmentation
from tlx_plugins.formats import coco_rle
from tlx_plugins.formats.coco_file import CocoRle, Number


def polygon(points: tuple[float, ...]) -> tuple[float, ...]:
    """Check a polygon: x0, y0, x1, y1, ... in absolute pixels, three points or more.

    Raises:
        ValueError: Says what is wrong with it.
    """
    if len(points) < 6 or len(points) % 2:
        raise ValueError(f"has a polygon of {len(points)} numbers where 6, 8, ... are needed")
    return points


def mask(outline: CocoRle) -> Segmentation:
    """Check a run-length encoded mask and bring it to the compressed alphabet.

    Raises:
        ValueError: Says what is wrong with it.
    """
    height, width = outline.size
    compressed = isinstance(outline.counts, str)
    if isinstance(outline.counts, str):
        letters = outline.counts.encode()
        counts = coco_rle.decompress(letters)
    else:
        counts = outline.counts
        letters = coco_rle.compress(counts)
    if not 0 < height < 2**31 or not 0 < width < 2**31 or any(count < 0 for count in counts):
        raise ValueError(f"has a mask of impossible size {height} x {width} or run lengths")
    if sum(counts) != height * width:
        raise ValueError(f"has runs of {sum(counts)} pixels for a mask of {height} x {width}")
    return Segmentation(counts=letters, size=(height, width), compressed=compressed)


def outline_bounds(segmentation: Segmentation) -> Box | None:
    """The box around polygons or a mask, in absolute pixels; None for an empty mask."""
    if segmentation.polygons:
        xs = [polygon[0::2] for polygon in segmentation.polygons]
        ys = [polygon[1::2] for polygon in segmentation.polygons]
        return Box(min(map(min, xs)), min(map(min, ys)), max(map(max, xs)), max(map(max, ys)))
    if segmentation.counts is None or segmentation.size is None:
        return None
    found = coco_rle.bounds(coco_rle.decompress(segmentation.counts), segmentation.size[0])
    return None if found is None else Box(*map(float, found))


def computed_area(box: Box | None, segmentation: Segmentation | None) -> float:
    """Area in square pixels: of the polygons by the shoelace formula, the mask, or the box."""
    if segmentation is not None and segmentation.polygons:
        return sum(map(_shoelace, segmentation.polygons))
    if segmentation is not None and segmentation.counts is not None:
        return float(coco_rle.area(coco_rle.decompress(segmentation.counts)))
    return box.area if box is not None else 0.0


def _shoelace(polygon: tuple[float, ...]) -> float:
    xs, ys = polygon[0::2], polygon[1::2]
    forward: float = sum(map(mul, xs, ys[1:] + ys[:1]))
    backward: float = sum(map(mul, ys, xs[1:] + xs[:1]))
    return abs(forward - backward) / 2


def keypoints(values: tuple[Number, ...], names: tuple[str, ...]) -> tuple[Keypoint, ...]:
    """Keypoints from triples of x, y and visibility, with the names that the category gives.

    Raises:
        ValueError: If they are not finite triples.
    """
    numbers = [as_float(value) for value in values if value is not None]
    finite = [number for number in numbers if math.isfinite(number)]
    if len(finite) != len(values) or len(values) % 3:
        raise ValueError("are not triples of x, y and visibility; left out")
    triples = zip(finite[0::3], finite[1::3], finite[2::3], strict=True)
    return tuple(
        Keypoint(
            x,
            y,
            int(v) if v in (0, 1, 2) else None,
            names[number] if number < len(names) else None,
        )
        for number, (x, y, v) in enumerate(triples)
    )


def as_float(value: float) -> float:
    """A number of JSON as float64; a whole number that is too large for it is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def corners(bbox: tuple[Number, ...]) -> Box | None:
    """The box of COCO's x, y, width, height; None if they are not four finite numbers."""
    numbers = [value for value in bbox if value is not None]
    if len(bbox) != 4 or len(numbers) != 4:
        return None
    x, y, width, height = map(as_float, numbers)
    box = Box(x, y, x + width, y + height)
    return box if all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))) else None


def distance(first: Box, second: Box) -> float:
    """The largest difference between two boxes' edges, in pixels."""
    return max(
        abs(first.xmin - second.xmin),
        abs(first.ymin - second.ymin),
        abs(first.xmax - second.xmax),
        abs(first.ymax - second.ymax),
    )
