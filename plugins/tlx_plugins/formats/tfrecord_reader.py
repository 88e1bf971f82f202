"""From TFRecord files to records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from google_crc32c import value as crc_value

from tlx.bad_input import distinct, duplicate_action, duplicate_hint
from tlx.context import Context
from tlx.errors import DataError, Place
from tlx.folder_walk import has_file
from tlx.issues import Issue
from tlx.media import encoded_image_header
from tlx.model import AttributeValue, Label, Object, Origin, Record
from tlx.orientation import Ground, ground_of
from tlx_plugins.formats import tfrecord_example, tfrecord_facts
from tlx_plugins.formats.tfrecord_classes import Classes, LabelMap
from tlx_plugins.formats.tfrecord_example import Example
from tlx_plugins.formats.tfrecord_facts import Facts
from tlx_plugins.formats.tfrecord_framing import read_records
from tlx_plugins.formats.tfrecord_label_map import read_label_map
from tlx_plugins.formats.tfrecord_media import ImageFolder, image_kind, safe_name
from tlx_plugins.formats.tfrecord_objects import ObjectReader
from tlx_plugins.formats.tfrecord_sets import SHARD, RecordSet
from tlx_plugins.formats.tfrecord_values import (
    WrongType,
    byte_strings,
    first_text,
    floats,
    integers,
)

if TYPE_CHECKING:
    from tlx_plugins.formats.tfrecord import TfrecordOptions

IMAGE_KEYS = frozenset(
    f"image/{name}"
    for name in (
        *("encoded", "format", "filename", "source_id", "height", "width", "key/sha256"),
        *("class/text", "class/label", "class/confidence", "neg_category_ids", "colorspace"),
        "channels",
    )
)
"""Keys of the image that are read for what they mean; any other is an attribute."""

_LONGEST_TEXT = 4096


@dataclass(slots=True)
class TfrecordReader:
    """Reads the sets of one dataset, one after the other.

    Attributes:
        base: What record origins are relative to.
        media_root: What the uri of a record is relative to.
        sets: The sets, in order.
        options: The user's choices.
        context: Progress and issues.
    """

    base: Path
    media_root: Path
    sets: list[RecordSet]
    options: TfrecordOptions
    context: Context
    classes: Classes = field(default_factory=Classes)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    inside: int = 0
    absent: int = 0

    def records(self) -> Iterator[Record]:
        """All records: sets in sorted order, shards and images in theirs."""
        images = None
        if self.options.images is not None:
            images = ImageFolder(self.media_root, dry_run=self.context.dry_run)
        for chosen in self.sets:
            yield from _SetReader(self, chosen, images).records()
        if self.inside:
            self._note(
                "images-inside",
                f"{self.inside:,} images lie inside the records and nowhere else: the dataset has "
                "their labels only, and no training or viewer will find the pixels. Bring them "
                "out into files with: --images FOLDER",
            )
        if self.absent:
            self._note(
                "images-absent",
                f"{self.absent:,} records hold no image, and no file of that name lies in "
                f"{self.media_root}.",
            )

    def _note(self, code: str, message: str) -> None:
        place = str(self.sets[0].files[0])
        self.context.issues.report(Issue(code, message, place, action="kept"))


class _SetReader:
    def __init__(
        self, reader: TfrecordReader, chosen: RecordSet, images: ImageFolder | None
    ) -> None:
        self.reader = reader
        self.set = chosen
        self.images = images
        self.path = str(chosen.files[0])
        self.number = 0
        self.noted: set[str] = set()
        items = () if chosen.label_map is None else read_label_map(chosen.label_map)
        self.label_map = LabelMap(items, reader.classes, self._note_map)
        self.objects = ObjectReader(
            self.label_map, reader.options.bad_boxes, self._report, self._note
        )

    def records(self) -> Iterator[Record]:
        for name in self.set.missing:
            message = f"{name} is not there; its images are missing."
            self._report("missing-shard", message, hint="Put all shards into one folder.")
        for file in self.set.files:
            self.path, self.number = str(file), 0
            origin = file.relative_to(self.reader.base).as_posix()
            for number, data in read_records(file, self._damaged):
                self.number = number
                record = self._record(data, Origin(origin, number))
                if record is not None:
                    yield record

    def _damaged(self, number: int, message: str) -> None:
        self.number = number
        hint = "Get the file again, or go on without what is damaged: --on-error skip"
        if self.reader.context.issues.policy == "fail":
            place = Place(self.path, pointer=f"record {number}")
            raise DataError(f"the record {message}", place=place, hint=hint)
        self._report("damaged-record", f"the record {message}", hint=hint)

    def _record(self, data: bytes, origin: Origin) -> Record | None:
        try:
            example = tfrecord_example.decode(data)
        except ValueError as error:
            self._report("bad-record", f"is no tf.train.Example: {error}.")
            return None
        except DataError as error:
            place = Place(self.path, pointer=f"record {self.number}")
            raise DataError(error.message, place=place, hint=error.hint) from error
        try:
            return self._converted(example, origin)
        except WrongType as error:
            self._report("bad-record", f"{error}.")
            return None

    def _converted(self, example: Example, origin: Origin) -> Record | None:
        encoded = next(iter(byte_strings(example, "image/encoded")), b"")
        ground = self._ground(example, encoded)
        if ground is None:
            return None
        size = ground.size
        facts = self._facts(example)
        objects = self.objects.read(example, size, facts)
        if objects is None:
            return None
        labels = self._labels(example, facts)
        attributes = self._attributes(example, facts)
        source_id = self._source_id(example)
        if facts is None and source_id is not None:
            attributes["source_id"] = source_id
        named = self._names(example, encoded, facts)
        if named is None:
            return None
        options = self.reader.options
        policy = options.duplicates
        objects = ground.brought_back(distinct(objects, policy, self._repeated))
        width, height = ground.stored or (None, None)
        return Record(
            image_id=named[0],
            uri=named[1],
            width=width,
            height=height,
            split=options.split or (facts.split if facts is not None else self.set.split),
            group=facts.group if facts is not None else None,
            frame=facts.frame if facts is not None else None,
            labels=labels,
            objects=objects,
            attributes=attributes,
            origin=origin,
        )

    def _repeated(self, thing: Object, action: str) -> None:
        message = f"the same {thing.category!r} is there twice."
        hint = duplicate_hint(self.reader.options.duplicates)
        self._report("duplicate-object", message, action, hint)

    def _ground(self, example: Example, encoded: bytes) -> Ground | None:
        """The pixels that the labels count: of the image that is there, else as stated."""
        width = next(iter(integers(example, "image/width")), 0)
        height = next(iter(integers(example, "image/height")), 0)
        stated = (width, height) if 0 < width < 2**31 and 0 < height < 2**31 else None
        header = encoded_image_header(encoded) if encoded else None
        if header is not None and header.orientation != 1:
            exif = self.reader.options.exif
            # The decoder takes 1 x 1 where a record states no size.
            known = None if stated == (1, 1) else stated
            return ground_of(header, known, exif, "the image", self._report)
        found = None if header is None else header.size
        if encoded and found is None:
            message = "image/encoded is no image that can be read; its labels are kept."
            self._report("bad-image", message, "kept")
        # The decoder takes 1 x 1 where a record states no size.
        if found is not None and stated not in (None, (1, 1), found):
            message = (
                f"states {width} x {height} pixels for an image of {found[0]} x {found[1]}; "
                "the latter holds, as TensorFlow reads it."
            )
            self._report("size-mismatch", message, "changed")
        return Ground(found or stated, 1, found or stated)

    def _facts(self, example: Example) -> Facts | None:
        data = next(iter(byte_strings(example, tfrecord_facts.KEY)), None)
        if data is None:
            return None
        try:
            facts = tfrecord_facts.decode_facts(data)
        except ValueError as error:
            message = f"{tfrecord_facts.KEY} cannot be read ({error}); left out."
            self._report("bad-facts", message, "changed")
            return None
        count = len(floats(example, "image/object/bbox/xmin"))
        if facts.objects and len(facts.objects) != count:
            message = f"{tfrecord_facts.KEY} has {len(facts.objects)} objects, the record {count}; "
            self._report("bad-facts", message + "left out.", "changed")
            return None
        return facts

    def _labels(self, example: Example, facts: Facts | None) -> tuple[Label, ...]:
        """Image-level labels; a confidence of 1 says present, 0 absent, any other is unsure."""
        if facts is not None and facts.labels:
            names = [
                self.label_map.find(name, None, self._note) or name for name, _ in facts.labels
            ]
            return tuple(
                Label(name, present) for name, (_, present) in zip(names, facts.labels, strict=True)
            )
        texts = [t.decode(errors="replace") for t in byte_strings(example, "image/class/text")]
        numbers = integers(example, "image/class/label")
        confidences = floats(example, "image/class/confidence")
        count = max(len(texts), len(numbers))
        if any(len(part) not in (0, count) for part in (texts, numbers, confidences)):
            self._report("bad-list", "image/class/* have different lengths; left out.", "changed")
            return ()
        found: dict[str, bool | None] = {}
        for index in range(count):
            number = numbers[index] if numbers else None
            name = self.label_map.find(texts[index] if texts else "", number, self._note)
            if name is None:
                message = f"the image-level class {number} is not in the label map."
                self._report("unknown-class", message)
                continue
            found[name] = _presence(confidences[index]) if confidences else True
        for number in integers(example, "image/neg_category_ids"):
            name = self.label_map.find("", number, self._note)
            if name is not None:
                found.setdefault(name, False)
        return tuple(Label(name, present) for name, present in found.items())

    def _attributes(self, example: Example, facts: Facts | None) -> dict[str, AttributeValue]:
        """Keys of the image with one value that have no meaning of their own."""
        found: dict[str, AttributeValue] = {}
        if facts is not None:
            found |= tfrecord_facts.unpacked(facts.attributes)
        for key, values in sorted(example.items()):
            if key in IMAGE_KEYS or not values or self.objects.takes(key):
                continue
            if key == tfrecord_facts.KEY:
                continue
            value = attribute(values[0]) if len(values) == 1 else None
            if value is None:
                self._unread(key)
            else:
                found[key.removeprefix("image/")] = value
        return found

    def _unread(self, key: str) -> None:
        if key not in self.noted:
            self.noted.add(key)
            message = f"{key} fits neither the image nor its objects; it is not read anywhere."
            self._report("unread-key", message, "changed")

    def _source_id(self, example: Example) -> AttributeValue | None:
        value = first_text(example, "image/source_id")
        if not value or value == first_text(example, "image/filename"):
            return None
        plain = (
            value.isdecimal() and value.isascii() and len(value) < 19 and str(int(value)) == value
        )
        return int(value) if plain else value

    def _names(
        self, example: Example, encoded: bytes, facts: Facts | None
    ) -> tuple[str, str] | None:
        """Image id and uri; None for an image that is there twice or cannot be brought out."""
        given = first_text(example, "image/filename")
        name = safe_name(given) or safe_name(first_text(example, "image/source_id"))
        if not name:
            stem = SHARD.sub("", Path(self.path).name).replace(".", "_")
            name = f"{stem}-{self.number:06d}"
        if not given:
            name += {"jpeg": ".jpg", "png": ".png"}.get(image_kind(encoded) or "", "")
        apart = facts is None and len(self.reader.sets) > 1
        wanted = f"{self.set.name}/{name}" if apart else name
        image_id = self._unique(facts.image_id if facts is not None else wanted, encoded)
        if image_id is None:
            return None
        if self.images is None:
            uri = given if "://" in given else name
            if "://" in uri or not has_file(self.reader.media_root, uri):
                self.reader.inside += bool(encoded)
                self.reader.absent += not encoded and "://" not in uri
            return image_id, uri
        if not encoded:
            message = f"the record of {given or name} holds no image that could be brought out."
            self._report("no-image", message, hint="Leave out --images to read the labels only.")
            return None
        return image_id, self.images.put(wanted if facts is None else name, encoded)

    def _unique(self, wanted: str, encoded: bytes) -> str | None:
        seen = self.reader.seen
        mark = (len(encoded), crc_value(encoded))
        if wanted not in seen:
            seen[wanted] = mark
            return wanted
        if seen[wanted] == mark:
            message = f"{wanted} is there twice, with the same image; the first one is kept."
            policy = self.reader.options.duplicates
            action = duplicate_action(policy, same=False)
            self._report("duplicate-image", message, action, duplicate_hint(policy))
            return None
        stem, dot, ending = wanted.rpartition(".")
        number = 2
        while (name := f"{stem}-{number}{dot}{ending}") in seen:
            number += 1
        seen[name] = mark
        message = f"{wanted} names another image already; this one is called {name}."
        self._report("renamed-image", message, "kept")
        return name

    def _note_map(self, code: str, message: str, action: str) -> None:
        path = str(self.set.label_map)
        self.reader.context.issues.report(Issue(code, message, path, action=action))

    def _note(self, code: str, message: str, action: str) -> None:
        self._report(code, message, action)

    def _report(
        self, code: str, message: str, action: str = "skipped", hint: str | None = None
    ) -> None:
        issue = Issue(code, message, self.path, self.number or None, action, hint)
        self.reader.context.issues.report(issue)


def _presence(confidence: float) -> bool | None:
    return {0.0: False, 1.0: True}.get(confidence)


def attribute(value: bytes | float) -> AttributeValue | None:
    """A value of a record as an attribute; None for bytes that are no text."""
    if not isinstance(value, bytes):
        return value
    if len(value) > _LONGEST_TEXT:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
