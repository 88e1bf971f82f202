"""From tables to records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

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
from tlx_plugins.formats.csv_text import BadRow, Row
from tlx_plugins.spill import Item, Spill

if TYPE_CHECKING:
    from tlx_plugins.formats.csv_format import CsvOptions

_CHUNK = 1 << 19
"""Bytes of rows that wait in memory."""

_cells = msgspec.msgpack.Decoder(list[str])


@dataclass(slots=True)
class _File:
    """A table, and what is known of all of its rows.

    ``counts`` are how often something happened that is said once for all.
    """

    number: int
    name: str
    table: Table
    rule: BoxRule | None = None
    minus: bool | None = None
    split: str | None = None
    counts: Counter[str] = field(default_factory=Counter)


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
    """Reads tables: first their rows are brought to their images, then image by image.

    Rows that do not fit in little memory wait on disk (`tlx_plugins.spill`).

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
        self.options = options
        self.context = context
        self.unsure = unsure_words(options)
        self.classes: dict[str, tuple[int, int, int]] = {}
        """Where each class occurs first: table, line, and which in the line."""
        self.files = [_File(number, *table) for number, table in enumerate(tables)]
        self.file = self.files[0]

    def taxonomy(self) -> Taxonomy:
        """Class columns in their order; else the classes as they first occur."""
        return Taxonomy.of(sorted(self.classes, key=self.classes.__getitem__))

    def _learn(self, name: str, line: int, place: int = 0) -> None:
        where = (self.file.number, line, place)
        self.classes[name] = min(where, self.classes.get(name, where))

    def records(self) -> Iterator[Record]:
        """The images of all tables, sorted; an image of two tables has one record."""
        with Spill(_CHUNK) as spill:
            for file in self.files:
                self.file = file
                self._bring(spill)
            for uri, rows in groupby(spill.sorted(), key=itemgetter(0)):
                record = self._of_all_tables(uri, rows)
                if record is not None:
                    yield record
        messages = {
            "unsure-label": "rows have no class, or a word for unsure; they label nothing.",
            "unsure-cell": "cells are blank or say that nobody is sure; kept as unsure.",
            "missing-image": "images are not there; no image was found, so sizes stay open.",
        }
        for file in self.files:
            self.file = file
            for code, number in file.counts.items():
                self._report(code, f"{number} {messages[code]}", None, "kept")

    def _bring(self, spill: Spill) -> None:
        """Bring the rows of a table to their images; those that have none are reported."""
        file, table = self.file, self.file.table
        for note in table.notes:
            self._report("assumed", note, 1, "kept")
        if table.kind == "flags":
            file.minus = self._minus_one()
            for place, position in enumerate(table.classes):
                self._learn(table.columns.titles[position], 0, place)
        if table.kind == "boxes":
            file.rule = find_rule(
                table, self.options, lambda text: self._report("assumed", text, None, "kept")
            )
        stem = file.name.rpartition("/")[2].rpartition(".")[0]
        file.split = self.options.split or folder_split(file.name) or split_in(stem)
        for row in self.context.progress.track(table.parsed(), f"reading {file.name}"):
            if isinstance(row, BadRow):
                self._report("bad-row", row.message, row.line)
                continue
            uri = self._uri(row)
            if uri is not None:
                spill.add(uri, file.number, row.line, msgspec.msgpack.encode(row.cells))

    def _of_all_tables(self, uri: str, rows: Iterable[Item]) -> Record | None:
        """The record of an image; that of its first table where there are several."""
        kept: Record | None = None
        for number, those in groupby(rows, key=itemgetter(1)):
            self.file = self.files[number]
            cells = (Row(line, _cells.decode(payload)) for _, _, line, payload in those)
            record = self._of_table(uri, cells)
            if kept is None or record is None:
                kept = kept or record
                continue
            same = _content(kept) == _content(record)
            where = kept.origin.path if kept.origin else ""
            message = f"{record.uri} is in {where} too, " + (
                "with the same labels." if same else "with other labels; those are kept."
            )
            hint = "Give the one table that counts, or go on with the first: --on-error skip"
            action = duplicate_action(self.options.duplicates, same=same)
            line = record.origin.line if record.origin else None
            self._report("duplicate-image", message, line, action, hint)
        return kept

    def _of_table(self, uri: str, rows: Iterator[Row]) -> Record | None:
        """What one table says about an image; None if it is left out."""
        image: _Image | None = None
        seen: dict[tuple[str, ...], int] = {}
        for row in rows:
            key = tuple(row.cells)
            if key in seen and self.options.duplicates != "keep":
                message = f"repeats line {seen[key]} word by word; counted once."
                action = duplicate_action(self.options.duplicates, same=True)
                hint = duplicate_hint(self.options.duplicates)
                self._report("duplicate-row", message, row.line, action, hint)
                continue
            if not seen:
                image = self._image(uri, row.cells, row.line)
            seen[key] = row.line
            if image is not None:
                self._row(row, image)
        return None if image is None else self._record(image, self.file.split)

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
            origin=Origin(self.file.name, image.line),
        )

    def _row(self, row: Row, image: _Image) -> None:
        cells = row.cells
        image.split = image.split or self._split(cells)
        image.group = image.group or self._cell(cells, "group") or None
        if self.file.table.kind == "boxes":
            self._object(cells, row.line, image)
        elif self.file.table.kind == "labels":
            self._labels(cells, row.line, image)
        else:
            self._flags(cells, row.line, image)

    def _uri(self, row: Row) -> str | None:
        """The image that a row is about; None if it is left out."""
        cells, line = row.cells, row.line
        titles = self.file.table.columns.titles
        if len(cells) != len(titles):
            message = f"has {len(cells)} cells where {len(titles)} columns are named."
            self._report("wrong-columns", message, line)
            return None
        if not all(map(is_text, cells)):
            self._report("bad-row", "holds characters that are no text.", line)
            return None
        name = self._cell(cells, "image")
        if is_url(name):
            return self.images.fetched.find(name) or name
        if not clean(name):
            self._report("no-image", f"{name!r} names no image.", line)
            return None
        return self._found(name, line)

    def _found(self, name: str, line: int) -> str | None:
        """The image that a name means, or would mean where there are no images."""
        folder = self.file.name.rpartition("/")[0]
        found = self.images.find(name, folder)
        if len(found) > 1:
            message = f"{name!r} may be {found[0]} or {found[1]}; the name is not enough."
            self._report("ambiguous-image", message, line)
            return None
        if found:
            return found[0]
        if self.images.paths:
            message = f"the image {name!r} is not among the {len(self.images.paths)} here."
            hint = "Put it in its place, or go on without it: --on-error skip"
            self._report("missing-image", message, line, hint=hint)
            return None
        return f"{folder}/{clean(name)}" if folder else clean(name)

    def _image(self, uri: str, cells: list[str], line: int) -> _Image | None:
        """An image by its first row; None if it is left out."""
        size = self._stated_size(cells)
        header = None
        if uri in self.images.paths and self.options.image_sizes:
            header = image_header(f"{self.images.root}/{uri}")
            if header is None:
                message = f"the image {uri} cannot be read; its size stays open."
                self._report("unreadable-image", message, line, "kept")
        elif uri not in self.images.paths and not is_url(uri):
            self.file.counts["missing-image"] += 1
        turned = header is not None and header.orientation != 1
        on_disk = header.size if header is not None and not turned else None
        if size and on_disk and size != on_disk:
            message = (
                f"the size is said to be {size[0]} x {size[1]}; the image has {on_disk[0]} x "
                f"{on_disk[1]}, which is taken."
            )
            self._report("wrong-size", message, line, "kept")
        if header is not None and turned:
            return self._turned(uri, line, header, size)
        known = on_disk or size
        return _Image(uri, line, Ground(known, 1, known))

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
        position = self.file.table.columns.where.get(part)
        return "" if position is None else cells[position]

    def _object(self, cells: list[str], line: int, image: _Image) -> None:
        columns = self.file.table.columns
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
        self._learn(category, line)
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
        rule = self.file.rule
        numbers = rule.numbers(cells) if rule is not None else None
        if rule is None or numbers is None:
            written = ", ".join(cells[position] for position in self.file.table.columns.corners)[
                :80
            ]
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
        if "confidence" in self.file.table.columns.where:
            # Open Images: 1 is verified, 0 verified to be absent; between, a machine said it.
            sure = number_of(self._cell(cells, "confidence"))
            present = True if sure == 1 else False if sure == 0 else None
        for place, name in enumerate(names):
            if name.casefold() in self.unsure:
                self.file.counts["unsure-label"] += 1
            else:
                self._learn(name, line, place)
                self._label(name, present, line, image)
        for name, value in self._attributes(cells).items():
            image.attributes.setdefault(name, value)

    def _flags(self, cells: list[str], line: int, image: _Image) -> None:
        """A row of a column for each class."""
        for position in self.file.table.classes:
            word = cells[position].casefold()
            present: bool | None = None
            if word in PRESENT:
                present = True
            elif word in ABSENT:
                present = False
            elif word in MINUS:
                present = self.file.minus
            if present is None:
                self.file.counts["unsure-cell"] += 1
            self._label(self.file.table.columns.titles[position], present, line, image)
        for name, value in self._attributes(cells, set(self.file.table.classes)).items():
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
            for row in self.file.table.rows()
            for p in self.file.table.classes
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
        titles = self.file.table.columns.titles
        found: dict[str, AttributeValue] = {}
        for position in self.file.table.columns.rest:
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
        place = str(self.base / self.file.name)
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
