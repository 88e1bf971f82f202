"""From a dataset to a YOLO folder, a batch of images at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx.api import WriteReport
from tlx.context import Context
from tlx.errors import UsageError
from tlx.file_names import output_name
from tlx.issues import Issue
from tlx.media import IMAGE_SUFFIXES, image_size
from tlx.output_files import OutputFiles
from tlx_plugins.formats.text_columns import corners_of, joined, offsets_of, rounded, together
from tlx_plugins.formats.usual_names import usual_names
from tlx_plugins.formats.yolo_obb import extents, quadrilaterals

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.yolo import YoloOptions

DECIMALS = 10
_HEAD = ("image_id", "uri", "width", "height", "split")
_RESERVED = frozenset(
    {"path", "names", "nc", "download", "kpt_shape", "flip_idx", "channels", "task"}
)


class _Head(NamedTuple):
    """An image: its path below images/, the same for its labels, its uri and its size."""

    name: str
    key: str
    uri: str
    width: int
    height: int


class YoloWriter:
    """Writes a dataset; use it once.

    Args:
        dataset: What to write.
        dest: A folder to make.
        options: The user's choices.
        context: Progress, issues, and the policy for what cannot be written.
    """

    def __init__(
        self, dataset: Dataset, dest: Path, options: YoloOptions, context: Context
    ) -> None:
        self.dataset = dataset
        self.dest = dest
        self.options = options
        self.context = context
        self.classes = pa.array(dataset.taxonomy.names, pa.string())
        self.used: set[str] = set()
        self.files = OutputFiles(dest, options.media, context.workers)
        self.images = self.objects = 0
        self.counts = {"box-outside": 0, "joined-outline": 0, "outlined-box": 0}

    def write(self) -> WriteReport:
        """Write all files.

        Raises:
            UsageError: If a split has a name that ``data.yaml`` needs for itself.
        """
        for split in self.dataset.splits():
            if split in _RESERVED:
                raise UsageError(f"a split cannot be named {split!r} in a YOLO data.yaml.")
        (self.dest / "labels").mkdir(parents=True)
        batches = self.context.progress.track(
            self.dataset.batches(), "writing YOLO", len(self.dataset.manifest.parts)
        )
        with self.files:
            for batch in batches:
                self._write_batch(batch)
        self._write_configuration()
        self._report_counts()
        numbers = {name: number for number, name in enumerate(self.dataset.taxonomy.names)}
        return WriteReport(tuple(sorted(self.files.names)), self.images, self.objects, numbers)

    def _write_configuration(self) -> None:
        import yaml

        names = self.dataset.taxonomy.names
        settings: dict[str, Any] = {
            split: f"images/{quote(split, safe='')}" for split in self.dataset.splits()
        }
        settings["names"] = dict(enumerate(names))
        if self.options.task == "obb":
            settings["task"] = "obb"  # Four points may be an outline as well.
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=1000)
        (self.dest / "data.yaml").write_text(text, encoding="utf-8", newline="\n")
        self.files.names.append("data.yaml")

    def _report_counts(self) -> None:
        messages = {
            "box-outside": f"objects left their image; see --outside {self.options.outside}.",
            "joined-outline": "objects of several polygons became one outline each.",
            "outlined-box": "objects without polygons were outlined by their box.",
        }
        for code, number in self.counts.items():
            if number:
                self._report(code, f"{number} {messages[code]}", "", "requested")

    def _write_batch(self, batch: pa.RecordBatch) -> None:
        heads = self._usual_heads(batch)
        if heads is None:
            columns = (batch.column(name).to_pylist() for name in _HEAD)
            heads = [self._head(*row) for row in zip(*columns, strict=True)]
        lines, counts = self._lines(batch, heads)
        for head, text, count in zip(heads, lines, counts, strict=True):
            if head is None:
                continue
            self.files.write(_label_name(head.key), text)
            self.images += 1
            self.objects += count
            self.files.bring(self.dataset, head.uri, "images", head.name)

    def _lines(
        self, batch: pa.RecordBatch, heads: list[_Head | None]
    ) -> tuple[list[bytes], list[int]]:
        """The label file of each image, and how many objects it has."""
        column = batch.column("objects")
        parents, flat = pc.list_parent_indices(column), pc.list_flatten(column)
        sides = [
            pa.array([None if h is None else float(h[i]) for h in heads], pa.float64()).take(
                parents
            )
            for i in (3, 4)
        ]
        corners = corners_of(flat)
        points: list[Any] = []
        if self.options.task == "obb":
            points = quadrilaterals(flat, corners)
            corners = extents(points, corners)
        known = sides[0].is_valid()
        self._each(batch, parents, pc.and_(known, corners[0].is_null()), "no-box", "no box")
        corners, kept = self._inside(corners, sides)
        degenerate = pc.or_(
            pc.less_equal(corners[2], corners[0]), pc.less_equal(corners[3], corners[1])
        )
        degenerate = pc.fill_null(pc.and_(pc.and_(degenerate, kept), known), False)
        self._each(batch, parents, degenerate, "degenerate-box", "an empty or inverted box")
        kept = pc.and_(pc.and_(kept, known), pc.invert(degenerate))
        numbers = pc.index_in(flat.field("category"), self.classes).cast(pa.string())
        if self.options.task == "segment":
            places = self._outlines(flat, corners, sides, kept)
        elif self.options.task == "obb":
            places = _quadrilaterals(points, sides, cut=self.options.outside == "clip")
        else:
            places = _boxes(corners, sides)
        texts = together(numbers, places, "\n").filter(kept)
        offsets = offsets_of(parents.filter(kept), batch.num_rows)
        whole = joined(texts, offsets).cast(pa.binary()).to_pylist()
        return whole, pc.subtract(offsets[1:], offsets[:-1]).to_pylist()

    def _inside(self, corners: list[Any], sides: list[Any]) -> tuple[list[Any], Any]:
        """Apply the option outside: the corners to write, and which objects to write."""
        kept = corners[0].is_valid()
        limits = [sides[0], sides[1], sides[0], sides[1]]
        cut = [
            pc.min_element_wise(pc.max_element_wise(values, 0.0), limit, skip_nulls=False)
            for values, limit in zip(corners, limits, strict=True)
        ]
        outside = pc.not_equal(cut[0], corners[0])
        for changed, values in zip(cut[1:], corners[1:], strict=True):
            outside = pc.or_(outside, pc.not_equal(changed, values))
        outside = pc.fill_null(outside, False)
        self.counts["box-outside"] += int(pc.sum(outside).as_py() or 0)
        if self.options.outside == "keep":
            return corners, kept
        if self.options.outside == "drop":
            return corners, pc.and_(kept, pc.invert(outside))
        # A box that lies beside its image altogether has nothing left.
        real = pc.and_(pc.less(corners[0], corners[2]), pc.less(corners[1], corners[3]))
        gone = pc.or_(pc.greater_equal(cut[0], cut[2]), pc.greater_equal(cut[1], cut[3]))
        gone = pc.fill_null(pc.and_(real, gone), False)
        return cut, pc.and_(kept, pc.invert(gone))

    def _outlines(self, flat: Any, corners: list[Any], sides: list[Any], kept: Any) -> Any:
        """The points of each object behind its class number: its polygons, or its box."""
        outlines = pc.struct_field(flat, ["segmentation", "polygons"])
        parts = pc.fill_null(pc.list_value_length(outlines), 0)
        self.counts["joined-outline"] += _number(pc.and_(kept, pc.greater(parts, 1)))
        self.counts["outlined-box"] += _number(pc.and_(kept, pc.equal(parts, 0)))
        owners = pc.list_parent_indices(outlines)
        inner = pc.list_flatten(outlines)
        values = pc.list_flatten(inner)
        lengths = np.asarray(pc.fill_null(pc.list_value_length(inner), 0))
        owner = np.repeat(np.asarray(owners), lengths)
        starts = np.concatenate(([0], np.cumsum(lengths)))[:-1]
        is_x = (np.arange(len(values)) - np.repeat(starts, lengths)) % 2 == 0
        width, height = (np.asarray(side.fill_null(1.0))[owner] for side in sides)
        share = np.asarray(values) / np.where(is_x, width, height)
        if self.options.outside == "clip":
            share = share.clip(0.0, 1.0)
        texts = together(" ", _text(pa.array(share)))
        points = joined(texts, offsets_of(pa.array(owner), len(flat)))
        left, top, right, bottom = _shares(corners, sides)
        box = together(*(f for v in (left, top, right, top, right, bottom, left, bottom)
                         for f in (" ", v)))  # fmt: skip
        return pc.if_else(pc.equal(parts, 0), box, points)

    def _usual_heads(self, batch: pa.RecordBatch) -> list[_Head | None] | None:
        """The heads of images of one split that can keep their names; None for others."""
        splits = pc.unique(batch.column("split")).to_pylist()
        before = "" if splits == [None] else f"{quote(splits[0] or '', safe='')}/"
        if len(splits) != 1 or before == "images/":
            return None
        found = usual_names(batch, self.used, before)
        if found is None:
            return None
        sizes = (batch.column(name).to_pylist() for name in ("width", "height"))
        return [
            _Head(before + name, before + stem, name, width, height)
            for name, stem, width, height in zip(*found, *sizes, strict=True)
        ]

    def _head(
        self, image_id: str, uri: str, width: int | None, height: int | None, split: str | None
    ) -> _Head | None:
        """Where an image goes, and its size; None leaves it out."""
        name = output_name(uri)
        if name is None or os.path.splitext(name)[1].lower() not in IMAGE_SUFFIXES:  # noqa: PTH122
            what = "that cannot become the name of a file" if name is None else "without .jpg or so"
            message = f"the image {uri!r} has a name {what}; YOLO finds images by their names."
            self._report("unsafe-name", message, image_id)
            return None
        if width is None or height is None:
            path = self.dataset.image_path(uri)
            size = None if "://" in uri else image_size(path)
            if size is None:
                message = (
                    f"the size of {image_id} is not known, and {uri} cannot be read; YOLO divides "
                    "by width and height."
                )
                hint = "Put the image in its place, or leave such images out: --on-error skip"
                self._report("no-size", message, str(path), hint=hint)
                return None
            width, height = size
        if split is not None:
            name = f"{quote(split, safe='')}/{name}"
        name, key = self._key(name)
        return _Head(name, key, uri, width, height)

    def _key(self, name: str) -> tuple[str, str]:
        """The path of an image, and of its labels; two images must not share their labels."""
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a hundred thousand times
        if suffix.lower() not in IMAGE_SUFFIXES:
            stem, suffix = name, ""
        if stem.casefold() in self.used:
            wanted = name
            stem = f"{stem}_{suffix[1:]}"
            while stem.casefold() in self.used:
                stem += "_"
            name = stem + suffix
            message = f"{wanted} becomes {name}: another image has the same name but for its end."
            self._report("renamed-image", message, wanted, "kept")
        self.used.add(stem.casefold())
        return name, stem

    def _each(self, batch: pa.RecordBatch, parents: Any, bad: Any, code: str, what: str) -> None:
        """Report every object that cannot be written."""
        if not len(bad) or not pc.any(bad).as_py():
            return
        for row in parents.filter(bad).to_pylist():
            name = batch.column("image_id")[row].as_py()
            self._report(code, f"an object of {name} has {what}; YOLO cannot hold it.", name)

    def _report(
        self, code: str, message: str, path: str, action: str = "skipped", hint: str | None = None
    ) -> None:
        self.context.issues.report(Issue(code, message, path or None, None, action, hint))


def _label_name(key: str) -> str:
    """Where trainers look: the last folder named images counts, and it may be one of the user's."""
    before, _, after = f"/images/{key}".rpartition("/images/")
    return f"{before}/labels/{after}.txt"[1:]


