"""Records and batches of any size put together to batches of the same size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from tlx.model import Record
from tlx.schema import RECORD, records_to_batch


def filled(content: Iterable[Any], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of equal size from records and batches in turn.

    Args:
        content: Records, and Arrow batches of `tlx.schema.RECORD`, in any order.
        rows: Records of each batch; the last one has what is left.
    """
    held: list[pa.RecordBatch] = []
    loose: list[Record] = []
    count = 0
    for one in content:
        if isinstance(one, pa.RecordBatch):
            if loose:
                held.append(records_to_batch(loose))
                loose = []
            held.append(one.cast(RECORD) if one.schema != RECORD else one)
            count += one.num_rows
        else:
            loose.append(one)
            count += 1
        if count < rows:
            continue
        if loose:
            held.append(records_to_batch(loose))
            loose = []
        *full, rest = _cut(held, rows)
        held, count = [rest] if rest.num_rows else [], rest.num_rows
        yield from full
    if loose:
        held.append(records_to_batch(loose))
    if held:
        yield from (batch for batch in _cut(held, rows) if batch.num_rows)


def _cut(batches: list[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """Batches put together and cut to as many rows each; the last has what is left, or nothing."""
    whole = batches[0]
    if len(batches) > 1:
        (whole,) = pa.Table.from_batches(batches).combine_chunks().to_batches() or [whole]
    return [whole.slice(start, rows) for start in range(0, whole.num_rows + 1, rows)]
