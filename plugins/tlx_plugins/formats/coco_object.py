"""From one annotation of COCO to an object: the rules, and what is said where they are broken."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from tlx.box_policy import fault_of, settle, shown
from tlx.issues import Issue, IssueLog
from tlx.model import AttributeValue, Box, Keypoint, Object, Segmentation
from tlx_plugins.formats.coco_file import (
    CocoAnnotation,
    CocoRle,
    Number,
    decode_outline,
    explain,
)
from tlx_plugins.formats.coco_images import carried, is_int64
from tlx_plugins.formats.coco_outline import (
    as_float,
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

MISFIT = 1.0
"""Pixels between a box and the bounds of its polygons: less is rounding, more is a mistake."""

FLAGS = {"occluded": bool, "truncated": bool, "difficult": bool}
"""Keys of CVAT's ``attributes`` that the record has fields for, beside rotation and track_id."""

_BOTTOM = (
    "It would fit if its y were counted from the bottom, as labelbox2coco did; take the box from "
    "the outline with: --box-from outline"
)


@dataclass(slots=True)
class ObjectReader:
    """Makes objects of the annotations of one file.

    Attributes:
        path: The file, for issues.
        options: The user's choices.
        issues: Where issues go.
        names: Class names by the id of their category as text.
        keypoint_names: The keypoints that a class declares.
    """

    path: str
    options: CocoOptions
    issues: IssueLog
    names: dict[str, str] = field(default_factory=dict)
    keypoint_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _odd_attributes: set[str] = field(default_factory=set)

    def read(
        self, annotation: CocoAnnotation, index: int, size: tuple[int, int] | None
    ) -> Object | None:
        """Read one annotation.

        Args:
            annotation: As it was decoded.
            index: Its number in the file, for issues.
            size: Width and height of its image in pixels, if known.

        Returns:
            None where nothing can be made of it; an issue says why.
        """
        place = f"$.annotations[{index}]"
        category = self.names.get(str(annotation.category_id))
        if category is None:
            message = f"the category id {annotation.category_id!r} is not in categories."
            self.report("unknown-category", message, place)
            return None
        segmentation = self._segmentation(annotation, place)
        points = annotation.keypoints or ()
        outline = outline_bounds(segmentation) if segmentation else None
        if annotation.bbox is None:
            if outline is None and not points:
                self.report("no-box", "has neither a bbox nor a segmentation.", place)
                return None
            box = outline
            if outline is not None:
                message = "has no bbox; it is taken from the outline."
                self.report("box-from-outline", message, place, "kept")
        else:
            box = self._stated_box(annotation.bbox, outline, segmentation, size, place)
            if box is None:
                return None
        attributes = self.attributes(annotation.attributes, place)
        flags = {k: attributes.pop(k) for k in FLAGS if isinstance(attributes.get(k), bool)}
        rotation, track = attributes.get("rotation"), attributes.get("track_id")
        if isinstance(rotation, float):
            del attributes["rotation"]
        if isinstance(track, (int, str)):
            del attributes["track_id"]
        attributes |= carried(annotation.other or {})
        # The writer keeps an id that is no number under this name.
        object_id = attributes.pop("object_id", annotation.id)
        area = None if annotation.area is None else as_float(annotation.area)
        if area is not None and math.isinf(area):
            self.report("bad-area", "its area is no finite number; left out.", place, "changed")
        elif area is not None and abs(area - computed_area(box, segmentation)) > 1e-6 * abs(area):
            attributes["area"] = area
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
            self.report("bad-box", f"bbox is {list(bbox)}, not four finite numbers.", place)
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
            lambda code, message, action, hint: self.report(code, message, place, action, hint),
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
        self.report("box-outline-mismatch", message, place, action, hint)
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
            self.report("bad-outline", f"{message}.", f"{place}.segmentation{inner}", "changed")
            return None
        except ValueError as error:
            self.report("bad-outline", f"{error}.", f"{place}.segmentation", "changed")
            return None
        return Segmentation(polygons=polygons) if polygons else None

    def _keypoints(
        self, values: tuple[Number, ...], category: str, place: str
    ) -> tuple[Keypoint, ...]:
        try:
            return keypoints(values, self.keypoint_names.get(category, ()))
        except ValueError as error:
            self.report("bad-keypoints", f"{error}.", f"{place}.keypoints", "changed")
            return ()

    def attributes(self, values: dict[str, object] | None, place: str) -> dict[str, AttributeValue]:
        """What has a type that an attribute may have; null is not stated."""
        if not values:
            return {}
        kept: dict[str, AttributeValue] = {}
        for name, value in values.items():
            if isinstance(value, (str, bool, float)) or is_int64(value):
                kept[name] = value
            elif value is not None and name not in self._odd_attributes:
                self._odd_attributes.add(name)
                message = f"the attribute {name!r} is no text, number or flag; left out everywhere."
                self.report("bad-attribute", message, f"{place}.attributes", "changed")
        return kept

    def report(
        self,
        code: str,
        message: str,
        pointer: str,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        """Report an issue at a place in the document, such as ``$.annotations[3]``."""
        issue = Issue(code, f"{pointer} {message}", self.path, None, action, hint)
        self.issues.report(issue)


def _flag(value: AttributeValue | None) -> bool | None:
    return value if isinstance(value, bool) else None
