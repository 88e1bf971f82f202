"""From the ``<image>`` elements of a CVAT file to records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlx.bad_input import duplicate_action
from tlx.model import AttributeValue, Label, Object, Origin, Record, replace
from tlx.orientation import Ground
from tlx_plugins.formats.cvat_meta import count_of, typed
from tlx_plugins.formats.cvat_parts import joined, whole_of
from tlx_plugins.formats.cvat_shapes import Size
from tlx_plugins.formats.cvat_xml import Drawn
from tlx_plugins.safe_zip import clean_name

if TYPE_CHECKING:
    from tlx_plugins.formats.cvat_reader import FileReader


@dataclass(frozen=True, slots=True)
class Head:
    """What the start tag of an image says, and what there is of the image.

    Attributes:
        values: Attributes of the tag.
        line: Its line in the file.
        image_id: Id of the record.
        subset: Subset of the project, or nothing.
        uri: Where the image is, or would be.
        ground: The pixels that its labels count.
    """

    values: dict[str, str]
    line: int
    image_id: str
    subset: str
    uri: str
    ground: Ground


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Makes records of images.

    Attributes:
        file: Reads the file that they are in.
    """

    file: FileReader

    def head(self, values: dict[str, str], line: int, stated: Size | None = None) -> Head | None:
        """What an image is, from its start tag; None leaves it out, with an issue.

        Args:
            values: Attributes of the tag.
            line: Its line.
            stated: The size that it states, where that is read already.
        """
        given, subset = values.get("name", ""), values.get("subset", "")
        name = clean_name(given)
        if name is None or (subset and clean_name(subset) != subset):
            what = (
                "has no name" if not given else f"has the name {subset}/{given}, which leads away"
            )
            self.file.report("bad-name", f"an image {what}; left out.", line)
            return None
        stated_id = values.get("image_id")  # tlx writes it where the name is another one.
        inner = stated_id or f"{subset + '/' if subset else ''}{name}"
        image_id = f"{self.file.file.prefix}{inner}"
        if not self.file.reader.is_new(image_id):
            message = f"{image_id} is described twice; the first one is kept, with its labels."
            hint = "Put exports that repeat names into folders of their own."
            action = duplicate_action(self.file.options.duplicates, same=False)
            self.file.report("duplicate-image", message, line, action, hint)
            return None
        remote = values.get("uri") if "://" in values.get("uri", "") else None
        uri = remote or self.file.finder.find(subset, name)
        if uri is None and self.file.finder.any and not self.file.keep_missing(name, line):
            return None
        stated = stated or self._size(values, line)
        ground = self.file.ground_of(None if remote else uri, stated, line)
        if ground is None:
            return None
        uri = self.file.finder.expected(subset, name) if uri is None else uri
        return Head(values, line, image_id, subset, uri, ground)

    def bare(self, head: Head) -> Record:
        """The record of an image without what is drawn on it."""
        values, subset = head.values, head.subset
        task = self.file.shapes.meta.task_of(values)
        attributes: dict[str, AttributeValue] = {}
        number = count_of(values.get("id"))
        if number is not None:
            attributes["cvat_image_id"] = number
        if values.get("task_id"):
            attributes["cvat_task_id"] = values["task_id"]
        stored = head.ground.stored
        return Record(
            image_id=head.image_id,
            uri=head.uri,
            width=stored[0] if stored else None,
            height=stored[1] if stored else None,
            split=self.file.split_of(subset, task),
            group=self.file.group_of(task, subset) if task.video else None,
            frame=number if task.video else None,
            attributes=attributes,
            origin=Origin(self.file.origin, head.line),
        )

    def record(self, head: Head, shapes: Iterable[Drawn]) -> Record:
        """The record of an image with what is drawn on it."""
        size = head.ground.size
        bare = self.bare(head)
        attributes = dict(bare.attributes)
        labels: list[Label] = []
        objects: list[Object] = []
        read = self.file.shapes.from_image
        wholes: dict[str, tuple[int, bool]] = {}
        for shape in shapes:
            if shape.kind == "tag":
                self._tag(shape, labels, attributes)
                continue
            thing = read(shape, size)
            if thing is None:
                continue
            whole = whole_of(shape, join=self.file.options.groups == "join")
            if whole is not None and whole in wholes:
                place, boxed = wholes[whole]
                objects[place] = joined(objects[place], thing, boxed=boxed)
                continue
            if whole is not None:
                wholes[whole] = len(objects), "xtl" in shape.values
            objects.append(thing)
        result: Record = replace(
            bare,
            labels=tuple(labels),
            objects=head.ground.brought_back(self.file.distinct(objects)),
            attributes=attributes,
        )
        return result

    def _tag(self, tag: Drawn, labels: list[Label], attributes: dict[str, AttributeValue]) -> None:
        """An image-level label; its attributes become the image's, as ``label.attribute``."""
        category = self.file.shapes.category(tag.values.get("label"), tag.line)
        if category is None:
            return
        if any(label.category == category for label in labels):
            message = f"the tag {category!r} stands twice at one image; counted once."
            action = duplicate_action(self.file.options.duplicates, same=True)
            self.file.report("duplicate-tag", message, tag.line, action)
        else:
            labels.append(Label(category))
        inputs = self.file.shapes.meta.inputs.get(category)
        attributes |= self.file.shapes.attributes(tag, inputs, f"{category}.")
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
            self.file.report("bad-size", message, line, "changed")
        return None
