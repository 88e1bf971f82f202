"""The LISA traffic light set (Jensen et al. 2016; kaggle.com/datasets/mbornoe) as a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlx.api import Match, Reading
from tlx.bad_input import BadInputOptions, duplicate_action, duplicate_hint
from tlx.box_policy import fault_of, settle
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.issues import Issue, IssueLog
from tlx.media import ImageHeader, image_header
from tlx.model import AttributeValue, Box, Category, Object, Origin, Record, Taxonomy
from tlx.orientation import Ground, ground_of
from tlx_plugins.sources import lisa_csv, lisa_layout
from tlx_plugins.sources.lisa_csv import Row
from tlx_plugins.sources.lisa_layout import ClipName, Layout

_QUICK_LOOK = 5000


def _light(name: str, color: str, *, arrow: bool = False) -> Category:
    # The set has left arrows only, so the mirror image of one belongs to no class.
    return Category(name=name, color=color, mirrorable=not arrow, color_defined=True)


TAXONOMY = Taxonomy(
    (
        _light("go", "#00c853"),
        _light("goForward", "#64dd17"),
        _light("goLeft", "#00bfa5", arrow=True),
        _light("stop", "#d50000"),
        _light("stopLeft", "#ff1744", arrow=True),
        _light("warning", "#ffab00"),
        _light("warningLeft", "#ff6d00", arrow=True),
    )
)


@dataclass(frozen=True)
class LisaOptions(BadInputOptions):
    """What to read of the LISA traffic light set, and how."""

    boxes: Literal["box", "bulb"] = "box"
    """Which of the two annotation files of a clip: the housing (frameAnnotationsBOX.csv) or the
    lit bulb (frameAnnotationsBULB.csv)."""

    samples: Literal["auto", "include", "exclude"] = "auto"
    """What to do with sample-dayClip6 and sample-nightClip1, which repeat frames of dayClip6 and
    nightClip1: auto takes one only in place of a clip that is absent or has no frames; include
    takes both; exclude takes none."""

    negatives: bool = True
    """Keep frames without any light, as images without objects."""

    image_sizes: bool = True
    """Read width and height from the header of each image."""


class LisaSource:
    """Reads the extracted archive, or any part of it; see `tlx_plugins.sources.lisa_layout`."""

    name = "lisa"
    summary = "LISA traffic lights: the extracted Kaggle archive or any part of it"
    options = LisaOptions

    def sniff(self, root: Path) -> Match:
        """Look for annotation files with LISA's names, in the first few thousand entries."""
        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        if root.is_file() and root.name.lower() not in lisa_layout.KINDS:
            return Match(missing=(f"{root.name} is not named {lisa_layout.BOX_FILE}",))
        layout = lisa_layout.scan(root, "box", _QUICK_LOOK)
        met = tuple(
            f"{file} in {len(found)} folder{'s' * (len(found) != 1)}"
            for file, kind in (
                (lisa_layout.BOX_FILE, "box"),
                (lisa_layout.BULB_FILE, "bulb"),
            )
            if (found := layout.labels[kind])
        )
        if not met:
            return Match(missing=(f"no {lisa_layout.BOX_FILE} in any folder",))
        return Match(met=met)

    def read(self, root: Path, options: LisaOptions, context: Context) -> Reading:
        """Find the label files and frames below ``root``; rows are read while iterated.

        Records come sorted by part of the set, clip number and frame. The image id is the same
        from whatever part of the archive it is read: ``dayTrain/dayClip1/dayClip1--00000.jpg``.
        """
        if not root.exists():
            raise UsageError(
                f"{root} does not exist.", hint="Give the folder of the extracted LISA archive."
            )
        layout = lisa_layout.scan(root, options.boxes)
        kind = options.boxes
        if root.is_file() and not layout.labels[kind]:
            kind = "bulb" if kind == "box" else "box"
        if not layout.labels[kind]:
            raise _nothing_found(root, layout, kind)
        reader = _Reader(layout, kind, options, context)
        files = tuple(
            layout.media_root / file
            for _, found in sorted(layout.labels[kind].items())
            for file in found
        )
        return Reading(layout.media_root, reader.records(), TAXONOMY, files)


