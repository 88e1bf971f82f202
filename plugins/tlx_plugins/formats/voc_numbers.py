"""Texts of many numbers cast at once, and which of them need a closer look (`voc_xml.number`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx_plugins.formats.column_values import Flags, flags
from tlx_plugins.formats.voc_xml import number

Floats = np.ndarray[Any, np.dtype[np.float64]]

_NUMBER = r"^-?[0-9]+(?:\.[0-9]+)?$"
_REAL = r"^-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
_INTEGER = r"^-?[0-9]{1,18}$"
_LARGEST = 1e300
_DECIMALS = 10


def numbers(texts: Any) -> tuple[Floats, Flags]:
    """Numbers written without exponent; NaN for null and for the odd ones.

    Args:
        texts: Text array [N].

    Returns:
        The numbers [N], and flags [N] of texts that are something else, or perhaps a number.
    """
    column, odd = _cast(texts, pa.float64(), b"0123456789.-", _NUMBER)
    values: Floats = column.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        odd |= np.abs(values) > _LARGEST
    return values, odd


def reals(texts: Any) -> tuple[Any, Flags]:
    """An array of floats for texts that Python's float would take, null for null, and odd ones."""
    column, odd = _cast(texts, pa.float64(), b"0123456789.-", _REAL)
    values = column.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        odd |= np.abs(values) > _LARGEST
    return column, odd


def integers(texts: Any) -> tuple[Any, Flags]:
    """An array of integers of 64 bits, null for null, and odd ones."""
    return _cast(texts, pa.int64(), b"0123456789-", _INTEGER)


def less_one(values: Floats, texts: Any) -> Floats:
    """Numbers less 1, exactly as `voc_xml.number` subtracts it.

    Args:
        values: What `numbers` made of the texts; [N].
        texts: Text array [N].
    """
    lengths = pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore", over="ignore"):
        less = values - 1.0
        whole = (np.floor(values) == values) & (lengths < 16)
        short = (lengths < 12) & (np.abs(values) < 1e5)
        scale = 10.0**_DECIMALS
        result: Floats = np.where(whole, less, np.rint(less * scale) / scale)
        # Python's decimals do the few others.
        others = np.flatnonzero(~(whole | short) & np.isfinite(values))
    for place, text in zip(others.tolist(), texts.take(pa.array(others)).to_pylist(), strict=True):
        value = number(text, 1)
        result[place] = np.nan if value is None else value
    return result


def _cast(texts: Any, kind: Any, letters: bytes, form: str) -> tuple[Any, Flags]:
    """Texts as numbers; those that are not of the form are null and flagged.

    Args:
        texts: Text array [N].
        kind: The type of the numbers.
        letters: What a text may be made of, where Arrow reads it as such a number, to be of the
            form, or to mean the same.
        form: Expression of RE2; Arrow can read whatever is of it.
    """
    odd = np.zeros(len(texts), bool)
    if not _letters_of(texts).translate(None, letters):
        try:
            return texts.cast(kind), odd
        except pa.ArrowInvalid:
            pass
    fits = flags(pc.fill_null(pc.match_substring_regex(texts, form), True))
    chosen = pc.if_else(pa.array(fits), texts, pa.scalar(None, pa.string()))
    return chosen.cast(kind), ~fits


def _letters_of(texts: Any) -> bytes:
    """All texts end to end."""
    if not len(texts):
        return b""
    _, offsets, letters = texts.buffers()
    if letters is None:
        return b""
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    found: bytes = letters.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes()
    return found
