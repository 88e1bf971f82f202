"""The attributes of many shapes as columns.

Of all that is said of the shapes of a block, little is different: an *entry* is a name and a value,
made once from its text by the rule of `cvat_shapes`, and each shape has a list of numbers of
entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tlx.model import AttributeValue
from tlx.schema import attribute_lists
from tlx_plugins.formats.column_values import Flags, Integers, coded, ragged
from tlx_plugins.formats.cvat_forms import is_literal, tables
from tlx_plugins.formats.cvat_geometry import flag_of
from tlx_plugins.formats.cvat_lines import SHAPE, VALUE, Layout
from tlx_plugins.formats.cvat_shapes import ShapeReader, with_builtins

_START = re.compile(r" *<attribute name=")
_TEXT = re.compile(r">([^<&>]*)</attribute>")
_MOST = 32
"""Attributes of a shape; one with more is looked at by itself."""


@dataclass(slots=True)
class Entries:
    """Distinct names with values, numbered.

    Attributes:
        items: Name and value of each.
    """

    items: list[tuple[str, AttributeValue]] = field(default_factory=list)

    def add(self, item: tuple[str, AttributeValue]) -> int:
        """Take another one, and number it."""
        self.items.append(item)
        return len(self.items) - 1

    def names(self) -> Integers:
        """Numbers that are the same for entries of the same name."""
        known: dict[str, int] = {}
        numbers = [known.setdefault(name, len(known)) for name, _ in self.items]
        return np.array(numbers, np.int64)

    def array(self) -> Any:
        """The entries as struct array of `tlx.schema.ATTRIBUTE`."""
        return attribute_lists([dict([item]) for item in self.items]).values


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is said of each of N shapes.

    Attributes:
        entries: All there is to say.
        numbers: Of the entries of all shapes, end to end.
        starts: Where those of each shape begin in ``numbers``, and the end; [N + 1].
        odd: Shapes that have more to them; [N].
    """

    entries: Entries
    numbers: Integers
    starts: Integers
    odd: Flags

    def lists(self) -> Any:
        """The list array [N] of `tlx.schema.ATTRIBUTE`."""
        values = self.entries.array().take(pa.array(self.numbers))
        return pa.ListArray.from_arrays(pa.array(self.starts, pa.int32()), values)

    def take(self, rows: Integers) -> Attributes:
        """Those of some of the shapes."""
        starts, places = ragged(self.starts, rows)
        return Attributes(self.entries, self.numbers[places], starts, self.odd[rows])

    def change(
        self, name: str, *, before: AttributeValue, after: AttributeValue, where: Flags
    ) -> None:
        """Give an attribute of some shapes another value, where it has a certain one."""
        known = np.array([item == (name, before) for item in self.entries.items], bool)
        number = self.entries.add((name, after))
        places = np.repeat(where, np.diff(self.starts)) & known[self.numbers]
        self.numbers[places] = number

    def changes(self) -> Flags:
        """Which shapes are not said the same things of, by name, as the one before; [N]."""
        lengths = np.diff(self.starts)
        found = np.ones(len(lengths), bool)
        found[1:] = lengths[1:] != lengths[:-1]
        owners = np.repeat(np.arange(len(lengths)), lengths)
        # The same place in the list of the shape before; anywhere where that is another length.
        places = np.arange(len(owners)) - np.where(found, 0, lengths)[owners]
        names = self.entries.names()[self.numbers] if len(owners) else self.numbers
        found[owners[names != names[places]]] = True
        return found


