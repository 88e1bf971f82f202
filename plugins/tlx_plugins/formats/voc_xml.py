"""From one VOC or labelImg XML to values.

Beside the elements of Pascal VOC (devkit document, annotation format) and labelImg these are read,
and written by tlx: ``<occluded>``; ``<attributes>`` as CVAT has them, with the type of each value;
``<polygon>`` with ``<x1>``, ``<y1>``, ... as RectLabel has it; ``<track>``, ``<rotation>``
(degrees), ``<crowd>`` and ``<object_id>``. roLabelImg's ``<robndbox>`` is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Context as Arithmetic
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from tlx.model import AttributeValue, Box, Object, Segmentation
from tlx.safe_xml import line_of

if TYPE_CHECKING:
    from lxml.etree import _Element

Report = Callable[[str, str, int | None, str], None]
"""Takes code, message, line and action of an issue."""

_number = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII).fullmatch
_point = re.compile(r"([xy])(\d+)", re.ASCII).fullmatch
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
FLAGS = {
    "1": True, "0": False, "true": True, "false": False, "yes": True, "no": False,
    "unspecified": None, "": None,
}  # fmt: skip
"""What the text of a flag says, without spaces and in lower case."""

_UNKNOWN = object()
# Enough digits that adding and taking away 1 gives back any double beyond 1e-40.
_exact = Arithmetic(prec=60)
SIDES = 1 << 31
"""Widths and heights are smaller."""


class VocImage(Struct, gc=False):
    """What an XML says of its image; ``width`` and ``height`` are None where not stated.

    ``bad_size`` is the text of a size that cannot be one, with its line. ``stated`` counts all
    objects of the file, ``numbers`` has the position among them of those that could be read.
    """

    line: int
    filename: str | None = None
    folder: str | None = None
    path: str | None = None
    width: int | None = None
    height: int | None = None
    bad_size: tuple[str, int] | None = None
    attributes: dict[str, AttributeValue] = {}
    objects: list[Object] = []
    numbers: list[int] = []
    stated: int = 0


def number(text: str | None, shift: int = 0) -> float | None:
    """A finite number less ``shift``, None for any other text.

    The subtraction is exact: 12.3 less 1 is the double nearest to 11.3.
    """
    text = (text or "").strip()
    if text.isdigit() and text.isascii() and len(text) < 16:
        return float(int(text) - shift)
    if _number(text) is None:
        return None
    value = float(text)
    if not math.isfinite(value):
        return None
    # A long text may be a whole number as a float and yet not as it stands.
    if not shift or (len(text) < 16 and value.is_integer()):
        return value - shift
    if len(text) < 12 and -1e5 < value < 1e5 and text[-1].isdigit() and "-" not in text[1:]:
        # Ten decimals at the most: rounding undoes what the subtraction spoilt.
        return round(value - shift, 10)
    return float(_exact.subtract(Decimal(text), shift))


def plain_text(element: _Element) -> str:
    """The text of an element, without the line breaks and indents of a hand-edited file."""
    text = element.text or ""
    return text.strip() if "\n" in text else text


def _text_of(parts: dict[str, _Element], tag: str) -> str | None:
    """The text of a part; None where it is empty or not there."""
    return (plain_text(parts[tag]) or None) if tag in parts else None


class VocParser:
    """Parses the elements of one file after the other.

    Args:
        report: Takes issues about the file at hand.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.base = 1

    def parse(self, root: _Element, base: int) -> VocImage:
        """Parse the root element.

        Args:
            root: The element ``annotation``.
            base: What the first pixel is counted as.
        """
        self.base = base
        image = VocImage(line=line_of(root) or 1)
        parts: dict[str, _Element] = {}
        for child in root:
            if child.tag != "object":
                parts.setdefault(child.tag, child)
                continue
            thing = self._object(child)
            if thing is not None:
                image.objects.append(thing)
                image.numbers.append(image.stated)
            image.stated += 1
        image.filename = _text_of(parts, "filename")
        image.folder = _text_of(parts, "folder")
        image.path = _text_of(parts, "path")
        image.attributes = self._image_attributes(root, parts)
        if "size" in parts:
            self._size(parts["size"], image)
        return image

    def _image_attributes(
        self, root: _Element, parts: dict[str, _Element]
    ) -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {}
        verified = root.get("verified")
        if verified is not None:
            attributes["verified"] = verified.lower() == "yes"
        segmented = _text_of(parts, "segmented")
        if segmented is not None:
            attributes["segmented"] = int(segmented) if segmented in {"0", "1"} else segmented
        database = parts["source"].findtext("database") if "source" in parts else None
        # labelImg writes "Unknown" for everybody.
        if database and database.strip() not in {"", "Unknown"}:
            attributes["database"] = database.strip() if "\n" in database else database
        if "attributes" in parts:
            attributes |= self._attributes(parts["attributes"])
        return attributes

    def _size(self, size: _Element, image: VocImage) -> None:
        for child in size:
            if child.tag not in {"width", "height", "depth"}:
                continue
            value = number(child.text)
            fits = value is not None and value.is_integer() and 0 < value < SIDES
            if fits and value is not None:
                if child.tag == "width":
                    image.width = int(value)
                elif child.tag == "height":
                    image.height = int(value)
                else:
                    image.attributes["depth"] = int(value)
            elif child.tag != "depth" and plain_text(child):
                image.bad_size = (plain_text(child), line_of(child) or 1)

    def _object(self, element: _Element) -> Object | None:
        parts: dict[str, _Element] = {}
        polygons = []
        for child in element:
            if child.tag == "polygon":
                polygons.append(self._polygon(child))
            else:
                parts.setdefault(child.tag, child)
        line = line_of(element)
        name = _text_of(parts, "name")
        if name is None:
            self.report("no-name", "an object has no name.", line, "skipped")
            return None
        rotation = number(parts["rotation"].text) if "rotation" in parts else None
        if "bndbox" in parts:
            box = self._box(parts["bndbox"])
        elif "robndbox" in parts:
            box, rotation = self._rotated(parts["robndbox"])
        else:
            self.report("no-box", f"an object {name!r} has no bndbox.", line, "skipped")
            return None
        if box is None:
            return None
        attributes = self._attributes(parts["attributes"]) if "attributes" in parts else {}
        if rotation is None and isinstance(attributes.get("rotation"), str):
            # CVAT's own, which has no type.
            rotation = number(str(attributes["rotation"]))
            if rotation is not None:
                del attributes["rotation"]
        pose = _text_of(parts, "pose")
        if pose is not None:
            attributes = {"pose": pose, **attributes}
        outlines = tuple(polygon for polygon in polygons if polygon is not None)
        return Object(
            category=name,
            box=box,
            object_id=parts["object_id"].text or "" if "object_id" in parts else None,
            segmentation=Segmentation(polygons=outlines) if outlines else None,
            rotation=rotation,
            track=parts["track"].text or "" if "track" in parts else None,
            crowd=self._flag(parts.get("crowd")),
            difficult=self._flag(parts.get("difficult")),
            truncated=self._flag(parts.get("truncated")),
            occluded=self._flag(parts.get("occluded")),
            attributes=attributes,
            line=line,
        )

    def _box(self, element: _Element) -> Box | None:
        texts = {child.tag: child.text for child in element}
        xmin = number(texts.get("xmin"), self.base)
        ymin = number(texts.get("ymin"), self.base)
        xmax = number(texts.get("xmax"))
        ymax = number(texts.get("ymax"))
        if xmin is None or ymin is None or xmax is None or ymax is None:
            stated = ", ".join(f"{tag} {(texts.get(tag) or '?')[:40].strip()}" for tag in _CORNERS)
            message = f"the box has a corner that is no finite number: {stated}."
            self.report("bad-box", message, line_of(element), "skipped")
            return None
        return Box(xmin, ymin, xmax, ymax)

    def _rotated(self, element: _Element) -> tuple[Box | None, float | None]:
        """roLabelImg: centre, width and height in pixels, angle in radians, clockwise."""
        values = {child.tag: number(child.text) for child in element}
        stated = [values.get(tag) for tag in ("cx", "cy", "w", "h", "angle")]
        known = [value for value in stated if value is not None]
        if len(known) < 5:
            message = "robndbox lacks one of the numbers cx, cy, w, h, angle."
            self.report("bad-box", message, line_of(element), "skipped")
            return None, None
        cx, cy, width, height, angle = known
        box = Box(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        return box, math.degrees(angle)

    def _flag(self, element: _Element | None) -> bool | None:
        if element is None:
            return None
        value = FLAGS.get((element.text or "").strip().lower(), _UNKNOWN)
        if value is None or isinstance(value, bool):
            return value
        message = f"{element.tag} is {plain_text(element)[:40]!r}, not 0 or 1; taken as not stated."
        self.report("bad-flag", message, line_of(element), "changed")
        return None

    def _polygon(self, element: _Element) -> tuple[float, ...] | None:
        points: dict[tuple[int, str], float | None] = {}
        for child in element:
            match = _point(child.tag)
            if match is not None and len(match[2]) < 9:
                points[int(match[2]), match[1]] = number(child.text, self.base)
        values = [value for _, value in sorted(points.items()) if value is not None]
        numbers = sorted({index for index, _ in points})
        if len(values) != len(points) or len(values) != 2 * len(numbers) or len(numbers) < 3:
            message = "a polygon is not x1, y1, x2, y2, ... of three points or more; left out."
            self.report("bad-outline", message, line_of(element), "changed")
            return None
        return tuple(values)

    def _attributes(self, element: _Element) -> dict[str, AttributeValue]:
        values: dict[str, AttributeValue] = {}
        for child in element:
            name, value = child.find("name"), child.find("value")
            if name is None or value is None:
                continue
            meant = typed(value.text or "", value.get("type"))
            if meant is None:
                message = f"the attribute {name.text!r} is no {value.get('type')}; kept as text."
                self.report("bad-attribute", message, line_of(child), "kept")
                meant = value.text or ""
            values[name.text or ""] = meant
        return values


def typed(text: str, kind: str | None) -> AttributeValue | None:
    """The value of an attribute; None if it is not of the stated type."""
    if kind == "flag":
        return {"true": True, "false": False}.get(text)
    if kind == "integer":
        fits = re.fullmatch(r"-?\d{1,19}", text, re.ASCII) and -(2**63) <= int(text) < 2**63
        return int(text) if fits else None
    if kind == "real":
        try:
            return float(text)
        except ValueError:
            return None
    return text
