"""Masks of the VOC devkit: ``SegmentationObject/X.png`` and ``SegmentationClass/X.png``.

Each pixel holds the number of its object, counted from 1 in the order of the XML, or of its class;
0 is background and 255 a border that belongs to nobody (VOC2012 devkit document, section 9.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.model import Segmentation
from tlx_plugins.formats import coco_rle
from tlx_plugins.formats.mask_pixels import mask_pixels

if TYPE_CHECKING:
    import numpy as np

FOLDER = "segmentationobject"
MOST_NUMBERS = 254
"""Objects of an image, or classes, that a picture of one byte a pixel can tell apart."""
_VOID = 255
_MAXIMUM_PIXELS = 1 << 28


def read_masks(path: Path) -> list[Segmentation | None]:
    """The mask of each object of an image.

    Args:
        path: A PNG with a palette, or of grey values.

    Returns:
        For object 1, 2, ... its mask of the size of the image; None for a number without pixels.

    Raises:
        ValueError: If it is no such image; says why.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode not in {"P", "L"}:
                raise ValueError(f"has colours ({image.mode}) instead of object numbers")
            if image.width * image.height > _MAXIMUM_PIXELS:
                raise ValueError(f"is too large: {image.width} x {image.height} pixels")
            numbers = np.asarray(image)
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    height, width = numbers.shape
    present = [int(n) for n in np.unique(numbers) if 0 < n < _VOID]
    masks: list[Segmentation | None] = [None] * max(present, default=0)
    for number in present:
        # Runs are counted down the columns, beginning with background.
        inside = (numbers == number).ravel(order="F")
        edges = np.flatnonzero(np.diff(inside)) + 1
        bounds = np.concatenate(([0], edges, [inside.size]))
        counts = np.diff(bounds).tolist()
        if inside[0]:
            counts = [0, *counts]
        masks[number - 1] = Segmentation(
            counts=coco_rle.compress(counts), size=(height, width), compressed=True
        )
    return masks


def draw_numbers(
    outlines: Sequence[Segmentation | None], width: int, height: int
) -> tuple[np.ndarray[Any, Any], int]:
    """A picture of the numbers of objects.

    Where objects overlap the smaller one is seen, so that the least is hidden.

    Args:
        outlines: Of object 1, 2, ...; None for one without an outline.
        width: Of the image, in pixels.
        height: Of the image, in pixels.

    Returns:
        uint8 array [height, width], and how many objects are hidden in part.

    Raises:
        ValueError: If there are more than `MOST_NUMBERS` objects, or a mask is of another size.
    """
    import numpy as np

    if len(outlines) > MOST_NUMBERS:
        raise ValueError(f"has {len(outlines)} objects, and a mask tells {MOST_NUMBERS} apart")
    drawn = [
        (number, mask_pixels(outline, width, height))
        for number, outline in enumerate(outlines, 1)
        if outline is not None
    ]
    areas = {number: int(pixels.sum()) for number, pixels in drawn}
    picture = np.zeros((height, width), np.uint8)
    for number, pixels in sorted(drawn, key=lambda pair: -areas[pair[0]]):
        picture[pixels > 0] = number
    seen = np.bincount(picture.ravel(), minlength=256)
    return picture, sum(int(seen[number]) < area for number, area in areas.items())


def save_picture(numbers: np.ndarray[Any, Any], path: Path) -> None:
    """Write numbers as a PNG with the devkit's palette."""
    from PIL import Image

    image = Image.fromarray(numbers, "P")
    image.putpalette([value for number in range(256) for value in _color(number)])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG")


def _color(number: int) -> tuple[int, int, int]:
    """Red, green and blue of a number (devkit, ``VOClabelcolormap.m``).

    Its bits are dealt out to the three in turn, each from its highest bit downwards.
    """
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (number & 1) << bit
        green |= (number >> 1 & 1) << bit
        blue |= (number >> 2 & 1) << bit
        number >>= 3
    return red, green, blue
