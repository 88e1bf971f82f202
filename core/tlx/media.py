"""Image files: what can be known of them without decoding pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
"""File name endings of images, in lower case."""

_FIRST_BYTES = 2048
_PNG = b"\x89PNG\r\n\x1a\n"
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC): ITU-T T.81, table B.1.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# TEM and RST0..RST7 stand alone; every other marker is followed by the length of its segment.
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_APP1 = 0xE1
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112


class ImageHeader(NamedTuple):
    """What the header of an image says.

    Attributes:
        width: Pixels as stored.
        height: Pixels as stored.
        orientation: How EXIF says to show it, 1 to 8; 1 is as stored (`tlx.orientation`).
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels as stored."""
        return self.width, self.height


def image_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height in pixels as stored; None as of `image_header`."""
    header = image_header(path)
    return None if header is None else header[:2]


def image_header(path: str | Path) -> ImageHeader | None:
    """Read the size and the orientation of an image from its header.

    JPEG (ITU-T T.81, annex B) and PNG (W3C PNG specification, 11.2.1) are read here, in some ten
    microseconds; Pillow is asked about everything else.

    Args:
        path: The image file.

    Returns:
        None when the file is no image that can be read, is cut off before its size, or is not
        there.
    """
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return None
    try:
        head = os.read(file, _FIRST_BYTES)
        if head.startswith(_PNG):
            return _png_header(head)
        if head.startswith(b"\xff\xd8"):
            return _jpeg_header(head, lambda position: _read_at(file, position))
    except OSError:
        return None
    finally:
        os.close(file)
    return _pillow_header(path) if head else None


def encoded_image_header(data: bytes) -> ImageHeader | None:
    """Read the header of an image from its bytes; the counterpart of `image_header`."""
    if data.startswith(_PNG):
        return _png_header(data[:_FIRST_BYTES])
    if data.startswith(b"\xff\xd8"):
        head = data[:_FIRST_BYTES]
        return _jpeg_header(head, lambda position: data[position : position + _FIRST_BYTES])
    return _pillow_header(BytesIO(data)) if data else None


def encoded_image_size(data: bytes) -> tuple[int, int] | None:
    """Read the size of an image from its bytes; the counterpart of `image_size`."""
    header = encoded_image_header(data)
    return None if header is None else header[:2]


def _read_at(file: int, position: int) -> bytes:
    os.lseek(file, position, os.SEEK_SET)
    return os.read(file, _FIRST_BYTES)


def _png_header(head: bytes) -> ImageHeader | None:
    if head[12:16] != b"IHDR" or len(head) < 24:
        return None
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    # EXIF stands before the pixels, if at all (PNG third edition, 11.3.3.7).
    position, orientation = 33, 1
    while position + 8 <= len(head):
        kind = head[position + 4 : position + 8]
        if kind == b"IDAT":
            break
        if kind == b"eXIf":
            orientation = _exif_orientation(head[position + 8 :])
            break
        position += 12 + int.from_bytes(head[position : position + 4])
    return _header(width, height, orientation)


def _jpeg_header(head: bytes, read_at: Callable[[int], bytes]) -> ImageHeader | None:
    """Walk the segments up to the start of frame; a long segment (ICC) is jumped over."""
    start = 0
    position = 2
    orientation = 1
    while True:
        if position + 9 > start + len(head):
            head, start = read_at(position), position
            if len(head) < 9:
                return None
        at = position - start
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # Any number of fill bytes may precede a marker.
            position += 1
        elif marker in _STANDALONE:
            position += 2
        elif marker in _START_OF_FRAME:
            height = int.from_bytes(head[at + 5 : at + 7])
            return _header(int.from_bytes(head[at + 7 : at + 9]), height, orientation)
        else:
            length = int.from_bytes(head[at + 2 : at + 4])
            if length < 2:
                return None
            if marker == _APP1 and orientation == 1:
                if len(head) - at < min(length, _FIRST_BYTES // 2):
                    head, start, at = read_at(position), position, 0
                if head[at + 4 : at + 10] == _EXIF:
                    orientation = _exif_orientation(head[at + 10 : at + 2 + length])
            position += 2 + length


def _exif_orientation(data: bytes) -> int:
    """The orientation in the first directory of EXIF data (TIFF 6.0, section 2); 1 without."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    first = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[first : first + 2], order)
    for place in range(first + 2, min(first + 2 + 12 * count, len(data) - 11), 12):
        if int.from_bytes(data[place : place + 2], order) == _ORIENTATION:
            value = int.from_bytes(data[place + 8 : place + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1


def _header(width: int, height: int, orientation: int = 1) -> ImageHeader | None:
    return ImageHeader(width, height, orientation) if width > 0 and height > 0 else None


def _pillow_header(path: str | Path | BytesIO) -> ImageHeader | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            # Pillow hands out the pixels of a TIFF upright, and its size too.
            orientation = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)
            known = isinstance(orientation, int) and 1 <= orientation <= 8
            return _header(image.width, image.height, orientation if known else 1)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        # Pillow's readers raise SyntaxError and ValueError for broken files.
        return None
