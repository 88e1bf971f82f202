"""Tables of images and labels, in the conventions that people use for them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.bad_input import BadInputOptions
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.folder_walk import is_text, join, walk
from tlx.issues import Issue
from tlx.media_transfer import Media

if TYPE_CHECKING:
    from tlx.dataset import Dataset

_SUFFIXES = (".csv", ".tsv")
_OTHERS = (".xml", ".json", ".jsonl", ".ndjson", ".record", ".tfrecord", ".zip", ".yaml", ".yml")
_LISA = (
    "frameannotationsbox.csv",
    "frameannotationsbulb.csv",
    "frameannotations.csv",
    "allannotations.csv",
)
_QUICK_LOOK = 500
_FIRST_BYTES = 1 << 16


_NO = "the table has no column for it"
_TRAITS = Traits(
    drops={
        "frame": _NO,
        "labels": "image-level labels are not written beside boxes",
        "attributes": _NO,
        "objects.attributes": _NO,
        "objects.rotation": "the box is written without its rotation",
        "objects.keypoints": _NO,
        "objects.segmentation": "outlines and masks are not written",
        "objects.shape": "lines, ellipses and cuboids are not written",
    },
    assumes={"objects.box": "not stated is taken from the polygons"},
    pixel_convention="corners xmin, ymin, xmax, ymax in absolute pixels, half open",
)


@dataclass(frozen=True)
class CsvOptions(BadInputOptions):
    """How tables of labels are read and written."""

    delimiter: Literal["auto", "comma", "semicolon", "tab", "blanks"] = "auto"
    """Reading: what parts the cells; auto takes what splits the first lines into most known
    columns."""

    encoding: str | None = None
    """Reading: how the text is written, such as cp1252; by default UTF-8, or UTF-16 with its
    mark."""

    header: Literal["auto", "yes", "no"] = "auto"
    """Reading: whether the first line names the columns; auto takes it for a row if it begins with
    the name of an image. A first line that only counts the rows is passed over, as in CelebA."""

    columns: str | None = None
    """Reading: names of the columns in their order, parted by commas, in place of the header's."""

    category: str | None = None
    """Reading: the class of all boxes, for a table that has no column of classes."""

    separator: str | None = None
    """Reading: what parts several labels in one cell; by default a cell is one label."""

    unsure: str = "-1 ? NA N/A NaN"
    """Reading: words, parted by blanks, for a label that nobody is sure of, whatever their case; a
    blank cell always is. In a column of a class they make a label neither present nor absent; in a
    column of class names they name no class."""

    minus_one: Literal["auto", "absent", "unsure"] = "auto"
    """Reading: what -1 says in the columns of 0 and 1; auto: absent in a table of -1 and 1 only, as
    in CelebA, unsure in one that has 0 too."""

    coordinates: Literal["auto", "pixels", "normalised"] = "auto"
    """Reading: whether boxes are pixels or shares of the image's width and height; auto: shares if
    all numbers lie in 0..1 and not all are whole."""

    box_cell: Literal["auto", "xyxy", "xywh"] = "auto"
    """Reading: what the four numbers of a box in one cell are: two corners, or a corner and the
    size; auto: corners if at least half of the boxes have their second corner right of and below
    the first."""

    images: str | None = None
    """Reading: the folder of the images, such as one of tlx fetch; by default that of the
    tables."""

    split: str | None = None
    """Reading: the split of all images without one in the table; by default what a folder or the
    name of the table says (train, valid, test)."""

    image_sizes: bool = True
    """Reading: take width and height from the header of each image."""

    media: Media = "reference"
    """Writing: leave the images where they are, or bring them beside the table, where it finds
    them."""


