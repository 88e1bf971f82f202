"""From the entries of DriveU label files to records, in the order of city, route and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.bad_input import distinct, duplicate_action, duplicate_hint
from tlx.box_policy import fault_of, settle, shown
from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import Issue
from tlx.media import image_header
from tlx.model import AttributeValue, Box, Object, Origin, Record, replace
from tlx.orientation import Ground, ground_of
from tlx_plugins.sources import driveu_json, driveu_yaml
from tlx_plugins.sources.driveu_classes import Classes
from tlx_plugins.sources.driveu_entries import Entry, Frame, Light, text_of
from tlx_plugins.sources.driveu_identity import KNOWN_WORDS, UNKNOWN, strange
from tlx_plugins.sources.driveu_layout import (
    find_images,
    official_split,
    reading_order,
    version_of,
)

if TYPE_CHECKING:
    from tlx_plugins.sources.driveu import DriveuOptions

SIZE = (2048, 1024)
"""Width and height of every image in pixels, as the data set documents it."""

_BAYER = (".tiff", ".tif")


class DriveuReader:
    """Reads label files of one version.

    Args:
        files: The label files.
        base: The folder that was given for reading.
        options: What to read.
        context: Progress and issues.
    """

    def __init__(
        self, files: list[Path], base: Path, options: DriveuOptions, context: Context
    ) -> None:
        self.base = base
        self.options = options
        self.context = context
        self.classes = Classes(options.classes)
        self._splits: dict[str, str] = {}
        self.entries = self._index(files)
        self.images = find_images(base, options.images, sorted({e.group for e in self.entries}))

    @property
    def media_root(self) -> Path:
        """The folder that the records' images lie in: that of the 8-bit copies, if asked for."""
        proxies = self.options.proxies
        return self.images.root if proxies is None else Path(proxies).expanduser()

    def records(self) -> Iterator[Record]:
        """All records, sorted by city, route, sequence and time."""
        if not self.entries:
            raise DataError(
                "no frame could be read from the label files.",
                place=self.base,
                hint="See the issues for what is wrong with them.",
            )
        if not self.images.found:
            group = self.entries[0].group
            message = (
                f"holds no image folder such as {group}; labels are read without images, their "
                f"size is the documented {SIZE[0]} x {SIZE[1]} pixels."
            )
            hint = "Say where the folders of the cities lie with --images FOLDER"
            self._report("no-images", message, self.images.root, "kept", hint)
        bare: Counter[str] = Counter()
        raw = 0
        any_record = False
        ordered = _ordered(self.entries)
        for entry, position in self.context.progress.track(
            ordered, "reading frames", len(self.entries)
        ):
            uri, here = self._uri(entry, bare)
            if uri is None:
                continue
            record = self._record(entry, position, uri, here)
            copied = self.options.proxies is not None and not self.context.dry_run
            if record is not None and here and copied:
                record = self._with_proxy(record)
            if record is not None:
                any_record = True
                raw += here and record.uri.lower().endswith(_BAYER)
                yield record
        for city, count in sorted(bare.items()):
            message = f"{count} frames of {city} have no image folder here; kept without images."
            self._report("no-images", message, self.images.root, "kept")
        if raw:
            message = (
                f"{raw} images are 16-bit Bayer mosaics (TIFF), which look black in other tools."
            )
            hint = "Have 8-bit copies made with --proxies FOLDER"
            self._report("bayer-images", message, self.images.root, "kept", hint)
        if not any_record:
            message = "no frame could be read: all were left out."
            raise DataError(message, place=self.base)

    def _index(self, files: list[Path]) -> list[Entry]:
        known: dict[str, Entry] = {}
        for path in sorted(files, key=reading_order):
            split = official_split(path)
            repeated = overlapping = 0
            for entry in self._entries_of(path):
                key = entry.key
                if split is not None:
                    overlapping += self._splits.setdefault(key, split) != split
                first = known.setdefault(key, entry)
                if first is not entry:
                    repeated += self._is_repetition(first, entry)
            if repeated:
                message = f"repeats {repeated} frames that were read already; counted once."
                action = duplicate_action(self.options.duplicates, same=True)
                hint = duplicate_hint(self.options.duplicates)
                self._report("duplicate-frame", message, path, action, hint)
            if overlapping:
                message = f"has {overlapping} frames of the other official split too."
                self._report("split-overlap", message, path, "kept")
        return list(known.values())

    def _entries_of(self, path: Path) -> Iterator[Entry]:
        def fault(sentence: str) -> None:
            self._report("bad-image", f"{sentence}.", path)

        read = driveu_json.index if version_of(path) == "json" else driveu_yaml.index
        try:
            data, encoding = text_of(path.read_bytes())
            if encoding is not None:
                message = f"is written in {encoding}, not in UTF-8; read as such."
                self._report("encoding", message, path, "kept")
            if version_of(path) == "yaml" and data and not data.endswith(b"\n"):
                message = "does not end with a line end: it may be cut off, its last image too."
                self._report("cut-off", message, path, "kept")
            yield from read(data, path, fault)
        except OSError as error:
            self._report("bad-file", f"cannot be read: {error.strerror}.", path)
        except DataError as error:
            if self.context.issues.policy == "fail":
                raise
            line = error.place.line if error.place is not None else None
            self._report("bad-file", error.message, path, hint=error.hint, line=line)

    def _is_repetition(self, first: Entry, entry: Entry) -> bool:
        """Whether two entries of one frame say the same; if not, the later one is left out."""
        if first.content == entry.content:
            return True
        try:
            same = first.decode(_ignore).lights == entry.decode(_ignore).lights
        except DataError:
            same = False
        if not same:
            message = (
                f"{entry.place}: {entry.key} has other lights than in {first.file.name} "
                f"({first.place}); the first is taken."
            )
            hint = "Read one label file with --labels FILE, or take the first: --on-error skip"
            action = duplicate_action(self.options.duplicates, same=False)
            self._report("conflicting-frame", message, entry.file, action, hint)
        return same

    def _uri(self, entry: Entry, bare: Counter[str]) -> tuple[str | None, bool]:
        """The image of a frame below the image root, and whether it is there."""
        named = "/".join(entry.parts)
        if not self.images.found:
            return named, False
        names = self.images.folder(entry.group)
        if names is None:
            bare[entry.parts[0]] += 1
            return named, False
        name = names.get(entry.stem)
        if name is None:
            folder = self.images.root / entry.group
            message = f"{entry.place}: the image {entry.stem} is not among those in {folder}."
            hint = "Unpack the folder again, or go on without it: --on-error skip"
            self._report("missing-image", message, entry.file, hint=hint)
            return None, False
        return f"{entry.group}/{name}", True

    def _record(self, entry: Entry, position: int, uri: str, here: bool) -> Record | None:
        def fault(sentence: str) -> None:
            self._report("bad-label", f"{sentence}.", entry.file)

        try:
            frame = entry.decode(fault)
        except DataError as error:
            self._report("bad-image", f"{error.message}.", entry.file)
            return None
        ground: Ground | None = Ground(SIZE, 1, SIZE)
        if here and self.options.image_sizes:
            ground = self._ground(entry, uri, frame.line)
        if ground is None:
            return None
        objects = distinct(
            list(self._objects(entry, frame, ground.size)),
            self.options.duplicates,
            lambda thing, action: self._repeated(thing, action, entry, frame.line),
        )
        return Record(
            image_id="/".join(entry.parts),
            uri=uri,
            width=ground.stored[0] if ground.stored else None,
            height=ground.stored[1] if ground.stored else None,
            group=entry.group,
            frame=position,
            objects=ground.brought_back(objects),
            attributes=self._attributes(entry, frame),
            origin=Origin(_relative(entry.file, self.base), frame.line),
        )

    def _ground(self, entry: Entry, uri: str, line: int | None) -> Ground | None:
        """The pixels that the labels of a frame count; None leaves the frame out."""
        image = self.images.root / uri
        header = image_header(image)
        if header is None:
            message = f"the image {uri} has no readable header."
            self._report("unreadable-image", message, image, "kept")
            return Ground(None, 1, None)

        def report(code: str, message: str, action: str, hint: str) -> None:
            self._report(code, message, entry.file, action, hint, line=line)

        return ground_of(header, None, self.options.exif, f"the image {uri}", report)

    def _repeated(self, thing: Object, action: str, entry: Entry, line: int | None) -> None:
        message = f"{entry.key}: the light {thing.object_id or thing.category} is there twice."
        hint = duplicate_hint(self.options.duplicates)
        self._report("duplicate-object", message, entry.file, action, hint, line=line)

    def _with_proxy(self, record: Record) -> Record | None:
        """The record with its 8-bit copy as the image; None where none can be made."""
        from tlx_plugins.sources.driveu_bayer import write_proxy

        image = self.images.root / record.uri
        try:
            uri = write_proxy(image, self.media_root, record.uri)
        except DataError as error:
            self._report("unreadable-image", error.message, image)
            return None
        return replace(record, uri=uri)  # type: ignore[no-any-return]

    def _attributes(self, entry: Entry, frame: Frame) -> dict[str, AttributeValue]:
        values = frame.attributes
        if len(entry.parts) == 4:
            values["city"], values["route"], values["sequence"] = entry.parts[:3]
        split = self._splits.get(entry.key)
        if split is not None:
            values["official_split"] = split
        return values

    def _objects(
        self, entry: Entry, frame: Frame, size: tuple[int, int] | None
    ) -> Iterator[Object]:
        for light in frame.lights:
            stated = light.attributes
            # The digits of version 1.0 decode to words of the tables only.
            words = [] if "class_id" in stated else strange(stated)
            if words:
                message = f"{entry.key}: no such value in the documentation: {', '.join(words)}."
                self._report("unknown-value", message, entry.file, "kept")
            unwanted = self._unwanted(light)
            if unwanted is not None:
                code, reason = unwanted
                message = f"{entry.key}: a light that is {reason}; left out."
                self._report(code, message, entry.file, "requested", line=frame.line)
                continue
            box: Box | None = Box(light.x, light.y, light.x + light.width, light.y + light.height)
            fault = fault_of(box, size) if box is not None else None
            if box is not None and fault is not None:
                box = settle(
                    box,
                    size,
                    fault,
                    self.options.bad_boxes,
                    f"{entry.key}: the box {shown(box)}",
                    lambda code, message, action, hint: self._report(
                        code, message, entry.file, action, hint, line=frame.line
                    ),
                )
            if box is None:
                continue
            occlusion = stated.get("occlusion")
            yield Object(
                category=self.classes.name(stated),
                box=box,
                object_id=light.unique_id,
                track=light.track_id,
                occluded={"occluded": True, "not_occluded": False}.get(str(occlusion)),
                attributes=stated,
            )

    def _unwanted(self, light: Light) -> tuple[str, str] | None:
        """Code and reason, where an option leaves a light out."""
        stated, options = light.attributes, self.options
        if options.reflections == "drop" and stated.get("reflection") == "reflected":
            return "reflection", "a reflection"
        direction = stated.get("direction", UNKNOWN)
        if options.direction not in ("all", direction):
            return "direction", f"{direction}-facing"
        relevance = stated.get("relevance", UNKNOWN)
        if options.relevance not in ("all", relevance):
            return "relevance", f"of relevance {relevance}"
        state = stated.get("state", UNKNOWN)
        if options.unknown_states == "drop" and state not in KNOWN_WORDS["state"]:
            return "unknown-state", "of unknown state"
        return None

    def _report(
        self,
        code: str,
        message: str,
        path: Path,
        action: str = "skipped",
        hint: str | None = None,
        *,
        line: int | None = None,
    ) -> None:
        self.context.issues.report(Issue(code, message, str(path), line, action, hint))


def _ignore(sentence: str) -> None:
    """Faults of a repetition are told when the frame is read."""
    del sentence


def _relative(file: Path, base: Path) -> str:
    return file.relative_to(base).as_posix() if file.is_relative_to(base) else file.name


def _ordered(entries: list[Entry]) -> Iterator[tuple[Entry, int]]:
    """Entries by sequence and time stamp, each with its position in the sequence."""
    for _, group in groupby(sorted(entries, key=lambda e: e.group), key=lambda e: e.group):
        frames = list(group)
        if all(e.time is not None for e in frames):
            frames.sort(key=lambda e: (e.time or 0.0, e.stem))
        else:  # The name of a file begins with date and time.
            frames.sort(key=lambda e: e.stem)
        for position, entry in enumerate(frames):
            yield entry, position
