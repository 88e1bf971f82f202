"""Objects of a Labelbox label as tlx objects: boxes, outlines, lines, points, masks by reference.

A line becomes a polyline, a point a keypoint; neither has a box, since nothing was drawn around
them. A mask lies behind a URL that needs a key; the URL is kept, and the object has no box either
unless the masks were fetched (`tlx_plugins.sources.labelbox_masks`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tlx import bad_input, box_policy
from tlx.model import (
    AttributeValue,
    Box,
    Category,
    Keypoint,
    Label,
    Object,
    Segmentation,
    Shape,
    Taxonomy,
)
from tlx_plugins.sources import labelbox_answers
from tlx_plugins.sources.labelbox_masks import MaskFault, Masks
from tlx_plugins.sources.labelbox_schema import Answer, Point, Thing

MASK_URL = "labelbox_mask_url"
VALUE = "labelbox_value"
KEYFRAME = "labelbox_keyframe"

Size = tuple[int, int] | None
Report = Callable[[str, str, str], None]
"""Takes a code, a sentence and what is done (see `tlx.issues.Issue.action`)."""

_HEX = re.compile(r"#[0-9a-f]{6}")


@dataclass(slots=True)
class Classes:
    """The classes of all files, in the order in which they were met.

    Attributes:
        written: Whether a class is called by its title (``name``) or by its slug (``value``).
    """

    written: Literal["name", "value"] = "name"
    by_name: dict[str, Category] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Class names by what the file says, which may have blanks around it."""

    def taxonomy(self) -> Taxonomy:
        """What was met so far."""
        return Taxonomy(tuple(self.by_name.values()))

    def learn(self, thing: Thing, report: Report) -> str | None:
        """The class of an object; a new one is added. None if the object names no class."""
        given = thing.value if self.written == "value" and thing.value else thing.name
        name = self.names.get(given or "")
        if name is None:
            given = given or thing.value or ""
            name = given.strip()
            if not name:
                return None
            if name != given:
                report("class-blanks", f"the class {given!r} is read as {name!r}.", "merged")
            self.names[given] = name
        known = self.by_name.get(name)
        if known is None or (thing.color is not None and known.color is None):
            self.by_name[name] = Category(name=name, color=_color(thing.color))
        elif thing.color is not None and _color(thing.color) not in (known.color, None):
            key = f"{name}\0{thing.color}"
            if key not in self.names:
                self.names[key] = name
                message = f"the class {name!r} has the colours {known.color} and {thing.color}."
                report("class-color", message, "kept")
        return name

    def add_label(self, name: str, question: str) -> None:
        """Add the class of an image-level label."""
        self.by_name.setdefault(name, Category(name=name, supercategory=question))


def _color(text: str | None) -> str | None:
    """A colour as ``#rrggbb``; None for one that has no such form."""
    if text is None:
        return None
    lower = text.strip().lower()
    if _HEX.fullmatch(lower):
        return lower
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(lower)
    except ValueError:
        return None
    return f"#{red:02x}{green:02x}{blue:02x}"


def answer_attributes(
    answers: list[Answer] | None, into: dict[str, AttributeValue], report: Report
) -> None:
    """Add answers as attributes; the first of two that differ is kept."""
    for answer in answers or ():
        radio = answer.radio_answer
        name = answer.name
        # The usual case, a choice without a question below it, spares the general way.
        if (
            radio is not None
            and radio.name
            and name
            and not radio.classifications
            and name not in into
            and not (name[0].isspace() or name[-1].isspace())
        ):
            into[name] = radio.name.strip()
            continue
        for fact in labelbox_answers.facts((answer,), report):
            add_attribute(into, *labelbox_answers.attribute(fact), report)


