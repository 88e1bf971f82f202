"""From CVAT files to records."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tlx import orientation
from tlx.bad_input import distinct, duplicate_action, duplicate_hint
from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import Issue
from tlx.media import image_header
from tlx.model import AttributeValue, Category, Label, Object, Origin, Record, Taxonomy
from tlx.orientation import Ground
from tlx_plugins.formats import cvat_meta, cvat_xml
from tlx_plugins.formats.cvat_clips import Clip
from tlx_plugins.formats.cvat_files import ImageFinder, LabelFile, images_in_zip
from tlx_plugins.formats.cvat_meta import Task, count_of, read_meta, typed
from tlx_plugins.formats.cvat_parts import joined, whole_of
from tlx_plugins.formats.cvat_shapes import ShapeReader, Size
from tlx_plugins.formats.cvat_tracks import TrackReader, frames
from tlx_plugins.formats.cvat_xml import Drawn, Image, Node, Track, TrackEnd, TrackShape
from tlx_plugins.safe_zip import clean_name
from tlx_plugins.spill import Spill

if TYPE_CHECKING:
    from tlx_plugins.formats.cvat import CvatOptions


@dataclass(slots=True)
class CvatReader:
    """Reads the files of one dataset, one after the other.

    Attributes:
        files: The CVAT files, sorted.
        media_root: What the uri of a record is relative to.
        images: The folder of images that the user named, if any.
        options: The user's choices.
        context: Progress and issues.
    """

    files: list[LabelFile]
    media_root: Path
    images: Path | None
    options: CvatOptions
    context: Context
    categories: dict[str, Category] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)

    def taxonomy(self) -> Taxonomy:
        """The labels of all files, in the order in which they were met."""
        return Taxonomy(tuple(self.categories.values()))

    def records(self) -> Iterator[Record]:
        """All records: files in sorted order, images in the order of their file."""
        for file in self.context.progress.track(self.files, "reading files", len(self.files)):
            reader = FileReader(self, file)
            yield from reader.records()
            for category in (*reader.shapes.meta.categories, *reader.shapes.learned.values()):
                self.categories.setdefault(category.name, category)

    def is_new(self, image_id: str) -> bool:
        """Whether an image id comes for the first time."""
        # 12 bytes instead of the text, as in `tlx.dataset`.
        key = hashlib.blake2b(image_id.encode(), digest_size=12).digest()
        if key in self.seen:
            return False
        self.seen.add(key)
        return True


class FileReader:
    """Reads one file.

    Args:
        reader: What is common to all files.
        file: The file.
    """

    def __init__(self, reader: CvatReader, file: LabelFile) -> None:
        self.reader = reader
        self.options = reader.options
        self.file = file
        self.finder = ImageFinder(file, reader.media_root, reader.images)
        self.shapes = ShapeReader(self.options, self.report)
        self.origin = file.origin
        self.counted: Counter[str] = Counter()
        self.first: dict[str, tuple[str, int | None]] = {}
        self.root = reader.media_root.as_posix()

    def records(self) -> Iterator[Record]:
        """The images of the file, then the frames of its tracks."""
        with Spill() as spill:
            tracks = TrackReader(self.shapes, self.options, self.report, spill)
            self._report_absent_images()
            any_image = False
            for event in self._events():
                if isinstance(event, Image):
                    any_image = True
                    record = self._image(event)
                    if record is not None:
                        yield record
                elif isinstance(event, TrackShape):
                    tracks.add(event)
                elif isinstance(event, Track):
                    tracks.start(event)
                elif isinstance(event, TrackEnd):
                    tracks.end(event)
                elif isinstance(event, Node):
                    self.shapes.meta = read_meta(event)
                else:
                    message = f"the element <{event.name}> has no meaning here; left out."
                    self.report("unknown-element", message, event.line)
            tracks.finish()
            yield from self._videos(tracks, any_image)
            self._report_sums(tracks)

    def _events(self) -> Iterator[cvat_xml.Event]:
        """The events of the file up to where it breaks."""
        try:
            with self.file.stream() as stream:
                yield from cvat_xml.events(stream, self.file.shown)
        except DataError as error:
            line = error.place.line if error.place is not None else None
            self.report("broken-file", error.message, line, "skipped", error.hint)

    # -- images ---------------------------------------------------------------------------------

    def _image(self, image: Image) -> Record | None:
        values, line = image.values, image.line
        given, subset = values.get("name", ""), values.get("subset", "")
        name = clean_name(given)
        if name is None or (subset and clean_name(subset) != subset):
            what = (
                "has no name" if not given else f"has the name {subset}/{given}, which leads away"
            )
            self.report("bad-name", f"an image {what}; left out.", line)
            return None
        stated_id = values.get("image_id")  # tlx writes it where the name is another one.
        inner = stated_id or f"{subset + '/' if subset else ''}{name}"
        image_id = f"{self.file.prefix}{inner}"
        if not self.reader.is_new(image_id):
            message = f"{image_id} is described twice; the first one is kept, with its labels."
            hint = "Put exports that repeat names into folders of their own."
            action = duplicate_action(self.options.duplicates, same=False)
            self.report("duplicate-image", message, line, action, hint)
            return None
        task = self.shapes.meta.task_of(values)
        remote = values.get("uri") if "://" in values.get("uri", "") else None
        uri = remote or self.finder.find(subset, name)
        if uri is None and self.finder.any and not self.keep_missing(name, line):
            return None
        stated = self._size(values, line)
        ground = self.ground_of(None if remote else uri, stated, line)
        if ground is None:
            return None
        size = ground.size
        attributes: dict[str, AttributeValue] = {}
        number = count_of(values.get("id"))
        if number is not None:
            attributes["cvat_image_id"] = number
        if values.get("task_id"):
            attributes["cvat_task_id"] = values["task_id"]
        labels: list[Label] = []
        objects: list[Object] = []
        read = self.shapes.from_image
        wholes: dict[str, tuple[int, bool]] = {}
        for shape in image.shapes:
            if shape.kind == "tag":
                self._tag(shape, labels, attributes)
                continue
            thing = read(shape, size)
            if thing is None:
                continue
            whole = whole_of(shape, join=self.options.groups == "join")
            if whole is not None and whole in wholes:
                place, boxed = wholes[whole]
                objects[place] = joined(objects[place], thing, boxed=boxed)
                continue
            if whole is not None:
                wholes[whole] = len(objects), "xtl" in shape.values
            objects.append(thing)
        return Record(
            image_id=image_id,
            uri=self.finder.expected(subset, name) if uri is None else uri,
            width=ground.stored[0] if ground.stored else None,
            height=ground.stored[1] if ground.stored else None,
            split=self.split_of(subset, task),
            group=self.group_of(task, subset) if task.video else None,
            frame=number if task.video else None,
            labels=tuple(labels),
            objects=ground.brought_back(self.distinct(objects)),
            attributes=attributes,
            origin=Origin(self.origin, line),
        )

    def _tag(self, tag: Drawn, labels: list[Label], attributes: dict[str, AttributeValue]) -> None:
        """An image-level label; its attributes become the image's, as ``label.attribute``."""
        category = self.shapes.category(tag.values.get("label"), tag.line)
        if category is None:
            return
        if any(label.category == category for label in labels):
            message = f"the tag {category!r} stands twice at one image; counted once."
            action = duplicate_action(self.options.duplicates, same=True)
            self.report("duplicate-tag", message, tag.line, action)
        else:
            labels.append(Label(category))
        inputs = self.shapes.meta.inputs.get(category)
        attributes |= self.shapes.attributes(tag, inputs, f"{category}.")
        if tag.values.get("source"):
            attributes.setdefault(f"{category}.source", tag.values["source"])
        group = tag.values.get("group_id")
        if group:
            value = typed(group, "number")
            attributes.setdefault(f"{category}.group_id", group if value is None else value)

    def _size(self, values: dict[str, str], line: int) -> Size | None:
        width, height = count_of(values.get("width")), count_of(values.get("height"))
        if width and height:
            return width, height
        if values.get("width") or values.get("height"):
            text = f"{values.get('width')} x {values.get('height')}"
            message = f"{text} is no size of an image; taken as not stated."
            self.report("bad-size", message, line, "changed")
        return None

    def keep_missing(self, name: str, line: int | None) -> bool:
        """Report an image that is not there; whether its record stays."""
        keep = self.options.missing_images == "keep"
        message = f"the image {name} is not beside the file; {'kept' if keep else 'left out'}."
        hint = "Name its folder with --images, or keep such labels: --missing-images keep"
        self.report("missing-image", message, line, "kept" if keep else "skipped", hint)
        return keep

    def ground_of(self, uri: str | None, stated: Size | None, line: int | None) -> Ground | None:
        """The pixels that the labels of an image count; None leaves the image out."""
        if uri is None or not self.options.image_sizes:
            return Ground(stated, 1, stated)
        header = image_header(f"{self.root}/{uri}")
        if header is None:
            self._count("unreadable-image", uri, line)
            return Ground(stated, 1, stated)
        size = header.size
        if header.orientation == 1 and (stated is None or stated == size):
            return Ground(size, 1, size)
        if header.orientation == 1 and stated is not None and stated != size[::-1]:
            self._count("size-mismatch", uri, line)
            return Ground(stated, 1, stated)

        def report(code: str, message: str, action: str, hint: str) -> None:
            self.report(code, message, line, action, hint)

        # CVAT shows images upright.
        found = orientation.ground_of(
            header, stated, self.options.exif, uri, report, drawn_upright=True
        )
        if found is None or found.orientation != 1:
            return found
        return Ground(found.size, 1, found.size)

    def distinct(self, objects: Sequence[Object]) -> Sequence[Object]:
        """Apply the policy for duplicates to the objects of an image."""
        return distinct(objects, self.options.duplicates, self._repeated)

    def _repeated(self, thing: Object, action: str) -> None:
        message = f"the same {thing.category!r} is there twice."
        hint = duplicate_hint(self.options.duplicates)
        self.report("duplicate-object", message, thing.line, action, hint)

    # -- videos ---------------------------------------------------------------------------------

    def _videos(self, tracks: TrackReader, any_image: bool) -> Iterator[Record]:
        """The frames of all clips: those with shapes and, where they are, those without."""
        meta = self.shapes.meta
        clips = dict(tracks.clips)
        for task_id, task in meta.tasks.items():
            if task.video:
                clips.setdefault(f"{task.subset or ''}/{task_id}", (task, task.subset or ""))
        if not clips and not any_image and meta.task.video:
            clips["/"] = (meta.task, "")
        shown = frames(tracks.spill, self.report)
        ahead = next(shown, None)
        subsets = Counter(subset for _, subset in clips.values())
        for key in sorted(clips):
            task, subset = clips[key]
            clip = Clip(self, key, task, subset, alone=subsets[subset] == 1)
            here: list[int] = []
            for number in clip.numbers():
                while ahead is not None and ahead[0] == key and ahead[1] <= number:
                    if ahead[1] == number:
                        here.append(number)
                    yield from clip.record(ahead[1], ahead[2])
                    ahead = next(shown, None)
                if here and here.pop() == number:
                    continue
                yield from clip.record(number, [])
            while ahead is not None and ahead[0] == key:
                yield from clip.record(ahead[1], ahead[2])
                ahead = next(shown, None)

    # -- common ---------------------------------------------------------------------------------

    def split_of(self, subset: str, task: Task) -> str | None:
        """The split of an image in a subset."""
        return self.options.split or cvat_meta.split_of(subset or task.subset)

    def group_of(self, task: Task, subset: str) -> str:
        """The clip that the frames of a task are."""
        name = task.name or (f"task-{task.task_id}" if task.task_id else self.file.stem)
        return f"{self.file.prefix}{subset + '/' if subset else ''}{name}"

    def _report_absent_images(self) -> None:
        if self.finder.any:
            return
        packed = images_in_zip(self.file) if self.finder.base == self.file.folder else 0
        if packed:
            message = (
                f"{packed} images lie in the zip file; the labels are read, and training needs "
                f"the images in {self.file.base}."
            )
            hint = "Unpack the zip file there, or let it be done to a new folder: --extract FOLDER"
            self.report("images-in-zip", message, None, "kept", hint)
        else:
            message = "there are no images beside the file, only labels."
            self.report("no-images", message, None, "kept", "Name their folder with --images.")

    def _count(self, code: str, uri: str, line: int | None) -> None:
        """Count what is noted once per file."""
        self.counted[code] += 1
        self.first.setdefault(code, (uri, line))

    def _report_sums(self, tracks: TrackReader) -> None:
        words = {
            "unreadable-image": "images have no readable header",
            "size-mismatch": "images have another size than the file states",
            "no-frame-image": "frames without a shape have no image here and are left out "
            "(--empty-frames all takes them)",
        }
        for code, number in self.counted.items():
            uri, line = self.first[code]
            self.report(code, f"{number} {words[code]}, the first is {uri}.", line, "kept")
        if self.shapes.derived:
            kinds = ", ".join(f"{n} {kind}(s)" for kind, n in sorted(self.shapes.derived.items()))
            done = "got the box around them" if self.options.outline_boxes else "have no box"
            self.report("box-from-outline", f"{kinds} {done}.", None, "kept")
        if tracks.unfinished:
            done = "stand still until" if self.options.open_tracks == "hold" else "end before"
            message = (
                f"{tracks.unfinished} tracks are visible in their last shape and {done} the last "
                "frame of the task."
            )
            hint = "Choose with --open-tracks end|hold."
            self.report("open-track", message, None, "kept", hint)

    def report(
        self,
        code: str,
        message: str,
        line: int | None,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        """Report an issue of this file."""
        issue = Issue(code, message, self.file.shown, line, action, hint)
        self.reader.context.issues.report(issue)
