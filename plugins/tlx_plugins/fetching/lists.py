"""The addresses that a list names: a table with a column of them, or text with one per line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tlx.errors import DataError, Place, UsageError, nearest
from tlx_plugins.formats import csv_text
from tlx_plugins.formats.csv_columns import NAMES
from tlx_plugins.formats.csv_images import is_url
from tlx_plugins.formats.csv_text import Row, normal

_URL_NAMES = (
    "url", "imageurl", "imgurl", "originalurl", "href", "link", "uri", "downloadurl",
    "cocourl", "labeleddata", "rowdata", "src", "source",
)  # fmt: skip
_WEB = re.compile(r"(?i)https?://")


class Address(NamedTuple):
    """An address and what its list says of it.

    Attributes:
        url: The address.
        name: The file name or path that the list gives its image.
        line: Line in the list, from 1.
    """

    url: str
    name: str | None = None
    line: int | None = None


@dataclass(slots=True)
class Listing:
    """All addresses of an input.

    Attributes:
        kind: What the input is, as a noun phrase.
        addresses: In the order of the input, repetitions included.
        others: How many entries have no address.
        notes: Sentences on what was decided without being asked.
    """

    kind: str
    addresses: list[Address] = field(default_factory=list)
    others: int = 0
    notes: list[str] = field(default_factory=list)


def read_text(path: Path, encoding: str | None) -> Listing:
    """One address per line; blank lines and those that begin with ``#`` say nothing."""
    text = csv_text.decode(path.read_bytes(), encoding, path)
    listing = Listing("a list of addresses, one per line")
    for line, content in enumerate(text.split("\n"), start=1):
        url = content.strip()
        if url and not url.startswith("#"):
            listing.addresses.append(Address(url, None, line))
    return listing


def read_table(
    path: Path, encoding: str | None, column: str | None, name_column: str | None
) -> Listing:
    """The column of addresses of a table, and the column of file names beside it.

    Args:
        path: The table.
        encoding: As for `tlx_plugins.formats.csv_text.decode`.
        column: Name of the column of addresses; found by its name and contents by default.
        name_column: Name of the column of file names; found by its name by default.

    Raises:
        UsageError: If there is no such column.
        DataError: If no column holds addresses, or several do.
    """
    text = csv_text.decode(path.read_bytes(), encoding, path)
    known = frozenset({*_URL_NAMES, *NAMES["image"]})
    parsed = list(csv_text.rows_of(text, csv_text.find_delimiter(text, known)))
    rows = [row for row in parsed if isinstance(row, Row)]
    if not rows:
        raise DataError("holds no row.", place=path)
    bare = column is None and any(_WEB.match(cell) for cell in rows[0].cells)
    titles = [] if bare else rows[0].cells
    body = rows if bare else rows[1:]
    at = _url_column(titles, body, path) if column is None else _named(titles, column, path)
    listing = Listing(f"a table of addresses, column {titles[at]!r}" if titles else "a table")
    named = _name_column(titles, at) if name_column is None else _named(titles, name_column, path)
    if named is not None:
        listing.notes.append(f"files are named as the column {titles[named]!r} says.")
    bad = len(parsed) - len(rows)
    if bad:
        listing.notes.append(f"{bad} lines are no rows of a table.")
    for row in body:
        url = row.cells[at] if at < len(row.cells) else ""
        name = row.cells[named] if named is not None and named < len(row.cells) else ""
        if url:
            listing.addresses.append(Address(url, name or None, row.line))
        else:
            listing.others += 1
    return listing


def _named(titles: Sequence[str], column: str, path: Path) -> int:
    wanted = normal(column)
    for position, title in enumerate(titles):
        if normal(title) == wanted:
            return position
    raise UsageError(f"{path} has no column {column!r}.", hint=nearest(column, titles))


def _url_column(titles: Sequence[str], rows: Sequence[Row], path: Path) -> int:
    """The column with addresses; of several the one whose name says so."""
    width = max((len(row.cells) for row in rows), default=0)
    counts = [
        sum(at < len(row.cells) and bool(_WEB.match(row.cells[at])) for row in rows)
        for at in range(width)
    ]
    holding = [at for at, count in enumerate(counts) if count]
    names = [normal(titles[at]) if at < len(titles) else "" for at in holding]
    for name in _URL_NAMES:
        if name in names:
            return holding[names.index(name)]
    if len(holding) == 1:
        return holding[0]
    if holding:
        listed = ", ".join(repr(titles[at]) if titles else str(at + 1) for at in holding)
        raise DataError(
            f"has addresses in several columns: {listed}.",
            place=path,
            hint="Name the one to fetch with --column.",
        )
    raise DataError(
        "has no column of addresses: no cell begins with http:// or https://.",
        place=Place(str(path), 1),
        hint="Name the column with --column, or give a list with one address per line.",
    )


def _name_column(titles: Sequence[str], at: int) -> int | None:
    for position, title in enumerate(titles):
        if position != at and normal(title) in NAMES["image"]:
            return position
    return None


def is_web(text: str) -> bool:
    """Whether an entry of an export is an address of the web rather than a file."""
    return is_url(text) and _WEB.match(text) is not None
