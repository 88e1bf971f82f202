"""Where each of very many names was met first, in 16 bytes for each.

A set of texts takes ten times as much, and makes the memory of a reader grow with its input.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_RECENT = 1 << 16
"""Names that are held in a dictionary before they become a sorted array."""

Integers = npt.NDArray[np.int64]


class Identities:
    """Names by their hash of 64 bits, as Python makes it, with a position for each.

    Two names have one hash with a probability of 3e-8 among a million names: whoever refuses
    a name looks at what lies at the position first.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        # The recent ones with their positions: those that came one by one, and those that came
        # together, with the position of the first.
        self._single: dict[int, int] = {}
        self._pieces: list[tuple[array[int], int]] = []
        # All others: sorted hashes and positions, in runs of which each is longer than the next.
        self._runs: list[tuple[Integers, Integers]] = []

    def are_new(self, names: Sequence[str]) -> bool:
        """Whether all differ from each other, and from everything that was added."""
        hashes = list(map(hash, names))
        return self._are_new(hashes, set(hashes))

    def add(self, names: Sequence[str], position: int) -> bool:
        """Add names at positions that follow each other, if all are new; else add none."""
        hashes = list(map(hash, names))
        wanted = set(hashes)
        if not self._are_new(hashes, wanted):
            return False
        self._recent |= wanted
        self._pieces.append((array("q", hashes), position))
        if len(self._recent) >= _RECENT:
            self._store()
        return True

    def claim(self, name: str, position: int) -> int:
        """Add one name, unless it is known; returns the position that it has."""
        key = hash(name)
        if not self._are_new((key,), {key}):
            return self._position_of(key)
        self._recent.add(key)
        self._single[key] = position
        if len(self._recent) >= _RECENT:
            self._store()
        return position

    def _are_new(self, hashes: Sequence[int], wanted: set[int]) -> bool:
        if len(wanted) < len(hashes) or not self._recent.isdisjoint(wanted):
            return False
        if not self._runs:
            return True
        keys = np.array(hashes, np.int64)
        return not any((_places(run, keys) >= 0).any() for run, _ in self._runs)

    def _position_of(self, key: int) -> int:
        if key in self._single:
            return self._single[key]
        for keys, first in self._pieces:
            if key in keys:
                return first + keys.index(key)
        for run, positions in self._runs:
            (place,) = _places(run, np.array([key], np.int64))
            if place >= 0:
                return int(positions[place])
        raise KeyError(key)

    def _store(self) -> None:
        """Bring the recent ones into the runs."""
        count = len(self._single)
        kept = [np.fromiter(self._single, np.int64, count)]
        placed = [np.fromiter(self._single.values(), np.int64, count)]
        for piece, first in self._pieces:
            kept.append(np.frombuffer(piece, np.int64))
            placed.append(np.arange(first, first + len(piece)))
        keys, positions = np.concatenate(kept), np.concatenate(placed)
        self._recent.clear()
        self._single.clear()
        self._pieces.clear()
        while self._runs and len(self._runs[-1][0]) <= 2 * len(keys):
            earlier, places = self._runs.pop()
            keys = np.concatenate((earlier, keys))
            positions = np.concatenate((places, positions))
        order = np.argsort(keys, kind="stable")
        self._runs.append((keys[order], positions[order]))


def _places(run: Integers, needles: Integers) -> Integers:
    """Where each needle stands in a sorted run, -1 where it does not."""
    places = np.minimum(np.searchsorted(run, needles), len(run) - 1)
    return np.where(run[places] == needles, places, -1)
