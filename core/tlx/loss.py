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
        fields = _Fields(batch)
        for number, (kind, name, _) in enumerate(wanted):
            chosen = fields.stated(name, traits.keeps.get(name, ()))
            if kind == "assumed":
                chosen = pc.invert(chosen)
            if name in traits.beside:
                chosen = pc.and_(chosen, fields.stated(traits.beside[name]))
            counts[number] += int(pc.sum(chosen).as_py() or 0)
            room = 3 - len(places[number])
            if room > 0 and counts[number]:
                first = dict.fromkeys(fields.rows(name).filter(chosen).slice(0, 1000).to_pylist())
                ids = batch.column("image_id")
                places[number] += [ids[row].as_py() for row in [*first][:room]]
    return [
        Loss(name, counts[number], reason, tuple(places[number]), kind)
        for number, (kind, name, reason) in enumerate(wanted)
        if counts[number]
    ]


class _Fields:
    """The fields of a batch, lists laid end to end; each is taken apart once."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self._columns: dict[str, Any] = {}
        self._rows: dict[str, Any] = {}

    def stated(self, name: str, keeps: Sequence[str | bool] = ()) -> Any:
        """Whether each value of a field is stated.

        With ``keeps`` whether it is another value, or there are attributes of another name.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self._column(name)
        if keeps and not pa.types.is_list(column.type):
            return pc.invert(pc.is_in(column, pa.array(keeps)))
        if keeps:
            names = pc.struct_field(pc.list_flatten(column), "name")
            lost = pc.invert(pc.is_in(names, pa.array(keeps)))
            owners = pc.list_parent_indices(column).filter(lost)
            return pc.is_in(pa.array(range(len(column))), owners)
        if pa.types.is_list(column.type):
            return pc.fill_null(pc.greater(pc.list_value_length(column), 0), False)
        return column.is_valid()

    def rows(self, name: str) -> Any:
        """The row of the batch that each value of a field is in."""
        import pyarrow as pa
        import pyarrow.compute as pc

        outer = name.rpartition(".")[0]
        if not outer:
            return pa.array(range(self.batch.num_rows))
        if outer not in self._rows:
            rows, column = self.rows(outer), self._column(outer)
            if pa.types.is_list(column.type):
                rows = rows.take(pc.list_parent_indices(column))
            self._rows[outer] = rows
        return self._rows[outer]

    def _column(self, name: str) -> Any:
        import pyarrow.compute as pc

        if name not in self._columns:
            outer, _, inner = name.rpartition(".")
            self._columns[name] = (
                pc.struct_field(self._values(outer), inner) if outer else self.batch.column(name)
            )
        return self._columns[name]

    def _values(self, name: str) -> Any:
        """A field, or the values of its lists."""
        import pyarrow as pa
        import pyarrow.compute as pc

        key = name + "[]"
        if key not in self._columns:
            column = self._column(name)
            is_list = pa.types.is_list(column.type)
            self._columns[key] = pc.list_flatten(column) if is_list else column
        return self._columns[key]
