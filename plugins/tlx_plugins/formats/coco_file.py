"""The JSON of COCO (cocodataset.org/#format-data), decoded with types; and finding such files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from tlx.errors import DataError, Place
from tlx.split_names import split_in, usual_split

Identifier = int | str
Number = float | int | None
"""A number; None where the file says NaN or Infinity, which Python writes though JSON forbids."""

Document = TypeVar("Document")

_POINTER = re.compile(r"^(.*?)(?: - at `(\$[^`]*)`)?$", re.DOTALL)
_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_FOLDER_FILE = "_annotations.coco.json"


class CocoImage(Struct, gc=False):
    """An entry of ``images``; ``other`` is filled in with the keys that are not these."""

    id: Identifier
    file_name: str | None = None
    coco_url: Any = None
    width: Number = None
    height: Number = None
    license: Any = None
    flickr_url: Any = None
    date_captured: Any = None
    attributes: dict[str, Any] | None = None
    other: Any = msgspec.field(default=None, name="(other keys)")


class CocoAnnotation(Struct, gc=False):
    """An entry of ``annotations``; the outline stays undecoded until its image's turn."""

    image_id: Identifier
    category_id: Identifier
    id: Identifier | None = None
    bbox: tuple[Number, ...] | None = None
    segmentation: Raw = msgspec.field(default_factory=Raw)
    area: Number = None
    iscrowd: bool | int | None = None
    keypoints: tuple[Number, ...] | None = None
    num_keypoints: Any = None
    attributes: dict[str, Any] | None = None
    other: Any = msgspec.field(default=None, name="(other keys)")


class CocoCategory(Struct):
    """An entry of ``categories``; ``other`` is filled in with the keys that are not these."""

    id: Identifier
    name: str
    supercategory: str | None = None
    keypoints: tuple[str, ...] | None = None
    other: Any = msgspec.field(default=None, name="(other keys)")


class CocoDocument(Struct):
    """The whole file but for the keys that it does not name."""

    images: list[CocoImage]
    categories: list[CocoCategory] = []
    annotations: list[CocoAnnotation] = []


class CocoRle(Struct):
    """A run-length encoded mask; ``counts`` is text where compressed."""

    size: tuple[int, int]
    counts: str | list[int]


_outline_decoder = msgspec.json.Decoder(list[tuple[float, ...]] | CocoRle | None)


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """One JSON file of a dataset.

    Attributes:
        path: The file.
        split: The split that its name or folder says.
    """

    path: Path
    split: str | None


def load(path: Path) -> tuple[CocoDocument, bytes]:
    """Decode a file.

    Returns:
        The document, and the text that it was decoded from: UTF-8, with null for NaN.

    Raises:
        DataError: Names the line or the place in the document.
    """
    data = _utf8(_bytes_of(path), path)
    try:
        return _decode(data, path, CocoDocument), data
    except msgspec.DecodeError:
        # Python's own reader knows NaN, and the line of an error.
        data = _repaired(data, path)
        return _decode(data, path, CocoDocument), data


def _utf8(data: bytes, path: Path) -> bytes:
    """The text as UTF-8, which JSON has to be; a byte order mark tells of UTF-16.

    Raises:
        DataError: For any other encoding: a guess would change names in silence.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16").encode()
        except UnicodeError as error:
            raise DataError(f"is not UTF-16 text: {error}.", place=path) from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            "is not JSON text: it is not in UTF-8.",
            place=Place(str(path), line=line),
            hint=f"Bring it to UTF-8, as by: iconv -f latin1 -t utf-8 {path.name}",
        ) from error
    return data


def decoded(path: Path, kind: type[Document]) -> Document:
    """Decode a file as another kind of document (`load`).

    Raises:
        DataError: Names the line or the place in the document.
    """
    data = _utf8(_bytes_of(path), path)
    try:
        return _decode(data, path, kind)
    except msgspec.DecodeError:
        return _decode(_repaired(data, path), path, kind)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}.", place=path) from error


def _decode(data: bytes, path: Path, kind: type[Document]) -> Document:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        message, pointer = explain(error)
        raise DataError(
            f"is not COCO as expected: {message}.",
            place=Place(str(path), pointer=pointer),
            hint=_hint(data),
        ) from error


def _hint(data: bytes) -> str | None:
    if data.lstrip().startswith(b"[") and b'"score"' in data[:4096]:
        return "This is a list of results (predictions), not of labels."
    return None


def _repaired(data: bytes, path: Path) -> bytes:
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=lambda _: None)
        return msgspec.json.encode(value)
    except json.JSONDecodeError as error:
        place = Place(str(path), line=error.lineno)
        hint = "The file is cut off or was edited by hand; take it from its source again."
        raise DataError(f"is not JSON: {error.msg}.", place=place, hint=hint) from error
    except (ValueError, RecursionError) as error:
        # Bytes that are no UTF-8, half a surrogate pair, numbers or nesting beyond all measure.
        raise DataError(f"is not JSON text: {error}.", place=path) from error


def explain(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """Part the text of a validation error from the place that it names."""
    match = _POINTER.match(str(error))
    return (match[1], match[2]) if match else (str(error), None)


def decode_outline(raw: Raw) -> list[tuple[float, ...]] | CocoRle | None:
    """Decode ``segmentation``: polygons, a run-length encoded mask, or nothing.

    Raises:
        msgspec.ValidationError: If it is something else.
    """
    data = bytes(raw)
    return _outline_decoder.decode(data) if data else None


def looks_like_coco(path: Path) -> bool:
    """Whether a JSON file names two of COCO's three sections near its start or end."""
    try:
        with path.open("rb") as file:
            text = file.read(65536)
            size = file.seek(0, 2)
            file.seek(max(0, size - 65536))
            text += file.read()
    except OSError:
        return False
    return sum(key in text for key in _KEYS) >= 2


def find_files(root: Path, annotations: str | None) -> tuple[list[AnnotationFile], list[Path]]:
    """The annotation files below a folder, and those that were passed over.

    Looked for, in this order: ``annotations/*.json``, ``_annotations.coco.json`` in the folder and
    in each folder below it, ``*.json``. Where some are named ``instances*``, the others beside them
    (captions, keypoints and panoptic files of the same images) are passed over.
    """
    if root.is_file():
        return [AnnotationFile(root, split_of(root))], []
    if annotations is not None:
        chosen = root / annotations
        return ([AnnotationFile(chosen, split_of(chosen))] if chosen.is_file() else []), []
    for group in _candidates(root):
        files = [path for path in group if path.is_file() and looks_like_coco(path)]
        if not files:
            continue
        instances = [path for path in files if path.name.lower().startswith("instances")]
        taken = instances or files
        passed = [path for path in files if path not in taken]
        return [AnnotationFile(path, split_of(path)) for path in taken], passed
    return [], []


def _candidates(root: Path) -> Iterator[list[Path]]:
    yield sorted((root / "annotations").glob("*.json"))
    yield sorted([root / _FOLDER_FILE, *root.glob(f"*/{_FOLDER_FILE}")])
    yield sorted(root.glob("*.json"))


def split_of(path: Path) -> str | None:
    """The split that a file's name says: ``instances_val2017.json`` or ``valid/_annotations...``.

    The usual words for the three splits become ``train``, ``val`` and ``test``, with a year or
    without; after ``instances_`` any other word stands for itself.
    """
    if path.name == _FOLDER_FILE:
        return usual_split(path.parent.name)
    stem = path.name.removesuffix(".json")
    if stem.startswith("instances_"):
        rest = stem.removeprefix("instances_")
        return usual_split(rest) or unquote(rest) or None
    return split_in(stem)
