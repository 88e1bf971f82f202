"""From a dataset to a Pascal VOC folder, a batch of images at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx.api import WriteReport
from tlx.context import Context
from tlx.errors import UsageError
from tlx.file_names import CONTROL, output_name
from tlx.issues import Issue
from tlx.media import IMAGE_SUFFIXES, image_size
from tlx.output_files import OutputFiles
from tlx.schema import batch_to_records
from tlx_plugins.formats import voc_columns as xml
from tlx_plugins.formats.text_columns import (
    CORNERS,
    constant,
    corners_of,
    joined,
    offsets_of,
    together,
)
from tlx_plugins.formats.usual_names import usual_names
from tlx_plugins.formats.voc_base import STATEMENT
from tlx_plugins.formats.voc_lists import MASK_SETS, SETS, write_lines
from tlx_plugins.formats.voc_masks import MOST_NUMBERS, draw_numbers, save_picture

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.voc import VocOptions

IMAGES = "JPEGImages"
LABELS = "Annotations"
OBJECT_MASKS = "SegmentationObject"
CLASS_MASKS = "SegmentationClass"
_HEAD = ("image_id", "uri", "width", "height", "split")


class _Head(NamedTuple):
    """An image as its XML names it: the XML's path, the image's, folder and name, size, split."""

    key: str
    uri: str
    folder: str
    name: str
    width: int
    height: int
    split: str | None


class VocWriter:
    """Writes a dataset; use it once.

    Args:
        dataset: What to write.
        dest: A folder to make.
        options: The user's choices.
        context: Progress, issues, and the policy for what cannot be written.
    """

    def __init__(self, dataset: Dataset, dest: Path, options: VocOptions, context: Context) -> None:
        self.dataset = dataset
        self.dest = dest
        self.options = options
        self.context = context
        self.base = 0 if options.base == "0" else 1
        self.used: set[str] = set()
        self.files = OutputFiles(dest, options.media, context.workers)
        self.lists: dict[str, list[str]] = {}
        self.mask_lists: dict[str, list[str]] = {}
        self.objects = self.rounded = self.hidden = 0

    def write(self) -> WriteReport:
        """Write all files."""
        (self.dest / LABELS).mkdir(parents=True)
        if self.options.masks and len(self.dataset.taxonomy) > MOST_NUMBERS:
            raise UsageError(
                f"--masks can tell {MOST_NUMBERS} classes apart; there are "
                f"{len(self.dataset.taxonomy)}.",
                hint="Leave some out with --class-map, or write without --masks.",
            )
        self._write_classes()
        batches = self.context.progress.track(
            self.dataset.batches(), "writing VOC", len(self.dataset.manifest.parts)
        )
        with self.files:
            for batch in batches:
                self._write_batch(batch)
        for folder, lists in ((SETS, self.lists), (MASK_SETS, self.mask_lists)):
            for split, keys in lists.items():
                name = f"{folder}/{quote(split, safe='')}.txt"
                write_lines(self.dest / name, keys)
                self.files.names.append(name)
        if self.hidden:
            message = f"{self.hidden} masks are hidden in part by smaller ones."
            self._report("hidden-mask", message, "", "requested")
        if self.rounded:
            message = f"{self.rounded} boxes were rounded to whole pixels."
            self._report("rounded-box", message, "", "requested")
        names = self.files.names
        images = sum(name.startswith(LABELS + "/") for name in names)
        return WriteReport(tuple(sorted(names)), images, self.objects)

    def _write_classes(self) -> None:
        """The classes in their order, which nothing else in a VOC folder tells."""
        names = self.dataset.taxonomy.names
        for name in names:
            if not name or CONTROL.search(name):
                message = f"the class {name!r} cannot be written: empty, or a control character."
                self._report("unwritable-name", message, "", hint="Rename it with: tlx relabel")
        write_lines(self.dest / "labels.txt", (CONTROL.sub("", name) for name in names))
        self.files.names.append("labels.txt")

    def _write_batch(self, batch: pa.RecordBatch) -> None:
        objects, counts = self._objects(batch)
        attributes = xml.Attributes(batch.column("attributes"))
        for row in attributes.unwritable():
            self._unwritable(batch, row)
        heads = self._usual_heads(batch)
        if heads is None:
            columns = (batch.column(name).to_pylist() for name in _HEAD)
            heads = [self._head(*row) for row in zip(*columns, strict=True)]
        texts = self._texts(heads, attributes, objects).cast(pa.binary()).to_pylist()
        if self.options.masks:
            self._write_masks(batch, heads)
        for head, text, count in zip(heads, texts, counts, strict=True):
            if head is None:
                continue
            self.files.write(f"{LABELS}/{head.key}.xml", text)
            self.objects += count
            if head.split is not None:
                self.lists.setdefault(head.split, []).append(head.key)
            self.files.bring(self.dataset, head.uri, IMAGES)

    def _write_masks(self, batch: pa.RecordBatch, heads: list[_Head | None]) -> None:
        """Draw the outlines of each image that has any."""
        column = batch.column("objects")
        parents, flat = pc.list_parent_indices(column), pc.list_flatten(column)
        outlined = set(pc.unique(parents.filter(flat.field("segmentation").is_valid())).to_pylist())
        # Numbers count the objects of the XML.
        written = corners_of(flat)[0].is_valid()
        numbers = {name: number for number, name in enumerate(self.dataset.taxonomy.names, 1)}
        for row, head in enumerate(heads):
            if head is None or row not in outlined:
                continue
            record = next(batch_to_records(batch.slice(row, 1)))
            flags = written.filter(pc.equal(parents, row)).to_pylist()
            things = [thing for thing, kept in zip(record.objects, flags, strict=True) if kept]
            try:
                outlines = [thing.segmentation for thing in things]
                picture, hidden = draw_numbers(outlines, head.width, head.height)
            except ValueError as error:
                message = f"{record.image_id} {error}; its masks are left out."
                self._report("no-mask", message, record.image_id, "changed")
                continue
            self.hidden += hidden
            classes = np.array([0, *(numbers[thing.category] for thing in things)], np.uint8)
            for folder, content in ((OBJECT_MASKS, picture), (CLASS_MASKS, classes[picture])):
                name = f"{folder}/{head.key}.png"
                save_picture(content, self.dest / name)
                self.files.names.append(name)
            self.mask_lists.setdefault(head.split or "all", []).append(head.key)

    def _texts(self, heads: list[_Head | None], attributes: xml.Attributes, inner: Any) -> Any:
        """The whole XML of each image."""
        folder = pa.array([None if head is None else head.folder for head in heads], pa.string())
        name = pa.array([None if head is None else head.name for head in heads], pa.string())
        uris = pa.array([None if head is None else head.uri for head in heads], pa.string())
        remote = pc.match_substring(uris, "://")
        path = pc.if_else(remote, xml.escape(uris), constant(None))
        width = pa.array([None if head is None else head.width for head in heads], pa.int32())
        height = pa.array([None if head is None else head.height for head in heads], pa.int32())
        database = xml.escape(attributes.take("database", "text"))
        verified = attributes.take("verified", "flag")
        depth = attributes.take("depth", "integer").cast(pa.string())
        segmented = attributes.take("segmented", "integer").cast(pa.string())
        return together(
            f'<annotation {STATEMENT}="{self.base}"',
            pc.if_else(verified, constant(' verified="yes"'), constant(' verified="no"')),
            ">\n\t<folder>",
            xml.escape(folder),
            "</folder>\n\t<filename>",
            xml.escape(name),
            "</filename>\n",
            xml.element("path", path, "\t"),
            xml.wrapped("\t<source>\n\t\t<database>", database, "</database>\n\t</source>\n"),
            "\t<size>\n\t\t<width>",
            width.cast(pa.string()),
            "</width>\n\t\t<height>",
            height.cast(pa.string()),
            "</height>\n",
            xml.element("depth", depth, "\t\t"),
            "\t</size>\n",
            xml.element("segmented", segmented, "\t"),
            attributes.text("\t"),
            inner,
            "</annotation>\n",
        )

    def _objects(self, batch: pa.RecordBatch) -> tuple[Any, list[int]]:
        """The elements <object> of each image as one text, and how many there are."""
        column = batch.column("objects")
        parents, flat = pc.list_parent_indices(column), pc.list_flatten(column)
        attributes = xml.Attributes(flat.field("attributes"))
        for row in attributes.unwritable():
            self._unwritable(batch, parents[row].as_py())
        outlines = pc.struct_field(flat, ["segmentation", "polygons"])
        outlined = bool(pc.any(pc.greater(pc.list_value_length(outlines), 0)).as_py())
        corners = self._corners(batch, parents, flat)
        kept = corners[0].is_valid()
        corner_texts = [
            xml.element(name, xml.number_text(values, shift), "\t\t\t")
            for name, values, shift in zip(
                CORNERS, corners, (self.base, self.base, 0, 0), strict=True
            )
        ]
        pose = xml.escape(attributes.take("pose", "text"))
        texts = together(
            "\t<object>\n\t\t<name>",
            self._names(flat.field("category")),
            "</name>\n",
            # xml_to_csv scripts of the TF Object Detection API find bndbox as the fifth element.
            xml.element("pose", pose, "\t\t"),
            xml.flag("truncated", flat.field("truncated"), "\t\t"),
            xml.flag("difficult", flat.field("difficult"), "\t\t"),
            "\t\t<bndbox>\n",
            *corner_texts,
            "\t\t</bndbox>\n",
            xml.flag("occluded", flat.field("occluded"), "\t\t"),
            xml.flag("crowd", flat.field("crowd"), "\t\t"),
            xml.element("rotation", flat.field("rotation").cast(pa.string()), "\t\t"),
            xml.element("track", _plain(flat.field("track")), "\t\t"),
            xml.element("object_id", _plain(flat.field("object_id")), "\t\t"),
            attributes.text("\t\t"),
            xml.polygons(outlines, self.base, "\t\t") if outlined else "",
            "\t</object>\n",
        )
        texts, parents = texts.filter(kept), parents.filter(kept)
        offsets = offsets_of(parents, batch.num_rows)
        return joined(texts, offsets), pc.subtract(offsets[1:], offsets[:-1]).to_pylist()

    def _names(self, categories: Any) -> Any:
        """Class names as XML has them; each is changed once."""
        coded = categories.dictionary_encode()
        names = [CONTROL.sub("", name) for name in coded.dictionary.to_pylist()]
        return xml.escape(pa.array(names, pa.string())).take(coded.indices)

    def _corners(self, batch: pa.RecordBatch, parents: Any, flat: Any) -> list[Any]:
        """The four corners as written less the base; null drops the object."""
        corners = corners_of(flat)
        for row in parents.filter(corners[0].is_null()).to_pylist():
            name = batch.column("image_id")[row].as_py()
            message = f"an object of {name} has no box and no polygon, or an infinite box."
            self._report("no-box", message, name)
        if self.options.corners == "exact":
            return corners
        whole = xml.whole_corners(corners, 0)
        changed = [pc.not_equal(a, b) for a, b in zip(whole, corners, strict=True)]
        any_changed = pc.or_(pc.or_(changed[0], changed[1]), pc.or_(changed[2], changed[3]))
        self.rounded += int(pc.sum(any_changed).as_py() or 0)
        return whole

    def _head(
        self, image_id: str, uri: str, width: int | None, height: int | None, split: str | None
    ) -> _Head | None:
        """What an XML says before the objects; None leaves the image out."""
        remote = "://" in uri
        name = output_name(uri)
        if name is None:
            message = f"the image {uri!r} has a name that cannot become the name of a file."
            self._report("unsafe-name", message, image_id)
            return None
        if width is None or height is None:
            path = self.dataset.image_path(uri)
            size = None if remote else image_size(path)
            if size is None:
                message = (
                    f"the size of {image_id} is not known, and {uri} cannot be read; Pascal VOC "
                    "needs width and height."
                )
                hint = "Put the image in its place, or leave such images out: --on-error skip"
                self._report("no-size", message, str(path), hint=hint)
                return None
            width, height = size
        folder, _, last = name.rpartition("/")
        return _Head(self._key(name), uri, folder or IMAGES, last, width, height, split)

    def _usual_heads(self, batch: pa.RecordBatch) -> list[_Head | None] | None:
        """The heads of images that can keep their names; None for others."""
        found = usual_names(batch, self.used)
        if found is None:
            return None
        others = (batch.column(name).to_pylist() for name in ("width", "height", "split"))
        heads: list[_Head | None] = []
        for name, stem, *rest in zip(*found, *others, strict=True):
            folder, _, last = name.rpartition("/")
            heads.append(_Head(stem, name, folder or IMAGES, last, *rest))
        return heads

    def _key(self, name: str) -> str:
        """A path for the XML that no other one has, on file systems that know no case either."""
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a hundred thousand times
        key = stem if suffix.lower() in IMAGE_SUFFIXES else name
        while key.casefold() in self.used:
            # a.png beside a.jpg becomes a.png.xml.
            key = name if key != name and not key.startswith(name) else key + "_"
        self.used.add(key.casefold())
        return key

    def _unwritable(self, batch: pa.RecordBatch, row: int) -> None:
        name = batch.column("image_id")[row].as_py()
        message = f"an attribute of {name} holds a character that XML cannot; it is left out."
        self._report("unwritable-text", message, name, "changed")

    def _report(
        self, code: str, message: str, path: str, action: str = "skipped", hint: str | None = None
    ) -> None:
        self.context.issues.report(Issue(code, message, path or None, None, action, hint))


def _plain(texts: Any) -> Any:
    """Text of an id or a track, as XML has it."""
    return xml.escape(pc.replace_substring_regex(texts, xml.UNWRITABLE, ""))
