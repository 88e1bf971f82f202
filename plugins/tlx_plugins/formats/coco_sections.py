"""A large COCO file decoded a piece at a time, whatever the order of its sections.

The file is mapped, not read: what was decoded leaves the memory again. A piece ends between two
entries; that it does is proved by its being a whole JSON list, or counted bracket by bracket.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Raw, Struct

from tlx_plugins.formats.coco_file import (
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    load,
)

PIECE = 1 << 22
"""Bytes of a section that are decoded at once, at most."""

_LEAST, _SHARE = 1 << 16, 64
"""Bytes that are worth a piece; and the part of a file that is never more than one."""

_MOST_OTHER = 1 << 22
"""Bytes of a section that is none of COCO's; to step over more, the file is taken whole."""

_BETWEEN = re.compile(rb"\}\s*,(?=\s*\{)")
_BEGIN = re.compile(rb"\s*\{")
_KEY = re.compile(rb'\s*"([^"\\\x00-\x1f]*)"\s*:\s*')
_NEXT = re.compile(rb"\s*([,}])")
_SPACE = re.compile(rb"\s*")
_EMPTY = re.compile(rb"\s*\]")
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]+")
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

_QUOTE, _COMMA = b'",'


class Irregular(ValueError):
    """A file whose sections this module does not find; as a whole it may be fine."""


class BoxAnnotation(Struct, gc=False, forbid_unknown_fields=True):
    """An entry of ``annotations`` of nothing but a box: everything is there and a number."""

    image_id: int
    category_id: int
    id: int
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: int


class PlainAnnotation(Struct, gc=False, forbid_unknown_fields=True):
    """An entry of ``annotations`` as nearly all are; decoded in half of the time of the others."""

    image_id: int
    category_id: int
    id: int
    bbox: tuple[float, float, float, float]
    segmentation: Raw = msgspec.field(default_factory=Raw)
    area: float | None = None
    iscrowd: int | None = None
    keypoints: None = None
    num_keypoints: None = None
    attributes: None = None


class _KnownAnnotation(CocoAnnotation, forbid_unknown_fields=True):
    pass


class _KnownImage(CocoImage, forbid_unknown_fields=True):
    pass


class _KnownCategory(CocoCategory, forbid_unknown_fields=True):
    pass


class _Sections(Struct):
    images: Raw
    categories: Raw = msgspec.field(default_factory=lambda: Raw(b"[]"))
    annotations: Raw = msgspec.field(default_factory=lambda: Raw(b"[]"))
    info: Any = None
    licenses: Any = None


Annotations = Sequence[BoxAnnotation] | Sequence[PlainAnnotation] | Sequence[CocoAnnotation]
Piece = tuple[Literal["images"], list[CocoImage]] | tuple[Literal["annotations"], Annotations]
Entry = TypeVar("Entry", CocoImage, CocoAnnotation, CocoCategory)

_sections = msgspec.json.Decoder(_Sections)
_boxes = msgspec.json.Decoder(list[BoxAnnotation])
_plain = msgspec.json.Decoder(list[PlainAnnotation])
_raw = msgspec.json.Decoder(Raw)
_dicts = msgspec.json.Decoder(list[dict[str, Any]])


class _Decoder(Generic[Entry]):
    """Decodes a list of entries, with the keys that their type does not have in ``other``."""

    def __init__(self, kind: type[Entry], known: type[Entry]) -> None:
        self.known = msgspec.json.Decoder(list[known])  # type: ignore[valid-type]
        self.general = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        self.names = frozenset(field.encode_name for field in msgspec.structs.fields(kind))

    def decode(self, text: Any) -> list[Entry]:
        try:
            return self.known.decode(text)
        except msgspec.ValidationError:
            entries: list[Entry] = self.general.decode(text)
            self.complete(entries, text)
            return entries

    def complete(self, entries: Sequence[Entry], text: Any) -> None:
        """Fill in ``other``."""
        for entry, values in zip(entries, _dicts.decode(text), strict=True):
            entry.other = {k: v for k, v in values.items() if k not in self.names} or None


IMAGES = _Decoder(CocoImage, _KnownImage)
CATEGORIES = _Decoder(CocoCategory, _KnownCategory)
_general = _Decoder(CocoAnnotation, _KnownAnnotation)


