"""The objects of a record: parallel lists of boxes, classes, flags, keypoints and masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from tlx.bad_input import BadBoxes
from tlx.box_policy import fault_of, settle, shown
from tlx.model import AttributeValue, Box, Keypoint, Object, Segmentation
from tlx_plugins.formats import tfrecord_masks
from tlx_plugins.formats.tfrecord_classes import LabelMap, Note
from tlx_plugins.formats.tfrecord_example import Example
from tlx_plugins.formats.tfrecord_facts import FLAGS, Facts, ObjectFacts, unpacked
from tlx_plugins.formats.tfrecord_values import (
    byte_strings,
    floats,
    integers,
    pixels,
    text,
)

T = TypeVar("T")
PREFIX = "image/object/"
FLAG_KEYS = {
    "crowd": "is_crowd",
    "difficult": "difficult",
    "truncated": "truncated",
    "occluded": "occluded",
}
SPREAD = {"area": float, "weight": float, "view": str, "group_of": bool, "depiction": bool}
"""Attributes of an object that have a key of their own; occluded and depiction are those of
``dataset_tools/oid_tfrecord_creation.py``."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_KEYPOINT = ("x", "y", "visibility", "text", "num")
_MEANT = frozenset(
    PREFIX + name
    for name in (
        *(f"bbox/{corner}" for corner in _CORNERS),
        *("class/text", "class/label", "mask", "mask/weight", "track/label"),
        *(f"keypoint/{part}" for part in _KEYPOINT),
        *FLAG_KEYS.values(),
    )
)


class Report(Protocol):
    """Reports an issue at the present record."""

    def __call__(
        self, code: str, message: str, action: str = "skipped", hint: str | None = None
    ) -> None:
        """Report it; may raise."""
        ...


