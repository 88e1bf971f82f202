"""Files of a Labelbox export: which they are, and their rows one by one.

Today's export is NDJSON and is streamed. Everything else (a JSON list, a single object, several
objects, UTF-16) is held in memory as text, and decoded value by value: a row is never in memory
together with all others, each has its line, and what precedes a cut is not lost.
"""

from __future__ import annotations

import codecs
import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tlx.errors import DataError, Place
from tlx_plugins.sources.labelbox_schema import ExportRow, decode_row, decode_rows, explain

SUFFIXES = (".ndjson", ".jsonl", ".json")
_HEAD = 65536
_BLOCK = 1 << 17
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE = " \t\r\n"
IMPORT_HINT = (
    "This is what Labelbox imports (annotations or predictions); tlx reads what it exports."
)

Value = ExportRow | dict[str, Any]
"""A row of today's export as its type, and any other JSON object as it is."""


Row = tuple[Value, int, int]
"""A row, where it starts (bytes of a stream, characters of a text), and its line from 1. A plain
tuple, since a class of its own would cost a tenth of the time of reading a small row."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A value that could not be decoded: a sentence, the line, and whether more can follow."""

    code: str
    message: str
    line: int
    hint: str | None = None


def kind_of(path: Path) -> str | None:
    """What a file is, by its first 64 KB.

    Returns:
        ``stream`` for NDJSON of today's export, ``text`` for the other containers and
        generations, ``import`` for what Labelbox imports, None for anything else.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    if head.startswith(_UTF16):
        head = head.decode("utf-16", errors="ignore").encode()
        streams = False
    else:
        head = head.removeprefix(codecs.BOM_UTF8)
        streams = True
    body = head.lstrip()
    if not body.startswith((b"{", b"[")):
        return None
    if b'"data_row"' in head:
        first = body.split(b"\n", 1)[0]
        return "stream" if streams and body[:1] == b"{" and b'"data_row"' in first else "text"
    if b'"Labeled Data"' in head and b'"Label"' in head:
        return "text"
    if b'"dataRow"' in head and (b'"schemaId"' in head or b'"uuid"' in head or b'"name"' in head):
        return "import"
    return None


class Block(NamedTuple):
    """Whole lines of NDJSON that follow each other.

    Attributes:
        data: The lines, with their ends.
        line: Number of the first one, from 1.
        position: Where it starts, in bytes.
        number: How many there are.
        whole: Each begins and ends as an object does, so that no object can go over two of them:
            between its brackets a comma would have to stand.
    """

    data: memoryview
    line: int
    position: int
    number: int
    whole: bool

    def at_once(self) -> list[ExportRow] | None:
        """The row of each line; None where one is empty or anything but a row of today."""
        if not self.whole:
            return None
        try:
            rows = decode_rows(self.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return rows if len(rows) == self.number else None

    def one_by_one(self, first: int = 0) -> Iterator[Row | BadRow]:
        """The row of each line from the first on, and what is none; nothing for an empty line."""
        position = self.position
        for number, line in enumerate(BytesIO(self.data), start=self.line):
            if number < self.line + first:
                position += len(line)
                continue
            row: Row | BadRow | None
            try:
                row = decode_row(line), position, number
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                row = _mended(line, number, position)
            if row is not None:
                yield row
            position += len(line)


def blocks(path: Path) -> Iterator[Block]:
    """The lines of NDJSON, some 128 KB in memory at a time or one line that is longer.

    A block is good until the next one is asked for, which takes its memory.
    """
    line, position, filled = 1, 0, 0
    room = bytearray(_BLOCK)
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(memoryview(room)[filled:]):
                filled += count
                end = room.rfind(b"\n", filled - count, filled) + 1
                if end:
                    block = _block(memoryview(room)[:end], line, position)
                    yield block
                    line += block.number
                    position += end
                    room[: filled - end] = room[end:filled]
                    filled -= end
                if filled == len(room):
                    room = room + bytes(filled)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}.", place=path) from error
    if filled:
        yield Block(memoryview(room)[:filled], line, position, 1, False)


def _block(data: memoryview, line: int, position: int) -> Block:
    """A block of lines that all have their ends."""
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    last = text[ends - 1]
    if (last == ord("\r")).any():
        last = np.where(last == ord("\r"), text[ends - 2], last)
    first = text[ends[:-1] + 1]
    whole = data[0] == ord("{") and bool((first == ord("{")).all() and (last == ord("}")).all())
    return Block(data, line, position, len(ends), whole)


def stream(path: Path) -> Iterator[Row | BadRow]:
    """The rows of NDJSON."""
    for block in blocks(path):
        yield from block.one_by_one()


def row_at(path: Path, number: int, known: Sequence[tuple[int, int]]) -> ExportRow | None:
    """Read one line of NDJSON again.

    Args:
        path: The file.
        number: The line, from 1.
        known: Some lines before and after it, in order, and where they start in bytes.
    """
    first, position = known[bisect_right(known, number, key=lambda place: place[0]) - 1]
    with path.open("rb") as file:
        file.seek(position)
        line = next(islice(file, number - first, None), b"")
    again = _mended(line, number, 0)
    value = None if again is None or isinstance(again, BadRow) else again[0]
    return value if isinstance(value, ExportRow) else None


def _mended(line: bytes, number: int, position: int) -> Row | BadRow | None:
    """Decode a line that is not plain JSON of the expected shape; None for an empty one."""
    line = line.removeprefix(codecs.BOM_UTF8)
    if not line.strip():
        return None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8: byte {error.start + 1} of the line is {line[error.start]:#04x}."
        return BadRow("encoding", message, number, "Write the file as UTF-8 again.")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        whole = line.endswith(b"\n") or line.rstrip().endswith(b"}")
        hint = None if whole else "The file is cut off; take it from Labelbox again."
        return BadRow("bad-json", f"is not JSON: {error.msg}.", number, hint)
    except (ValueError, RecursionError) as error:
        return BadRow("bad-json", f"is not JSON that can be read: {error}.", number)
    return typed(value, number, position)


def typed(value: Any, line: int, position: int) -> Row | BadRow:
    """Give a JSON value the type of today's rows, or leave it a mapping if it is older."""
    if not isinstance(value, dict):
        message = f"is no row of an export but {_article(value)}."
        return BadRow("bad-row", message, line)
    if "data_row" not in value:
        if "dataRow" in value and "Labeled Data" not in value:
            return BadRow("import-format", "is no row of an export.", line, IMPORT_HINT)
        return value, position, line
    try:
        # Only Raw fields need bytes; everything else could be converted directly.
        return decode_row(json.dumps(value).encode()), position, line
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        return BadRow("bad-row", explain(error), line)


