"""Instance masks of the VOC devkit: ``SegmentationObject/X.png``.

Each pixel holds the number of its object, counted from 1 in the order of the XML; 0 is background
and 255 a border that belongs to nobody (VOC2012 devkit document, section 9.2).
"""

from __future__ import annotations

from pathlib import Path

from tlx.model import Segmentation
from tlx_plugins.formats import coco_rle

FOLDER = "segmentationobject"
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
