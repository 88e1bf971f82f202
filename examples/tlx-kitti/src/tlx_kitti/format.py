"""KITTI's object labels: ``label_2/*.txt`` beside ``image_2/*.png``.

One object to a line, fifteen fields parted by blanks (the development kit's ``readme.txt``, section
"Data Format Description")::

    type truncated occluded alpha  xmin ymin xmax ymax  height width length  x y z  rotation_y

Boxes are pixels counted from 0, float. ``truncated`` is a share in 0..1, ``occluded`` one of 0
(visible), 1 (partly), 2 (largely), 3 (unknown); -1, -10 and -1000 stand for what is not known.
``DontCare`` marks regions where nobody has labelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError
from tlx.file_names import output_name
from tlx.folder_walk import walk
from tlx.issues import Issue
from tlx.media import IMAGE_SUFFIXES, image_size
from tlx.media_transfer import Media, bring
from tlx.model import AttributeValue, Box, Object, Origin, Record, Taxonomy

LABELS, IMAGES, LISTS, CLASSES = "label_2", "image_2", "ImageSets", "classes.txt"
_MARK = "\ufeff"
_NUMBERS = 14
_HEAD = 4096
_NO = "KITTI has no place for it"

LARGELY = 2.0
"""Occlusion beyond partly, which tlx's flag alone would not tell."""

FIELDS = ("alpha", "height", "width", "length", "x", "y", "z", "rotation_y")
"""What KITTI says of the third dimension, as attributes: metres and radians, camera coordinates."""

UNKNOWN = {"alpha": -10.0, "x": -1000.0, "y": -1000.0, "z": -1000.0, "rotation_y": -10.0}
"""What the kit writes where it does not know; -1 for the others."""


@dataclass(frozen=True)
class KittiOptions:
    """How KITTI folders are read and written."""

    dont_care: bool = True
    """Reading: take regions named DontCare as crowds of that class, or leave them out."""

    split: str | None = None
    """Reading: the split of all images; by default what ImageSets/*.txt say."""

    media: Media = "symlink"
    """Writing: bring the images to image_2/, where KITTI's tools look for them, or leave them."""


class Line(NamedTuple):
    """The fields of one object."""

    category: str
    truncated: float
    occluded: float
    box: Box
    space: dict[str, float]


class KittiFormat:
    """Reads and writes a folder such as ``training/``."""

    name = "kitti"
    summary = "KITTI object labels: label_2 beside image_2, boxes with their place in space"
    options = KittiOptions

    def traits(self, options: KittiOptions) -> Traits:
        """What fifteen fields to a line cannot hold."""
        left = options.media == "reference"
        sizes = dict.fromkeys(("width", "height"), "a label file has no size; the image has")
        return Traits(
            assumes={} if left else sizes,
            drops={
                **(sizes if left else {}),
                "group": _NO,
                "frame": _NO,
                "labels": _NO,
                "attributes": _NO,
                "objects.attributes": f"kept are {', '.join(FIELDS)}",
                "objects.object_id": _NO,
                "objects.segmentation": "KITTI's label files have boxes only",
                "objects.shape": "KITTI's label files have boxes only",
                "objects.rotation": "the box is written without its rotation in the image",
                "objects.keypoints": _NO,
                "objects.track": _NO,
                "objects.crowd": _NO,
                "objects.difficult": _NO,
            },
            pixel_convention="xmin, ymin, xmax, ymax in pixels from 0, float",
        )

    def sniff(self, root: Path) -> Match:
        """Look at the first label files for lines of fifteen fields."""
        folder = root / LABELS
        if not folder.is_dir():
            return Match(missing=(f"no folder {LABELS}",))
        for path in islice(folder.rglob("*.txt"), 20):
            try:
                with path.open("rb") as file:
                    first = file.read(_HEAD).decode("utf-8-sig").split("\n")[0]
                if first.strip():
                    parse(first)
                    return Match(met=(f"{path.name} in {LABELS} has lines of fifteen fields",))
            except (OSError, ValueError):
                continue
        return Match(missing=(f"no file in {LABELS} with lines of fifteen fields",))

    def read(self, root: Path, options: KittiOptions, context: Context) -> Reading:
        """Open a folder; the label files are read one by one.

        The image id is the path of the image below ``image_2``.

        Raises:
            DataError: If there is no folder of labels with a text file in it.
        """
        folder = root / LABELS
        found = walk(folder) if folder.is_dir() else iter(())
        files = sorted(folder / at / name for at, names in found for name in names)
        files = [path for path in files if path.suffix == ".txt"]
        if not files:
            raise DataError(
                f"holds no {LABELS}/*.txt.", place=root, hint="Give the folder above label_2."
            )
        names: dict[str, None] = dict.fromkeys(_lines(root / CLASSES))
        records = self._records(root, files, names, options, context)
        return Reading(root / IMAGES, records, lambda: Taxonomy.of(names), tuple(files))

    def _records(
        self,
        root: Path,
        files: list[Path],
        names: dict[str, None],
        options: KittiOptions,
        context: Context,
    ) -> Iterator[Record]:
        splits = _splits(root)
        for path in files:
            stem = path.relative_to(root / LABELS).with_suffix("").as_posix()
            image = _image(root / IMAGES, stem)
            size = image_size(root / IMAGES / image)
            things = tuple(_objects(path, options, context))
            names.update(dict.fromkeys(thing.category for thing in things))
            yield Record(
                image_id=image,
                uri=image,
                width=None if size is None else size[0],
                height=None if size is None else size[1],
                split=options.split or splits.get(stem),
                objects=things,
                origin=Origin(path.relative_to(root).as_posix()),
            )

    def write(
        self, dataset: Dataset, dest: Path, options: KittiOptions, context: Context
    ) -> WriteReport:
        """Write a text file for each image, ``classes.txt``, and ``ImageSets/SPLIT.txt``.

        Raises:
            DataError: If a name or class cannot be written, or an image is to be brought along
                and is not there.
        """
        for name in dataset.taxonomy.names:
            if name.split() != [name]:
                raise DataError(
                    f"the class {name!r} has blanks, which part KITTI's fields.",
                    hint=f"Rename it: tlx relabel {dataset.path} '{name}=...' -o ...",
                )
        (dest / LABELS).mkdir(parents=True)
        classes = "".join(f"{name}\n" for name in dataset.taxonomy.names)
        (dest / CLASSES).write_text(classes, encoding="utf-8", newline="\n")
        files, images, objects = [CLASSES], 0, 0
        lists: dict[str, list[str]] = {}
        taken: set[str] = set()
        for record in dataset.records():
            stem = _stem(record.uri, taken)
            if stem is None:
                message = f"the image {record.uri!r} cannot have a label file of its own."
                context.issues.report(Issue("unsafe-name", message, record.image_id))
                continue
            lines = [_line(thing) for thing in record.objects if _fits(thing, record, context)]
            files += [f"{LABELS}/{stem}.txt"]
            _write(dest / files[-1], lines)
            images, objects = images + 1, objects + len(lines)
            if options.media != "reference":
                source = dataset.image_path(record.uri)
                bring(source, dest / IMAGES, record.uri, options.media)
                files.append(f"{IMAGES}/{record.uri}")
            if record.split is not None:
                lists.setdefault(record.split, []).append(stem)
        for split, stems in lists.items():
            files.append(f"{LISTS}/{split}.txt")
            _write(dest / files[-1], stems)
        return WriteReport(tuple(files), images, objects)


