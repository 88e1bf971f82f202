"""What the cells of a row say: classes that are present, absent or unsure, and attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tlx.model import AttributeValue
from tlx_plugins.formats.csv_table import ABSENT, MINUS, PRESENT
from tlx_plugins.formats.csv_text import Row, normal
from tlx_plugins.sources.road_codes import CodeBook, CodedAttribute, plain_code
from tlx_plugins.sources.road_tables import RoadTable

Report = Callable[[str, str, int | None, str], None]
"""Takes code, message, line, and what was done."""

Labels = dict[str, bool | None]
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_REAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_CODE = re.compile(r"[0-9]{1,2}(\.0+)?")


class LabelReader:
    """Reads the labels of one table.

    Args:
        table: The table.
        book: What codes mean, if there is a book.
        chosen: The only columns that are labels, if the user has named them.
        separator: What parts several labels in one cell.
        unsure: Words in lower case for "nobody knows".
        report: Takes issues.
    """

    def __init__(
        self,
        table: RoadTable,
        book: CodeBook | None,
        chosen: Sequence[str],
        separator: str | None,
        unsure: frozenset[str],
        report: Report,
    ) -> None:
        self.table = table
        self.separator = separator
        self.unsure = unsure
        self.report = report
        titles = table.columns.titles
        wanted = {normal(name) for name in chosen}
        self.missing = sorted(wanted - {normal(title) for title in titles})
        candidates = [
            p for p in table.columns.rest if not wanted or normal(titles[p]) in wanted
        ]  # fmt: skip
        self.coded: dict[int, CodedAttribute] = {}
        if book is not None:
            for position in candidates:
                attribute = book.find(titles[position])
                if attribute is not None:
                    self.coded[position] = attribute
        left = [p for p in candidates if p not in self.coded]
        self.flags, self.suspects = self._flags(left, sure=bool(wanted))
        # What else could have been labels is what the user does not want.
        passed = [p for p in table.columns.rest if wanted and p not in candidates]
        known = [p for p in passed if book is not None and book.find(titles[p]) is not None]
        self.passed = sorted({*known, *self._flags(passed, sure=True)[0]})
        used = {*self.coded, *self.flags, *self.passed}
        self.others = [p for p in table.columns.rest if p not in used]

    def _flags(self, positions: Sequence[int], *, sure: bool) -> tuple[list[int], list[int]]:
        """Columns of 0 and 1, and those that may be codes instead.

        Beside columns of codes (1, 2, 3, ...) one that only holds 1 is a column of codes too: in
        such surveys 1 mostly means that nothing is there.
        """
        values = {p: self._values(p) for p in positions}
        flags = [
            p
            for p, found in values.items()
            if found and found <= PRESENT | ABSENT | MINUS and found & (PRESENT | ABSENT)
        ]
        coded = any(
            found and found - {"0", "1", "-1"} and all(map(_CODE.fullmatch, found))
            for found in values.values()
        )
        if sure or not coded:
            return flags, []
        certain = [p for p in flags if values[p] & ABSENT]
        return certain, [p for p in flags if p not in certain]

    def _values(self, position: int) -> set[str]:
        cells = (r.cells[position] for r in self.table.rows if position < len(r.cells))
        return {cell.casefold() for cell in cells} - self.unsure

    def classes(self) -> list[str]:
        """The classes that the columns themselves declare, in their order."""
        titles = self.table.columns.titles
        names: list[str] = []
        for position in sorted({*self.coded, *self.flags}):
            attribute = self.coded.get(position)
            names += attribute.classes() if attribute is not None else [titles[position]]
        return names

    def labels(self, row: Row) -> Labels:
        """What a row says of each class."""
        found: Labels = {}
        for position in self.flags:
            found[self.table.columns.titles[position]] = self._flag(_cell(row, position))
        for position, attribute in self.coded.items():
            self._code(attribute, _cell(row, position), row.line, found)
        text = self.table.cell(row, "label")
        for part in text.split(self.separator) if self.separator else [text]:
            name = part.strip()
            if name.casefold() not in self.unsure:
                found[name] = True
        return found

    def _flag(self, cell: str) -> bool | None:
        word = cell.casefold()
        return True if word in PRESENT else False if word in ABSENT else None

    def _code(self, attribute: CodedAttribute, cell: str, line: int, found: Labels) -> None:
        code = plain_code(cell)
        if code.casefold() in self.unsure and code not in attribute.meanings:
            found.update(dict.fromkeys(attribute.classes()))
            return
        try:
            found.update(attribute.labels(code))
        except KeyError:
            known = ", ".join(attribute.meanings)
            message = f"the code {cell!r} of {attribute.name} is not in the code book ({known})."
            self.report("unknown-code", message, line, "skipped")
            found.update(dict.fromkeys(attribute.classes()))

    def attributes(self, row: Row) -> dict[str, AttributeValue]:
        """What the other columns say, typed."""
        titles = self.table.columns.titles
        return {titles[p]: typed(cell) for p in self.others if (cell := _cell(row, p))}


def merge(into: Labels, more: Labels, conflict: Callable[[str], None]) -> None:
    """Join what two rows say of the same stretch; where they differ the first one counts."""
    for name, present in more.items():
        if name not in into or into[name] is None:
            into[name] = present
        elif present is not None and into[name] != present:
            conflict(name)


def typed(cell: str) -> AttributeValue:
    """A cell as a number where it is written as one; a leading zero is part of a code."""
    if _WHOLE.fullmatch(cell):
        return int(cell)
    return float(cell) if _REAL.fullmatch(cell) else cell


def _cell(row: Row, position: int) -> str:
    return row.cells[position] if position < len(row.cells) else ""
