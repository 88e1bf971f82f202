"""Whether what has come is an image that decodes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tlx_plugins.fetching.failure import Failure

KINDS = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
}
"""Kinds of images that are taken, in Pillow's words, with their usual endings."""

_LIKE = {".jpeg": ".jpg", ".tiff": ".tif"}
_PIXELS = 100_000_000
"""Pixels beyond which a small file may be a bomb."""


class Picture(NamedTuple):
    """What an image file is; width and height in pixels, as stored."""

    kind: str
    width: int
    height: int


def check_image(path: Path, content_type: str | None) -> Picture:
    """Decode an image.

    Args:
        path: The file.
        content_type: What the server said that it is.

    Raises:
        Failure: If it is none, broken, or of too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    said = f"; the server says {content_type}" if content_type else ""
    try:
        # Pillow opens a JPEG of several pictures (MPO) as a JPEG first.
        with Image.open(path, formats=tuple(KINDS.keys() - {"MPO"})) as image:
            found = Picture(str(image.format), image.width, image.height)
            if found.width * found.height > _PIXELS:
                raise Failure(
                    "too-many-pixels", f"has {found.width} x {found.height} pixels; not decoded."
                )
            image.load()
    except UnidentifiedImageError as error:
        raise Failure("no-image", f"is no image of a known kind{said}.") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        text = " ".join(str(error).split())[:120]
        raise Failure("broken-image", f"cannot be decoded: {text}{said}.") from error
    return found


def note_on(picture: Picture, name: str, content_type: str | None) -> str | None:
    """What the name or the server says that the image is not; None if all agree."""
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if suffix and _LIKE.get(suffix, suffix) != KINDS[picture.kind]:
        return f"is {picture.kind}, which its name does not say"
    if content_type and content_type.startswith("image/"):
        stated = "." + content_type.removeprefix("image/").removeprefix("x-").removeprefix("ms-")
        if _LIKE.get(stated, stated) not in {KINDS[picture.kind], ".pjpeg"}:
            return f"is {picture.kind}; the server says {content_type}"
    return None