def _nothing_found(root: Path, layout: Layout, kind: str) -> DataError:
    wanted = lisa_layout.BOX_FILE if kind == "box" else lisa_layout.BULB_FILE
    other = "bulb" if kind == "box" else "box"
    if layout.labels[other]:
        return DataError(
            f"has no {wanted}, but {len(layout.labels[other])} with the other kind of boxes.",
            place=root,
            hint=f"Read those with: --boxes {other}",
        )
    if layout.entries == 0:
        return DataError(
            f"is empty; looked for {wanted} in it.",
            place=root,
            hint="Give the folder of the extracted LISA archive.",
        )
    frames = sum(map(len, layout.frames.values()))
    if frames:
        return DataError(
            f"has {frames} frames of {len(layout.frames)} clips but no {wanted} in any folder.",
            place=root,
            hint="The labels lie in Annotations/Annotations of the archive: give the folder that "
            "holds both.",
        )
    found = f"{layout.entries} other files and folders"
    names = sorted(entry.name for entry in layout.media_root.iterdir())[:3]
    return DataError(
        f"is no LISA archive: looked for {wanted} in every folder below it and found {found} "
        f"({', '.join(names)}{', ...' if len(names) == 3 else ''}).",
        place=root,
        hint="Give the folder that holds Annotations, dayTrain, ...; other data: tlx plugins",
    )


