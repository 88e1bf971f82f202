"""From one row of a Labelbox export to records: an image, or the frames of a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tlx.bad_input import distinct, duplicate_hint
from tlx.media import IMAGE_SUFFIXES, image_header
from tlx.model import AttributeValue, Label, Object, Origin, Record, replace
from tlx.orientation import Ground, ground_of
from tlx.split_names import usual_split
from tlx_plugins.fetching.lists import is_web
from tlx_plugins.sources import labelbox_legacy, labelbox_objects, labelbox_video
from tlx_plugins.sources.labelbox_choice import Choice, Chosen
from tlx_plugins.sources.labelbox_columns import IMAGE_TYPES
from tlx_plugins.sources.labelbox_images import Ambiguous, LocalImages, key, url_name
from tlx_plugins.sources.labelbox_journal import Journal
from tlx_plugins.sources.labelbox_masks import Masks
from tlx_plugins.sources.labelbox_objects import Classes, ObjectMaker, Size
from tlx_plugins.sources.labelbox_schema import (
    Annotations,
    Answer,
    DataRow,
    ExportRow,
    Media,
    Thing,
)

if TYPE_CHECKING:
    from tlx_plugins.sources.labelbox import LabelboxOptions


class RecordMaker:
    """Makes records; knows the classes that were met.

    Args:
        options: The user's choices.
        images: The local images, if a folder of them was given.
        masks: The masks, if they were fetched.
        journal: Where issues go.
    """

    def __init__(
        self,
        options: LabelboxOptions,
        images: LocalImages | None,
        masks: Masks | None,
        journal: Journal,
    ) -> None:
        self.options = options
        self.images = images
        self.journal = journal
        self.report = journal.report
        self.classes = Classes(options.class_names)
        self.objects = ObjectMaker(self.classes, options.bad_boxes, masks)
        self.make = self.objects.make

    def records(
        self, row: ExportRow, image_id: str, choice: Choice, bottom_left: bool
    ) -> Iterable[Record]:
        """The records of a row, whose y is counted from the bottom if ``bottom_left``."""
        chosen, _ = choice
        attributes = _identity(row.data_row, image_id, choice)
        split = None
        if row.metadata_fields or row.data_split:
            split = self._metadata(row, attributes)
        for label, _ in chosen:
            if label.annotations is not None and label.annotations.frames:
                return self._video(row, image_id, chosen, attributes, split)
        media = row.media_attributes
        if media is not None and media.mime_type not in IMAGE_TYPES and media.is_video:
            self.report("no-frames", "is a video without labelled frames.", "kept")
            return ()
        record = self._image(row, image_id, chosen, attributes, split, bottom_left)
        return () if record is None else (record,)

    def is_visual(self, row: ExportRow) -> bool:
        """Whether a row is about an image or a video."""
        media = row.media_attributes
        kind = None if media is None else media.kind
        if kind is not None:
            if kind.startswith(("image", "video")) or kind == "application/octet-stream":
                return True
            self.report("not-an-image", f"is of the kind {kind!r}, which is no image.")
            return False
        where = row.data_row.row_data
        if where is not None and where.lstrip()[:1] in ("{", "["):
            self.report("not-an-image", "is a map of tiles or other data; it has no pixels.")
            return False
        return True

    def _metadata(self, row: ExportRow, into: dict[str, AttributeValue]) -> str | None:
        """Metadata fields as attributes; returns the split if one names it."""
        split = row.data_split
        for field in row.metadata_fields or ():
            if not isinstance(field, dict):
                continue
            name = field.get("schema_name") or field.get("name")
            value = field.get("value")
            if not isinstance(name, str) or value is None:
                continue
            if name == "split" and isinstance(value, str):
                split = value
            elif isinstance(value, (str, int, float)):
                labelbox_objects.add_attribute(into, name, value, self.report)
            else:
                message = f"the metadata field {name!r} is no text, number or flag."
                self.report("bad-metadata", message, "changed")
        return None if split is None else usual_split(split) or split or None

    def _image(
        self,
        row: ExportRow,
        image_id: str,
        chosen: Sequence[Chosen],
        attributes: dict[str, AttributeValue],
        split: str | None,
        bottom_left: bool,
    ) -> Record | None:
        size = None if row.media_attributes is None else row.media_attributes.size
        ground: Ground | None = None
        if self.images is not None:
            uri = self._local(row.data_row)
            if uri is None:
                return None
            found = self._ground(uri, size, row.media_attributes)
            if found is None:
                return None
            ground = found
            size = ground.size
        else:
            where = row.data_row.row_data
            uri = where if where and "://" in where else self._named(row.data_row)
            if uri is None:
                return None
        objects: tuple[Object, ...] = ()
        labels: dict[str, Label] = {}
        for one in chosen:
            made = self._objects(one, size, bottom_left, len(chosen) > 1)
            if made is None:
                return None
            objects += tuple(made)
            annotations = one[0].annotations
            if annotations is not None and annotations.classifications:
                self._answers(annotations.classifications, labels, attributes)
        if len(objects) > 1:
            objects = tuple(distinct(objects, self.options.duplicates, self._repeated))
        if ground is not None:
            objects = ground.brought_back(objects)
            size = ground.stored or size
        width, height = size or (None, None)
        return Record(
            image_id=image_id,
            uri=uri,
            width=width,
            height=height,
            split=split,
            labels=tuple(labels.values()) if labels else (),
            objects=objects,
            attributes=attributes,
            origin=Origin(self.journal.origin, self.journal.line),
        )

    def _objects(
        self, chosen: Chosen, size: Size, bottom_left: bool, several: bool
    ) -> list[Object] | None:
        """The objects of one label; None if the image's height is needed and not known."""
        annotations = chosen[0].annotations
        if annotations is None:
            return []
        things = annotations.objects
        found: list[Object] = []
        if things:
            if bottom_left:
                flipped = self._flipped(things, size)
                if flipped is None:
                    return None
                things = flipped
            make, report = self.make, self.report
            for thing in things:
                made = make(thing, size, report)
                if made is not None:
                    found.append(made)
        if annotations.relationships:
            found = self._related(annotations, found)
        return [_marked(one, chosen) for one in found] if several else found

    def _flipped(self, things: list[Thing], size: Size) -> list[Thing] | None:
        if size is None:
            message = (
                "counts y from the bottom of the image (before October 2018), and its height is "
                "not known; the row cannot be read."
            )
            self.report("no-height", message)
            return None
        return [labelbox_legacy.flipped(thing, size[1]) for thing in things]

    def _answers(
        self,
        answers: list[Answer],
        labels: dict[str, Label],
        attributes: dict[str, AttributeValue],
    ) -> None:
        if self.options.answers == "labels":
            labelbox_objects.answer_labels(answers, self.classes, labels, attributes, self.report)
        else:
            labelbox_objects.answer_attributes(answers, attributes, self.report)

    def _related(self, annotations: Annotations, found: list[Object]) -> list[Object]:
        """Relations of two objects, as an attribute of the first that names the second's id."""
        for entry in annotations.relationships or ():
            ends = _ends(entry)
            place = next(
                (i for i, one in enumerate(found) if ends and one.object_id == ends[0]), None
            )
            if ends is None or place is None:
                message = "has a relationship that cannot be read, or of an object not kept."
                self.report("bad-relationship", message)
                continue
            attributes = dict(found[place].attributes)
            name = f"labelbox_relationship/{ends[2]}"
            labelbox_objects.add_attribute(attributes, name, ends[1], self.report)
            found[place] = replace(found[place], attributes=attributes)
        return found

    # Where the pixels are.

    def _local(self, data: DataRow) -> str | None:
        """The local image of a data row; None if there is none, which is reported."""
        if self.images is None:
            return None
        brought = self.images.fetched.find(data.row_data or "")
        if brought is not None:
            return brought
        names = _names(data)
        try:
            found = self.images.find(names)
        except Ambiguous as error:
            self._ambiguous(error)
            return None
        why = self.images.fetched.failure(data.row_data or "")
        if why is None and self.options.fetch is not None and is_web(data.row_data or ""):
            why = f"{data.row_data} was not asked for yet."
        if found is None and why is not None:
            self.report("not-fetched", f"its image is not there: {why}")
        elif found is None:
            wanted = " or ".join(repr(name) for name in names) or "a name"
            message = f"its image is not among the {len(self.images)} below {self.images.root}: "
            self.report("missing-image", f"{message}looked for {wanted}.")
        return found

    def _ambiguous(self, error: Ambiguous) -> None:
        message = f"{error.name!r} fits several images: {', '.join(error.paths)}."
        self.report("ambiguous-image", message)

    def _named(self, data: DataRow) -> str | None:
        """The name of a data row without a URL, if it is a path that stays in its folder."""
        for name in (data.external_id, data.row_data):
            path = key(name) if name else ""
            suffix = path[path.rfind(".") :].lower()
            inside = not path.startswith("/") and ".." not in path.split("/") and "\0" not in path
            if inside and ":" not in path and suffix in IMAGE_SUFFIXES:
                return path
        self.report("no-image", "has no URL of an image and no external id that is a file name.")
        return None

    def _ground(self, uri: str, stated: Size, media: Media | None) -> Ground | None:
        """The pixels that the labels of a local image count; None leaves the row out."""
        header = None if self.images is None else image_header(self.images.root / uri)
        if header is None:
            self.report("unreadable-image", f"{uri} has no header that can be read.", "kept")
            return Ground(stated, 1, stated)
        if header.orientation != 1:
            return ground_of(header, stated, self.options.exif, uri, self._report_turned)
        size = header.size
        if stated is not None and size != stated:
            message = (
                f"{uri} has {size[0]} x {size[1]} pixels, the file says {stated[0]} x {stated[1]}; "
                "boxes may not fit."
            )
            turned = media is not None and str(media.exif_rotation) in {"5", "6", "7", "8"}
            if turned and size == stated[::-1]:
                message += " Labelbox saw an image that its EXIF orientation turned."
            self.report("size-mismatch", message, "kept")
        return Ground(size, 1, size)

    def _report_turned(self, code: str, message: str, action: str, hint: str) -> None:
        self.report(code, message, action, hint)

    def _repeated(self, thing: Object, action: str) -> None:
        message = f"the same {thing.category!r} is there twice."
        self.report("duplicate-object", message, action, duplicate_hint(self.options.duplicates))

    # Videos.

    def _video(
        self,
        row: ExportRow,
        video: str,
        chosen: Sequence[Chosen],
        attributes: dict[str, AttributeValue],
        split: str | None,
    ) -> Iterator[Record]:
        """A record per labelled frame, in order."""
        whole: dict[str, Label] = {}
        by_frame: dict[int, tuple[list[Object], list[Answer]]] = {}
        size = None if row.media_attributes is None else row.media_attributes.size
        for one in chosen:
            annotations = one[0].annotations
            if annotations is None:
                continue
            self._answers(annotations.classifications or [], whole, attributes)
            if annotations.objects:
                message = f"{len(annotations.objects)} objects of a video belong to no frame."
                self.report("bad-object", message)
            for frame in labelbox_video.frames(annotations, self.options.frames, self.report):
                objects, answers = by_frame.setdefault(frame.number, ([], []))
                answers += frame.answers
                for thing in frame.objects:
                    made = self._tracked(thing, size)
                    if made is not None:
                        objects.append(_marked(made, one) if len(chosen) > 1 else made)
        for number in sorted(by_frame):
            uri = self._frame_uri(row.data_row, number)
            if uri is None:
                continue
            objects, answers = by_frame[number]
            labels, of_frame = dict(whole), dict(attributes)
            self._answers(answers, labels, of_frame)
            yield Record(
                image_id=f"{video}/{number:06d}",
                uri=uri,
                width=None if size is None else size[0],
                height=None if size is None else size[1],
                split=split,
                group=video,
                frame=number,
                labels=tuple(labels.values()),
                objects=tuple(objects),
                attributes=of_frame,
                origin=Origin(self.journal.origin, self.journal.line),
            )

    def _tracked(self, thing: Thing, size: Size) -> Object | None:
        made = self.make(thing, size, self.report)
        if made is None:
            return None
        attributes = dict(made.attributes)
        if thing.keyframe is not None:
            attributes[labelbox_objects.KEYFRAME] = thing.keyframe
        tracked: Object = replace(made, track=thing.feature_id, attributes=attributes)
        return tracked

    def _frame_uri(self, data: DataRow, number: int) -> str | None:
        """The image of a frame, or the video with the frame's number behind it."""
        if self.images is not None:
            names = _names(data)
            try:
                found = self.images.find_frame(names, number)
            except Ambiguous as error:
                self._ambiguous(error)
                return None
            if found is None:
                wanted = " or ".join(repr(name) for name in names) or "the video"
                message = f"frame {number} is not in a folder named like {wanted}."
                self.report("missing-image", message)
            return found
        where = data.row_data or data.external_id
        if not where:
            self.report("no-image", "is a video without a URL.")
            return None
        return f"{where}#frame={number}"


