"""The frames of a video task as records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tlx.bad_input import duplicate_action
from tlx.model import Object, Origin, Record
from tlx_plugins.formats.cvat_meta import Task
from tlx_plugins.formats.cvat_shapes import Size
from tlx_plugins.formats.cvat_tracks import Shown

if TYPE_CHECKING:
    from tlx_plugins.formats.cvat_reader import FileReader

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

    def record(self, number: int, shown: list[Shown]) -> Iterator[Record]:
        """The record of one frame, if it can be one."""
        reader = self.reader
        name = f"frame_{number:06d}"
        line = shown[0].span.shape.line if shown else None
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
        made = (self._object(shape, ground.size) for shape in shown)
        objects = reader.distinct([thing for thing in made if thing is not None])
        yield Record(
            image_id=image_id,
            uri=uri or reader.finder.expected(self.subset, f"{name}.PNG"),
            width=ground.stored[0] if ground.stored else None,
            height=ground.stored[1] if ground.stored else None,
            split=self.split,
            group=self.group,
            frame=number,
            objects=ground.brought_back(objects),
            attributes={"cvat_task_id": self.task.task_id} if self.task.task_id else {},
            origin=Origin(reader.origin, line),
        )

    def _object(self, shown: Shown, size: Size | None) -> Object | None:
        span = shown.span
        attributes = shown.attributes
        if shown.keyframe is not None:
            name = "cvat_keyframe" if "keyframe" in attributes else "keyframe"
            attributes[name] = shown.keyframe
        return self.reader.shapes.assemble(
            shown.geometry,
            span.label,
            size,
            attributes,
            span.shape.occluded,
            span.shape.line,
            span.track,
        )
