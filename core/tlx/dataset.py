"""A dataset on disk: a folder ``NAME.tlx`` with ``manifest.json`` and Parquet parts.

    NAME.tlx/
      manifest.json            schema version, taxonomy, counts, media root, parts, lineage
      parts/part-00000.parquet one row per image, schema `tlx.schema.RECORD`
      issues.jsonl             what was skipped or changed while it was made, if anything

On the way from one format to another a dataset passes through a temporary folder: there the parts
are Arrow files, which cost nothing to make and to read, and are as large as they are in memory.

A part is the unit of memory and of parallel work. Nothing in the folder depends on the clock or
on the order of a directory listing: the same input makes the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tlx.errors import DataError, UsageError
from tlx.issues import IssueLog
from tlx.model import Record, Taxonomy

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 4096
SUFFIX = ".tlx"
PASSING = ".arrow"
"""What the names of parts end in that are not meant to stay."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a dataset's lineage: what made it, from what, with which options.

    ``notes`` is what the input says of itself as a whole, by the name of the source.
    """

    name: str
    plugin: str | None = None
    version: str
    options: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    notes: dict[str, Any] = {}


class Part(msgspec.Struct, frozen=True):
    """One Parquet file of a dataset, relative to its folder."""

    path: str
    images: int
    objects: int
    sha256: str


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much a dataset holds."""

    images: int
    objects: int
    negatives: int
    objects_by_category: dict[str, int]
    images_by_split: dict[str, int]
    labels_by_category: dict[str, int] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``manifest.json`` holds."""

    schema_version: int
    taxonomy: Taxonomy
    counts: Counts
    media_root: str
    parts: tuple[Part, ...]
    lineage: tuple[Operation, ...]


class Dataset:
    """A dataset that lies on disk; opening it reads only the manifest.

    Args:
        path: The dataset folder.
        manifest: Its manifest.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Dataset:
        """Open a dataset folder.

        Raises:
            UsageError: If there is no dataset at the path; says what is there.
            DataError: If the manifest is broken or of a newer schema.
        """
        from tlx.schema import SCHEMA_VERSION

        folder = Path(path)
        file = folder / "manifest.json"
        if not file.is_file():
            raise UsageError(_no_dataset(folder), hint=_dataset_hint(folder))
        try:
            manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"is not a tlx manifest: {error}", place=file) from error
        if manifest.schema_version != SCHEMA_VERSION:
            raise DataError(
                f"has schema version {manifest.schema_version}, this tlx reads {SCHEMA_VERSION}.",
                place=file,
                hint="Make the dataset again with this version, or use a newer tlx.",
            )
        return cls(folder, manifest)

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes, in order."""
        return self.manifest.taxonomy

    @property
    def counts(self) -> Counts:
        """How much it holds, without reading the parts."""
        return self.manifest.counts

    @property
    def media_root(self) -> Path:
        """The folder that image ``uri`` are relative to; a relative one starts at the dataset."""
        return (self.path / self.manifest.media_root).resolve()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the manifest, which holds the SHA-256 of every part."""
        return hashlib.sha256((self.path / "manifest.json").read_bytes()).hexdigest()

    @property
    def issues_path(self) -> Path:
        """Where issues of its making are written; absent when there were none."""
        return self.path / "issues.jsonl"

    def __len__(self) -> int:
        return self.manifest.counts.images

    def image_path(self, uri: str) -> Path:
        """The image file of a record's ``uri``."""
        return self.media_root / uri

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Arrow batches of `tlx.schema.RECORD`, one per part, with some columns only if asked.

        Raises:
            DataError: If a part is missing or broken.
        """
        for part in self.manifest.parts:
            yield from _read_part(self.path / part.path, columns).to_batches()

    def records(self, split: str | None = None) -> Iterator[Record]:
        """Every record in order; with ``split`` those of one split."""
        from tlx.schema import batch_to_records

        for batch in self.batches():
            for record in batch_to_records(batch):
                if split is None or record.split == split:
                    yield record

    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have images: train, val, test, then others by name."""
        usual = {"train": "0", "val": "1", "test": "2"}
        names = (name for name in self.counts.images_by_split if name)
        return tuple(sorted(names, key=lambda name: (usual.get(name, "3"), name)))

    def require_split(self, name: str) -> None:
        """Refuse a split that has no image.

        Raises:
            UsageError: Names the splits that there are.
        """
        if self.counts.images_by_split.get(name):
            return
        known = ", ".join(self.splits()) or "none yet"
        raise UsageError(
            f"{self.path} has no images in the split {name!r}; its splits: {known}.",
            hint=f"Make splits with: tlx split {self.path}",
        )


