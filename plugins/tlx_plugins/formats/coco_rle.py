"""COCO's run-length encoded masks: column-major run lengths that begin with background.

Uncompressed they are a list of counts. Compressed they are text of 6 bits a letter, 5 of them
payload, where from the third count on the difference to the count two before is written (cocoapi,
``common/maskApi.c``, ``rleToString`` and ``rleFrString``).
"""

from __future__ import annotations

from collections.abc import Sequence


def compress(counts: Sequence[int]) -> bytes:
    """Write run lengths in the compressed alphabet."""
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
