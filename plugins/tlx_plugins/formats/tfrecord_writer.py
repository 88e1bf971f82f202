"""From a dataset to TFRecord files, as a stream: a few images at a time are in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tlx.api import WriteReport
from tlx.context import Context
from tlx.errors import UsageError
from tlx.issues import Issue
from tlx.model import Category, Record
from tlx.parallel import in_order
from tlx_plugins.formats.tfrecord_entries import RecordEncoder
from tlx_plugins.formats.tfrecord_framing import Compression, RecordFile
from tlx_plugins.formats.tfrecord_label_map import Item, write_label_map
from tlx_plugins.formats.tfrecord_pictures import Picture, Reencode, load

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.tfrecord import TfrecordOptions

LABEL_MAP = "label_map.pbtxt"
SOURCE_ID_ATTRIBUTES = ("source_id", "coco_image_id")
"""Attributes that become ``image/source_id`` where all images have them as distinct numbers."""

_MAXIMUM_SHARDS = 99_999


class TfrecordWriter:
    """Writes a dataset; use it once.

    Args:
        dataset: What to write.
        dest: A folder to make.
        options: The user's choices.
        context: Progress, issues, and the policy for an image that cannot be written.
    """

    def __init__(
        self, dataset: Dataset, dest: Path, options: TfrecordOptions, context: Context
    ) -> None:
        self.dataset = dataset
        self.dest = dest
        self.options = options
        self.context = context

    def write(self) -> WriteReport:
        """Write all files."""
        self._check()
        ids = class_ids(self.dataset.taxonomy.categories, self.options.ids == "source")
        encoder = RecordEncoder(
            ids,
            source_id=_source_id_attribute(self.dataset),
            points=_most_keypoints(self.dataset),
            masks=self.options.masks,
            policy=self.options.bad_boxes,
            context=self.context,
        )
        self.dest.mkdir(parents=True)
        counts = self.dataset.counts.images_by_split or {"": 0}
        sets = {
            split: _SetWriter(self.dest / _name(split), self.options, count)
            for split, count in counts.items()
        }
        images = objects = 0
        try:
            records = self.context.progress.track(
                self.dataset.records(), "writing TFRecord", len(self.dataset)
            )
            load_one = partial(_load, str(self.dataset.media_root), self.options.reencode)
            for record, picture in in_order(load_one, records, self.context.workers):
                chosen = sets[record.split or ""]
                chosen.offered += 1
                if isinstance(picture, Issue):
                    self.context.issues.report(picture)
                    continue
                encoded = encoder.encode(record, picture)
                if encoded is not None:
                    chosen.write(encoded.pieces)
                    images += 1
                    objects += encoded.objects
        finally:
            for chosen in sets.values():
                chosen.close()
        for chosen in sets.values():
            chosen.name_files()
        by_id = sorted(ids.items(), key=lambda item: item[1])
        items = [Item(number, name) for name, number in by_id]
        (self.dest / LABEL_MAP).write_text(write_label_map(items), encoding="utf-8")
        files = sorted(path.name for path in self.dest.iterdir())
        return WriteReport(tuple(files), images, objects, ids)

    def _check(self) -> None:
        options = self.options
        if self.dest.suffix.lower() in (".record", ".tfrecord"):
            raise UsageError(
                f"{self.dest.name} would be one file; records and their label map are a folder.",
                hint="Give a folder as --output.",
            )
        if options.shards and options.shard_megabytes:
            raise UsageError("--shards and --shard-megabytes exclude each other.")
        if not 0 <= options.shards <= _MAXIMUM_SHARDS or options.shard_megabytes < 0:
            raise UsageError(
                f"--shards must be 0 to {_MAXIMUM_SHARDS}, sizes must not be negative."
            )


def _load(root: str, reencode: Reencode, record: Record) -> Picture | Issue:
    # A Path costs more than the reading of a small file.
    return load(record, os.path.join(root, record.uri), reencode)  # noqa: PTH118


def _name(split: str) -> str:
    return (quote(split, safe="") or "data") + ".record"


class _SetWriter:
    """One file, or shards of one set; how many there are is known, and named, at the end."""

    def __init__(self, path: Path, options: TfrecordOptions, images: int) -> None:
        self.path = path
        self.images = images
        self.shards = options.shards
        self.largest = options.shard_megabytes * 1_000_000
        self.compression: Compression = options.compression
        self.offered = 0
        self.paths: list[Path] = []
        self.file = self._open()

    def _open(self) -> RecordFile:
        path = self.path.with_name(f"{self.path.name}.{len(self.paths)}.part")
        self.paths.append(path)
        return RecordFile(path, self.compression)

    def _next(self) -> None:
        self.file.close()
        self.file = self._open()

    def write(self, pieces: tuple[bytes, bytes]) -> None:
        """Add a record; ``offered`` counts it and those that had to be left out."""
        if self.shards:
            # Neighbours stay together, as they do when a reader takes one shard after the other.
            wanted = (self.offered - 1) * self.shards // max(1, self.images)
            while len(self.paths) <= wanted:
                self._next()
        elif self.largest and self.file.records:
            size = self.file.size + sum(map(len, pieces)) + 16
            if size > self.largest:
                self._next()
        self.file.write(pieces)

    def close(self) -> None:
        """Close the file that is open."""
        self.file.close()

    def name_files(self) -> None:
        """Give all files their final names."""
        while len(self.paths) < self.shards:
            self._next()
        self.file.close()
        total = len(self.paths)
        if total > _MAXIMUM_SHARDS:
            raise UsageError(f"{total:,} shards are too many.", hint="Mend --shard-megabytes.")
        for number, path in enumerate(self.paths):
            sharded = self.shards or self.largest
            ending = f"-{number:05d}-of-{total:05d}" if sharded else ""
            path.rename(self.path.with_name(self.path.name + ending))


def class_ids(categories: tuple[Category, ...], keep: bool) -> Mapping[str, int]:
    """The number of each class: from 1 in the order of the taxonomy, or the source's own.

    Raises:
        UsageError: If the source's own are not all known, above 0 and distinct.
    """
    if not keep:
        return {category.name: number for number, category in enumerate(categories, start=1)}
    known = {c.name: c.source_id for c in categories if c.source_id is not None and c.source_id > 0}
    if len(set(known.values())) < len(categories):
        bad = next((c for c in categories if c.name not in known), categories[0])
        raise UsageError(
            f"the classes have no distinct ids above 0 of their own ({bad.name!r} has "
            f"{bad.source_id}), and 0 is the background's.",
            hint="Number them from 1: --ids new",
        )
    return known


def _source_id_attribute(dataset: Dataset) -> str | None:
    """The attribute that numbers all images, if one does."""
    import pyarrow.compute as pc

    seen: dict[str, set[int]] = {name: set() for name in SOURCE_ID_ATTRIBUTES}
    total = 0
    for batch in dataset.batches(["attributes"]):
        total += batch.num_rows
        flat = pc.list_flatten(batch.column("attributes"))
        for name in [*seen]:
            chosen = flat.filter(pc.equal(pc.struct_field(flat, "name"), name))
            numbers = pc.struct_field(chosen, "integer")
            seen[name].update(n for n in numbers.to_pylist() if n is not None and n >= 0)
            if len(seen[name]) < total:
                del seen[name]
    return next(iter(seen), None) if total else None


def _most_keypoints(dataset: Dataset) -> int:
    """How many keypoints the object with most of them has."""
    import pyarrow.compute as pc

    most = 0
    for batch in dataset.batches(["objects"]):
        points = pc.struct_field(pc.list_flatten(batch.column("objects")), "keypoints")
        most = max(most, pc.max(pc.list_value_length(points)).as_py() or 0)
    return most
