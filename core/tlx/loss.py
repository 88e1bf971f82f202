"""What a conversion will lose: the target's traits against the columns of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tlx.api import Traits

if TYPE_CHECKING:
    import pyarrow as pa

    from tlx.dataset import Dataset

Kind = Literal["dropped", "rounded", "assumed"]


@dataclass(frozen=True, slots=True)
class Loss:
    """One field that the target cannot hold as it is.

    Attributes:
        field: Name in the record schema, such as ``objects.track``.
        count: How many images or objects state it; for what is assumed, how many do not.
        reason: Why it is lost, or what is written instead, in the format's words.
        places: Image ids of the first ones.
        kind: ``dropped``, ``rounded``, or ``assumed``: the target has to state it although the
            dataset does not.
    """

    field: str
    count: int
    reason: str
    places: tuple[str, ...]
    kind: Kind = "dropped"


def find_loss(dataset: Dataset, traits: Traits) -> list[Loss]:
    """Count what the traits say will not survive; nothing is written.

    Only what the dataset really states counts: a format without tracks loses nothing from a
    dataset without tracks. What a format assumes counts where the dataset does not state it.
    """
    wanted: list[tuple[Kind, str, str]] = [
        *(("dropped", name, reason) for name, reason in traits.drops.items()),
        *(("rounded", name, reason) for name, reason in traits.rounds.items()),
        *(("assumed", name, reason) for name, reason in traits.assumes.items()),
    ]
    if not wanted:
        return []
    import pyarrow.compute as pc

    counts = [0] * len(wanted)
    places: list[list[str]] = [[] for _ in wanted]
    columns = dict.fromkeys(["image_id", *(name.split(".")[0] for _, name, _ in wanted)])
    for batch in dataset.batches([*columns]):
        for number, (kind, name, _) in enumerate(wanted):
            chosen, rows = _stated(batch, name, traits.keeps.get(name, ()))
            if kind == "assumed":
                chosen = pc.invert(chosen)
            if name in traits.beside:
                chosen = pc.and_(chosen, _stated(batch, traits.beside[name])[0])
            counts[number] += int(pc.sum(chosen).as_py() or 0)
            room = 3 - len(places[number])
            if room > 0 and counts[number]:
                first = dict.fromkeys(rows.filter(chosen).slice(0, 1000).to_pylist())
                ids = batch.column("image_id")
                places[number] += [ids[row].as_py() for row in [*first][:room]]
    return [
        Loss(name, counts[number], reason, tuple(places[number]), kind)
        for number, (kind, name, reason) in enumerate(wanted)
        if counts[number]
    ]


def _stated(batch: pa.RecordBatch, name: str, keeps: Sequence[str | bool] = ()) -> tuple[Any, Any]:
    """Whether each value of a field is stated in a batch, and the row that it is in.

    With ``keeps`` whether it is another value, or there are attributes of another name.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    head, *path = name.split(".")
    column: Any = batch.column(head)
    rows: Any = pa.array(range(batch.num_rows))
    for part in path:
        if pa.types.is_list(column.type):
            rows = rows.take(pc.list_parent_indices(column))
            column = pc.list_flatten(column)
        column = pc.struct_field(column, part)
    if keeps and not pa.types.is_list(column.type):
        return pc.invert(pc.is_in(column, pa.array(keeps))), rows
    if keeps:
        names = pc.struct_field(pc.list_flatten(column), "name")
        lost = pc.invert(pc.is_in(names, pa.array(keeps)))
        owners = pc.list_parent_indices(column).filter(lost)
        return pc.is_in(pa.array(range(len(column))), owners), rows
    if pa.types.is_list(column.type):
        stated = pc.greater(pc.list_value_length(column), 0)
    else:
        stated = column.is_valid()
    return pc.fill_null(stated, False), rows
