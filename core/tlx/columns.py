"""A batch of a dataset changed column by column, without making records of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx.schema import RECORD


def with_objects(
    batch: pa.RecordBatch, owners: pa.Array, objects: pa.StructArray
) -> pa.RecordBatch:
    """A batch with other objects; the counterpart of `tlx.schema.flat_objects`.

    Args:
        batch: Of `tlx.schema.RECORD`.
        owners: The row of each object in the batch, ascending.
        objects: Struct array of `tlx.schema.OBJECT`, of the same length.
    """
    return _with_lists(batch, "objects", owners, objects)


def _with_lists(
    batch: pa.RecordBatch, name: str, owners: pa.Array, values: pa.StructArray
) -> pa.RecordBatch:
    counts = np.bincount(np.asarray(owners), minlength=batch.num_rows)
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int32())
    field = RECORD.field(name)
    lists = pa.ListArray.from_arrays(offsets, values, type=field.type)
    return batch.set_column(RECORD.get_field_index(name), field, lists)


def with_field(values: pa.StructArray, name: str, column: Any) -> pa.StructArray:
    """A struct array without nulls, with one of its fields replaced."""
    columns = [column if f.name == name else values.field(f.name) for f in values.type]
    return pa.StructArray.from_arrays(columns, fields=list(values.type))


def relabelled(batch: pa.RecordBatch, renames: Mapping[str, str]) -> pa.RecordBatch:
    """A batch with other class names.

    Args:
        batch: Of `tlx.schema.RECORD`.
        renames: Old name to new name; an empty new name leaves out the object or label.
    """
    for name in ("objects", "labels"):
        lists = batch.column(name)
        owners, values = pc.list_parent_indices(lists), pc.list_flatten(lists)
        categories = _renamed(values.field("category"), renames)
        wanted = pc.not_equal(categories, "")
        values = with_field(values, "category", categories).filter(wanted)
        batch = _with_lists(batch, name, owners.filter(wanted), values)
    return batch


def _renamed(names: pa.Array, renames: Mapping[str, str]) -> pa.Array:
    found = pc.index_in(names, pa.array(list(renames), pa.string()))
    return pc.coalesce(pa.array(list(renames.values()), pa.string()).take(found), names)
