"""From records, and from records whose objects are columns, to batches of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from tlx.columns import with_objects
from tlx.dataset import PART_ROWS
from tlx.model import Record, replace
from tlx.schema import object_array, records_to_batch, uncollected


@dataclass(slots=True)
class Columned:
    """A record without its objects, which stand in columns.

    Attributes:
        record: The record.
        objects: Struct array of `tlx.schema.OBJECT`.
        start: The first of them that is the record's.
        stop: The one after its last.
    """

    record: Record
    objects: pa.StructArray
    start: int
    stop: int


Item = Record | Columned

_PORTION = 64
"""Records whose objects are held as they are."""


def batches(items: Iterable[Item], rows: int = PART_ROWS) -> Iterator[pa.RecordBatch]:
    """Arrow batches of `tlx.schema.RECORD`, of as many rows each but for the last."""
    stream = _columned(iter(items))
    while True:
        # Neither the items nor what they are made of have cycles.
        with uncollected():
            held = list(islice(stream, rows))
            made = _batch(held) if held else None
        if made is None:
            return
        del held
        yield made


def _columned(items: Iterator[Item]) -> Iterator[Columned]:
    """All items with their objects in columns, which take a tenth of the room."""
    while some := list(islice(items, _PORTION)):
        loose = [item for item in some if isinstance(item, Record)]
        objects = object_array([thing for record in loose for thing in record.objects])
        stop = 0
        for item in some:
            if isinstance(item, Columned):
                yield item
                continue
            start, stop = stop, stop + len(item.objects)
            yield Columned(replace(item, objects=()), objects, start, stop)


def _batch(items: list[Columned]) -> pa.RecordBatch:
    batch = records_to_batch([item.record for item in items])
    runs: list[tuple[pa.StructArray, int, int]] = []
    """Columns with the first and the one after the last object."""
    for item in items:
        run = (item.objects, item.start, item.stop)
        if runs and runs[-1][0] is item.objects and runs[-1][2] == item.start:
            run = (item.objects, runs.pop()[1], item.stop)
        runs.append(run)
    objects = pa.concat_arrays([one.slice(start, stop - start) for one, start, stop in runs])
    counts = [item.stop - item.start for item in items]
    owners = pa.array(np.repeat(np.arange(len(items)), counts))
    return with_objects(batch, owners, objects)
