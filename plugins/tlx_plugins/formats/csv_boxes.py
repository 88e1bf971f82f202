"""What the four numbers of a box in a table are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlx.model import Box
from tlx_plugins.formats.csv_columns import Columns
from tlx_plugins.formats.csv_table import Table

if TYPE_CHECKING:
    from tlx_plugins.formats.csv_format import CsvOptions

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
_DECIMALS = 6
"""Fractions of a millionth of a pixel are noise of the multiplication."""


@dataclass(frozen=True, slots=True)
class BoxRule:
    """How the rows of one table say boxes.

    Attributes:
        columns: Where the numbers are.
        sized: The last two are the size of the box, not its second corner.
        normalised: They are shares of the image's width and height.
    """

    columns: Columns
    sized: bool = False
    normalised: bool = False

    def numbers(self, cells: Sequence[str]) -> list[float] | None:
        """The four numbers as written; None if they are not four finite ones."""
        texts = [cells[position] for position in self.columns.corners]
        if self.columns.box == "cell":
            texts = re.split(r"[,;\s]+", texts[0].strip("[](){} "))
        values = [number_of(text) for text in texts]
        known = [value for value in values if value is not None]
        return known if len(known) == len(values) == 4 else None

    def box(self, numbers: Sequence[float], size: tuple[int, int] | None) -> Box:
        """The box in absolute pixels.

        Args:
            numbers: Four, as written.
            size: Width and height of the image in pixels; needed for shares of them.
        """
        if self.normalised and size is not None:
            sides = (*size, *size)
            numbers = [round(v * s, _DECIMALS) for v, s in zip(numbers, sides, strict=True)]
        x, y, third, fourth = numbers
        return Box(x, y, x + third, y + fourth) if self.sized else Box(x, y, third, fourth)


def find_rule(table: Table, options: CsvOptions, say: Callable[[str], None]) -> BoxRule:
    """Find the rule by the columns, by option, else by all boxes of the table.

    Args:
        table: A table of boxes.
        options: The user's choices.
        say: Takes a sentence on what was decided without being asked, and why.
    """
    columns = table.columns
    rule = BoxRule(columns)
    rows = (row.cells for row in table.rows() if len(row.cells) == len(columns.titles))
    found = (numbers for cells in rows if (numbers := rule.numbers(cells)) is not None)
    sums = _Sums()
    if options.coordinates == "auto" or (columns.box == "cell" and options.box_cell == "auto"):
        for numbers in found:
            sums.add(numbers)
    return BoxRule(columns, _is_size(columns, sums, options, say), _is_share(sums, options, say))


@dataclass(slots=True)
class _Sums:
    """What all boxes of a table have in common.

    Attributes:
        count: How many there are.
        proper: How many have their last two numbers right of and below the first two.
        shares: All numbers lie in 0..1.
        whole: All numbers are whole.
    """

    count: int = 0
    proper: int = 0
    shares: bool = True
    whole: bool = True

    def add(self, box: Sequence[float]) -> None:
        self.count += 1
        self.proper += box[2] > box[0] and box[3] > box[1]
        self.shares = self.shares and all(0 <= value <= 1 for value in box)
        self.whole = self.whole and all(map(float.is_integer, box))


def _is_size(
    columns: Columns, boxes: _Sums, options: CsvOptions, say: Callable[[str], None]
) -> bool:
    if columns.box != "cell":
        return columns.box == "size"
    if options.box_cell != "auto":
        return options.box_cell == "xywh"
    sized = 2 * boxes.proper < boxes.count
    taken, other = ("a corner and the size", "xyxy") if sized else ("two corners", "xywh")
    say(
        f"{boxes.proper} of {boxes.count} boxes have their last two numbers right of and below the "
        f"first two: all are taken as {taken}; --box-cell {other} says otherwise."
    )
    return sized


def _is_share(boxes: _Sums, options: CsvOptions, say: Callable[[str], None]) -> bool:
    if options.coordinates != "auto":
        return options.coordinates == "normalised"
    if not boxes.shares or boxes.whole:
        return False
    say(
        f"the numbers of all {boxes.count} boxes lie in 0..1 and are not all whole: taken as "
        "shares of the image's size; --coordinates pixels says otherwise."
    )
    return True


def number_of(text: str) -> float | None:
    """A finite number as tables write it; None for everything else."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