class _Reader:
    """Turns a layout into records, clip by clip."""

    def __init__(self, layout: Layout, kind: str, options: LisaOptions, context: Context) -> None:
        self.layout = layout
        self.kind = kind
        self.labels = layout.labels[kind]
        self.options = options
        self.context = context
        self.issues: IssueLog = context.issues
        self.done: dict[str, set[str]] = {}
        """Frames that have a record, by clip key."""

    def records(self) -> Iterator[Record]:
        """All records, in order."""
        self._report_layout()
        keys = self._chosen_clips()
        self._report_missing_frames(keys)
        any_record = False
        for key in self.context.progress.track(keys, "reading clips", len(keys)):
            for record in self._clip(key):
                any_record = True
                yield record
        self._report_unlabelled(keys)
        if not any_record:
            raise DataError(
                "nothing could be read: no file held a usable row and no frame is a negative.",
                place=self.layout.media_root,
            )

    def _report_layout(self) -> None:
        for path in self.layout.unnameable:
            self._report("bad-name", "the name of this file or folder is not text.", path)
        for path, earlier in self.layout.doubled:
            message = f"is a frame that lies at {earlier} too; the other one is taken."
            hint = "Move one of the two copies away, or go on with the other: --on-error skip"
            action = duplicate_action(self.options.duplicates, same=False)
            hint = duplicate_hint(self.options.duplicates) or hint
            self._report("duplicate-image", message, path, action, hint)
        if self.layout.other_images:
            message = f"{self.layout.other_images} images are no frames of a clip; left out."
            self._report("other-image", message, action="kept")

    def _chosen_clips(self) -> list[str]:
        keys = sorted(self.labels, key=lambda key: ClipName.parse(key).order)
        chosen = set(keys)
        for key in keys:
            group = ClipName.parse(key).group
            if group == key or self.options.samples == "include":
                continue
            path = self.labels[key][0]
            if self.options.samples == "exclude":
                self._report("sample-clip", "left out by the option samples.", path, "requested")
                chosen.discard(key)
            elif group not in self.labels:
                message = f"stands for {group}, which is not here."
                self._report("sample-clip", message, path, "kept")
            elif self.layout.frames.get(key) and not self.layout.frames.get(group):
                message = f"repeats {group}, which has no frames here; the sample is read instead."
                self._report("sample-clip", message, path, "merged")
                chosen.discard(group)
            else:
                message = f"repeats {group}, which is read; the option samples takes both."
                self._report("sample-clip", message, path, "merged")
                chosen.discard(key)
        return [key for key in keys if key in chosen]

    def _report_missing_frames(self, keys: list[str]) -> None:
        """Say once which clips have labels but no image folder."""
        if not any(self.layout.frames.values()):
            message = "there are no frames here, only labels; image sizes and negatives stay open."
            hint = "Give the folder that holds both the frames and Annotations."
            self._report("no-images", message, "", "kept", hint)
            return
        bare = [key for key in keys if not self.layout.frames.get(key)]
        # A folder that is not named after its clip says nothing before its rows are read.
        bare = [key for key in bare if ClipName.parse(key).sequence]
        if bare:
            listing = ", ".join(bare[:6]) + (", ..." if len(bare) > 6 else "")
            message = f"{len(bare)} clips have labels but no frames here: {listing}."
            self._report("no-images", message, "", "kept")

    def _report_unlabelled(self, keys: list[str]) -> None:
        """Frames of a clip without labels are not negatives: nobody looked at them."""
        read = {*keys, *self.done}
        samples = set() if self.options.samples == "include" else {"sample"}
        for key in sorted(set(self.layout.frames) - read):
            if key in self.labels or (samples and key.startswith(lisa_layout.SAMPLE)):
                continue
            frames = self.layout.frames[key]
            message = f"{len(frames)} frames of {key} have no annotation file; left out."
            hint = "Add the clip's folder of Annotations, or go on without: --on-error skip"
            self._report("unlabelled-clip", message, next(iter(frames.values())), hint=hint)

    def _clip(self, key: str) -> Iterator[Record]:
        """The records of the clip that one folder's label files are about."""
        by_clip: dict[str, dict[str, list[Row]]] = {}
        usable = False
        sample = lisa_layout.SAMPLE if ClipName.parse(key).group != key else ""
        for number, file in enumerate(self.labels[key]):
            if number and self._same_bytes(file, self.labels[key][0]):
                message = f"has the same content as {self.labels[key][0]}; counted once."
                action = duplicate_action(self.options.duplicates, same=True)
                self._report("duplicate-file", message, file, action)
                continue
            path = self.layout.media_root / file
            rows = lisa_csv.read_rows(
                path, str(path), self.kind, self.issues, self.options.duplicates
            )
            if rows is None:
                continue
            usable = True
            for row in rows:
                owner = lisa_layout.clip_of(row.name)
                clip = key if owner is None else sample + owner
                by_clip.setdefault(clip, {}).setdefault(row.name, []).append(row)
            if not rows or key in self.layout.frames:
                by_clip.setdefault(key, {})
            for clip in sorted(by_clip, key=lambda name: ClipName.parse(name).order):
                yield from self._frames(ClipName.parse(clip), by_clip[clip], file)
            by_clip = {}
        if not usable and key in self.layout.frames:
            # Without its labels a frame is not a negative; the bad file is reported already.
            self.done.setdefault(key, set())

    def _same_bytes(self, first: str, second: str) -> bool:
        root = self.layout.media_root
        return (root / first).read_bytes() == (root / second).read_bytes()

    def _frames(self, clip: ClipName, rows: dict[str, list[Row]], file: str) -> Iterator[Record]:
        """The frames of one clip in order: with lights and, from the folder, without."""
        on_disk = self.layout.frames.get(clip.key, {})
        done = self.done.setdefault(clip.key, set())
        by_stem = _by_stem(on_disk, rows)
        found = {name: name if name in on_disk else by_stem.get(_stem(name)) for name in rows}
        taken = set(found.values())
        negatives = [name for name in on_disk if name not in taken and name not in done]
        attributes = _clip_attributes(clip)
        unsized = 0
        root = self.layout.media_root.as_posix()
        for name in sorted([*rows, *(negatives if self.options.negatives else ())]):
            frame_rows = rows.get(name, [])
            if name in done:
                message = f"{name} is described in another file too; this one is left out."
                action = duplicate_action(self.options.duplicates, same=False)
                self._report("duplicate-frame", message, file, action, line=frame_rows[0].line)
                continue
            image = found.get(name) if frame_rows else name
            if image is None and on_disk:
                message = f"the image {name} is not among the {len(on_disk)} frames of {clip.key}."
                hint = "Extract the clip's folder again, or go on without it: --on-error skip"
                self._report("missing-image", message, file, hint=hint, line=frame_rows[0].line)
                continue
            done.add(name)
            uri = clip.archive_folder + name if image is None else on_disk[image]
            ground: Ground | None = Ground(None, 1, None)
            if image is not None and self.options.image_sizes:
                header = image_header(f"{root}/{uri}")
                unsized += header is None
                line = frame_rows[0].line if frame_rows else None
                ground = self._ground(header, uri, file, line)
            if ground is None:
                continue
            size = ground.stored
            yield Record(
                image_id=clip.prefix + name,
                uri=uri,
                width=size[0] if size else None,
                height=size[1] if size else None,
                group=clip.group,
                frame=lisa_layout.frame_number(name),
                objects=ground.brought_back(self._objects(frame_rows, ground.size, file)),
                attributes=attributes,
                origin=Origin(file, frame_rows[0].line if frame_rows else None),
            )
        if unsized:
            message = f"{unsized} of {len(on_disk)} images of {clip.key} have no readable header."
            self._report("unreadable-image", message, file, "kept")

    def _ground(
        self, header: ImageHeader | None, uri: str, file: str, line: int | None
    ) -> Ground | None:
        """The pixels that the labels of a frame count; None leaves the frame out."""

        def report(code: str, message: str, action: str, hint: str) -> None:
            self._report(code, message, file, action, hint, line=line)

        return ground_of(header, None, self.options.exif, f"the frame {uri}", report)

    def _objects(
        self, rows: list[Row], size: tuple[int, int] | None, file: str
    ) -> Iterator[Object]:
        for row in rows:
            xmin, ymin, xmax, ymax = row.corners
            box: Box | None = Box(xmin, ymin, xmax, ymax)
            if (
                xmin >= xmax
                or ymin >= ymax
                or xmin < 0
                or ymin < 0
                or (size is not None and (xmax > size[0] or ymax > size[1]))
            ):
                box = self._bad_box(row, size, file)
            if box is not None:
                yield Object(category=row.tag, box=box, attributes=row.attributes, line=row.line)

    def _bad_box(self, row: Row, size: tuple[int, int] | None, file: str) -> Box | None:
        """Decide on a box that is degenerate or leaves the image; None drops it."""
        box = Box(*row.corners)
        fault = fault_of(box, size)
        if fault is None:
            return box
        corners = ", ".join(map(str, row.corners))
        return settle(
            box,
            size,
            fault,
            self.options.bad_boxes,
            f"the box ({corners}) of {row.name}",
            lambda code, message, action, hint: self._report(
                code, message, file, action, hint, line=row.line
            ),
        )

    def _report(
        self,
        code: str,
        message: str,
        path: str = "",
        action: str = "skipped",
        hint: str | None = None,
        *,
        line: int | None = None,
    ) -> None:
        place = str(self.layout.media_root / path) if path else str(self.layout.media_root)
        self.issues.report(Issue(code, message, place, line, action, hint))


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _by_stem(on_disk: dict[str, str], rows: dict[str, list[Row]]) -> dict[str, str]:
    """Frames by name without ending, for a release whose labels say .png where disk has .jpg."""
    if all(name in on_disk for name in rows):
        return {}
    return {_stem(name): name for name in sorted(on_disk, reverse=True)}


def _clip_attributes(clip: ClipName) -> dict[str, AttributeValue]:
    stated = {
        "sequence": clip.sequence,
        "illumination": clip.illumination,
        "official_split": clip.official_split,
    }
    return {name: value for name, value in stated.items() if value is not None}
