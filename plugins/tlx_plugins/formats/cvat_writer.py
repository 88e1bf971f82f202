"""From a dataset to XML files for CVAT, one for each task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

from tlx.api import WriteReport
from tlx.context import Context
from tlx.errors import UsageError
from tlx.file_names import output_name
from tlx.issues import Issue
from tlx.media import image_size
from tlx.model import Object, Record
from tlx.output_files import OutputFiles
from tlx_plugins.formats.cvat_drawing import Size, attributes_markup, kind_of, markup
from tlx_plugins.formats.cvat_labels import LabelSpecs, tag_attributes
from tlx_plugins.formats.cvat_markup import UNWRITABLE, attribute_text, element, opened
from tlx_plugins.formats.cvat_shapes import FLAGS
from tlx_plugins.safe_zip import clean_name

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.cvat import CvatOptions

IMAGES = "images"
UNSPLIT = "unsplit"
"""Name of the file of images without a split, where others have one."""

_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'


class CvatWriter:
    """Writes a dataset; use it once.

    Args:
        dataset: What to write.
        dest: A folder to make.
        options: The user's choices.
        context: Progress, issues, and the policy for what cannot be written.
    """

    def __init__(
        self, dataset: Dataset, dest: Path, options: CvatOptions, context: Context
    ) -> None:
        if options.images_per_task < 0:
            raise UsageError("--images-per-task must be 0 or more.")
        self.dataset = dataset
        self.dest = dest
        self.options = options
        self.context = context
        self.labels = LabelSpecs(dataset.taxonomy, options.draw)
        self.split_sizes = dataset.counts.images_by_split
        self.streams: dict[str, TextIO] = {}
        self.written: dict[str, int] = {}
        self.names: set[str] = set()
        self.files = OutputFiles(dest, options.media, context.workers)
        self.images = self.objects = 0
        self.counts = dict.fromkeys(_SUMS, 0)

    def write(self) -> WriteReport:
        """Write all files."""
        self.dest.mkdir(parents=True)
        for record in self._records("learning labels"):
            self.labels.learn(record)
        for label, name in self.labels.mixed():
            message = f"the attribute {name!r} of {label!r} has values of several types: all text."
            hint = "CVAT gives an attribute one type. Go on with texts: --on-error skip"
            self._report("mixed-attribute", message, None, "changed", hint)
        with ExitStack() as stack:
            stack.enter_context(self.files)
            for record in self._records("writing CVAT"):
                self._write_record(record, stack)
            for stream in self.streams.values():
                stream.write("</annotations>\n")
        for code, number in self.counts.items():
            if number:
                self._report(code, f"{number:,} {_SUMS[code]}", None, "requested")
        return WriteReport(tuple(sorted(self.files.names)), self.images, self.objects)

    def _records(self, description: str) -> Iterator[Record]:
        return self.context.progress.track(
            self.dataset.records(), description, self.dataset.counts.images
        )

    def _write_record(self, record: Record, stack: ExitStack) -> None:
        name = self._name(record)
        if name is None:
            return
        split = record.split or ""
        number = self.written.get(split, 0)
        self.written[split] = number + 1
        stream = self._stream(split, number, stack)
        size = self._size(record)
        stated = record.attributes.get("cvat_image_id", number)
        values = {"id": str(stated if type(stated) is int else number), "name": name}
        # CVAT passes over what it does not know.
        if record.image_id != name:
            values["image_id"] = record.image_id
        if "://" in record.uri:
            values["uri"] = record.uri
        if "cvat_task_id" in record.attributes:
            values["task_id"] = attribute_text(record.attributes["cvat_task_id"])
        if size is not None:
            values |= {"width": str(size[0]), "height": str(size[1])}
        stream.write(f"{opened('image', values)}\n")
        groups = (thing.attributes.get("group_id") for thing in record.objects)
        free = max((group for group in groups if isinstance(group, int)), default=0) + 1
        for number, thing in enumerate(record.objects, start=max(free, 1)):
            self._write_object(stream, thing, size, record, str(number))
        self._write_tags(stream, record)
        stream.write("</image>\n")
        self.images += 1
        suffix = "" if PurePosixPath(name).suffix else PurePosixPath(record.uri).suffix
        self.files.bring(self.dataset, record.uri, IMAGES, name + suffix)

    def _write_object(
        self, stream: TextIO, thing: Object, size: Size | None, record: Record, part_of: str
    ) -> None:
        try:
            text = markup(thing, self.options.draw, size, part_of)
        except ValueError as error:
            message = f"an object {thing.category!r} of {record.image_id} {error}; left out."
            self._report("no-shape", message, record)
            return
        stream.write(text)
        self.objects += 1
        self._count(thing)
        for flag in FLAGS:
            if getattr(thing, flag) is not None and flag in thing.attributes:
                message = f"an object of {record.image_id} has {flag!r} as flag and as attribute."
                self._report("repeated-attribute", message, record, "changed")

    def _count(self, thing: Object) -> None:
        """Count what one geometry for an object costs."""
        kind = kind_of(thing, self.options.draw)
        self.counts["undrawn-box"] += thing.box is not None and kind in {"points", "skeleton"}
        self.counts["undrawn-keypoints"] += bool(thing.keypoints) and kind not in {
            "points",
            "skeleton",
        }
        outlined = thing.segmentation is not None or thing.shape is not None
        self.counts["undrawn-outline"] += outlined and kind in {"box", "points", "skeleton"}
        outline = thing.segmentation
        self.counts["grouped-polygons"] += outline is not None and (
            kind == "polygon" and len(outline.polygons) > 1
        )

    def _write_tags(self, stream: TextIO, record: Record) -> None:
        for label in record.labels:
            if not label.present:
                continue  # A tag without a word for absent would say the opposite.
            own, attributes = tag_attributes(record, label.category)
            values = {"label": label.category}
            values |= {name: attribute_text(value) for name, value in own.items()}
            inner = attributes_markup(attributes)
            stream.write(f"{opened('tag', values)}\n{inner}</tag>\n")

    def _name(self, record: Record) -> str | None:
        """The name of an image in CVAT; None, with an issue, where it cannot be one.

        It is the image id where that names the file, with its ending or without as CVAT has the
        frames of a video, so that it comes back as the id.
        """
        image_id, path = PurePosixPath(record.image_id), PurePosixPath(record.uri)
        by_id = output_name(record.image_id)
        by_uri = output_name(record.uri.removeprefix(f"{IMAGES}/"))
        ids_first = image_id.name in {path.name, path.stem}
        for name in (by_id, by_uri) if ids_first else (by_uri, by_id):
            if name is None or clean_name(name) != name or UNWRITABLE.search(name):
                continue
            # Images that lie in one file, such as the frames of a video, are told by their ids.
            if name not in self.names:
                self.names.add(name)
                return name
        message = f"the image {record.image_id!r} has no name that a file of its own can bear."
        self._report("unsafe-name", message, record)
        return None

    def _size(self, record: Record) -> Size | None:
        if record.width is not None and record.height is not None:
            return record.width, record.height
        return None if "://" in record.uri else image_size(self.dataset.image_path(record.uri))

    def _stream(self, split: str, number: int, stack: ExitStack) -> TextIO:
        """The file that an image belongs to; a task that is full is closed."""
        limit = self.options.images_per_task
        if limit and number % limit == 0 and split in self.streams:
            self.streams.pop(split).write("</annotations>\n")
        if split not in self.streams:
            name = quote(split, safe=" ") or (UNSPLIT if len(self.split_sizes) > 1 else "")
            size = self.split_sizes[split]
            if limit:
                name = f"{name or 'task'}_{number // limit + 1:04d}"
                size = min(limit, size - number)
            path = f"{name or 'annotations'}.xml"
            stream = (self.dest / path).open("x", encoding="utf-8", newline="\n")
            self.streams[split] = stack.enter_context(stream)
            stream.write(_HEAD + self._meta(name, split, size))
            self.files.names.append(path)
        return self.streams[split]

    def _meta(self, name: str, split: str, size: int) -> str:
        """What CVAT says of a task, as far as it is known."""
        return (
            "<meta>\n<task>\n"
            + (element("name", name) if name else "")
            + element("size", str(size))
            + element("mode", "annotation")
            + element("overlap", "0")
            + element("subset", split or "default")
            + element("start_frame", "0")
            + element("stop_frame", str(size - 1))
            + element("frame_filter", "")
            + self.labels.markup()
            + "</task>\n</meta>\n"
        )

    def _report(
        self,
        code: str,
        message: str,
        record: Record | None,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        path = None if record is None else record.image_id
        self.context.issues.report(Issue(code, message, path, None, action, hint))


_SUMS = {
    "undrawn-box": "objects are drawn as keypoints, without their box (see --draw).",
    "undrawn-outline": "objects are drawn without their outline (see --draw).",
    "undrawn-keypoints": "objects are drawn without their keypoints (see --draw).",
    "grouped-polygons": "objects of several polygons are a group of polygons each.",
}
