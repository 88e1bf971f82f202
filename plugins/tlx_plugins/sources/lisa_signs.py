"""The LISA traffic sign set (Møgelmose, Trivedi and Moeslund 2012) as a source.

``allAnnotations.csv`` has one row per sign, fields parted by ``;``: ``Filename;Annotation tag;Upper
left corner X;Upper left corner Y;Lower right corner X;Lower right corner Y;Occluded,On another
road;Origin file;Origin frame number;Origin track;Origin track frame number``. The comma in the
seventh title is one field of two flags (``0,1``). The extension of 2014 lacks that column. The same
rows lie in a ``frameAnnotations.csv`` in each folder of frames, with bare file names; pictures
without signs lie in ``negatives/negativePics``. Whether the lower right corner is inside the box is
not documented; the numbers are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tlx.api import Match, Reading
from tlx.bad_input import BadInputOptions, distinct, duplicate_action, duplicate_hint
from tlx.box_policy import TOLERANCE, fault_of, settle, shown
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.folder_walk import is_text, join, walk
from tlx.issues import Issue
from tlx.media import image_header
from tlx.model import AttributeValue, Box, Category, Object, Origin, Record, Taxonomy, replace
from tlx.orientation import Ground, ground_of
from tlx_plugins.formats import csv_text
from tlx_plugins.formats.csv_images import Images, clean
from tlx_plugins.formats.csv_text import BadRow, Row, normal
from tlx_plugins.sources.lisa_layout import KINDS

ALL = "allannotations.csv"
ONE_FOLDER = "frameannotations.csv"
_REQUIRED = (
    "filename", "annotationtag", "upperleftcornerx", "upperleftcornery", "lowerrightcornerx",
    "lowerrightcornery",
)  # fmt: skip
_FLAGS = "occludedonanotherroad"
_NEGATIVES = "negativepics"
_WHOLE = re.compile(r"-?[0-9]{1,9}")
_QUICK_LOOK = 500
_FIRST_BYTES = 1 << 14
_LIGHTS = frozenset({"go", "goforward", "goleft", "stopleft", "warning", "warningleft"})


@dataclass(frozen=True)
class LisaSignOptions(BadInputOptions):
    """What to read of the LISA traffic sign set."""

    negatives: bool = True
    """Read the pictures of negatives/negativePics, as images without objects."""

    encoding: str | None = None
    """How the table is written, such as cp1252; by default UTF-8, or UTF-16 with its mark."""

    image_sizes: bool = True
    """Read width and height from the header of each image."""


class LisaSignSource:
    """Reads the extracted archive, a folder of frames, or one table."""

    name = "lisa-signs"
    summary = "LISA traffic signs: allAnnotations.csv and the frames beside it"
    options = LisaSignOptions

    def sniff(self, root: Path) -> Match:
        """Look for a table of LISA's with the columns of the sign set."""
        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        if root.name.lower() in KINDS:
            return Match(missing=(f"{root.name} is the name of a table of the LISA light set",))
        base = root.parent if root.is_file() else root
        names = [root.name] if root.is_file() else _find(root, _QUICK_LOOK)
        for name in names[:5]:
            if _is_of_signs(base / name):
                return Match(met=(f"{name} has the columns of the LISA sign set",))
        return Match(missing=("no allAnnotations.csv of the LISA sign set",))

    def read(self, root: Path, options: LisaSignOptions, context: Context) -> Reading:
        """Open the set; the table is in memory as a whole.

        Raises:
            DataError: If there is no table of the set.
            UsageError: If the path or the encoding does not exist.
        """
        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give the extracted archive.")
        csv_text.check_encoding(options.encoding)
        base = root.parent if root.is_file() else root
        names = [root.name] if root.is_file() else _find(root, None)
        if not names:
            raise DataError(
                "holds no allAnnotations.csv and no frameAnnotations.csv.",
                place=root,
                hint="Give the folder of the extracted archive, or the table itself.",
            )
        reader = _Reader(base, names, options, context)
        files = tuple(base / name for name in names)
        return Reading(base, reader.records(), reader.taxonomy, files)


