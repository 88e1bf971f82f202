"""What the elements of a plain VOC file mean, by where they lie; the rules are `voc_xml`'s."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlx_plugins.formats.column_values import Flags, Integers
from tlx_plugins.formats.voc_base import STATEMENT
from tlx_plugins.formats.voc_markup import Level, Markup, Tag

(
    OUTSIDE, FILE, ANNOTATION, OBJECT, SIZE, SOURCE, BOX, POLYGON, OF_IMAGE, OF_OBJECT,
    ONE_OF_IMAGE, ONE_OF_OBJECT,
) = range(12)  # fmt: skip
"""Elements that hold others. ``OF_IMAGE`` and ``OF_OBJECT`` are <attributes>, ``ONE_`` is one;
``FILE`` holds the root, and ``OUTSIDE`` is what has no meaning."""

_HOLDERS = {
    (FILE, "annotation"): ANNOTATION,
    (ANNOTATION, "object"): OBJECT,
    (ANNOTATION, "size"): SIZE,
    (ANNOTATION, "source"): SOURCE,
    (ANNOTATION, "attributes"): OF_IMAGE,
    (OBJECT, "bndbox"): BOX,
    (OBJECT, "polygon"): POLYGON,
    (OBJECT, "attributes"): OF_OBJECT,
    (OF_IMAGE, "attribute"): ONE_OF_IMAGE,
    (OF_OBJECT, "attribute"): ONE_OF_OBJECT,
}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_TEXTS = {
    ANNOTATION: ("filename", "folder", "path", "segmented"),
    OBJECT: ("name", "pose", "truncated", "difficult", "occluded", "crowd", "object_id", "track",
             "rotation"),
    SIZE: ("width", "height", "depth"),
    SOURCE: ("database",),
    BOX: _CORNERS,
    ONE_OF_IMAGE: ("name", "value"),
    ONE_OF_OBJECT: ("name", "value"),
}  # fmt: skip
_REPEATED = {OUTSIDE, OBJECT, POLYGON, ONE_OF_IMAGE, ONE_OF_OBJECT}
"""Elements that one element can hold several of."""

FIELDS = [(role, name) for role, names in _TEXTS.items() for name in names]
IGNORED, ODD = -1, -2
_MOST_TAGS = 20_000
"""Different tags that are remembered."""
COORDINATE = len(FIELDS)

_coordinate = re.compile(r"([xy])([1-9][0-9]{0,7})", re.ASCII).fullmatch
_any_coordinate = re.compile(r"[xy]\d+", re.ASCII).fullmatch

KINDS = ("text", "integer", "real", "flag")
"""Fields of `tlx.schema.ATTRIBUTE`, of which the attribute ``type`` of <value> names one."""


@dataclass(frozen=True, slots=True)
class Field:
    """One element of those that hold it; N in number.

    Attributes:
        places: Its tags; [N].
        owners: Which element of its level each lies in; [N].
        level: Depth of that element, 0 for roots.
    """

    places: Integers
    owners: Integers
    level: int


@dataclass(frozen=True, slots=True)
class Grammar:
    """The elements of F files by what they mean.

    Attributes:
        markup: The files.
        roles: What each element that holds others is, by level.
        fields: The elements that hold text, by place in `FIELDS`, and `COORDINATE`.
        odd: Files that have an element where it is not read, or twice; [F].
    """

    markup: Markup
    roles: list[Any]
    fields: dict[int, Field]
    odd: Flags

    def field(self, role: int, name: str) -> Field | None:
        """The elements of one name in those of one role."""
        return self.fields.get(FIELDS.index((role, name)))

    def holders(self, role: int) -> tuple[Integers, Integers]:
        """The elements of a role: their numbers in their level, and those of what they lie in."""
        level = _LEVEL_OF[role]
        if level >= len(self.roles):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        found = np.flatnonzero(self.roles[level] == role)
        return found, self.markup.levels[level].parents[found]

    def files_of(self, level: int, numbers: Integers) -> Integers:
        """The file that elements of a level lie in."""
        for height in range(level, -1, -1):
            numbers = self.markup.levels[height].parents[numbers]
        return numbers


_LEVEL_OF = {ANNOTATION: 0, OBJECT: 1, SIZE: 1, SOURCE: 1, OF_IMAGE: 1, BOX: 2, POLYGON: 2,
             OF_OBJECT: 2, ONE_OF_IMAGE: 2, ONE_OF_OBJECT: 3}  # fmt: skip


class GrammarReader:
    """Says what elements are, and remembers what it said of tags."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def read(self, markup: Markup) -> Grammar:
        """Say what each element is."""
        holds, texts = np.stack([self._meanings(tag) for tag in markup.tags], axis=-1)
        return _read_grammar(markup, holds, texts)

    def _meanings(self, tag: Tag) -> Any:
        """What an element is by what it lies in: one that holds others, or text; [2, roles]."""
        found = self.known.get(tag.text)
        if found is None:
            if len(self.known) > _MOST_TAGS:
                self.known.clear()
            meanings = [_meaning(role, tag) for role in range(ONE_OF_OBJECT + 1)]
            found = self.known[tag.text] = np.array(meanings, np.int8).T
        return found


