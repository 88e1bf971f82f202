"""The attributes of many start tags as columns.

Tags that have the same attributes differ only in what stands between quotation marks. So quotation
marks are taken for the separators of a table, which Arrow's reader of CSV takes apart; what stands
between two values is the same in all rows of a *form*, and looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from tlx_plugins.formats.column_values import Flags, Integers, coded, flags

_FIRST = re.compile(r" *<([a-z]+) ([a-z_]+)=")
_NEXT = re.compile(r" ([a-z_]+)=")
_MOST_VALUES = 40


@dataclass(frozen=True, slots=True)
class Tags:
    """The start tags of N elements.

    Attributes:
        names: The names that occur among them.
        kinds: Which name each has; -1 for a tag that is not understood.
        values: Of each attribute a text array [N], null where a tag has it not. What stands there
            is as in the file: a reference to a character is not resolved.
    """

    names: list[str]
    kinds: Integers
    values: dict[str, Any]

    def column(self, name: str) -> Any:
        """The values of an attribute; all null where there is none."""
        found = self.values.get(name)
        return pa.nulls(len(self.kinds), pa.string()) if found is None else found

    def stated(self, name: str) -> Flags:
        """Which tags have an attribute."""
        return flags(self.column(name).is_valid())


def is_literal(text: str) -> bool:
    """Whether the text between two quotation marks, or tags, means itself."""
    return not ("<" in text or "&" in text or ">" in text)


def tables(lines: pa.StringArray) -> Iterator[tuple[Integers, list[Any]]]:
    """The parts of lines between quotation marks, where there is an even number of these.

    Args:
        lines: Text array [N], each with a line feed; no slice of an array.

    Yields:
        Rows with an equal number of quotation marks, and a text array for each of their parts.
    """
    if not len(lines):
        return
    number = lines[0].as_py().count('"')
    if _is_usable(number):
        try:
            columns = _tabulate(lines, number)
        except pa.ArrowInvalid:
            pass
        else:
            yield np.arange(len(lines)), columns
            return
    quotes = pc.count_substring(lines, '"').to_numpy()
    for number in filter(_is_usable, np.unique(quotes).tolist()):
        rows = np.flatnonzero(quotes == number)
        yield rows, _tabulate(lines.take(pa.array(rows)), number)


def _is_usable(separators: int) -> bool:
    return separators % 2 == 0 and 0 < separators <= 2 * _MOST_VALUES


def _tabulate(lines: pa.StringArray, separators: int) -> list[Any]:
    """The parts of lines between quotation marks, as text arrays, ``separators + 1`` in number.

    Args:
        lines: Each with that many quotation marks and a line feed; no slice of an array.
        separators: The number of quotation marks.

    Raises:
        pa.ArrowInvalid: If there is a line with more or less of them.
    """
    _, offsets, letters = lines.buffers()
    stop = int(np.frombuffer(offsets, np.int32)[len(lines)])
    table = csv.read_csv(
        pa.BufferReader(letters.slice(0, stop)),
        read_options=csv.ReadOptions(
            use_threads=False,
            block_size=stop + 1,
            column_names=[str(number) for number in range(separators + 1)],
        ),
        parse_options=csv.ParseOptions(delimiter='"', quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types={str(number): pa.string() for number in range(separators + 1)},
            null_values=[],
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    return [column.combine_chunks() for column in table.columns]


def read_tags(lines: pa.StringArray, places: Integers, initials: Any) -> Tags:
    """Read start tags.

    Args:
        lines: Text array, each with a line feed.
        places: Which of them are the tags; [N].
        initials: The first letter of the name of each tag, as a number; [N].
    """
    count = len(places)
    names: list[str] = []
    kinds = np.full(count, -1)
    parts: dict[str, list[tuple[Integers, Any]]] = {}
    for rows, name, values in _forms(lines, places, initials):
        if name not in names:
            names.append(name)
        kinds[rows] = names.index(name)
        for key, column in values.items():
            parts.setdefault(key, []).append((rows, column))
    return Tags(names, kinds, {key: _placed(some, count) for key, some in parts.items()})


def _placed(parts: list[tuple[Integers, Any]], count: int) -> Any:
    """Columns of some rows each as one of all rows."""
    if len(parts) == 1 and len(parts[0][0]) == count:
        return parts[0][1]
    where = np.full(count, -1)
    where[np.concatenate([rows for rows, _ in parts])] = np.arange(sum(len(r) for r, _ in parts))
    whole = pa.concat_arrays([column for _, column in parts])
    return whole.take(pa.array(where, mask=where < 0))


def _forms(
    lines: pa.StringArray, places: Integers, initials: Any
) -> Iterator[tuple[Integers, str, dict[str, Any]]]:
    """Rows of the same form, the name of the element, and its values."""
    for initial in np.unique(initials).tolist():
        named = np.flatnonzero(initials == initial)
        for rows, columns in tables(lines.take(pa.array(places[named]))):
            for chosen, form in _literals(columns[0::2], len(rows)):
                found = _read_form(form)
                if found is None:
                    continue
                values = columns[1::2]
                if len(chosen) < len(rows):
                    values = [column.take(pa.array(chosen)) for column in values]
                name, keys = found
                yield named[rows[chosen]], name, dict(zip(keys, values, strict=True))


def _literals(columns: list[Any], count: int) -> Iterator[tuple[Integers, list[str]]]:
    """Rows that have the same texts in all columns, and these."""
    together = np.zeros(count, np.int64)
    for column in columns:
        if _is_constant(column):
            continue
        texts, codes = coded(column)
        # Codes stay small, so that products cannot overflow.
        together = np.unique(together * len(texts) + codes, return_inverse=True)[1]
    for number in range(int(together.max()) + 1):
        rows = np.flatnonzero(together == number)
        first = int(rows[0])
        yield rows, [column[first].as_py() for column in columns]


def _is_constant(column: Any) -> bool:
    """Whether all texts are the same; rarely false where they are, for an array with an offset."""
    first = column[0].as_py().encode()
    _, offsets, letters = column.buffers()
    starts = np.frombuffer(offsets, np.int32)[: len(column) + 1]
    if column.offset or (np.diff(starts) != len(first)).any():
        return False
    return not first or bytes(letters[: starts[-1]]) == first * len(column)


def _read_form(literals: list[str]) -> tuple[str, list[str]] | None:
    """Name of the element and of its attributes; None for what is no start tag."""
    first = _FIRST.fullmatch(literals[0])
    others = [_NEXT.fullmatch(text) for text in literals[1:-1]]
    if first is None or literals[-1] != ">":
        return None
    keys = [first[2], *(match[1] for match in others if match)]
    if len(keys) != len(literals) - 1 or len(set(keys)) < len(keys):
        return None
    return first[1], keys