def add_attribute(
    into: dict[str, AttributeValue], name: str, value: AttributeValue, report: Report
) -> None:
    """Add one attribute, unless its name is taken or its number too large."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        report("bad-answer", f"{name!r} is a number of more than 64 bits.", "changed")
    elif into.setdefault(name, value) != value:
        message = f"{name!r} is both {into[name]!r} and {value!r}; the first one is kept."
        report("answer-conflict", message, "changed")


def answer_labels(
    answers: list[Answer] | None,
    classes: Classes,
    labels: dict[str, Label],
    attributes: dict[str, AttributeValue],
    report: Report,
) -> None:
    """Add the choices of an image as image-level labels, and texts as attributes."""
    for fact in labelbox_answers.facts(answers or (), report):
        path, option, _ = fact
        if option is None:
            add_attribute(attributes, *labelbox_answers.attribute(fact), report)
            continue
        name = f"{path}/{option}"
        classes.add_label(name, path)
        labels[name] = Label(name, True)


@dataclass(slots=True)
class ObjectMaker:
    """Makes objects under the option ``bad_boxes``, and learns their classes."""

    classes: Classes
    bad_boxes: bad_input.BadBoxes | None
    masks: Masks | None = None
    """The masks that were fetched, if the user asked for them."""
    names: Mapping[str | None, str] = field(init=False)
    """Where the title of a class is its name, the names that are known already."""

    def __post_init__(self) -> None:
        known: dict[Any, str] = self.classes.names
        self.names = known if self.classes.written == "name" else {}

    def make(self, thing: Thing, size: Size, report: Report) -> Object | None:
        """One object; None if it cannot be kept, which is reported."""
        name = self.names.get(thing.name)
        if name is None or thing.color is not None:
            name = self.classes.learn(thing, report)
            if name is None:
                report("no-class", "has no name.", "skipped")
                return None
        rectangle = thing.bounding_box
        if rectangle is not None:
            left, top = rectangle.left, rectangle.top
            width, height = rectangle.width, rectangle.height
            if left is None or top is None or width is None or height is None:
                message = "has a bounding box with a side that is no number."
                report("bad-geometry", message, "skipped")
                return None
            right, bottom = left + width, top + height
            box: Box | None = Box(left, top, right, bottom)
            # Almost all boxes are good, so that is found out here without a call.
            if not (
                size is not None
                and width > 0
                and height > 0
                and left >= 0
                and top >= 0
                and right <= size[0]
                and bottom <= size[1]
            ):
                box = self._judged(Box(left, top, right, bottom), size, report)
                if box is None:
                    return None
            if not thing.classifications and (thing.value is None or thing.value == thing.name):
                return Object(category=name, box=box, object_id=thing.feature_id)
            attributes = self._attributes(thing, report)
            return Object(category=name, box=box, object_id=thing.feature_id, attributes=attributes)
        return self._other(thing, name, size, report)

    def _other(self, thing: Thing, name: str, size: Size, report: Report) -> Object | None:
        attributes = self._attributes(thing, report)
        if thing.polygon is not None:
            return self._polygon(thing, name, size, attributes, report)
        mask = thing.mask or thing.composite_mask
        points = thing.line or ([thing.point] if thing.point else None)
        if points:
            known = _numbers(points)
            if known is None:
                report("bad-geometry", f"a {name!r} has a vertex that is no number.", "skipped")
                return None
            return Object(
                category=name,
                object_id=thing.feature_id,
                shape=Shape("polyline", known) if thing.line else None,
                keypoints=() if thing.line else (Keypoint(known[0], known[1]),),
                attributes=attributes,
            )
        if mask is not None and mask.url:
            attributes[MASK_URL] = mask.url
            if self.masks is not None:
                return self._masked(self.masks, thing, name, size, attributes, report)
            message = f"the mask of a {name!r} is kept as a URL; nothing is fetched."
            report("mask-by-reference", message, "kept")
            return Object(category=name, object_id=thing.feature_id, attributes=attributes)
        kind = thing.annotation_kind or "no geometry"
        report("unknown-kind", f"a {name!r} is of a kind that tlx cannot hold: {kind}.", "skipped")
        return None

    def _masked(
        self,
        masks: Masks,
        thing: Thing,
        name: str,
        size: Size,
        attributes: dict[str, AttributeValue],
        report: Report,
    ) -> Object | None:
        try:
            outline, box = masks.outline(thing, size)
        except MaskFault as fault:
            report(fault.code, f"the mask of a {name!r}: {fault}", "skipped")
            return None
        return Object(
            category=name,
            box=box,
            object_id=thing.feature_id,
            segmentation=outline,
            attributes=attributes,
        )

    def _attributes(self, thing: Thing, report: Report) -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {}
        if thing.value is not None and thing.name is not None and thing.value != thing.name:
            other = thing.name if self.classes.written == "value" else thing.value
            attributes[VALUE] = other
        if thing.classifications:
            answer_attributes(thing.classifications, attributes, report)
        return attributes

    def _polygon(
        self,
        thing: Thing,
        name: str,
        size: Size,
        attributes: dict[str, AttributeValue],
        report: Report,
    ) -> Object | None:
        polygon = _numbers(thing.polygon or [])
        if polygon is None or len(polygon) < 6:
            count = len(thing.polygon or ())
            message = f"an outline of a {name!r} has {count} vertices, or one that is no number."
            report("bad-geometry", message, "skipped")
            return None
        xs, ys = polygon[0::2], polygon[1::2]
        box = self._judged(Box(min(xs), min(ys), max(xs), max(ys)), size, report)
        if box is None:
            return None
        return Object(
            category=name,
            box=box,
            object_id=thing.feature_id,
            segmentation=Segmentation(polygons=(polygon,)),
            attributes=attributes,
        )

    def _judged(self, box: Box, size: Size, report: Report) -> Box | None:
        """The box that is kept, perhaps cut to the image; None drops it."""
        if not all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))):
            report("bad-geometry", "has a bounding box that is not finite.", "skipped")
            return None
        fault = box_policy.fault_of(box, size)
        if fault is None:
            return box
        told: bad_input.Report = lambda code, message, action, _: report(code, message, action)  # noqa: E731
        subject = f"the box {box_policy.shown(box)}"
        return box_policy.settle(box, size, fault, self.bad_boxes, subject, told)


def _numbers(points: list[Point]) -> tuple[float, ...] | None:
    """Vertices as x0, y0, x1, y1, ...; None if one is no pair of finite numbers."""
    found: list[float] = []
    for point in points:
        if point.x is None or point.y is None:
            return None
        if not (math.isfinite(point.x) and math.isfinite(point.y)):
            return None
        found += (point.x, point.y)
    return tuple(found)
