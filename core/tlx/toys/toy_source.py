"""A source: tables of boxes, one to a line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tlx.api import Match, Reading
from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import Issue
from tlx.model import Box, Object, Origin, Record, Taxonomy

FILE = "toy.tsv"
_HEAD = "image\tclass\txmin\tymin\txmax\tymax"

Row = tuple[str, int, list[str]]
"""Image, line in the file counted from 1, and the cells behind the image."""


@dataclass(frozen=True)
class ToyOptions:
    """How the table is read."""

    empty: bool = True
    """Read images without objects too."""


class ToySource:
    """Reads ``toy.tsv`` with the images beside it.

    Each line is an image, a class and a box in absolute pixels, half open; a line with an image
    alone is one without objects.
    """

    name = "toy"
    summary = "boxes in a table toy.tsv beside the images"
    options = ToyOptions

    def sniff(self, root: Path) -> Match:
        """Look at the first line of the table."""
        try:
            with (root / FILE).open("rb") as file:
                known = file.read(100).removeprefix(b"\xef\xbb\xbf").startswith(_HEAD.encode())
        except OSError:
            known = False
        if known:
            return Match(met=(f"{FILE} has the columns image, class and a box",))
        return Match(missing=(f"no {FILE} with the columns image, class and a box",))

    def read(self, root: Path, options: ToyOptions, context: Context) -> Reading:
        """Open a folder.

        Raises:
            DataError: If there is no table, or it is not UTF-8.
        """
        path = root / FILE
        if not path.is_file():
            raise DataError(f"there is no {FILE}.", place=root, hint="Give the folder that has it.")
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"is not UTF-8: {error.reason}.", place=path) from error
        rows = [_row(number, line) for number, line in enumerate(lines, 1) if line and number > 1]
        names = sorted({cells[0] for _, _, cells in rows if cells})
        records = self._records(path, rows, options, context)
        return Reading(root, records, Taxonomy.of(names), (path,))

    def _records(
        self, path: Path, rows: list[Row], options: ToyOptions, context: Context
    ) -> Iterator[Record]:
        for image, lines in groupby(sorted(rows), itemgetter(0)):
            group = list(lines)
            things = [_thing(path, row, context) for row in group if row[2]]
            found = tuple(thing for thing in things if thing is not None)
            if found or options.empty:
                origin = Origin(path.name, group[0][1])
                yield Record(image_id=image, uri=image, objects=found, origin=origin)


def _row(number: int, line: str) -> Row:
    image, *cells = line.split("\t")
    return image, number, cells


def _thing(path: Path, row: Row, context: Context) -> Object | None:
    """The object of a line; None where it is a bad one."""
    _, number, cells = row
    try:
        category, xmin, ymin, xmax, ymax = cells
        box = Box(float(xmin), float(ymin), float(xmax), float(ymax))
    except ValueError:
        box = None
    if box is None or not all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))):
        message = f"is not a class and the four numbers of a box: {' '.join(cells)[:80]!r}."
        context.issues.report(Issue("bad-row", message, str(path), number))
        return None
    return Object(category=category, box=box, line=number)
