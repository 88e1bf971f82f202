"""From COCO's JSON to records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import msgspec

from tlx.bad_input import distinct, duplicate_action
from tlx.box_policy import fault_of, settle, shown
from tlx.context import Context
from tlx.fetched import FetchedImages
from tlx.issues import Issue
from tlx.media import image_header
from tlx.model import (
    AttributeValue,
    Box,
    Category,
    Keypoint,
    Object,
    Origin,
    Record,
    Segmentation,
    Taxonomy,
)
from tlx.orientation import Ground, ground_of
from tlx_plugins.formats.coco_file import (
    AnnotationFile,
    CocoAnnotation,
    CocoCategory,
    CocoDocument,
    CocoImage,
    CocoRle,
    Number,
    decode_outline,
    explain,
    load,
)
from tlx_plugins.formats.coco_outline import (
    computed_area,
    corners,
    distance,
    keypoints,
    mask,
    outline_bounds,
    polygon,
)

if TYPE_CHECKING:
    from tlx_plugins.formats.coco import CocoOptions

SOURCE_ID = "coco_image_id"
"""The attribute of an image that keeps the id it had."""


MISFIT = 1.0
"""Pixels between a box and the bounds of its polygons: less is rounding, more is a mistake."""

FLAGS = {"occluded": bool, "truncated": bool, "difficult": bool}
"""Keys of CVAT's ``attributes`` that the record has fields for, beside rotation and track_id."""

_BOTTOM = (
    "It would fit if its y were counted from the bottom, as labelbox2coco did; take the box from "
    "the outline with: --box-from outline"
)


@dataclass(slots=True)
class Classes:
    """The categories of all files, in the order in which they were met."""

    by_name: dict[str, Category] = field(default_factory=dict)

    def taxonomy(self) -> Taxonomy:
        """What was met so far."""
        return Taxonomy(tuple(self.by_name.values()))


@dataclass(slots=True)
class CocoReader:
    """Reads the files of one dataset, one after the other.

    Attributes:
        root: What record origins are relative to.
        media_root: What the uri of a record is relative to.
        files: The annotation files, with the folder of their images below ``media_root``.
        options: The user's choices.
        context: Progress and issues.
    """

    root: Path
    media_root: Path
    files: list[tuple[AnnotationFile, Path]]
    options: CocoOptions
    context: Context
    classes: Classes = field(default_factory=Classes)
    seen: set[str] = field(default_factory=set)

    def records(self) -> Iterator[Record]:
        """All records: files in sorted order, images in the order of their file."""
        for file, folder in self.files:
            yield from _FileReader(self, file, folder, load(file.path)).records()


