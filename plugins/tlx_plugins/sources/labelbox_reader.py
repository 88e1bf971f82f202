"""From the rows of a Labelbox export to records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tlx.bad_input import duplicate_action, duplicate_hint
from tlx.context import Context
from tlx.errors import DataError
from tlx.identities import Identities
from tlx.model import Record
from tlx.schema import uncollected
from tlx_plugins.sources import labelbox_file, labelbox_legacy
from tlx_plugins.sources.labelbox_choice import Chooser
from tlx_plugins.sources.labelbox_columns import IMAGE_TYPES, Columns
from tlx_plugins.sources.labelbox_file import BadRow, Block
from tlx_plugins.sources.labelbox_images import LocalImages, url_name
from tlx_plugins.sources.labelbox_journal import Journal
from tlx_plugins.sources.labelbox_masks import Masks
from tlx_plugins.sources.labelbox_records import RecordMaker
from tlx_plugins.sources.labelbox_schema import DataRow, ExportRow, Project

if TYPE_CHECKING:
    from tlx_plugins.sources.labelbox import LabelboxOptions

_FILE_BITS = 44
"""A position is the file's number, and there the line of NDJSON or the offset in a text."""


class LabelboxReader:
    """Reads the files of one export, one row after the other; use it once.

    Args:
        files: The export files, in order.
        root: What record origins are relative to.
        images: The local images, if a folder of them was given.
        masks: The masks, if they were fetched.
        options: The user's choices.
        context: Progress and issues.
    """

    at_once = True
    """Whether rows without a surprise may go through columns."""

    def __init__(
        self,
        files: Sequence[Path],
        root: Path,
        images: LocalImages | None,
        masks: Masks | None,
        options: LabelboxOptions,
        context: Context,
    ) -> None:
        self.files = files
        self.root = root
        self.options = options
        self.journal = Journal(context.issues)
        self.report = self.journal.report
        self.maker = RecordMaker(options, images, masks, self.journal)
        self.chooser = Chooser(options.consensus, options.project, self.report)
        self.seen = Identities()
        """Position of the row that has an image id."""
        self.starts: dict[int, list[tuple[int, int]]] = {}
        """Lines of each file, some way apart, and where they start."""
        self.columns = Columns(self.maker.objects.names)
        self.texts: dict[int, labelbox_file.Text] = {}
        self.file = 0
        self.bottom_left = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All records: files in sorted order, rows in the order of their file."""
        columns = self.columns
        for number, path in enumerate(self.files):
            self.file = number
            self.journal.path = str(path)
            self.journal.origin = path.relative_to(self.root).as_posix()
            self.bottom_left = self.options.origin == "bottom-left"
            columns.begin(self.journal.origin)
            if labelbox_file.kind_of(path) == "stream":
                yield from self._stream(path)
            else:
                yield from self._filled(self._text(labelbox_file.Text(path)))
        if self.options.project is not None and not self.chooser.found:
            known = ", ".join(self.chooser.seen) or "none"
            raise DataError(
                f"has no project {self.options.project!r}; its projects: {known}.",
                place=self.root,
                hint="Name one of them with --project, by name or id.",
            )
        if len(columns):
            yield columns.batch()

    def _filled(self, records: Iterable[Record]) -> Iterator[pa.RecordBatch]:
        """Put records into the batch; those that get full."""
        for record in records:
            self.columns.put(record)
            if not self.columns.room:
                yield self.columns.batch()

    def _stream(self, path: Path) -> Iterator[pa.RecordBatch]:
        options = self.options
        # What a surprise is depends on these; an image has to be opened besides.
        plain = (
            self.at_once
            and options.project is None
            and not self.bottom_left
            and self.maker.images is None
        )
        starts = self.starts[self.file] = []
        for block in labelbox_file.blocks(path):
            starts.append((block.line, block.position))
            full: list[pa.RecordBatch] = []
            done = 0
            if plain:
                with uncollected():
                    done = self._as_columns(block, full)
            yield from full
            if done < block.number:
                yield from self._filled(self._one_by_one(block, done))

    def _as_columns(self, block: Block, full: list[pa.RecordBatch]) -> int:
        """Read the rows of a block as columns as far as that goes; returns how many there are."""
        rows = block.at_once() or []
        done = 0
        while done < len(rows):
            part = rows[done : done + self.columns.room]
            if not self._at_once(part, block.line + done):
                break
            done += len(part)
            if not self.columns.room:
                full.append(self.columns.batch())
        return done

    def _at_once(self, rows: Sequence[ExportRow], line: int) -> bool:
        """Read rows that fit into the batch as columns; False leaves it as it was."""
        columns = self.columns
        before, begin = len(columns), columns.plain
        image_ids = [
            (data := row.data_row).external_id or data.global_key or data.id or _url_name(data)
            for row in rows
        ]
        odd = columns.add(rows, image_ids, line)
        if odd is None:
            return False
        base = self.file << _FILE_BITS | line
        # Which of two rows with one id comes first is told one by one.
        if not (self.seen.are_new(image_ids) if odd else self.seen.add(image_ids, base)):
            columns.back(begin)
            return False
        if not odd:
            return True
        start = left_out = 0
        for number in odd:
            self.seen.add(image_ids[start:number], base + start)
            start = number + 1
            self.journal.line = line + number
            left_out += 1
            for record in self._row(rows[number], base + number):
                left_out -= 1
                columns.put(record, before + number - left_out)
        self.seen.add(image_ids[start:], base + start)
        return True

    def _one_by_one(self, block: Block, first: int) -> Iterator[Record]:
        base = self.file << _FILE_BITS
        for row in block.one_by_one(first):
            if isinstance(row, BadRow):
                self._bad(row)
                continue
            value, _, self.journal.line = row
            if isinstance(value, ExportRow):
                yield from self._row(value, base | self.journal.line)
            else:
                self.report("bad-row", "is no row of today's export, as the first line is.")

    def _bad(self, row: BadRow) -> None:
        self.journal.line = row.line
        self.report(row.code, row.message, hint=row.hint)

    # Older exports, and today's in other containers.

    def _text(self, text: labelbox_file.Text) -> Iterator[Record]:
        self.texts[self.file] = text
        groups: dict[str, list[tuple[int, int]]] = {}
        new_origin = any_geometry = False
        for row in text.rows():
            if isinstance(row, BadRow):
                self._bad(row)
                continue
            value, position, line = row
            self.journal.line = line
            if isinstance(value, ExportRow):
                # Rows of today stand alone; a number keeps their place among the others.
                groups[f"row\0{position}"] = [(position, line)]
            elif labelbox_legacy.is_row(value):
                new_origin = new_origin or labelbox_legacy.is_new_origin(value)
                label = value.get("Label")
                any_geometry = any_geometry or (isinstance(label, dict) and bool(label))
                groups.setdefault(labelbox_legacy.identity(value), []).append((position, line))
            else:
                keys = ", ".join(sorted(value)[:4]) or "no keys"
                self.report("bad-row", f"is no row of a Labelbox export; it has {keys}.")
        older = any(not key.startswith("row\0") for key in groups)
        if self.options.origin == "auto" and older and not new_origin:
            self._assume_bottom(any_geometry)
        base = self.file << _FILE_BITS
        for places in groups.values():
            self.journal.line = places[0][1]
            export = self._joined(text, places)
            if export is not None:
                yield from self._row(export, base | places[0][0])

    def _assume_bottom(self, any_geometry: bool) -> None:
        self.bottom_left = True
        if any_geometry:
            self.journal.line = None
            message = (
                "is an export of before October 2018 by its shape and dates; y is counted from "
                "the bottom of the image, as Labelbox wrote it then."
            )
            self.report("origin-assumed", message, "kept")

    def _joined(self, text: labelbox_file.Text, places: list[tuple[int, int]]) -> ExportRow | None:
        """All rows about one image as one row of today's shape."""
        joined: ExportRow | None = None
        seen: dict[str, Any] = {}
        for position, line in places:
            self.journal.line = line
            value = text.row_at(position)
            if isinstance(value, ExportRow) or value is None:
                return value
            name = value.get("ID")
            if isinstance(name, str) and name in seen:
                same = seen[name] == value
                message = f"the label {name} is in the file twice" + (
                    "." if same else ", and differs; the first one is kept."
                )
                self._duplicate(message, same=same)
                continue
            if isinstance(name, str) and len(places) > 1:
                seen[name] = value
            label = labelbox_legacy.label_set(value, self.report)
            if label is None:
                continue
            if joined is None:
                joined = ExportRow(
                    data_row=labelbox_legacy.data_row(value),
                    media_attributes=labelbox_legacy.media(value),
                    projects={},
                    data_split=labelbox_legacy.data_split(value),
                )
            project = labelbox_legacy.project_name(value)
            projects = joined.projects
            if projects is not None:
                known = projects.setdefault(project, Project(project, []))
                known.labels = [*(known.labels or ()), label]
        self.journal.line = places[0][1]
        return joined

    # One row.

    def _row(self, row: ExportRow, position: int) -> Iterable[Record]:
        """The records of a row: at most one unless it is a video."""
        choice = self.chooser.choose(row.projects)
        if not choice[0] and not self._keep_unlabelled(choice[1], row):
            return ()
        media = row.media_attributes
        usual = media is not None and media.mime_type in IMAGE_TYPES
        if not usual and not self.maker.is_visual(row):
            return ()
        image_id = self._image_id(row.data_row, row, position)
        if image_id is None:
            return ()
        return self.maker.records(row, image_id, choice, self.bottom_left)

    def _keep_unlabelled(self, status: str, row: ExportRow) -> bool:
        keep = self.options.unlabelled == "keep"
        what = "was skipped by its annotators" if status == "skipped" else "has no label"
        if row.experiments and not row.projects:
            what += " of a project (labels and predictions of model runs are not read)"
        done = "kept without objects" if keep else "left out"
        self.report(
            "skipped-row" if status == "skipped" else "unlabelled-row",
            f"{what}; {done} (option unlabelled).",
            "kept" if keep else "requested",
        )
        return keep

    def _image_id(self, data: DataRow, row: ExportRow, position: int) -> str | None:
        """The external id, or what comes next to it; unique. None for a row read before."""
        image_id = data.external_id or data.global_key or data.id or _url_name(data)
        if not image_id:
            self.report("no-id", "has no external id, no global key, no id and no URL.")
            return None
        earlier = self.seen.claim(image_id, position)
        if earlier == position:
            return image_id
        other = self._again(earlier)
        if other is not None and _same_row(other.data_row, data):
            same = other == row
            message = f"the data row {data.id or image_id} was read before" + (
                "." if same else ", and differs; the first one is kept."
            )
            self._duplicate(message, same=same)
            return None
        new = f"{image_id}#{data.id or data.row_data or position}"
        message = f"another data row has the external id {image_id!r} too; this is {new!r}."
        self.report("shared-id", message, "kept")
        if self.seen.claim(new, position) != position:
            self._duplicate(f"the data row {new} was read before.", same=False)
            return None
        return new

    def _duplicate(self, message: str, *, same: bool) -> None:
        policy = self.options.duplicates
        action = duplicate_action(policy, same=same)
        self.report("duplicate-row", message, action, duplicate_hint(policy))

    def _again(self, position: int) -> ExportRow | None:
        number, offset = divmod(position, 1 << _FILE_BITS)
        text = self.texts.get(number)
        if text is None:
            return labelbox_file.row_at(self.files[number], offset, self.starts[number])
        value = text.row_at(offset)
        if isinstance(value, dict):
            return ExportRow(data_row=labelbox_legacy.data_row(value))
        return value


def _url_name(data: DataRow) -> str:
    return url_name(data.row_data) if data.row_data else ""


def _same_row(first: DataRow, second: DataRow) -> bool:
    """Whether two rows are about the same thing, not only of the same name."""
    if first.id is not None or second.id is not None:
        return first.id == second.id
    return first.row_data == second.row_data
