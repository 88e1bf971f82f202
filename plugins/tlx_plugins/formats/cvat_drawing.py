"""From an object of a record to a shape of CVAT: the other way than `cvat_shapes`.

CVAT has one geometry for an object. One that has several (a box, an outline and keypoints, as in
COCO) is drawn as its outline by default, and the box that comes back is the one around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from tlx.model import AttributeValue, Box, Keypoint, Object, Segmentation, Shape
from tlx_plugins.formats.cvat_geometry import CUBOID, bounds, box_around, joined_box
from tlx_plugins.formats.cvat_markup import attribute_text, number, opened, points, text
from tlx_plugins.formats.cvat_mask import within_box
from tlx_plugins.formats.cvat_shapes import FLAGS

Draw = Literal["outline", "box", "keypoints"]
Size = tuple[int, int]

_SOURCES = frozenset({"auto", "semi-auto", "manual", "file", "consensus"})
_NO_SIZE = "is a mask in an image without a size"


def kind_of(thing: Object, draw: Draw) -> str | None:
    """Name of the element that an object becomes; None where it has no geometry at all."""
    kinds = {"outline": _outline(thing), "box": thing.box and "box", "keypoints": _points(thing)}
    order = (draw, "outline", "box", "keypoints")
    return next((kind for name in order if (kind := kinds[name])), None)


def _outline(thing: Object) -> str | None:
    if thing.shape is not None:
        return thing.shape.kind
    if thing.segmentation is None:
        return None
    polygons = thing.segmentation.polygons
    if polygons:
        return "polygon"
    return "mask" if thing.segmentation.counts is not None else None


def _points(thing: Object) -> str | None:
    if not thing.keypoints:
        return None
    named = any(p.name is not None or p.visibility is not None for p in thing.keypoints)
    return "skeleton" if named else "points"


def user_attributes(thing: Object) -> dict[str, AttributeValue]:
    """What the labels declare: the attributes that are not CVAT's own, and the stated flags."""
    attributes = dict(thing.attributes)
    for _, key, _ in _own(thing.attributes):
        del attributes[key]
    for name in FLAGS:
        value = getattr(thing, name)
        if value is not None:
            attributes.setdefault(name, value)
    return attributes


def _own(attributes: Mapping[str, AttributeValue]) -> Iterator[tuple[str, str, str]]:
    """CVAT's name, the record's name and the value of what CVAT itself says of a shape."""
    for name in ("source", "z_order", "group_id"):
        key = f"cvat_{name}" if name in attributes and f"cvat_{name}" in attributes else name
        value = attributes.get(key)
        if value in _SOURCES if name == "source" else type(value) is int:
            yield name, key, str(value)


def markup(thing: Object, draw: Draw, size: Size | None, part_of: str) -> str:
    """The element of an object; several polygons are an element each, in one group.

    What CVAT has no word for stands in attributes that it passes over: a box that is not the one
    around its outline, and that polygons are parts of one object.

    Args:
        thing: The object.
        draw: What it is drawn as if it has several geometries.
        size: Width and height of the image in pixels, if known; a mask needs it.
        part_of: A number that no other object, and no group, of the image has.

    Raises:
        ValueError: If it cannot be drawn; says why.
    """
    kind = kind_of(thing, draw)
    if kind is None:
        raise ValueError("has no box, outline or keypoints")
    own = {name: value for name, _, value in _own(thing.attributes)}
    # CVAT fails on a shape without this one.
    occluded = str(int(thing.occluded or False))
    values = {"label": thing.category, "source": own.pop("source", "")}
    if not values["source"]:
        del values["source"]
    inner = attributes_markup(user_attributes(thing))
    if kind == "skeleton":
        inner = "".join(map(_point, point_names(thing), thing.keypoints)) + inner
    drawings = [geometry(thing, kind, size)]
    if kind == "polygon" and thing.segmentation is not None:
        drawings = [{"points": points(polygon)} for polygon in thing.segmentation.polygons]
    if len(drawings) > 1:
        # A group is CVAT's way to say that several polygons are one object.
        own = {"group_id": part_of, **own, "part_of": part_of}
    if kind != "box" and thing.box is not None and thing.box != _box_back(thing, kind, drawings):
        drawings[0] |= _corners(thing.box)
    return "".join(
        f"{opened(kind, {**values, 'occluded': occluded, **numbers, **own})}\n{inner}</{kind}>\n"
        for numbers in drawings
    )