class CsvFormat:
    """Reads one table, or the *.csv and *.tsv files of a folder; writes one table of boxes."""

    name = "csv"
    summary = "tables of images with boxes or labels: CSV, TSV, Open Images, Roboflow, VoTT, CelebA"
    options = CsvOptions

    def traits(self, options: CsvOptions) -> Traits:
        """What the format cannot hold, whatever the options."""
        del options
        return _TRAITS

    def sniff(self, root: Path) -> Match:
        """Look at the first lines; a folder with labels of another kind is not taken for CSV."""
        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        if root.is_file():
            if root.suffix.lower() not in (*_SUFFIXES, ".txt"):
                return Match(missing=(f"{root.name} is no .csv, .tsv or .txt",))
            return _look(root, root.name)
        return _look_around(root)

    def read(self, root: Path, options: CsvOptions, context: Context) -> Reading:
        """Open a table or a folder; rows are brought to their images on disk where they are many.

        The image id is the path of the image below the folder. Boxes in pixels are taken as they
        are written, with the lower right corner one past the box.

        Raises:
            DataError: If a table that was named is none of labels, or a folder holds none.
            UsageError: If the path or the encoding does not exist.
        """
        from tlx_plugins.formats.csv_images import Images
        from tlx_plugins.formats.csv_reader import CsvReader
        from tlx_plugins.formats.csv_table import Table, image_names, read_table
        from tlx_plugins.formats.csv_text import check_encoding

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give a table or its folder.")
        check_encoding(options.encoding)
        base = root.parent if root.is_file() else root
        images = Images(_image_folder(base, options.images))
        names = image_names(images.paths)
        if root.is_file():
            found = [root.name]
        else:
            found = [
                join(folder, name)
                for folder, files in walk(root)
                for name in files
                if name.lower().endswith(_SUFFIXES) and is_text(folder) and is_text(name)
            ]
            if not found:
                raise DataError(
                    "holds no .csv or .tsv file.",
                    place=root,
                    hint="Give the table itself if its name ends otherwise.",
                )
        tables: list[tuple[str, Table]] = []
        errors: list[DataError] = []
        for name in found:
            try:
                tables.append((name, read_table(base / name, options, names)))
            except DataError as error:
                errors.append(error)
        if errors and (not tables or len(found) == 1):
            raise errors[0]
        for wrong in errors:
            place = None if wrong.place is None else wrong.place.path
            line = None if wrong.place is None else wrong.place.line
            context.issues.report(
                Issue("unusable-table", wrong.message, place, line, "skipped", wrong.hint)
            )
        reader = CsvReader(base, images, tables, options, context)
        files = tuple(base / name for name, _ in tables)
        return Reading(images.root, reader.records(), reader.taxonomy, files)

    def write(
        self, dataset: Dataset, dest: Path, options: CsvOptions, context: Context
    ) -> WriteReport:
        """Write a row for each object, and one with blanks for an image without any.

        ``dest`` is the table if its name ends with ``.csv``, else a folder that gets
        ``labels.csv``. The columns are `tlx_plugins.formats.csv_writer.HEADER`; it is UTF-8 with
        commas, and what is not stated is blank.
        """
        from tlx_plugins.formats.csv_writer import CsvWriter

        return CsvWriter(dataset, dest, options, context).write()


def _look_around(root: Path) -> Match:
    """Whether a folder holds tables of labels and no labels of another kind."""
    tables: list[str] = []
    for folder, names in islice(walk(root), _QUICK_LOOK):
        for name in names:
            if name.lower().endswith(_OTHERS) or name.lower() in _LISA:
                other = join(folder, name)
                return Match(missing=(f"a table of labels alone; there is {other} too",))
            if name.lower().endswith(_SUFFIXES):
                tables.append(join(folder, name))
    roads = next((name for name in tables[:20] if _is_of_roads(root / name, name)), None)
    if roads is not None:
        return Match(missing=(f"a table of labels alone; {roads} is one of a road survey",))
    looks = [(name, _look(root / name, name)) for name in tables[:20]]
    found = [match for _, match in looks if match.ok]
    if found:
        return Match(met=found[0].met)
    return Match(missing=looks[0][1].missing if looks else ("no .csv or .tsv file",))


def _image_folder(base: Path, images: str | None) -> Path:
    if images is None:
        return base
    for folder in (Path(images).expanduser(), base / images):
        if folder.is_dir():
            return folder
    raise UsageError(f"the folder of images {images} does not exist.", hint="Mend --images.")


def _is_of_roads(path: Path, name: str) -> bool:
    """Whether a table gives labels to stretches of road, not to images, or is a code book."""
    from tlx_plugins.sources.road_tables import glance, is_code_book

    table = glance(path, name)
    if table is None:
        return False
    return table.columns.kind in {"segments", "sheet"} or is_code_book(table)


def _look(path: Path, name: str) -> Match:
    """Whether the first lines of a file are a table of labels."""
    from tlx_plugins.formats.csv_images import is_url
    from tlx_plugins.formats.csv_table import is_image_name, parse_table
    from tlx_plugins.formats.csv_text import first_lines

    if path.name.lower() in _LISA:
        return Match(missing=(f"{name} is LISA's",))
    if _is_of_roads(path, name):
        return Match(missing=(f"{name} is a table of a road survey",))
    try:
        table = parse_table(first_lines(path, _FIRST_BYTES), path, CsvOptions(), frozenset())
    except (OSError, DataError) as error:
        reason = error.message if isinstance(error, DataError) else str(error.strerror)
        return Match(missing=(f"{name} {reason}",))
    if table.kind == "flags" and 2 * len(table.classes) < len(table.columns.rest):
        return Match(missing=(f"{name} has few columns of 0 and 1 among others",))
    at = table.columns.where["image"]
    cells = [row.cells[at] for row in table.rows() if at < len(row.cells)]
    if path.suffix.lower() == ".txt" and not any(is_image_name(c) or is_url(c) for c in cells):
        return Match(missing=(f"{name} names no image",))
    words = {"boxes": "boxes", "labels": "labels", "flags": "columns of 0 and 1"}
    return Match(met=(f"{name} is a table of images and {words[table.kind]}",))
