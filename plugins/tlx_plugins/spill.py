"""Sorting more than fits in memory: runs on disk, merged while they are read.

A video file of CVAT lists track by track what is wanted frame by frame, and the frames of DriveU
stand in several files. What is to be sorted is sorted here chunk by chunk in memory, each chunk
into a file, all files merged at the end (external merge sort; Knuth, The Art of Computer
Programming 3, 5.4).
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from operator import itemgetter
from types import TracebackType
from typing import IO, Self

_CHUNK = 32 << 20
"""Bytes that are sorted in memory."""
_PER_ITEM = 200
"""Bytes that an item takes in memory beside its payload."""
_FAN_IN = 100
"""Runs that are merged at once, below any limit of open files."""

Item = tuple[str, int, int, bytes]
"""Clip, frame, order within the frame, and the payload."""

_KEY = itemgetter(0, 1, 2)


class Spill:
    """Takes items in any order and gives them back sorted by clip, frame and order.

    Args:
        chunk: Bytes that are held in memory.
    """

    def __init__(self, chunk: int = _CHUNK) -> None:
        self._chunk = chunk
        self._held: list[Item] = []
        self._bytes = 0
        self._runs: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything."""
        for run in self._runs:
            run.close()
        self._runs.clear()
        self._held.clear()

    def add(self, clip: str, frame: int, order: int, payload: bytes) -> None:
        """Take one item."""
        self._held.append((clip, frame, order, payload))
        self._bytes += len(payload) + _PER_ITEM
        if self._bytes > self._chunk:
            self._held.sort(key=_KEY)
            self._write(iter(self._held))
            self._held = []
            self._bytes = 0
            if len(self._runs) >= _FAN_IN:
                self._merge_runs()

    def sorted(self) -> Iterator[Item]:
        """All items; items with equal keys come in the order in which they were added."""
        self._held.sort(key=_KEY)
        yield from heapq.merge(*map(_read, self._runs), self._held, key=_KEY)

    def _merge_runs(self) -> None:
        runs, self._runs = self._runs, []
        try:
            self._write(heapq.merge(*map(_read, runs), key=_KEY))
        finally:
            for run in runs:
                run.close()

    def _write(self, items: Iterator[Item]) -> None:
        # The file has no name and is gone when it is closed, however the process ends; __exit__
        # closes it.
        run: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115
            prefix="tlx-sort-", buffering=1 << 18
        )
        self._runs.append(run)
        for clip, frame, order, payload in items:
            name = clip.encode()
            head = (len(name), frame, order, len(payload))
            run.write(b"%d %d %d %d\n" % head)
            run.write(name)
            run.write(payload)


def _read(run: IO[bytes]) -> Iterator[Item]:
    run.seek(0)
    while head := run.readline():
        name, frame, order, payload = map(int, head.split())
        yield run.read(name).decode(), frame, order, run.read(payload)