def _no_dataset(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} does not exist."
    if folder.is_file():
        return f"{folder} is a file, not a dataset folder (NAME{SUFFIX} with a manifest.json)."
    return f"{folder} is not a dataset: it has no manifest.json."


def _dataset_hint(folder: Path) -> str:
    near = (
        sorted(p.name for p in folder.parent.glob(f"*{SUFFIX}")) if folder.parent.is_dir() else []
    )
    if near:
        return f"Datasets beside it: {', '.join(near[:5])}."
    return "Make one with: tlx ingest SOURCE PATH -o NAME.tlx"


class DatasetWriter:
    """Writes the folder of a dataset part by part; use `write_dataset`."""

    def __init__(self, folder: Path, passing: bool = False) -> None:
        from tlx.identities import Identities

        self.folder = folder
        self.passing = passing
        (folder / "parts").mkdir(parents=True)
        self.parts: list[Part] = []
        self.images = self.objects = self.negatives = 0
        self.by_category: dict[str, int] = {}
        self.by_split: dict[str, int] = {}
        self.by_label: dict[str, int] = {}
        self._seen = Identities()
        self._twins: set[str] = set()
        """Image ids whose hash another one had before."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Write one batch as the next part.

        Raises:
            DataError: If an image id appears twice in the dataset.
        """
        import pyarrow.compute as pc

        self._check_unique(batch.column("image_id").to_pylist())
        name = f"parts/part-{len(self.parts):05d}{PASSING if self.passing else '.parquet'}"
        file = self.folder / name
        digest = _write_passing(batch, file) if self.passing else _write_part(batch, file)
        lengths = pc.list_value_length(batch.column("objects"))
        objects = int(pc.sum(lengths).as_py() or 0)
        self.images += batch.num_rows
        self.objects += objects
        self.negatives += int(pc.sum(pc.equal(lengths, 0)).as_py() or 0)
        _count(pc.list_flatten(batch.column("objects")).field("category"), self.by_category)
        _count(batch.column("split"), self.by_split)
        labels = pc.list_flatten(batch.column("labels"))
        names = labels.field("category")
        # "Absent" and "unsure" are statements about a class too, but no image of it.
        present = pc.fill_null(labels.field("present"), False)
        self.by_label |= {n: self.by_label.get(n, 0) for n in pc.unique(names).to_pylist()}
        _count(names.filter(present), self.by_label)
        self.parts.append(Part(name, batch.num_rows, objects, digest))

    def _check_unique(self, image_ids: list[str]) -> None:
        if self._seen.add(image_ids, self.images):
            return
        for place, image_id in enumerate(image_ids, start=self.images):
            earlier = self._seen.claim(image_id, place)
            if earlier == place:
                continue
            # Only the hash is known to be there; the name itself has the last word.
            same = earlier >= self.images and image_ids[earlier - self.images] == image_id
            same = same or (earlier < self.images and self._image_id(earlier) == image_id)
            if same or image_id in self._twins:
                raise DataError(
                    f"the image id {image_id!r} appears twice in the source.",
                    hint="One image must be one record: the source sees a file twice.",
                )
            self._twins.add(image_id)

    def _image_id(self, place: int) -> str:
        """The id of an image in a part that was written before."""
        for part in self.parts:
            if place < part.images:
                ids = _read_part(self.folder / part.path, ["image_id"]).column("image_id")
                found: str = ids[place].as_py()
                return found
            place -= part.images
        raise IndexError(place)

    def finish(
        self, taxonomy: Taxonomy, media_root: str, lineage: tuple[Operation, ...], issues: IssueLog
    ) -> Manifest:
        """Check the categories and write the manifest.

        Raises:
            DataError: If an object's category is not in the taxonomy.
        """
        from tlx.errors import nearest
        from tlx.schema import SCHEMA_VERSION

        unknown = sorted({*self.by_category, *self.by_label} - set(taxonomy.names))
        if unknown:
            raise DataError(
                f"the class {unknown[0]!r} is not in the taxonomy.",
                hint=nearest(unknown[0], taxonomy.names),
            )
        counts = Counts(
            images=self.images,
            objects=self.objects,
            negatives=self.negatives,
            objects_by_category={n: self.by_category.get(n, 0) for n in taxonomy.names},
            images_by_split=self.by_split,
            labels_by_category={n: self.by_label[n] for n in taxonomy.names if n in self.by_label},
        )
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            taxonomy=taxonomy,
            counts=counts,
            media_root=media_root,
            parts=tuple(self.parts),
            lineage=lineage,
        )
        if issues.total:
            issues.write(self.folder / "issues.jsonl")
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        (self.folder / "manifest.json").write_bytes(text + b"\n")
        return manifest


