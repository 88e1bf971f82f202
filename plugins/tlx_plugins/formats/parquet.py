"""Parquet tables (parquet.apache.org) for pandas, Polars, DuckDB and Hugging Face datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.media_transfer import Media

if TYPE_CHECKING:
    from tlx.dataset import Dataset

_SUFFIXES = (".parquet", ".pq")
_QUICK_LOOK = 20


@dataclass(frozen=True)
class ParquetOptions:
    """How Parquet tables are read and written."""

    images: str | None = None
    """Reading: the folder that the column uri starts from; by default images/ beside the tables,
    or else what the table states."""

    extract: str | None = None
    """Reading: write the images that lie inside the tables to this new folder, which training and
    viewers need; without it nothing is written."""

    rows: Literal["images", "objects"] = "images"
    """Writing: one row for each image, its objects nested; or one row for each object, and one
    without a category for an image without objects. Nothing is lost in either."""

    embed: bool = False
    """Writing: put the bytes of the images into a column image, as Hugging Face datasets have it;
    only with --rows images."""

    media: Media = "reference"
    """Writing: leave the images where they are, which the table states, or bring them to images/.
    """


class ParquetFormat:
    """Reads a table or a folder of tables; writes ``SPLIT.parquet``, or ``data.parquet``.

    The columns are those of `tlx.schema.RECORD`; what they mean, the coordinate convention and the
    classes stand in the metadata of the file under ``tlx``.
    """

    name = "parquet"
    summary = "Parquet tables of images, or of objects: pandas, Polars, DuckDB, Hugging Face"
    options = ParquetOptions

    def traits(self, options: ParquetOptions) -> Traits:
        """Everything is kept, whatever the options."""
        del options
        return Traits()

    def sniff(self, root: Path) -> Match:
        """Look at the columns of the first tables; the parts of a dataset are not taken."""
        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        tables = find_tables(root)
        if not tables:
            return Match(missing=("no .parquet file",))
        from tlx_plugins.formats.parquet_columns import rows_of

        for path in tables[:_QUICK_LOOK]:
            try:
                kind = rows_of(path)
            except DataError:
                continue
            return Match(met=(f"{path.name} has one row for each {kind.removesuffix('s')}",))
        return Match(missing=("no table with the columns image_id and objects, or category",))

    def read(self, root: Path, options: ParquetOptions, context: Context) -> Reading:
        """Open a table or a folder of tables.

        Columns may be missing, other columns are passed over, and the order of rows and columns is
        free, but for the rows of objects, where those of an image stand together. The classes are
        those that the file states, or else those that the objects have, sorted.
        """
        from tlx_plugins.formats.parquet_reader import ParquetReader

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give a .parquet file or a folder.")
        tables = find_tables(root)
        if not tables:
            raise DataError(
                "holds no .parquet file.", place=root, hint="Give a table, or a folder of tables."
            )
        reader = ParquetReader(root, tables, options, context)
        return Reading(reader.media_root, reader.batches(), reader.taxonomy, tuple(tables))

    def write(
        self, dataset: Dataset, dest: Path, options: ParquetOptions, context: Context
    ) -> WriteReport:
        """Write a table for each split; a part of the dataset is in memory at a time."""
        from tlx_plugins.formats.parquet_writer import ParquetWriter

        return ParquetWriter(dataset, dest, options, context).write()


def find_tables(root: Path) -> list[Path]:
    """The tables that a path is or holds, sorted; not the parts of a tlx dataset."""
    if root.is_file():
        return [root] if root.suffix.lower() in _SUFFIXES else []
    if (root / "manifest.json").is_file() and (root / "parts").is_dir():
        return []
    found = (p for p in root.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    return sorted(path for path in found if not path.name.startswith((".", "_")))
