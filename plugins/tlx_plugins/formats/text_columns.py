"""Text made from columns: Arrow arrays put together into the lines of a label file.

A hundred thousand objects cost no Python object each.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CORNERS = ("xmin", "ymin", "xmax", "ymax")


@cache
def constant(text: str | None) -> Any:
    """A text as Arrow has it; without its type Arrow looks for a package at each call."""
    return pa.scalar(text, pa.string())


def together(*parts: Any) -> Any:
    """Arrays and pieces of text put together row by row; null is nothing."""
    pieces = (constant(part) if isinstance(part, str) else part for part in parts)
    return pc.binary_join_element_wise(
        *pieces, constant(""), null_handling="replace", null_replacement=""
    )


def joined(texts: Any, offsets: Any) -> Any:
    """One text per row from a flat array and the offsets of each row in it."""
    return pc.binary_join(pa.ListArray.from_arrays(offsets, texts), "")


def offsets_of(parents: Any, rows: int) -> Any:
    """Offsets of each row in a flat array whose entries belong to ``parents`` (sorted)."""
    counts = np.bincount(np.asarray(parents), minlength=rows)
    return pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int32())


def corners_of(objects: Any) -> list[Any]:
    """Four float arrays of corners; an object without a box gets the bounds of its polygons.

    Args:
        objects: Struct array of `tlx.schema.OBJECT`.

    Returns:
        Arrays of xmin, ymin, xmax, ymax in absolute pixels, null where an object has neither a
        box nor polygons, or a corner is not finite.
    """
    corners = [pc.struct_field(objects, ["box", name]) for name in CORNERS]
    missing = corners[0].is_null()
    if pc.any(missing).as_py():
        outlines = pc.struct_field(objects, ["segmentation", "polygons"])
        corners = _bounded(corners, missing, outlines)
    fine = pc.is_finite(corners[0])
    for values in corners[1:]:
        fine = pc.and_(fine, pc.is_finite(values))
    fine = pc.fill_null(fine, False)
    if len(fine) and not pc.all(fine).as_py():
        corners = [pc.if_else(fine, values, pa.scalar(None, pa.float64())) for values in corners]
    return corners


def _bounded(corners: list[Any], missing: Any, outlines: Any) -> list[Any]:
    bounds: list[list[float]] = [[], [], [], []]
    for polygons in outlines.filter(missing).to_pylist():
        xs = [value for polygon in polygons or () for value in polygon[0::2]]
        ys = [value for polygon in polygons or () for value in polygon[1::2]]
        found = (min(xs), min(ys), max(xs), max(ys)) if xs and ys else (float("nan"),) * 4
        for values, value in zip(bounds, found, strict=True):
            values.append(value)
    return [
        pc.replace_with_mask(values, missing, pa.array(given, pa.float64()))
        for values, given in zip(corners, bounds, strict=True)
    ]


def rounded(values: Any, decimals: int) -> Any:
    """Float array rounded to decimals; numbers too large for that are left as they are.

    Arrow's own rounding makes 1.7930000000000001 of 1.793. Null stays null.
    """
    scale = 10.0**decimals
    plain = np.asarray(values.to_numpy(zero_copy_only=False), float)
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.where(np.abs(plain) < 1e15 / scale, np.rint(plain * scale) / scale, plain)
    return pa.array(result, pa.float64(), mask=np.isnan(plain))
