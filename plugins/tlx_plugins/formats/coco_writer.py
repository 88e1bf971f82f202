"""From a dataset to COCO's JSON, as a stream: one image at a time is in memory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx.api import WriteReport
from tlx.context import Context
from tlx.errors import UsageError
from tlx.folder_walk import has_file
from tlx.issues import Issue
from tlx.media import image_size
from tlx.model import AttributeValue, Box, Category, Keypoint, Object, Segmentation
from tlx.output_files import OutputFiles
from tlx.schema import attributes_of, flat_objects, uncollected
from tlx_plugins.formats import coco_rle
from tlx_plugins.formats.coco_entries import DECIMALS, entries
from tlx_plugins.formats.coco_images import PLAIN, PUBLISHED, SOURCE_ID, restored
from tlx_plugins.formats.coco_object import FLAGS
from tlx_plugins.formats.coco_outline import computed_area, outline_bounds
from tlx_plugins.formats.voc_columns import Attributes

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.coco import CocoOptions

_encoder = msgspec.json.Encoder()
_FIELDS = frozenset({"attributes", "bbox", "segmentation", "keypoints", "num_keypoints"})
_HEAD = ("image_id", "uri", "width", "height")
_MAXIMUM_ID = 2**53
"""Beyond it not every reader of JSON keeps a whole number exactly."""


class _Image(msgspec.Struct, gc=False, omit_defaults=True):
    """An entry of ``images``."""

    id: int
    file_name: str
    width: int
    height: int
    license: int | None = None
    coco_url: str | None = None
    flickr_url: str | None = None
    date_captured: str | None = None
    attributes: Mapping[str, AttributeValue] | None = None


class CocoWriter:
    """Writes a dataset; use it once.

    Args:
        dataset: What to write.
        dest: A folder to make, or a file to make if it ends in ``.json``.
        options: The user's choices.
        context: Progress, issues, and the policy for an image that cannot be written.
    """

    def __init__(
        self, dataset: Dataset, dest: Path, options: CocoOptions, context: Context
    ) -> None:
        self.dataset = dataset
        self.dest = dest
        self.options = options
        self.context = context
        self.category_ids = _category_ids(dataset.taxonomy.categories, options.ids == "source")
        known = _known_ids(dataset) if options.ids == "source" else (False, False)
        self.keep_images, self.keep_objects = known
        self.next_image = self.next_object = 0
        self.files = OutputFiles(dest, options.media, context.workers)
        self.notes = _notes(dataset)
        self.keypoints: dict[str, tuple[Keypoint, ...]] = {}

    def write(self) -> WriteReport:
        """Write all files."""
        splits = self.dataset.counts.images_by_split or {"": 0}
        single = self.dest.suffix.lower() == ".json"
        if single and len(splits) > 1:
            raise UsageError(
                f"{len(splits)} splits ({', '.join(splits)}) do not fit into one file.",
                hint="Give a folder as --output: it gets a file per split.",
            )
        if single and self.options.media != "reference":
            raise UsageError(
                "images can only be brought along into a folder.",
                hint="Give a folder as --output, or leave out --media.",
            )
        if not single:
            (self.dest / "annotations").mkdir(parents=True)
        paths = {split: self.dest if single else self._path(split) for split in splits}
        files = {split: _SplitFile(path, self.notes) for split, path in paths.items()}
        try:
            batches = self.context.progress.track(
                self.dataset.batches(), "writing COCO", len(self.dataset.manifest.parts)
            )
            with uncollected(), self.files:
                for batch in batches:
                    self._add(batch, files)
            categories = self._categories()
            for file in files.values():
                file.finish(categories)
        finally:
            for file in files.values():
                file.close()
        names = [self.dest.name] if single else _below(self.dest)
        images = sum(file.images for file in files.values())
        objects = sum(file.objects for file in files.values())
        return WriteReport(tuple(names), images, objects, self.category_ids)

    def _path(self, split: str) -> Path:
        name = f"instances_{quote(split, safe='')}.json" if split else "instances.json"
        return self.dest / "annotations" / name

    def _add(self, batch: pa.RecordBatch, files: Mapping[str, _SplitFile]) -> None:
        columns = [batch.column(name).to_pylist() for name in _HEAD]
        splits = batch.column("split").to_pylist()
        images: dict[str, list[Any]] = {}
        image_ids = np.zeros(batch.num_rows, np.int64)
        attributes = Attributes(batch.column("attributes"))
        ids = attributes.take(SOURCE_ID, "integer").to_pylist() if self.keep_images else None
        published = zip(
            *(attributes.take(PLAIN + key, kind).to_pylist() for key, kind in PUBLISHED.items()),
            strict=True,
        )
        others = attributes_of(attributes.left())
        rows = zip(zip(*columns, strict=True), published, others, strict=True)
        for row, ((image_id, uri, width, height), said, other) in enumerate(rows):
            size = (width, height) if width and height else self._size(image_id, uri)
            if size is None:
                continue
            self.files.bring(self.dataset, uri, "images")
            self.next_image += 1
            number = self.next_image if ids is None else ids[row]
            image_ids[row] = number
            entry: Any = _Image(number, uri, *size, *said, other or None)  # type: ignore[call-arg]
            if other:
                entry = _completed(entry, dict(other))
            images.setdefault(splits[row] or "", []).append(entry)
        for split, found in images.items():
            files[split].add_images(found)
        self._add_objects(batch, image_ids, splits, files)

    def _add_objects(
        self,
        batch: pa.RecordBatch,
        image_ids: np.ndarray[Any, np.dtype[np.int64]],
        splits: list[str | None],
        files: Mapping[str, _SplitFile],
    ) -> None:
        """Write the objects of a batch; an image with the id 0 was left out, with its objects."""
        parents, flat = flat_objects(batch)
        rows = np.asarray(parents)
        kept = self._with_place(batch, rows, flat) & (image_ids[rows] > 0)
        if not kept.all():
            rows, flat = rows[kept], flat.filter(pa.array(kept))
        numbers = np.arange(self.next_object + 1, self.next_object + 1 + len(rows))
        if self.keep_objects:
            numbers = np.asarray(flat.field("object_id").cast(pa.int64()))
        self.next_object += len(rows)
        made = entries(
            flat, numbers, image_ids[rows], self.category_ids, self.keep_objects, self._annotation
        )
        if len(files) == 1:
            next(iter(files.values())).add_annotations(made)
            return
        by_split: dict[str, list[Any]] = {}
        for row, entry in zip(rows.tolist(), made, strict=True):
            by_split.setdefault(splits[row] or "", []).append(entry)
        for split, found in by_split.items():
            files[split].add_annotations(found)

    def _with_place(self, batch: pa.RecordBatch, rows: Any, flat: pa.StructArray) -> Any:
        """Which objects COCO has a place for; a line, say, is reported."""
        stated = pc.or_(flat.field("box").is_valid(), flat.field("segmentation").is_valid())
        points = pc.greater(pc.list_value_length(flat.field("keypoints")), 0)
        kept = np.asarray(pc.or_(stated, points))
        for index in np.flatnonzero(~kept).tolist():
            image_id = batch.column("image_id")[int(rows[index])].as_py()
            self._leave_out(flat.field("category")[index].as_py(), image_id)
        return kept

    def _leave_out(self, category: str, image_id: str) -> None:
        message = f"an object {category!r} of {image_id} has no box and no outline."
        hint = "COCO needs one; leave such objects out with: --on-error skip"
        self.context.issues.report(Issue("no-box", message, str(self.dataset.path), hint=hint))

    def _size(self, image_id: str, uri: str) -> tuple[int, int] | None:
        """Width and height as the image file says them."""
        path = self.dataset.image_path(uri)
        size = None if "://" in uri else image_size(path)
        if size is None:
            there = has_file(path.parent, path.name)
            message = (
                f"the size of {image_id} is not known, and {path} is "
                f"{'no image that can be read' if there else 'not there'}; "
                "COCO needs width and height."
            )
            hint = "Put the image in its place, or leave such images out: --on-error skip"
            self.context.issues.report(Issue("no-size", message, str(path), hint=hint))
        return size

    def _annotation(self, thing: Object, number: int, image_id: int) -> dict[str, Any]:
        """The entry of an object that has more than a box and polygons."""
        attributes = _attributes(thing)
        if not self.keep_objects and thing.object_id is not None:
            attributes["object_id"] = thing.object_id
        box = thing.box
        if box is None and thing.segmentation is not None:
            box = outline_bounds(thing.segmentation)
        area = attributes.pop("area", None)
        annotation: dict[str, Any] = {
            "id": number,
            "image_id": image_id,
            "category_id": self.category_ids[thing.category],
        }
        if box is not None:
            annotation["bbox"] = _bbox(box)
        if not isinstance(area, float):
            if area is not None:
                attributes["area"] = area
            area = round(computed_area(box, thing.segmentation), DECIMALS)
        annotation["area"] = area
        if thing.segmentation is not None:
            annotation["segmentation"] = _segmentation(thing.segmentation)
        annotation["iscrowd"] = int(bool(thing.crowd))
        if thing.keypoints:
            annotation["keypoints"] = self._keypoints(thing)
            visible = sum(point.visibility != 0 for point in thing.keypoints)
            annotation["num_keypoints"] = visible
        annotation |= restored(attributes, frozenset(annotation) | _FIELDS)
        if attributes:
            annotation["attributes"] = attributes
        return annotation

    def _keypoints(self, thing: Object) -> list[float]:
        """Triples of x, y, visibility; a point that is given but not judged counts as visible."""
        known = self.keypoints.get(thing.category, ())
        if len(thing.keypoints) > len(known):
            self.keypoints[thing.category] = thing.keypoints
        triples = ((p.x, p.y, 2 if p.visibility is None else p.visibility) for p in thing.keypoints)
        return [value for triple in triples for value in triple]

    def _categories(self) -> list[dict[str, Any]]:
        written = []
        for category in self.dataset.taxonomy.categories:
            entry: dict[str, Any] = {"id": self.category_ids[category.name], "name": category.name}
            if category.supercategory is not None:
                entry["supercategory"] = category.supercategory
            points = self.keypoints.get(category.name, ())
            if points:
                entry["keypoints"] = [
                    point.name or f"point {number}" for number, point in enumerate(points, start=1)
                ]
            other = self.notes.get("categories", {}).get(category.name, {})
            written.append(entry | {key: other[key] for key in other if key not in entry})
        return written


class _SplitFile:
    """One JSON file; annotations wait in a file beside it until all images are written."""

    def __init__(self, path: Path, notes: Mapping[str, Any]) -> None:
        self.path = path
        self.waiting_path = path.with_name(path.name + ".annotations")
        self.file: IO[bytes] = path.open("wb")
        self.waiting: IO[bytes] = self.waiting_path.open("w+b")
        self.images = self.objects = 0
        head = {"info": notes.get("info", {}), "licenses": notes.get("licenses", [])}
        self.file.write(_encoder.encode(head)[:-1] + b',"images":[')

    def add_images(self, entries: list[Any]) -> None:
        _append(self.file, entries, self.images)
        self.images += len(entries)

    def add_annotations(self, entries: list[Any]) -> None:
        _append(self.waiting, entries, self.objects)
        self.objects += len(entries)

    def finish(self, categories: list[dict[str, Any]]) -> None:
        self.file.write(b'\n],"annotations":[')
        self.waiting.seek(0)
        shutil.copyfileobj(self.waiting, self.file, 1 << 20)
        self.file.write(b'\n],"categories":' + _encoder.encode(categories) + b"}\n")

    def close(self) -> None:
        self.file.close()
        self.waiting.close()
        self.waiting_path.unlink(missing_ok=True)


def _notes(dataset: Dataset) -> Mapping[str, Any]:
    """What the COCO files that the dataset comes from said of themselves."""
    found: dict[str, Any] = {}
    for step in dataset.manifest.lineage:
        notes = step.notes.get("coco", {})
        found |= notes if isinstance(notes, dict) else {}
    return found


def _completed(entry: _Image, attributes: dict[str, Any]) -> dict[str, Any]:
    """An image with keys beyond those of the published files."""
    whole: dict[str, Any] = msgspec.to_builtins(entry)
    whole.pop("attributes", None)
    whole |= restored(attributes, frozenset(whole) | _FIELDS)
    return whole | ({"attributes": attributes} if attributes else {})


def _append(file: IO[bytes], entries: list[Any], before: int) -> None:
    """Add entries of a JSON list, each on a line of its own."""
    if entries:
        # A line break inside of a text is written as two letters.
        lines = _encoder.encode_lines(entries)[:-1].replace(b"\n", b",\n")
        file.write((b",\n" if before else b"\n") + lines)


def _below(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def _category_ids(categories: tuple[Category, ...], keep: bool) -> Mapping[str, int]:
    known = [category.source_id for category in categories]
    if keep and len(set(known)) == len(known) and all(n is not None and n >= 0 for n in known):
        return {c.name: c.source_id for c in categories if c.source_id is not None}
    return {category.name: number for number, category in enumerate(categories, start=1)}


def ids_of(dataset: Dataset, split: str | None) -> tuple[dict[str, int], Mapping[str, int]]:
    """The numbers by which COCO files of a dataset name its images and its classes.

    Returns:
        Number by image id, for the images of the split or for all of them; number by class.
    """
    keep, _ = _known_ids(dataset)
    numbers: dict[str, int] = {}
    position = 0
    for batch in dataset.batches(["image_id", "split", "attributes"]):
        given = Attributes(batch.column("attributes")).take(SOURCE_ID, "integer").to_pylist()
        names, splits = (batch.column(name).to_pylist() for name in ("image_id", "split"))
        for name, found, number in zip(names, splits, given, strict=True):
            position += 1
            if split is None or found == split:
                numbers[name] = number if keep else position
    return numbers, _category_ids(dataset.taxonomy.categories, keep=True)


def _known_ids(dataset: Dataset) -> tuple[bool, bool]:
    """Whether every image, and every object, has a whole number from 1 as its id, each once."""
    images: list[Any] | None = []
    objects: list[Any] | None = []
    for batch in dataset.batches(["attributes", "objects"]):
        if images is not None:
            flat = pc.list_flatten(batch.column("attributes"))
            chosen = flat.filter(pc.equal(flat.field("name"), SOURCE_ID)).field("integer")
            images = [*images, chosen] if len(chosen) == batch.num_rows else None
        if objects is not None:
            texts = pc.list_flatten(batch.column("objects")).field("object_id")
            numbers = _whole_numbers(texts)
            objects = None if numbers is None else [*objects, numbers]
        if images is None and objects is None:
            break
    return _unique(images), _unique(objects)


def _whole_numbers(texts: Any) -> Any:
    """The numbers that texts say; None if they would not come back as the same texts."""
    try:
        numbers = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    # "007" would come back as another id.
    return numbers if numbers.cast(pa.string()).equals(texts) else None


def _unique(parts: list[Any] | None) -> bool:
    """Whether numbers are stated, each once, and can be ids."""
    if parts is None or any(part.null_count for part in parts):
        return False
    if not parts:
        return True
    numbers = np.concatenate([np.asarray(part) for part in parts])
    if len(numbers) and not 0 < numbers.min() <= numbers.max() < _MAXIMUM_ID:
        return False
    numbers.sort()
    return bool((np.diff(numbers) > 0).all())


def _bbox(box: Box) -> list[float]:
    """x, y, width, height."""
    return [
        box.xmin,
        box.ymin,
        round(box.width, DECIMALS),
        round(box.height, DECIMALS),
    ]


def _segmentation(segmentation: Segmentation) -> Any:
    if segmentation.counts is None or segmentation.size is None:
        return segmentation.polygons
    counts: str | list[int] = segmentation.counts.decode("ascii")
    if segmentation.compressed is False:
        counts = coco_rle.decompress(segmentation.counts)
    return {"size": segmentation.size, "counts": counts}


def _attributes(thing: Object) -> dict[str, AttributeValue]:
    """Attributes with the flags under CVAT's names, as far as they are stated."""
    attributes = dict(thing.attributes)
    stated: dict[str, AttributeValue | None] = {name: getattr(thing, name) for name in FLAGS}
    stated |= {"rotation": thing.rotation, "track_id": thing.track}
    attributes.update({name: value for name, value in stated.items() if value is not None})
    return attributes