def _identity(data: DataRow, image_id: str, choice: Choice) -> dict[str, AttributeValue]:
    """The ids that lead back to Labelbox."""
    attributes: dict[str, AttributeValue] = {}
    if data.id is not None:
        attributes["labelbox_data_row_id"] = data.id
    if data.global_key is not None and data.global_key != image_id:
        attributes["labelbox_global_key"] = data.global_key
    chosen, status = choice
    if not chosen:
        attributes["labelbox_status"] = status
    elif len(chosen) == 1:
        label, project = chosen[0]
        if label.id is not None:
            attributes["labelbox_label_id"] = label.id
        attributes["labelbox_project"] = project
    else:
        attributes["labelbox_project"] = ", ".join(dict.fromkeys(name for _, name in chosen))
    return attributes


def _marked(made: Object, chosen: Chosen) -> Object:
    """An object that remembers whose it is, where several labels count."""
    attributes = dict(made.attributes)
    label, project = chosen
    if label.id is not None:
        attributes["labelbox_label_id"] = label.id
    attributes["labelbox_project"] = project
    marked: Object = replace(made, attributes=attributes)
    return marked


def _ends(entry: object) -> tuple[str, str, str] | None:
    """Source id, target id and name of a relationship, which has its ends in it or one below."""
    if not isinstance(entry, dict):
        return None
    for holder in (entry, *(v for v in entry.values() if isinstance(v, dict))):
        source, target = holder.get("source"), holder.get("target")
        if isinstance(source, str) and isinstance(target, str):
            name = entry.get("name") or entry.get("title")
            return source, target, name if isinstance(name, str) else "related"
    return None


def _names(data: DataRow) -> list[str]:
    """What a local file of a data row may be called."""
    names = (data.external_id, data.global_key, data.row_data and url_name(data.row_data))
    return list(dict.fromkeys(name for name in names if name))
