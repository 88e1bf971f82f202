"""Tables of roads as they lie on disk: text or the first sheet of a workbook."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tlx.errors import DataError
from tlx.folder_walk import is_text, join, walk
from tlx_plugins.formats import csv_text
from tlx_plugins.formats.csv_text import BadRow, Row, normal
from tlx_plugins.sources.road_columns import KNOWN, RoadColumns, find_columns

TEXTS = (".csv", ".tsv")
BOOKS = (".xlsx", ".xlsm")
_FIRST_BYTES = 1 << 16
_QUICK_LOOK = 500


@dataclass(slots=True)
class RoadTable:
    """One table.

    Attributes:
        name: Its path below the root.
        columns: What its columns are.
        rows: The rows below the header.
        bad: Rows that are none.
    """

    name: str
    columns: RoadColumns
    rows: list[Row]
    bad: list[BadRow]

    def cell(self, row: Row, part: str) -> str:
        """What a row says of a part; empty without such a column or cell."""
        position = self.columns.where.get(part)
        return row.cells[position] if position is not None and position < len(row.cells) else ""


def read_table(path: Path, name: str, encoding: str | None, delimiter: str) -> RoadTable:
    """Read a whole table.

    Raises:
        DataError: If it is no table.
        MissingExtra: For a workbook, if no reader of workbooks is installed.
    """
    if path.suffix.lower() in BOOKS:
        from tlx_plugins.sources.road_workbook import read_rows

        return _headed(read_rows(path), [], name, path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}.", place=path) from error
    return parse_table(data, path, name, encoding, delimiter)


def parse_table(
    data: bytes, path: Path, name: str, encoding: str | None = None, delimiter: str = "auto"
) -> RoadTable:
    """The same from the bytes of a text."""
    text = csv_text.decode(data, encoding, path)
    chosen = csv_text.DELIMITERS.get(delimiter) or csv_text.find_delimiter(text, KNOWN)
    parsed = list(csv_text.rows_of(text, chosen))
    bad = [row for row in parsed if isinstance(row, BadRow)]
    return _headed([row for row in parsed if isinstance(row, Row)], bad, name, path)


def _headed(rows: list[Row], bad: list[BadRow], name: str, path: Path) -> RoadTable:
    if not rows:
        raise DataError("holds no row.", place=path)
    return RoadTable(name, find_columns(rows[0].cells), rows[1:], bad)


def glance(path: Path, name: str) -> RoadTable | None:
    """The first lines of a table; None for what is none."""
    try:
        if path.suffix.lower() in BOOKS:
            from tlx_plugins.sources.road_workbook import words

            return RoadTable(name, find_columns(words(path)), [], [])
        return parse_table(csv_text.first_lines(path, _FIRST_BYTES), path, name)
    except (OSError, DataError):
        return None


def find_tables(root: Path, limit: int | None = None) -> list[str]:
    """Names of all tables below a folder, sorted; with a limit of folders that are looked at."""
    found = []
    for folder, names in islice(walk(root), limit):
        for name in names:
            table = name.lower().endswith((*TEXTS, *BOOKS)) and not name.startswith((".", "~$"))
            if table and is_text(name) and is_text(folder):
                found.append(join(folder, name))
    return found


def quick_tables(root: Path) -> list[str]:
    """The tables that are found in the first few hundred folders."""
    return find_tables(root, _QUICK_LOOK)


def is_code_book(table: RoadTable) -> bool:
    """Whether a table says what codes mean: columns attribute, code and name."""
    names = {normal(title) for title in table.columns.titles}
    return {"attribute", "code", "name"} <= names
