"""From COCO's JSON to a dataset's columns."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from tlx.bad_input import distinct, duplicate_action
from tlx.context import Context
from tlx.dataset import PART_ROWS
from tlx.fetched import FetchedImages
from tlx.media import image_header
from tlx.model import AttributeValue, Category, Object, Taxonomy
from tlx.orientation import Ground, ground_of
from tlx.schema import RECORD, attribute_lists, object_array, uncollected
from tlx_plugins.fetching.exports import address_of
from tlx_plugins.formats.coco_annotations import AnnotationTable, plain_id
from tlx_plugins.formats.coco_file import AnnotationFile, CocoCategory, CocoImage, Number
from tlx_plugins.formats.coco_images import (
    SOURCE_ID,
    carried,
    is_int64,
    is_plain,
    other_keys,
    plain_attributes,
)
from tlx_plugins.formats.coco_object import ObjectReader
from tlx_plugins.formats.coco_polygons import Floats, Integers
from tlx_plugins.formats.coco_sections import CocoSections

if TYPE_CHECKING:
    from tlx_plugins.formats.coco import CocoOptions


@dataclass(slots=True)
class Classes:
    """The categories of all files, in the order in which they were met."""

    by_name: dict[str, Category] = field(default_factory=dict)
    other: dict[str, dict[str, Any]] = field(default_factory=dict)

    def taxonomy(self) -> Taxonomy:
        """What was met so far."""
        return Taxonomy(tuple(self.by_name.values()))


@dataclass(slots=True)
class CocoReader:
    """Reads the files of one dataset, one after the other.

    Attributes:
        root: What record origins are relative to.
        media_root: What the uri of a record is relative to.
        files: The annotation files, with the folder of their images below ``media_root``.
        options: The user's choices.
        context: Progress and issues.
        fetching: The images are those that were fetched.
    """

    root: Path
    media_root: Path
    files: list[tuple[AnnotationFile, Path]]
    options: CocoOptions
    context: Context
    fetching: bool = False
    classes: Classes = field(default_factory=Classes)
    seen: set[str] = field(default_factory=set)
    info: dict[str, Any] = field(default_factory=dict)
    licenses: list[Any] = field(default_factory=list)

    def notes(self) -> dict[str, Any]:
        """What the files say of themselves, for a writer of COCO: the first ``info`` counts."""
        whole = {"info": self.info, "licenses": self.licenses, "categories": self.classes.other}
        stated = {key: value for key, value in whole.items() if value}
        return {"coco": stated} if stated else {}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All records: files in sorted order, images in the order of their file."""
        for file, folder in self.files:
            yield from _FileReader(self, file, folder).batches()


class _Row(NamedTuple):
    """An image that is kept: its position in the file and its columns.

    ``attributes`` is None for an image that has none but those of the published files.
    """

    position: int
    uri: str
    width: int | None
    height: int | None
    attributes: dict[str, AttributeValue] | None
    ground: Ground

    @property
    def is_plain(self) -> bool:
        """The labels count the pixels of an image of the stated size."""
        size = (self.width, self.height) if self.width and self.height else None
        return self.ground.orientation == 1 and self.ground.size == size


