"""What tlx knows of an image and TensorFlow has no key for, as JSON under a key of its own.

TensorFlow's decoders pass over keys that they do not know. So a record that tlx wrote gives back
everything, down to the clip of the image and the attributes of its objects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from tlx.model import AttributeValue, Object, Record

KEY = "tlx/facts"
"""The key of the Example that holds the JSON."""

FLAGS = ("crowd", "difficult", "truncated", "occluded")

_Attributes = dict[str, str | int | float | bool | dict[str, str]]


class ObjectFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename={"object_id": "id"}):
    """Of one object; ``unstated`` are flags that had to be written as 0, ``points`` its count."""

    object_id: str | None = None
    rotation: float | None = None
    track: str | None = None
    attributes: _Attributes = {}
    unstated: tuple[str, ...] = ()
    points: int | None = None
    boxless: bool = False


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one image; ``labels`` and ``objects`` are empty where the standard keys say it all."""

    image_id: str
    split: str | None = None
    group: str | None = None
    frame: int | None = None
    attributes: _Attributes = {}
    labels: tuple[tuple[str, bool | None], ...] = ()
    objects: tuple[ObjectFacts | None, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Facts).decode


def packed(values: Mapping[str, AttributeValue]) -> _Attributes:
    """Attributes for JSON, which has no way to write a number that is not finite."""
    return {
        name: {"real": repr(value)}
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in values.items()
    }


def unpacked(values: _Attributes) -> dict[str, AttributeValue]:
    """The counterpart of `packed`."""
    return {
        name: float(value.get("real", "nan")) if isinstance(value, dict) else value
        for name, value in values.items()
    }


def object_facts(thing: Object, stated: frozenset[str], points: int) -> ObjectFacts | None:
    """The facts of an object, None if the standard keys say everything.

    Args:
        thing: The object.
        stated: Flags that are written for all objects of its image.
        points: Number of keypoints that are written for each object of the dataset.
    """
    if not stated and not thing.keypoints and _is_plain(thing):
        return None
    unstated = tuple(flag for flag in FLAGS if flag in stated and getattr(thing, flag) is None)
    count = len(thing.keypoints)
    padded = count if count not in (0, points) else None
    if _is_plain(thing) and not unstated and padded is None:
        return None
    return ObjectFacts(
        thing.object_id,
        thing.rotation,
        thing.track,
        packed(thing.attributes),
        unstated,
        padded,
        thing.box is None,
    )


def _is_plain(thing: Object) -> bool:
    return (
        thing.object_id is None
        and thing.rotation is None
        and thing.track is None
        and thing.box is not None
        and not thing.attributes
    )


def encode_facts(record: Record, objects: tuple[ObjectFacts | None, ...]) -> bytes:
    """The JSON of an image."""
    return _encode(
        Facts(
            record.image_id,
            record.split,
            record.group,
            record.frame,
            packed(record.attributes) if record.attributes else {},
            _labels(record),
            objects if any(objects) else (),
        )
    )


def decode_facts(data: bytes) -> Facts:
    """The facts in a JSON text.

    Raises:
        ValueError: If it is none of ours.
    """
    return _decode(data)


def _labels(record: Record) -> tuple[tuple[str, bool | None], ...]:
    """All labels of the image if TensorFlow cannot be told one of them, an unsure one."""
    if all(label.present is not None for label in record.labels):
        return ()
    return tuple((label.category, label.present) for label in record.labels)