class _FileReader:
    def __init__(
        self, reader: CocoReader, file: AnnotationFile, folder: Path, document: CocoDocument
    ) -> None:
        self.reader = reader
        self.options = reader.options
        self.name = str(file.path)
        self.split = reader.options.split or file.split
        self.folder = folder
        self.fetched = FetchedImages(folder)
        self.document = document
        origin = file.path.relative_to(reader.root).as_posix()
        self.origin = Origin(origin)
        self.odd_attributes: set[str] = set()
        self.names: dict[str, str] = {}
        self.keypoint_names: dict[str, tuple[str, ...]] = {}

    def records(self) -> Iterator[Record]:
        self._learn_categories(self.document.categories)
        by_image = self._annotations_by_image()
        known: set[str] = set()
        images = self.document.images
        relative = self.folder.relative_to(self.reader.media_root).as_posix()
        prefix = "" if relative == "." else relative + "/"
        progress = self.reader.context.progress
        for index, image in enumerate(progress.track(images, "reading images", len(images))):
            key = str(image.id)
            if key in known:
                message = f"the image id {image.id!r} appears twice; the first one is kept."
                action = duplicate_action(self.options.duplicates, same=False)
                self._report("duplicate-image-id", message, f"$.images[{index}]", action)
                continue
            known.add(key)
            uri = self._uri(image, prefix)
            if uri is None:
                self._report("no-file-name", "has no file_name.", f"$.images[{index}]")
                continue
            if uri in self.reader.seen:
                message = f"{uri} is listed twice; the first one is kept, with its annotations."
                action = duplicate_action(self.options.duplicates, same=False)
                self._report("duplicate-image", message, f"$.images[{index}]", action)
                continue
            self.reader.seen.add(uri)
            record = self._record(image, uri, index, by_image.pop(key, []))
            if record is not None:
                yield record
        self._report_strays(by_image, known)

    def _record(
        self, image: CocoImage, uri: str, index: int, annotations: list[int]
    ) -> Record | None:
        place = f"$.images[{index}]"
        attributes = self._attributes(image.attributes, place)
        # The writer keeps the id that an image had before it got a new one.
        attributes.setdefault(SOURCE_ID, image.id if _is_int64(image.id) else str(image.id))
        width, height = self._side(image.width, place), self._side(image.height, place)
        stated = (width, height) if width and height else None
        ground = self._ground(uri, stated, place)
        if ground is None:
            return None
        made = (self._object(number, ground.size) for number in annotations)
        objects = distinct(
            [thing for thing in made if thing is not None],
            self.options.duplicates,
            lambda thing, action: self._repeated(thing, action, place),
        )
        if ground.orientation != 1 and ground.stored is not None:
            width, height = ground.stored
        return Record(
            image_id=uri,
            uri=uri,
            width=width,
            height=height,
            split=self.split,
            objects=ground.brought_back(objects),
            attributes=attributes,
            origin=self.origin,
        )

    def _ground(self, uri: str, stated: tuple[int, int] | None, place: str) -> Ground | None:
        """The pixels that the labels of an image count; None leaves the image out."""
        if "://" in uri:
            return Ground(stated, 1, stated)
        header = image_header(self.reader.media_root / uri)
        if header is None or header.orientation == 1:
            return Ground(stated, 1, stated)

        def report(code: str, message: str, action: str, hint: str) -> None:
            self._report(code, message, place, action, hint)

        return ground_of(header, stated, self.options.exif, uri, report)

    def _repeated(self, thing: Object, action: str, place: str) -> None:
        message = f"has the annotation {thing.object_id} of {thing.category!r} twice."
        self._report("duplicate-object", message, place, action)

    def _learn_categories(self, categories: list[CocoCategory]) -> None:
        classes = self.reader.classes.by_name
        for index, category in enumerate(categories):
            key = str(category.id)
            place = f"$.categories[{index}]"
            if key in self.names:
                message = f"the category id {category.id!r} appears twice; the first one is kept."
                self._report("duplicate-category", message, place)
                continue
            repeated = category.name in self.names.values()
            self.names[key] = category.name
            if repeated:
                message = f"the name {category.name!r} has several ids; they become one class."
                self._report("duplicate-category", message, place, "merged")
                continue
            if category.keypoints:
                self.keypoint_names[category.name] = category.keypoints
            number = category.id if _is_int64(category.id) else None
            met = Category(
                name=category.name,
                source_id=number,
                supercategory=category.supercategory or None,
            )
            known = classes.setdefault(category.name, met)
            if known.source_id != number:
                message = (
                    f"{category.name!r} has the id {number} here and {known.source_id} before."
                )
                self._report("category-id", message, place, "kept")

    def _annotations_by_image(self) -> dict[str, list[int]]:
        by_image: dict[str, list[int]] = defaultdict(list)
        for index, annotation in enumerate(self.document.annotations):
            by_image[str(annotation.image_id)].append(index)
        return by_image

    def _report_strays(self, by_image: dict[str, list[int]], known: set[str]) -> None:
        """Annotations whose image is not in the file, or was left out."""
        for key, indices in by_image.items():
            for index in indices if key not in known else ():
                message = f"belongs to the image {key}, which the file does not have."
                self._report("unknown-image", message, f"$.annotations[{index}]")

    def _uri(self, image: CocoImage, prefix: str) -> str | None:
        name = image.file_name or image.coco_url
        if not name:
            return None
        if "://" in name:
            brought = self.fetched.find(name)
            return name if brought is None else prefix + brought
        if image.coco_url and self.fetched.files and not (self.folder / name).exists():
            brought = self.fetched.find(image.coco_url)
            if brought is not None:
                return prefix + brought
        if "\\" in name and not (self.folder / name).exists():
            name = name.replace("\\", "/")
        return prefix + name.removeprefix("./")

    def _side(self, value: Number, place: str) -> int | None:
        if value is None:
            return None
        if value == int(value) and 0 < value < 2**31:
            return int(value)
        message = f"{value} is no width or height of an image; taken as not stated."
        self._report("bad-size", message, place, "changed")
        return None

    def _object(self, index: int, size: tuple[int, int] | None) -> Object | None:
        annotation = self.document.annotations[index]
        place = f"$.annotations[{index}]"
        category = self.names.get(str(annotation.category_id))
        if category is None:
            message = f"the category id {annotation.category_id!r} is not in categories."
            self._report("unknown-category", message, place)
            return None
        segmentation = self._segmentation(annotation, place)
        points = annotation.keypoints or ()
        outline = outline_bounds(segmentation) if segmentation else None
        if annotation.bbox is None:
            if outline is None and not points:
                self._report("no-box", "has neither a bbox nor a segmentation.", place)
                return None
            box = outline
            if outline is not None:
                message = "has no bbox; it is taken from the outline."
                self._report("box-from-outline", message, place, "kept")
        else:
            box = self._stated_box(annotation.bbox, outline, segmentation, size, place)
            if box is None:
                return None
        attributes = self._attributes(annotation.attributes, place)
        flags = {k: attributes.pop(k) for k in FLAGS if isinstance(attributes.get(k), bool)}
        rotation, track = attributes.get("rotation"), attributes.get("track_id")
        if isinstance(rotation, float):
            del attributes["rotation"]
        if isinstance(track, (int, str)):
            del attributes["track_id"]
        # The writer keeps an id that is no number under this name.
        object_id = attributes.pop("object_id", annotation.id)
        area = annotation.area
        if area is not None and abs(area - computed_area(box, segmentation)) > 1e-6 * abs(area):
            attributes["area"] = float(area)
        return Object(
            category=category,
            box=box,
            object_id=None if object_id is None else str(object_id),
            segmentation=segmentation,
            rotation=rotation if isinstance(rotation, float) else None,
            keypoints=self._keypoints(points, category, place) if points else (),
            track=str(track) if isinstance(track, (int, str)) else None,
            crowd=None if annotation.iscrowd is None else bool(annotation.iscrowd),
            occluded=_flag(flags.get("occluded")),
            truncated=_flag(flags.get("truncated")),
            difficult=_flag(flags.get("difficult")),
            attributes=attributes,
        )

    def _stated_box(
        self,
        bbox: tuple[Number, ...],
        outline: Box | None,
        segmentation: Segmentation | None,
        size: tuple[int, int] | None,
        place: str,
    ) -> Box | None:
        """The box that holds: as stated, from the outline, cut, or none."""
        box = corners(bbox)
        if box is None:
            self._report("bad-box", f"bbox is {list(bbox)}, not four finite numbers.", place)
            return None
        if outline is not None and segmentation is not None and segmentation.polygons:
            box = self._compare(box, outline, size, place)
        fault = fault_of(box, size)
        if fault is None:
            return box
        return settle(
            box,
            size,
            fault,
            self.options.bad_boxes,
            f"bbox {shown(box)}",
            lambda code, message, action, hint: self._report(code, message, place, action, hint),
        )

    def _compare(self, box: Box, outline: Box, size: tuple[int, int] | None, place: str) -> Box:
        """Check the stated box against the bounds of the polygons."""
        if distance(box, outline) < MISFIT:
            return box
        taken = self.options.box_from == "outline"
        message = f"bbox {shown(box)} does not fit its polygons, which span {shown(outline)}"
        message += "; the latter is taken." if taken else "."
        hint = None
        if size:
            flipped = Box(box.xmin, size[1] - box.ymin - box.height, box.xmax, size[1] - box.ymin)
            # labelbox2coco wrote H - max(y) for the top, so turning it once more undoes it.
            if distance(flipped, outline) < MISFIT:
                hint = _BOTTOM
                message += " Its y is counted from the bottom."
        action = "requested" if taken else "kept"
        self._report("box-outline-mismatch", message, place, action, hint)
        return outline if taken else box

    def _segmentation(self, annotation: CocoAnnotation, place: str) -> Segmentation | None:
        try:
            outline = decode_outline(annotation.segmentation)
            if isinstance(outline, CocoRle):
                return mask(outline)
            polygons = tuple(polygon(points) for points in outline or ())
        except msgspec.ValidationError as error:
            message, pointer = explain(error)
            inner = (pointer or "$").removeprefix("$")
            self._report("bad-outline", f"{message}.", f"{place}.segmentation{inner}", "changed")
            return None
        except ValueError as error:
            self._report("bad-outline", f"{error}.", f"{place}.segmentation", "changed")
            return None
        return Segmentation(polygons=polygons) if polygons else None

    def _keypoints(
        self, values: tuple[Number, ...], category: str, place: str
    ) -> tuple[Keypoint, ...]:
        try:
            return keypoints(values, self.keypoint_names.get(category, ()))
        except ValueError as error:
            self._report("bad-keypoints", f"{error}.", f"{place}.keypoints", "changed")
            return ()

    def _attributes(
        self, values: dict[str, object] | None, place: str
    ) -> dict[str, AttributeValue]:
        """What has a type that an attribute may have; null is not stated."""
        if not values:
            return {}
        kept: dict[str, AttributeValue] = {}
        for name, value in values.items():
            if isinstance(value, (str, bool, float)) or _is_int64(value):
                kept[name] = value
            elif value is not None and name not in self.odd_attributes:
                self.odd_attributes.add(name)
                message = f"the attribute {name!r} is no text, number or flag; left out everywhere."
                self._report("bad-attribute", message, f"{place}.attributes", "changed")
        return kept

    def _report(
        self,
        code: str,
        message: str,
        pointer: str,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        issue = Issue(code, f"{pointer} {message}", self.name, None, action, hint)
        self.reader.context.issues.report(issue)


def _is_int64(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _flag(value: AttributeValue | None) -> bool | None:
    return value if isinstance(value, bool) else None
