"""Rows of today's export as Arrow columns.

Almost all rows hold no surprise: an image with one label, of boxes that fit. Those go from the
decoded JSON into columns without a value of `tlx.model` in between; everything else is made into
records by the general way (`tlx_plugins.sources.labelbox_records`) and put in its place among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from tlx.box_policy import TOLERANCE
from tlx.dataset import PART_ROWS
from tlx.model import Record
from tlx.schema import ATTRIBUTE, BOX, KEYPOINT, LABEL, OBJECT, ORIGIN, RECORD, records_to_batch
from tlx_plugins.sources.labelbox_objects import VALUE
from tlx_plugins.sources.labelbox_schema import ExportRow, LabelSet, Thing

IMAGE_TYPES = frozenset({"image/jpeg", "image/png"})
"""The usual kinds, which need no closer look."""

IDENTITY = (
    "labelbox_data_row_id",
    "labelbox_global_key",
    "labelbox_label_id",
    "labelbox_project",
)
"""Attributes of an image that lead back to Labelbox, in their order."""


class Columns:
    """Collects rows until there are enough for a batch of `tlx.schema.RECORD`.

    Args:
        names: The class of each title that is known; others are a surprise.
    """

    def __init__(self, names: Mapping[str | None, str]) -> None:
        self.names = names
        self.project = ""
        """The key of the project that was met last: most files have one."""
        self.origins: list[str] = []
        self._clear()

    def _clear(self) -> None:
        self.origins = self.origins[-1:]
        self.starts = [0] * len(self.origins)
        """The first row of each file, and what the file is called."""
        self.image_ids: list[str] = []
        self.uris: list[str] = []
        self.widths: list[int] = []
        self.heights: list[int] = []
        self.identity: tuple[list[str | None], ...] = ([], [], [], [])
        """What `IDENTITY` names, of each row."""
        self.lines: list[int] = []
        self.counts: list[int] = []
        self.categories: list[str] = []
        self.object_ids: list[str | None] = []
        self.sides: tuple[list[float], ...] = ([], [], [], [])
        """Left, top, right and bottom of each object."""
        # Attributes of objects: whose they are, their names and their values.
        self.owners: list[int] = []
        self.questions: list[str] = []
        self.answers: list[str] = []
        # What the general way has made, and its place in the batch.
        self.records: list[Record] = []
        self.places: list[int] = []

    def __len__(self) -> int:
        return len(self.image_ids) + len(self.records)

    @property
    def room(self) -> int:
        """Rows that are lacking to a whole batch."""
        return PART_ROWS - len(self)

    def begin(self, origin: str) -> None:
        """The rows to come are of this file."""
        self.origins.append(origin)
        self.starts.append(len(self.image_ids))

    def put(self, record: Record, place: int | None = None) -> None:
        """Add a record that was made by the general way; at the end, or at its place."""
        self.places.append(len(self) if place is None else place)
        self.records.append(record)

    def add(
        self, rows: Sequence[ExportRow], image_ids: Sequence[str], line: int
    ) -> list[int] | None:
        """Add rows that follow each other, as far as they hold no surprise.

        Args:
            rows: The rows.
            image_ids: The image id of each.
            line: The line of the first one.

        Returns:
            Numbers of the rows that were not added; None if one has frames, and so may make any
            number of records: then none was added.
        """
        odd: list[int] = []
        begin = len(self.counts)
        uris, widths, heights, counts = self.uris, self.widths, self.heights, self.counts
        row_ids, global_keys, label_ids, names = self.identity
        for number, row in enumerate(rows):
            data, media, projects = row.data_row, row.media_attributes, row.projects
            url = data.row_data
            if (
                media is not None
                and projects
                and len(projects) == 1
                and ((kind := media.mime_type) == "image/jpeg" or kind in IMAGE_TYPES)
                and url is not None
                and "://" in url
                and not row.metadata_fields
                and not row.data_split
                and image_ids[number]
            ):
                project = projects.get(self.project)
                if project is None:
                    ((self.project, project),) = projects.items()
                labels, width, height = project.labels, media.width, media.height
                if (
                    labels is not None
                    and len(labels) == 1
                    and (annotations := labels[0].annotations) is not None
                    and not annotations.classifications
                    and not annotations.relationships
                    and not annotations.frames
                    and not ((details := labels[0].performance_details) and details.skipped)
                    and type(width) is int
                    and type(height) is int
                    and 0 < width < 2**31 > height > 0
                    and (
                        not (things := annotations.objects) or self._objects(things, width, height)
                    )
                ):
                    other = data.global_key
                    if other == image_ids[number]:
                        other = None
                    uris.append(url)
                    counts.append(len(things) if things else 0)
                    widths.append(width)
                    heights.append(height)
                    row_ids.append(data.id)
                    global_keys.append(other)
                    label_ids.append(labels[0].id)
                    names.append(project.name or self.project)
                    continue
            if any(map(_has_frames, _labels_of(row))):
                self.back(begin)
                return None
            odd.append(number)
        lines = range(line, line + len(rows))
        if not odd:
            self.image_ids += image_ids
            self.lines += lines
        else:
            left_out = {*odd}
            kept = [number for number in range(len(rows)) if number not in left_out]
            self.image_ids += [image_ids[number] for number in kept]
            self.lines += [lines[number] for number in kept]
        return odd

    @property
    def plain(self) -> int:
        """Rows that hold no surprise."""
        return len(self.counts)

    def back(self, begin: int) -> None:
        """Take back the rows without a surprise from this one on."""
        self._cut(len(self.categories) - sum(self.counts[begin:]))
        del self.image_ids[begin:], self.lines[begin:], self.uris[begin:], self.counts[begin:]
        del self.widths[begin:], self.heights[begin:]
        for values in self.identity:
            del values[begin:]

    def _objects(self, things: Sequence[Thing], width: int, height: int) -> bool:
        """Add the objects of an image, unless there is a surprise."""
        names, categories, object_ids = self.names, self.categories, self.object_ids
        lefts, tops, rights, bottoms = self.sides
        begin = len(categories)
        for thing in things:
            title, value, rectangle = thing.name, thing.value, thing.bounding_box
            name = names.get(title)
            if rectangle is None or name is None or thing.color is not None:
                break
            left, top = rectangle.left, rectangle.top
            wide, high = rectangle.width, rectangle.height
            if left is None or top is None or wide is None or high is None:
                break
            right, bottom = left + wide, top + high
            # What `tlx.box_policy.fault_of` finds no fault with.
            if not (
                left < right
                and top < bottom
                and -left <= TOLERANCE
                and -top <= TOLERANCE
                and right - width <= TOLERANCE
                and bottom - height <= TOLERANCE
            ):
                break
            if (thing.classifications or (value is not None and value != title)) and (
                not self._attributes(thing, len(categories))
            ):
                break
            categories.append(name)
            object_ids.append(thing.feature_id)
            lefts.append(left)
            tops.append(top)
            rights.append(right)
            bottoms.append(bottom)
        else:
            if len(things) == 1 or self._differ(begin):
                return True
        self._cut(begin)
        return False

    def _attributes(self, thing: Thing, owner: int) -> bool:
        """Add the slug of a class that is not its title, and choices without further questions."""
        begin = len(self.owners)
        if thing.value is not None and thing.value != thing.name:
            self.owners.append(owner)
            self.questions.append(VALUE)
            self.answers.append(thing.value)
        for answer in thing.classifications or ():
            name, radio = answer.name, answer.radio_answer
            if (
                radio is None
                or not radio.name
                or not name
                or radio.classifications
                or name[0].isspace()
                or name[-1].isspace()
                or name in self.questions[begin:]
            ):
                return False
            self.owners.append(owner)
            self.questions.append(name)
            self.answers.append(radio.name.strip())
        return True

    def _differ(self, begin: int) -> bool:
        """Whether no two boxes from this one on are the same."""
        corners = [values[begin:] for values in self.sides]
        count = len(corners[0])
        return len({*corners[0]}) == count or len({*zip(*corners, strict=True)}) == count

    def _cut(self, begin: int) -> None:
        """Take back the objects from this one on."""
        del self.categories[begin:], self.object_ids[begin:]
        for values in self.sides:
            del values[begin:]
        while self.owners and self.owners[-1] >= begin:
            del self.owners[-1], self.questions[-1], self.answers[-1]

    def batch(self) -> pa.RecordBatch:
        """What was collected, in order; the next batch begins."""
        if not self.image_ids:
            batch = records_to_batch(self.records)
        elif not self.records:
            batch = self._columns()
        else:
            parts = [self._columns(), records_to_batch(self.records)]
            order = np.full(len(self), -1)
            order[self.places] = np.arange(len(self.image_ids), len(self))
            order[order < 0] = np.arange(len(self.image_ids))
            table = pa.Table.from_batches(parts).take(pa.array(order)).combine_chunks()
            (batch,) = table.to_batches()
        self._clear()
        return batch

    def _columns(self) -> pa.RecordBatch:
        count = len(self.image_ids)
        known: dict[str, pa.Array] = {
            "image_id": pa.array(self.image_ids, pa.string()),
            "uri": pa.array(self.uris, pa.string()),
            "width": pa.array(self.widths, pa.int32()),
            "height": pa.array(self.heights, pa.int32()),
            "labels": _lists(np.zeros(count, np.int32), _empty(LABEL), LABEL),
            "objects": _lists(np.array(self.counts, np.int32), self._object_array(), OBJECT),
            "attributes": self._identities(),
            "origin": _struct(ORIGIN, path=self._paths(), line=pa.array(self.lines, pa.int64())),
        }
        columns = [
            known[field.name] if field.name in known else pa.nulls(count, field.type)
            for field in RECORD
        ]
        return pa.RecordBatch.from_arrays(columns, schema=RECORD)

    def _object_array(self) -> pa.StructArray:
        count = len(self.categories)
        sides = {
            field.name: pa.array(values, field.type)
            for field, values in zip(BOX, self.sides, strict=True)
        }
        counts = np.bincount(np.array(self.owners, np.int64), minlength=count)
        return _struct(
            OBJECT,
            category=pa.array(self.categories, pa.string()),
            box=_struct(BOX, **sides),
            object_id=pa.array(self.object_ids, pa.string()),
            keypoints=_lists(np.zeros(count, np.int32), _empty(KEYPOINT), KEYPOINT),
            attributes=_lists(
                counts, _texts(pa.array(self.questions, pa.string()), self.answers), ATTRIBUTE
            ),
        )

    def _identities(self) -> pa.ListArray:
        """The attributes of each image: of `IDENTITY` those that are stated."""
        count = len(self.image_ids)
        stated = {
            name: values
            for name, values in zip(IDENTITY, self.identity, strict=True)
            if values.count(None) < count
        }
        names = tuple(stated)
        flat: list[str | None] = [None] * (count * len(names))
        for place, values in enumerate(stated.values()):
            flat[place :: len(names)] = values
        if None not in flat:
            texts = _texts(_repeated(names).slice(0, len(flat)), flat)
            return _lists(np.full(count, len(names)), texts, ATTRIBUTE)
        known = np.array([value is not None for value in flat]).reshape(count, len(names))
        told = [pair for pair in zip(names * count, flat, strict=True) if pair[1] is not None]
        texts = _texts(pa.array([name for name, _ in told], pa.string()), [v for _, v in told])
        return _lists(known.sum(axis=1), texts, ATTRIBUTE)

    def _paths(self) -> pa.Array:
        """The file of each image."""
        lengths = np.diff([*self.starts, len(self.image_ids)]).tolist()
        return pa.concat_arrays(list(map(pa.repeat, self.origins, lengths)))


def _labels_of(row: ExportRow) -> Iterator[LabelSet]:
    return (label for project in (row.projects or {}).values() for label in project.labels or ())


def _has_frames(label: LabelSet) -> bool:
    return label.annotations is not None and bool(label.annotations.frames)


def _struct(kind: pa.StructType, **known: pa.Array) -> pa.StructArray:
    """A struct array; fields that are not given are null."""
    count = len(next(iter(known.values())))
    columns = [
        known[field.name] if field.name in known else pa.nulls(count, field.type) for field in kind
    ]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def _texts(names: pa.Array, values: Sequence[str | None]) -> pa.StructArray:
    """Attributes that are texts."""
    return _struct(ATTRIBUTE, name=names, text=pa.array(values, pa.string()))


def _lists(counts: Any, values: pa.StructArray, kind: pa.StructType) -> pa.ListArray:
    """Lists of so many values each, laid end to end."""
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=pa.list_(kind))


@cache
def _repeated(names: tuple[str, ...]) -> pa.Array:
    """Names that each image of a batch has."""
    return pa.array(names * PART_ROWS, pa.string())


def _empty(kind: pa.StructType) -> pa.Array:
    return pa.array([], kind)