def _number(flags: Any) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _text(values: Any) -> Any:
    return rounded(values, DECIMALS).cast(pa.string())


def _shares(corners: list[Any], sides: list[Any]) -> list[Any]:
    """Each corner as the text of its share of the image's side."""
    return [
        _text(pc.divide(values, side))
        for values, side in zip(corners, [*sides, *sides], strict=True)
    ]


def _quadrilaterals(points: list[Any], sides: list[Any], *, cut: bool) -> Any:
    """The four corners of each rectangle as text behind its class number.

    Trainers measure a turned rectangle by the box around it, and take one whose corners leave the
    image as long as the middle and the sides of that box are within 0..1. Others are cut.
    """
    shares = [pc.divide(values, side) for values, side in zip(points, sides * 4, strict=True)]
    if cut:
        fits = ~_upright(shares)
        for axis in (shares[0::2], shares[1::2]):
            low, high = pc.min_element_wise(*axis), pc.max_element_wise(*axis)
            middle = np.asarray(pc.divide(pc.add(low, high), 2.0).fill_null(0.0))
            length = np.asarray(pc.subtract(high, low).fill_null(0.0))
            fits &= (middle >= 0) & (middle <= 1) & (length <= 1)
        shares = [
            pc.if_else(
                pa.array(fits),
                share,
                pc.min_element_wise(pc.max_element_wise(share, 0.0), 1.0, skip_nulls=False),
            )
            for share in shares
        ]
    return together(*(part for share in shares for part in (" ", _text(share))))


def _upright(shares: list[Any]) -> Any:
    """Which rectangles are not turned: bool array."""
    level = pc.equal(shares[1], shares[3])
    return np.asarray(pc.fill_null(pc.and_(level, pc.equal(shares[0], shares[6])), True))


def _boxes(corners: list[Any], sides: list[Any]) -> Any:
    """Centre, width and height of each box as text behind its class number."""
    left, top, right, bottom = corners
    values = [
        pc.divide(pc.divide(pc.add(left, right), 2.0), sides[0]),
        pc.divide(pc.divide(pc.add(top, bottom), 2.0), sides[1]),
        pc.divide(pc.subtract(right, left), sides[0]),
        pc.divide(pc.subtract(bottom, top), sides[1]),
    ]
    return together(*(part for value in values for part in (" ", _text(value))))
