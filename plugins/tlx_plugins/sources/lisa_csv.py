"""The annotation files of the LISA traffic light set: one row per light, fields parted by ``;``.

The header of the published files is ``Filename;Annotation tag;Upper left corner X;Upper left
corner Y;Lower right corner X;Lower right corner Y;Origin file;Origin frame number;Origin
track;Origin track frame number``. The folder in ``Filename`` (``dayTraining/``, ``dayTest/``, ...)
exists nowhere on disk, so only the base name is kept. Whether the lower right corner is inside the
box or one past it is not documented; the numbers are taken as they are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from tlx.bad_input import Duplicates, duplicate_action, duplicate_hint
from tlx.errors import nearest
from tlx.issues import Issue, IssueLog
from tlx.media import IMAGE_SUFFIXES
from tlx.model import AttributeValue

TAGS = ("go", "goForward", "goLeft", "stop", "stopLeft", "warning", "warningLeft")
HEADER = (
    "Filename",
    "Annotation tag",
    "Upper left corner X",
    "Upper left corner Y",
    "Lower right corner X",
    "Lower right corner Y",
    "Origin file",
    "Origin frame number",
    "Origin track",
    "Origin track frame number",
)
_REQUIRED = HEADER[:6]
_SIGN_SET_COLUMN = "occluded,on another road"
_INTEGER = re.compile(r" *-?[0-9]{1,9} *")
_CORNERS = re.compile(";".join(["( *-?[0-9]{1,9} *)"] * 4))


class Row(Struct, frozen=True):
    """One light in one frame, with the corners as they are written.

    Attributes:
        name: Base name of the frame.
        tag: One of `TAGS`.
        corners: xmin, ymin, xmax, ymax in pixels.
        attributes: The kind of box (``box_kind``), and the columns about the video that the
            frame was cut from.
        line: Line in the file, counted from 1.
    """

    name: str
    tag: str
    corners: tuple[int, int, int, int]
    attributes: dict[str, AttributeValue]
    line: int


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the columns are, and what parts them."""

    separator: str
    count: int
    required: tuple[int, ...]
    origin: tuple[tuple[str, int, bool], ...]


class _UnusableFileError(Exception):
    """Nothing can be read from the file; the message says why."""


def read_rows(
    path: Path, name: str, kind: str, issues: IssueLog, duplicates: Duplicates | None = None
) -> list[Row] | None:
    """Read an annotation file.

    Args:
        path: The file.
        name: The file as the user knows it, for messages.
        kind: ``box`` or ``bulb``, for the attribute ``box_kind``.
        issues: Where bad rows and unusable files go.
        duplicates: What happens to a row that is there twice.

    Returns:
        The good rows, in order, an exact repetition only once. None when the file as a whole
        cannot be used, which is not the same as a file without lights.

    Raises:
        DataError: At the first bad row, if the policy says so.
    """
    try:
        lines = _lines(path)
        columns = _header(lines[0], name, issues)
    except _UnusableFileError as error:
        issues.report(
            Issue(
                "bad-file",
                str(error),
                name,
                hint="Take the file from the archive again, or go on without its frames: "
                "--on-error skip",
            )
        )
        return None
    rows = list(_rows(lines, columns, name, kind, issues, duplicates))
    if not rows:
        issues.report(
            Issue("no-rows", "holds no light: all its frames are negatives.", name, action="kept")
        )
    return rows


def _lines(path: Path) -> list[str]:
    """The lines of a file; an empty one at the end is the end of the last line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _UnusableFileError(f"cannot be read: {error.strerror or error}.") from error
    text = _decode(data).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise _UnusableFileError("is empty; even a clip without lights has the header line.")
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _decode(data: bytes) -> str:
    """UTF-8 with or without a mark, UTF-16 with one, else the Windows code page."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif b"\0" in data:
        encodings = []
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise _UnusableFileError("is no text file.")


