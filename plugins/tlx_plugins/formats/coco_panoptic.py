"""COCO's panoptic files: one PNG for each image says by its colours which segment a pixel is of.

An annotation of such a file is an image with its segments; the PNGs lie in a folder that is named
like the file, ``panoptic_val2017.json`` and ``panoptic_val2017/``. A pixel belongs to the segment
with the id R + 256 G + 65536 B, and 0 is nobody's (cocodataset.org/#format-data, "Panoptic
Segmentation"; cocodataset/panopticapi, ``utils.rgb2id``). Each segment becomes an annotation with a
run-length encoded mask, as an instances file has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from tlx.errors import DataError, Place
from tlx.folder_walk import has_file
from tlx_plugins.formats.coco_file import (
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    Identifier,
    Number,
    decoded,
    explain,
)
from tlx_plugins.formats.coco_sections import CATEGORIES, IMAGES, Piece
from tlx_plugins.safe_zip import clean_name

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, np.dtype[np.uint32]]

Report = Callable[[str, str, str, str], None]
"""Takes code, message, place in the document and action of an issue."""

_ENDS = 1 << 20
_IMAGES_AT_ONCE = 500
_MAXIMUM_PIXELS = 1 << 28


class Segment(Struct, gc=False):
    """An entry of ``segments_info``."""

    id: int
    category_id: Identifier
    bbox: tuple[Number, ...] | None = None
    area: Number = None
    iscrowd: bool | int | None = None


class SegmentedImage(Struct, gc=False):
    """An entry of ``annotations``: the segments of an image, and the name of its PNG."""

    image_id: Identifier
    segments_info: list[Segment]
    file_name: str | None = None


class _Document(Struct):
    images: Raw
    annotations: list[SegmentedImage]
    categories: Raw = msgspec.field(default_factory=lambda: Raw(b"[]"))
    info: Any = None
    licenses: Any = None


def _entries(decoder: Any, text: Raw, section: str, path: Path) -> Any:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        message, pointer = explain(error)
        inner = (pointer or "$").removeprefix("$")
        raise DataError(
            f"is not COCO as expected: {message}.",
            place=Place(str(path), pointer=f"$.{section}{inner}"),
        ) from error


def is_panoptic(path: Path) -> bool:
    """Whether a COCO file has segments; they show near its start or end."""
    try:
        with path.open("rb") as file:
            # One end after the other: together they would weigh more than a piece of the file.
            if b'"segments_info"' in file.read(_ENDS):
                return True
            file.seek(max(0, file.seek(0, 2) - _ENDS))
            return b'"segments_info"' in file.read()
    except OSError:
        return False


class PanopticSections:
    """One opened file, with the same members as `tlx_plugins.formats.coco_sections.CocoSections`.

    Args:
        path: The file.
        report: Where issues go.

    Raises:
        DataError: Names the line or the place in the document.
    """

    def __init__(self, path: Path, report: Report) -> None:
        self.path = path
        self.report = report
        document = decoded(path, _Document)
        self.images: list[CocoImage] = _entries(IMAGES, document.images, "images", path)
        self.categories: list[CocoCategory] = _entries(
            CATEGORIES, document.categories, "categories", path
        )
        self.info, self.licenses = document.info, document.licenses
        self._sizes = {image.id: (image.width, image.height) for image in self.images}
        self._segmented = document.annotations
        self._folder = self._find_folder()

    def pieces(self) -> Iterator[Piece]:
        """The images, then all segments as annotations, those of some images at a time."""
        if self._folder is None and self._segmented:
            message = (
                f"the masks are not there: no {self._segmented[0].file_name} in "
                f"{self.path.with_suffix('').name}/ or beside the file; segments have only boxes."
            )
            self.report("no-masks", message, "$.annotations", "kept")
        yield "images", self.images
        for first in range(0, len(self._segmented), _IMAGES_AT_ONCE):
            some = self._segmented[first : first + _IMAGES_AT_ONCE]
            yield (
                "annotations",
                [
                    annotation
                    for index, entry in enumerate(some, start=first)
                    for annotation in self._annotations(entry, f"$.annotations[{index}]")
                ],
            )

    def whole(self) -> Iterator[Piece]:
        """The same: the file was decoded as a whole when it was opened."""
        return self.pieces()

    def _find_folder(self) -> Path | None:
        names = [entry.file_name for entry in self._segmented[:20] if entry.file_name]
        for folder in (self.path.with_suffix(""), self.path.parent):
            if any(has_file(folder, name) for name in names if clean_name(name) == name):
                return folder
        return None

    def _annotations(self, entry: SegmentedImage, place: str) -> list[CocoAnnotation]:
        segments = entry.segments_info
        outlines: Sequence[bytes] = [b""] * len(segments)
        if self._folder is not None:
            try:
                outlines = self._masks(self._folder, entry, place)
            except ValueError as error:
                message = f"the masks of {entry.file_name!r} {error}; segments have only boxes."
                self.report("bad-mask", message, place, "changed")
        return [
            CocoAnnotation(
                image_id=entry.image_id,
                category_id=segment.category_id,
                id=segment.id,
                bbox=segment.bbox,
                segmentation=Raw(outline),
                area=segment.area,
                iscrowd=segment.iscrowd,
            )
            for segment, outline in zip(segments, outlines, strict=True)
        ]

    def _masks(self, folder: Path, entry: SegmentedImage, place: str) -> list[bytes]:
        """The mask of each segment as COCO writes it in JSON; nothing for one without pixels.

        Raises:
            ValueError: If the PNG cannot be used; says why.
        """
        import numpy as np
        from pycocotools import mask

        name = clean_name(entry.file_name or "")
        if name is None:
            raise ValueError("have no name that stays in their folder")
        numbers = _segment_numbers(folder / name)
        height, width = numbers.shape
        stated = self._sizes.get(entry.image_id, (None, None))
        if None not in stated and stated != (width, height):
            raise ValueError(f"are {width} x {height} pixels, and the image is not")
        ids = np.array([segment.id for segment in entry.segments_info], np.int64)
        present = np.unique(numbers)
        strangers = np.setdiff1d(present[present > 0], ids)
        if len(strangers):
            message = (
                f"{len(strangers)} segments of {entry.file_name} are not in segments_info, such as "
                f"{strangers[0]}; left out."
            )
            self.report("unknown-segment", message, place, "skipped")
        found = []
        for index, number in enumerate(ids.tolist()):
            if number not in present:
                message = f"the segment {number} has no pixel in {entry.file_name}; it has no mask."
                self.report("no-pixels", message, f"{place}.segments_info[{index}]", "kept")
                found.append(b"")
                continue
            counts = mask.encode(np.asfortranarray(numbers == number, np.uint8))["counts"]
            rle = {"size": (height, width), "counts": counts.decode()}
            found.append(msgspec.json.encode(rle))
        return found


def _segment_numbers(path: Path) -> Pixels:
    """The number of the segment of each pixel, uint32 [height, width].

    Raises:
        ValueError: If the picture cannot be used; says why.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > _MAXIMUM_PIXELS:
                raise ValueError(f"are too large: {image.width} x {image.height} pixels")
            if image.mode not in {"RGB", "RGBA"}:
                raise ValueError(f"are no RGB picture ({image.mode})")
            colors = np.asarray(image)[:, :, :3].astype(np.uint32)
    except FileNotFoundError as error:
        raise ValueError("are not there") from error
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    numbers: Pixels = colors[:, :, 0] + (colors[:, :, 1] << 8) + (colors[:, :, 2] << 16)
    return numbers
