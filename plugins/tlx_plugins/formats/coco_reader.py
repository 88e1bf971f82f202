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
import pyarrow.compute as pc

from tlx.bad_input import distinct, duplicate_action
from tlx.context import Context
from tlx.dataset import PART_ROWS
from tlx.fetched import FetchedImages
from tlx.folder_walk import has_file
from tlx.media import image_header
from tlx.model import AttributeValue, Category, Object, Taxonomy
from tlx.orientation import Ground, ground_of
from tlx.schema import RECORD, attribute_lists, object_array, uncollected
from tlx_plugins.fetching.exports import address_of
from tlx_plugins.formats.coco_annotations import AnnotationTable
from tlx_plugins.formats.coco_file import AnnotationFile, CocoCategory, CocoImage, Number
from tlx_plugins.formats.coco_images import (
    SOURCE_ID,
    ImageTable,
    carried,
    is_int64,
    is_side,
    other_keys,
)
from tlx_plugins.formats.coco_object import ObjectReader
from tlx_plugins.formats.coco_panoptic import PanopticSections, is_panoptic
from tlx_plugins.formats.coco_polygons import Integers
from tlx_plugins.formats.coco_positions import Positions, plain_id
from tlx_plugins.formats.coco_sections import CocoSections, Piece

if TYPE_CHECKING:
    from tlx_plugins.formats.coco import CocoOptions

_ODD_NAME = r"\\|://|^\./"
"""A name of a file that is not taken as it stands."""


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
    """An image that is kept: its position in the file and its columns."""

    position: int
    uri: str
    width: int | None
    height: int | None
    attributes: dict[str, AttributeValue]
    ground: Ground

    @property
    def is_plain(self) -> bool:
        """The labels count the pixels of an image of the stated size."""
        size = (self.width, self.height) if self.width and self.height else None
        return self.ground.orientation == 1 and self.ground.size == size


class _Kept(NamedTuple):
    """The columns of N images that are kept.

    ``positions`` in their file ascend; ``special`` has, by their number among these, at least all
    whose objects are not read by the column.
    """

    positions: Integers
    uris: pa.StringArray
    widths: pa.Int32Array
    heights: pa.Int32Array
    attributes: pa.ListArray
    special: dict[int, _Row]


