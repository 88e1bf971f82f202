"""Polygons of many annotations at once: from JSON text to columns, checked and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import csv

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_OPEN, _CLOSE, _COMMA = b"[],"
_TO_LINES = bytes.maketrans(b",", b"\n")
_lists = msgspec.json.Decoder(list[list[float]])


@dataclass(frozen=True, slots=True)
class Polygons:
    """The polygons of N annotations.

    Attributes:
        values: Coordinates x0, y0, x1, y1, ... of all polygons end to end, in absolute pixels.
        starts: Where each polygon begins in ``values``, and the end; length P + 1.
        owners: Where the polygons of each annotation begin in ``starts``, and the end; length
            N + 1.
    """

    values: Floats
    starts: Integers
    owners: Integers

    def column(self) -> Any:
        """The list array [N] of lists of lists of coordinates."""
        inner = pa.ListArray.from_arrays(pa.array(self.starts, pa.int32()), pa.array(self.values))
        return pa.ListArray.from_arrays(pa.array(self.owners, pa.int32()), inner)

    def present(self) -> Flags:
        """Which annotations have a polygon."""
        return np.diff(self.owners) > 0

    def bounds(self) -> Floats:
        """Array [N, 4] of xmin, ymin, xmax, ymax in absolute pixels; NaN without a polygon."""
        found = np.full((len(self.owners) - 1, 4), np.nan)
        present = self.present()
        if present.any():
            # Every polygon has as many x as y, so that each annotation begins with an x.
            begin = self.starts[self.owners[:-1][present]] // 2
            xs, ys = self.values[0::2], self.values[1::2]
            measures = (np.minimum, xs), (np.minimum, ys), (np.maximum, xs), (np.maximum, ys)
            for column, (measure, values) in enumerate(measures):
                found[present, column] = measure.reduceat(values, begin)
        return found

    def areas(self) -> Floats:
        """Array [N] of square pixels by the shoelace formula; 0 without a polygon."""
        if not len(self.values):
            return np.zeros(len(self.owners) - 1)
        xs, ys = self.values[0::2], self.values[1::2]
        begin = self.starts[:-1] // 2
        last = self.starts[1:] // 2 - 1
        turns = xs * _followers(ys, begin, last)
        turns -= ys * _followers(xs, begin, last)
        each = np.abs(np.add.reduceat(turns, begin)) / 2
        owner = np.repeat(np.arange(len(self.owners) - 1), np.diff(self.owners))
        areas = np.bincount(owner, weights=each, minlength=len(self.owners) - 1)
        return areas.astype(np.float64)


def _followers(values: Floats, begin: Integers, last: Integers) -> Floats:
    """The value of the next point of the same polygon, which closes with its first."""
    following = np.empty_like(values)
    following[:-1] = values[1:]
    following[last] = values[begin]
    return following


def parse(texts: Sequence[bytes]) -> tuple[Polygons, Flags]:
    """Parse the ``segmentation`` of N annotations.

    Args:
        texts: JSON values, each valid as such; lists of polygons, or anything else. Empty text is
            no polygon.

    Returns:
        The polygons, and flags [N] of the texts that are something else or have a polygon of less
        than three points; these have none.
    """
    # A mask, which tells itself by its first letter.
    strange = np.array([text[:1] == b"{" for text in texts], bool)
    polygons = _parse_lists(_without(texts, strange))
    if polygons is None:
        strange = np.array([not _is_list(text) for text in texts], bool)
        polygons = _parse_lists(_without(texts, strange))
        if polygons is None:
            # Numbers that only the slow decoder judges.
            strange = np.array([text not in (b"", b"[]") for text in texts], bool)
            return _none(len(texts)), strange
    lengths = np.diff(polygons.starts)
    short = (lengths < 6) | (lengths % 2 == 1)
    if short.any():
        strange[np.repeat(np.arange(len(texts)), np.diff(polygons.owners))[short]] = True
        polygons = _parse_lists(_without(texts, strange)) or _none(len(texts))
    return polygons, strange


def _none(count: int) -> Polygons:
    return Polygons(np.zeros(0), np.zeros(1, np.int64), np.zeros(count + 1, np.int64))


def _without(texts: Sequence[bytes], strange: Flags) -> list[bytes]:
    return [b"[]" if odd or not text else text for text, odd in zip(texts, strange, strict=True)]


def _is_list(text: bytes) -> bool:
    try:
        return not text or all(_lists.decode(text))
    except msgspec.DecodeError:
        return False


def _parse_lists(texts: Sequence[bytes]) -> Polygons | None:
    """Parse lists of lists of numbers; None if any text is something else."""
    text = b",".join(texts).translate(None, b" \n\r\t")
    letters = np.frombuffer(text, np.uint8)
    brackets = np.flatnonzero((letters == _OPEN) | (letters == _CLOSE))
    opens = letters[brackets] == _OPEN
    depth = np.cumsum(np.where(opens, 1, -1))
    ends = depth == 0
    if not len(texts) or np.count_nonzero(ends) != len(texts) or depth.max() > 2:
        return None if texts else _none(0)
    begins = opens & (depth == 2)
    if not _nested(np.diff(brackets) - 1, opens, depth):
        return None
    # Numbers of a polygon: the commas between its brackets and one more.
    commas = np.flatnonzero(letters == _COMMA)
    places = np.flatnonzero(begins)
    left, right = np.searchsorted(commas, brackets[places]), brackets[places + 1]
    lengths = np.searchsorted(commas, right) - left + (right > brackets[places] + 1)
    values = _numbers(text.translate(_TO_LINES, b"[]"))
    if values is None or len(values) != lengths.sum():
        return None
    return Polygons(
        values,
        np.concatenate(([0], np.cumsum(lengths))),
        np.concatenate(([0], np.cumsum(begins)[ends])),
    )


def _nested(gaps: Integers, opens: Flags, depth: Integers) -> bool:
    """Whether there is nothing but one comma between polygons, and between annotations."""
    outer = opens[:-1] & (depth[:-1] == 1)
    closed = ~opens[:-1]
    # A comma stands where the next bracket opens; where it closes too, there is nothing.
    expected = np.where(closed & opens[1:], 1, 0)
    checked = outer | closed
    return bool((gaps[checked] == expected[checked]).all())


def _numbers(lines: bytes) -> Floats | None:
    """One finite number per line; empty lines do not count. None if anything else is there."""
    if not lines.strip(b"\n"):
        return np.zeros(0)
    try:
        table = csv.read_csv(
            pa.BufferReader(lines),
            read_options=csv.ReadOptions(use_threads=False, column_names=["value"]),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types={"value": pa.float64()}, null_values=[]
            ),
        )
    except pa.ArrowInvalid:
        return None
    values: Floats = table.column(0).to_numpy()
    return values if np.isfinite(values).all() else None