def _article(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true or false", int: "a number"}
    return names.get(type(value), "a number" if isinstance(value, float) else "null")


def _no_constant(_: str) -> None:
    """NaN and Infinity, which Python writes though JSON forbids them, are nothing."""


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


class Text:
    """A whole file as text; its values can be read again by their position.

    Args:
        path: The file.

    Raises:
        DataError: If it cannot be read or is no text.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}.", place=path) from error
        try:
            self.text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"is not UTF-8: byte {error.start + 1} is {data[error.start]:#04x}.",
                place=Place(str(path), line=line),
                hint="Write the file as UTF-8 again.",
            ) from error

        # Python's reader lets them pass, and no dataset can hold them.
        self._escaped = _SURROGATE.search(self.text) is not None

    def rows(self) -> Iterator[Row | BadRow]:
        """The elements of a list, or values that follow each other."""
        text, end = self.text, len(self.text)
        position = self._skip(0)
        listed = text.startswith("[", position)
        position = self._skip(position + listed)
        line, counted = 1, 0
        while position < end and not (listed and text[position] == "]"):
            line += text.count("\n", counted, position)
            counted = position
            try:
                value, after = _DECODER.raw_decode(text, position)
            except (ValueError, RecursionError) as error:
                yield self._broken(error, line, listed)
                # In a list nobody knows where the next element starts.
                after = -1 if listed else text.find("\n", position)
                if after < 0:
                    return
            else:
                half = self._escaped and _has_half_pair(value)
                message = "has half of a surrogate pair, which is no character."
                yield BadRow("bad-text", message, line) if half else typed(value, line, position)
            position = self._next(after, listed)
            if position < 0:
                message = "has no comma between two rows."
                yield BadRow("bad-json", message, line + text.count("\n", counted, after))
                return
        if listed and position >= end:
            line += text.count("\n", counted, end)
            hint = "The file is cut off; take it from Labelbox again."
            yield BadRow("bad-json", "ends before its list is closed.", line, hint)

    def row_at(self, position: int) -> Value | None:
        """Read one value again."""
        value, _ = _DECODER.raw_decode(self.text, position)
        again = typed(value, 0, position)
        return None if isinstance(again, BadRow) else again[0]

    def _skip(self, position: int) -> int:
        while position < len(self.text) and self.text[position] in _SPACE:
            position += 1
        return position

    def _next(self, position: int, listed: bool) -> int:
        """Where the next value starts; -1 where a comma is missing."""
        position = self._skip(position)
        if self.text.startswith(",", position):
            return self._skip(position + 1)
        ends = position >= len(self.text) or self.text[position] == "]"
        return -1 if listed and not ends else position

    def _broken(self, error: Exception, line: int, listed: bool) -> BadRow:
        if isinstance(error, json.JSONDecodeError):
            place = f" (line {error.lineno})" if error.lineno != line else ""
            rest = " What follows cannot be read." if listed else ""
            return BadRow(
                "bad-json",
                f"the row that starts here is not JSON: {error.msg}{place}.{rest}",
                line,
                "The file is cut off or was edited by hand; take it from Labelbox again.",
            )
        return BadRow("bad-json", f"is not JSON that can be read: {error}.", line)


def _has_half_pair(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def find_files(root: Path, annotations: str | None) -> tuple[list[Path], list[Path]]:
    """The export files of a folder in sorted order, and those in Labelbox's import format."""
    if root.is_file():
        candidates = [root]
    elif annotations is not None:
        candidates = [root / annotations]
    else:
        candidates = sorted(p for p in root.iterdir() if p.suffix.lower() in SUFFIXES)
    kinds = {path: kind_of(path) for path in candidates if path.is_file()}
    exports = [path for path, kind in kinds.items() if kind in ("stream", "text")]
    return exports, [path for path, kind in kinds.items() if kind == "import"]