class ObjectReader:
    """Reads the objects of the records of one set.

    Args:
        label_map: Finds classes.
        policy: What happens to bad boxes.
        report: Takes issues.
        note: Takes what is odd about classes.
    """

    def __init__(
        self, label_map: LabelMap, policy: BadBoxes | None, report: Report, note: Note
    ) -> None:
        self.label_map = label_map
        self.policy = policy
        self.report = report
        self.note = note
        self.taken: frozenset[str] = frozenset()

    def takes(self, key: str) -> bool:
        """Whether the last record's key was read here."""
        return key in self.taken

    def read(
        self, example: Example, size: tuple[int, int] | None, facts: Facts | None
    ) -> tuple[Object, ...] | None:
        """The objects of a record; None if the record as a whole cannot be read.

        Raises:
            WrongType: If a key holds another kind of value than it should.
        """
        self.taken = _MEANT
        corners = [floats(example, f"{PREFIX}bbox/{name}") for name in _CORNERS]
        count = len(corners[0])
        texts = byte_strings(example, PREFIX + "class/text")
        numbers = integers(example, PREFIX + "class/label")
        sizes = [*map(len, corners), len(texts), len(numbers)]
        if set(sizes[:4]) != {count} or not set(sizes[4:]) <= {0, count}:
            lengths = ", ".join(map(str, sizes))
            message = (
                "bbox/xmin, ymin, xmax, ymax, class/text and class/label have different lengths: "
                f"{lengths}."
            )
            self.report("bad-record", message)
            return None
        if not count:
            return ()
        if size is None:
            self.report("no-size", "has boxes, but neither a size nor an image that can be read.")
            return None
        sides = (size[0], size[1], size[0], size[1])
        boxes = zip(*map(pixels, corners, sides), strict=True)
        flags = self._flags(example, count)
        spread = self._spread(example, count, own=facts is not None)
        if "group_of" in spread:
            # Open Images' word for what COCO calls a crowd; both are kept apart where both are.
            flags.setdefault("crowd", [bool(value) for value in spread["group_of"]])
        points = self._keypoints(example, count, size)
        outlines = self._outlines(example, count, size)
        tracks = self._fitting(integers(example, PREFIX + "track/label"), count, "track/label")
        known = facts.objects if facts is not None and facts.objects else (None,) * count
        found = []
        for index, box in enumerate(boxes):
            name = text(texts[index], PREFIX + "class/text") if texts else ""
            number = numbers[index] if numbers else None
            category = self.label_map.find(name, number, self.note)
            if category is None:
                what = "no class" if number is None else f"the class {number} without a text"
                message = f"the object {index + 1} has {what}, which no label map explains."
                self.report("unknown-class", message)
                continue
            checked = self._checked(Box(*box), size, index)
            if checked is None:
                continue
            thing = Object(
                category=category,
                box=checked,
                segmentation=outlines[index],
                keypoints=points[index],
                track=str(tracks[index]) if tracks else None,
                attributes={key: values[index] for key, values in spread.items()},
                crowd=_at(flags, "crowd", index),
                difficult=_at(flags, "difficult", index),
                truncated=_at(flags, "truncated", index),
                occluded=_at(flags, "occluded", index),
            )
            fact = known[index]
            found.append(thing if fact is None else _completed(thing, fact))
        return tuple(found)

    def _checked(self, box: Box, size: tuple[int, int], index: int) -> Box | None:
        fault = fault_of(box, size)
        if fault is None:
            return box
        subject = f"the object {index + 1}: bbox {shown(box)}"
        return settle(box, size, fault, self.policy, subject, self.report)

    def _fitting(self, values: list[T], count: int, name: str) -> list[T]:
        """The values if there is one per object, else none."""
        if len(values) in (0, count):
            return values
        message = f"{PREFIX}{name} has {len(values)} values for {count} objects; left out."
        self.report("bad-list", message, "changed")
        return []

    def _flags(self, example: Example, count: int) -> dict[str, list[bool]]:
        found = {}
        for flag, name in FLAG_KEYS.items():
            key = PREFIX + name
            raw = example.get(key, ())
            # KITTI's converter writes how much is truncated, as a float from 0 to 1.
            is_share = bool(raw) and isinstance(raw[0], float)
            stated = floats(example, key) if is_share else [*map(float, integers(example, key))]
            values = self._fitting(stated, count, name)
            if values:
                found[flag] = [value > 0 for value in values]
        return found

    def _spread(
        self, example: Example, count: int, *, own: bool
    ) -> dict[str, list[AttributeValue]]:
        """Keys with one value per object, as attributes; ``own`` ones are known from the facts."""
        found: dict[str, list[AttributeValue]] = {}
        taken = {*_MEANT}
        for key, values in example.items():
            name = key.removeprefix(PREFIX)
            if name == key or key in _MEANT:
                continue
            if own and name in SPREAD:
                taken.add(key)
                continue
            if len(values) != count:
                continue
            try:
                plain = [v.decode() if isinstance(v, bytes) else v for v in values]
            except UnicodeDecodeError:
                continue
            taken.add(key)
            is_flag = SPREAD.get(name) is bool
            found[name] = [bool(v) for v in plain] if is_flag else plain
        self.taken = frozenset(taken)
        return found

    def _keypoints(
        self, example: Example, count: int, size: tuple[int, int]
    ) -> list[tuple[Keypoint, ...]]:
        """The points of each object; an object whose points are all absent has none."""
        x, y = (floats(example, f"{PREFIX}keypoint/{axis}") for axis in "xy")
        seen = integers(example, PREFIX + "keypoint/visibility")
        names = byte_strings(example, PREFIX + "keypoint/text")
        each, rest = divmod(len(x), count)
        if rest or len(y) != len(x) or len(seen) not in (0, len(x)):
            message = f"has {len(x)}, {len(y)} and {len(seen)} values of keypoints for {count} "
            self.report("bad-list", message + "objects; they are left out.", "changed")
            return [()] * count
        if not each:
            return [()] * count
        if len(names) == each:
            names *= count
        labels = [name.decode(errors="replace") for name in names]
        xs, ys = pixels(x, size[0]), pixels(y, size[1])
        points = [
            Keypoint(
                xs[i] if math.isfinite(xs[i]) else 0.0,
                ys[i] if math.isfinite(ys[i]) else 0.0,
                _visibility(seen[i] if seen else None, xs[i]),
                labels[i] or None if len(labels) == len(x) else None,
            )
            for i in range(len(x))
        ]
        objects = [tuple(points[i : i + each]) for i in range(0, len(points), each)]
        return [group if any(map(_present, group)) else () for group in objects]

    def _outlines(
        self, example: Example, count: int, size: tuple[int, int]
    ) -> list[Segmentation | None]:
        raw = example.get(PREFIX + "mask", ())
        if not raw:
            return [None] * count
        weights = (
            self._fitting(floats(example, PREFIX + "mask/weight"), count, "mask/weight")
            or [1.0] * count
        )
        found: list[Segmentation | None]
        if isinstance(raw[0], bytes):
            values = self._fitting(byte_strings(example, PREFIX + "mask"), count, "mask")
            found = [
                self._mask(data, size, index) if weights[index] else None
                for index, data in enumerate(values)
            ]
        else:
            found = [*self._float_masks(floats(example, PREFIX + "mask"), size)]
            found = self._fitting(found, count, "mask")
        return found or [None] * count

    def _mask(self, data: bytes, size: tuple[int, int], index: int) -> Segmentation | None:
        try:
            return tfrecord_masks.mask_from_png(data, *size)
        except ValueError as error:
            message = f"the mask of the object {index + 1} {error}; left out."
            self.report("bad-mask", message, "changed")
            return None

    def _float_masks(
        self, values: Sequence[float], size: tuple[int, int]
    ) -> Sequence[Segmentation]:
        try:
            return tfrecord_masks.masks_from_floats(values, *size)
        except ValueError as error:
            self.report("bad-mask", f"{error}; left out.", "changed")
            return []


def _at(flags: dict[str, list[bool]], name: str, index: int) -> bool | None:
    values = flags.get(name)
    return None if values is None else values[index]


def _visibility(value: int | None, x: float) -> int | None:
    if not math.isfinite(x):
        return 0
    return value if value in (0, 1, 2) else None


def _present(point: Keypoint) -> bool:
    return point.visibility != 0 or point.x != 0 or point.y != 0


def _completed(thing: Object, fact: ObjectFacts) -> Object:
    """An object with what the standard keys could not say."""
    unstated = {flag: None for flag in fact.unstated if flag in FLAGS}
    flags = {flag: getattr(thing, flag) for flag in FLAGS} | unstated
    hidden = fact.boxless and (thing.segmentation is not None or bool(thing.keypoints))
    return Object(
        category=thing.category,
        box=None if hidden else thing.box,
        object_id=fact.object_id,
        segmentation=thing.segmentation,
        rotation=fact.rotation,
        keypoints=thing.keypoints if fact.points is None else thing.keypoints[: fact.points],
        track=fact.track,
        attributes={**thing.attributes, **unpacked(fact.attributes)},
        **flags,
    )
