"""One image with its labels as an Example, under the keys of the TF Object Detection API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from tlx.bad_input import BadBoxes
from tlx.box_policy import fault_of, settle, shown
from tlx.context import Context
from tlx.issues import Issue
from tlx.model import Box, Keypoint, Object, Record
from tlx_plugins.formats import tfrecord_facts, tfrecord_masks
from tlx_plugins.formats.coco_outline import computed_area, outline_bounds
from tlx_plugins.formats.tfrecord_example import (
    bytes_entry,
    example,
    float_entry,
    integer_entry,
)
from tlx_plugins.formats.tfrecord_facts import FLAGS, ObjectFacts
from tlx_plugins.formats.tfrecord_objects import FLAG_KEYS, PREFIX, SPREAD
from tlx_plugins.formats.tfrecord_pictures import Picture

_INT64 = 2**63
_ABSENT = Keypoint(0.0, 0.0, 0, None)


class Encoded(NamedTuple):
    """A record in two pieces, the second of which is the image, and how many objects it has."""

    pieces: tuple[bytes, bytes]
    objects: int


class RecordEncoder:
    """Makes Examples.

    Args:
        ids: The number of each class.
        source_id: The attribute that numbers the images; they count from 1 without.
        points: Keypoints of each object; those that have fewer are filled up.
        masks: Whether outlines are drawn as masks.
        policy: What happens to bad boxes.
        context: Takes issues.
    """

    def __init__(
        self,
        ids: Mapping[str, int],
        *,
        source_id: str | None,
        points: int,
        masks: bool,
        policy: BadBoxes | None,
        context: Context,
    ) -> None:
        self.ids = ids
        self.texts = {name: name.encode() for name in ids}
        self.source_id = source_id
        self.points = points
        self.masks = masks
        self.policy = policy
        self.context = context
        self.number = 0

    def encode(self, record: Record, picture: Picture) -> Encoded | None:
        """The Example of an image, None if it cannot be written."""
        self.number += 1
        kept: list[tuple[Object, Box]] = []
        for thing in record.objects:
            box = self._box(thing, record, picture)
            if box is not None:
                kept.append((thing, box))
        number = self.number if self.source_id is None else record.attributes[self.source_id]
        try:
            entries = [
                bytes_entry("image/filename", (record.uri.encode(),)),
                bytes_entry("image/format", (picture.kind.encode(),)),
                integer_entry("image/height", (picture.height,)),
                bytes_entry("image/key/sha256", (picture.sha256,)),
                bytes_entry("image/source_id", (str(number).encode(),)),
                integer_entry("image/width", (picture.width,)),
                *self._labels(record),
                *self._objects(kept, record, picture),
            ]
        except OverflowError:
            message = f"a number of {record.image_id} is beyond what 32 bits can hold."
            self._report("number-range", message, record)
            return None
        return Encoded(example(entries, "image/encoded", picture.data), len(kept))

    def _box(self, thing: Object, record: Record, picture: Picture) -> Box | None:
        box = thing.box
        if box is None and thing.segmentation is not None:
            box = outline_bounds(thing.segmentation)
        if box is None:
            message = f"an object {thing.category!r} of {record.image_id} has no box."
            self._report("no-box", message, record)
            return None
        if 0 <= box.xmin < box.xmax <= picture.width and 0 <= box.ymin < box.ymax <= picture.height:
            return box
        size = (picture.width, picture.height)
        fault = fault_of(box, size)
        if fault is None:
            return box

        def report(code: str, message: str, action: str, hint: str) -> None:
            self._report(code, message, record, action, hint)

        subject = f"an object {thing.category!r} of {record.image_id}: bbox {shown(box)}"
        return settle(box, size, fault, self.policy, subject, report, outside_is_bad=True)

    def _labels(self, record: Record) -> list[bytes]:
        """Image-level labels; a confidence is needed only to say that something is absent."""
        labels = [label for label in record.labels if label.present is not None]
        if not labels:
            return []
        entries = [
            bytes_entry("image/class/text", [self.texts[label.category] for label in labels]),
            integer_entry("image/class/label", [self.ids[label.category] for label in labels]),
        ]
        if not all(label.present for label in labels):
            confidences = [float(bool(label.present)) for label in labels]
            entries.append(float_entry("image/class/confidence", confidences))
        return entries

    def _objects(
        self, kept: Sequence[tuple[Object, Box]], record: Record, picture: Picture
    ) -> list[bytes]:
        width, height = picture.width, picture.height
        things = [thing for thing, _ in kept]
        entries = [
            float_entry(PREFIX + "bbox/xmin", [box.xmin / width for _, box in kept]),
            float_entry(PREFIX + "bbox/xmax", [box.xmax / width for _, box in kept]),
            float_entry(PREFIX + "bbox/ymin", [box.ymin / height for _, box in kept]),
            float_entry(PREFIX + "bbox/ymax", [box.ymax / height for _, box in kept]),
            bytes_entry(PREFIX + "class/text", [self.texts[t.category] for t in things]),
            integer_entry(PREFIX + "class/label", [self.ids[t.category] for t in things]),
        ]
        stated = []
        for flag in FLAGS:
            values = [*map(attrgetter(flag), things)]
            if values.count(None) < len(values):
                stated.append(flag)
                entries.append(
                    integer_entry(PREFIX + FLAG_KEYS[flag], [int(v or 0) for v in values])
                )
        if things:
            entries += _spread(kept)
            entries += self._keypoints(things, width, height)
            if self.masks:
                entries += self._masks(things, record, picture)
        flags = frozenset(stated)
        facts: list[ObjectFacts | None] = [
            tfrecord_facts.object_facts(thing, flags, self.points) for thing in things
        ]
        text = tfrecord_facts.encode_facts(record, tuple(facts))
        entries.append(bytes_entry(tfrecord_facts.KEY, (text,)))
        return entries

    def _keypoints(self, things: Sequence[Object], width: int, height: int) -> list[bytes]:
        """The same number of points for each object, as the decoder needs it."""
        if not self.points or not any(thing.keypoints for thing in things):
            return []
        points = [
            point
            for thing in things
            for point in (
                *thing.keypoints,
                *[_ABSENT] * (self.points - len(thing.keypoints)),
            )
        ]
        seen = [2 if point.visibility is None else point.visibility for point in points]
        counts = [sum(point.visibility != 0 for point in thing.keypoints) for thing in things]
        entries = [
            float_entry(PREFIX + "keypoint/x", [point.x / width for point in points]),
            float_entry(PREFIX + "keypoint/y", [point.y / height for point in points]),
            integer_entry(PREFIX + "keypoint/visibility", seen),
            integer_entry(PREFIX + "keypoint/num", counts),
        ]
        if any(point.name for point in points):
            names = [(point.name or "").encode() for point in points]
            entries.append(bytes_entry(PREFIX + "keypoint/text", names))
        return entries

    def _masks(self, things: Sequence[Object], record: Record, picture: Picture) -> list[bytes]:
        """A mask for each object; one that has no outline gets an empty mask of weight 0."""
        if all(thing.segmentation is None for thing in things):
            return []
        masks, weights = [], []
        for thing in things:
            outline = thing.segmentation
            try:
                png = tfrecord_masks.mask_png(outline, picture.width, picture.height)
            except ValueError as error:
                message = f"an object {thing.category!r} of {record.image_id} {error}; "
                self._report("bad-mask", message + "its mask is left out.", record, "changed")
                outline = None
                png = tfrecord_masks.mask_png(None, picture.width, picture.height)
            masks.append(png)
            weights.append(float(outline is not None))
        entries = [bytes_entry(PREFIX + "mask", masks)]
        if not all(weights):
            entries.append(float_entry(PREFIX + "mask/weight", weights))
        return entries

    def _report(
        self,
        code: str,
        message: str,
        record: Record,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        path = record.origin.path if record.origin is not None else None
        line = record.origin.line if record.origin is not None else None
        self.context.issues.report(Issue(code, message, path, line, action, hint))


def _spread(kept: Sequence[tuple[Object, Box]]) -> list[bytes]:
    """Attributes with a key of their own, where all objects of the image have them.

    An area is written too where there are outlines, since it is not that of the box.
    """
    entries: list[bytes] = []
    things = [thing for thing, _ in kept]
    if not any(t.attributes or t.segmentation or t.track for t in things):
        return entries
    if any(thing.segmentation is not None or "area" in thing.attributes for thing in things):
        areas = [
            float(area)
            if isinstance(area := thing.attributes.get("area"), int | float)
            else computed_area(box, thing.segmentation)
            for thing, box in kept
        ]
        entries.append(float_entry(PREFIX + "area", areas))
    for name, kind in SPREAD.items():
        values = [thing.attributes.get(name) for thing in things]
        if name == "area" or any(type(value) is not kind for value in values):
            continue
        if kind is float:
            entries.append(float_entry(PREFIX + name, [v for v in values if isinstance(v, float)]))
        elif kind is str:
            entries.append(bytes_entry(PREFIX + name, [str(value).encode() for value in values]))
        else:
            entries.append(integer_entry(PREFIX + name, [int(bool(value)) for value in values]))
    tracks = [_track_number(thing.track) for thing in things]
    numbers = [track for track in tracks if track is not None]
    if len(numbers) == len(tracks):
        entries.append(integer_entry(PREFIX + "track/label", numbers))
    return entries


def _track_number(track: str | None) -> int | None:
    """A track as the number that the decoder needs; others stay in the facts."""
    if track is None or not track.isdecimal() or not track.isascii() or len(track) > 18:
        return None
    return int(track) if str(int(track)) == track else None
