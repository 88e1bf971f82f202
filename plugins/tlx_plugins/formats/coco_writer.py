"""From a dataset to COCO's JSON, as a stream: one image at a time is in memory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tlx.api import WriteReport
from tlx.context import Context
from tlx.errors import UsageError
from tlx.issues import Issue
from tlx.media import image_size
from tlx.media_transfer import bring
from tlx.model import AttributeValue, Box, Category, Keypoint, Object, Record, Segmentation
from tlx_plugins.formats import coco_rle
from tlx_plugins.formats.coco_outline import computed_area, outline_bounds
from tlx_plugins.formats.coco_reader import FLAGS, SOURCE_ID

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.coco import CocoOptions

_encode = msgspec.json.Encoder().encode
_MAXIMUM_ID = 2**53
"""Beyond it not every reader of JSON keeps a whole number exactly."""


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
        self.keep_images, self.keep_objects = (
            _known_ids(dataset) if options.ids == "source" else (False, False)
        )
        self.next_image = self.next_object = 0
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
        files = {split: _SplitFile(path) for split, path in paths.items()}
        try:
            for record in self.context.progress.track(
                self.dataset.records(), "writing COCO", len(self.dataset)
            ):
                self._add(record, files[record.split or ""])
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

    def _add(self, record: Record, file: _SplitFile) -> None:
        size = self._size(record)
        if size is None:
            return
        name = self._bring_image(record)
        attributes = dict(record.attributes)
        source_id = attributes.get(SOURCE_ID)
        self.next_image += 1
        image_id: AttributeValue = self.next_image
        if self.keep_images and source_id is not None:
            image_id = source_id
            del attributes[SOURCE_ID]
        image: dict[str, Any] = {
            "id": image_id,
            "file_name": name,
            "width": size[0],
            "height": size[1],
        }
        if attributes:
            image["attributes"] = attributes
        file.add_image(_encode(image))
        for thing in record.objects:
            if thing.box is None and thing.segmentation is None and not thing.keypoints:
                self._leave_out(thing, record)
                continue
            file.add_annotation(_encode(self._annotation(thing, image_id)))

    def _leave_out(self, thing: Object, record: Record) -> None:
        """Report an object that COCO has no place for: a line, say."""
        message = f"an object {thing.category!r} of {record.image_id} has no box and no outline."
        hint = "COCO needs one; leave such objects out with: --on-error skip"
        self.context.issues.report(Issue("no-box", message, str(self.dataset.path), hint=hint))

    def _size(self, record: Record) -> tuple[int, int] | None:
        if record.width is not None and record.height is not None:
            return record.width, record.height
        path = self.dataset.image_path(record.uri)
        size = None if "://" in record.uri else image_size(path)
        if size is None:
            message = (
                f"the size of {record.image_id} is not known, and {path} is "
                f"{'no image that can be read' if path.exists() else 'not there'}; "
                "COCO needs width and height."
            )
            hint = "Put the image in its place, or leave such images out: --on-error skip"
            self.context.issues.report(Issue("no-size", message, str(path), hint=hint))
        return size

    def _bring_image(self, record: Record) -> str:
        """Copy or link the image, if asked; returns the file name for the JSON."""
        if self.options.media == "reference" or "://" in record.uri:
            return record.uri
        source = self.dataset.image_path(record.uri)
        bring(source, self.dest / "images", record.uri, self.options.media)
        return record.uri

    def _annotation(self, thing: Object, image_id: AttributeValue) -> dict[str, Any]:
        self.next_object += 1
        attributes = _attributes(thing)
        number = self.next_object
        if self.keep_objects and thing.object_id is not None:
            number = int(thing.object_id)
        elif thing.object_id is not None:
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
            area = round(computed_area(box, thing.segmentation), 10)
        annotation["area"] = area
        if thing.segmentation is not None:
            annotation["segmentation"] = _segmentation(thing.segmentation)
        annotation["iscrowd"] = int(bool(thing.crowd))
        if thing.keypoints:
            annotation["keypoints"] = self._keypoints(thing)
            visible = sum(point.visibility != 0 for point in thing.keypoints)
            annotation["num_keypoints"] = visible
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
            written.append(entry)
        return written


class _SplitFile:
    """One JSON file; annotations wait in a file beside it until all images are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting_path = path.with_name(path.name + ".annotations")
        self.file: IO[bytes] = path.open("wb")
        self.waiting: IO[bytes] = self.waiting_path.open("w+b")
        self.images = self.objects = 0
        self.file.write(b'{"info":{},"licenses":[],"images":[')

    def add_image(self, data: bytes) -> None:
        self.file.write((b",\n" if self.images else b"\n") + data)
        self.images += 1

    def add_annotation(self, data: bytes) -> None:
        self.waiting.write((b",\n" if self.objects else b"\n") + data)
        self.objects += 1

    def finish(self, categories: list[dict[str, Any]]) -> None:
        self.file.write(b'\n],"annotations":[')
        self.waiting.seek(0)
        shutil.copyfileobj(self.waiting, self.file, 1 << 20)
        self.file.write(b'\n],"categories":' + _encode(categories) + b"}\n")

    def close(self) -> None:
        self.file.close()
        self.waiting.close()
        self.waiting_path.unlink(missing_ok=True)


def _below(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def _category_ids(categories: tuple[Category, ...], keep: bool) -> Mapping[str, int]:
    known = [category.source_id for category in categories]
    if keep and len(set(known)) == len(known) and all(n is not None and n >= 0 for n in known):
        return {c.name: c.source_id for c in categories if c.source_id is not None}
    return {category.name: number for number, category in enumerate(categories, start=1)}


def _known_ids(dataset: Dataset) -> tuple[bool, bool]:
    """Whether every image, and every object, has a whole number from 1 as its id, each once."""
    import pyarrow.compute as pc

    images: set[int] | None = set()
    objects: set[int] | None = set()
    for batch in dataset.batches(["attributes", "objects"]):
        flat = pc.list_flatten(batch.column("attributes"))
        chosen = flat.filter(pc.equal(pc.struct_field(flat, "name"), SOURCE_ID))
        numbers = pc.struct_field(chosen, "integer").to_pylist()
        images = _joined(images, numbers) if len(numbers) == batch.num_rows else None
        texts = pc.struct_field(pc.list_flatten(batch.column("objects")), "object_id").to_pylist()
        plain = all(text is not None and text.isdecimal() and len(text) < 17 for text in texts)
        numbers = [int(text) for text in texts] if plain else [None]
        # "007" would come back as another id.
        same = plain and all(str(n) == text for n, text in zip(numbers, texts, strict=True))
        objects = _joined(objects, numbers) if same else None
        if images is None and objects is None:
            break
    return images is not None, objects is not None


def _joined(seen: set[int] | None, numbers: list[int | None]) -> set[int] | None:
    """Add ids to those that were seen; None as soon as one is missing, unfit or repeated."""
    if seen is None:
        return None
    before = len(seen)
    for number in numbers:
        if number is None or not 0 < number < _MAXIMUM_ID:
            return None
        seen.add(number)
    return seen if len(seen) == before + len(numbers) else None


def _bbox(box: Box) -> list[float]:
    """x, y, width, height; 395.92999999999995 would be noise of the subtraction."""
    return [
        box.xmin,
        box.ymin,
        round(box.xmax - box.xmin, 10),
        round(box.ymax - box.ymin, 10),
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
