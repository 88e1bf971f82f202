"""The tracks of a video as columns, from the blocks of the file to the frames.

As `cvat_tracks`, for the tracks that nothing has to be said about: shapes in ascending frames that
all say the same things, and boxes on their way from one keyframe to the next. A row is a shape at
one frame; rows are sorted by `tlx_plugins.row_spill`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tlx.box_policy import faulty
from tlx.model import Object
from tlx.schema import objects_of
from tlx_plugins.formats.column_values import Flags, Integers, coded, marks, twins
from tlx_plugins.formats.cvat_columns import ShapeColumns, read_shapes
from tlx_plugins.formats.cvat_geometry import Geometry, flag_of
from tlx_plugins.formats.cvat_images import spoilt, values_of
from tlx_plugins.formats.cvat_lines import BEGIN, Layout
from tlx_plugins.formats.cvat_meta import Task, count_of
from tlx_plugins.formats.cvat_numbers import BOX, POLYGON
from tlx_plugins.formats.cvat_tracks import LONGEST_GAP, Shown, TrackReader
from tlx_plugins.row_spill import RowSpill

_ROWS = 1 << 16
"""Rows that are made at once."""
_MOST_FRAMES = 64
"""Frames for each shape of a track that are made here; more are never stored, in `cvat_tracks`."""


@dataclass(slots=True)
class TrackBlock:
    """P tracks with S shapes.

    Attributes:
        values: The attributes of each track.
        tasks: The task of each.
        odd: Tracks that have to be parsed; [P].
        columns: The shapes.
        frames: Of each shape; [S].
        until: The frame before which each shape ends; [S].
        outside: Shapes that are not seen; [S].
    """

    values: list[dict[str, str]]
    tasks: list[Task]
    odd: Flags
    columns: ShapeColumns
    frames: Integers
    until: Integers
    outside: Flags

    @property
    def steps(self) -> Integers:
        """Every how many frames of the video each shape stands; [S]."""
        steps = np.array([task.step for task in self.tasks], np.int64)
        return steps[self.columns.owners]


def read_tracks(layout: Layout, tracks: TrackReader) -> TrackBlock:
    """Read the tracks of a block.

    Args:
        layout: The block.
        tracks: Knows the labels, the tasks, and the rules.
    """
    shapes = tracks.shapes
    tags = layout.tags(BEGIN)
    values = values_of(tags)
    tasks = [shapes.meta.task_of(one) for one in values]
    labelled = [one.get("label") in shapes.meta.inputs for one in values]
    odd = layout.odd | spoilt(tags, "track") | tags.stated("part_of") | ~np.array(labelled, bool)
    columns = read_shapes(layout, shapes, tags)
    texts, codes = coded(columns.tags.column("frame"))
    numbers = [count_of(text) for text in texts]
    frames = np.array([*(-1 if n is None else n for n in numbers), -1], np.int64)[codes]
    texts, codes = coded(columns.tags.column("outside"))
    seen = [flag_of({"outside": text}, "outside") for text in texts]
    outside = np.array([*(one is True for one in seen), False], bool)[codes]
    block = TrackBlock(values, tasks, odd, columns, frames, frames.copy(), outside)
    odd[columns.owners[columns.odd | (frames < 0)]] = True
    _follow(block, tracks)
    return block


def _follow(block: TrackBlock, tracks: TrackReader) -> None:
    """Find out until when each shape stands; tracks that are no plain sequence are odd."""
    owners, frames, steps = block.columns.owners, block.frames, block.steps
    kinds, outside = block.columns.geometries.kinds, block.outside
    block.until[:] = frames + steps
    if not len(owners):
        return
    inside = owners[1:] == owners[:-1]
    gaps = np.diff(frames)
    wrong = (gaps <= 0) | block.columns.attributes.changes()[1:]
    far = inside & (gaps > steps[:-1]) & ~outside[:-1] & tracks.options.interpolate
    wrong |= far & (gaps > LONGEST_GAP * steps[:-1])
    # What is no box moves by a rule of its own.
    wrong |= far & ((kinds[1:] != BOX) | (kinds[:-1] != BOX))
    block.odd[owners[1:][inside & wrong]] = True
    block.until[:-1][far] = frames[1:][far]
    if tracks.options.open_tracks == "hold":
        for piece in np.unique(owners).tolist():
            last = int(np.searchsorted(owners, piece, side="right")) - 1
            block.odd[piece] |= _is_open(block, piece, last)
    lengths = np.bincount(owners, weights=_copies(block), minlength=len(block.odd))
    block.odd |= lengths > _MOST_FRAMES * block.columns.counts(len(block.odd))


def _is_open(block: TrackBlock, piece: int, last: int) -> bool:
    """Whether a track is seen in its last shape, before the last frame."""
    task = block.tasks[piece]
    until = int(block.frames[last]) + task.step
    return task.stop is not None and until <= task.stop and not block.outside[last]


def _copies(block: TrackBlock) -> Integers:
    """In how many frames each shape stands; [S]."""
    steps = block.steps
    found: Integers = (block.until - block.frames + steps - 1) // steps
    return np.where(block.outside, 0, found)


@dataclass(frozen=True, slots=True)
class FrameRows:
    """The rows of one frame.

    Attributes:
        frame: Its number.
        line: The line of the first row in the file.
        objects: Struct array of `tlx.schema.OBJECT`.
        orders: Order of each of these within its frame.
        start: The first of them that is in the frame.
        stop: The one after the last.
        polygons: How many of them are polygons.
        plain: Nothing has to be said about any of them.
    """

    frame: int
    line: int
    objects: pa.StructArray
    orders: Integers
    start: int
    stop: int
    polygons: int
    plain: bool

    def shown(self) -> list[Shown]:
        """The rows as `cvat_tracks` would have them."""
        things = objects_of(self.objects.slice(self.start, self.stop - self.start))
        orders = self.orders[self.start : self.stop].tolist()
        return [_shown(order, thing) for order, thing in zip(orders, things, strict=True)]


@dataclass(slots=True)
class TrackColumns:
    """Takes the blocks of tracks and gives back the rows frame by frame.

    Attributes:
        tracks: Takes the other tracks.
        rows: Where rows are sorted.
    """

    tracks: TrackReader
    rows: RowSpill
    _clips: dict[str, int] = field(default_factory=dict)

    def add(self, block: TrackBlock, numbers: dict[int, int]) -> None:
        """Take the tracks of a block that are not odd.

        Args:
            block: The block.
            numbers: Position in the file of each of these.
        """
        clips: dict[int, list[int]] = {}
        last = np.searchsorted(block.columns.owners, np.arange(len(block.odd)), side="right") - 1
        filled = block.columns.counts(len(block.odd)) > 0
        for piece in numbers:
            clip, _ = self.tracks.clip_of(block.values[piece])
            clips.setdefault(self._clips.setdefault(clip, len(self._clips)), []).append(piece)
            if filled[piece]:
                self.tracks.unfinished += _is_open(block, piece, int(last[piece]))
        orders = np.array([numbers.get(piece, -1) for piece in range(len(block.odd))], np.int64)
        ids = [one.get("id", str(order)) for one, order in zip(block.values, orders, strict=True)]
        copies = _copies(block)
        for clip_number, pieces in clips.items():
            chosen = np.isin(block.columns.owners, pieces)
            rows = np.flatnonzero(chosen & (copies > 0))
            for part in _parts(rows, copies):
                self.rows.add(clip_number, self._rows(block, part, copies[part], orders, ids))

    def frames(self, clip: str) -> Iterator[FrameRows]:
        """The rows of a clip frame by frame."""
        number = self._clips.get(clip)
        if number is None:
            return
        for rows in self.rows.sorted(number):
            yield from _by_frame(rows)

    def _rows(
        self, block: TrackBlock, some: Integers, copies: Integers, orders: Integers, ids: list[str]
    ) -> pa.RecordBatch:
        """Some shapes, each at all of its frames."""
        columns = block.columns
        if len(some) < len(columns.owners) or (copies > 1).any():
            columns = columns.take(np.repeat(some, copies))
        nth = np.arange(len(columns.owners)) - np.repeat(np.cumsum(copies) - copies, copies)
        frames = np.repeat(block.frames[some], copies) + nth * np.repeat(block.steps[some], copies)
        if (copies > 1).any():
            _move(block, columns, np.repeat(some, copies), frames, nth > 0)
        owners, bounds = columns.owners, columns.geometries.bounds
        sizes = np.array([task.frame_size or (np.inf, np.inf) for task in block.tasks])
        kinds = columns.geometries.kinds
        tracks = pa.array(ids, pa.string()).take(pa.array(owners))
        objects = columns.objects(tracks, outline_boxes=self.tracks.options.outline_boxes)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(frames),
                pa.array(orders[owners]),
                pa.array(faulty(bounds, sizes[owners]) & (kinds <= POLYGON)),
                pa.array(marks(bounds, kinds)),
                objects,
            ],
            names=["frame", "order", "suspect", "mark", "object"],
        )


def _parts(rows: Integers, copies: Integers) -> Iterator[Integers]:
    """Shapes in portions that make a bounded number of rows."""
    if len(rows):
        portions = np.cumsum(copies[rows]) // _ROWS
        yield from np.split(rows, np.flatnonzero(np.diff(portions)) + 1)


def _move(
    block: TrackBlock, columns: ShapeColumns, rows: Integers, frames: Integers, moved: Flags
) -> None:
    """Bring boxes between two keyframes to where they are then."""
    rows, here = rows[moved], block.frames[rows[moved]]
    left = block.columns.geometries.bounds[rows]
    right = block.columns.geometries.bounds[rows + 1]
    share = (frames[moved] - here) / (block.until[rows] - here)
    columns.geometries.bounds[moved] = left + (right - left) * share[:, None]
    columns.attributes.change("keyframe", before=True, after=False, where=moved)


def _by_frame(rows: pa.RecordBatch) -> Iterator[FrameRows]:
    frames: Integers = rows.column("frame").to_numpy()
    orders: Integers = rows.column("order").to_numpy()
    objects = rows.column("object")
    lines: Integers = objects.field("line").to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], frames[1:] != frames[:-1])))
    stops = np.append(starts[1:], len(frames))
    owners = np.repeat(np.arange(len(starts)), stops - starts)
    odd: Flags = rows.column("suspect").to_numpy(zero_copy_only=False)
    odd = odd | twins(_mixed(rows.column("mark").to_numpy(), owners))
    plain = ~np.logical_or.reduceat(odd, starts)
    polygons = objects.field("segmentation").is_valid().to_numpy(zero_copy_only=False)
    counts = np.add.reduceat(polygons.astype(np.int64), starts)
    for start, stop, count, is_plain in zip(
        starts.tolist(), stops.tolist(), counts.tolist(), plain.tolist(), strict=True
    ):
        frame, line = int(frames[start]), int(lines[start])
        yield FrameRows(frame, line, objects, orders, start, stop, count, is_plain)


def _mixed(numbers: Any, owners: Integers) -> Any:
    return numbers ^ (owners.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _shown(order: int, thing: Object) -> Shown:
    return Shown(
        order=order,
        track=thing.track or "",
        label=thing.category,
        geometry=_geometry(thing),
        line=thing.line or 0,
        occluded=thing.occluded,
        keyframe=None,
        attributes=dict(thing.attributes),
    )


def _geometry(thing: Object) -> Geometry:
    if thing.segmentation is not None:
        return Geometry("polygon", thing.segmentation.polygons[0])
    if thing.shape is not None:
        return Geometry("polyline", thing.shape.coordinates)
    if thing.box is not None:
        box = thing.box
        return Geometry("box", (box.xmin, box.ymin, box.xmax, box.ymax))
    return Geometry("points", tuple(v for point in thing.keypoints for v in (point.x, point.y)))
