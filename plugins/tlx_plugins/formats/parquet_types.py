"""Columns of foreign tables brought to the types of tlx's own.

Other programs write large lists and texts, numbers of other widths, leave out what is always null,
and know no column that may not be null.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def conformed(array: Any, field: pa.Field) -> Any:
    """An array brought to the type of a field: parts by name, absent ones null, the rest cast.

    An absent list is an empty one where the field must be stated.

    Raises:
        pa.ArrowException: If it cannot be brought to that type, or lacks what must be stated.
    """
    result = _brought(array, field.type)
    if field.nullable or not result.null_count:
        return result
    if pa.types.is_list(field.type):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(result), 0), np.int64)
        return as_lists(pc.list_flatten(result), lengths, field.type)
    raise pa.ArrowInvalid(f"{field.name} is empty in {result.null_count} place(s).")


def as_lists(values: Any, lengths: Any, kind: pa.ListType, mask: Any = None) -> pa.ListArray:
    """Flat values as lists of the given lengths; ``mask`` marks those that are null."""
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, type=kind, mask=mask)


def _brought(array: Any, kind: pa.DataType) -> Any:
    if array.type == kind:
        return array
    if pa.types.is_null(array.type):
        return _absent(len(array), kind)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_struct(kind) and pa.types.is_struct(array.type):
        return _brought_struct(array, kind)
    if pa.types.is_list(kind) and _is_list(array.type):
        values = _brought(pc.list_flatten(array), kind.value_type)
        if pa.types.is_struct(kind.value_type) and values.null_count:
            raise pa.ArrowInvalid(f"a list has {values.null_count} empty entries.")
        lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0), np.int64)
        return as_lists(values, lengths, kind, array.is_null() if array.null_count else None)
    return array.cast(kind)


def _brought_struct(array: Any, kind: pa.StructType) -> pa.StructArray:
    names = {field.name for field in array.type}
    parts = []
    for field in kind:
        part = _absent(len(array), field.type)
        if field.name in names:
            part = _brought(pc.struct_field(array, field.name), field.type)
        if not field.nullable and pa.types.is_primitive(field.type):
            # What lies below a null has no meaning, and may not be null.
            part = pc.if_else(array.is_valid(), part, pa.scalar(0, field.type))
        elif not field.nullable and pa.types.is_string(field.type):
            part = pc.if_else(array.is_valid(), part, "")
        parts.append(conformed(part, field))
    return pa.StructArray.from_arrays(parts, fields=list(kind), mask=array.is_null())


def _absent(length: int, kind: pa.DataType) -> Any:
    """Nothing but null, where what lies below a null may have to be stated all the same."""
    if not pa.types.is_struct(kind):
        return pa.nulls(length, kind)
    fill = {True: "", False: 0}
    parts = [
        _absent(length, field.type)
        if field.nullable or pa.types.is_nested(field.type)
        else pa.repeat(pa.scalar(fill[pa.types.is_string(field.type)], field.type), length)
        for field in kind
    ]
    parts = [conformed(part, field) for part, field in zip(parts, kind, strict=True)]
    return pa.StructArray.from_arrays(parts, fields=list(kind), mask=pa.repeat(True, length))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
    )
