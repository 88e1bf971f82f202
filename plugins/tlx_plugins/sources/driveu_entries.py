"""The frames of a DriveU label file as plain values, decoded one by one.

A file is first indexed (`tlx_plugins.sources.driveu_json`, `tlx_plugins.sources.driveu_yaml`): an
`Entry` knows the path and the time of its frame and where its text lies; `Entry.decode` makes the
lights of it when the frame's turn in the sorted order has come, so that a file of the full size
never stands in memory as objects.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tlx.model import AttributeValue

Fault = Callable[[str], None]
"""Takes a sentence about a light or a value that cannot be used."""

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
    line: int | None = None


class Entry(NamedTuple):
    """One frame of a label file that is not decoded yet.

    Attributes:
        parts: City, route, sequence and file name.
        time: The time stamp, if it is a number.
        file: The label file.
        place: Where in the file, in words.
        content: What identifies the content, to tell a repetition from a contradiction.
        decode: Makes the frame; takes what reports a fault.
    """

    parts: tuple[str, ...]
    time: float | None
    file: Path
    place: str
    content: bytes
    decode: Callable[[Fault], Frame]

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


def fingerprint(content: bytes | memoryview) -> bytes:
    """What stands for the text of a frame, in 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


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
