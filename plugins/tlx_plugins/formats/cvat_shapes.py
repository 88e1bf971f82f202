"""From a shape as CVAT writes it to an object of a record.

What each kind of shape becomes:

=========  ===========================================================================
box        ``box``, with ``rotation`` where it is turned
polygon    ``segmentation``, and ``box``: the bounds of the outline
mask       ``segmentation`` (run lengths), and ``box``: the box that CVAT states for it
ellipse    ``shape``, ``rotation``, and ``box``: centre and radii before the rotation
cuboid     ``shape``, and ``box``: the bounds of its eight corners
polyline   ``shape``; a line has no box
points     ``keypoints`` without names
skeleton   ``keypoints`` with the names of its points; visibility 0 outside, 1 occluded
=========  ===========================================================================

The option ``outline_boxes`` leaves out the boxes that nobody drew. Attributes keep the type of
their declared input; ``source``, ``z_order``, ``group_id`` and ``keyframe`` of CVAT stand beside
them, with ``cvat_`` before the name where the user has an attribute of that name. Checkboxes named
crowd, difficult and truncated are the flags of the object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tlx.box_policy import TOLERANCE, fault_of, settle, shown
from tlx.model import AttributeValue, Box, Category, Keypoint, Object, Segmentation, Shape
from tlx_plugins.formats.cvat_geometry import (
    Geometry,
    Numbers,
    Part,
    box_around,
    flag_of,
    pairs,
    read_geometry,
    turned_bounds,
)
from tlx_plugins.formats.cvat_mask import whole_image
from tlx_plugins.formats.cvat_meta import InputType, Meta, typed
from tlx_plugins.formats.cvat_xml import Drawn

if TYPE_CHECKING:
    from tlx_plugins.formats.cvat import CvatOptions


Size = tuple[int, int]
Report = Callable[[str, str, int | None, str, str | None], None]
"""Takes code, message, line, action and hint of an issue."""

FLAGS = ("crowd", "difficult", "truncated")
"""Flags that CVAT has no word for: they are checkboxes of these names."""

_TAKEN = frozenset({*FLAGS, "source", "z_order", "group_id", "keyframe"})
"""Names of attributes that are flags, or that CVAT itself gives too."""

_FREQUENT = frozenset({"box", "polygon"})
_TEXT = frozenset({"select", "radio", "text"})


def _whole(text: str) -> AttributeValue:
    """The whole number that a text is, or else the text."""
    return text if len(text) > 20 else _short_whole(text)


@lru_cache(1024)
def _short_whole(text: str) -> AttributeValue:
    value = typed(text, "number")
    return value if isinstance(value, int) else text


def with_builtins(
    attributes: dict[str, AttributeValue], values: dict[str, str]
) -> dict[str, AttributeValue]:
    """Add what CVAT itself says of a shape or track to the user's attributes."""
    if source := values.get("source"):
        attributes["cvat_source" if "source" in attributes else "source"] = source
    if layer := values.get("z_order"):
        attributes["cvat_z_order" if "z_order" in attributes else "z_order"] = _whole(layer)
    group = values.get("group_id")
    # A group that only says that polygons are one object is tlx's own, not the user's.
    if group and group != values.get("part_of"):
        attributes["cvat_group_id" if "group_id" in attributes else "group_id"] = _whole(group)
    return attributes