def parse(line: str) -> Line:
    """The fields of a line; a sixteenth one, the score of a detection, is not allowed.

    Raises:
        ValueError: If they are not fifteen, or not numbers.
    """
    category, *fields = line.split()
    values = [float(field) for field in fields]
    if len(values) != _NUMBERS or not all(map(math.isfinite, values)):
        raise ValueError(f"has {len(values) + 1} fields that are not a class and 14 numbers")
    truncated, occluded, alpha = values[:3]
    space = dict(zip(FIELDS, (alpha, *values[7:]), strict=True))
    return Line(category, truncated, occluded, Box(*values[3:7]), space)


def _objects(path: Path, options: KittiOptions, context: Context) -> Iterator[Object]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        context.issues.report(Issue("unreadable-file", f"cannot be read: {error}", str(path)))
        return
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = parse(text)
        except ValueError as error:
            context.issues.report(Issue("bad-row", f"is no object: {error}.", str(path), number))
            continue
        if line.category == "DontCare" and not options.dont_care:
            continue
        known: dict[str, AttributeValue] = {
            name: value for name, value in line.space.items() if value != UNKNOWN.get(name, -1.0)
        }
        if line.truncated not in (-1.0, 0.0, 1.0):
            known["truncation"] = line.truncated
        if line.occluded == LARGELY:
            known["occlusion"] = 2
        yield Object(
            category=line.category,
            box=line.box,
            crowd=True if line.category == "DontCare" else None,
            truncated=None if line.truncated < 0 else line.truncated > 0,
            occluded=None if line.occluded in (-1.0, 3.0) else line.occluded > 0,
            attributes=known,
            line=number,
        )


def _line(thing: Object) -> str:
    """An object as its fifteen fields."""
    facts = thing.attributes
    truncated = facts.get("truncation", -1 if thing.truncated is None else int(thing.truncated))
    occluded = facts.get("occlusion", -1 if thing.occluded is None else int(thing.occluded))
    space = [facts.get(name, UNKNOWN.get(name, -1.0)) for name in FIELDS]
    numbers = [value if _is_number(value) else -1.0 for value in space]
    box = thing.box
    corners = () if box is None else (box.xmin, box.ymin, box.xmax, box.ymax)
    fields = (truncated, occluded, numbers[0], *corners, *numbers[1:])
    return " ".join([thing.category, *(f"{value:.12g}" for value in fields if _is_number(value))])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _fits(thing: Object, record: Record, context: Context) -> bool:
    """Whether an object has a box; one without is an issue."""
    box = thing.box
    if box is not None and all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))):
        return True
    message = f"an object of {record.image_id} has no box, which KITTI needs."
    context.issues.report(Issue("no-box", message, record.image_id))
    return False


def _stem(uri: str, taken: set[str]) -> str | None:
    """The name of an image's label file; None where it cannot have one of its own."""
    name = None if "://" in uri else output_name(uri)
    stem, dot, suffix = (name or "").rpartition(".")
    if not dot or f".{suffix.lower()}" not in IMAGE_SUFFIXES or stem.casefold() in taken:
        return None
    taken.add(stem.casefold())
    return stem


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _image(folder: Path, stem: str) -> str:
    """The image of a label file, PNG if none is there."""
    for suffix in (".png", ".jpg", *sorted(IMAGE_SUFFIXES)):
        if (folder / f"{stem}{suffix}").is_file():
            return f"{stem}{suffix}"
    return f"{stem}.png"


def _splits(root: Path) -> dict[str, str]:
    """The split of each label file, as the lists say; trainval counts where nothing finer does."""
    lists = sorted((root / LISTS).glob("*.txt")) if (root / LISTS).is_dir() else []
    lists.sort(key=lambda path: path.stem != "trainval")
    return {stem: path.stem for path in lists for stem in _lines(path)}


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        return [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8: {error.reason}.", place=path) from error