def _find(root: Path, limit: int | None) -> list[str]:
    """The tables of a folder: the one of all frames, else that of each folder of frames."""
    every: list[str] = []
    single: list[str] = []
    for folder, names in islice(walk(root), limit):
        for name in names:
            if name.lower() == ALL and is_text(folder):
                every.append(join(folder, name))
            elif name.lower() == ONE_FOLDER and is_text(folder):
                single.append(join(folder, name))
    return every or single


def _is_of_signs(path: Path) -> bool:
    try:
        text = csv_text.first_lines(path, _FIRST_BYTES).decode()
    except (OSError, DataError):
        return False
    rows = [row for row in csv_text.rows_of(text, ";") if isinstance(row, Row)]
    titles = [normal(title) for title in rows[0].cells] if rows else []
    if not {*_REQUIRED} <= {*titles}:
        return False
    # The light set's old tables have the same columns but these.
    at = titles.index("annotationtag")
    tags = {row.cells[at].lower() for row in rows[1:] if at < len(row.cells)}
    return _FLAGS in titles or (path.name.lower() in {ALL, ONE_FOLDER} and not tags & _LIGHTS)


@dataclass(slots=True)
class _Frame:
    """The rows of one frame, and where it lies."""

    uri: str
    file: str
    line: int
    on_disk: bool
    objects: list[Object]
    group: str | None = None
    frame: int | None = None