class _FileReader:
    def __init__(self, reader: CocoReader, file: AnnotationFile, folder: Path) -> None:
        self.reader = reader
        self.split = reader.options.split or file.split
        self.folder = folder
        self.fetched = FetchedImages(folder)
        self.listings: dict[str, frozenset[str]] = {}
        self.origin = file.path.relative_to(reader.root).as_posix()
        self.sections = CocoSections(file.path)
        self.objects = ObjectReader(str(file.path), reader.options, reader.context.issues)

    def batches(self) -> Iterator[pa.RecordBatch]:
        self._learn_categories(self.sections.categories)
        if isinstance(self.sections.info, dict):
            self.reader.info = self.reader.info or self.sections.info
        if isinstance(self.sections.licenses, list):
            met = self.reader.licenses
            met += [entry for entry in self.sections.licenses if entry not in met]
        table = self._table()
        images = self.sections.images
        self.names = pa.array(list(self.reader.classes.by_name), pa.string())
        self.order, self.starts = table.by_image()
        self.crowded = table.crowded()
        self.is_odd = np.zeros(table.count, bool)
        self.is_odd[list(table.odd)] = True
        relative = self.folder.relative_to(self.reader.media_root).as_posix()
        prefix = "" if relative == "." else relative + "/"
        begins = range(0, len(images), PART_ROWS)
        for first in self.reader.context.progress.track(begins, "reading images", len(begins)):
            yield self._batch(table, first, images[first : first + PART_ROWS], prefix)
        self._report_strays(table)

    def _table(self) -> AnnotationTable:
        """All annotations; categories and images are known, no issue is reported yet."""
        try:
            table = self._empty_table()
            with uncollected():
                for piece in self.sections.pieces():
                    table.add(piece)
        except msgspec.DecodeError:
            table = self._empty_table()
            table.add(self.sections.whole())
        return table

    def _empty_table(self) -> AnnotationTable:
        positions = {name: number for number, name in enumerate(self.reader.classes.by_name)}
        classes: dict[int | str, int] = {}
        for key, name in self.objects.names.items():
            classes[plain_id(key)] = positions[name]
        ids = [plain_id(image.id) for image in self.sections.images]
        # Of two images with one id the first counts.
        self.images = dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True))
        return AnnotationTable(self.images, _sizes(self.sections.images), classes)

    def _batch(
        self, table: AnnotationTable, first: int, images: list[CocoImage], prefix: str
    ) -> pa.RecordBatch:
        rows: list[_Row] = []
        things: dict[int, Object | None] = {}
        whole: dict[int, Sequence[Object]] = {}
        for index, image in enumerate(images, start=first):
            row = self._row(image, index, prefix)
            if row is None:
                continue
            rows.append(row)
            numbers = self.order[self.starts[index] : self.starts[index + 1]]
            if not row.is_plain or self.crowded[index]:
                whole[len(rows) - 1] = self._together(table, row, numbers.tolist())
                continue
            for number in numbers[self.is_odd[numbers]].tolist():
                things[number] = self.objects.read(table.odd[number], number, row.ground.size)
        objects, offsets = self._objects(table, rows, things, whole)
        return self._assembled(rows, objects, offsets)

    def _together(self, table: AnnotationTable, row: _Row, numbers: list[int]) -> Sequence[Object]:
        """The objects of an image that need each other, or the image itself, to be settled."""
        made = (self.objects.read(table.entry(n), n, row.ground.size) for n in numbers)
        objects = distinct(
            [thing for thing in made if thing is not None],
            self.reader.options.duplicates,
            lambda thing, action: self._repeated(thing, action, row.position),
        )
        return row.ground.brought_back(objects)

    def _repeated(self, thing: Object, action: str, position: int) -> None:
        message = f"has the annotation {thing.object_id} of {thing.category!r} twice."
        self.objects.report("duplicate-object", message, f"$.images[{position}]", action)

    def _row(self, image: CocoImage, index: int, prefix: str) -> _Row | None:
        report = self.objects.report
        place = f"$.images[{index}]"
        if self.images[plain_id(image.id)] != index:
            message = f"the image id {image.id!r} appears twice; the first one is kept."
            action = duplicate_action(self.reader.options.duplicates, same=False)
            report("duplicate-image-id", message, place, action)
            return None
        uri = self._uri(image, prefix)
        if uri is None:
            report("no-file-name", "has no file_name.", place)
            return None
        if self.reader.fetching and not self._was_fetched(image, uri, place):
            return None
        if uri in self.reader.seen:
            message = f"{uri} is listed twice; the first one is kept, with its annotations."
            action = duplicate_action(self.reader.options.duplicates, same=False)
            report("duplicate-image", message, place, action)
            return None
        self.reader.seen.add(uri)
        attributes: dict[str, AttributeValue] | None = None
        if not is_plain(image):
            attributes = self.objects.attributes(image.attributes, place)
            # The writer keeps the id that an image had before it got a new one.
            attributes.setdefault(SOURCE_ID, image.id if is_int64(image.id) else str(image.id))
            attributes |= carried(other_keys(image))
        width, height = self._side(image.width, place), self._side(image.height, place)
        ground = self._ground(uri, (width, height) if width and height else None, place)
        if ground is None:
            return None
        if ground.orientation != 1 and ground.stored is not None:
            width, height = ground.stored
        return _Row(index, uri, width, height, attributes, ground)

    def _ground(self, uri: str, stated: tuple[int, int] | None, place: str) -> Ground | None:
        """The pixels that the labels of an image count; None leaves the image out."""
        as_stated = Ground(stated, 1, stated)
        if "://" in uri or not self._is_there(uri):
            return as_stated
        header = image_header(self.reader.media_root / uri)
        if header is None or header.orientation == 1:
            return as_stated

        def report(code: str, message: str, action: str, hint: str) -> None:
            self.objects.report(code, message, place, action, hint)

        return ground_of(header, stated, self.reader.options.exif, uri, report)

    def _was_fetched(self, image: CocoImage, uri: str, place: str) -> bool:
        """Whether an image is in the folder that images were fetched into; if not, that is said."""
        if "://" not in uri and (self.reader.media_root / uri).is_file():
            return True
        url = address_of(image)
        why = f"{uri} has no address to be fetched from."
        if url is not None:
            why = self.fetched.failure(url) or f"{url} was not asked for yet."
        hint = "Run it again to ask again, or leave it out: --on-error skip"
        self.objects.report("not-fetched", f"its image is not there: {why}", place, hint=hint)
        return False

    def _is_there(self, uri: str) -> bool:
        """Whether there is such a file; each folder is listed once."""
        folder, _, name = uri.rpartition("/")
        if folder not in self.listings:
            path = self.reader.media_root / folder
            try:
                self.listings[folder] = frozenset(os.listdir(path))  # noqa: PTH208 - names only
            except (OSError, ValueError):
                self.listings[folder] = frozenset()
        return name in self.listings[folder]

    def _objects(
        self,
        table: AnnotationTable,
        rows: list[_Row],
        things: dict[int, Object | None],
        whole: dict[int, Sequence[Object]],
    ) -> tuple[pa.StructArray, Integers]:
        """The objects of some images, and where those of each begin.

        Args:
            table: The annotations.
            rows: The images.
            things: What became of the odd annotations.
            whole: All objects of the images, by their number among these, that were made together.
        """
        positions = np.array([row.position for row in rows], np.int64)
        counts = self.starts[positions + 1] - self.starts[positions]
        begins = np.concatenate(([0], np.cumsum(counts)))
        inner = np.arange(begins[-1]) - np.repeat(begins[:-1], counts)
        numbers = self.order[np.repeat(self.starts[positions], counts) + inner]
        owners = np.repeat(np.arange(len(rows)), counts)
        apart = np.isin(owners, list(whole)) if whole else np.zeros(len(owners), bool)
        odd = self.is_odd[numbers] & ~apart
        plain = np.flatnonzero(~odd & ~apart)
        objects = table.objects(numbers[plain], self.names)
        # Where in the order of all annotations each object made singly belongs.
        made = [(place, things[int(numbers[place])]) for place in np.flatnonzero(odd).tolist()]
        for owner, found in whole.items():
            made += enumerate(found, start=int(begins[owner]))
        kept = [(place, thing) for place, thing in made if thing is not None]
        places = plain
        if kept:
            places = np.concatenate((plain, np.array([place for place, _ in kept])))
            read = object_array([thing for _, thing in kept])
            order = np.argsort(places)
            objects = pa.concat_arrays([objects, read]).take(pa.array(order))
        left = np.bincount(owners[places], minlength=len(rows))
        return objects, np.concatenate(([0], np.cumsum(left)))

    def _assembled(
        self, rows: list[_Row], objects: pa.StructArray, offsets: Integers
    ) -> pa.RecordBatch:
        count = len(rows)
        uris = pa.array([row.uri for row in rows], pa.string())
        lists = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), objects, type=RECORD.field("objects").type
        )
        origin = RECORD.field("origin").type
        columns: dict[str, Any] = {
            "image_id": uris,
            "uri": uris,
            "width": pa.array([row.width for row in rows], pa.int32()),
            "height": pa.array([row.height for row in rows], pa.int32()),
            "split": pa.repeat(pa.scalar(self.split, pa.string()), count),
            "labels": pa.array([[]] * count, RECORD.field("labels").type),
            "objects": lists,
            "attributes": self._attributes(rows),
            "origin": pa.StructArray.from_arrays(
                [pa.repeat(pa.scalar(self.origin), count), pa.nulls(count, pa.int64())],
                fields=list(origin),
            ),
        }
        return pa.RecordBatch.from_arrays(
            [columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in RECORD],
            schema=RECORD,
        )

    def _attributes(self, rows: list[_Row]) -> pa.ListArray:
        images = [self.sections.images[row.position] for row in rows]
        if all(row.attributes is None for row in rows):
            return plain_attributes(images)
        return attribute_lists(
            [
                {SOURCE_ID: int(image.id), **carried(other_keys(image))}
                if row.attributes is None
                else row.attributes
                for row, image in zip(rows, images, strict=True)
            ]
        )

    def _learn_categories(self, categories: list[CocoCategory]) -> None:
        classes = self.reader.classes.by_name
        names = self.objects.names
        report = self.objects.report
        for index, category in enumerate(categories):
            key = str(category.id)
            place = f"$.categories[{index}]"
            if key in names:
                message = f"the category id {category.id!r} appears twice; the first one is kept."
                report("duplicate-category", message, place)
                continue
            repeated = category.name in names.values()
            names[key] = category.name
            if repeated:
                message = f"the name {category.name!r} has several ids; they become one class."
                report("duplicate-category", message, place, "merged")
                continue
            if category.keypoints:
                self.objects.keypoint_names[category.name] = category.keypoints
            number = category.id if is_int64(category.id) else None
            met = Category(
                name=category.name,
                source_id=number,
                supercategory=category.supercategory or None,
            )
            known = classes.setdefault(category.name, met)
            if category.other:
                self.reader.classes.other.setdefault(category.name, category.other)
            if known.source_id != number:
                message = (
                    f"{category.name!r} has the id {number} here and {known.source_id} before."
                )
                report("category-id", message, place, "kept")

    def _report_strays(self, table: AnnotationTable) -> None:
        """Annotations whose image is not in the file, image by image."""
        by_image: dict[str, list[int]] = defaultdict(list)
        for index, image_id in table.strays.items():
            by_image[str(image_id)].append(index)
        for key, indices in by_image.items():
            for index in indices:
                message = f"belongs to the image {key}, which the file does not have."
                self.objects.report("unknown-image", message, f"$.annotations[{index}]")

    def _uri(self, image: CocoImage, prefix: str) -> str | None:
        name = image.file_name or image.coco_url
        if not name or not isinstance(name, str):
            return None
        if "://" in name:
            brought = self.fetched.find(name)
            return name if brought is None else prefix + brought
        if image.coco_url and self.fetched.files and not (self.folder / name).exists():
            brought = self.fetched.find(str(image.coco_url))
            if brought is not None:
                return prefix + brought
        if "\\" in name and not (self.folder / name).exists():
            name = name.replace("\\", "/")
        return prefix + name.removeprefix("./")

    def _side(self, value: Number, place: str) -> int | None:
        if value is None or _is_side(value):
            return None if value is None else int(value)
        message = f"{value} is no width or height of an image; taken as not stated."
        self.objects.report("bad-size", message, place, "changed")
        return None


def _is_side(value: float) -> bool:
    """Whether a number can be the width or height of an image in pixels."""
    return value == int(value) and 0 < value < 2**31


def _sizes(images: list[CocoImage]) -> Floats:
    """Width and height in pixels, both infinite unless both are known; float64 [M, 2]."""
    sizes = np.full((len(images), 2), np.inf)
    for row, image in enumerate(images):
        width, height = image.width, image.height
        if width is not None and height is not None and _is_side(width) and _is_side(height):
            sizes[row] = width, height
    return sizes
