"""COCO's run-length encoded masks: column-major run lengths that begin with background.

Uncompressed they are a list of counts. Compressed they are text of 6 bits a letter, 5 of them
payload, where from the third count on the difference to the count two before is written (cocoapi,
``common/maskApi.c``, ``rleToString`` and ``rleFrString``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_MANY = 32
"""Numbers from which on NumPy is faster than a loop."""
_GROUPS = 6
"""Letters of a number that NumPy is trusted with; sums of longer ones may leave 64 bits."""
_BELOW = 1 << (5 * _GROUPS - 1)


def compress(counts: Sequence[int]) -> bytes:
    """Write run lengths in the compressed alphabet."""
    values = _integers(counts)
    if values is None:
        return _compress(counts)
    values[3:] -= values[1:-2].copy()
    if np.abs(values).max() >= _BELOW:
        return _compress(counts)
    steps = 1 << (5 * np.arange(1, _GROUPS) - 1)
    reached = (values[:, None] >= steps) | (values[:, None] < -steps)
    lengths = 1 + np.count_nonzero(reached, axis=1)
    ends = np.cumsum(lengths)
    place = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    bits = np.repeat(values, lengths) >> 5 * place & 0x1F
    more = np.ones(len(bits), bool)
    more[ends - 1] = False
    letters: bytes = (bits + 48 + 0x20 * more).astype(np.uint8).tobytes()
    return letters


def _integers(counts: Sequence[int]) -> Any:
    """Numbers as a new array; None where they are few or too large."""
    if len(counts) < _MANY or max(counts) >= _BELOW or min(counts) <= -_BELOW:
        return None
    return np.array(counts, np.int64)


def _compress(counts: Sequence[int]) -> bytes:
    letters = bytearray()
    for position, count in enumerate(counts):
        value = count - counts[position - 2] if position > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            # The rest is all sign bits: nothing more to say once the sign bit of this group is it.
            more = value != (-1 if bits & 0x10 else 0)
            letters.append((bits | (0x20 if more else 0)) + 48)
    return bytes(letters)


def decompress(letters: bytes) -> list[int]:
    """Read run lengths from the compressed alphabet.

    Raises:
        ValueError: If a letter is not of the alphabet or the text ends inside a number.
    """
    bits = np.frombuffer(letters, np.uint8).astype(np.int64) - 48
    last = (bits & 0x20) == 0
    if len(bits) < _MANY or bits.min() < 0 or bits.max() > 63 or not last[-1]:
        return _decompress(letters)
    ends = np.flatnonzero(last)
    begins = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - begins + 1
    if lengths.max() > _GROUPS:
        return _decompress(letters)
    place = np.arange(len(bits)) - np.repeat(begins, lengths)
    values = np.add.reduceat((bits & 0x1F) << 5 * place, begins)
    values -= (bits[ends] >> 4 & 1) << 5 * lengths
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    counts: list[int] = values.tolist()
    return counts


def _decompress(letters: bytes) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for letter in letters:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("the run lengths are not in COCO's alphabet")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value = shift = 0
    if shift:
        raise ValueError("the run lengths end inside a number")
    return counts


def area(counts: Sequence[int]) -> int:
    """Number of pixels in the mask."""
    return sum(counts[1::2])


def bounds(counts: Sequence[int], height: int) -> tuple[int, int, int, int] | None:
    """The box around the mask as xmin, ymin, xmax, ymax in pixels, half open; None if empty."""
    values = _integers(counts)
    if values is not None:
        return _bounds(values, height)
    xmin = ymin = xmax = ymax = -1
    start = 0
    for position, count in enumerate(counts):
        end = start + count
        if position % 2 and count:
            (left, top), (right, bottom) = divmod(start, height), divmod(end - 1, height)
            if right > left:  # The run goes on over the foot of a column: it touches both edges.
                top, bottom = 0, height - 1
            xmin = left if xmin < 0 else min(xmin, left)
            ymin = top if ymin < 0 else min(ymin, top)
            xmax, ymax = max(xmax, right), max(ymax, bottom)
        start = end
    return None if xmin < 0 else (xmin, ymin, xmax + 1, ymax + 1)


def _bounds(counts: Any, height: int) -> tuple[int, int, int, int] | None:
    """The same for the many runs of an array."""
    ends = np.cumsum(counts)[1::2]
    lengths = counts[1::2]
    first, last = (ends - lengths)[lengths != 0], ends[lengths != 0] - 1
    if not len(first):
        return None
    (left, top), (right, bottom) = np.divmod(first, height), np.divmod(last, height)
    over = right > left
    return (
        int(left.min()),
        0 if over.any() else int(top.min()),
        int(right.max()) + 1,
        height if over.any() else int(bottom.max()) + 1,
    )
