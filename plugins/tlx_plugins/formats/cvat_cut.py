"""Cutting the bytes of a CVAT file into blocks of whole images or tracks.

CVAT writes every tag on a line of its own. Where a file is written so, thousands of images or many
tracks are cut out at a time without parsing them, and `cvat_lines` takes them apart as columns.
Whatever is not written so is left for `cvat_xml`, which reads any XML: a file that is not UTF-8,
has a document type, or comments before its first image, as a whole; any other from the place where
it stops being regular.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

BLOCK = 4 << 20
"""Bytes of a block: enough for columns to pay, few enough to hold many copies of them."""

_FIRST_BLOCK = 1 << 17
"""Bytes of the first block; blocks grow with what was read, as a small file is soon read anyway."""

_LARGEST_BLOCK = 4 * BLOCK
_LARGEST_HEAD = 4 << 20
_CHUNK = 1 << 16
"""Bytes that are read at once, and lost if that fails."""

_BEGIN = re.compile(rb"( {0,16})<(image|track) ")
_FIRST = re.compile(rb"\n *<(?:image|track) ")
_DECLARATION = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:utf-8)[\"'])? *\?>)?"
)
_SHORT_LINE = 16
"""Bytes; columns of lines that are shorter on average would take many times their room."""

_NEWLINE, _SPACE = b"\n "
_NO_CHARACTERS = re.compile("[\ufffe\uffff]")
"""What UTF-8 can hold and XML cannot (XML 1.0, section 2.2), besides control characters."""


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes that begin with a start tag and end with the end tag of the same name.

    Attributes:
        data: Whole lines.
        name: ``image`` or ``track``.
        indent: Spaces before either tag.
        line: Number of the first line in the file, counted from 1.
        offset: Place of the first byte in the file.
    """

    data: bytes
    name: str
    indent: int
    line: int
    offset: int


class Cutter:
    """Cuts a stream from its beginning.

    Args:
        stream: The bytes of a file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held = b""
        self._ended = False
        self._failed: Exception | None = None
        self.line = 1
        """Number of the line that comes next."""
        self.offset = 0
        """Place of the byte that comes next."""

    def head(self) -> bytes | None:
        """What stands before the first image or track; None where the file cannot be cut."""
        wanted = _FIRST_BLOCK
        self._fill(wanted)
        while not (found := _FIRST.search(self._held)):
            if self._ended or wanted >= _LARGEST_HEAD:
                return None
            wanted *= 2
            self._fill(wanted)
        declared = _DECLARATION.match(self._held)
        if declared is None:
            return None
        head = self._held[: found.start() + 1]
        inside = head[declared.end() :]
        if b"<!" in inside or b"<?" in inside:
            return None
        self._take(len(head), head.count(b"\n"))
        return head

    def block(self) -> Block | None:
        """The next block; None where something else comes, or nothing."""
        wanted = min(max(self.offset // 2, _FIRST_BLOCK), BLOCK)
        while True:
            self._fill(wanted)
            begin = _BEGIN.match(self._held)
            if begin is None:
                return None
            size = self._size(begin, wanted)
            if size:
                break
            if self._ended or wanted >= _LARGEST_BLOCK:
                return None
            wanted *= 2
        data, line, offset = self._held[:size], self.line, self.offset
        lines = _plain_lines(data)
        if lines is None or lines * _SHORT_LINE > size:
            return None
        self._take(size, lines)
        return Block(data, begin[2].decode(), len(begin[1]), line, offset)

    def back(self, data: bytes, line: int, offset: int) -> None:
        """Give back the last bytes that were cut out, to go on there.

        Args:
            data: The bytes.
            line: Number of the line that they begin with.
            offset: Place of the first of them in the file.
        """
        self._held = data + self._held
        self.line = line
        self.offset = offset

    def read(self, size: int) -> bytes:
        """The next bytes as they are, as of a file; lines are no longer counted."""
        if not self._held:
            self._fill(size)
        data, self._held = self._held[:size], self._held[size:]
        if not data and self._failed is not None:
            raise self._failed
        return data

    def _size(self, begin: re.Match[bytes], most: int) -> int:
        """How many of so many bytes are whole elements of the name that they begin with."""
        end = b"\n" + begin[1] + b"</" + begin[2] + b">\n"
        last = self._held.rfind(end, 0, most)
        return last + len(end) if last >= 0 else 0

    def _fill(self, size: int) -> None:
        parts = [self._held]
        missing = size - len(self._held)
        while missing > 0 and not self._ended:
            try:
                data = self._stream.read(_CHUNK)
            except Exception as error:  # noqa: BLE001 - raised where the bytes before it end
                self._failed, data = error, b""
            parts.append(data)
            missing -= len(data)
            self._ended = not data
        self._held = b"".join(parts)

    def _take(self, size: int, lines: int) -> None:
        self.line += lines
        self.offset += size
        self._held = self._held[size:]


def _plain_lines(data: bytes) -> int | None:
    """How many lines there are; None if it is not UTF-8, or holds what a parser would change."""
    letters = np.frombuffer(data, np.uint8)
    lines = int(np.count_nonzero(letters == _NEWLINE))
    # XML forbids most control characters, and the others do not stay what they are.
    if np.count_nonzero(letters < _SPACE) != lines:
        return None
    if data.isascii():
        return lines
    try:
        return lines if _NO_CHARACTERS.search(data.decode()) is None else None
    except UnicodeDecodeError:
        return None
