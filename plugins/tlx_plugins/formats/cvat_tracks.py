"""From the tracks of a video to what stands in each frame, in bounded memory.

While the file streams, each shape of a track becomes a *span*: the frame it stands in, or, where
the next keyframe lies further on, all frames up to that one. Spans are sorted by frame
(`tlx_plugins.spill`) and then swept: memory holds those that are open at one frame,
and an interpolated shape is computed when its frame comes, never stored.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from tlx.model import AttributeValue
from tlx_plugins.formats import cvat_interpolation as interpolation
from tlx_plugins.formats.cvat_geometry import Geometry, Part, flag_of
from tlx_plugins.formats.cvat_meta import Task, count_of
from tlx_plugins.formats.cvat_shapes import Report, ShapeReader, with_builtins
from tlx_plugins.formats.cvat_xml import Drawn, Track, TrackEnd, TrackShape
from tlx_plugins.spill import Spill

if TYPE_CHECKING:
    from tlx_plugins.formats.cvat import CvatOptions

LONGEST_GAP = 100_000
"""Frames between two keyframes: an hour of video. More is a mistake in a frame number."""


class Key(msgspec.Struct, array_like=True, gc=False):
    """A shape of a track at one frame."""

    frame: int
    geometry: Geometry
    outside: bool
    occluded: bool | None
    keyframe: bool | None
    attributes: dict[str, AttributeValue]
    line: int


class Span(msgspec.Struct, array_like=True, gc=False):
    """A shape from its frame up to another.

    Attributes:
        track: The track's id in the file.
        label: Its label; of a point of a skeleton the name of the point.
        shape: The shape at the first frame.
        until: The first frame that does not belong to it.
        step: Every how many frames of the video there is one.
        following: Geometry at ``until``, None where the shape stands still.
        part: Of a point of the skeleton of the same order its place among the points.
    """

    track: str
    label: str
    shape: Key
    until: int
    step: int
    following: Geometry | None = None
    part: int | None = None

    def at(self, frame: int) -> Geometry:
        """The geometry at one of its frames."""
        here = self.shape.geometry
        if self.following is None or frame == self.shape.frame:
            return here
        share = (frame - self.shape.frame) / (self.until - self.shape.frame)
        return _between(here, self.following, share)


@dataclass(slots=True)
class _Open:
    """A track that is being read: what was read of it last."""

    track: Track
    order: int
    clip: str
    task: Task
    label: str
    last: Key | None = None
    frames_back: bool = False


@dataclass(slots=True)
class TrackReader:
    """Takes the events of tracks and fills a spill with their spans.

    Attributes:
        shapes: Reads shapes, with the labels of the file.
        options: The user's choices.
        report: Where issues go.
        spill: Where spans go.
        clips: Key of each clip that has a track, with its task and subset.
        unfinished: How many tracks are visible in their last shape, before the last frame.
    """

    shapes: ShapeReader
    options: CvatOptions
    report: Report
    spill: Spill
    clips: dict[str, tuple[Task, str]] = field(default_factory=dict)
    unfinished: int = 0
    _open: dict[int, _Open | None] = field(default_factory=dict)

    def start(self, track: Track) -> None:
        """A track begins; one without a known label is left out with all its shapes."""
        values = track.values
        if track.parent is not None:
            parent = self._open.get(track.parent.number)
            label = values.get("label", "")
            self._open[track.number] = (
                None
                if parent is None
                else _Open(track, parent.order, parent.clip, parent.task, label)
            )
            return
        category = self.shapes.category(values.get("label"), track.line)
        if category is None:
            self._open[track.number] = None
            return
        clip, task = self.clip_of(values)
        self._open[track.number] = _Open(track, track.number, clip, task, category)

    def clip_of(self, values: dict[str, str]) -> tuple[str, Task]:
        """The key of the clip that a track is in, and its task."""
        task = self.shapes.meta.task_of(values)
        subset = values.get("subset") or ""
        # A project's export repeats frame numbers from task to task.
        clip = f"{subset}/{values.get('task_id', '')}"
        self.clips.setdefault(clip, (task, subset))
        return clip, task

    def add(self, event: TrackShape) -> None:
        """A shape of the track that began last."""
        state = self._open.get(event.track.number)
        if state is None:
            return
        key = self._key(event.shape, state)
        if key is None:
            return
        before = state.last
        if before is not None:
            # CVAT lets an attribute that a keyframe does not state keep its value.
            key.attributes = {**before.attributes, **key.attributes}
            self._close(state, before, key)
        state.last = key

    def end(self, event: TrackEnd) -> None:
        """A track is over."""
        state = self._open.pop(event.track.number, None)
        if state is None or state.last is None:
            return
        last, task = state.last, state.task
        part = event.track.parent is not None
        until = last.frame + task.step
        if task.stop is not None and until <= task.stop and (part or not last.outside):
            self.unfinished += not part
            # A point shows when its skeleton does, so it may well stay to the end.
            if part or self.options.open_tracks == "hold":
                until = task.stop + 1
                if until - last.frame > LONGEST_GAP * task.step:
                    self._long_gap(last, until)
                    until = last.frame + task.step
        self._put(state, last, until, None)

    def finish(self) -> None:
        """End the tracks that the file, cut off, does not end."""
        for state in list(self._open.values()):
            if state is not None:
                self.end(TrackEnd(state.track))
        self._open.clear()

    def _key(self, shape: Drawn, state: _Open) -> Key | None:
        values = shape.values
        frame = count_of(values.get("frame"))
        if frame is None:
            message = f"the frame {values.get('frame')!r} is no number of a frame; left out."
            self.report("bad-frame", message, shape.line, "skipped", None)
            return None
        if shape.kind == "tag":
            message = "a tag inside a track is no shape; left out."
            self.report("bad-shape", message, shape.line, "skipped", None)
            return None
        geometry = self.shapes.geometry(shape)
        if geometry is None:
            return None
        meta, part = self.shapes.meta, state.track.parent is not None
        inputs = (meta.parts if part else meta.inputs).get(state.label)
        prefix = f"{state.label}." if part else ""
        attributes = self.shapes.attributes(shape, inputs, prefix)
        if not part:
            with_builtins(attributes, state.track.values | values)
        outside = flag_of(values, "outside")
        if outside is None:
            # A skeleton is gone when all of its points are.
            outside = bool(geometry.parts) and all(point.outside for point in geometry.parts)
        if part and (shape.kind != "points" or len(geometry.numbers) != 2):
            message = f"a {shape.kind} stands for a point of a skeleton and is none; left out."
            self.report("bad-shape", message, shape.line, "skipped", None)
            return None
        occluded, keyframe = flag_of(values, "occluded"), flag_of(values, "keyframe")
        return Key(frame, geometry, outside, occluded, keyframe, attributes, shape.line)

    def _close(self, state: _Open, before: Key, after: Key) -> None:
        """Put the span from one shape to the next."""
        step = state.task.step
        gap = after.frame - before.frame
        following: Geometry | None = None
        until = before.frame + step
        if gap <= 0 and not state.frames_back:
            state.frames_back = True
            message = (
                f"a track has frame {after.frame} after frame {before.frame}; nothing is "
                "interpolated between them."
            )
            self.report("frame-order", message, after.line, "kept", None)
        visible = not before.outside or state.track.parent is not None
        if gap > step and visible and self.options.interpolate:
            if gap > LONGEST_GAP * step:
                self._long_gap(before, after.frame)
            elif before.geometry.kind != after.geometry.kind:
                message = (
                    f"a {before.geometry.kind} becomes a {after.geometry.kind}; nothing is "
                    "interpolated between them."
                )
                self.report("mixed-track", message, after.line, "kept", None)
            else:
                following, until = after.geometry, after.frame
        self._put(state, before, until, following)

    def _long_gap(self, before: Key, until: int) -> None:
        message = (
            f"the next keyframe after frame {before.frame} is {until}, too far to be right; "
            "nothing is interpolated between them."
        )
        self.report("long-gap", message, before.line, "kept", None)

    def _put(self, state: _Open, shape: Key, until: int, following: Geometry | None) -> None:
        part = state.track.number if state.track.parent is not None else None
        if shape.outside and part is None:
            return
        track = state.track.values.get("id", str(state.order))
        span = Span(track, state.label, shape, until, state.task.step, following, part)
        self.spill.add(state.clip, shape.frame, state.order, msgspec.msgpack.encode(span))


@dataclass(slots=True)
class Shown:
    """One shape at one frame.

    Attributes:
        order: Position of its track among those of the file.
        track: Id of its track.
        label: Its label.
        geometry: Its numbers at this frame, with all points of a skeleton.
        line: Line in the file of the shape that it comes from.
        occluded: Something stands in front of it.
        keyframe: Whether this frame is a keyframe; None if the file does not say.
        attributes: Of the shape and of the points of a skeleton.
    """

    order: int
    track: str
    label: str
    geometry: Geometry
    line: int
    occluded: bool | None
    keyframe: bool | None
    attributes: dict[str, AttributeValue]


Standing = list[tuple[int, Span]]
"""Order of the track and span of all that stands in one frame."""


def frames(spill: Spill) -> Iterator[tuple[str, int, Standing]]:
    """Clip, frame and spans of every frame in which there is one, in order.

    Args:
        spill: Filled by a `TrackReader`.
    """
    decode = msgspec.msgpack.Decoder(Span).decode
    arriving = spill.sorted()
    head = next(arriving, None)
    clip = ""
    # Frame, order of the track, a number that keeps equal ones in their order, and the span.
    waiting: list[tuple[int, int, int, Span]] = []
    number = 0
    while head is not None or waiting:
        if not waiting and head is not None:
            clip = head[0]
            frame = head[1]
        else:
            frame = waiting[0][0]
            if head is not None and head[0] == clip:
                frame = min(frame, head[1])
        while head is not None and head[0] == clip and head[1] == frame:
            heapq.heappush(waiting, (frame, head[2], number, decode(head[3])))
            number += 1
            head = next(arriving, None)
        here: Standing = []
        while waiting and waiting[0][0] == frame:
            _, order, seq, span = heapq.heappop(waiting)
            here.append((order, span))
            if frame + span.step < span.until:
                heapq.heappush(waiting, (frame + span.step, order, seq, span))
        yield clip, frame, here


def shown_of(frame: int, here: Standing, report: Report) -> list[Shown]:
    """The shapes of one frame: skeletons with their points, no track twice.

    Args:
        frame: Number of the frame.
        here: What stands in it, to be sorted.
        report: Where issues go.
    """
    found: dict[int, Shown] = {}
    parts: dict[int, list[Span]] = {}
    # What the file states for this frame comes before what is interpolated.
    here.sort(key=lambda entry: (entry[0], entry[1].shape.frame != frame))
    for order, span in here:
        if span.part is not None:
            parts.setdefault(order, []).append(span)
        elif order in found:
            if span.shape.frame == frame:
                text = f"the track {span.track} has two shapes in frame {frame}; the first is kept."
                report("duplicate-frame", text, span.shape.line, "skipped", None)
        else:
            shape = span.shape
            keyframe = shape.keyframe
            if frame != shape.frame:
                keyframe = None if keyframe is None else False
            found[order] = Shown(
                order,
                span.track,
                span.label,
                span.at(frame),
                shape.line,
                shape.occluded,
                keyframe,
                dict(shape.attributes),
            )
    for order, spans in parts.items():
        # Points stand in the file for every frame of the track, the skeleton only where it shows.
        skeleton = found.get(order)
        if skeleton is not None:
            _add_points(skeleton, spans, frame)
    return list(found.values())


def _add_points(skeleton: Shown, spans: list[Span], frame: int) -> None:
    points = {part.name: part for part in skeleton.geometry.parts}
    # The later of two for one point holds, and the one that the file states comes later.
    spans.sort(key=lambda span: (span.part, span.shape.frame == frame))
    for span in spans:
        x, y = span.at(frame).numbers
        shape = span.shape
        points[span.label] = Part(span.label, x, y, shape.outside, shape.occluded)
        skeleton.attributes |= shape.attributes
    geometry = skeleton.geometry
    parts = tuple(points.values())
    skeleton.geometry = Geometry(geometry.kind, geometry.numbers, geometry.rotation, parts)


def _between(left: Geometry, right: Geometry, share: float) -> Geometry:
    """A shape on its way from one keyframe to the next."""
    numbers = interpolation.between(left.kind, left.numbers, right.numbers, share)
    rotation = left.rotation
    if left.kind in interpolation.TURNING and (rotation or right.rotation):
        rotation = interpolation.turned(rotation or 0.0, right.rotation or 0.0, share)
    if not left.parts:
        return Geometry(left.kind, numbers, rotation)
    goals = {part.name: part for part in right.parts}
    parts = tuple(_part_between(part, goals.get(part.name), share) for part in left.parts)
    return Geometry(left.kind, numbers, rotation, parts)


def _part_between(part: Part, goal: Part | None, share: float) -> Part:
    if goal is None:
        return part
    x, y = part.x + (goal.x - part.x) * share, part.y + (goal.y - part.y) * share
    return Part(part.name, x, y, part.outside, part.occluded)
