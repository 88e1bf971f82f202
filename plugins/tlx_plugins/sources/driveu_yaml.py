"""Label files of DriveU version 1.0: YAML, a sequence of images at the top level.

Loading this file was slow enough for the data set's authors to change to JSON. Here the lines of
an image are read by hand as long as they have the plain form that the files have (``key: value``
and one ``{x: 1, ...}`` per light); an image that is written in another way goes through PyYAML.
Every scalar is taken as text, so that the digits of an identity stay digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

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
    number,
)
from tlx_plugins.sources.driveu_identity import from_digits

_ITEM = re.compile(rb"^-[ \t]", re.MULTILINE)
_PREAMBLE = re.compile(rb"(?:\s|#[^\n]*(?:\n|$)|%YAML[^\n]*\n|---[ \t]*(?:\r?\n|$))*\Z")
_HEAD_FIELD = re.compile(rb"^(?:- |  )(?:path|time_stamp):[^\r\n]*", re.MULTILINE)
_FIELD = re.compile(r"(?:- |  )\s*(\w+):(?: +(.*))?")
# A plain scalar that no YAML reader takes for anything but the text as it stands.
_PLAIN = re.compile(r"[\w./\\+-](?:[\w ./\\+-]|:(?! |$))*")
_SCALAR = r"(?:[\w.+-]+|'[\w.+-]*'|\"[\w.+-]*\")"
_FLOW = re.compile(rf"\s*- *\{{\s*(\w+: +{_SCALAR}\s*(?:,\s*\w+: +{_SCALAR}\s*)*)\}}\s*")
_FLOW_FIELD = re.compile(rf"(\w+): +({_SCALAR})")
_DEPTH = 16
_SIDES = ("x", "y", "width", "height")

# The form in which all images of the data set are written, of which nothing needs a second look.
_USUAL_LINE = r"\w+: +[\w./+-]+\r?\n"
_USUAL_LIGHT = r" *- \{\w+: [\w.+-]+(?:,\s+\w+: [\w.+-]+)*\}\r?\n"
_USUAL = re.compile(
    rf"- (?:{_USUAL_LINE}(?:  {_USUAL_LINE})*  )?"
    rf"objects:(?: +\[\]\r?\n|\r?\n(?:{_USUAL_LIGHT})+)(?:  {_USUAL_LINE})*\s*",
    re.ASCII,
)
_USUAL_FIELD = re.compile(r"^(?:- |  )(\w+): +([\w./+-]+)", re.ASCII | re.MULTILINE)
_BRACES = re.compile(r"\{([^}]*)\}")
_PAIR = re.compile(r"(\w+): ([\w.+-]+)", re.ASCII)

Values = dict[str, Any]


class _OtherForm(Exception):
    """The lines of an image do not have the plain form."""


def blocks(file: IO[bytes]) -> Iterator[Block]:
    """The images of a file one after the other, a few megabytes at a time.

    Raises:
        Unusual: If the images do not begin at the start of a line.
    """
    window = file.read(WINDOW).removeprefix(b"\xef\xbb\xbf")
    offset = file.tell() - len(window)
    starts = [match.start() for match in _ITEM.finditer(window)]
    if not starts or not _PREAMBLE.match(window[: starts[0]]):
        raise Unusual
    line = 1 + window.count(b"\n", 0, starts[0])
    while True:
        more = file.read(WINDOW)
        stops = starts[1:] if more else [*starts[1:], len(window)]
        for start, stop in zip(starts, stops, strict=False):
            data = window[start:stop]
            yield Block(data, offset + start, line)
            line += data.count(b"\n")
        if not more:
            return
        if len(window) - starts[-1] > LONGEST_BLOCK:
            raise Unusual
        # An item may begin in the last bytes of a window, so the last one is looked at again.
        offset += starts[-1]
        window = window[starts[-1] :] + more
        starts = [match.start() for match in _ITEM.finditer(window)]


def head(data: bytes) -> Head:
    """Path and time stamp of an image; its lights are passed over.

    Raises:
        ValueError: If the block is no image; says why.
    """
    try:
        values = _head(data)
    except _OtherForm:
        values = _by_library(data)
    return Head(values.get("path"), values.get("time_stamp"))


def whole(data: bytes, path: Path) -> Iterator[tuple[str, bytes]]:
    """The place and the values, packed, of each image of a file that is read as a whole.

    Raises:
        DataError: If the file is no YAML sequence.
    """
    images = _load(data, path)
    if not isinstance(images, list):
        raise DataError(
            "is no DriveU label file of version 1.0: its top level is no sequence of images.",
            place=path,
        )
    for position, values in enumerate(images):
        yield f"image {position}", msgspec.msgpack.encode(values)


def packed_head(data: bytes) -> Head:
    """Path and time stamp of an image whose values are packed.

    Raises:
        ValueError: If it is no mapping.
    """
    values = msgspec.msgpack.decode(data)
    if not isinstance(values, dict):
        raise ValueError("is no mapping")  # noqa: TRY004 - one kind of fault for the caller
    return Head(values.get("path"), values.get("time_stamp"))


def place(position: int, line: int) -> str:
    """Where an image is, in words."""
    del position
    return f"line {line}"


def frame(data: bytes, place: str, line: int | None, fault: Fault, *, is_text: bool) -> Frame:
    """The frame of an image; a light that cannot be used costs itself only.

    Args:
        data: Its text, or its values packed.
        place: Where it is, in words.
        line: Its first line.
        fault: Told of a light that cannot be used.
        is_text: Which of the two ``data`` is.

    Raises:
        DataError: If the image has no list of objects.
    """
    try:
        values = _values(data) if is_text else msgspec.msgpack.decode(data)
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    objects = values.get("objects")
    if objects in ("", "~", "null"):
        objects = []
    if not isinstance(objects, list):
        # Without its list the image is not a negative: the caller leaves it out.
        raise DataError(f"{place}: has no list of objects")
    lights = []
    for position, values_of_light in enumerate(objects):
        try:
            lights.append(_light(values_of_light))
        except ValueError as error:
            fault(f"{place}, object {position}: {error}", line)
    return Frame(lights, frame_attributes(values))


def _values(data: bytes) -> Values:
    usual = read_usual(data)
    if usual is not None:
        return usual
    try:
        return read_plain(data)
    except _OtherForm:
        return _by_library(data)


def _light(values: object) -> Light:
    if not isinstance(values, dict):
        raise ValueError("is no mapping")  # noqa: TRY004 - one kind of fault for the caller
    corners = [number(values.get(name)) for name in _SIDES]
    x, y, width, height = corners
    if x is None or y is None or width is None or height is None:
        missing = [name for name, value in zip(_SIDES, corners, strict=True) if value is None]
        raise ValueError(f"{', '.join(missing)} is no number")
    identity = values.get("class_id")
    stated: Mapping[str, AttributeValue] = from_digits(identity if _is_text(identity) else "")
    unique, track = values.get("unique_id"), values.get("track_id")
    return Light(
        x,
        y,
        width,
        height,
        stated,
        unique if _is_text(unique) else None,
        track if _is_text(track) else None,
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _head(block: bytes) -> Values:
    """Only what the index needs; the lights are passed over."""
    values: Values = {}
    for raw in _HEAD_FIELD.findall(block):
        values.update(_field(_text(raw)))
    if "path" not in values:
        raise _OtherForm
    return values


def read_usual(block: bytes) -> Values | None:
    """The fields of one image in the form that the data set has; None for any other."""
    if not block.isascii():
        return None
    text = block.decode("ascii")
    if not _USUAL.fullmatch(text):
        return None
    pairs = _USUAL_FIELD.findall(text)
    values: Values = dict(pairs)
    lights = []
    for inside in _BRACES.findall(text):
        light = dict(_PAIR.findall(inside))
        if len(light) != inside.count(":"):
            return None
        lights.append(light)
    if len(values) != len(pairs) or "objects" in values:
        return None
    values["objects"] = lights
    return values


def read_plain(block: bytes) -> Values:
    """The fields of one image in the plain form; ``objects`` is a list of mappings of text.

    Raises:
        _OtherForm: If any line is written in another way.
    """
    values: Values = {}
    objects: list[dict[str, str]] = []
    lines = iter(_text(block).splitlines())
    for first in lines:
        line = first
        if not line.strip():
            continue
        if "{" in line:
            while "}" not in line:  # PyYAML breaks lines at 80 columns.
                line += " " + next(lines, "}{").strip()
            if values.get("objects") is not objects:
                raise _OtherForm
            objects.append(_flow(line))
            continue
        field = _field(line)
        name, value = next(iter(field.items()))
        if name in values:
            raise _OtherForm
        if name == "objects":
            if value not in ("", "[]"):
                raise _OtherForm
            values[name] = objects
        else:
            values[name] = value
    if not isinstance(values.get("objects"), list):
        raise _OtherForm
    return values


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _OtherForm from error


def _field(line: str) -> dict[str, str]:
    match = _FIELD.fullmatch(line.rstrip())
    if match is None:
        raise _OtherForm
    name, value = match[1], (match[2] or "").strip()
    if value in ("", "[]") and name == "objects":
        return {name: value}
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
        if "\\" in value or "'" in value or '"' in value:
            raise _OtherForm
        return {name: value}
    if not _PLAIN.fullmatch(value):
        raise _OtherForm
    return {name: value}


def _flow(line: str) -> dict[str, str]:
    match = _FLOW.fullmatch(line)
    if match is None:
        raise _OtherForm
    pairs = _FLOW_FIELD.findall(match[1])
    values: dict[str, str] = dict(pairs)
    if len(values) != len(pairs):
        raise _OtherForm
    if "'" in line or '"' in line:
        return {name: value.strip("'\"") for name, value in pairs}
    return values


def _by_library(block: bytes) -> Values:
    try:
        found = _load(block, None)
    except DataError as error:
        raise ValueError(error.message.rstrip(".")) from error
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        return found[0]
    raise ValueError("is no mapping with the keys path and objects")


def _load(data: bytes, path: Path | None) -> Any:
    """YAML by PyYAML's events, with the C parser where it is there; every scalar stays text."""
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        return _build(yaml.parse(data, Loader=loader), path)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark and path is not None else None
        place = None if path is None else Place(str(path), line)
        raise DataError(f"is not YAML: {error.problem or error}.", place=place) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"is not YAML: {first}.", place=path) from error


def _build(events: Iterator[Any], path: Path | None) -> Any:
    """Lists and mappings of text from events.

    PyYAML's own composer calls itself for every level, and with the C parser ends the process on
    a file that is nothing but brackets.
    """
    import yaml

    documents: list[Any] = []
    stack: list[list[Any]] = [documents]
    for event in events:
        if isinstance(event, yaml.ScalarEvent):
            stack[-1].append(event.value)
        elif isinstance(event, yaml.AliasEvent):
            raise DataError("uses a YAML alias, which no label file has.", place=path)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            if len(stack) > _DEPTH:
                raise DataError(f"is nested deeper than {_DEPTH} levels.", place=path)
            stack.append([])
        elif isinstance(event, yaml.SequenceEndEvent):
            values = stack.pop()
            stack[-1].append(values)
        elif isinstance(event, yaml.MappingEndEvent):
            pairs = stack.pop()
            if not all(isinstance(key, str) for key in pairs[::2]):
                raise DataError("has a key that is no text.", place=path)
            stack[-1].append(dict(zip(pairs[::2], pairs[1::2], strict=True)))
    if len(documents) != 1:
        raise DataError(f"holds {len(documents)} YAML documents, not one.", place=path)
    return documents[0]
