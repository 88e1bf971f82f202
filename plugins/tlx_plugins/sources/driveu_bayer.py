"""The images of DriveU: 12 bits of a Bayer mosaic in 16-bit TIFF, made into pictures.

The official readers demosaic the pattern that OpenCV calls ``BAYER_GB`` and MATLAB ``grbg`` and
then drop the four lowest bits (github.com/julimueller/dtld_parsing)::

    G R G R ...
    B G B G ...

Any other way of opening such a file shows a dark grey mosaic.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tlx.errors import DataError, TlxError

SUFFIXES = (".tiff", ".tif")
"""Endings of files that hold a mosaic."""
MODES = ("I;16", "I;16B", "I;16L")
"""Pillow's names for one channel of 16 bits."""


def demosaic(mosaic: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Interpolate the two colours that each pixel lacks, bilinearly from its nearest neighbours.

    Args:
        mosaic: (height, width), both at least 2, pattern G R / B G, any bit depth.

    Returns:
        (height, width, 3) in the order red, green, blue and the same bit depth. A colour that
        a pixel measured is kept exactly; means are rounded down.
    """
    # Reflection about the outermost pixel continues the pattern, since it keeps parity.
    padded = np.pad(mosaic, 1, mode="reflect").astype(np.uint32)
    row, column = np.ogrid[: padded.shape[0], : padded.shape[1]]
    odd_row, odd_column = (row + 1) % 2 == 1, (column + 1) % 2 == 1
    places = (~odd_row & odd_column, odd_row == odd_column, odd_row & ~odd_column)
    picture = np.empty((*mosaic.shape, 3), np.uint16)
    for channel, place in enumerate(places):
        known = np.where(place, padded, 0)
        sides = known[:, :-2] + known[:, 2:]
        if channel == 1:
            total = sides[1:-1] + known[:-2, 1:-1] + known[2:, 1:-1] + 4 * known[1:-1, 1:-1]
        else:
            rows = sides + 2 * known[:, 1:-1]
            total = rows[:-2] + 2 * rows[1:-1] + rows[2:]
        picture[..., channel] = total // 4
    return picture


def decode_bayer(path: Path) -> npt.NDArray[np.uint8]:
    """Read a 16-bit mosaic as a picture.

    Args:
        path: A TIFF with one channel of 16 bits, of which the lower 12 are used.

    Returns:
        (height, width, 3), red, green, blue; values beyond 12 bits are white.

    Raises:
        DataError: If the file cannot be read or holds something else.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in MODES:
                raise DataError(
                    f"is no 16-bit mosaic: its pixels are of Pillow's mode {image.mode}.",
                    place=path,
                )
            mosaic = np.asarray(image).astype(np.uint16)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        # Pillow's readers raise SyntaxError and ValueError for broken files.
        raise DataError(f"cannot be read as a TIFF: {error}.", place=path) from error
    if min(mosaic.shape) < 2:
        raise DataError("is smaller than one cell of the Bayer pattern.", place=path)
    picture: npt.NDArray[np.uint8] = np.minimum(demosaic(mosaic) >> 4, 255).astype(np.uint8)
    return picture


def is_mosaic(path: Path) -> bool:
    """Whether a file holds one channel of 16 bits; False where it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.mode in MODES
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
        return False


def write_proxy(image: Path, proxies: Path, uri: str) -> str:
    """Make the 8-bit copy of an image, unless one lies there that is not older.

    Args:
        image: A mosaic, or an image that needs no decoding and is copied as it is.
        proxies: The folder of the copies.
        uri: Path of the image below its own root.

    Returns:
        Path of the copy below ``proxies``: a PNG for a mosaic.

    Raises:
        DataError: If the image cannot be decoded.
        TlxError: If the copy cannot be written.
    """
    is_mosaic = image.suffix.lower() in SUFFIXES
    name = f"{uri.rpartition('.')[0]}.png" if is_mosaic else uri
    target = proxies / name
    try:
        if target.exists() and target.stat().st_mtime >= image.stat().st_mtime:
            return name
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
        os.close(handle)
        try:
            if is_mosaic:
                Image.fromarray(decode_bayer(image)).save(part, "PNG", compress_level=1)
            else:
                shutil.copyfile(image, part)
            Path(part).chmod(0o644)
            Path(part).replace(target)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        hint = "Free some space, or choose another --proxies."
        raise TlxError(f"cannot write {target}: {error.strerror}.", hint=hint) from error
    return name
