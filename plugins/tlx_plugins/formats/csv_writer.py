"""From a dataset to one table with a row for each object."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.api import WriteReport
from tlx.context import Context
from tlx.errors import UsageError
from tlx.file_names import CONTROL, output_name
from tlx.issues import Issue
from tlx.model import Box, Object, Record
from tlx.output_files import OutputFiles

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.csv_format import CsvOptions

HEADER = (
    "image", "width", "height", "split", "group", "category", "xmin", "ymin", "xmax", "ymax",
    "difficult", "truncated", "occluded", "crowd", "object_id", "track",
)  # fmt: skip
TABLE = "labels.csv"


class CsvWriter:
    """Writes a dataset; use it once.

    Args:
        dataset: What to write.
        dest: A file to make if its name ends with ``.csv``, else a folder.
        options: The user's choices.
        context: Progress, issues, and the policy for what cannot be written.
    """

    def __init__(self, dataset: Dataset, dest: Path, options: CsvOptions, context: Context) -> None:
        self.dataset = dataset
        self.dest = dest
        self.options = options
        self.context = context
        self.unsure = frozenset(options.unsure.casefold().split())
        self.doubtful: set[str] = set()

    def write(self) -> WriteReport:
        """Write the table, and bring the images along where that is asked for.

        Raises:
            UsageError: If images should go beside a single file.
        """
        single = self.dest.suffix.lower() == ".csv"
        if single and self.options.media != "reference":
            raise UsageError(
                f"images cannot go into {self.dest.name}.",
                hint="Name a folder with --output, or leave the images: --media reference",
            )
        if not single:
            self.dest.mkdir(parents=True)
        images = objects = 0
        files = OutputFiles(self.dest, self.options.media, self.context.workers)
        files.names.append(self.dest.name if single else TABLE)
        records = self.context.progress.track(
            self.dataset.records(), "writing CSV", self.dataset.counts.images
        )
        path = self.dest if single else self.dest / TABLE
        with path.open("w", encoding="utf-8", newline="") as file, files:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            for record in records:
                name = record.uri if "://" in record.uri else output_name(record.uri)
                if name is None or not _fine(name):
                    message = f"the image {record.uri!r} has a name that a table cannot hold."
                    self._report("unsafe-name", message, record.image_id)
                    continue
                rows = self._rows(record, name)
                writer.writerows(rows or [_row(record, name)])
                images += 1
                objects += len(rows)
                files.bring(self.dataset, record.uri, "", name)
        for category in sorted(self.doubtful):
            message = f"the class {category!r} reads as unsure."
            hint = "Read the table back with: --unsure ''"
            self._report("unsure-label", message, None, "kept", hint)
        return WriteReport(tuple(sorted(files.names)), images, objects)

    def _rows(self, record: Record, name: str) -> list[list[str]]:
        """A row for each object that a table can hold."""
        rows = []
        for item in record.objects:
            box = item.box or _bounds(item)
            if box is None or not all(map(math.isfinite, _corners(box))):
                message = f"an object {item.category!r} of {record.image_id} has no finite box."
                self._report("no-box", message, record.image_id)
            elif not _fine(item.category):
                message = f"the class {item.category!r} has a name that a table cannot hold."
                self._report("unsafe-name", message, record.image_id)
            else:
                if item.category.casefold() in self.unsure:
                    self.doubtful.add(item.category)
                rows.append(_row(record, name, item, box))
        return rows

    def _report(
        self,
        code: str,
        message: str,
        path: str | None,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        self.context.issues.report(Issue(code, message, path, None, action, hint))


def _row(
    record: Record, name: str, item: Object | None = None, box: Box | None = None
) -> list[str]:
    """A row of `HEADER`; not stated is blank."""
    head = [name, _text(record.width), _text(record.height), record.split or "", record.group or ""]
    if item is None or box is None:
        return [*head, *[""] * (len(HEADER) - len(head))]
    flags = (item.difficult, item.truncated, item.occluded, item.crowd)
    return [
        *head,
        item.category,
        *(_text(value) for value in _corners(box)),
        *("" if flag is None else str(int(flag)) for flag in flags),
        item.object_id or "",
        item.track or "",
    ]


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.xmin, box.ymin, box.xmax, box.ymax


def _bounds(item: Object) -> Box | None:
    """The bounds of the polygons of an object without a box."""
    polygons = item.segmentation.polygons if item.segmentation is not None else ()
    xs = [value for polygon in polygons for value in polygon[0::2]]
    ys = [value for polygon in polygons for value in polygon[1::2]]
    return Box(min(xs), min(ys), max(xs), max(ys)) if xs and ys else None


def _text(value: float | None) -> str:
    """The shortest text that reads back as the same number."""
    return "" if value is None else repr(value).removesuffix(".0")


def _fine(text: str) -> bool:
    """Whether a cell reads back as it was."""
    return bool(text) and text == text.strip() and not CONTROL.search(text)
