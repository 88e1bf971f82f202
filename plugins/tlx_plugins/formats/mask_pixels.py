"""Outlines as pixels: what several formats draw into pictures."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from tlx.model import Segmentation

if TYPE_CHECKING:
    import numpy as np


def mask_pixels(outline: Segmentation, width: int, height: int) -> np.ndarray[Any, Any]:
    """The pixels of an outline; polygons are filled by pycocotools, as COCO's own tools do.

    Args:
        outline: Polygons, or a mask of the whole image.
        width: Of the image, in pixels.
        height: Of the image, in pixels.

    Returns:
        uint8 array [height, width] with 1 inside.

    Raises:
        ValueError: If the outline is a mask of another size.
    """
    from pycocotools import mask

    if outline.counts is not None and outline.size is not None:
        if outline.size != (height, width):
            stated = f"{outline.size[1]} x {outline.size[0]}"
            raise ValueError(f"has a mask of {stated} pixels in an image of {width} x {height}")
        runs = {"size": [height, width], "counts": outline.counts}
    else:
        polygons = [list(polygon) for polygon in outline.polygons]
        runs = mask.merge(mask.frPyObjects(polygons, height, width))
    with warnings.catch_warnings():  # pycocotools 2.0 and NumPy 2 differ on a keyword.
        warnings.simplefilter("ignore", DeprecationWarning)
        pixels: np.ndarray[Any, Any] = mask.decode(runs)
    return pixels
