"""The XML files of a layout, read some hundred at a time, and taken apart together where plain."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlx_plugins.formats.voc_layout import LabelFile, Layout
from tlx_plugins.formats.voc_markup import Splitter, document_of
from tlx_plugins.formats.voc_objects import ColumnReader, VocColumns
from tlx_plugins.formats.voc_xml import VocImage

if TYPE_CHECKING:
    from tlx_plugins.formats.voc import VocOptions

ALIKE = True
"""Whether plain files are taken apart together; tests compare."""

_FEWEST, _MOST = 32, 512
_SHARE = 8
_MOST_BYTES = 1 << 20
"""Bytes after which no other file is added to those that are held."""
_AT_ONCE = 1 << 16
_BINARY = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Plain:
    """What a plain file says.

    Attributes:
        image: Of its image.
        stated: Of how it counts.
        closer: Whether there may be something to say about its objects.
        columns: Its objects, and those of others.
        start: The first of them that is its own.
        stop: The one after its last.
    """

    image: VocImage
    stated: str | None
    closer: bool
    columns: VocColumns
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was read.

    Attributes:
        file: Which one.
        data: What is in it, or why it cannot be read.
        plain: What it says, where it is plain; the parser has to read any other.
    """

    file: LabelFile
    data: bytes | OSError
    plain: Plain | None


def at_once(done: int) -> int:
    """How many files to hold after some: more of many, so that few take little room."""
    return min(max(_FEWEST, done // _SHARE), _MOST)


class Ahead:
    """Reads files before their turn, so that many are taken apart together.

    Args:
        layout: Where they lie.
        options: The user's choices.
        base_of: What the first pixel is counted as, by what a file states.

    Attributes:
        alone: Whether each file is read when its turn comes, and left to the parser.
    """

    def __init__(
        self, layout: Layout, options: VocOptions, base_of: Callable[[str | None], int]
    ) -> None:
        self.layout = layout
        self.options = options
        self.splitter = Splitter()
        self.reader = ColumnReader(base_of)
        self.alone = True

    def read(self) -> Iterator[Found]:
        """All files in their order."""
        files = self.layout.files
        start = 0
        while start < len(files):
            if self.alone:
                yield Found(files[start], self._content(files[start]), None)
                start += 1
                continue
            held: list[bytes | OSError] = []
            room = _MOST_BYTES
            for file in files[start : start + at_once(start)]:
                data = self._content(file)
                held.append(data)
                room -= 0 if isinstance(data, OSError) else len(data)
                if room < 0:
                    break
            yield from self._together(files[start : start + len(held)], held)
            start += len(held)

    def _content(self, file: LabelFile) -> bytes | OSError:
        return _content(f"{self.layout.root}/{file.path}")

    def _together(
        self, files: Sequence[LabelFile], held: Sequence[bytes | OSError]
    ) -> Iterator[Found]:
        columns = None
        if ALIKE and self.options.encoding is None:
            markup = self.splitter.split(
                [None if isinstance(data, OSError) else document_of(data) for data in held]
            )
            columns = None if markup is None else self.reader.read(markup)
        for place, (file, data) in enumerate(zip(files, held, strict=True)):
            row = None if columns is None else columns.rows.get(place)
            if columns is None or row is None:
                yield Found(file, data, None)
                continue
            plain = Plain(
                columns.images[row],
                columns.stated[row],
                columns.closer[row],
                columns,
                columns.starts[row],
                columns.starts[row + 1],
            )
            yield Found(file, data, plain)


def _content(path: str) -> bytes | OSError:
    try:
        file = os.open(path, os.O_RDONLY | _BINARY)
    except OSError as error:
        return error
    try:
        data = os.read(file, _AT_ONCE)
        if len(data) < _AT_ONCE:
            return data
        parts = [data]
        while part := os.read(file, _AT_ONCE << 4):
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        return error
    finally:
        os.close(file)