def _box_back(thing: Object, kind: str, drawings: list[dict[str, str]]) -> Box | None:
    """The box that a reader makes of a drawing."""
    if kind == "mask":
        frame = tuple(float(drawings[0][name]) for name in ("left", "top", "width", "height"))
        return box_around(kind, frame)
    if kind == "polygon" and thing.segmentation is not None:
        first, *others = map(bounds, thing.segmentation.polygons)
        for other in others:
            first = joined_box(first, other) or first
        return first
    if thing.shape is not None and kind == thing.shape.kind:
        return box_around(kind, thing.shape.coordinates)
    return None


def attributes_markup(attributes: Mapping[str, AttributeValue]) -> str:
    """The elements ``<attribute>`` of a shape or tag."""
    return "".join(
        f"{opened('attribute', {'name': name})}{text(attribute_text(value))}</attribute>\n"
        for name, value in attributes.items()
    )


def geometry(thing: Object, kind: str, size: Size | None) -> dict[str, str]:
    """The numbers of an object drawn as an element of a kind.

    Raises:
        ValueError: If they cannot be drawn; says why.
    """
    values: dict[str, str] = {}
    if kind == "box" and thing.box is not None:
        values = _corners(thing.box)
    elif kind == "mask" and thing.segmentation is not None:
        return _mask(thing.segmentation, thing.box, size)
    elif thing.shape is not None and kind == thing.shape.kind:
        values = _shape(thing.shape)
    elif kind == "points":
        return {"points": points(tuple(v for p in thing.keypoints for v in (p.x, p.y)))}
    if thing.rotation is not None and kind in {"box", "ellipse", "skeleton"}:
        values["rotation"] = number(thing.rotation)
    return values


def _corners(box: Box) -> dict[str, str]:
    names = ("xtl", "ytl", "xbr", "ybr")
    corners = (box.xmin, box.ymin, box.xmax, box.ymax)
    return dict(zip(names, map(number, corners), strict=True))


def _shape(shape: Shape) -> dict[str, str]:
    if shape.kind == "polyline":
        return {"points": points(shape.coordinates)}
    names = CUBOID if shape.kind == "cuboid" else ("cx", "cy", "rx", "ry")
    if len(shape.coordinates) != len(names):
        raise ValueError(f"has {len(shape.coordinates)} numbers for a {shape.kind}")
    return dict(zip(names, map(number, shape.coordinates), strict=True))


def _mask(outline: Segmentation, box: Box | None, size: Size | None) -> dict[str, str]:
    if size is None:
        raise ValueError(_NO_SIZE)
    left, top, width, height, runs = within_box(outline, box, size)
    return {
        "rle": ", ".join(map(str, runs)),
        "left": str(left),
        "top": str(top),
        "width": str(width),
        "height": str(height),
    }


def point_names(thing: Object) -> list[str]:
    """Names of the points of a skeleton; one without a name gets its number."""
    return [point.name or str(number) for number, point in enumerate(thing.keypoints, 1)]


def _point(name: str, point: Keypoint) -> str:
    """One point of a skeleton; CVAT fails on one that does not say whether it is there."""
    values = {
        "label": name,
        "outside": str(int(point.visibility == 0)),
        "occluded": str(int(point.visibility == 1)),
        "points": points((point.x, point.y)),
    }
    return f"{opened('points', values)}\n</points>\n"
