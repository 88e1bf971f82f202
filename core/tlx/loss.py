"""What a conversion will lose: the target's traits against the columns of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlx.api import Traits

if TYPE_CHECKING:
    import pyarrow as pa

    from tlx.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Loss:
    """One field that the target cannot hold.

    Attributes:
        field: Name in the record schema, such as ``objects.track``.
        count: How many images or objects state it.
        reason: Why it is lost, in the format's words.
        places: Image ids of the first ones.
        kind: ``dropped`` or ``rounded``.
    """

    field: str
    count: int
    reason: str
    places: tuple[str, ...]
    kind: str = "dropped"


def find_loss(dataset: Dataset, traits: Traits) -> list[Loss]:
    """Count what the traits say will not survive; nothing is written.

    Only what the dataset really states counts: a format without tracks loses nothing from a
    dataset without tracks.
    """
    wanted = {**dict.fromkeys(traits.drops, "dropped"), **dict.fromkeys(traits.rounds, "rounded")}
    if not wanted:
        return []
    counts = dict.fromkeys(wanted, 0)
    places: dict[str, list[str]] = {name: [] for name in wanted}
    for batch in dataset.batches():
        for name in wanted:
            number, rows = _stated(batch, name.split("."))
            counts[name] += number
            room = 3 - len(places[name])
            if room > 0 and number:
                ids = batch.column("image_id")
                places[name] += [ids[row].as_py() for row in rows[:room]]
    reasons = {**traits.drops, **traits.rounds}
    return [
        Loss(name, counts[name], reasons[name], tuple(places[name]), kind)
        for name, kind in wanted.items()
        if counts[name]
    ]


def _stated(batch: pa.RecordBatch, path: Sequence[str]) -> tuple[int, list[int]]:
    """How many values of a field are stated in a batch, and in which rows they are first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column: Any = batch.column(path[0])
    rows: Any = pa.array(range(batch.num_rows))
    for name in path[1:]:
        if pa.types.is_list(column.type):
            rows = rows.take(pc.list_parent_indices(column))
            column = pc.list_flatten(column)
        column = pc.struct_field(column, name)
    if pa.types.is_list(column.type):
        stated = pc.greater(pc.list_value_length(column), 0)
    else:
        stated = column.is_valid()
    stated = pc.fill_null(stated, False)
    number = int(pc.sum(stated).as_py() or 0)
    if not number:
        return 0, []
    return number, list(dict.fromkeys(rows.filter(stated).slice(0, 1000).to_pylist()))
