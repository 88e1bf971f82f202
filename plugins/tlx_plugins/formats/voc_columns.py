"""Columns of a dataset to the text of Pascal VOC's elements, a batch at a time.

Everything here maps Arrow arrays to arrays of XML text, so that a hundred thousand objects cost no
Python object each.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context as Arithmetic
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx_plugins.formats.text_columns import constant, joined, offsets_of, rounded, together

UNWRITABLE = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x{FFFE}\\x{FFFF}]"
"""What XML 1.0 cannot hold (section 2.2), as RE2 has it."""

_TYPED = ("integer", "real", "flag")
"""Fields of `tlx.schema.ATTRIBUTE` whose type an element names."""

_exact = Arithmetic(prec=60)


def escape(texts: Any) -> Any:
    """Text with what XML and its line ends would change written as references."""
    for plain, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        texts = pc.replace_substring(texts, plain, written)
    return texts


def wrapped(before: str, texts: Any, after: str) -> Any:
    """Text with something before and after it; null stays null."""
    return pc.binary_join_element_wise(constant(before), texts, constant(after), constant(""))


def element(tag: str, texts: Any, indent: str) -> Any:
    """An element on a line of its own; null where the text is null."""
    return wrapped(f"{indent}<{tag}>", texts, f"</{tag}>\n")


def flag(tag: str, values: Any, indent: str) -> Any:
    """An element with 0 or 1; null where it is not stated."""
    yes, no = (constant(f"{indent}<{tag}>{digit}</{tag}>\n") for digit in (1, 0))
    return pc.if_else(values, yes, no)


def number_text(values: Any, shift: int = 0) -> Any:
    """Finite numbers plus ``shift`` as text that gives back exactly them less ``shift``.

    Whole numbers come without a point; others with as many digits as they need.
    """
    if not shift:
        return values.cast(pa.string())
    # Ten decimals say most numbers exactly; the few others are added with Python's decimals.
    moved = rounded(pc.add(values, float(shift)), 10)
    same = pc.and_(
        pc.equal(rounded(pc.subtract(moved, float(shift)), 10), values),
        pc.less(pc.abs(values), 9e4),
    )
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2.0**52))
    fine = pc.fill_null(pc.or_(same, whole), True)
    texts = moved.cast(pa.string())
    if pc.all(fine).as_py():
        return texts
    odd = pc.invert(fine)
    exact = [
        str(_exact.add(Decimal(repr(value)), shift)) for value in values.filter(odd).to_pylist()
    ]
    return pc.replace_with_mask(texts, odd, pa.array(exact, pa.string()))


def whole_corners(corners: Sequence[Any], base: int) -> list[Any]:
    """The corners xmin, ymin, xmax, ymax as written, rounded to whole pixels, never to nothing.

    Args:
        corners: Four float arrays in absolute pixels.
        base: What the first pixel is counted as.
    """
    low = [pc.floor(pc.add(values, 0.5)) for values in corners[:2]]
    high = [pc.floor(pc.add(values, 0.5)) for values in corners[2:]]
    # An object of less than a pixel still covers the pixel in which it begins; a box that was
    # empty or inverted before stays so.
    for axis in range(2):
        real = pc.greater(corners[axis + 2], corners[axis])
        least = pc.max_element_wise(high[axis], pc.add(low[axis], 1.0))
        high[axis] = pc.if_else(real, least, high[axis])
    return [pc.add(values, float(base)) for values in low] + high


def polygons(column: Any, base: int, indent: str) -> Any:
    """The elements <polygon> of each outline; empty where there is none.

    Args:
        column: List array of lists of x0, y0, x1, y1, ... in absolute pixels, null allowed.
        base: What the first pixel is counted as.
        indent: What each line begins with.
    """
    rows = len(column)
    parents = pc.list_parent_indices(column)
    outlines = pc.list_flatten(column)
    values = pc.list_flatten(outlines)
    lengths = np.asarray(pc.list_value_length(outlines).fill_null(0))
    starts = np.concatenate(([0], np.cumsum(lengths)))
    position = pa.array((np.arange(len(values)) - np.repeat(starts[:-1], lengths)).astype(np.int32))
    # What is around a number depends on its position in the polygon, and of these there are few.
    tags = [f"{'xy'[n % 2]}{n // 2 + 1}" for n in range(int(lengths.max(initial=0)))]
    before = pa.array([f"{indent}\t<{tag}>" for tag in tags], pa.string()).take(position)
    after = pa.array([f"</{tag}>\n" for tag in tags], pa.string()).take(position)
    lines = together(before, number_text(values, base), after)
    whole = together(
        f"{indent}<polygon>\n", joined(lines, pa.array(starts, pa.int32())), f"{indent}</polygon>\n"
    )
    return joined(whole, offsets_of(parents, rows))


class Attributes:
    """The attributes of images or objects as CVAT's element, some of them apart.

    Args:
        column: List array of `tlx.schema.ATTRIBUTE`, one list per row.
    """

    def __init__(self, column: Any) -> None:
        self.rows = len(column)
        self.parents = pc.list_parent_indices(column)
        self.flat = pc.list_flatten(column)

    def take(self, name: str, kind: str) -> Any:
        """Take out the attribute of a name and type: its value by row, null where absent.

        Args:
            name: The attribute.
            kind: Field of `tlx.schema.ATTRIBUTE`: ``text``, ``integer``, ``real`` or ``flag``.
        """
        values = self.flat.field(kind)
        chosen = pc.and_(pc.equal(self.flat.field("name"), constant(name)), values.is_valid())
        found = values.filter(chosen)
        result = pa.nulls(self.rows, values.type)
        if len(found):
            mask = np.zeros(self.rows, bool)
            mask[np.asarray(self.parents.filter(chosen))] = True
            result = pc.replace_with_mask(result, pa.array(mask), found)
            rest = pc.invert(chosen)
            self.flat, self.parents = self.flat.filter(rest), self.parents.filter(rest)
        return result

    def left(self) -> Any:
        """What was not taken, as a list array."""
        return pa.ListArray.from_arrays(offsets_of(self.parents, self.rows), self.flat)

    def unwritable(self) -> list[int]:
        """Rows with an attribute that XML cannot hold."""
        names = self.flat.field("name").dictionary_encode()
        odd = pc.match_substring_regex(names.dictionary, UNWRITABLE).take(names.indices)
        texts = self.flat.field("text")
        if texts.null_count < len(texts):
            odd = pc.or_(odd, pc.fill_null(pc.match_substring_regex(texts, UNWRITABLE), False))
        if not pc.any(odd).as_py():
            return []
        return sorted(set(self.parents.filter(odd).to_pylist()))

    def text(self, indent: str) -> Any:
        """The element of each row; null where nothing is left."""
        if not len(self.flat):
            return pa.nulls(self.rows, pa.string())
        flat = self.flat
        # Most objects have attributes of one type, and their names are few.
        stated = [f for f in _TYPED if flat.field(f).null_count < len(flat)]
        values = [flat.field(name).cast(pa.string()) for name in stated]
        kinds = [
            pc.if_else(flat.field(name).is_valid(), constant(f' type="{name}"'), constant(None))
            for name in stated
        ]
        texts = flat.field("text")
        if not stated or texts.null_count < len(flat):
            values.insert(0, escape(_cleaned(texts)))
        names = flat.field("name").dictionary_encode()
        entries = together(
            f"{indent}\t<attribute>\n{indent}\t\t<name>",
            escape(_cleaned(names.dictionary)).take(names.indices),
            f"</name>\n{indent}\t\t<value",
            pc.coalesce(*kinds) if kinds else "",
            ">",
            pc.coalesce(*values),
            f"</value>\n{indent}\t</attribute>\n",
        )
        inner = joined(entries, offsets_of(self.parents, self.rows))
        block = together(f"{indent}<attributes>\n", inner, f"{indent}</attributes>\n")
        return pc.if_else(pc.equal(inner, constant("")), constant(None), block)


def _cleaned(texts: Any) -> Any:
    return pc.replace_substring_regex(texts, UNWRITABLE, "")
