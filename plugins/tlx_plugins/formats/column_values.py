"""What readers that work on columns share: flags, codes, rows of lists, and what is there twice."""

from __future__ import annotations

from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Marks = np.ndarray[Any, np.dtype[np.uint64]]


def flags(column: Any) -> Flags:
    """An Arrow array of bools without nulls as flags."""
    found: Flags = column.to_numpy(zero_copy_only=False)
    return found


def coded(column: Any) -> tuple[list[str], Integers]:
    """The distinct texts of a column, and which one stands where; -1 for null."""
    encoded = column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), codes.astype(np.int64)


def ragged(starts: Integers, rows: Integers) -> tuple[Integers, Integers]:
    """The values of some rows of lists that lie end to end.

    Args:
        starts: Where the values of each row begin, and the end; [N + 1].
        rows: Which rows; [M].

    Returns:
        The same of the chosen rows, [M + 1], and the places of their values.
    """
    lengths = np.diff(starts)[rows]
    found = np.concatenate(([0], np.cumsum(lengths)))
    return found, np.repeat(starts[:-1][rows] - found[:-1], lengths) + np.arange(found[-1])


def marks(bounds: Floats, more: Integers) -> Marks:
    """Numbers [N] that are the same for the same bounds and number; rarely for others too."""
    bits = np.ascontiguousarray(np.nan_to_num(bounds)).view(np.uint64)
    found = more.astype(np.uint64)
    for column in range(4):
        found = (found ^ bits[:, column]) * np.uint64(0xFF51AFD7ED558CCD)
        found ^= found >> np.uint64(33)
    return found


def twins(numbers: Marks) -> Flags:
    """Which numbers are there more than once; [N]."""
    order = np.argsort(numbers, kind="stable")
    same = numbers[order[1:]] == numbers[order[:-1]]
    found = np.zeros(len(numbers), bool)
    found[order[1:][same]] = found[order[:-1][same]] = True
    return found
