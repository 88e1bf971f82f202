"""Pixels of image files: as Pillow reads them, or decoded by a plugin where Pillow is wrong.

Whoever needs pixels asks here, so that raw sensor data that a plugin knows (`tlx.api.Decoder`)
looks right in training, prediction, drawing and viewing alike.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tlx import host
from tlx.errors import DataError

if TYPE_CHECKING:
    from PIL import Image as PillowImage

_PROXY_QUALITY = 92


def decoder_of(path: str | Path) -> host.Entry | None:
    """The plugin that decodes a file, None where Pillow does.

    Decoders are asked for the endings that they name only, so that this costs nothing for others.
    """
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - for every image of a dataset
    for entry in host.installed().all("decoder"):
        if suffix in entry.value.suffixes:
            with host.guard(entry):
                if entry.value.recognises(Path(path)):
                    return entry
    return None


def open_rgb(path: str | Path) -> PillowImage.Image:
    """An image as 8-bit RGB, pixels as stored (no EXIF rotation: labels count stored pixels).

    Raises:
        OSError: If it is not there or no image; Pillow's readers raise ValueError and SyntaxError
            too.
    """
    from PIL import Image

    entry = decoder_of(path)
    if entry is None:
        with Image.open(path) as image:
            return image.convert("RGB")
    try:
        with host.guard(entry):
            decoded: PillowImage.Image = entry.value.decode(Path(path))
            return decoded
    except DataError as error:
        raise OSError(error.message) from error


def cache_folder() -> Path:
    """Where pictures for viewers are kept: ``$XDG_CACHE_HOME/tlx/pictures``, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tlx" / "pictures"


def shown_path(path: str) -> str:
    """The path of `viewable`; the path itself where there is nothing to show."""
    try:
        return str(viewable(Path(path)))
    except OSError:  # Whoever opens the file says what is wrong with it.
        return path


def viewable(path: Path) -> Path:
    """A file that any program shows right: the image itself, or a cached 8-bit JPEG of it.

    The copy is made anew when the image changes.

    Raises:
        OSError: As of `open_rgb`, or if the copy cannot be written.
    """
    entry = decoder_of(path)
    if entry is None:
        return path
    status = path.stat()
    mark = f"{path.resolve()}\0{status.st_mtime_ns}\0{status.st_size}\0{entry.origin}"
    folder = cache_folder()
    proxy = folder / f"{hashlib.sha256(mark.encode(errors='surrogateescape')).hexdigest()}.jpg"
    if not proxy.is_file():
        picture = open_rgb(path)
        folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
        os.close(handle)
        try:
            picture.save(part, "JPEG", quality=_PROXY_QUALITY)
            Path(part).replace(proxy)
        finally:
            Path(part).unlink(missing_ok=True)
    return proxy
