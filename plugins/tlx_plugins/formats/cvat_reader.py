"""From CVAT files to records."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tlx import orientation
from tlx.bad_input import distinct, duplicate_hint
from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import Issue
from tlx.media import image_header
from tlx.model import Category, Object, Taxonomy
from tlx.orientation import Ground
from tlx_plugins.formats import cvat_meta, cvat_xml
from tlx_plugins.formats.columned_records import Item, batches
from tlx_plugins.formats.cvat_blocks import BlockReader
from tlx_plugins.formats.cvat_clips import video_frames
from tlx_plugins.formats.cvat_files import ImageFinder, LabelFile, images_in_zip
from tlx_plugins.formats.cvat_image_reader import ImageReader
from tlx_plugins.formats.cvat_images import read_images
from tlx_plugins.formats.cvat_lines import Layout
from tlx_plugins.formats.cvat_meta import Task, read_meta
from tlx_plugins.formats.cvat_shapes import ShapeReader, Size
from tlx_plugins.formats.cvat_track_columns import TrackColumns, read_tracks
from tlx_plugins.formats.cvat_tracks import TrackReader
from tlx_plugins.formats.cvat_xml import Image, Node, Track, TrackEnd, TrackShape
from tlx_plugins.row_spill import RowSpill
from tlx_plugins.spill import Spill

if TYPE_CHECKING:
    import pyarrow as pa

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

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All images, as batches of `tlx.schema.RECORD`."""
        yield from batches(self._items())

    def _items(self) -> Iterator[Item]:
        """Files in sorted order, images in the order of their file."""
        for file in self.context.progress.track(self.files, "reading files", len(self.files)):
            reader = FileReader(self, file)
            yield from reader.items()
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
        self.any_image = False
        self.images = ImageReader(self)
        self.blocks: BlockReader

    def items(self) -> Iterator[Item]:
        """The images of the file, then the frames of its tracks."""
        with Spill() as spill, RowSpill() as rows:
            tracks = TrackReader(self.shapes, self.options, self.report, spill)
            columns = TrackColumns(tracks, rows)
            self._report_absent_images()
            for part in self._parts():
                if not isinstance(part, Layout):
                    yield from self._event(part, tracks)
                elif part.block.name == "image":
                    yield from self._images(part, tracks)
                else:
                    yield from self._tracks(part, columns)
            tracks.finish()
            yield from video_frames(self, columns)
            self._report_sums(tracks)

    def _parts(self) -> Iterator[cvat_xml.Event | Layout]:
        """The parts of the file up to where it breaks."""
        try:
            with self.file.stream() as stream:
                self.blocks = BlockReader(stream, self.file.shown)
                yield from self.blocks.parts()
        except DataError as error:
            line = error.place.line if error.place is not None else None
            self.report("broken-file", error.message, line, "skipped", error.hint)

    def _event(self, event: cvat_xml.Event, tracks: TrackReader) -> Iterator[Item]:
        """What the parser found; an image becomes a record."""
        if isinstance(event, Image):
            self.any_image = True
            head = self.images.head(event.values, event.line)
            if head is not None:
                yield self.images.record(head, event.shapes)
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

    # -- images ---------------------------------------------------------------------------------

    def _images(self, layout: Layout, tracks: TrackReader) -> Iterator[Item]:
        """The images of a block, as columns where nothing has to be said about them."""
        images = self.images
        block = read_images(layout, self.shapes)
        for piece, (values, line) in enumerate(zip(block.values, block.lines, strict=True)):
            head = None
            if not block.odd[piece]:
                self.any_image = True
                head = images.head(values, line, block.sizes[piece])
                if head is None:
                    continue
                if head.ground.orientation == 1 and head.ground.size == block.sizes[piece]:
                    yield block.columned(piece, images.bare(head))
                    continue
            events = self.blocks.parsed(layout, piece)
            if events is None:
                self.blocks.stop(layout, int(layout.begins[piece]))
                return
            for event in events:
                if head is not None and isinstance(event, Image):
                    yield images.record(head, event.shapes)
                else:
                    yield from self._event(event, tracks)

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

    def _tracks(self, layout: Layout, columns: TrackColumns) -> Iterator[Item]:
        """Take the tracks of a block, as columns where nothing has to be said about them."""
        block = read_tracks(layout, columns.tracks)
        numbers: dict[int, int] = {}
        for piece, is_odd in enumerate(block.odd.tolist()):
            if not is_odd:
                numbers[piece] = self.blocks.tracks
                self.blocks.tracks += 1
                continue
            events = self.blocks.parsed(layout, piece)
            if events is None:
                self.blocks.stop(layout, int(layout.begins[piece]))
                break
            for event in events:
                yield from self._event(event, columns.tracks)
        columns.add(block, numbers)

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
