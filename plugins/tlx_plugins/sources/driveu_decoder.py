"""DriveU's raw images, decoded wherever tlx needs pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image as PillowImage

# As the set names its left images, or City/CityN/sequence/file as it lays them out.
_NAME = re.compile(r"DE_.*_k0\.tiff?|.*_k0\.tiff?", re.IGNORECASE)
_LAYOUT = re.compile(r"(?:.*/)?([A-Z][a-z]+)/\1\d+/[^/]+/[^/]+\.tiff?", re.IGNORECASE)


def is_raw_name(path: str) -> bool:
    """Whether a path, with slashes, is one that the set gives to a raw image."""
    return bool(_NAME.fullmatch(path.rpartition("/")[2]) or _LAYOUT.fullmatch(path))


class DriveuDecoder:
    """Knows the images by their names and by their one channel of 16 bits."""

    name = "driveu-bayer"
    summary = "DriveU's 16-bit Bayer images (TIFF)"
    suffixes = (".tiff", ".tif")

    def recognises(self, path: Path) -> bool:
        """Whether name and header are those of a raw image of DriveU."""
        if not is_raw_name(path.as_posix()):
            return False
        from tlx_plugins.sources.driveu_bayer import is_mosaic

        return is_mosaic(path)

    def decode(self, path: Path) -> PillowImage.Image:
        """The picture; see `tlx_plugins.sources.driveu_bayer`."""
        from PIL import Image

        from tlx_plugins.sources.driveu_bayer import decode_bayer

        return Image.fromarray(decode_bayer(path))
