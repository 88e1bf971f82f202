"""The frames of a video task as records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from tlx.bad_input import duplicate_action
from tlx.model import Object, Origin, Record, replace
from tlx_plugins.formats.columned_records import Columned, Item
from tlx_plugins.formats.cvat_meta import Task
from tlx_plugins.formats.cvat_shapes import Size
from tlx_plugins.formats.cvat_track_columns import FrameRows, TrackColumns
from tlx_plugins.formats.cvat_tracks import Shown, Standing, frames, shown_of

if TYPE_CHECKING:
    from tlx_plugins.formats.cvat_reader import FileReader

_NO_CLIP: tuple[str | None, Iterator[tuple[str, int, Standing]]] = (None, iter(()))
_MOST_FRAMES = 50_000_000
"""Frames that a task may count: two weeks of video. More is a mistake."""


class Clip:
    """The frames of one task.

    Args:
        reader: The file that the task is in.
        key: Key of the clip in the spill.
        task: The task.
        subset: The subset that it is in.
        alone: No other task of the file is in the same subset.
    """

    def __init__(
        self, reader: FileReader, key: str, task: Task, subset: str, *, alone: bool
    ) -> None:
        self.reader = reader
        self.task = task
        self.subset = subset
        file = reader.file
        self.group = reader.group_of(task, subset)
        self.split = reader.split_of(subset, task)
        place = "" if file.stem == "annotations" else f"{file.stem}/"
        self.prefix = f"{file.prefix}{place}{subset + '/' if subset else ''}"
        self.images: dict[int, str] = {}
        if alone:
            self.images = reader.finder.frames(subset)
        else:
            # Frames of several tasks bear the same names, so none can be told from another.
            self.prefix += f"{key.rpartition('/')[2]}/"
            self.group = f"{self.group}/{key.rpartition('/')[2]}"
        if reader.finder.any and not self.images:
            message = f"no image can be told to be a frame of {self.group} (frame_000000.png, ...)."
            reader.report("no-images", message, None, "kept")

    def numbers(self) -> Iterator[int]:
        """Numbers of the frames that may be empty, ascending."""
        task, policy = self.task, self.reader.options.empty_frames
        if policy == "none":
            return
        stop = task.stop
        if policy == "all" and stop is not None:
            if (stop - task.start) // task.step > _MOST_FRAMES:
                message = f"the task counts frames up to {stop}; that many cannot be right."
                self.reader.report("bad-frame", message, None, "skipped")
                return
            yield from range(task.start, stop + 1, task.step)
            return
        for number in sorted(self.images):
            if number >= task.start and (number - task.start) % task.step == 0:
                if stop is not None and number > stop:
                    return
                yield number

    def record(self, number: int, rows: FrameRows | None, shown: list[Shown]) -> Iterator[Item]:
        """The record of one frame, if it can be one.

        Args:
            number: Of the frame.
            rows: Shapes that stand in columns, if there are any.
            shown: The other shapes, in the order of their tracks.
        """
        reader = self.reader
        if rows is not None and shown:
            shown = sorted([*shown, *rows.shown()], key=attrgetter("order"))
            rows = None
        name = f"frame_{number:06d}"
        line = rows.line if rows is not None else shown[0].line if shown else None
        uri = self.images.get(number)
        if uri is None and self.images and not reader.keep_missing(name, line):
            return
        image_id = self.prefix + name
        if not reader.reader.is_new(image_id):
            message = f"{image_id} is described twice; the first one is kept, with its labels."
            action = duplicate_action(reader.options.duplicates, same=False)
            reader.report("duplicate-image", message, line, action)
            return
        ground = reader.ground_of(uri, self.task.frame_size, line)
        if ground is None:
            return
        record = Record(
            image_id=image_id,
            uri=uri or reader.finder.expected(self.subset, f"{name}.PNG"),
            width=ground.stored[0] if ground.stored else None,
            height=ground.stored[1] if ground.stored else None,
            split=self.split,
            group=self.group,
            frame=number,
            attributes={"cvat_task_id": self.task.task_id} if self.task.task_id else {},
            origin=Origin(reader.origin, line),
        )
        as_labelled = ground.orientation == 1 and ground.size == self.task.frame_size
        if rows is not None and rows.plain and as_labelled:
            if rows.polygons:
                reader.shapes.derived["polygon"] += rows.polygons
            yield Columned(record, rows.objects, rows.start, rows.stop)
            return
        made = (self._object(one, ground.size) for one in (rows.shown() if rows else shown))
        objects = reader.distinct([thing for thing in made if thing is not None])
        yield replace(record, objects=ground.brought_back(objects))

    def _object(self, shown: Shown, size: Size | None) -> Object | None:
        attributes = shown.attributes
        if shown.keyframe is not None:
            name = "cvat_keyframe" if "keyframe" in attributes else "keyframe"
            attributes[name] = shown.keyframe
        return self.reader.shapes.assemble(
            shown.geometry,
            shown.label,
            size,
            attributes,
            shown.occluded,
            shown.line,
            shown.track,
        )


def video_frames(reader: FileReader, columns: TrackColumns) -> Iterator[Item]:
    """The frames of all clips of a file: those with shapes and, where they are, those without.

    Args:
        reader: Reads the file.
        columns: Its tracks, with those that are no columns.
    """
    meta, tracks = reader.shapes.meta, columns.tracks
    clips = dict(tracks.clips)
    for task_id, task in meta.tasks.items():
        if task.video:
            clips.setdefault(f"{task.subset or ''}/{task_id}", (task, task.subset or ""))
    if not clips and not reader.any_image and meta.task.video:
        clips["/"] = (meta.task, "")
    subsets = Counter(subset for _, subset in clips.values())
    others = groupby(frames(tracks.spill), key=itemgetter(0))
    ahead, standing = next(others, _NO_CLIP)
    for key in sorted(clips):
        task, subset = clips[key]
        clip = Clip(reader, key, task, subset, alone=subsets[subset] == 1)
        here = standing if ahead == key else iter(())
        yield from _frames(clip, columns.frames(key), here)
        if ahead == key:
            ahead, standing = next(others, _NO_CLIP)


def _frames(
    clip: Clip,
    rows: Iterator[FrameRows],
    others: Iterator[tuple[str, int, Standing]],
) -> Iterator[Item]:
    """The frames of one clip: those that may be empty, in columns, and all others."""
    numbers = clip.numbers()
    empty, row, other = next(numbers, None), next(rows, None), next(others, None)
    while empty is not None or row is not None or other is not None:
        waiting = (
            empty,
            None if row is None else row.frame,
            None if other is None else other[1],
        )
        frame = min(number for number in waiting if number is not None)
        in_columns = row if row is not None and row.frame == frame else None
        shown: list[Shown] = []
        if other is not None and other[1] == frame:
            shown = shown_of(frame, other[2], clip.reader.report)
            other = next(others, None)
        if empty == frame or in_columns is not None or shown:
            yield from clip.record(frame, in_columns, shown)
        if empty == frame:
            empty = next(numbers, None)
        if in_columns is not None:
            row = next(rows, None)
