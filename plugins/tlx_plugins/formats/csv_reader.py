"""From tables to records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.bad_input import duplicate_action, duplicate_hint
from tlx.box_policy import fault_of, settle, shown
from tlx.context import Context
from tlx.folder_walk import is_text
from tlx.issues import Issue
from tlx.media import ImageHeader, image_header
from tlx.model import AttributeValue, Box, Label, Object, Origin, Record, Taxonomy
from tlx.orientation import Ground, ground_of
from tlx.split_names import folder_split, split_in, usual_split
from tlx_plugins.formats.csv_boxes import BoxRule, find_rule, number_of
from tlx_plugins.formats.csv_images import Images, clean, is_url
from tlx_plugins.formats.csv_table import ABSENT, MINUS, PRESENT, Table, unsure_words
from tlx_plugins.formats.csv_text import Row

if TYPE_CHECKING:
    from tlx_plugins.formats.csv_format import CsvOptions


@dataclass(slots=True)
class _Image:
    """What the rows of one image said so far."""

    uri: str
    line: int
    ground: Ground
    split: str | None = None
    group: str | None = None
    objects: dict[tuple[Any, ...], Object] = field(default_factory=dict)
    labels: dict[str, bool | None] = field(default_factory=dict)
    attributes: dict[str, AttributeValue] = field(default_factory=dict)


class CsvReader:
    """Reads tables, each as a whole.

    Args:
        base: The folder of the tables.
        images: The images.
        tables: Paths of the tables below their folder, with what they hold.
        options: The user's choices.
        context: Progress and issues.
    """

    def __init__(
        self,
        base: Path,
        images: Images,
        tables: Sequence[tuple[str, Table]],
        options: CsvOptions,
        context: Context,
    ) -> None:
        self.base = base
        self.images = images
        self.tables = tables
        self.options = options
        self.context = context
        self.unsure = unsure_words(options)
        self.classes: dict[str, None] = {}
        self.file = ""
        self.table = tables[0][1]
        self.rule: BoxRule | None = None
        self.minus: bool | None = None
        self.rows: dict[str, _Image | None] = {}
        self.counts: dict[str, int] = {}

    def taxonomy(self) -> Taxonomy:
        """Class columns in their order; else the classes as they first occur."""
        return Taxonomy.of(self.classes)

    def records(self) -> Iterator[Record]:
        """The images of all tables, sorted; an image of two tables has one record."""
        done: dict[str, Record] = {}
        for file, table in self.tables:
            self.file, self.table = file, table
            for record in self._table_records():
                known = done.get(record.uri)
                if known is None:
                    done[record.uri] = record
                    continue
                same = _content(known) == _content(record)
                where = known.origin.path if known.origin else ""
                message = f"{record.uri} is in {where} too, " + (
                    "with the same labels." if same else "with other labels; those are kept."
                )
                hint = "Give the one table that counts, or go on with the first: --on-error skip"
                action = duplicate_action(self.options.duplicates, same=same)
                line = record.origin.line if record.origin else None
                self._report("duplicate-image", message, line, action, hint)
        for uri in sorted(done):
            yield done[uri]

    def _table_records(self) -> list[Record]:
        table = self.table
        for note in table.notes:
            self._report("assumed", note, 1, "kept")
        for bad in table.bad:
            self._report("bad-row", bad.message, bad.line)
        self.rows, self.counts = {}, {}
        if table.kind == "flags":
            self.minus = self._minus_one()
            self.classes |= dict.fromkeys(table.columns.titles[p] for p in table.classes)
        if table.kind == "boxes":
            self.rule = find_rule(
                table, self.options, lambda text: self._report("assumed", text, None, "kept")
            )
        seen: dict[tuple[str, ...], int] = {}
        track = self.context.progress.track
        for row in track(table.rows, f"reading {self.file}", len(table.rows)):
            self._row(row, seen)
        messages = {
            "unsure-label": "rows have no class, or a word for unsure; they label nothing.",
            "unsure-cell": "cells are blank or say that nobody is sure; kept as unsure.",
            "missing-image": "images are not there; no image was found, so sizes stay open.",
        }
        for code, number in self.counts.items():
            self._report(code, f"{number} {messages[code]}", None, "kept")
        split = self.options.split or folder_split(self.file) or split_in(
            self.file.rpartition("/")[2].rpartition(".")[0]
        )  # fmt: skip
        found = [image for image in self.rows.values() if image is not None]
        return [self._record(image, split) for image in found]

    def _record(self, image: _Image, split: str | None) -> Record:
        size = image.ground.stored
        return Record(
            image_id=image.uri,
            uri=image.uri,
            width=size[0] if size else None,
            height=size[1] if size else None,
            split=image.split or split,
            group=image.group,
            labels=tuple(Label(name, present) for name, present in image.labels.items()),
            objects=image.ground.brought_back(image.objects.values()),
            attributes=image.attributes,
            origin=Origin(self.file, image.line),
        )

    def _row(self, row: Row, seen: dict[tuple[str, ...], int]) -> None:
        columns = self.table.columns
        cells = row.cells
        if len(cells) != len(columns.titles):
            message = f"has {len(cells)} cells where {len(columns.titles)} columns are named."
            self._report("wrong-columns", message, row.line)
            return
        key = tuple(cells)
        if key in seen and self.options.duplicates != "keep":
            message = f"repeats line {seen[key]} word by word; counted once."
            action = duplicate_action(self.options.duplicates, same=True)
            hint = duplicate_hint(self.options.duplicates)
            self._report("duplicate-row", message, row.line, action, hint)
            return
        seen[key] = row.line
        if not all(map(is_text, cells)):
            self._report("bad-row", "holds characters that are no text.", row.line)
            return
        image = self._image(cells, row.line)
        if image is None:
            return
        image.split = image.split or self._split(cells)
        image.group = image.group or self._cell(cells, "group") or None
        if self.table.kind == "boxes":
            self._object(cells, row.line, image)
        elif self.table.kind == "labels":
            self._labels(cells, row.line, image)
        else:
            self._flags(cells, row.line, image)

    def _image(self, cells: list[str], line: int) -> _Image | None:
        """The image that a row is about; None if it is left out."""
        name = self._cell(cells, "image")
        folder = self.file.rpartition("/")[0]
        uri: str | None = None
        if is_url(name):
            uri = self.images.fetched.find(name) or name
        elif not clean(name):
            self._report("no-image", f"{name!r} names no image.", line)
            return None
        else:
            found = self.images.find(name, folder)
            if len(found) > 1:
                message = f"{name!r} may be {found[0]} or {found[1]}; the name is not enough."
                self._report("ambiguous-image", message, line)
                return None
            uri = found[0] if found else None
            if uri is None and self.images.paths:
                message = f"the image {name!r} is not among the {len(self.images.paths)} here."
                hint = "Put it in its place, or go on without it: --on-error skip"
                self._report("missing-image", message, line, hint=hint)
                return None
            uri = uri or (f"{folder}/{clean(name)}" if folder else clean(name))
        if uri not in self.rows:
            size = self._stated_size(cells)
            header = None
            if uri in self.images.paths and self.options.image_sizes:
                header = image_header(f"{self.images.root}/{uri}")
                if header is None:
                    message = f"the image {uri} cannot be read; its size stays open."
                    self._report("unreadable-image", message, line, "kept")
            elif uri not in self.images.paths and not is_url(uri):
                self.counts["missing-image"] = self.counts.get("missing-image", 0) + 1
            turned = header is not None and header.orientation != 1
            on_disk = header.size if header is not None and not turned else None
            if size and on_disk and size != on_disk:
                message = (
                    f"the size is said to be {size[0]} x {size[1]}; the image has {on_disk[0]} x "
                    f"{on_disk[1]}, which is taken."
                )
                self._report("wrong-size", message, line, "kept")
            if header is not None and turned:
                self.rows[uri] = self._turned(uri, line, header, size)
            else:
                known = on_disk or size
                self.rows[uri] = _Image(uri, line, Ground(known, 1, known))
        return self.rows[uri]

    def _turned(
        self, uri: str, line: int, header: ImageHeader, stated: tuple[int, int] | None
    ) -> _Image | None:
        """An image that EXIF turns, under the policy."""
        ground = ground_of(
            header,
            stated,
            self.options.exif,
            f"the image {uri}",
            lambda code, message, action, hint: self._report(code, message, line, action, hint),
        )
        return None if ground is None else _Image(uri, line, ground)

    def _stated_size(self, cells: list[str]) -> tuple[int, int] | None:
        values = [number_of(self._cell(cells, side)) for side in ("width", "height")]
        width, height = (int(v) if v is not None and 1 <= v < 1 << 31 else 0 for v in values)
        return (width, height) if width and height else None

    def _split(self, cells: list[str]) -> str | None:
        word = self._cell(cells, "split")
        return None if word.casefold() in self.unsure else usual_split(word) or word

    def _cell(self, cells: list[str], part: str) -> str:
        position = self.table.columns.where.get(part)
        return "" if position is None else cells[position]

    def _object(self, cells: list[str], line: int, image: _Image) -> None:
        columns = self.table.columns
        texts = [cells[position] for position in columns.corners]
        category = self._cell(cells, "label")
        if "label" not in columns.where:
            category = self.options.category or ""
        if all(text.casefold() in self.unsure for text in texts):
            if category.casefold() in self.unsure or "label" not in columns.where:
                return  # A row that only says that the image is there.
            self._report("no-box", f"the {category!r} has no box.", line)
            return
        if category.casefold() in self.unsure:
            self._report("unsure-label", f"the class of this box is {category!r}.", line)
            return
        box = self._box(cells, line, image)
        if box is None:
            return
        fault = fault_of(box, image.ground.size)
        kept: Box | None = box
        if fault is not None:
            subject = f"the box {shown(box)} of {category!r}"
            kept = settle(
                box,
                image.ground.size,
                fault,
                self.options.bad_boxes,
                subject,
                lambda code, message, action, hint: self._report(code, message, line, action, hint),
            )
        if kept is None:
            return
        again = line if self.options.duplicates == "keep" else 0
        key = (category, kept.xmin, kept.ymin, kept.xmax, kept.ymax, again)
        if key in image.objects:
            first = image.objects[key].line
            message = f"the same {category!r} is on line {first} already; counted once."
            action = duplicate_action(self.options.duplicates, same=True)
            self._report("duplicate-object", message, line, action)
            return
        self.classes.setdefault(category)
        image.objects[key] = Object(
            category=category,
            box=kept,
            object_id=self._cell(cells, "object_id") or None,
            track=self._cell(cells, "track") or None,
            attributes=self._attributes(cells, confidence=True),
            line=line,
            difficult=_flag(self._cell(cells, "difficult")),
            truncated=_flag(self._cell(cells, "truncated")),
            occluded=_flag(self._cell(cells, "occluded")),
            crowd=_flag(self._cell(cells, "crowd")),
        )

    def _box(self, cells: list[str], line: int, image: _Image) -> Box | None:
        """The box that a row says; None if it is reported."""
        rule = self.rule
        numbers = rule.numbers(cells) if rule is not None else None
        if rule is None or numbers is None:
            written = ", ".join(cells[position] for position in self.table.columns.corners)[:80]
            message = f"the box {written!r} is not four finite numbers."
            self._report("bad-corner", message, line)
            return None
        if rule.normalised and image.ground.size is None:
            message = f"the box is a share of the size of {image.uri}, which is not known."
            hint = "Put the image in its place, or go on without: --on-error skip"
            self._report("no-size", message, line, hint=hint)
            return None
        return rule.box(numbers, image.ground.size)

    def _labels(self, cells: list[str], line: int, image: _Image) -> None:
        """A row of one label, or of several in one cell."""
        text = self._cell(cells, "label")
        parts = text.split(self.options.separator) if self.options.separator else [text]
        names = [part.strip() for part in parts]
        present: bool | None = True
        if "confidence" in self.table.columns.where:
            # Open Images: 1 is verified, 0 verified to be absent; between, a machine said it.
            sure = number_of(self._cell(cells, "confidence"))
            present = True if sure == 1 else False if sure == 0 else None
        for name in names:
            if name.casefold() in self.unsure:
                self.counts["unsure-label"] = self.counts.get("unsure-label", 0) + 1
            else:
                self.classes.setdefault(name)
                self._label(name, present, line, image)
        for name, value in self._attributes(cells).items():
            image.attributes.setdefault(name, value)

    def _flags(self, cells: list[str], line: int, image: _Image) -> None:
        """A row of a column for each class."""
        for position in self.table.classes:
            word = cells[position].casefold()
            present: bool | None = None
            if word in PRESENT:
                present = True
            elif word in ABSENT:
                present = False
            elif word in MINUS:
                present = self.minus
            if present is None:
                self.counts["unsure-cell"] = self.counts.get("unsure-cell", 0) + 1
            self._label(self.table.columns.titles[position], present, line, image)
        for name, value in self._attributes(cells, set(self.table.classes)).items():
            image.attributes.setdefault(name, value)

    def _label(self, name: str, present: bool | None, line: int, image: _Image) -> None:
        if name not in image.labels:
            image.labels[name] = present
        elif image.labels[name] != present:
            words = {True: "present", False: "absent", None: "unsure"}
            message = (
                f"{name!r} is {words[present]} in {image.uri} here and {words[image.labels[name]]} "
                "on a line before, which is kept."
            )
            self._report("conflicting-label", message, line)

    def _minus_one(self) -> bool | None:
        """What -1 says: absent in a table of -1 and 1, unsure in one that has 0 too."""
        cells = {
            row.cells[p].casefold()
            for row in self.table.rows
            for p in self.table.classes
            if p < len(row.cells)
        }
        if not cells & MINUS:
            return None
        if self.options.minus_one != "auto":
            return False if self.options.minus_one == "absent" else None
        unsure = bool(cells & ABSENT)
        message = (
            "has -1, 0 and 1: -1 is taken as unsure; --minus-one absent says otherwise."
            if unsure
            else "has -1 and 1 without 0: -1 is taken as absent; --minus-one unsure says otherwise."
        )
        self._report("assumed", message, None, "kept")
        return None if unsure else False

    def _attributes(
        self, cells: list[str], without: set[int] | None = None, *, confidence: bool = False
    ) -> dict[str, AttributeValue]:
        titles = self.table.columns.titles
        found: dict[str, AttributeValue] = {}
        for position in self.table.columns.rest:
            if cells[position] and titles[position] and position not in (without or ()):
                found[titles[position]] = _typed(cells[position])
        if confidence and (text := self._cell(cells, "confidence")):
            found["confidence"] = _typed(text)
        return found

    def _report(
        self,
        code: str,
        message: str,
        line: int | None,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        place = str(self.base / self.file)
        self.context.issues.report(Issue(code, message, place, line, action, hint))


def _content(record: Record) -> tuple[object, ...]:
    objects = [(o.category, o.box) for o in record.objects]
    return sorted(objects, key=repr), set(record.labels)


def _typed(text: str) -> AttributeValue:
    value = number_of(text)
    if value is None:
        return text
    # A leading zero or plus is part of a code, not of a number.
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
        return int(text)
    return value if re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+", text) else text


def _flag(text: str) -> bool | None:
    word = text.casefold()
    return True if word in PRESENT else False if word in ABSENT else None
