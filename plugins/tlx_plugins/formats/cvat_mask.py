"""CVAT's masks: run lengths, row by row, within the box around the mask.

The first run is background and may be 0; the runs add up to width x height of the box. A record
keeps masks as COCO does, column by column over the whole image.
"""

from __future__ import annotations

from tlx.model import Box, Segmentation
from tlx_plugins.formats.coco_rle import compress
from tlx_plugins.formats.mask_pixels import mask_pixels

_LARGEST = 1 << 27
"""Pixels that the box around a mask may have: more is a mistake, and would cost the memory."""


def whole_image(numbers: tuple[float, ...], size: tuple[int, int]) -> Segmentation:
    """The mask in the whole image.

    Args:
        numbers: Left, top, width and height of the box in pixels, then the runs.
        size: Width and height of the image in pixels.

    Raises:
        ValueError: Says what is wrong with it.
    """
    import numpy as np

    if max(map(abs, numbers)) >= 2**31:
        raise ValueError("has impossible numbers")
    left, top, width, height = map(int, numbers[:4])
    runs = np.array(numbers[4:], dtype=np.int64)
    image_width, image_height = size
    if width <= 0 or height <= 0 or width * height > _LARGEST:
        raise ValueError(f"has the impossible size {width} x {height}")
    if left < 0 or top < 0 or left + width > image_width or top + height > image_height:
        raise ValueError(f"leaves the image of {image_width} x {image_height} pixels")
    if (runs < 0).any() or int(runs.sum()) != width * height:
        raise ValueError(f"has runs of {int(runs.sum())} pixels where it has {width} x {height}")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    # A row of background below each column, and one value before the first, so that no run goes
    # on into the next column and each one has a start and an end.
    columns = np.zeros((width, height + 1), dtype=np.int8)
    columns[:, :height] = inside.T
    change = np.diff(columns.ravel(), prepend=0)
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    starts, ends = (
        (left + at // (height + 1)) * image_height + top + at % (height + 1)
        for at in (starts, ends)
    )
    if len(starts):
        # A mask as high as the image runs on from column to column after all.
        apart = starts[1:] != ends[:-1]
        starts = starts[np.concatenate([[True], apart])]
        ends = ends[np.concatenate([apart, [True]])]
    edges = np.empty(2 * len(starts) + 2, dtype=np.int64)
    edges[0], edges[1:-1:2], edges[2:-1:2] = 0, starts, ends
    edges[-1] = image_width * image_height
    counts: list[int] = np.diff(edges).tolist()
    if counts[-1] == 0 and len(counts) > 1:
        counts.pop()
    return Segmentation(counts=compress(counts), size=(image_height, image_width), compressed=False)


def within_box(
    outline: Segmentation, box: Box | None, size: tuple[int, int]
) -> tuple[int, int, int, int, list[int]]:
    """A mask, or the pixels of polygons, as CVAT has it.

    Args:
        outline: A mask of the whole image, or polygons, which pycocotools fills.
        box: The box around it, taken if it is of whole pixels and leaves out none of the mask;
            otherwise the smallest one.
        size: Width and height of the image in pixels.

    Returns:
        Left, top, width and height of the box in pixels, and the runs.

    Raises:
        ValueError: If the mask is of another size than the image, or empty.
    """
    import numpy as np

    width, height = size
    inside = mask_pixels(outline, width, height)
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    whole = box is not None and all(
        float(value).is_integer() for value in (box.xmin, box.ymin, box.xmax, box.ymax)
    )
    if not len(columns):
        raise ValueError("has a mask without a pixel")
    left, top = int(columns[0]), int(rows[0])
    right, bottom = int(columns[-1]) + 1, int(rows[-1]) + 1
    if (
        box is not None
        and whole
        and 0 <= box.xmin <= left
        and 0 <= box.ymin <= top
        and right <= box.xmax <= width
        and bottom <= box.ymax <= height
    ):
        left, top, right, bottom = map(int, (box.xmin, box.ymin, box.xmax, box.ymax))
    flat = inside[top:bottom, left:right].ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs: list[int] = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    if flat[0]:
        runs.insert(0, 0)
    return left, top, right - left, bottom - top, runs
