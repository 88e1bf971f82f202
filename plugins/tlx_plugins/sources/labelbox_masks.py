"""Masks of a Labelbox export that were fetched: pictures as large as the image.

A mask of one object is white on black. A composite mask has the objects of an image in one
picture, each in the colour that its entry names (docs.labelbox.com/reference/label-export,
``mask`` and ``composite_mask``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.fetched import FetchedImages
from tlx.model import Box, Segmentation
from tlx_plugins.fetching.lists import is_web
from tlx_plugins.sources.labelbox_schema import Mask, Thing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class MaskFault(Exception):
    """A mask that cannot become an outline; the text goes on after its subject.

    Args:
        code: The code of the issue.
        message: What is wrong with it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Masks:
    """The masks of a folder of ``tlx fetch``.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched = FetchedImages(folder)
        # The objects of an image follow each other, and name the same composite mask.
        self._last: tuple[str, npt.NDArray[np.uint8]] | None = None

    def outline(self, thing: Thing, size: tuple[int, int] | None) -> tuple[Segmentation, Box]:
        """The mask of an object, and the box around its pixels.

        Args:
            thing: An object with a mask.
            size: Width and height of the image in pixels, if known.

        Raises:
            MaskFault: If it is not there, of another size than the image, or empty.
        """
        import numpy as np
        from pycocotools import mask as runs

        one, composite = thing.mask, thing.composite_mask
        given = one or composite
        inside = self._inside(given or Mask(), one is None)
        height, width = inside.shape
        if size is not None and size != (width, height):
            raise MaskFault(
                "bad-mask",
                f"has {width} x {height} pixels and its image {size[0]} x {size[1]}.",
            )
        columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
        if not len(columns):
            raise MaskFault("bad-mask", "has no pixel of the object.")
        counts = runs.encode(np.asfortranarray(inside, np.uint8))["counts"]
        box = Box(float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0)
        return Segmentation(counts=counts, size=(height, width), compressed=True), box

    def _inside(self, mask: Mask, composite: bool) -> npt.NDArray[np.bool_]:
        """The pixels of the object; bool array [height, width]."""
        url = mask.url or ""
        file = self.fetched.find(url)
        if file is None:
            later = "was not asked for yet." if is_web(url) else "is no address to fetch it from."
            raise MaskFault("not-fetched", self.fetched.failure(url) or f"{url!r} {later}")
        if self._last is None or self._last[0] != file:
            self._last = file, self._pixels(file)
        pixels = self._last[1]
        seen = pixels[..., 3] > 0
        if not composite:
            found: npt.NDArray[np.bool_] = seen & (pixels[..., :3] > 0).any(axis=2)
            return found
        color = mask.color_rgb
        if not _is_color(color):
            raise MaskFault("bad-mask", "is one of several objects, and its colour is not named.")
        same: npt.NDArray[np.bool_] = seen & (pixels[..., :3] == color).all(axis=2)
        return same

    def _pixels(self, file: str) -> npt.NDArray[np.uint8]:
        """Red, green, blue and alpha; uint8 array [height, width, 4]."""
        import numpy as np
        from PIL import Image

        try:
            with Image.open(self.folder / file) as image:
                return np.asarray(image.convert("RGBA"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise MaskFault("bad-mask", f"{file} cannot be decoded: {error}.") from error


def _is_color(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(part) is int and 0 <= part < 256 for part in value)
    )
