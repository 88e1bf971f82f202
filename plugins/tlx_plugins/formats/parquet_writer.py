"""From a dataset to Parquet tables, one for each split."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tlx.api import WriteReport
from tlx.context import Context
from tlx.errors import UsageError
from tlx.issues import Issue
from tlx.output_files import OutputFiles
from tlx.schema import BOX, OBJECT, RECORD
from tlx_plugins.formats.parquet_columns import (
    DESCRIPTIONS,
    IMAGE,
    OBJECT_ROWS,
    Statement,
    with_statement,
)

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.parquet import ParquetOptions

IMAGES = "images"
_EMBEDDED_ROWS = 100
"""Images that are in memory at a time, and in one row group, where they are embedded; as many as
Hugging Face datasets write."""


class ParquetWriter:
    """Writes a dataset; use it once.

    Args:
        dataset: What to write.
        dest: A folder to make.
        options: The user's choices.
        context: Progress, issues, and the policy for what cannot be written.
    """

    def __init__(
        self, dataset: Dataset, dest: Path, options: ParquetOptions, context: Context
    ) -> None:
        if options.embed and options.rows == "objects":
            raise UsageError(
                "--embed would repeat an image for each of its objects.",
                hint="Embed images with: --rows images",
            )
        self.dataset = dataset
        self.dest = dest
        self.options = options
        self.context = context
        self.classes = pa.array(dataset.taxonomy.names, pa.string())
        self.files = OutputFiles(dest, options.media, context.workers)
        self.schema = self._schema()

    def _schema(self) -> pa.Schema:
        base = OBJECT_ROWS if self.options.rows == "objects" else RECORD
        if self.options.embed:
            base = base.append(pa.field("image", IMAGE))
        inside = {*base.names, *(field.name for field in OBJECT)} - {"objects"}
        if self.options.rows == "images":
            inside = {*inside, "objects"}
        elsewhere = self.options.media == "reference" and not self.options.embed
        statement = Statement(
            rows=self.options.rows,
            taxonomy=self.dataset.taxonomy,
            media_root=self.dataset.media_root.as_posix() if elsewhere else None,
            columns={name: text for name, text in DESCRIPTIONS.items() if name in inside},
        )
        return with_statement(base, statement)

    def write(self) -> WriteReport:
        """Write all files."""
        self.dest.mkdir(parents=True)
        names = {
            split: f"{quote(split, safe='') or 'data'}.parquet"
            for split in sorted(self.dataset.counts.images_by_split)
        }
        with ExitStack() as stack:
            writers = {
                split: stack.enter_context(
                    pq.ParquetWriter(self.dest / name, self.schema, compression="zstd")
                )
                for split, name in names.items()
            }
            stack.enter_context(self.files)
            for batch in self.context.progress.track(
                self.dataset.batches(), "writing Parquet", len(self.dataset.manifest.parts)
            ):
                splits = pc.fill_null(batch.column("split"), "")
                for split, writer in writers.items():
                    mine = batch.filter(pc.equal(splits, split))
                    for table in self._tables(mine) if mine.num_rows else ():
                        writer.write_table(table)
                self._bring(batch)
        counts = self.dataset.counts
        numbers = {name: number for number, name in enumerate(self.dataset.taxonomy.names)}
        return WriteReport(
            tuple(sorted([*names.values(), *self.files.names])),
            counts.images,
            counts.objects,
            numbers if self.options.rows == "objects" else {},
        )

    def _tables(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        if self.options.rows == "objects":
            yield pa.Table.from_batches([self._object_rows(batch)])
        elif not self.options.embed:
            yield pa.Table.from_batches([batch.replace_schema_metadata(self.schema.metadata)])
        else:
            for start in range(0, batch.num_rows, _EMBEDDED_ROWS):
                part = batch.slice(start, _EMBEDDED_ROWS)
                images = pa.array(map(self._embedded, part.column("uri").to_pylist()), IMAGE)
                yield pa.Table.from_arrays([*part.columns, images], schema=self.schema)

    def _embedded(self, uri: str) -> dict[str, Any] | None:
        """The bytes of an image file as they are, None with an issue where it is not there."""
        path = self.dataset.image_path(uri)
        try:
            if "://" in uri:
                raise FileNotFoundError
            return {"bytes": path.read_bytes(), "path": uri}
        except OSError:
            message = f"the image {uri} cannot be read; its row has no image."
            self.context.issues.report(Issue("no-image", message, str(path), None, "changed"))
            return None

    def _object_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """One row for each object, and one for an image without any."""
        lists = batch.column("objects")
        empty = pc.indices_nonzero(pc.equal(pc.list_value_length(lists), 0))
        owners = pc.list_parent_indices(lists)
        flat = pc.list_flatten(lists)
        rows = pa.concat_arrays([owners.cast(pa.int64()), empty.cast(pa.int64())])
        order = pc.sort_indices(rows) if len(empty) else pa.array(range(len(rows)))
        rows = rows.take(order)
        # Beyond the last object: null for the images without any.
        places = pc.if_else(pc.less(order, len(flat)), order, pa.scalar(None, order.type))
        things = flat.take(places)
        categories = things.field("category")
        columns: dict[str, Any] = {
            name: batch.column(name).take(rows) for name in RECORD.names if name != "objects"
        }
        columns["image_attributes"] = columns.pop("attributes")
        columns |= {
            "category": pc.struct_field(things, "category"),
            "category_id": pc.index_in(categories, self.classes),
            **{field.name: pc.struct_field(things, ["box", field.name]) for field in BOX},
        }
        for field in OBJECT:
            if field.name not in {"category", "box"}:
                columns[field.name] = pc.struct_field(things, field.name)
        return pa.RecordBatch.from_arrays(
            [columns[name] for name in OBJECT_ROWS.names], schema=self.schema
        )

    def _bring(self, batch: pa.RecordBatch) -> None:
        if self.options.media != "reference":
            for uri in batch.column("uri").to_pylist():
                self.files.bring(self.dataset, uri, IMAGES)
