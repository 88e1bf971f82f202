"""The objects of many plain VOC files as columns.

The rules are those of `voc_xml`. What this module reads is a file of which they would make an image
and objects without an issue; any other is *odd*, and is read by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx.box_policy import faulty
from tlx.model import AttributeValue
from tlx.schema import ATTRIBUTE, BOX, KEYPOINT, OBJECT, SEGMENTATION
from tlx_plugins.formats import voc_grammar
from tlx_plugins.formats.column_values import Flags, Integers, coded, flags, marks, twins
from tlx_plugins.formats.voc_base import STATEMENT
from tlx_plugins.formats.voc_grammar import KINDS, Grammar, GrammarReader
from tlx_plugins.formats.voc_markup import Markup
from tlx_plugins.formats.voc_numbers import Floats, integers, less_one, numbers, reals
from tlx_plugins.formats.voc_texts import VocTexts
from tlx_plugins.formats.voc_xml import FLAGS, SIDES, VocImage, typed

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FLAGS = ("crowd", "difficult", "truncated", "occluded")


@dataclass(frozen=True, slots=True)
class VocColumns:
    """The O objects of F files.

    Attributes:
        images: What each file says of its image, its objects left out; [F].
        stated: How each file says that it counts; [F].
        objects: Struct array [O] of `tlx.schema.OBJECT`.
        categories: The class of each object; [O].
        starts: The first object of each file, and the end; [F + 1].
        closer: Files whose objects have something to be said about, if their image is as large as
            they state; [F].
        rows: Place of a file here by its place among all files; without those that are odd.
    """

    images: list[VocImage]
    stated: list[str | None]
    objects: pa.StructArray
    categories: list[str]
    starts: list[int]
    closer: list[bool]
    rows: dict[int, int]


class ColumnReader:
    """Reads the objects of some files after the other.

    Args:
        base_of: What the first pixel is counted as, by what a file states.
    """

    def __init__(self, base_of: Callable[[str | None], int]) -> None:
        self.base_of = base_of
        self.grammar = GrammarReader()

    def read(self, markup: Markup) -> VocColumns:
        """Read the objects of some files."""
        return _Columns(self.grammar.read(markup), self.base_of).read()


class _Columns(VocTexts):
    def __init__(self, grammar: Grammar, base_of: Callable[[str | None], int]) -> None:
        super().__init__(grammar)
        self.base_of = base_of

    def read(self) -> VocColumns:
        """Read everything."""
        images, stated, bases = self._images()
        sizes = np.array([(i.width or np.inf, i.height or np.inf) for i in images], float).reshape(
            -1, 2
        )
        based = bases[self.owners]
        names = self.required(self.texts(voc_grammar.OBJECT, "name", plain=True))
        corners = np.empty((self.count, 4))
        for place, name in enumerate(_CORNERS):
            corners[:, place] = self._corner(name, based if place < 2 else None)
        labels, codes = coded(names)
        closer = faulty(corners, sizes[self.owners])
        sides = corners[:, 2:] - corners[:, :2]
        closer |= (based == 1) & (sides == 1.0).any(axis=1)
        closer |= twins(marks(corners + 0.0, self.owners * (len(labels) + 1) + codes))
        inspected = np.zeros(self.files, bool)
        inspected[self.owners[closer]] = True
        objects = self._objects(names, corners, based)
        rows = {
            file: row
            for row, (file, odd) in enumerate(
                zip(self.markup.files.tolist(), self.odd.tolist(), strict=True)
            )
            if not odd
        }
        return VocColumns(
            images=images,
            stated=stated,
            objects=objects,
            categories=names.to_pylist(),
            starts=np.searchsorted(self.owners, np.arange(self.files + 1)).tolist(),
            closer=inspected.tolist(),
            rows=rows,
        )

    # Images.

    def _images(self) -> tuple[list[VocImage], list[str | None], Integers]:
        roots = self.markup.levels[0].places
        values = [self.markup.tags[kind].values for kind in self.markup.kinds[roots].tolist()]
        stated = [value.get(STATEMENT) for value in values]
        known = {text: self.base_of(text) for text in dict.fromkeys(stated)}
        bases = np.array([known[text] for text in stated], np.int64)
        lines = self.markup.lines(roots, np.arange(self.files)).tolist()
        texts = {
            name: self.texts(voc_grammar.ANNOTATION, name, plain=True).to_pylist()
            for name in ("filename", "folder", "path", "segmented")
        }
        database = self.texts(voc_grammar.SOURCE, "database", plain=True).to_pylist()
        sides = {name: self._sides(name) for name in ("width", "height", "depth")}
        attributes = self._of_images()
        images = []
        for row, line in enumerate(lines):
            image = VocImage(
                line=line,
                filename=texts["filename"][row] or None,
                folder=texts["folder"][row] or None,
                path=texts["path"][row] or None,
                width=sides["width"][row],
                height=sides["height"][row],
            )
            said: dict[str, AttributeValue] = {}
            verified = values[row].get("verified")
            if verified is not None:
                said["verified"] = verified.lower() == "yes"
            segmented = texts["segmented"][row]
            if segmented:
                said["segmented"] = int(segmented) if segmented in {"0", "1"} else segmented
            given = database[row]
            if given and given.strip() not in {"", "Unknown"}:
                said["database"] = given
            if row in attributes:
                said |= attributes[row]
            depth = sides["depth"][row]
            if depth is not None:
                said["depth"] = depth
            image.attributes = said
            images.append(image)
        return images, stated, bases

    def _sides(self, name: str) -> list[int | None]:
        texts = self.texts(voc_grammar.SIZE, name)
        values, odd = numbers(texts)
        there = flags(texts.is_valid())
        with np.errstate(invalid="ignore"):
            odd |= there & ~((values == np.floor(values)) & (values > 0) & (values < SIDES))
        self.odd |= odd
        return [
            int(value) if fine else None
            for value, fine in zip(values.tolist(), (there & ~odd).tolist(), strict=True)
        ]

    def _of_images(self) -> dict[int, dict[str, AttributeValue]]:
        """The attributes of images, by file."""
        found = self.attributes(voc_grammar.ONE_OF_IMAGE)
        if found is None:
            return {}
        owners, names, kinds, values = found
        files = self.markup.levels[1].parents[owners]
        result: dict[int, dict[str, AttributeValue]] = {}
        rows = zip(
            files.tolist(), names.to_pylist(), kinds.tolist(), values.to_pylist(), strict=True
        )
        for file, name, kind, text in rows:
            value = typed(text, KINDS[kind]) if kind else text
            if value is None:
                self.odd[file] = True
            else:
                result.setdefault(file, {})[name] = value
        return result

    # Objects.

    def _corner(self, name: str, based: Integers | None) -> Floats:
        texts = self.required(self.texts(voc_grammar.BOX, name))
        values, odd = numbers(texts)
        self.mark(self.holders, odd, 1)
        if based is not None and (based == 1).any():
            values = np.where(based == 1, less_one(values, texts), values)
        return values

    def _objects(self, names: Any, corners: Floats, based: Integers) -> pa.StructArray:
        rotations = self.texts(voc_grammar.OBJECT, "rotation")
        turned, odd = numbers(rotations)
        self.mark(self.holders, odd, 1)
        columns = {
            "category": names,
            "box": pa.StructArray.from_arrays(
                [pa.array(column) for column in np.ascontiguousarray(corners.T)], fields=list(BOX)
            ),
            "object_id": self.texts(voc_grammar.OBJECT, "object_id"),
            "segmentation": self._segmentations(based),
            "rotation": pa.array(turned, mask=~flags(rotations.is_valid())),
            "track": self.texts(voc_grammar.OBJECT, "track"),
            "keypoints": _no_lists(self.count, OBJECT.field("keypoints").type, KEYPOINT),
            "attributes": self._of_objects(),
            "line": pa.array(
                self.markup.lines(self.markup.levels[1].places[self.holders], self.owners)
                if self.count
                else np.zeros(0, np.int64)
            ),
            **{name: self._flag(name) for name in _FLAGS},
        }
        return pa.StructArray.from_arrays(
            [
                pa.nulls(self.count, f.type) if columns.get(f.name) is None else columns[f.name]
                for f in OBJECT
            ],
            fields=list(OBJECT),
        )

    def _flag(self, name: str) -> Any:
        texts, codes = coded(self.texts(voc_grammar.OBJECT, name))
        meant = [FLAGS.get(text.strip().lower(), _UNKNOWN) for text in texts]
        unknown = np.array([*(value is _UNKNOWN for value in meant), False])
        self.mark(self.holders, unknown[codes], 1)
        values = pa.array([*(v if isinstance(v, bool) else None for v in meant), None], pa.bool_())
        return values.take(pa.array(codes % (len(texts) + 1)))

    def _segmentations(self, based: Integers) -> Any:
        """The polygons of all objects; None where there are none."""
        holders, objects = self.grammar.holders(voc_grammar.POLYGON)
        field = self.grammar.fields.get(voc_grammar.COORDINATE)
        if not len(holders):
            return None
        if field is None:
            self.mark(objects, np.ones(len(objects), bool), 1)
            return None
        owners = (np.cumsum(self.grammar.roles[2] == voc_grammar.POLYGON) - 1)[field.owners]
        counts = np.bincount(owners, minlength=len(holders))
        starts = np.concatenate(([0], np.cumsum(counts)))
        self.mark(objects, (counts < 6) | (counts % 2 == 1), 1)
        places = voc_grammar.coordinates(self.markup.tags)[self.markup.kinds[field.places]]
        wrong = places != np.arange(len(places)) - starts[:-1][owners]
        self.mark(field.owners, wrong, field.level)
        texts = self.markup.texts(field.places)
        values, odd = numbers(texts)
        self.mark(field.owners, odd, field.level)
        objects = self.objects_of(objects)
        if (based == 1).any():
            ones = based[objects][owners] == 1
            moved = less_one(values, texts)
            values = moved if ones.all() else np.where(ones, moved, values)
        outlines = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), pa.array(values))
        numbers_of = np.bincount(objects, minlength=self.count)
        ends = np.concatenate(([0], np.cumsum(numbers_of)))
        return pa.StructArray.from_arrays(
            [
                pa.ListArray.from_arrays(pa.array(ends, pa.int32()), outlines),
                *(pa.nulls(self.count, field.type) for field in list(SEGMENTATION)[1:]),
            ],
            fields=list(SEGMENTATION),
            mask=pa.array(numbers_of == 0),
        )

    # Attributes.

    def _of_objects(self) -> pa.ListArray:
        """The attributes of all objects, their pose first."""
        found = self.attributes(voc_grammar.ONE_OF_OBJECT)
        poses = self.texts(voc_grammar.OBJECT, "pose", plain=True)
        posed = np.flatnonzero(flags(pc.fill_null(pc.greater(pc.binary_length(poses), 0), False)))
        if found is None:
            names, kinds, values = pa.array([], pa.string()), np.zeros(0, np.int64), None
            owners = np.zeros(0, np.int64)
            columns = [pa.nulls(0, field.type) for field in list(ATTRIBUTE)[1:]]
        else:
            above, names, kinds, values = found
            owners = self.objects_of(self.markup.levels[2].parents[above])
            columns = self._typed(kinds, values, owners)
        texts, codes = coded(names)
        own = np.array([text in {"rotation", "pose"} for text in texts] + [False])[codes]
        self.mark(self.holders[owners], own, 1)
        both = np.sort(owners * (len(texts) + 1) + codes)
        again = both[1:][both[1:] == both[:-1]] // (len(texts) + 1)
        self.odd[self.owners[again]] = True
        if len(posed):
            order = pa.array(np.argsort(np.concatenate((posed, owners)), kind="stable"))
            said = poses.take(pa.array(posed))
            names = pa.concat_arrays([_repeated("pose", len(posed)), names]).take(order)
            before = [said, *(pa.nulls(len(posed), f.type) for f in list(ATTRIBUTE)[2:])]
            columns = [
                pa.concat_arrays([one, two]).take(order)
                for one, two in zip(before, columns, strict=True)
            ]
            owners = np.sort(np.concatenate((posed, owners)))
        flat = pa.StructArray.from_arrays([names, *columns], fields=list(ATTRIBUTE))
        starts = np.searchsorted(owners, np.arange(self.count + 1))
        return pa.ListArray.from_arrays(
            pa.array(starts, pa.int32()), flat, type=OBJECT.field("attributes").type
        )

    def _typed(self, kinds: Integers, texts: Any, owners: Integers) -> list[Any]:
        """The values of attributes by type, as the columns of `tlx.schema.ATTRIBUTE`."""
        columns: list[Any] = []
        holders = self.holders[owners]
        for kind, field in enumerate(list(ATTRIBUTE)[1:]):
            mask = kinds == kind
            if not mask.any():
                columns.append(pa.nulls(len(texts), field.type))
                continue
            chosen = texts
            if not mask.all():
                chosen = pc.if_else(pa.array(mask), texts, pa.scalar(None, pa.string()))
            if kind == 0:
                columns.append(chosen)
            elif kind == 3:
                columns.append(self._truths(chosen, mask, holders))
            else:
                column, odd = (integers, reals)[kind - 1](chosen)
                self.mark(holders, odd, 1)
                columns.append(column)
        return columns

    def _truths(self, texts: Any, mask: Flags, holders: Integers) -> Any:
        values = pc.index_in(texts, pa.array(["false", "true"])).cast(pa.bool_())
        self.mark(holders, mask & ~flags(values.is_valid()), 1)
        return values


_UNKNOWN = object()


def _repeated(text: str, count: int) -> Any:
    return pa.array([text]).take(pa.array(np.zeros(count, np.int32)))


def _no_lists(count: int, kind: Any, item: Any) -> pa.ListArray:
    offsets = pa.array(np.zeros(count + 1, np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array([], item), type=kind)
