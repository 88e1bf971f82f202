"""Sorting columns that do not fit in memory: sorted runs on disk, merged while they are read.

As `tlx_plugins.spill`, for rows that stand in Arrow columns and are sorted by a clip and a frame.
Rows of one frame keep the order in which they came.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa

_CHUNK = 32 << 20
"""Bytes of columns that are sorted in memory."""
_BATCH_ROWS = 2048
"""Rows of a run that are read at once."""
_MOST_RUNS = 64
"""Runs that are merged at once; each has a batch in memory."""


@dataclass(slots=True)
class _Run:
    """Sorted rows; on disk, or, of the last run, in memory.

    Attributes:
        batches: Which batches of rows each clip has.
        file: Where they lie.
        reader: Reads them.
        held: The rows themselves, where they are in memory.
    """

    batches: dict[int, list[int]] = field(default_factory=dict)
    file: IO[bytes] | None = None
    reader: Any = None
    held: list[pa.RecordBatch] = field(default_factory=list)

    def read(self, number: int) -> pa.RecordBatch:
        """One batch."""
        return self.held[number] if self.reader is None else self.reader.get_batch(number)

    def close(self) -> None:
        """Forget the rows."""
        if self.file is not None:
            self.file.close()


class RowSpill:
    """Takes rows in any order and gives those of a clip back sorted by frame.

    Rows have a column ``frame`` of int64 without nulls, besides any other columns.

    Args:
        chunk: Bytes that are held in memory.
    """

    def __init__(self, chunk: int = _CHUNK) -> None:
        self._chunk = chunk
        self._held: list[tuple[int, pa.RecordBatch]] = []
        self._bytes = 0
        self._runs: list[_Run] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.clear()
        for run in self._runs:
            run.close()
        self._runs.clear()

    def add(self, clip: int, rows: pa.RecordBatch) -> None:
        """Take rows of one clip."""
        if not rows.num_rows:
            return
        self._held.append((clip, rows))
        self._bytes += rows.nbytes
        if self._bytes > self._chunk:
            self._write()

    def sorted(self, clip: int) -> Iterator[pa.RecordBatch]:
        """The rows of a clip, some whole frames at a time; nothing may be added any more."""
        if self._held:
            self._runs.append(self._sorted_run())
        yield from _merged(self._runs, clip)

    def _sorted_run(self) -> _Run:
        run = _Run()
        clips: dict[int, list[pa.RecordBatch]] = {}
        for clip, rows in self._held:
            clips.setdefault(clip, []).append(rows)
        self._held.clear()
        self._bytes = 0
        for clip, parts in clips.items():
            whole = _in_order(parts)
            starts = range(0, whole.num_rows, _BATCH_ROWS)
            run.batches[clip] = [len(run.held) + n for n in range(len(starts))]
            run.held += [whole.slice(start, _BATCH_ROWS) for start in starts]
        return run

    def _write(self) -> None:
        run = self._sorted_run()
        held = run.held
        run.held = []
        self._runs.append(_stored(run, held))
        if len(self._runs) >= _MOST_RUNS:
            runs, self._runs = self._runs, []
            try:
                self._runs.append(_joined(runs))
            finally:
                for one in runs:
                    one.close()


def _stored(run: _Run, batches: Iterable[pa.RecordBatch]) -> _Run:
    """A run whose batches are written to a file."""
    # The file has no name and is gone when it is closed, however the process ends; the spill
    # closes it.
    run.file = tempfile.TemporaryFile(prefix="tlx-sort-")  # noqa: SIM115
    writer = None
    for batch in batches:
        writer = writer or pa.ipc.new_file(run.file, batch.schema)
        writer.write_batch(batch)
    if writer is not None:
        writer.close()
        run.file.seek(0)
        run.reader = pa.ipc.open_file(run.file)
    return run


def _joined(runs: list[_Run]) -> _Run:
    """One run of several."""
    made = _Run()

    def all_batches() -> Iterator[pa.RecordBatch]:
        count = 0
        for clip in dict.fromkeys(clip for run in runs for clip in run.batches):
            for rows in _merged(runs, clip):
                for start in range(0, rows.num_rows, _BATCH_ROWS):
                    made.batches.setdefault(clip, []).append(count)
                    count += 1
                    yield rows.slice(start, _BATCH_ROWS)

    return _stored(made, all_batches())


def _merged(runs: list[_Run], clip: int) -> Iterator[pa.RecordBatch]:
    """The rows of a clip in several runs, some whole frames at a time."""
    ways = [_Way(run, run.batches[clip]) for run in runs if clip in run.batches]
    while ways := [way for way in ways if way.here is not None]:
        # The last frame in hand of a run may go on in its next batch.
        limit = min((way.last_frame() for way in ways if way.ahead), default=None)
        parts = [part for way in ways if (part := way.taken(limit)).num_rows]
        if parts:
            yield _in_order(parts)
        else:
            for way in ways:
                if way.ahead and way.last_frame() == limit:
                    way.lengthen()


class _Way:
    """The way through the batches of a run: the rows in hand, and how many batches follow."""

    def __init__(self, run: _Run, numbers: list[int]) -> None:
        self._run = run
        self._numbers = iter(numbers)
        self.ahead = len(numbers)
        self.here: Any = None
        self._next()

    def _next(self) -> None:
        self.here = self._run.read(next(self._numbers)) if self.ahead else None
        self.ahead = max(self.ahead - 1, 0)

    def last_frame(self) -> int:
        """The frame of the last row in hand."""
        return int(_frames(self.here)[-1])

    def taken(self, limit: int | None) -> pa.RecordBatch:
        """Take the rows in hand of all frames before a limit, or all."""
        whole = self.here
        count = len(whole) if limit is None else int(np.searchsorted(_frames(whole), limit))
        if count == len(whole):
            self._next()
        else:
            self.here = whole.slice(count)
        return whole.slice(0, count)

    def lengthen(self) -> None:
        """Take the next batch in hand besides."""
        before = self.here
        self._next()
        self.here = pa.concat_batches([before, self.here])


def _frames(rows: pa.RecordBatch) -> Any:
    return rows.column("frame").to_numpy()


def _in_order(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    whole = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
    frames = _frames(whole)
    if (frames[1:] >= frames[:-1]).all():
        return whole
    return whole.take(pa.array(np.argsort(frames, kind="stable")))