def _read_grammar(markup: Markup, holds: Any, texts: Any) -> Grammar:
    """Say what each element is by what it lies in and its tag, a number each."""
    grammar = Grammar(markup, [], {}, np.zeros(len(markup.files), bool))
    for number, level in enumerate(markup.levels):
        kinds = markup.kinds[level.places]
        above = grammar.roles[-1][level.parents] if number else np.int8(FILE)
        roles = holds[above, kinds]
        grammar.roles.append(roles)
        grammar.odd[grammar.files_of(number, np.flatnonzero(roles == ODD))] = True
        for role in set(roles.tolist()) - _REPEATED - {ANNOTATION, ODD}:
            _once(grammar, number - 1, level.parents[roles == role])
        _fields(grammar, number, markup.leaves[number + 1], texts)
    return grammar


def _once(grammar: Grammar, level: int, owners: Integers) -> None:
    """Mark files in which an element of a level has several of what it should have one of."""
    twice = owners[1:][owners[1:] == owners[:-1]]
    grammar.odd[grammar.files_of(level, twice)] = True


def _fields(grammar: Grammar, level: int, leaves: Level, texts: Any) -> None:
    """Find the fields among the elements of text in those of a level."""
    kinds = grammar.markup.kinds[leaves.places]
    meanings = texts[grammar.roles[level][leaves.parents], kinds]
    grammar.odd[grammar.files_of(level, leaves.parents[meanings == ODD])] = True
    counts = np.bincount(np.maximum(meanings, 0), minlength=1)
    counts[0] = np.count_nonzero(meanings == 0)
    for meaning in np.flatnonzero(counts).tolist():
        rows = np.flatnonzero(meanings == meaning)
        field = Field(leaves.places[rows], leaves.parents[rows], level)
        grammar.fields[meaning] = field
        if meaning != COORDINATE:
            _once(grammar, level, field.owners)


def _meaning(role: int, tag: Tag) -> tuple[int, int]:
    """What an element is where it holds others, and where it holds text."""
    name = tag.name
    holder, text = OUTSIDE, IGNORED
    if (tag.values and not _may_have(role, tag)) or (role == FILE and name != "annotation"):
        holder, text = ODD, ODD
    elif (role, name) in _HOLDERS:
        holder, text = _HOLDERS[role, name], ODD
    elif name in _TEXTS.get(role, ()):
        holder, text = ODD, FIELDS.index((role, name))
    elif role == OBJECT and name == "robndbox":
        holder, text = ODD, ODD
    elif role == POLYGON and _any_coordinate(name):
        holder, text = ODD, COORDINATE if _coordinate(name) else ODD
    elif role in {OF_IMAGE, OF_OBJECT}:
        holder = ODD
    return holder, text


def _may_have(role: int, tag: Tag) -> bool:
    """Whether an element can have the attributes that it has."""
    if role == FILE:
        return tag.values.keys() <= {"verified", STATEMENT}
    return (
        role in {ONE_OF_IMAGE, ONE_OF_OBJECT}
        and tag.name == "value"
        and tag.values.keys() == {"type"}
        and tag.values["type"] in KINDS
    )


def coordinates(tags: list[Tag]) -> Integers:
    """The place of each tag among x1, y1, x2, y2, ..., -1 for another."""
    found = [_coordinate(tag.name) for tag in tags]
    return np.array([2 * int(m[2]) - 2 + (m[1] == "y") if m else -1 for m in found], np.int64)