def read_attributes(
    layout: Layout,
    shapes: ShapeReader,
    labels: tuple[list[str], Integers],
    builtins: Iterable[tuple[str, Any]],
    *,
    in_track: bool,
) -> Attributes:
    """Read the attributes of the shapes of a block.

    Args:
        layout: The block, with S shapes.
        shapes: Knows the inputs of the attributes.
        labels: Distinct labels, and which one each shape has, -1 for none; [S].
        builtins: What CVAT itself says of a shape: name, and text array [S].
        in_track: The label is that of the track.
    """
    count = len(labels[1])
    entries, odd = Entries(), np.zeros(count, bool)
    owners, numbers = _users(layout, shapes, labels, entries, odd, in_track=in_track)
    own = [_builtin(name, column, entries, odd) for name, column in builtins]
    lengths = np.bincount(owners, minlength=count) + sum((one >= 0).astype(int) for one in own)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    laid = np.empty(starts[-1], np.int64)
    first = np.searchsorted(owners, np.arange(count))
    laid[starts[owners] + np.arange(len(owners)) - first[owners]] = numbers
    after = starts[:-1] + np.bincount(owners, minlength=count)
    for one in own:
        rows = np.flatnonzero(one >= 0)
        laid[after[rows]] = one[rows]
        after[rows] += 1
    _find_repeated(entries, laid, starts, odd)
    return Attributes(entries, laid, starts, odd)


def _users(
    layout: Layout,
    shapes: ShapeReader,
    labels: tuple[list[str], Integers],
    entries: Entries,
    odd: Flags,
    *,
    in_track: bool,
) -> tuple[Integers, Integers]:
    """The user's attributes: the shape and the number of the entry of each."""
    places = layout.places(VALUE)
    # In an odd piece there may be one before any shape, which would go to the piece before.
    places = places[~layout.odd[np.searchsorted(layout.begins, places, side="right") - 1]]
    owners = (np.cumsum(layout.marks == SHAPE) - 1)[places]
    parts = tables(layout.lines.take(pa.array(places)))
    rows, columns = next((one for one in parts if len(one[1]) == 3), (None, []))
    unread = np.ones(len(owners), bool)
    unread[rows] = rows is None
    odd[owners[unread]] = True
    if rows is None:
        return owners[:0], owners[:0]
    owners = owners[rows]
    begin, middle, end = map(coded, columns)
    spoilt = np.array([_START.fullmatch(text) is None for text in begin[0]])[begin[1]]
    matches = [_TEXT.fullmatch(text) for text in end[0]]
    names, texts, classes = middle[0], [match[1] if match else None for match in matches], labels[0]
    together = (labels[1][owners] * len(names) + middle[1]) * len(texts) + end[1]
    together[labels[1][owners] < 0] = -1
    distinct, codes = coded(pa.array(together))
    made = []
    for key in map(int, distinct):
        pair, text = divmod(key, len(texts))
        label, name = divmod(pair, len(names))
        value = None
        word = texts[text]
        if key >= 0 and word is not None and is_literal(names[name]):
            value = shapes.quiet_value(classes[label], names[name], word, in_track=in_track)
        made.append(-1 if value is None else entries.add((names[name], value)))
    numbers = np.array(made, np.int64)[codes]
    odd[owners[spoilt | (numbers < 0)]] = True
    # Odd shapes are read again; any entry will do for them.
    if not entries.items:
        entries.add(("", ""))
    return owners, np.maximum(numbers, 0)


def _builtin(name: str, column: Any, entries: Entries, odd: Flags) -> Integers:
    """The number of the entry of each shape for one of CVAT's own attributes; -1 for none."""
    texts, codes = coded(column)
    made = [-1]
    for text in texts:
        said: dict[str, AttributeValue] = {}
        if not is_literal(text):
            odd[codes == len(made) - 1] = True
        elif name == "keyframe":
            keyframe = flag_of({name: text}, name)
            said = {} if keyframe is None else {name: keyframe}
        else:
            said = with_builtins({}, {name: text})
        made.append(max(map(entries.add, said.items()), default=-1))
    return np.array(made, np.int64)[codes + 1]


def _find_repeated(entries: Entries, numbers: Integers, starts: Integers, odd: Flags) -> None:
    """Mark shapes that have two attributes of one name, or very many."""
    lengths = np.diff(starts)
    odd |= lengths > _MOST
    if not len(numbers):
        return
    names = entries.names()[numbers]
    owners = np.repeat(np.arange(len(lengths)), lengths)
    for distance in range(1, min(int(lengths.max()), _MOST)):
        same = (names[distance:] == names[:-distance]) & (owners[distance:] == owners[:-distance])
        odd[owners[distance:][same]] = True
