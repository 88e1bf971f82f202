"""The lines of a block of a CVAT file, told apart without parsing them.

A block that CVAT wrote is a sequence of pieces like this one, each tag on a line of its own::

    <image id="0" name="a.jpg" width="1920" height="1080">
      <box label="car" occluded="0" xtl="1.00" ytl="2.00" xbr="3.00" ybr="4.00" z_order="0">
        <attribute name="color">red</attribute>
      </box>
    </image>

Pieces that are not are *odd*: `cvat_xml` reads them instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tlx_plugins.formats.column_values import Flags, Integers
from tlx_plugins.formats.cvat_cut import Block
from tlx_plugins.formats.cvat_forms import Tags, read_tags

Small = np.ndarray[Any, np.dtype[Any]]
"""Numbers below 256, of which there are many."""

OTHER, BEGIN, END, SHAPE, CLOSE, VALUE = range(6)
"""What a line is: the start or end tag of a piece or of a shape, an attribute of a shape."""

_FOLLOWS = {BEGIN: (SHAPE, END), SHAPE: (VALUE, CLOSE), VALUE: (VALUE, CLOSE),
            CLOSE: (SHAPE, END), END: (BEGIN,), OTHER: ()}  # fmt: skip
_REGULAR = np.array([[after in _FOLLOWS[mark] for after in range(6)] for mark in range(6)])
_DEEPEST = 16
"""Spaces before a tag."""

_NEWLINE, _SPACE, _OPEN, _SLASH, _A = b"\n </a"
_END_TAG = re.compile(r"( *)</([a-z]+)>\n")


@dataclass(frozen=True, slots=True)
class Layout:
    """The lines of a block, L in number, with P pieces that hold S shapes.

    Attributes:
        block: The block.
        lines: Text array [L] with the line feed of each.
        offsets: Where each line begins in the bytes of the block, and the end; [L + 1].
        marks: What each line is; [L].
        letters: The character after the first ``<`` of each line, 0 without one; [L].
        begins: The first line of each piece; [P].
        ends: The line after the last one of each piece; [P].
        odd: Pieces that something is wrong with; [P].
        regular: Lines up to here belong to pieces; what follows does not.
        closed: Name of the element that each line ends, in ``names``, for `CLOSE`; [L].
        names: Names of elements.
    """

    block: Block
    lines: pa.StringArray
    offsets: Integers
    marks: Small
    letters: Small
    begins: Integers
    ends: Integers
    odd: Flags
    regular: int
    closed: Small
    names: list[str]

    def places(self, mark: int) -> Integers:
        """Numbers of the lines that are something."""
        return np.flatnonzero(self.marks == mark)

    def tags(self, mark: int) -> Tags:
        """The start tags of pieces or of shapes."""
        places = self.places(mark)
        return read_tags(self.lines, places, self.letters[places])

    def bytes_of(self, piece: int) -> bytes:
        """The bytes of one piece."""
        first, last = int(self.begins[piece]), int(self.ends[piece])
        return self.block.data[self.offsets[first] : self.offsets[last]]


def lay_out(block: Block) -> Layout:
    """Tell the lines of a block apart."""
    letters = np.frombuffer(block.data, np.uint8)
    ends = np.flatnonzero(letters == _NEWLINE) + 1
    starts = np.concatenate(([0], ends[:-1]))
    indents, tags = _tags(letters, starts)
    marks = np.full(len(ends), SHAPE, np.int8)
    for letter, mark in ((_SLASH, CLOSE), (_A, VALUE), (0, OTHER)):
        marks[tags == letter] = mark
    outermost = indents == block.indent
    marks[outermost & (tags == ord(block.name[0]))] = BEGIN
    offsets = np.concatenate(([0], ends))
    lines = pa.StringArray.from_buffers(
        len(ends), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(block.data)
    )
    closed, names = _end_tags(lines, marks)
    known = [*names, block.name].index(block.name)
    marks[outermost & (closed == known) & (marks == CLOSE)] = END
    begins, last, odd = _pieces(marks)
    regular = int(last[-1]) if len(last) else 0
    return Layout(
        block=block,
        lines=lines,
        offsets=offsets,
        marks=marks[:regular],
        letters=tags[:regular],
        begins=begins,
        ends=last,
        odd=odd,
        regular=regular,
        closed=closed[:regular],
        names=names,
    )


def _tags(letters: Small, starts: Integers) -> tuple[Integers, Small]:
    """Spaces before the tag of each line, and the character after its ``<``; 0 without a tag."""
    places = starts.copy()
    for _ in range(_DEEPEST):
        spaces = letters[places] == _SPACE
        if not spaces.any():
            break
        places += spaces
    # The last character is a line feed, so the one after a "<" is there.
    after = letters[np.minimum(places + 1, len(letters) - 1)]
    return places - starts, after * (letters[places] == _OPEN)


def _end_tags(lines: pa.StringArray, marks: Small) -> tuple[Small, list[str]]:
    """Which element each line ends; lines that are no end tag become `OTHER`."""
    closed = np.full(len(marks), -1, np.int16)
    places = np.flatnonzero(marks == CLOSE)
    texts = lines.take(pa.array(places, pa.int32())).dictionary_encode()
    found = [_END_TAG.fullmatch(text) for text in texts.dictionary.to_pylist()]
    names = sorted({match[2] for match in found if match})
    numbers = np.array([names.index(match[2]) if match else -1 for match in found], np.int64)
    if len(places):
        closed[places] = numbers[texts.indices.to_numpy()]
        marks[places[closed[places] < 0]] = OTHER
    return closed, names


def _pieces(marks: Small) -> tuple[Integers, Integers, Flags]:
    """The first line of each piece, the one after its last, and the odd ones."""
    begins = np.flatnonzero(marks == BEGIN)
    ends = np.append(begins[1:], len(marks))
    whole = marks[ends - 1] == END
    # A piece that does not end where the next one begins may go on in it.
    count = len(begins) if whole.all() else int(np.argmin(whole))
    begins, ends = begins[:count], ends[:count]
    odd = np.zeros(count, bool)
    kept = marks[: ends[-1]] if count else marks[:0]
    wrong = np.flatnonzero(~_REGULAR[kept[:-1], kept[1:]]) + 1
    odd[np.searchsorted(begins, wrong, side="right") - 1] = True
    return begins, ends, odd
