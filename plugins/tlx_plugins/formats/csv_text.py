"""From the bytes of a table to its rows: encoding, delimiter, quotes, line numbers."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Literal, NamedTuple

from tlx.errors import DataError, Place, UsageError

Delimiter = Literal["auto", "comma", "semicolon", "tab", "blanks"]
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "blanks": " "}
_LOOK = 50


class Row(NamedTuple):
    """Cells without the blanks around them, and the line where the row begins, from 1."""

    line: int
    cells: list[str]


class BadRow(NamedTuple):
    """A row whose quotes or size the csv rules do not allow."""

    line: int
    message: str


def check_encoding(encoding: str | None) -> None:
    """Refuse an encoding that nobody knows.

    Raises:
        UsageError: If there is none of that name.
    """
    try:
        known = encoding is None or codecs.lookup(encoding)._is_text_encoding  # noqa: SLF001
    except (LookupError, ValueError):
        known = False
    if not known:
        raise UsageError(
            f"there is no text encoding {encoding!r}.", hint="Usual ones: utf-8, utf-16, cp1252."
        )


def decode(data: bytes, encoding: str | None, path: Path) -> str:
    """The text of a table, with line feeds as its only line ends.

    Without an encoding it is UTF-8 with or without a mark, or UTF-16 with one; nothing is guessed.

    Raises:
        DataError: Names the first line that is not text in that encoding.
    """
    if encoding is None:
        marked = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        encoding = "utf-16" if marked else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        raise DataError(
            f"is not {encoding.removesuffix('-sig').upper()} text here.",
            place=Place(str(path), data.count(b"\n", 0, start) + 1),
            hint="Say how it is written, such as: --encoding cp1252",
        ) from error
    if "\0" in text:
        raise DataError(
            "holds NUL characters; it is no text, or UTF-16 without a mark.",
            place=path,
            hint="Say how it is written, such as: --encoding utf-16-le",
        )
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


class TableText:
    """The text of a table, decoded again by each pass over it; it is never held as a whole.

    Args:
        opened: Opens the bytes of the table.
        encoding: As for `decode`.
        path: The file, for errors.
    """

    def __init__(self, opened: Callable[[], IO[bytes]], encoding: str | None, path: Path) -> None:
        self._opened = opened
        self._path = path
        self._stated = encoding
        with opened() as file:
            marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        self._encoding = encoding or ("utf-16" if marked else "utf-8-sig")

    def lines(self) -> Iterator[str]:
        """The lines with line feeds as their only ends.

        Raises:
            DataError: As `decode` does.
        """
        with (
            self._opened() as file,
            io.TextIOWrapper(file, self._encoding, newline=None) as text,
        ):
            try:
                for number, line in enumerate(text):
                    if "\0" in line:
                        break
                    yield line if number else line.removeprefix("\ufeff")
                else:
                    return
            except UnicodeError:
                pass
        with self._opened() as file:
            # Says what is wrong, and where.
            decode(file.read(), self._stated, self._path)

    def head(self) -> str:
        """The first lines, as many as tell the delimiter."""
        return "".join(islice(self.lines(), _LOOK))[: 1 << 20]

    def rows(self, delimiter: str) -> Iterator[Row | BadRow]:
        """All rows that hold something; a bad one does not end the table."""
        return _rows(self.lines(), delimiter)


def first_lines(path: Path, size: int) -> bytes:
    """Whole lines from the first ``size`` bytes of a table, as UTF-8 whatever Unicode it is in.

    Raises:
        OSError: If the file cannot be read.
        DataError: If it is no Unicode text.
    """
    with path.open("rb") as file:
        data = file.read(size)
    if len(data) < size:
        return decode(data, None, path).encode()
    wide = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")()
    try:
        # The last character may be cut in two.
        text = decoder.decode(data)
    except UnicodeError:
        return decode(data, None, path).encode()
    return text[: text.rfind("\n") + 1].encode()


def rows_of(text: str, delimiter: str) -> Iterator[Row | BadRow]:
    """All rows that hold something; a bad one does not end the table."""
    return _rows(io.StringIO(text, newline=""), delimiter)


def _rows(lines: Iterable[str], delimiter: str) -> Iterator[Row | BadRow]:
    if delimiter == " ":
        lines = (line.rstrip(" \t\n").replace("\t", " ") + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield BadRow(line, f"is no row of a table: {error}.")
            continue
        if cells is None:
            return
        cells = [cell.strip() for cell in cells]
        if any(cells):
            yield Row(line, cells)


def find_delimiter(text: str, known: frozenset[str]) -> str:
    """The delimiter that splits the first lines best.

    First the one that makes most known column names of the first line, then the one that gives most
    lines the same number of columns, then the one that makes most columns. Blanks are tried only
    where nothing else splits.
    """
    end = 0
    for _ in range(_LOOK):
        following = text.find("\n", end)
        if following < 0:
            end = len(text)
            break
        end = following + 1
    head = text[: min(end, 1 << 20)]
    best: tuple[int, int, int] = (0, 0, 0)
    found = ""
    for delimiter in (",", ";", "\t", " "):
        if delimiter == " " and found:
            break
        rows = [row.cells for row in rows_of(head, delimiter) if isinstance(row, Row)]
        widths = Counter(map(len, rows))
        if not rows or max(widths) < 2:
            continue
        width, usual = max(widths.items(), key=lambda item: (item[1], item[0]))
        names = sum(normal(cell) in known for cell in rows[0]) if len(rows[0]) > 1 else 0
        score = (names, usual if width > 1 else 0, width)
        if score > best:
            best, found = score, delimiter
    return found or ","


def normal(name: str) -> str:
    """A column's name without case, blanks and punctuation.

    >>> normal(" Image_ID")
    'imageid'
    """
    return "".join(char for char in name.casefold() if char.isalnum())
