"""From Parquet tables to batches of records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.file_names import output_name
from tlx.issues import Issue
from tlx.model import Category, Taxonomy
from tlx.schema import BOX, OBJECT, RECORD
from tlx_plugins.formats.parquet_columns import (
    IMAGE,
    OBJECT_ROWS,
    Statement,
    read_schema,
    rows_of,
    statement_of,
)
from tlx_plugins.formats.parquet_types import as_lists, conformed

if TYPE_CHECKING:
    from tlx_plugins.formats.parquet import ParquetOptions

_ROWS = 4096
_EMBEDDED_ROWS = 100


class ParquetReader:
    """Reads the tables of one dataset, one after the other.

    Args:
        root: What the user gave: a table or a folder.
        tables: The files, sorted.
        options: The user's choices.
        context: Progress and issues.

    Raises:
        DataError: If a file is no table of labels.
        UsageError: If a folder that the user named is not there, or is.
    """

    def __init__(
        self, root: Path, tables: list[Path], options: ParquetOptions, context: Context
    ) -> None:
        self.tables = {path: rows_of(path) for path in tables}
        self.options = options
        self.context = context
        self.top = root if root.is_dir() else root.parent
        stated = [statement_of(read_schema(path)) for path in tables]
        self.statements = [statement for statement in stated if statement is not None]
        self.embedded = any("image" in read_schema(path).names for path in tables)
        self.target: Path | None = None
        if options.extract is not None and not context.dry_run:
            self.target = Path(options.extract)
            if self.target.exists():
                raise UsageError(
                    f"{self.target} exists already; images are written to a new folder only.",
                    hint="Name another one with --extract.",
                )
        self.media_root = self._media_root(self.statements)
        self.met: dict[str, None] = {}

    def _media_root(self, statements: list[Statement]) -> Path:
        if self.target is not None:
            return self.target
        if self.options.images is not None:
            for chosen in (Path(self.options.images), self.top / self.options.images):
                if chosen.is_dir():
                    return chosen
            raise UsageError(
                f"the folder of images {self.options.images} does not exist.",
                hint="Mend --images.",
            )
        if (self.top / "images").is_dir():
            return self.top / "images"
        roots = [Path(s.media_root) for s in statements if s.media_root is not None]
        return next((root for root in roots if root.is_dir()), self.top)

    def taxonomy(self) -> Taxonomy:
        """The classes that the files state; those that nobody states follow, sorted."""
        stated: dict[str, Category] = {}
        for statement in self.statements:
            for category in statement.taxonomy.categories:
                stated.setdefault(category.name, category)
        others = sorted(name for name in self.met if name not in stated)
        return Taxonomy((*stated.values(), *(Category(name=name) for name in others)))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Batches of `tlx.schema.RECORD`."""
        if self.embedded and self.target is None:
            message = "the images lie inside the table; the labels are read."
            hint = "Write them to a new folder, for training and viewers: --extract FOLDER"
            issue = Issue(
                "images-inside", message, str(next(iter(self.tables))), None, "kept", hint
            )
            self.context.issues.report(issue)
        tables = self.context.progress.track(self.tables.items(), "reading", len(self.tables))
        for path, rows in tables:
            try:
                yield from self._whole(path) if rows == "images" else self._grouped(path)
            except (OSError, pa.ArrowException) as error:
                reason = str(error).partition("\n")[0]
                raise DataError(
                    f"cannot be read as a table of labels: {reason}", place=path
                ) from error

    def _whole(self, path: Path) -> Iterator[pa.RecordBatch]:
        for batch in self._pieces(path, RECORD):
            columns = [conformed(_column(batch, field.name), field) for field in RECORD]
            yield self._noted(pa.RecordBatch.from_arrays(columns, schema=RECORD))
            if self.target is not None and "image" in batch.schema.names:
                self._extract(batch)

    def _grouped(self, path: Path) -> Iterator[pa.RecordBatch]:
        """Rows of objects, those of an image put together; an image may go over two pieces."""
        rest: pa.RecordBatch | None = None
        for batch in self._pieces(path, OBJECT_ROWS):
            columns = [conformed(_column(batch, field.name), field) for field in OBJECT_ROWS]
            piece = pa.RecordBatch.from_arrays(columns, names=OBJECT_ROWS.names)
            if rest is not None:
                piece = pa.concat_batches([rest, piece])
            ids = piece.column("image_id")
            starts = _starts(ids)
            if len(starts):
                rest = piece.slice(starts[-1])
                piece = piece.slice(0, starts[-1])
                if piece.num_rows:
                    yield self._noted(_records(piece))
        if rest is not None and rest.num_rows:
            yield self._noted(_records(rest))

    def _pieces(self, path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in schema.names]
            size = _ROWS
            if self.target is not None and "image" in file.schema_arrow.names:
                names.append("image")
                size = _EMBEDDED_ROWS
            for batch in file.iter_batches(size, columns=names, use_threads=False):
                # Text that is no UTF-8, or offsets that lead away, would fail far from here.
                batch.validate(full=True)
                yield batch

    def _noted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Take note of the classes."""
        for name in ("objects", "labels"):
            names = pc.list_flatten(batch.column(name)).field("category")
            self.met |= dict.fromkeys(pc.unique(names).to_pylist())
        return batch

    def _extract(self, batch: pa.RecordBatch) -> None:
        """Write the images that lie in a table below the folder that the user named."""
        images = conformed(batch.column("image"), pa.field("image", IMAGE)).to_pylist()
        for uri, image in zip(batch.column("uri").to_pylist(), images, strict=True):
            name = output_name(uri)
            if image is None or image["bytes"] is None or name is None or self.target is None:
                message = f"{uri} has no image in the table, or a name that leads away."
                self.context.issues.report(Issue("no-image", message, uri, None, "kept"))
                continue
            place = self.target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                file.write(image["bytes"])


def _column(batch: pa.RecordBatch, name: str) -> Any:
    place = batch.schema.get_field_index(name)
    return pa.nulls(batch.num_rows) if place < 0 else batch.column(place)


def _starts(image_ids: Any) -> list[int]:
    """The rows where another image begins; the first row is one."""
    if not len(image_ids):
        return []
    changes = pc.not_equal(image_ids[1:], image_ids[:-1])
    return [0, *(place + 1 for place in pc.indices_nonzero(changes).to_pylist())]


def _records(piece: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of objects as a batch of records."""
    starts = _starts(piece.column("image_id"))
    first = pa.array(starts)
    owners = np.repeat(np.arange(len(starts)), np.diff([*starts, piece.num_rows]))
    thing = piece.column("category").is_valid()
    columns: dict[str, Any] = {}
    for field in RECORD:
        if field.name != "objects":
            name = "image_attributes" if field.name == "attributes" else field.name
            columns[field.name] = piece.column(name).take(first)
    corners = {field.name: piece.column(field.name) for field in BOX}
    known = thing
    for values in corners.values():
        known = pc.and_(known, values.is_valid())
    boxes = pa.StructArray.from_arrays(
        [pc.fill_null(values, 0.0) for values in corners.values()],
        fields=list(BOX),
        mask=pc.invert(known),
    )
    others = [field for field in OBJECT if field.name != "category"]
    parts = [boxes if f.name == "box" else conformed(piece.column(f.name), f) for f in others]
    names = pc.fill_null(piece.column("category"), "")
    objects = pa.StructArray.from_arrays([names, *parts], fields=list(OBJECT)).filter(thing)
    counts = np.bincount(owners[np.asarray(thing)], minlength=len(starts))
    columns["objects"] = as_lists(objects, counts, RECORD.field("objects").type)
    return pa.RecordBatch.from_arrays([columns[name] for name in RECORD.names], schema=RECORD)
