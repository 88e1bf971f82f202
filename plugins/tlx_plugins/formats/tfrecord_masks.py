"""Masks of objects in records: PNG images, or floats, of the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from tlx.model import Segmentation
from tlx_plugins.formats.mask_pixels import mask_pixels


def mask_png(segmentation: Segmentation | None, width: int, height: int) -> bytes:
    """A PNG of one channel with 1 inside the object and 0 outside (``create_coco_tf_record.py``).

    Polygons are filled by pycocotools, as COCO's own tools fill them.

    Args:
        segmentation: The outline; None makes an empty mask.
        width: Of the image, in pixels.
        height: Of the image, in pixels.

    Raises:
        ValueError: If the outline is a mask of another size.
    """
    import numpy as np
    from PIL import Image

    if segmentation is None:
        pixels = np.zeros((height, width), np.uint8)
    else:
        pixels = mask_pixels(segmentation, width, height)
    out = BytesIO()
    Image.fromarray(pixels, "L").save(out, "PNG")
    return out.getvalue()


def mask_from_png(data: bytes, width: int, height: int) -> Segmentation:
    """The run-length encoded mask of a PNG; every value above 0 is inside.

    Raises:
        ValueError: If it is no image, or one of another size.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data)) as image:
            if image.size != (width, height):
                raise ValueError(
                    f"is a mask of {image.width} x {image.height} pixels in an image of "
                    f"{width} x {height}"
                )
            pixels = np.asarray(
                image if image.mode in ("L", "1", "P", "I;16") else image.convert("L")
            )
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"is no mask that can be read ({error})") from error
    return _encoded(pixels > 0)


def masks_from_floats(values: Sequence[float], width: int, height: int) -> list[Segmentation]:
    """The masks of a list of ``objects * height * width`` floats, 0 or 1.

    Raises:
        ValueError: If the length does not fit.
    """
    import numpy as np

    if not width * height or len(values) % (width * height):
        raise ValueError(f"has {len(values)} mask values for an image of {width} x {height}")
    stack = np.asarray(values, np.float32).reshape(-1, height, width)
    return [_encoded(pixels > 0) for pixels in stack]


def _encoded(inside: Any) -> Segmentation:
    import numpy as np
    from pycocotools import mask

    runs = mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    height, width = inside.shape
    return Segmentation(counts=runs["counts"], size=(height, width), compressed=True)
