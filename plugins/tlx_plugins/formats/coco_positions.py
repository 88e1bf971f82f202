"""Ids of a COCO file brought to positions, and polygons kept in parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa

from tlx.schema import SEGMENTATION
from tlx_plugins.formats.coco_polygons import Integers

Places = np.ndarray[Any, np.dtype[np.int32]]
Ids = Integers | list[int | str]

_OUTLINES = SEGMENTATION.field("polygons").type
_PART = 1 << 17
"""Annotations whose polygons lie together."""
_ROOM = 16
"""Places of a table of ids for each id; where they lie farther apart, a dictionary takes less."""


def plain_id(number: int | str) -> int | str:
    """An id in one of the forms that mean the same: "7" is 7, but "07" is not."""
    if isinstance(number, str) and number.removeprefix("-").isdecimal() and len(number) < 20:
        plain = int(number)
        return plain if str(plain) == number else number
    return number


@dataclass(slots=True)
class Outlines:
    """The polygons of all annotations, in parts that are never put together as a whole."""

    _parts: list[Any] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _waiting: list[Any] = field(default_factory=list)
    _count: int = 0
    _used: bool = False

    def add(self, column: Any, count: int) -> None:
        """Take the list array of the next annotations; None where none has polygons."""
        self._used |= column is not None
        self._waiting.append(pa.nulls(count, _OUTLINES) if column is None else column)
        self._count += count
        if sum(map(len, self._waiting)) >= _PART:
            self._put_together()

    def _put_together(self) -> None:
        whole = pa.concat_arrays(self._waiting)
        self._waiting = []
        self._parts.append(whole)
        self._starts.append(self._count - len(whole))

    def take(self, numbers: Integers | Places) -> Any:
        """The list array of some annotations; None if none of them has polygons."""
        if not self._used:
            return None
        if self._waiting:
            self._put_together()
        where = np.searchsorted(self._starts, numbers, side="right") - 1
        found = []
        for place in np.unique(where).tolist():
            local = numbers[where == place] - self._starts[place]
            found.append(self._parts[place].take(pa.array(local)))
        if len(found) < 2:
            return found[0] if found else pa.nulls(0, _OUTLINES)
        back = np.empty(len(numbers), np.int64)
        back[np.argsort(where, kind="stable")] = np.arange(len(numbers))
        return pa.concat_arrays(found).take(pa.array(back))


class Positions:
    """Where the entry of an id stands in its list; of two with one id it is the first.

    Args:
        ids: The ids of the list.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._table: Places | None = None
        self._known: dict[int | str, int] | None = None
        if isinstance(ids, np.ndarray) and len(ids):
            self._least = int(ids.min())
            reach = int(ids.max()) - self._least + 1
            if reach <= _ROOM * len(ids) + 1024:
                self._table = np.full(reach, -1, np.int32)
                # Of several values for one place NumPy keeps the last.
                self._table[ids[::-1] - self._least] = np.arange(len(ids) - 1, -1, -1)
        if self._table is None:
            self._known = _first_positions(ids)

    @property
    def unique(self) -> bool:
        """No id is there twice."""
        if self._table is not None:
            return bool(np.count_nonzero(self._table >= 0) == len(self._ids))
        return self._known is not None and len(self._known) == len(self._ids)

    def find(self, ids: Ids) -> Places:
        """The position of each id, or -1; int32 of the same length."""
        if self._table is not None and isinstance(ids, np.ndarray):
            last = len(self._table) - 1
            inside = (ids >= self._least) & (ids - last <= self._least)
            near = np.where(inside, ids, self._least) - self._least
            return np.where(inside, self._table[near], np.int32(-1))
        if self._known is None:
            self._known = _first_positions(self._ids)
        plain = ids.tolist() if isinstance(ids, np.ndarray) else map(plain_id, ids)
        return np.fromiter(map(self._known.get, plain, repeat(-1)), np.int32, len(ids))


def _first_positions(ids: Ids) -> dict[int | str, int]:
    plain = ids.tolist() if isinstance(ids, np.ndarray) else [plain_id(number) for number in ids]
    return dict(zip(reversed(plain), range(len(plain) - 1, -1, -1), strict=True))
