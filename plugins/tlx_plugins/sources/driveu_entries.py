"""The frames of a DriveU label file as plain values.

A file is first indexed (`tlx_plugins.sources.driveu_file`): an `Entry` knows the path and the time
of its frame and where its text lies; the lights of it are decoded when the frame's turn in the
sorted order has come, so that a file never stands in memory as a whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tlx.model import AttributeValue

Fault = Callable[[str, int | None], None]
"""Takes a sentence about an image or a light that cannot be used, and its line."""

WINDOW = 4 << 20
"""Bytes of a label file that are read at a time."""
LONGEST_BLOCK = 64 << 20
"""Bytes that one image may have before the file is taken for another kind."""

_NUMERIC = frozenset({int, float, str})
_DRIVE = re.compile(r"[A-Za-z]:")


class Light(NamedTuple):
    """One light: x, y of the top left corner, width and height in pixels, and what is said."""

    x: float
    y: float
    width: float
    height: float
    attributes: Mapping[str, AttributeValue]
    unique_id: str | None
    track_id: str | None


class Frame(NamedTuple):
    """One image: its lights, and what is said of it."""

    lights: list[Light]
    attributes: dict[str, AttributeValue]


class Block(NamedTuple):
    """The text of one image in a label file.

    Attributes:
        data: In UTF-8.
        start: Bytes before it in the file.
        line: Its first line, counted from 1.
    """

    data: bytes
    start: int
    line: int


class Head(NamedTuple):
    """What is needed to sort an image: its path and time stamp as the file states them."""

    path: object
    time: object


class Unusual(Exception):
    """A label file is not laid out so that its images can be told apart block by block."""


class Entry(NamedTuple):
    """One frame of a label file that is not decoded yet.

    Attributes:
        parts: City, route, sequence and file name.
        time: The time stamp, if it is a number.
        file: The number of the label file.
        place: Where in the file, in words.
        line: The first line of its text, if it is known.
        start: Where its text begins in the file, in bytes.
        stop: Where its text ends.
        content: The text itself, where it cannot be read again from the file.
    """

    parts: tuple[str, ...]
    time: float | None
    file: int
    place: str
    line: int | None
    start: int = 0
    stop: int = 0
    content: bytes | None = None

    @property
    def group(self) -> str:
        """City/Route/Sequence: the frames of one intersection."""
        return "/".join(self.parts[:-1])

    @property
    def stem(self) -> str:
        """The file name without its ending, which users replace."""
        return self.parts[-1].rpartition(".")[0] or self.parts[-1]

    @property
    def key(self) -> str:
        """What makes a frame the same in every label file."""
        return f"{self.group}/{self.stem}"


def last_parts(path: str) -> tuple[str, ...] | None:
    """The last four components of an image path, whose beginning is of the author's machine.

    Returns:
        City, route, sequence and file; None for a path that names no file in a folder, leads
        upwards, or is no text that a file may be named by.
    """
    found = tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
    parts = tuple(part for part in found[-4:] if not _DRIVE.fullmatch(part))
    if len(parts) < 2 or ".." in parts or any("\0" in part for part in parts):
        return None
    try:
        path.encode()
    except UnicodeEncodeError:
        return None
    return parts


def number(value: object) -> float | None:
    """A finite number from a number or its text, None from anything else."""
    if type(value) not in _NUMERIC:
        return None
    try:
        result = float(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def frame_attributes(values: Mapping[str, object]) -> dict[str, AttributeValue]:
    """Velocity (m/s), yaw rate (rad/s), position (degrees), time stamp and disparity path.

    Measurements are numbers; one that is none is kept as text.
    """
    found: dict[str, AttributeValue] = {}
    for name in ("velocity", "yaw_rate", "longitude", "latitude", "time_stamp"):
        value = values.get(name)
        if value is None or value == "":
            continue
        measured = number(value)
        found[name] = str(value) if measured is None else measured
    disparity = values.get("disparity_image_path", values.get("disp_path"))
    if isinstance(disparity, str) and disparity:
        parts = last_parts(disparity)
        found["disparity_path"] = disparity if parts is None else "/".join(parts)
    return found


def text_of(data: bytes) -> tuple[bytes, str | None]:
    """The bytes of a label file as UTF-8.

    Returns:
        The text, and the encoding that it was in if not UTF-8.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:], None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace").encode(), "UTF-16"
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace").encode(), "cp1252"
    return data, None
