"""Label files of DriveU version 2.0: JSON.

Form of the file: ``python/dtld_parsing/driveu_dataset.py`` of github.com/julimueller/dtld_parsing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec

from tlx.errors import DataError, Place
from tlx.model import AttributeValue
from tlx_plugins.sources.driveu_entries import (
    Entry,
    Fault,
    Frame,
    Light,
    fingerprint,
    frame_attributes,
    last_parts,
    number,
)

_Plain = str | int | float | bool | None


class _File(msgspec.Struct):
    images: list[msgspec.Raw]


class _Head(msgspec.Struct):
    image_path: str
    time_stamp: _Plain = None


class _Label(msgspec.Struct, gc=False):
    x: float
    y: float
    w: float
    h: float
    attributes: dict[str, _Plain] = {}
    unique_id: int | float | str | None = None
    track_id: int | float | str | None = None


class _Image(msgspec.Struct, gc=False):
    image_path: str
    labels: list[_Label]
    disparity_image_path: str | None = None
    time_stamp: _Plain = None
    velocity: _Plain = None
    yaw_rate: _Plain = None
    longitude: _Plain = None
    latitude: _Plain = None


class _LooseImage(msgspec.Struct):
    labels: list[msgspec.Raw]


_file = msgspec.json.Decoder(_File)
_head = msgspec.json.Decoder(_Head)
_image = msgspec.json.Decoder(_Image)
_label = msgspec.json.Decoder(_Label)
_loose = msgspec.json.Decoder(_LooseImage)


def index(data: bytes, path: Path, fault: Fault) -> Iterator[Entry]:
    """The frames of a file, in its order.

    Args:
        data: The text of the file in UTF-8.
        path: The file, for messages.
        fault: Told of a frame without a usable path.

    Raises:
        DataError: If the file is no JSON, or has no list ``images``.
    """
    try:
        images = _file.decode(data).images
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(
            f"is no DriveU label file of version 2.0: {error}.".replace("..", "."),
            place=Place(str(path), _line_of(data, error)),
            hint="The file may be cut off: unpack or download it again.",
        ) from error
    for position, raw in enumerate(images):
        place = f"$.images[{position}]"
        try:
            head = _head.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            fault(f"{place}: {error}")
            continue
        parts = last_parts(head.image_path)
        if parts is None:
            fault(f"{place}: {head.image_path!r} is no path of an image (City/Route/Sequence/file)")
            continue
        decode = partial(_decode, raw, place)
        yield Entry(parts, number(head.time_stamp), path, place, fingerprint(raw), decode)


def _line_of(data: bytes, error: Exception) -> int | None:
    """The line of a syntax error, whose message ends with the position ``(byte 17)``."""
    tail = str(error).rpartition("(byte ")[2].rstrip(").")
    return data.count(b"\n", 0, int(tail)) + 1 if tail.isascii() and tail.isdigit() else None


def _decode(raw: msgspec.Raw, place: str, fault: Fault) -> Frame:
    """The frame of an entry; a label that cannot be used costs itself only."""
    try:
        image = _image.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        return _decode_loosely(raw, place, error, fault)
    return Frame([_light(label) for label in image.labels], _attributes(image))


def _decode_loosely(raw: msgspec.Raw, place: str, error: Exception, fault: Fault) -> Frame:
    try:
        labels = _loose.decode(raw).labels
    except (msgspec.DecodeError, RecursionError):
        # Without its list of labels the image is not a negative: the caller leaves it out.
        raise DataError(f"{place}: {error}") from error
    lights = []
    for position, label in enumerate(labels):
        try:
            lights.append(_light(_label.decode(label)))
        except (msgspec.DecodeError, RecursionError) as reason:
            fault(f"{place}.labels[{position}]: {reason}")
    values = msgspec.json.decode(raw)
    return Frame(lights, frame_attributes(values))


def _attributes(image: _Image) -> dict[str, AttributeValue]:
    return frame_attributes(
        {
            "velocity": image.velocity,
            "yaw_rate": image.yaw_rate,
            "longitude": image.longitude,
            "latitude": image.latitude,
            "time_stamp": image.time_stamp,
            "disparity_image_path": image.disparity_image_path,
        }
    )


def _light(label: _Label) -> Light:
    stated: Mapping[str, AttributeValue] = {
        name: value for name, value in label.attributes.items() if value is not None
    }
    unique, track = label.unique_id, label.track_id
    return Light(
        label.x,
        label.y,
        label.w,
        label.h,
        stated,
        None if unique is None else str(unique),
        None if track is None else str(track),
    )