class _FileReader:
    def __init__(self, reader: CocoReader, file: AnnotationFile, folder: Path) -> None:
        self.reader = reader
        self.split = reader.options.split or file.split
        self.folder = folder
        self.fetched = FetchedImages(folder)
        self.listings: dict[str, frozenset[str]] = {}
        self.origin = file.path.relative_to(reader.root).as_posix()
        self.objects = ObjectReader(str(file.path), reader.options, reader.context.issues)
        self.sections: CocoSections | PanopticSections = (
            PanopticSections(file.path, self.objects.report)
            if is_panoptic(file.path)
            else CocoSections(file.path)
        )
        relative = folder.relative_to(reader.media_root).as_posix()
        self.prefix = "" if relative == "." else relative + "/"

    def batches(self) -> Iterator[pa.RecordBatch]:
        self._take_all()
        self._learn_categories(self.sections.categories)
        if isinstance(self.sections.info, dict):
            self.reader.info = self.reader.info or self.sections.info
        if isinstance(self.sections.licenses, list):
            met = self.reader.licenses
            met += [entry for entry in self.sections.licenses if entry not in met]
        ids = self.images.ids()
        self.positions = Positions(ids)
        self.firsts = None if self.positions.unique else self.positions.find(ids)
        self.table.settle(
            self.positions, self.images.sizes(), [plain_id(key) for key in self.objects.names]
        )
        self.names = pa.array(list(self.objects.names.values()), pa.string())
        count = self.images.count
        begins = range(0, count, PART_ROWS)
        for first in self.reader.context.progress.track(begins, "reading images", len(begins)):
            yield self._batch(first, min(first + PART_ROWS, count))
        self._report_strays()

    def _take_all(self) -> None:
        """Take all of the file; no issue is reported yet."""
        try:
            self._take(self.sections.pieces())
        except (OSError, ValueError, msgspec.DecodeError):
            # Whatever is wrong, the decoder of whole files mends it or says where it is.
            self._take(self.sections.whole())

    def _take(self, pieces: Iterator[Piece]) -> None:
        self.images, self.table = ImageTable(), AnnotationTable()
        with uncollected():
            for piece in pieces:
                if piece[0] == "images":
                    self.images.add(piece[1])
                else:
                    self.table.add(piece[1])

    def _batch(self, first: int, last: int) -> pa.RecordBatch:
        kept = self._usual(first, last) or self._one_by_one(first, last)
        things: dict[int, Object | None] = {}
        whole: dict[int, Sequence[Object]] = {}
        for number, row in kept.special.items():
            begin, end = self.table.starts[row.position : row.position + 2].tolist()
            if not row.is_plain or self.table.crowded[row.position]:
                whole[number] = self._together(row, begin, end)
                continue
            for place in range(begin, end):
                if self.table.is_odd[place]:
                    things[place] = self._object(place, row.ground.size)
        objects, offsets = self._objects(kept.positions, things, whole)
        return self._assembled(kept, objects, offsets)

    def _usual(self, first: int, last: int) -> _Kept | None:
        """The columns of some images of which nothing is odd and no file is there."""
        plain = self.images.plain()
        fetched = self.fetched.files or self.reader.fetching
        if plain is None or self.firsts is not None or fetched:
            return None
        part = plain.slice(first, last)
        if pc.any(pc.match_substring_regex(part.names, _ODD_NAME)).as_py():
            return None
        names = part.names.to_pylist()
        uris = [self.prefix + name for name in names] if self.prefix else names
        new = set(uris)
        if len(new) < len(uris) or not self.reader.seen.isdisjoint(new):
            return None
        folders = {uri.rpartition("/")[0] for uri in uris} if "/" in "".join(names) else {""}
        folders = folders if len(folders) > 1 or "" not in folders else {self.prefix[:-1]}
        if any(self._listing(folder) for folder in folders) and any(map(self._is_there, uris)):
            return None
        self.reader.seen |= new
        counts = np.diff(self.table.starts[first : last + 1])
        owners = np.repeat(np.arange(last - first), counts)
        begin, end = self.table.starts[[first, last]]
        special = np.union1d(
            owners[self.table.is_odd[begin:end]], np.flatnonzero(self.table.crowded[first:last])
        )
        rows = {}
        for number in special.tolist():
            width, height = size = tuple(part.sizes[number].tolist())
            ground = Ground(size, 1, size)
            rows[number] = _Row(first + number, uris[number], width, height, {}, ground)
        return _Kept(
            np.arange(first, last),
            pa.array(uris, pa.string()),
            pa.array(part.sizes[:, 0].copy()),
            pa.array(part.sizes[:, 1].copy()),
            part.attributes(),
            rows,
        )

    def _one_by_one(self, first: int, last: int) -> _Kept:
        """Any images: the columns of those that are kept."""
        images = enumerate(self.images.entries(first, last), start=first)
        found = (self._row(image, index) for index, image in images)
        rows = [row for row in found if row is not None]
        return _Kept(
            np.array([row.position for row in rows], np.int64),
            pa.array([row.uri for row in rows], pa.string()),
            pa.array([row.width for row in rows], pa.int32()),
            pa.array([row.height for row in rows], pa.int32()),
            attribute_lists([row.attributes for row in rows]),
            dict(enumerate(rows)),
        )

    def _together(self, row: _Row, begin: int, end: int) -> Sequence[Object]:
        """The objects of an image that need each other, or the image itself, to be settled."""
        made = (self._object(place, row.ground.size) for place in range(begin, end))
        objects = distinct(
            [thing for thing in made if thing is not None],
            self.reader.options.duplicates,
            lambda thing, action: self._repeated(thing, action, row.position),
        )
        return row.ground.brought_back(objects)

    def _object(self, place: int, size: tuple[int, int] | None) -> Object | None:
        number = int(self.table.order[place])
        return self.objects.read(self.table.entry(place), number, size)

    def _repeated(self, thing: Object, action: str, position: int) -> None:
        message = f"has the annotation {thing.object_id} of {thing.category!r} twice."
        self.objects.report("duplicate-object", message, f"$.images[{position}]", action)

    def _row(self, image: CocoImage, index: int) -> _Row | None:
        report = self.objects.report
        place = f"$.images[{index}]"
        if self.firsts is not None and self.firsts[index] != index:
            message = f"the image id {image.id!r} appears twice; the first one is kept."
            action = duplicate_action(self.reader.options.duplicates, same=False)
            report("duplicate-image-id", message, place, action)
            return None
        uri = self._uri(image)
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
        return name in self._listing(folder)

    def _listing(self, folder: str) -> frozenset[str]:
        if folder not in self.listings:
            path = self.reader.media_root / folder
            try:
                self.listings[folder] = frozenset(os.listdir(path))  # noqa: PTH208 - names only
            except (OSError, ValueError):
                self.listings[folder] = frozenset()
        return self.listings[folder]

    def _objects(
        self,
        positions: Integers,
        things: dict[int, Object | None],
        whole: dict[int, Sequence[Object]],
    ) -> tuple[pa.StructArray, Integers]:
        """The objects of some images, and where those of each begin.

        Args:
            positions: The images, ascending.
            things: What became of the odd annotations, by their place in the table.
            whole: All objects of the images, by their number among these, that were made together.
        """
        starts = self.table.starts
        if not things and not whole and len(positions):
            first, last = int(positions[0]), int(positions[-1]) + 1
            if last - first == len(positions):
                # Nearly always: then nothing is copied.
                offsets = starts[first : last + 1] - starts[first]
                places = slice(int(starts[first]), int(starts[last]))
                return self.table.objects(places, self.names), offsets
        counts = starts[positions + 1] - starts[positions]
        begins = np.concatenate(([0], np.cumsum(counts)))
        inner = np.arange(begins[-1]) - np.repeat(begins[:-1], counts)
        places = np.repeat(starts[positions], counts) + inner
        owners = np.repeat(np.arange(len(positions)), counts)
        apart = np.isin(owners, list(whole)) if whole else np.zeros(len(owners), bool)
        odd = self.table.is_odd[places] & ~apart
        plain = np.flatnonzero(~odd & ~apart)
        objects = self.table.objects(places[plain], self.names)
        # Where in the order of all annotations each object made singly belongs.
        made = [(place, things[int(places[place])]) for place in np.flatnonzero(odd).tolist()]
        for owner, found in whole.items():
            made += enumerate(found, start=int(begins[owner]))
        kept = [(place, thing) for place, thing in made if thing is not None]
        if kept:
            plain = np.concatenate((plain, np.array([place for place, _ in kept])))
            read = object_array([thing for _, thing in kept])
            order = np.argsort(plain)
            objects = pa.concat_arrays([objects, read]).take(pa.array(order))
        left = np.bincount(owners[plain], minlength=len(positions))
        return objects, np.concatenate(([0], np.cumsum(left)))

    def _assembled(self, kept: _Kept, objects: pa.StructArray, offsets: Integers) -> pa.RecordBatch:
        count = len(kept.positions)
        lists = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), objects, type=RECORD.field("objects").type
        )
        origin = RECORD.field("origin").type
        columns: dict[str, Any] = {
            "image_id": kept.uris,
            "uri": kept.uris,
            "width": kept.widths,
            "height": kept.heights,
            "split": pa.repeat(pa.scalar(self.split, pa.string()), count),
            "labels": pa.array([[]] * count, RECORD.field("labels").type),
            "objects": lists,
            "attributes": kept.attributes,
            "origin": pa.StructArray.from_arrays(
                [pa.repeat(pa.scalar(self.origin), count), pa.nulls(count, pa.int64())],
                fields=list(origin),
            ),
        }
        return pa.RecordBatch.from_arrays(
            [columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in RECORD],
            schema=RECORD,
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

    def _report_strays(self) -> None:
        """Annotations whose image is not in the file, image by image."""
        by_image: dict[str, list[int]] = defaultdict(list)
        for index, image_id in self.table.strays.items():
            by_image[str(image_id)].append(index)
        for key, indices in by_image.items():
            for index in indices:
                message = f"belongs to the image {key}, which the file does not have."
                self.objects.report("unknown-image", message, f"$.annotations[{index}]")

    def _uri(self, image: CocoImage) -> str | None:
        name = image.file_name or image.coco_url
        if not name or not isinstance(name, str):
            return None
        if "://" in name:
            brought = self.fetched.find(name)
            return name if brought is None else self.prefix + brought
        if image.coco_url and self.fetched.files and not has_file(self.folder, name):
            brought = self.fetched.find(str(image.coco_url))
            if brought is not None:
                return self.prefix + brought
        if "\\" in name and not has_file(self.folder, name):
            name = name.replace("\\", "/")
        return self.prefix + name.removeprefix("./")

    def _side(self, value: Number, place: str) -> int | None:
        if value is None or is_side(value):
            return None if value is None else int(value)
        message = f"{value} is no width or height of an image; taken as not stated."
        self.objects.report("bad-size", message, place, "changed")
        return None
