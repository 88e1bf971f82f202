"""From the entries of DriveU label files to records, in the order of city, route and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.bad_input import distinct, duplicate_hint
from tlx.box_policy import fault_of, settle, shown
from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import Issue
from tlx.media import image_header
from tlx.model import AttributeValue, Box, Object, Origin, Record, replace
from tlx.orientation import Ground, ground_of
from tlx_plugins.sources.driveu_classes import Classes
from tlx_plugins.sources.driveu_decoder import is_raw_name
from tlx_plugins.sources.driveu_entries import Entry, Frame, Light
from tlx_plugins.sources.driveu_file import LabelFile
from tlx_plugins.sources.driveu_identity import KNOWN_WORDS, UNKNOWN, strange
from tlx_plugins.sources.driveu_index import Found, FrameIndex
from tlx_plugins.sources.driveu_layout import find_images, reading_order

_RAW = (".tiff", ".tif")

if TYPE_CHECKING:
    from tlx_plugins.sources.driveu import DriveuOptions

SIZE = (2048, 1024)
"""Width and height of every image in pixels, as the data set documents it."""


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
        ordered = sorted(files, key=reading_order)
        self.files = [LabelFile(path, order) for order, path in enumerate(ordered)]
        self._origins = [_relative(path, base) for path in ordered]
        self.index = FrameIndex(self.files, options.duplicates, context.issues)
        self.images = find_images(base, options.images, sorted(self.index.groups))

    @property
    def media_root(self) -> Path:
        """The folder that the records' images lie in: that of the 8-bit copies, if asked for."""
        proxies = self.options.proxies
        return self.images.root if proxies is None else Path(proxies).expanduser()

    def records(self) -> Iterator[Record]:
        """All records, sorted by city, route, sequence and time."""
        try:
            yield from self._records()
        finally:
            self.index.close()

    def _records(self) -> Iterator[Record]:
        if not self.index.groups:
            raise DataError(
                "no frame could be read from the label files.",
                place=self.base,
                hint="See the issues for what is wrong with them.",
            )
        if not self.images.found:
            message = (
                f"holds no image folder such as {min(self.index.groups)}; labels are read without "
                f"images, their size is the documented {SIZE[0]} x {SIZE[1]} pixels."
            )
            hint = "Say where the folders of the cities lie with --images FOLDER"
            self._report("no-images", message, self.images.root, "kept", hint)
        bare: Counter[str] = Counter()
        unknown_raw = 0
        any_record = False
        for found in self.context.progress.track(
            self.index.frames(), "reading frames", self.index.count
        ):
            uri, here = self._uri(found.entry, bare)
            if uri is None:
                continue
            record = self._record(found, uri, here)
            copied = self.options.proxies is not None and not self.context.dry_run
            if record is not None and here and copied:
                record = self._with_proxy(record)
            if record is not None:
                any_record = True
                is_tiff = record.uri.lower().endswith(_RAW)
                unknown_raw += here and is_tiff and not is_raw_name(record.uri)
                yield record
        for city, count in sorted(bare.items()):
            message = f"{count} frames of {city} have no image folder here; kept without images."
            self._report("no-images", message, self.images.root, "kept")
        if unknown_raw:
            message = (
                f"{unknown_raw} TIFF images are not named as the data set names them "
                "(City/CityN/SEQUENCE/..._k0.tiff), so tlx cannot know that they are raw."
            )
            hint = "Name them so, or have 8-bit copies made with --proxies FOLDER"
            self._report("bayer-images", message, self.images.root, "kept", hint)
        self.index.report_sums()
        if not any_record:
            message = "no frame could be read: all were left out."
            raise DataError(message, place=self.base)

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
            self._in_label(entry, "missing-image", message, "skipped", hint)
            return None, False
        return f"{entry.group}/{name}", True

    def _record(self, found: Found, uri: str, here: bool) -> Record | None:
        entry = found.entry
        file = self.files[entry.file]

        def fault(sentence: str, line: int | None) -> None:
            self._report("bad-label", f"{sentence}.", file.path, line=line)

        try:
            frame = file.frame(entry, fault)
        except DataError as error:
            self._report("bad-image", f"{error.message.rstrip('.')}.", file.path, line=entry.line)
            return None
        ground: Ground | None = Ground(SIZE, 1, SIZE)
        if here and self.options.image_sizes:
            ground = self._ground(entry, uri)
        if ground is None:
            return None
        objects = distinct(
            list(self._objects(entry, frame, ground.size)),
            self.options.duplicates,
            lambda thing, action: self._repeated(thing, action, entry),
        )
        return Record(
            image_id="/".join(entry.parts),
            uri=uri,
            width=ground.stored[0] if ground.stored else None,
            height=ground.stored[1] if ground.stored else None,
            group=entry.group,
            frame=found.position,
            objects=ground.brought_back(objects),
            attributes=_attributes(found, frame),
            origin=Origin(self._origins[entry.file], entry.line),
        )

    def _ground(self, entry: Entry, uri: str) -> Ground | None:
        """The pixels that the labels of a frame count; None leaves the frame out."""
        image = self.images.root / uri
        header = image_header(image)
        if header is None:
            message = f"the image {uri} has no readable header."
            self._report("unreadable-image", message, image, "kept")
            return Ground(None, 1, None)

        def report(code: str, message: str, action: str, hint: str) -> None:
            self._in_label(entry, code, message, action, hint)

        return ground_of(header, None, self.options.exif, f"the image {uri}", report)

    def _repeated(self, thing: Object, action: str, entry: Entry) -> None:
        message = f"{entry.key}: the light {thing.object_id or thing.category} is there twice."
        hint = duplicate_hint(self.options.duplicates)
        self._in_label(entry, "duplicate-object", message, action, hint)

    def _in_label(
        self, entry: Entry, code: str, message: str, action: str, hint: str | None = None
    ) -> None:
        path = self.files[entry.file].path
        self._report(code, message, path, action, hint, line=entry.line)

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

    def _objects(
        self, entry: Entry, frame: Frame, size: tuple[int, int] | None
    ) -> Iterator[Object]:
        for light in frame.lights:
            stated = light.attributes
            # The digits of version 1.0 decode to words of the tables only.
            words = [] if "class_id" in stated else strange(stated)
            if words:
                message = f"{entry.key}: no such value in the documentation: {', '.join(words)}."
                self._in_label(entry, "unknown-value", message, "kept")
            unwanted = self._unwanted(light)
            if unwanted is not None:
                code, reason = unwanted
                message = f"{entry.key}: a light that is {reason}; left out."
                self._in_label(entry, code, message, "requested")
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
                    lambda code, message, action, hint: self._in_label(
                        entry, code, message, action, hint
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


def _attributes(found: Found, frame: Frame) -> dict[str, AttributeValue]:
    values, parts = frame.attributes, found.entry.parts
    if len(parts) == 4:
        values["city"], values["route"], values["sequence"] = parts[:3]
    if found.split is not None:
        values["official_split"] = found.split
    return values


def _relative(file: Path, base: Path) -> str:
    return file.relative_to(base).as_posix() if file.is_relative_to(base) else file.name
