"""Tables of road surveys: segments of road with labels, joined to images by road and chainage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.model import Taxonomy

if TYPE_CHECKING:
    from tlx_plugins.sources.road_codes import CodeBook
    from tlx_plugins.sources.road_tables import RoadTable


@dataclass(frozen=True)
class RoadOptions:
    """How tables of road surveys are read."""

    tables: str | None = None
    """The only tables to read, relative to the folder and parted by commas; by default all of
    them."""

    images: str | None = None
    """The folder of the images; by default the one that is read."""

    pattern: str | None = None
    """How the names of images say where they were taken, such as '{road}_{chainage}';
    {carriageway}, {camera} and {any} may stand in it too. By default a table of images says it,
    with the columns image, road and chainage."""

    gps: float | None = None
    """Metres: an image whose place is known by nothing but GPS, in a table of images or in its
    EXIF data, lies on the nearest segment within so many metres. The table of segments needs
    latitude and longitude."""

    codes: str | None = None
    """The code book of a coded survey: a table with the columns attribute, code and name. By
    default the one that lies in the folder."""

    labels: str | None = None
    """The columns that are labels, parted by commas; by default those that the code book knows,
    those of 0 and 1, and one named label or class."""

    separator: str | None = None
    """What parts several labels in one cell; by default a cell is one label."""

    units: Literal["auto", "m", "km", "mile"] = "auto"
    """The unit of the segments' ends; auto: what the columns' names say, else metres for from and
    to, kilometres for distance and length, as in iRAP's upload file."""

    image_units: Literal["auto", "m", "km", "mile"] = "auto"
    """The unit of the images' positions; auto: what the column's name says, else metres."""

    group: Literal["segment", "stretch", "road"] = "segment"
    """What must not be split: the images of one segment, of a longer stretch, or of a road.
    Neighbouring segments look alike: a stretch of a kilometre makes a more honest split."""

    stretch: float = 1000.0
    """Metres of a stretch; a segment belongs to the stretch in which it begins."""

    unlabelled: Literal["report", "leave-out", "keep"] = "report"
    """Images that lie on no segment: a bad record (see --on-error), left out, or kept without
    labels."""

    unsure: str = "-1 ? NA N/A NaN"
    """Words, parted by blanks, for a label that nobody is sure of, whatever their case; a blank
    cell always is."""

    delimiter: Literal["auto", "comma", "semicolon", "tab", "blanks"] = "auto"
    """What parts the cells of a text; auto takes what splits the first lines best."""

    encoding: str | None = None
    """How a text is written, such as cp1252; by default UTF-8, or UTF-16 with its mark."""

    split: str | None = None
    """The split of all images."""

    image_sizes: bool = True
    """Read width and height from the header of each image."""


class RoadCsvSource:
    """Reads a folder with tables, or one table, of text or of Excel.

    Without segments it reads single images whose attributes are coded, with their code book.

    The labels of a record are those of its segment, not of what is seen in the image: the
    attribute `tlx.model.BAG` names the segment, and no split parts its images.
    """

    name = "road-csv"
    summary = "Road surveys: labels of 100 m segments, joined to images by road and chainage"
    options = RoadOptions

    def sniff(self, root: Path) -> Match:
        """Look for a table with road, from and to, or one of iRAP's."""
        from tlx_plugins.sources.road_tables import glance, is_code_book, quick_tables

        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        names = [root.name] if root.is_file() else quick_tables(root)[:20]
        base = root.parent if root.is_file() else root
        seen = [table for name in names if (table := glance(base / name, name)) is not None]
        for table in seen:
            if table.columns.kind in {"segments", "sheet"}:
                what = {"segments": "road segments", "sheet": "segments and their images"}
                return Match(met=(f"{table.name} is a table of {what[table.columns.kind]}",))
        book = next((table.name for table in seen if is_code_book(table)), None)
        if book is not None and any("image" in table.columns.where for table in seen):
            return Match(met=(f"{book} is the code book of a table of images",))
        return Match(missing=("no table with road, from and to, or road, distance and length",))

    def read(self, root: Path, options: RoadOptions, context: Context) -> Reading:
        """Open a table or a folder; all tables are in memory at once.

        Raises:
            DataError: If there is no table of segments, or units do not fit.
            UsageError: If a path or an option is wrong.
        """
        from tlx_plugins.formats.csv_images import Images
        from tlx_plugins.formats.csv_text import check_encoding
        from tlx_plugins.sources.road_join import RoadJoin, name_pattern
        from tlx_plugins.sources.road_reader import RoadReader

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give a folder or a table.")
        check_encoding(options.encoding)
        if options.pattern is not None:
            name_pattern(options.pattern)
        if options.gps is not None and not 0 < options.gps <= 10_000:
            raise UsageError("--gps must be a distance in metres, such as 30.")
        if options.stretch <= 0:
            raise UsageError("--stretch must be a length in metres above 0.")
        base = root.parent if root.is_file() else root
        tables, book, files = _tables(root, base, options)
        images = Images(_folder(base, options.images))
        reader = RoadReader(base, tables, book, options, context)
        join = RoadJoin(images, reader, options, context)
        return Reading(
            images.root, join.records(), Taxonomy.of(reader.classes), tuple(sorted(files))
        )


def _tables(
    root: Path, base: Path, options: RoadOptions
) -> tuple[list[RoadTable], CodeBook | None, list[Path]]:
    """All tables but the code book; the code book; and the files of both."""
    from tlx_plugins.sources.road_codes import CodeBook
    from tlx_plugins.sources.road_tables import find_tables, is_code_book, read_table

    if options.tables is not None:
        names = [name.strip() for name in options.tables.split(",") if name.strip()]
    else:
        names = [root.name] if root.is_file() else find_tables(root)
    tables: list[RoadTable] = []
    books: list[tuple[RoadTable, Path]] = []
    for name in names:
        path = base / name
        if not path.is_file():
            raise UsageError(f"{path} is not a file.", hint="Mend --tables.")
        table = read_table(path, name, options.encoding, options.delimiter)
        if is_code_book(table):
            books.append((table, path))
        else:
            tables.append(table)
    if options.codes is not None:
        chosen = next((p for p in (Path(options.codes), base / options.codes) if p.is_file()), None)
        if chosen is None:
            raise UsageError(f"the code book {options.codes} does not exist.", hint="Mend --codes.")
        table = read_table(chosen, options.codes, options.encoding, options.delimiter)
        books = [(table, chosen)]
    if len(books) > 1:
        raise UsageError(
            f"there are {len(books)} code books: {', '.join(t.name for t, _ in books)}.",
            hint="Name one with --codes.",
        )
    roads = any(table.columns.kind in {"segments", "sheet"} for table in tables)
    if not roads and not (books and any("image" in table.columns.where for table in tables)):
        found = ", ".join(repr(t) for table in tables[:1] for t in table.columns.titles[:8])
        raise DataError(
            "has no table of road segments: looked for the columns road, from and to, or road, "
            f"distance and length; found {found or 'no table'}.",
            place=root,
            hint="Tables of single images and labels are read by: tlx ingest csv",
        )
    book = CodeBook.of(books[0][0], str(books[0][1])) if books else None
    return tables, book, [base / table.name for table in tables] + [path for _, path in books]


def _folder(base: Path, images: str | None) -> Path:
    if images is None:
        return base
    for folder in (Path(images).expanduser(), base / images):
        if folder.is_dir():
            return folder
    raise UsageError(f"the folder of images {images} does not exist.", hint="Mend --images.")
