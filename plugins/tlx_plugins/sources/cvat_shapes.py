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
them, with ``cvat_`` before the name where the user has an attribute of that name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from tlx.box_policy import TOLERANCE, fault_of, settle, shown
from tlx.model import AttributeValue, Box, Category, Keypoint, Object, Segmentation, Shape
from tlx_plugins.sources.cvat_mask import whole_image
from tlx_plugins.sources.cvat_meta import InputType, Meta, typed
from tlx_plugins.sources.cvat_xml import Drawn

if TYPE_CHECKING:
    from tlx_plugins.sources.cvat import CvatOptions


Numbers = tuple[float, ...]
Size = tuple[int, int]
Report = Callable[[str, str, int | None, str, str | None], None]
"""Takes code, message, line, action and hint of an issue."""

_FLAGS = {"0": False, "1": True}
_CUBOID = tuple(
    f"{axis}{corner}{face}"
    for face in (1, 2)
    for corner in ("tl", "bl", "tr", "br")
    for axis in ("x", "y")
)
_IN_NUMBERS = b"0123456789+-.eE \t\r\n"
_TEXT = frozenset({"select", "radio", "text"})


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One point of a skeleton."""

    name: str
    x: float
    y: float
    outside: bool | None
    occluded: bool | None


class Geometry(msgspec.Struct, array_like=True, gc=False):
    """What a shape element says, in numbers.

    Attributes:
        kind: Name of the element.
        numbers: ``box``: left, top, right, bottom. ``ellipse``: centre and radii. ``cuboid``: as
            in `tlx.model.Shape`. ``polygon``, ``polyline``, ``points``, ``skeleton``: x and y in
            turn. ``mask``: left, top, width, height, then the runs.
        rotation: Degrees, clockwise; None if not stated.
        parts: The points of a skeleton.
    """

    kind: str
    numbers: Numbers
    rotation: float | None = None
    parts: tuple[Part, ...] = ()


def flag_of(values: dict[str, str], name: str) -> bool | None:
    """An attribute that is 0 or 1; None if it is absent or neither."""
    return _FLAGS.get(values.get(name, ""))


def read_geometry(shape: Drawn) -> Geometry:
    """Read the numbers of a shape.

    Raises:
        ValueError: Says what is wrong with them.
    """
    kind, values = shape.kind, shape.values
    try:
        if kind == "box":
            numbers: Numbers = (
                float(values["xtl"]),
                float(values["ytl"]),
                float(values["xbr"]),
                float(values["ybr"]),
            )
        elif kind == "ellipse":
            numbers = tuple(float(values[name]) for name in ("cx", "cy", "rx", "ry"))
        elif kind == "cuboid":
            numbers = tuple(float(values[name]) for name in _CUBOID)
        elif kind == "mask":
            numbers = _mask_numbers(values)
        else:
            numbers = _pairs(values.get("points", "") if kind == "skeleton" else values["points"])
    except KeyError as error:
        raise ValueError(f"has no {error.args[0]}") from error
    total = sum(numbers)
    # Not a number, or infinite: either makes the difference something else than 0.
    if total - total != 0:
        raise ValueError("has a coordinate that is not a finite number")
    least = {"polygon": 6, "polyline": 4, "points": 2}.get(kind, 0)
    if len(numbers) < least:
        raise ValueError(f"has {len(numbers) // 2} points where {least // 2} are needed")
    rotation = values.get("rotation")
    turn = None if rotation is None else float(rotation)
    if turn is not None and not math.isfinite(turn):
        raise ValueError("has a rotation that is not a finite number")
    if kind == "skeleton":
        return Geometry(kind, numbers, turn, tuple(map(read_part, shape.elements or ())))
    return Geometry(kind, numbers, turn)


def read_part(element: Drawn) -> Part:
    """Read one point of a skeleton.

    Raises:
        ValueError: If it is not one point.
    """
    numbers = read_geometry(element).numbers if element.kind == "points" else ()
    if len(numbers) != 2:
        raise ValueError(f"has a <{element.kind}> inside that is not one point")
    values = element.values
    outside, occluded = flag_of(values, "outside"), flag_of(values, "occluded")
    return Part(values.get("label", ""), numbers[0], numbers[1], outside, occluded)


def _pairs(text: str) -> Numbers:
    if not text:
        return ()
    separators = text.encode().translate(None, _IN_NUMBERS)
    if separators != (b",;" * len(separators))[: len(separators) | 1]:
        raise ValueError("has points that are not pairs of x,y")
    return tuple(map(float, text.replace(";", ",").split(",")))


def _mask_numbers(values: dict[str, str]) -> Numbers:
    frame = tuple(float(int(values[name])) for name in ("left", "top", "width", "height"))
    return frame + tuple(map(float, map(int, values["rle"].split(","))))


@lru_cache(1024)
def _whole(text: str) -> AttributeValue:
    value = typed(text, "number")
    return value if isinstance(value, int) else text


def with_builtins(
    attributes: dict[str, AttributeValue], values: dict[str, str]
) -> dict[str, AttributeValue]:
    """Add what CVAT itself says of a shape or track to the user's attributes."""
    source = values.get("source")
    if source:
        attributes["cvat_source" if "source" in attributes else "source"] = source
    for name, other in (("z_order", "cvat_z_order"), ("group_id", "cvat_group_id")):
        text = values.get(name)
        if text:
            attributes[other if name in attributes else name] = _whole(text)
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
        if shape.kind == "box" and size is not None:
            plain = self._plain_box(shape, values, size)
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
            _FLAGS.get(values.get("occluded", "")),
            shape.line,
        )

    def _plain_box(self, shape: Drawn, values: dict[str, str], size: Size) -> Object | None:
        """The object of a box with nothing odd about it, the frequent case; None for others."""
        category = values.get("label", "")
        inputs = self.meta.inputs.get(category)
        if inputs is None or "rotation" in values:
            return None
        try:
            xmin, ymin = float(values["xtl"]), float(values["ytl"])
            xmax, ymax = float(values["xbr"]), float(values["ybr"])
        except (KeyError, ValueError):
            return None
        # Not a number fails every comparison, and what is infinite one of them.
        if not (
            -TOLERANCE <= xmin < xmax <= size[0] + TOLERANCE
            and -TOLERANCE <= ymin < ymax <= size[1] + TOLERANCE
        ):
            return None
        attributes = self.attributes(shape, inputs) if shape.attributes else {}
        return Object(
            category=category,
            box=Box(xmin, ymin, xmax, ymax),
            occluded=_FLAGS.get(values.get("occluded", "")),
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
        box: Box | None = None
        segmentation: Segmentation | None = None
        shape: Shape | None = None
        keypoints: tuple[Keypoint, ...] = ()
        if kind == "box":
            box = Box(*numbers)
        elif kind == "polygon":
            segmentation = Segmentation(polygons=(numbers,))
            box = _bounds(numbers)
        elif kind == "mask":
            if (segmentation := self._mask(numbers, size, line)) is None:
                return None
            left, top, width, height = numbers[:4]
            box = Box(left, top, left + width, top + height)
        elif kind == "ellipse":
            shape = Shape("ellipse", numbers)
            x, y, along, across = numbers
            box = Box(x - along, y - across, x + along, y + across)
        elif kind == "cuboid":
            shape = Shape("cuboid", numbers)
            box = _bounds(numbers)
        elif kind == "polyline":
            shape = Shape("polyline", numbers)
        else:
            keypoints = _keypoints(geometry)
        if box is not None:
            checked = self._checked(box, geometry, size, line)
            if checked is None:
                return None
            box = checked
            if kind != "box":
                self.derived[kind] += 1
                box = box if self.options.outline_boxes else None
        return Object(
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
            fault = fault_of(box, size, TOLERANCE)
            if fault is None:
                return box
            policy = self.options.bad_boxes
        else:
            fault = fault_of(box, None) or fault_of(
                _turned(box, geometry.rotation), size, TOLERANCE
            )
            if fault is None:
                return box
            # What a cut leaves of a turned box is no box.
            policy = "report" if self.options.bad_boxes == "clip" else self.options.bad_boxes
        around = "" if geometry.kind == "box" else f" around the {geometry.kind}"
        return settle(
            box,
            size,
            fault,
            policy,
            f"the box {shown(box)}{around}",
            lambda code, message, action, hint: self.report(code, message, line, action, hint),
        )


def _bounds(numbers: Numbers) -> Box:
    xs, ys = numbers[0::2], numbers[1::2]
    return Box(min(xs), min(ys), max(xs), max(ys))


def _turned(box: Box, rotation: float) -> Box:
    """The bounds of a box that is turned around its centre."""
    angle = math.radians(rotation)
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    x, y = (box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2
    across = (box.width * cosine + box.height * sine) / 2
    down = (box.width * sine + box.height * cosine) / 2
    return Box(x - across, y - down, x + across, y + down)


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