def _count(column: Any, into: dict[str, int]) -> None:
    import pyarrow.compute as pc

    for entry in pc.value_counts(column).to_pylist():
        key = "" if entry["values"] is None else entry["values"]
        into[key] = into.get(key, 0) + entry["counts"]


def _write_part(batch: pa.RecordBatch, file: Path) -> str:
    """Write a part; returns its SHA-256."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.Table.from_batches([batch]),
        file,
        compression="zstd",
        # Coordinates hardly repeat: a dictionary of them would take time and space.
        use_dictionary=_texts(batch.schema),
        row_group_size=PART_ROWS,
        write_statistics=False,
    )
    return _sha256(file)


def _texts(fields: Iterable[pa.Field], above: str = "") -> list[str]:
    """Parquet's names of the columns that hold texts."""
    import pyarrow as pa

    found: list[str] = []
    for field in fields:
        name, kind = above + field.name, field.type
        while pa.types.is_list(kind):
            name, kind = f"{name}.list.element", kind.value_type
        if pa.types.is_struct(kind):
            found += _texts(kind, f"{name}.")
        elif pa.types.is_string(kind):
            found.append(name)
    return found


def _read_part(file: Path, columns: list[str] | None) -> pa.Table:
    """Read a part, of one chunk.

    Raises:
        DataError: If it is missing or broken.
    """
    import pyarrow as pa

    if file.name.endswith(PASSING):
        with pa.memory_map(str(file)) as mapped, pa.ipc.open_file(mapped) as reader:
            batch = reader.get_batch(0)
        return pa.Table.from_batches([batch.select(columns) if columns else batch])
    import pyarrow.parquet as pq

    try:
        # memory_map and threads would save nothing at this size; one table is one part.
        table = pq.read_table(file, columns=columns, use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"this part of the dataset cannot be read: {error}",
            place=file,
            hint="Make the dataset again from its source.",
        ) from error
    return table.combine_chunks()


def _write_passing(batch: pa.RecordBatch, file: Path) -> str:
    """Write a part that is read once or twice and removed; it needs no hash."""
    import pyarrow as pa

    with pa.OSFile(str(file), "wb") as stream, pa.ipc.new_file(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return ""


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def to_batches(content: Iterable[Any], rows: int = PART_ROWS) -> Iterator[pa.RecordBatch]:
    """Bring a stream of records or Arrow batches to batches of the record schema.

    Args:
        content: As `tlx.api.Reading` has it.
        rows: Records of a batch that is made of records, or of records and batches.
    """
    import itertools

    import pyarrow as pa

    from tlx.equal_batches import filled
    from tlx.schema import RECORD

    stream = iter(content)
    first = next(stream, None)
    if first is None:
        return
    whole = itertools.chain([first], stream)
    if isinstance(first, pa.RecordBatch):
        for batch in whole:
            yield batch.cast(RECORD) if batch.schema != RECORD else batch
    else:
        yield from filled(whole, rows)


def write_dataset(
    path: Path,
    content: Iterable[Record] | Iterable[pa.RecordBatch],
    taxonomy: Taxonomy | Callable[[], Taxonomy],
    media_root: Path,
    lineage: tuple[Operation, ...] | Callable[[], tuple[Operation, ...]],
    *,
    overwrite: bool = False,
    issues: IssueLog | None = None,
    passing: bool = False,
) -> Dataset:
    """Write a dataset folder, whole or not at all.

    Args:
        path: Where the folder goes.
        content: Records or Arrow batches, as `tlx.api.Reading` has them; consumed once.
        taxonomy: The classes; a function is called after the content is exhausted.
        media_root: Folder of the images; recorded absolute.
        lineage: How it came to be; a function is called after the content is exhausted.
        overwrite: Replace what lies at ``path``.
        issues: What was skipped or changed on the way; written beside the parts.
        passing: The folder is removed soon: parts are Arrow files instead of Parquet.
    """
    from tlx.staging import staged

    with staged(path, overwrite=overwrite) as folder:
        writer = DatasetWriter(folder, passing)
        for batch in to_batches(content):
            writer.add(batch)
        classes = taxonomy() if callable(taxonomy) else taxonomy
        root = media_root.expanduser().absolute().as_posix()
        steps = lineage() if callable(lineage) else lineage
        manifest = writer.finish(classes, root, steps, issues or IssueLog("skip"))
    return Dataset(path, manifest)
