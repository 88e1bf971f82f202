"""One table: its text, its columns, and which of the conventions it follows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from tlx.errors import DataError
from tlx.media import IMAGE_SUFFIXES
from tlx_plugins.formats import csv_text
from tlx_plugins.formats.csv_columns import CORNERS, KNOWN, NAMES, Columns, find_columns
from tlx_plugins.formats.csv_images import is_url, stem, suffix
from tlx_plugins.formats.csv_text import BadRow, Row, TableText, normal

if TYPE_CHECKING:
    from tlx_plugins.formats.csv_format import CsvOptions

Kind = Literal["boxes", "labels", "flags"]
"""A box in each row; a label in each row; or a column for each class."""

PRESENT = frozenset({"1", "1.0", "true", "yes"})
ABSENT = frozenset({"0", "0.0", "false", "no"})
MINUS = frozenset({"-1", "-1.0"})
_INTEGER = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")
_LISA = "annotationtag"
_FIRST = 101
"""Rows that are looked at before anything is known."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be read.

    Attributes:
        kind: What a row says.
        columns: Where everything is.
        text: Where its rows come from.
        delimiter: What parts their cells.
        headers: How many rows are above them.
        classes: Positions of the class columns of a table of flags.
        notes: Sentences on what was decided without being asked.
    """

    kind: Kind
    columns: Columns
    text: TableText
    delimiter: str
    headers: int
    classes: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def parsed(self) -> Iterator[Row | BadRow]:
        """The rows below the header as they come, with those that are none; read each time."""
        left = self.headers
        for row in self.text.rows(self.delimiter):
            if left and isinstance(row, Row):
                left -= 1
            else:
                yield row

    def rows(self) -> Iterator[Row]:
        """The rows below the header; read each time."""
        return (row for row in self.parsed() if isinstance(row, Row))


def read_table(
    path: Path, options: CsvOptions, known_images: frozenset[str] = frozenset()
) -> Table:
    """Find out what a table holds; its rows are read when they are asked for.

    Args:
        path: The file.
        options: The user's choices.
        known_images: Names of images, with and without their ends, that tell a table without a
            header.

    Raises:
        DataError: If it is no table of labels; says which columns were looked for and found.
    """
    try:
        return _parsed(lambda: path.open("rb"), path, options, known_images)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}.", place=path) from error


def parse_table(data: bytes, path: Path, options: CsvOptions, images: frozenset[str]) -> Table:
    """The same from bytes that are read already."""
    return _parsed(lambda: BytesIO(data), path, options, images)


def _parsed(
    opened: Callable[[], IO[bytes]], path: Path, options: CsvOptions, images: frozenset[str]
) -> Table:
    text = TableText(opened, options.encoding, path)
    if not any(line.strip() for line in text.lines()):
        raise DataError("is empty.", place=path, hint="Give a table of images and labels.")
    delimiter = csv_text.DELIMITERS.get(options.delimiter) or csv_text.find_delimiter(
        text.head(), KNOWN
    )

    def all_rows() -> Iterator[Row]:
        return (row for row in text.rows(delimiter) if isinstance(row, Row))

    rows = list(islice(all_rows(), _FIRST))
    if not rows:
        raise DataError("holds no row.", place=path)
    notes: list[str] = []
    titles, headers = _header(rows, all_rows, options, images, notes, path)
    columns = find_columns(titles)
    unsure = unsure_words(options)
    if "image" not in columns.where or any(normal(title) == _LISA for title in titles):
        raise _refused(path, columns, lambda: islice(all_rows(), headers, None))
    if columns.box is not None:
        if "label" not in columns.where and options.category is None:
            raise DataError(
                f"has boxes but no column of classes; looked for class, label or category, found "
                f"{_listing(titles)}.",
                place=path,
                hint="Name the one class of all boxes with --category, or the columns with "
                "--columns.",
            )
        return Table("boxes", columns, text, delimiter, headers, notes=tuple(notes))
    lone = [t for t in titles if any(normal(t) in NAMES[part] for part in CORNERS)]
    if lone:
        raise DataError(
            f"has {_listing(lone)} but no whole box; looked for xmin, ymin, xmax, ymax, or xmin, "
            f"ymin, width, height; found {_listing(titles)}.",
            place=path,
            hint="Name the columns in their order with --columns.",
        )
    if "label" in columns.where:
        return Table("labels", columns, text, delimiter, headers, notes=tuple(notes))
    named = [position for position in columns.rest if titles[position]]
    classes = _flags(named, islice(all_rows(), headers, None), unsure)
    if not classes:
        raise _refused(path, columns, lambda: islice(all_rows(), headers, None))
    return Table("flags", columns, text, delimiter, headers, classes, tuple(notes))


def unsure_words(options: CsvOptions) -> frozenset[str]:
    """What stands for "nobody knows" in a cell, in lower case; blank always does."""
    return frozenset({"", *options.unsure.casefold().split()})


def _flags(
    positions: Sequence[int], rows: Iterable[Row], unsure: frozenset[str]
) -> tuple[int, ...]:
    """The columns that hold 0, 1, -1 and words for unsure only, and at least one number."""
    told = PRESENT | ABSENT | MINUS
    left, numbered = list(positions), set[int]()
    for row in rows:
        for position in tuple(left):
            if position < len(row.cells):
                word = row.cells[position].casefold()
                if word in told:
                    numbered.add(position)
                elif word not in unsure:
                    left.remove(position)
    return tuple(position for position in left if position in numbered)


def _header(
    rows: list[Row],
    all_rows: Callable[[], Iterator[Row]],
    options: CsvOptions,
    images: frozenset[str],
    notes: list[str],
    path: Path,
) -> tuple[list[str], int]:
    """The names of the columns, and how many of the first rows are above those of the table."""
    first = rows[0].cells
    named = [name.strip() for name in (options.columns or "").split(",")]
    headed = any(normal(cell) in KNOWN for cell in first) and not is_image_name(first[0])
    if options.columns is not None:
        if len(named) != len(first):
            raise DataError(
                f"has {len(first)} columns in its first row where --columns names {len(named)}.",
                place=path,
                hint="Name all of them in their order; any word stands for one that says nothing.",
            )
        titled = options.header == "yes" or (options.header == "auto" and headed)
        return named, int(titled)
    if options.header == "auto" and len(rows) > 2 and _INTEGER.fullmatch(first[0]):
        counted = len(first) == 1 and len(rows[1].cells) in {
            len(rows[2].cells) - 1,
            len(rows[2].cells),
        }
        if counted:
            titles = rows[1].cells
            if len(titles) < len(rows[2].cells):
                titles = ["image_id", *titles]
            count = sum(1 for _ in all_rows()) - 2
            if int(first[0]) != count:
                notes.append(f"the first line counts {int(first[0])} rows, but there are {count}.")
            return titles, 2
    bare = is_image_name(first[0]) or (not headed and first[0] in images)
    if options.header == "yes" or (options.header == "auto" and not bare):
        return first, 1
    titles = _guess(rows)
    if not titles:
        raise DataError(
            f"has no header, and the {len(first)} cells of its first row do not tell what they "
            f"are: {_listing(first)}.",
            place=path,
            hint="Name the columns in their order, such as: --columns image,label,x,y,w,h",
        )
    notes.append(
        f"has no header: its columns are taken as {', '.join(titles)}; --columns names others."
    )
    return titles, 0


def is_image_name(cell: str) -> bool:
    """Whether a cell ends as an image file does."""
    return suffix(cell) in IMAGE_SUFFIXES


def _guess(rows: Sequence[Row]) -> list[str]:
    """Names for the columns of a table without a header, by their numbers; empty if unclear."""
    cells = rows[0].cells
    numbers = [bool(_NUMBER.fullmatch(cell)) for cell in cells]
    if len(cells) == 2:
        return ["image", "label"]
    if len(cells) == 6 and all(numbers[2:]):
        return ["image", "label", "xmin", "ymin", "xmax", "ymax"]
    if len(cells) == 6 and all(numbers[1:5]) and not numbers[5]:
        return ["image", "xmin", "ymin", "xmax", "ymax", "label"]
    return []


def _listing(titles: Sequence[str]) -> str:
    shown = ", ".join(repr(title[:40]) for title in titles[:12])
    return shown + (f" and {len(titles) - 12} more" if len(titles) > 12 else "")


def _refused(path: Path, columns: Columns, below: Callable[[], Iterable[Row]]) -> DataError:
    """Say what kind of file it is instead, where that is known.

    Args:
        path: The file.
        columns: What was found.
        below: Gives the rows below the header.
    """
    titles = columns.titles
    rows = list(islice(below(), _FIRST))
    if len(titles) == 1 and rows and all(is_url(row.cells[0]) for row in rows[:100]):
        count = sum(1 for _ in below())
        return DataError(
            f"is a list of {count} addresses of images (column {titles[0]!r}); it says no labels.",
            place=path,
            hint=f"Bring the images here with: tlx fetch {path.name} -o images/",
        )
    if any(normal(title) == _LISA for title in titles):
        return DataError(
            "is an annotation file of the LISA traffic lights.",
            place=path,
            hint="Read it with: tlx ingest lisa",
        )
    wanted = "an image column (filename, image, ImageID, ...)"
    if "image" in columns.where:
        wanted = (
            "a class column (class, label, LabelName, ...), a box (xmin, ymin, xmax, ymax; x, y, "
            "w, h; bbox) or columns of 0 and 1"
        )
    return DataError(
        f"is no table of labels: looked for {wanted}; found {_listing(titles)}.",
        place=path,
        hint="Name the columns in their order with --columns, such as: "
        "--columns image,label,xmin,ymin,xmax,ymax",
    )


def image_names(paths: frozenset[str] | set[str]) -> frozenset[str]:
    """Paths and names of images, with and without their ends."""
    names = {name for path in paths for name in (path, path.rpartition("/")[2])}
    return frozenset(names | {stem(name) for name in names})
