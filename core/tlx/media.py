"""Image files: what can be known of them without decoding pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
"""File name endings of images, in lower case."""

_FIRST_BYTES = 2048
_PNG = b"\x89PNG\r\n\x1a\n"
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC): ITU-T T.81, table B.1.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# TEM and RST0..RST7 stand alone; every other marker is followed by the length of its segment.
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def image_size(path: str | Path) -> tuple[int, int] | None:
    """Read the size of an image from its header.

    JPEG (ITU-T T.81, annex B) and PNG (W3C PNG specification, 11.2.1) are read here, in some ten
    microseconds; Pillow is asked about everything else.

    Args:
        path: The image file.

    Returns:
        Width and height in pixels as stored, before any rotation that metadata ask for; None when
        the file is no image that can be read, is cut off before its size, or is not there.
    """
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return None
    try:
        head = os.read(file, _FIRST_BYTES)
        if head.startswith(_PNG):
            return _png_size(head)
        if head.startswith(b"\xff\xd8"):
            return _jpeg_size(head, lambda position: _read_at(file, position))
    except OSError:
        return None
    finally:
        os.close(file)
    return _pillow_size(path) if head else None


def encoded_image_size(data: bytes) -> tuple[int, int] | None:
    """Read the size of an image from its bytes; the counterpart of `image_size`."""
    if data.startswith(_PNG):
        return _png_size(data)
    if data.startswith(b"\xff\xd8"):
        head = data[:_FIRST_BYTES]
        return _jpeg_size(head, lambda position: data[position : position + _FIRST_BYTES])
    return _pillow_size(BytesIO(data)) if data else None


def _read_at(file: int, position: int) -> bytes:
    os.lseek(file, position, os.SEEK_SET)
    return os.read(file, _FIRST_BYTES)


def _png_size(head: bytes) -> tuple[int, int] | None:
    if head[12:16] != b"IHDR" or len(head) < 24:
        return None
    return _positive(int.from_bytes(head[16:20]), int.from_bytes(head[20:24]))


def _jpeg_size(head: bytes, read_at: Callable[[int], bytes]) -> tuple[int, int] | None:
    """Walk the segments up to the start of frame; a long segment (EXIF, ICC) is jumped over."""
    start = 0
    position = 2
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
            return _positive(int.from_bytes(head[at + 7 : at + 9]), height)
        else:
            length = int.from_bytes(head[at + 2 : at + 4])
            if length < 2:
                return None
            position += 2 + length


def _positive(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if width > 0 and height > 0 else None


def _pillow_size(path: str | Path | BytesIO) -> tuple[int, int] | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return _positive(image.width, image.height)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        # Pillow's readers raise SyntaxError and ValueError for broken files.
        return None