class _Reader:
    def __init__(
        self, base: Path, names: list[str], options: LisaSignOptions, context: Context
    ) -> None:
        self.base = base
        self.names = names
        self.options = options
        self.context = context
        self.images = Images(base)
        self.classes: dict[str, None] = {}
        self.frames: dict[str, _Frame | None] = {}
        self.absent = 0
        self.file = names[0]

    def taxonomy(self) -> Taxonomy:
        """The tags as they first occur; the mirror image of a sign is no sign."""
        return Taxonomy(tuple(Category(name=name, mirrorable=False) for name in self.classes))

    def records(self) -> Iterator[Record]:
        """Frames with signs, then negatives, sorted by their paths."""
        for name in self.names:
            self.file = name
            self._table()
        if self.absent:
            self._report("missing-image", f"{self.absent} frames are not there.", None, "kept")
        for uri in sorted(self.frames):
            frame = self.frames[uri]
            if frame is not None and (record := self._record(frame)) is not None:
                yield record
        for uri in sorted(self.images.paths - self.frames.keys()):
            if self.options.negatives and _NEGATIVES in uri.lower().split("/"):
                record = self._record(_Frame(uri, self.names[0], 0, True, []))
                if record is not None:
                    yield record

    def _table(self) -> None:
        path = self.base / self.file
        text = csv_text.decode(path.read_bytes(), self.options.encoding, path)
        rows = csv_text.rows_of(text, ";")
        head = next(rows, None)
        titles = [normal(title) for title in head.cells] if isinstance(head, Row) else []
        missing = [name for name in _REQUIRED if name not in titles]
        if missing:
            raise DataError(
                f"is no table of the LISA sign set: it lacks {', '.join(missing)}.",
                place=path,
                hint="Its first line begins with Filename;Annotation tag;Upper left corner X",
            )
        where = {title: at for at, title in reversed(list(enumerate(titles)))}
        seen: dict[tuple[str, ...], int] = {}
        for row in self.context.progress.track(rows, f"reading {self.file}"):
            if isinstance(row, BadRow):
                self._report("bad-row", row.message, row.line)
                continue
            key = tuple(row.cells)
            if key in seen:
                message = f"repeats line {seen[key]} word by word."
                self._twice("duplicate-row", message, row.line)
                continue
            seen[key] = row.line
            if len(row.cells) != len(titles):
                message = f"has {len(row.cells)} fields where the header has {len(titles)}."
                self._report("wrong-columns", message, row.line)
            elif not all(map(is_text, row.cells)):
                self._report("bad-row", "holds characters that are no text.", row.line)
            else:
                self._row({title: row.cells[at] for title, at in where.items()}, row.line)

    def _twice(self, code: str, message: str, line: int | None) -> None:
        policy = self.options.duplicates
        action = duplicate_action(policy, same=True)
        self._report(code, message, line, action, duplicate_hint(policy))

    def _row(self, cells: dict[str, str], line: int) -> None:
        numbers = [cells[name] for name in _REQUIRED[2:]]
        tag = cells["annotationtag"]
        if not tag:
            self._report("no-tag", "names no sign.", line)
            return
        if not all(map(_WHOLE.fullmatch, numbers)):
            message = f"the corners {';'.join(numbers)!r} are not four whole numbers of pixels."
            self._report("bad-corner", message, line)
            return
        frame = self._frame(cells, line)
        if frame is None:
            return
        attributes: dict[str, AttributeValue] = {}
        flags = [flag.strip() for flag in cells.get(_FLAGS, "").split(",")]
        if len(flags) == 2 and flags[1] in {"0", "1"}:
            attributes["on_another_road"] = flags[1] == "1"
        for title, name in (("origintrack", "origin_track"),
                            ("origintrackframenumber", "origin_track_frame")):  # fmt: skip
            if value := cells.get(title, ""):
                attributes[name] = int(value) if _WHOLE.fullmatch(value) else value
        self.classes.setdefault(tag)
        frame.objects.append(
            Object(
                category=tag,
                box=Box(*map(float, numbers)),
                track=cells.get("origintrack") or None,
                occluded=flags[0] == "1" if flags[0] in {"0", "1"} else None,
                attributes=attributes,
                line=line,
            )
        )

    def _frame(self, cells: dict[str, str], line: int) -> _Frame | None:
        """The frame of a row; None if it is left out, which is reported once."""
        name = cells["filename"]
        found = self.images.find(name, self.file.rpartition("/")[0])
        if len(found) > 1:
            message = f"{name!r} may be {found[0]} or {found[1]}."
            self._report("ambiguous-image", message, line)
            return None
        folder = self.file.rpartition("/")[0]
        uri = found[0] if found else join(folder, clean(name))
        if uri in self.frames:
            return self.frames[uri]
        if not clean(name):
            self._report("no-image", f"{name!r} names no image.", line)
            return None
        if not found and self.images.paths:
            message = f"the frame {name!r} is not among the {len(self.images.paths)} images here."
            hint = "Extract its folder again, or go on without it: --on-error skip"
            self._report("missing-image", message, line, hint=hint)
            self.frames[uri] = None
            return None
        self.absent += not found
        video = cells.get("originfile") or clean(name).rpartition("/")[0]
        number = cells.get("originframenumber", "")
        known = int(number) if _WHOLE.fullmatch(number) else None
        self.frames[uri] = _Frame(uri, self.file, line, bool(found), [], video or None, known)
        return self.frames[uri]

    def _record(self, frame: _Frame) -> Record | None:
        self.file = frame.file
        line = frame.line or None
        ground = Ground(None, 1, None)
        if frame.on_disk and self.options.image_sizes:
            found = ground_of(
                image_header(f"{self.base}/{frame.uri}"),
                None,
                self.options.exif,
                f"the image {frame.uri}",
                lambda code, text, action, hint: self._report(code, text, line, action, hint),
            )
            if found is None:
                return None
            ground = found
        settled = distinct(
            [kept for thing in frame.objects if (kept := self._settled(thing, ground))],
            self.options.duplicates,
            lambda thing, action: self._report(
                "duplicate-object", f"the same {thing.category!r} again.", thing.line, action
            ),
        )
        size = ground.stored
        return Record(
            image_id=frame.uri,
            uri=frame.uri,
            width=size[0] if size else None,
            height=size[1] if size else None,
            group=frame.group,
            frame=frame.frame,
            objects=ground.brought_back(settled),
            origin=Origin(frame.file, line) if line is not None else None,
        )

    def _settled(self, thing: Object, ground: Ground) -> Object | None:
        """An object whose box has come through the policy; None if it is left out."""
        box = thing.box
        fault = None if box is None else fault_of(box, ground.size, TOLERANCE)
        if box is None or fault is None:
            return thing
        kept = settle(
            box,
            ground.size,
            fault,
            self.options.bad_boxes,
            f"the box {shown(box)} of {thing.category!r}",
            lambda code, text, action, hint: self._report(code, text, thing.line, action, hint),
        )
        changed: Object | None = None if kept is None else replace(thing, box=kept)
        return changed

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
