"""The numbers of CVAT's shape elements."""

from __future__ import annotations

import math

import msgspec

from tlx.model import Box
from tlx_plugins.formats.cvat_xml import Drawn

Numbers = tuple[float, ...]

_FLAGS = {"0": False, "1": True}
CUBOID = tuple(
    f"{axis}{corner}{face}"
    for face in (1, 2)
    for corner in ("tl", "bl", "tr", "br")
    for axis in ("x", "y")
)
"""Names of the numbers of a cuboid, in the order of `tlx.model.Shape`."""

_CORNERS = frozenset({"xtl", "ytl", "xbr", "ybr"})
_IN_NUMBERS = b"0123456789+-.eE \t\r\n"
_ONE_SEPARATOR = bytes.maketrans(b";", b",")
_json_numbers = msgspec.json.Decoder(Numbers).decode


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
        box: Of a shape that is none, where the file states one, as tlx does.
    """

    kind: str
    numbers: Numbers
    rotation: float | None = None
    parts: tuple[Part, ...] = ()
    box: Box | None = None


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
            numbers: Numbers = _corners(values)
        elif kind == "ellipse":
            numbers = tuple(float(values[name]) for name in ("cx", "cy", "rx", "ry"))
        elif kind == "cuboid":
            numbers = tuple(float(values[name]) for name in CUBOID)
        elif kind == "mask":
            numbers = _mask_numbers(values)
        else:
            numbers = pairs(values.get("points", "") if kind == "skeleton" else values["points"])
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
    box = Box(*_corners(values)) if kind != "box" and values.keys() >= _CORNERS else None
    if kind == "skeleton":
        return Geometry(kind, numbers, turn, tuple(map(read_part, shape.elements or ())), box)
    return Geometry(kind, numbers, turn, (), box)


def _corners(values: dict[str, str]) -> Numbers:
    return (
        float(values["xtl"]),
        float(values["ytl"]),
        float(values["xbr"]),
        float(values["ybr"]),
    )


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


def pairs(text: str) -> Numbers:
    """The numbers of ``x,y;x,y;...`` in turn.

    Raises:
        ValueError: If they are not pairs of numbers.
    """
    if not text:
        return ()
    raw = text.encode()
    separators = raw.translate(None, _IN_NUMBERS)
    if separators != (b",;" * len(separators))[: len(separators) | 1]:
        raise ValueError("has points that are not pairs of x,y")
    flat = raw.translate(_ONE_SEPARATOR)
    try:
        # JSON's numbers are read four times as fast; CVAT writes no others. Its -0 is a 0.
        if b"-0" not in flat:
            return _json_numbers(b"[%b]" % flat)
    except msgspec.DecodeError:
        pass
    return tuple(map(float, flat.split(b",")))


def _mask_numbers(values: dict[str, str]) -> Numbers:
    frame = tuple(float(int(values[name])) for name in ("left", "top", "width", "height"))
    return frame + tuple(map(float, map(int, values["rle"].split(","))))


def box_around(kind: str, numbers: Numbers) -> Box | None:
    """The box that comes with a shape; None for lines and points, which have none."""
    if kind == "mask":
        left, top, width, height = numbers[:4]
        return Box(left, top, left + width, top + height)
    if kind == "ellipse":
        x, y, along, across = numbers
        return Box(x - along, y - across, x + along, y + across)
    if kind == "box":
        return Box(*numbers)
    return bounds(numbers) if kind in {"polygon", "cuboid"} else None


def joined_box(first: Box | None, second: Box | None) -> Box | None:
    """The box around two boxes, each of which may be absent."""
    if first is None or second is None:
        return first or second
    return Box(
        min(first.xmin, second.xmin),
        min(first.ymin, second.ymin),
        max(first.xmax, second.xmax),
        max(first.ymax, second.ymax),
    )


def bounds(numbers: Numbers) -> Box:
    """The bounds of points, x and y in turn."""
    xs, ys = numbers[0::2], numbers[1::2]
    return Box(min(xs), min(ys), max(xs), max(ys))


def turned_bounds(box: Box, rotation: float) -> Box:
    """The bounds of a box that is turned around its centre."""
    angle = math.radians(rotation)
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    x, y = (box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2
    across = (box.width * cosine + box.height * sine) / 2
    down = (box.width * sine + box.height * cosine) / 2
    return Box(x - across, y - down, x + across, y + down)