def _split(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    # Field by field through the csv module, so that a stray quote spoils one line only.
    try:
        return next(csv.reader([line], delimiter=separator), [""])
    except csv.Error:
        return line.split(separator)


def _normal(title: str) -> str:
    return " ".join(title.replace("_", " ").lower().split())


def _header(line: str, name: str, issues: IssueLog) -> _Columns:
    best: tuple[int, str, list[str]] = (-1, ";", [])
    for separator in (";", ",", "\t"):
        titles = [_normal(title) for title in _split(line, separator)]
        found = sum(_normal(title) in titles for title in HEADER)
        if found > best[0]:
            best = (found, separator, titles)
    found, separator, titles = best
    if not found:
        shown = line if len(line) <= 60 else line[:57] + "..."
        raise _UnusableFileError(
            f"has no header: its first line is {shown!r}, not '{';'.join(HEADER[:3])};...'."
        )
    if _SIGN_SET_COLUMN in titles:
        raise _UnusableFileError("belongs to the LISA traffic sign set, which is another dataset.")
    missing = [title for title in _REQUIRED if _normal(title) not in titles]
    if missing:
        listing = ", ".join(repr(title) for title in missing)
        raise _UnusableFileError(f"lacks the column{'s' * (len(missing) > 1)} {listing}.")
    if separator != ";":
        told = {",": "commas", "\t": "tabs"}[separator]
        message = f"is parted by {told} instead of semicolons; read as such."
        issues.report(Issue("separator", message, name, 1, action="kept"))
    known = {_normal(title) for title in HEADER}
    extra = [title for title in titles if title not in known]
    if extra:
        message = f"has columns that are not read: {', '.join(repr(title) for title in extra)}."
        issues.report(Issue("unknown-column", message, name, 1, action="kept"))
    where = {title: position for position, title in reversed(list(enumerate(titles)))}
    return _Columns(
        separator,
        len(titles),
        tuple(where[_normal(title)] for title in _REQUIRED),
        tuple(
            (_normal(title).removesuffix(" number").replace(" ", "_"), where[key], "number" in key)
            for title in HEADER[6:]
            if (key := _normal(title)) in where
        ),
    )


def _rows(
    lines: list[str],
    columns: _Columns,
    name: str,
    kind: str,
    issues: IssueLog,
    duplicates: Duplicates | None,
) -> Iterator[Row]:
    seen: dict[str, int] = {}
    last = len(lines)
    for number, line in enumerate(lines[1:], start=2):
        if not line or line.isspace():
            continue
        if duplicates != "keep" and line in seen:
            message = f"repeats line {seen[line]} word by word; counted once."
            action = duplicate_action(duplicates, same=True)
            hint = duplicate_hint(duplicates)
            issues.report(Issue("duplicate-row", message, name, number, action, hint))
            continue
        seen[line] = number
        parsed = _row(_split(line, columns.separator), columns, kind, number)
        if isinstance(parsed, Row):
            yield parsed
            continue
        code, message = parsed
        if code == "wrong-columns" and number == last:
            message += " The file seems to be cut off here."
        issues.report(Issue(code, message, name, number))


def _row(fields: list[str], columns: _Columns, kind: str, number: int) -> Row | tuple[str, str]:
    """A row, or the code and the message of what is wrong with it."""
    if len(fields) != columns.count:
        return "wrong-columns", f"has {len(fields)} fields where the header has {columns.count}."
    at_file, at_tag, at_xmin, at_ymin, at_xmax, at_ymax = columns.required
    base = fields[at_file].replace("\\", "/").rpartition("/")[2].strip()
    dot = base.rfind(".")
    if dot < 1 or base[dot:].lower() not in IMAGE_SUFFIXES:
        return "bad-name", f"{fields[at_file]!r} is no name of an image."
    tag = fields[at_tag].strip()
    if tag not in TAGS:
        return "unknown-tag", f"the tag {tag!r} is none of the set's. {nearest(tag, TAGS)}"
    corners = f"{fields[at_xmin]};{fields[at_ymin]};{fields[at_xmax]};{fields[at_ymax]}"
    match = _CORNERS.fullmatch(corners)
    if match is None:
        return "bad-corner", f"the corners {corners!r} are not four whole numbers of pixels."
    xmin, ymin, xmax, ymax = map(int, match.groups())
    attributes: dict[str, AttributeValue] = {"box_kind": kind}
    for attribute, position, is_number in columns.origin:
        value = fields[position]
        if not is_number:
            if value:
                attributes[attribute] = value
        elif _INTEGER.fullmatch(value):
            attributes[attribute] = int(value)
        elif value:
            return "bad-origin", f"the {attribute.replace('_', ' ')} is {value!r}, not a number."
    return Row(base, tag, (xmin, ymin, xmax, ymax), attributes, number)
