"""The texts of many plain VOC files, by the object or the image that they say something of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx_plugins.formats import voc_grammar
from tlx_plugins.formats.column_values import Flags, Integers, flags
from tlx_plugins.formats.voc_grammar import KINDS, Field, Grammar

_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))


class VocTexts:
    """The texts of F files with O objects.

    Args:
        grammar: What their elements mean.

    Attributes:
        odd: Files that need a closer look; [F].
        holders: Of each object its number in its level; [O].
        owners: The file of each object; [O].
    """

    def __init__(self, grammar: Grammar) -> None:
        self.markup = markup = grammar.markup
        self.grammar = grammar
        self.odd: Flags = self.grammar.odd
        self.files = len(markup.files)
        self.holders, self.owners = self.grammar.holders(voc_grammar.OBJECT)
        self.count = len(self.holders)
        levels = self.grammar.roles
        of_roots = levels[1] if len(levels) > 1 else np.zeros(0, np.int8)
        self.ranks: Integers = np.cumsum(of_roots == voc_grammar.OBJECT) - 1
        """Of each element of level 1 that is an object which one it is."""

        types = [tag.values.get("type", "text") for tag in markup.tags]
        self.value_kinds = np.array([KINDS.index(t) if t in KINDS else 0 for t in types])
        """Of each tag, if it is a <value>, the type that it states."""

    def mark(self, owners: Integers, wrong: Any, level: int) -> None:
        """Files are odd that elements of a level lie in."""
        found = np.flatnonzero(wrong)
        if len(found):
            self.odd[self.grammar.files_of(level, owners[found])] = True

    def text_of(self, field: Field, *, plain: bool = False) -> Any:
        """The texts of a field; where ``plain``, line breaks are not part of them."""
        texts = self.markup.texts(field.places)
        if self.markup.returns:
            self.mark(field.owners, flags(pc.match_substring(texts, "\r")), field.level)
        if plain:
            self.mark(field.owners, flags(pc.match_substring(texts, "\n")), field.level)
        if self.markup.refers:
            for written, meant in _ENTITIES:
                texts = pc.replace_substring(texts, written, meant)
        return texts

    def texts(self, role: int, name: str, *, plain: bool = False) -> Any:
        """The texts of a field by object or file, null where it is not there."""
        field = self.grammar.field(role, name)
        count = self.count if role in {voc_grammar.OBJECT, voc_grammar.BOX} else self.files
        if field is None:
            return pa.nulls(count, pa.string())
        rows = field.owners
        if role == voc_grammar.BOX:
            rows = self.objects_of(self.markup.levels[2].parents[rows])
        elif role == voc_grammar.OBJECT:
            rows = self.objects_of(rows)
        elif role != voc_grammar.ANNOTATION:
            rows = self.markup.levels[1].parents[rows]
        return _placed(self.text_of(field, plain=plain), rows, count)

    def objects_of(self, numbers: Integers) -> Integers:
        """Which objects some elements of level 1 are."""
        found: Integers = self.ranks[numbers]
        return found

    def required(self, texts: Any) -> Any:
        """Texts that each object has; a file is odd where one is empty or not there."""
        there = pc.greater(pc.binary_length(texts), 0)
        self.mark(self.holders, ~flags(pc.fill_null(there, False)), 1)
        return pc.fill_null(texts, "")

    def attributes(self, role: int) -> tuple[Integers, Any, Integers, Any] | None:
        """All attributes of images or of objects.

        Returns:
            The element <attributes>'s own owner in level 1 or 0 by number, the names, the kinds as
            places in `KINDS`, and the values as texts; None where there are none.
        """
        holders, above = self.grammar.holders(role)
        if not len(holders):
            return None
        level = 2 if role == voc_grammar.ONE_OF_IMAGE else 3
        name, value = (self.grammar.field(role, text) for text in ("name", "value"))
        if name is None or value is None:
            self.mark(holders, np.ones(len(holders), bool), level)
            return None
        kinds = self.value_kinds[self.markup.kinds[value.places]]
        names, values = self.text_of(name), self.text_of(value)
        if not (np.array_equal(holders, name.owners) and np.array_equal(holders, value.owners)):
            both = np.isin(holders, name.owners) & np.isin(holders, value.owners)
            self.mark(holders, ~both, level)
            holders, above = holders[both], above[both]
            names = names.filter(pa.array(np.isin(name.owners, holders)))
            chosen = np.isin(value.owners, holders)
            kinds, values = kinds[chosen], values.filter(pa.array(chosen))
        return above, names, kinds, values


def _placed(texts: Any, rows: Sequence[int] | Integers, count: int) -> Any:
    """Texts of some rows as a column of all."""
    if len(rows) == count:
        return texts
    where = np.full(count, -1)
    where[np.asarray(rows)] = np.arange(len(rows))
    return texts.take(pa.array(where, mask=where < 0))
