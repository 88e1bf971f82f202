"""A large COCO file decoded a piece at a time: first its sections, then runs of annotations.

The file is mapped, not read: what was decoded can leave the memory again.
"""

from __future__ import annotations

import codecs
import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from tlx_plugins.formats.coco_file import (
    CocoAnnotation,
    CocoCategory,
    CocoDocument,
    CocoImage,
    load,
)

PIECE = 1 << 24
"""Bytes of annotations that are decoded at once."""

_BETWEEN = re.compile(rb"\}\s*,(?=\s*\{)")


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


Annotations = Sequence[PlainAnnotation] | Sequence[CocoAnnotation]
Entry = TypeVar("Entry", CocoImage, CocoAnnotation, CocoCategory)

_sections = msgspec.json.Decoder(_Sections)
_plain = msgspec.json.Decoder(list[PlainAnnotation])
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
        images: The entries of ``images``.
        categories: The entries of ``categories``.
        info: What ``info`` says.
        licenses: What ``licenses`` says.

    Raises:
        DataError: Names the line or the place in the document.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.document: CocoDocument | None = None
        try:
            with path.open("rb") as file:
                self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            _require_utf8(self._mapped)
            found = _sections.decode(self._mapped)
            self.images = IMAGES.decode(found.images)
            self.categories = CATEGORIES.decode(found.categories)
        except (OSError, ValueError, msgspec.DecodeError):
            # Whatever is wrong, the decoder of whole files mends it or says where it is.
            self._take_whole()
        else:
            self.info, self.licenses = found.info, found.licenses
            self._annotations = memoryview(found.annotations)
            self._forget()

    def pieces(self) -> Iterator[Annotations]:
        """All annotations in the order of the file, some ten thousand at a time.

        Raises:
            DataError: As soon as one is no annotation.
        """
        if self.document is not None:
            yield self.document.annotations
            return
        data = self._annotations
        if bytes(data[:1]) != b"[" or bytes(data[-1:]) != b"]":
            # Something that is no list.
            self._take_whole()
            return
        start, end = 1, len(data) - 1
        while start < end:
            start, piece = self._piece(data, start, end)
            yield piece
            self._forget()

    def whole(self) -> Annotations:
        """All annotations at once, for a file that turned out to need mending.

        Raises:
            DataError: Names the line or the place in the document.
        """
        return self._take_whole().annotations

    def _piece(self, data: memoryview, start: int, end: int) -> tuple[int, Annotations]:
        """Decode from one annotation on; returns where the next one begins."""
        position = start + PIECE
        while position < end:
            cut = _BETWEEN.search(data, position)
            if cut is None:
                break
            try:
                # Text that is a whole JSON list up to here cannot have been cut inside of a value.
                return cut.end(), _decode(data[start : cut.end() - 1])
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                position = cut.end() + PIECE
        return end, _decode(data[start:end])

    def _take_whole(self) -> CocoDocument:
        self.document, text = load(self.path)
        found = _sections.decode(text)
        self.images, self.categories = self.document.images, self.document.categories
        self.info, self.licenses = found.info, found.licenses
        IMAGES.complete(self.images, found.images)
        CATEGORIES.complete(self.categories, found.categories)
        _general.complete(self.document.annotations, found.annotations)
        return self.document

    def _forget(self) -> None:
        """Let the system take back the pages that were read; they stay in its cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)


def _decode(text: memoryview) -> Annotations:
    whole = b"".join((b"[", text, b"]"))
    try:
        return _plain.decode(whole)
    except msgspec.ValidationError:
        return _general.decode(whole)


def _require_utf8(data: mmap.mmap) -> None:
    """Check all of the text; msgspec looks only at what it decodes.

    Raises:
        UnicodeDecodeError: For any other encoding.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    waiting = False
    for start in range(0, len(data), PIECE):
        piece = data[start : start + PIECE]
        if waiting or not piece.isascii():
            decoder.decode(piece)
            waiting = bool(decoder.getstate()[0])
    decoder.decode(b"", final=True)
