"""Label files of DriveU version 2.0: JSON.

Form of the file: ``python/dtld_parsing/driveu_dataset.py`` of github.com/julimueller/dtld_parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import msgspec

from tlx.errors import DataError, Place
from tlx.model import AttributeValue
from tlx_plugins.sources.driveu_entries import (
    LONGEST_BLOCK,
    WINDOW,
    Block,
    Fault,
    Frame,
    Head,
    Light,
    Unusual,
    frame_attributes,
)

_KEY = b'"image_path"'
_OPENING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"images"\s*:\s*\[\s*')
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


def blocks(file: IO[bytes]) -> Iterator[Block]:
    """The images of a file one after the other, a few megabytes at a time.

    Every image has one key ``image_path``, and the last brace before it opens the image, as long
    as nothing with braces stands before it. Whether that holds shows when the block is decoded.

    Raises:
        Unusual: If the file begins or ends in another way.
    """
    window = file.read(WINDOW)
    opening = _OPENING.match(window)
    if opening is None:
        raise Unusual
    at, offset = opening.end(), 0
    line = 1 + window.count(b"\n", 0, at)
    while True:
        key = window.find(_KEY, at)
        following = window.find(_KEY, key + len(_KEY)) if key >= 0 else -1
        if following < 0:
            more = file.read(WINDOW)
            if len(window) - at > LONGEST_BLOCK:
                raise Unusual
            if more:
                offset += at
                window, at = window[at:] + more, 0
                continue
            last = _last(window[at:])
            if last:
                yield Block(last, offset + at, line)
            return
        start = window.rfind(b"{", key, following)
        comma = window.rfind(b",", at, start)
        if comma < 0 or window[comma + 1 : start].strip():
            raise Unusual
        yield Block(window[at:comma], offset + at, line)
        line += window.count(b"\n", at, start)
        at = start


def _last(tail: bytes) -> bytes:
    """The last image, without what closes the file."""
    for mark in (b"}", b"]"):
        tail = tail.rstrip()
        if not tail.endswith(mark):
            raise Unusual
        tail = tail[:-1]
    return tail.rstrip()


def head(data: bytes) -> Head:
    """Path and time stamp of an image.

    Raises:
        ValueError: If the block is no image; says why.
    """
    try:
        found = _head.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return Head(found.image_path, found.time_stamp)


def whole(data: bytes, path: Path) -> Iterator[tuple[str, bytes]]:
    """The place and text of each image of a file that is read as a whole.

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
        yield f"$.images[{position}]", bytes(raw)


def place(position: int, line: int) -> str:
    """Where an image is, in words."""
    del line
    return f"$.images[{position}]"


def _line_of(data: bytes, error: Exception) -> int | None:
    """The line of a syntax error, whose message ends with the position ``(byte 17)``."""
    tail = str(error).rpartition("(byte ")[2].rstrip(").")
    return data.count(b"\n", 0, int(tail)) + 1 if tail.isascii() and tail.isdigit() else None


def frame(data: bytes, place: str, line: int | None, fault: Fault, *, is_text: bool) -> Frame:
    """The frame of an image; a label that cannot be used costs itself only.

    Raises:
        DataError: If the image has no list of labels.
    """
    del is_text  # An image of this version is always text.
    try:
        image = _image.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        return _loosely(data, place, line, error, fault)
    return Frame([_light(label) for label in image.labels], _attributes(image))


def _loosely(data: bytes, place: str, line: int | None, error: Exception, fault: Fault) -> Frame:
    try:
        labels = _loose.decode(data).labels
    except (msgspec.DecodeError, RecursionError):
        # Without its list of labels the image is not a negative: the caller leaves it out.
        raise DataError(f"{place}: {error}") from error
    lights = []
    for position, label in enumerate(labels):
        try:
            lights.append(_light(_label.decode(label)))
        except (msgspec.DecodeError, RecursionError) as reason:
            fault(f"{place}.labels[{position}]: {reason}", line)
    return Frame(lights, frame_attributes(msgspec.json.decode(data)))


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
