"""Many plain XML files taken apart at once, without parsing each by itself.

*Plain* is XML of elements without attributes (but for the few that VOC has), without comments,
processing instructions, empty-element tags, and references other than the five of XML 1.0 (section
4.6). In such a file ``<`` and ``>`` stand at the two ends of tags and nowhere else, so that all
tags of many files are found by looking for two characters. Files that are not plain are left to the
parser; so are those that are not well-formed, whose line and fault it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tlx_plugins.formats.column_values import Flags, Integers

Small = np.ndarray[Any, np.dtype[Any]]
"""Numbers of few bits, of which there are many."""

LARGEST = 4 << 20
"""Bytes of a file that is taken apart here; parsers have limits of their own for larger ones."""

_MOST_LINES = 60_000
"""libxml2 counts lines in 16 bits."""
_DEEPEST = 12
_MOST_TAGS = 20_000
"""Different tags that are remembered."""

_BLANK = b" \t\r\n"
_LESS, _GREATER = b"<>"
_OPEN, _CLOSE, _ODD = range(3)

_DECLARATION = re.compile(
    rb"""<\?xml[ ]version=(["'])1\.0\1(?:[ ]encoding=(["'])utf-?8\2)?"""
    rb"""(?:[ ]standalone=(["'])(?:yes|no)\3)?[ ]?\?>[ \t\r\n]*""",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(/?)([A-Za-z_][A-Za-z0-9_.-]*)((?: [a-z_]+=\"[^\"<&\t\r\n]*\")*)>", re.ASCII)
_ATTRIBUTE = re.compile(r" ([a-z_]+)=\"([^\"]*)\"")
_REFERENCES = (b"&amp;", b"&lt;", b"&gt;", b"&quot;", b"&apos;")


class Tag(NamedTuple):
    """A tag: as it is written, whether it opens or closes an element, which one, attributes."""

    text: str
    kind: int
    name: str
    values: dict[str, str]


class Document(NamedTuple):
    """The root element of a file that may be plain.

    Attributes:
        text: From the first tag to the end of the last.
        line: The line of the first tag, less one.
        refers: Whether there are references to characters.
    """

    text: bytes
    line: int
    refers: bool


def document_of(data: bytes) -> Document | None:
    """The root element of a file; None where the file cannot be plain."""
    # `tlx.safe_xml` counts lines from the first that is not empty, and so does this.
    text = data.removeprefix(b"\xef\xbb\xbf").strip(_BLANK)
    line = 0
    if text.startswith(b"<?"):
        match = _DECLARATION.match(text)
        if match is None:
            return None
        line = match[0].count(b"\n")
        text = text[match.end() :]
    if not (text.startswith(b"<annotation") and text.endswith(b">")) or len(data) > LARGEST:
        return None
    refers = b"&" in text
    if refers and text.count(b"&") != sum(map(text.count, _REFERENCES)):
        return None
    if not text.isascii():
        try:
            letters = text.decode()
        except UnicodeDecodeError:
            return None
        if "\ufffe" in letters or "\uffff" in letters:
            return None
    return Document(text, line, refers)


@dataclass(frozen=True, slots=True)
class Level:
    """Elements at one depth that hold others; N in number, in their order.

    Attributes:
        places: The tag that begins each; [N].
        parents: Which element one level higher each lies in; [N]; at the root level its file.
    """

    places: Integers
    parents: Integers


@dataclass(frozen=True, slots=True)
class Markup:
    """The T tags of F well-formed files.

    Attributes:
        files: Which of the given documents they are; [F].
        kinds: Which of ``tags`` each tag is; [T].
        tags: The different tags.
        levels: Elements that hold others, by depth, roots first.
        leaves: The same for elements that hold text only; none at the root level.
        pieces: Text array [2 T]: each tag, and the text behind it.
        newlines: Where lines end, in all text end to end.
        starts: Where each tag begins there; [T].
        begins: Where each file begins there; [F].
        before: Number of the line before each file's first; [F].
        refers: Whether there are references to characters in any file.
        returns: Whether there are carriage returns in any file.
    """

    files: Integers
    kinds: Small
    tags: list[Tag]
    levels: list[Level]
    leaves: list[Level]
    pieces: pa.StringArray
    newlines: Integers
    starts: Integers
    begins: Integers
    before: Integers
    refers: bool
    returns: bool

    def texts(self, places: Integers) -> Any:
        """What stands behind tags, references as they are written; text array."""
        return self.pieces.take(pa.array(2 * places + 1))

    def lines(self, places: Integers, files: Integers) -> Integers:
        """The line that each tag begins on, as `tlx.safe_xml` counts.

        Args:
            places: Numbers of the tags; [N].
            files: The file of each; [N].
        """
        first = np.searchsorted(self.newlines, self.begins) - self.before
        return np.searchsorted(self.newlines, self.starts[places]) - first[files] + 1


class Splitter:
    """Takes files apart, and remembers the tags that it has seen."""

    def __init__(self) -> None:
        self.known: dict[str, Tag] = {}

    def split(self, documents: Sequence[Document | None]) -> Markup | None:
        """Take files apart.

        Args:
            documents: The files; None for one that is not plain.

        Returns:
            None where no file is left.
        """
        files = np.array([n for n, one in enumerate(documents) if one is not None], np.int64)
        while len(files):
            chosen = [one for one in (documents[n] for n in files.tolist()) if one is not None]
            found = self._attempt(files, chosen)
            if isinstance(found, Markup):
                return found
            files = files[~found]
        return None

    def _attempt(self, files: Integers, documents: list[Document]) -> Markup | Flags:
        """All files, or else those that are not plain."""
        data = b"".join([one.text for one in documents])
        lengths = np.array([len(one.text) for one in documents], np.int64)
        bounds = np.concatenate(([0], np.cumsum(lengths)))
        letters = np.frombuffer(data, np.uint8)
        newlines = np.flatnonzero(letters == _BLANK[3])
        odd = _uncounted(letters, newlines, bounds)
        if odd.any():
            return odd
        places = np.flatnonzero((letters == _LESS) | (letters == _GREATER))
        cuts = np.searchsorted(places, bounds)
        odd = _unpaired(letters[places], cuts)
        if odd.any():
            return odd
        owners = cuts // 2
        offsets = np.empty(len(places) + 1, np.int32)
        offsets[:-1], offsets[-1] = places, len(data)
        offsets[1:-1:2] += 1
        pieces = pa.StringArray.from_buffers(len(places), pa.py_buffer(offsets), pa.py_buffer(data))
        count = len(places) // 2
        encoded = pieces.take(pa.array(np.arange(0, 2 * count, 2))).dictionary_encode()
        tags = [self._tag(text) for text in encoded.dictionary.to_pylist()]
        kinds = encoded.indices.to_numpy()
        forms = np.array([tag.kind for tag in tags], np.int8)[kinds]
        odd = _marked(np.flatnonzero(forms == _ODD), owners)
        if odd.any():
            return odd
        opens = forms == _OPEN
        nested = _nested(kinds, tags, opens, owners)
        if not isinstance(nested, tuple):
            return nested
        return Markup(
            files=files,
            kinds=kinds,
            tags=tags,
            levels=nested[0],
            leaves=nested[1],
            pieces=pieces,
            newlines=newlines,
            starts=places[0::2],
            begins=bounds[:-1],
            before=np.array([one.line for one in documents], np.int64),
            refers=any(one.refers for one in documents),
            returns=b"\r" in data,
        )

    def _tag(self, text: str) -> Tag:
        found = self.known.get(text)
        if found is None:
            if len(self.known) > _MOST_TAGS:
                self.known.clear()
            found = self.known[text] = _read_tag(text)
        return found


def _read_tag(text: str) -> Tag:
    match = _TAG.fullmatch(text)
    if match is None:
        return Tag(text, _ODD, "", {})
    stated = _ATTRIBUTE.findall(match[3])
    values = dict(stated)
    if len(values) < len(stated) or (match[1] and stated):
        return Tag(text, _ODD, "", {})
    return Tag(text, _CLOSE if match[1] else _OPEN, match[2], values)


def _uncounted(letters: Small, newlines: Integers, bounds: Integers) -> Flags:
    """Files with characters that XML does not have, or too many lines."""
    odd: Flags = np.diff(np.searchsorted(newlines, bounds)) > _MOST_LINES
    blank = len(newlines) + sum(int(np.count_nonzero(letters == one)) for one in b"\t\r")
    if np.count_nonzero(letters < ord(" ")) > blank:
        usual = np.isin(letters, np.frombuffer(b"\t\r\n", np.uint8))
        wrong = np.flatnonzero((letters < ord(" ")) & ~usual)
        odd[np.searchsorted(bounds, wrong, side="right") - 1] = True
    return odd


def _unpaired(kinds: Small, cuts: Integers) -> Flags:
    """Files in which ``<`` and ``>`` do not take turns.

    Args:
        kinds: The characters of all files.
        cuts: Where each file begins in them, and the end; [F + 1].
    """
    counts = np.diff(cuts)
    odd: Flags = counts % 2 == 1
    if not odd.any() and (kinds[0::2] == _LESS).all() and (kinds[1::2] == _GREATER).all():
        return odd
    turn = (np.arange(len(kinds)) - np.repeat(cuts[:-1], counts)) % 2
    wrong = np.flatnonzero((kinds == _GREATER) != (turn == 1))
    odd[np.searchsorted(cuts, wrong, side="right") - 1] = True
    return odd


def _marked(places: Integers, owners: Integers) -> Flags:
    """Files that have one of some tags."""
    odd = np.zeros(len(owners) - 1, bool)
    odd[np.searchsorted(owners, places, side="right") - 1] = True
    return odd


def _nested(
    kinds: Small, tags: list[Tag], opens: Flags, owners: Integers
) -> tuple[list[Level], list[Level]] | Flags:
    """Elements by depth, those that hold others and those that do not; or the odd files."""
    depth = np.cumsum(np.where(opens, np.int32(1), np.int32(-1)), dtype=np.int32)
    counts = np.diff(owners)
    before = depth - np.where(opens, np.int32(1), np.int32(-1))
    inner = depth - np.repeat(before[owners[:-1]], counts)
    ends = owners[1:] - 1
    odd: Flags = (inner[ends] != 0) | (np.minimum.reduceat(inner, owners[:-1]) < 0)
    odd |= np.add.reduceat(inner == 0, owners[:-1], dtype=np.int64) > 1
    odd |= np.maximum.reduceat(inner, owners[:-1]) > _DEEPEST
    # A root without any element.
    odd |= counts < 4
    if odd.any():
        return odd
    numbers = {name: number for number, name in enumerate(dict.fromkeys(t.name for t in tags))}
    names = np.array([numbers[tag.name] for tag in tags], np.int32)[kinds]
    leaves = np.flatnonzero(opens[:-1] & ~opens[1:])
    holds = np.ones(len(opens), bool)
    holds[leaves] = holds[leaves + 1] = False
    others = np.flatnonzero(holds)
    heights = inner[others] + ~opens[others]
    wrong = [leaves[names[leaves] != names[leaves + 1]]]
    levels: list[Level] = []
    above = owners[:-1]
    for height in range(1, int(heights.max()) + 1):
        rows = others[heights == height]
        begins, closes = rows[0::2], rows[1::2]
        wrong.append(begins[names[begins] != names[closes]])
        levels.append(Level(begins, np.searchsorted(above, begins, side="right") - 1))
        above = begins
    odd = _marked(np.concatenate(wrong), owners)
    return odd if odd.any() else (levels, list(_leaves(leaves, inner[leaves], levels)))


def _leaves(places: Integers, heights: Small, levels: list[Level]) -> Iterator[Level]:
    """The elements without others by depth, from the level below the roots on."""
    yield Level(places[:0], places[:0])
    for number, level in enumerate(levels):
        rows = places[heights == number + 2]
        yield Level(rows, np.searchsorted(level.places, rows, side="right") - 1)
