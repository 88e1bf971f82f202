"""Label files of DriveU version 1.0: YAML, a sequence of images at the top level.

Loading this file was slow enough for the data set's authors to change to JSON. Here the lines of
an image are read by hand as long as they have the plain form that the files have (``key: value``
and one ``{x: 1, ...}`` per light); an image that is written in another way goes through PyYAML.
Every scalar is taken as text, so that the digits of an identity stay digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

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

Values = dict[str, Any]


class _OtherForm(Exception):
    """The lines of an image do not have the plain form."""


def index(data: bytes, path: Path, fault: Fault) -> Iterator[Entry]:
    """The frames of a file, in its order.

    Args:
        data: The text of the file in UTF-8.
        path: The file, for messages.
        fault: Told of an image that cannot be read or has no usable path.

    Raises:
        DataError: If the file is no YAML sequence.
    """
    starts = [match.start() for match in _ITEM.finditer(data)]
    if not starts or not _PREAMBLE.match(data[: starts[0]]):
        yield from _index_whole(data, path, fault)
        return
    line = data.count(b"\n", 0, starts[0]) + 1
    for start, stop in zip(starts, [*starts[1:], len(data)], strict=True):
        block = data[start:stop]
        place = f"line {line}"
        values: Values | None
        try:
            values = _head(block)
        except _OtherForm:
            values = _by_library(block, place, fault)
        if values is not None:
            entry = _entry(values, path, place, block, line, fault)
            if entry is not None:
                yield entry
        line += block.count(b"\n")


def _index_whole(data: bytes, path: Path, fault: Fault) -> Iterator[Entry]:
    """Files whose images do not begin at the start of a line: PyYAML reads all at once."""
    images = _load(data, path)
    if not isinstance(images, list):
        raise DataError(
            "is no DriveU label file of version 1.0: its top level is no sequence of images.",
            place=path,
        )
    for position, values in enumerate(images):
        place = f"image {position}"
        if not isinstance(values, dict):
            fault(f"{place} is no mapping")
            continue
        content = repr(values).encode(errors="replace")
        decode = partial(_frame, values, place, None)
        entry = _named(values, path, place, content, decode, fault)
        if entry is not None:
            yield entry


def _entry(
    values: Values, path: Path, place: str, block: bytes, line: int, fault: Fault
) -> Entry | None:
    return _named(values, path, place, block, partial(_decode, block, place, line), fault)


def _named(
    values: Values,
    path: Path,
    place: str,
    content: bytes,
    decode: Callable[[Fault], Frame],
    fault: Fault,
) -> Entry | None:
    image = values.get("path")
    parts = last_parts(image) if isinstance(image, str) else None
    if parts is None:
        fault(f"{place}: {image!r} is no path of an image (City/Route/Sequence/file)")
        return None
    return Entry(parts, number(values.get("time_stamp")), path, place, fingerprint(content), decode)


def _decode(block: bytes, place: str, line: int, fault: Fault) -> Frame:
    try:
        values = read_plain(block)
    except _OtherForm:
        found = _by_library(block, place, fault)
        values = found if found is not None else {}
    return _frame(values, place, line, fault)


def _frame(values: Values, place: str, line: int | None, fault: Fault) -> Frame:
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
            fault(f"{place}, object {position}: {error}")
    return Frame(lights, frame_attributes(values), line)


def _light(values: object) -> Light:
    if not isinstance(values, dict):
        raise ValueError("is no mapping")  # noqa: TRY004 - one kind of fault for the caller
    corners = [number(values.get(name)) for name in ("x", "y", "width", "height")]
    missing = [n for n, v in zip(("x", "y", "width", "height"), corners, strict=True) if v is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} is no number")
    x, y, width, height = (value for value in corners if value is not None)
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


def _by_library(block: bytes, place: str, fault: Fault) -> Values | None:
    try:
        found = _load(block, None)
    except DataError as error:
        fault(f"{place}: {error.message}")
        return None
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        return found[0]
    fault(f"{place}: is no mapping with the keys path and objects")
    return None


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