class ShapeReader:
    """Makes objects of shapes, under the options and the labels of one file.

    Args:
        options: The user's choices.
        report: Where issues go.
    """

    def __init__(self, options: CvatOptions, report: Report) -> None:
        self.options = options
        self.report = report
        self.meta = Meta()
        self.learned: dict[str, Category] = {}
        """Labels of a file that declares none, as they are met."""
        self.derived: Counter[str] = Counter()
        """How many boxes were taken from outlines, by kind."""
        self._odd: set[tuple[str, str]] = set()

    def category(self, label: str | None, line: int) -> str | None:
        """Check a label; None leaves the shape out."""
        if label and label in self.meta.inputs:
            return label
        if not label:
            self.report("no-label", "a shape has no label; left out.", line, "skipped", None)
            return None
        if not self.meta.categories:
            self.learned.setdefault(label, Category(name=label))
            return label
        message = f"the label {label!r} is not among the labels of the file; the shape is left out."
        self.report("unknown-label", message, line, "skipped", None)
        return None

    def attributes(
        self, shape: Drawn, inputs: dict[str, InputType] | None, prefix: str = ""
    ) -> dict[str, AttributeValue]:
        """The user's attributes of a shape, typed by their input."""
        found: dict[str, AttributeValue] = {}
        inputs = inputs or {}
        for name, text in shape.attributes or ():
            kind = inputs.get(name)
            if kind in _TEXT:
                found[prefix + name] = text
                continue
            value = typed(text, kind)
            if (kind is None and self.meta.categories) or value is None:
                self._note_attribute(shape, name, text, kind)
            found[prefix + name] = text if value is None else value
        for element in shape.elements or ():
            if element.attributes:
                name = element.values.get("label", "")
                found |= self.attributes(element, self.meta.parts.get(name), f"{name}.")
        return found

    def quiet_value(
        self, label: str, name: str, text: str, *, in_track: bool
    ) -> AttributeValue | None:
        """The value of an attribute that goes without an issue, and stays an attribute.

        Args:
            label: A label of the file.
            name: The name of the attribute.
            text: Its value as it is written.
            in_track: The label is that of a track, not of the shape itself.

        Returns:
            The value as in `attributes`; None where there is more to it.
        """
        if name in _TAKEN:
            return None
        kind = self.meta.inputs[label].get(name)
        if kind is None and ("" if in_track else label, name) not in self._odd:
            return None
        return typed(text, kind)

    def _note_attribute(self, shape: Drawn, name: str, text: str, kind: str | None) -> None:
        label = shape.values.get("label", "")
        if kind is not None:
            message = f"{text!r} is no value of the {kind} {name!r}; kept as text."
            self.report("attribute-type", message, shape.line, "kept", None)
        elif (label, name) not in self._odd:
            self._odd.add((label, name))
            message = f"the attribute {name!r} is not declared for its label; kept as text."
            self.report("undeclared-attribute", message, shape.line, "kept", None)

    def from_image(self, shape: Drawn, size: Size | None) -> Object | None:
        """The object of a shape in an ``<image>``; None leaves it out, with an issue."""
        values = shape.values
        if size is not None and shape.kind in _FREQUENT:
            plain = self._plain(shape, values, size)
            if plain is not None:
                return plain
        category = self.category(values.get("label"), shape.line)
        if category is None:
            return None
        geometry = self.geometry(shape)
        if geometry is None:
            return None
        inputs = self.meta.inputs.get(category)
        attributes = self.attributes(shape, inputs) if shape.attributes or shape.elements else {}
        return self.assemble(
            geometry,
            category,
            size,
            with_builtins(attributes, values),
            flag_of(values, "occluded"),
            shape.line,
        )

    def _plain(self, shape: Drawn, values: dict[str, str], size: Size) -> Object | None:
        """The object of a box or polygon with nothing odd about it; None for any other.

        These are nearly all shapes of a large file, and this way takes half of the time.
        """
        category = values.get("label", "")
        inputs = self.meta.inputs.get(category)
        if inputs is None or "rotation" in values:
            return None
        if "xtl" in values and shape.kind != "box":
            return None
        segmentation: Segmentation | None = None
        try:
            if shape.kind == "box":
                xmin, ymin = float(values["xtl"]), float(values["ytl"])
                xmax, ymax = float(values["xbr"]), float(values["ybr"])
            else:
                numbers = pairs(values["points"])
                if len(numbers) < 6 or not self.options.outline_boxes:
                    return None
                xs, ys = numbers[0::2], numbers[1::2]
                xmin, ymin, xmax, ymax = min(xs), min(ys), max(xs), max(ys)
                segmentation = Segmentation(polygons=(numbers,))
        except (KeyError, ValueError):
            return None
        # Not a number fails every comparison, and what is infinite one of them.
        if not (
            -TOLERANCE <= xmin < xmax <= size[0] + TOLERANCE
            and -TOLERANCE <= ymin < ymax <= size[1] + TOLERANCE
        ):
            return None
        if segmentation is not None:
            self.derived["polygon"] += 1
        attributes = self.attributes(shape, inputs) if shape.attributes else {}
        return Object(
            **_taken_flags(attributes),
            category=category,
            box=Box(xmin, ymin, xmax, ymax),
            segmentation=segmentation,
            occluded=flag_of(values, "occluded"),
            attributes=with_builtins(attributes, values),
            line=shape.line,
        )

    def geometry(self, shape: Drawn) -> Geometry | None:
        """The numbers of a shape; None, with an issue, where they cannot be right."""
        try:
            return read_geometry(shape)
        except (ValueError, OverflowError) as error:
            reason = str(error) if str(error).startswith("has ") else f"has a bad number: {error}"
            message = f"a {shape.kind} {reason}; left out."
            self.report("bad-shape", message, shape.line, "skipped", None)
            return None

    def assemble(
        self,
        geometry: Geometry,
        category: str,
        size: Size | None,
        attributes: dict[str, AttributeValue],
        occluded: bool | None,
        line: int,
        track: str | None = None,
    ) -> Object | None:
        """The object of a geometry; None leaves it out, with an issue."""
        kind, numbers = geometry.kind, geometry.numbers
        box = geometry.box or box_around(kind, numbers)
        segmentation: Segmentation | None = None
        shape: Shape | None = None
        keypoints: tuple[Keypoint, ...] = ()
        if kind == "polygon":
            segmentation = Segmentation(polygons=(numbers,))
        elif kind == "mask":
            if (segmentation := self._mask(numbers, size, line)) is None:
                return None
        elif kind in {"ellipse", "cuboid", "polyline"}:
            shape = Shape(kind, numbers)  # type: ignore[arg-type]
        elif kind != "box":
            keypoints = _keypoints(geometry)
        if box is not None:
            checked = self._checked(box, geometry, size, line)
            if checked is None:
                return None
            box = checked
            if kind != "box" and geometry.box is None:
                self.derived[kind] += 1
                box = box if self.options.outline_boxes else None
        return Object(
            **_taken_flags(attributes),
            category=category,
            box=box,
            segmentation=segmentation,
            shape=shape,
            rotation=geometry.rotation,
            keypoints=keypoints,
            track=track,
            occluded=occluded,
            attributes=attributes,
            line=line,
        )

    def _mask(self, numbers: Numbers, size: Size | None, line: int) -> Segmentation | None:
        reason = "lies in an image without a size"
        if size is not None:
            try:
                return whole_image(numbers, size)
            except ValueError as error:
                reason = str(error)
        self.report("bad-shape", f"a mask {reason}; left out.", line, "skipped", None)
        return None

    def _checked(self, box: Box, geometry: Geometry, size: Size | None, line: int) -> Box | None:
        """Apply the policy for bad boxes; a turned box is judged by the space that it takes."""
        if not geometry.rotation:
            fault = fault_of(box, size)
            if fault is None:
                return box
            policy = self.options.bad_boxes
        else:
            fault = fault_of(box, None) or fault_of(
                turned_bounds(box, geometry.rotation), size, TOLERANCE
            )
            if fault is None:
                return box
            # What a cut leaves of a turned box is no box.
            policy = None if self.options.bad_boxes == "clip" else self.options.bad_boxes
        around = "" if geometry.kind == "box" else f" around the {geometry.kind}"
        return settle(
            box,
            size,
            fault,
            policy,
            f"the box {shown(box)}{around}",
            lambda code, message, action, hint: self.report(code, message, line, action, hint),
        )


def _taken_flags(attributes: dict[str, AttributeValue]) -> dict[str, Any]:
    """The attributes that are flags of an object, taken out of the others."""
    if not attributes:
        return {}
    stated = [name for name in FLAGS if isinstance(attributes.get(name), bool)]
    return {name: attributes.pop(name) for name in stated}


def _keypoints(geometry: Geometry) -> tuple[Keypoint, ...]:
    if geometry.parts:
        return tuple(
            Keypoint(part.x, part.y, _visibility(part), part.name or None)
            for part in geometry.parts
        )
    numbers = geometry.numbers
    return tuple(Keypoint(x, y) for x, y in zip(numbers[0::2], numbers[1::2], strict=True))


def _visibility(part: Part) -> int | None:
    if part.outside:
        return 0
    if part.occluded:
        return 1
    return None if part.outside is None and part.occluded is None else 2