class CocoSections:
    """One opened file.

    Args:
        path: The file.

    Attributes:
        categories: The entries of ``categories``, once all pieces were taken.
        info: What ``info`` says, likewise.
        licenses: What ``licenses`` says, likewise.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.categories: list[CocoCategory] = []
        self.info: Any = None
        self.licenses: Any = None

    def pieces(self) -> Iterator[Piece]:
        """The images and annotations in the order of the file, some thousand at a time.

        Raises:
            OSError, ValueError, msgspec.DecodeError: If anything is odd, a defect or only rare.
                What was taken is worth nothing then; `whole` mends it or says where it is.
        """
        with self.path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        size = max(1, min(PIECE, max(_LEAST, len(data) // _SHARE)))
        met: set[bytes] = set()
        position = _found(_BEGIN, data, 0).end()
        while True:
            match = _found(_KEY, data, position)
            key, position = match[1], match.end()
            if key in met:
                raise Irregular
            _require_utf8(key)
            met.add(key)
            if key == b"images":
                position = yield from _entries(data, position, size, "images", IMAGES.decode)
            elif key == b"annotations":
                position = yield from _entries(data, position, size, "annotations", _decode)
            else:
                end = _end_of_value(data, position)
                self._take(key, data[position:end])
                position = end
            match = _found(_NEXT, data, position)
            position = match.end()
            if match[1] == b"}":
                break
        if b"images" not in met or _found(_SPACE, data, position).end() != len(data):
            raise Irregular

    def _take(self, key: bytes, text: bytes) -> None:
        _require_utf8(text)
        if key == b"categories":
            self.categories = CATEGORIES.decode(text)
        elif key == b"info":
            self.info = msgspec.json.decode(text)
        elif key == b"licenses":
            self.licenses = msgspec.json.decode(text)
        else:
            _raw.decode(text)

    def whole(self) -> Iterator[Piece]:
        """All images, and all annotations, at once, for a file that may need mending.

        Raises:
            DataError: Names the line or the place in the document.
        """
        document, text = load(self.path)
        found = _sections.decode(text)
        self.categories = document.categories
        self.info, self.licenses = found.info, found.licenses
        IMAGES.complete(document.images, found.images)
        CATEGORIES.complete(document.categories, found.categories)
        _general.complete(document.annotations, found.annotations)
        yield "images", document.images
        yield "annotations", document.annotations


def _found(pattern: re.Pattern[bytes], data: mmap.mmap, position: int) -> re.Match[bytes]:
    match = pattern.match(data, position)
    if match is None:
        raise Irregular
    return match


def _entries(
    data: mmap.mmap,
    position: int,
    size: int,
    kind: Literal["images", "annotations"],
    decode: Callable[[bytes], Any],
) -> Generator[Piece, None, int]:
    """The entries of a list in runs of some ``size`` bytes; returns where the list has ended."""
    if data[position : position + 1] != b"[":
        raise Irregular
    start = position + 1
    empty = _EMPTY.match(data, start)
    if empty is not None:
        return empty.end()
    while True:
        cut = _BETWEEN.search(data, start + size, start + 2 * size + 4096)
        if cut is not None:
            text = data[start : cut.start() + 1]
            try:
                # Text that is a whole JSON list up to here cannot have been cut inside of a value.
                found = decode(b"".join((b"[", text, b"]")))
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                pass
            else:
                _require_utf8(text)
                yield kind, found  # type: ignore[misc]
                start = cut.end()
                _forget(data)
                continue
        text, after, ended = _counted(data, start, size)
        _require_utf8(text)
        yield kind, decode(b"".join((b"[", text, b"]")))  # type: ignore[misc]
        start = after
        _forget(data)
        if ended:
            return start


def _counted(data: mmap.mmap, start: int, size: int) -> tuple[bytes, int, bool]:
    """A run of entries of the list that goes on at ``start``, by counting its brackets.

    Returns:
        The text of the entries, where what follows it begins, and whether that is the end of the
        list.
    """
    while True:
        text = data[start : start + size]
        plain = _ESCAPED.sub(b"__", text) if b"\\" in text else text
        letters = np.frombuffer(plain, np.uint8)
        outside = np.cumsum(letters == _QUOTE) % 2 == 0
        steps = ((letters == ord("[")) | (letters == ord("{"))).astype(np.int8)
        steps -= (letters == ord("]")) | (letters == ord("}"))
        depth = np.cumsum(steps * outside, dtype=np.int32)
        ends = np.flatnonzero(depth < 0)
        if len(ends):
            end = int(ends[0])
            if not text[:end].strip():
                # A comma before the end.
                raise Irregular
            return text[:end], start + end + 1, True
        cuts = np.flatnonzero((letters == _COMMA) & outside & (depth == 0))
        if len(cuts):
            cut = int(cuts[-1])
            return text[:cut], start + cut + 1, False
        if start + size >= len(data):
            raise Irregular
        size *= 2


def _end_of_value(data: mmap.mmap, start: int) -> int:
    """Where a value that is no long one ends."""
    if data[start : start + 1] not in (b"[", b"{", b'"'):
        return _found(_SCALAR, data, start).end()
    depth = 0
    for token in _TOKENS.finditer(data, start, start + _MOST_OTHER):
        first = token[0][:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth == 0:
            return token.end()
    raise Irregular


def _forget(data: mmap.mmap) -> None:
    """Let the system take back the pages that were read; they stay in its cache."""
    if hasattr(mmap, "MADV_DONTNEED"):
        data.madvise(mmap.MADV_DONTNEED)


def _decode(text: bytes) -> Annotations:
    for decoder in (_boxes, _plain):
        try:
            found: Annotations = decoder.decode(text)
        except msgspec.ValidationError:
            continue
        return found
    return _general.decode(text)


def _require_utf8(text: bytes) -> None:
    """Check all of the text; msgspec looks only at what it decodes.

    Raises:
        UnicodeDecodeError: For any other encoding.
    """
    if not text.isascii():
        text.decode()
