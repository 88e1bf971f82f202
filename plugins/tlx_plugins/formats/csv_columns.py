"""Which column of a table says what: found by name, whatever its case, blanks and punctuation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tlx_plugins.formats.csv_text import normal

BoxKind = Literal["corners", "size", "cell"]

NAMES: dict[str, tuple[str, ...]] = {
    "image": (
        "filename", "image", "imageid", "imagename", "imagefile", "imagepath", "imagefilename",
        "file", "filepath", "img", "imgname", "imgpath", "imgid", "fname", "path",
    ),
    "label": (
        "class", "label", "labelname", "category", "classname", "categoryname", "labels",
        "classes", "tags",
    ),
    "xmin": ("xmin", "x1", "left", "xtl", "bboxxmin"),
    "ymin": ("ymin", "y1", "top", "ytl", "bboxymin"),
    "xmax": ("xmax", "x2", "right", "xbr", "bboxxmax"),
    "ymax": ("ymax", "y2", "bottom", "ybr", "bboxymax"),
    "x": ("x", "bboxx"),
    "y": ("y", "bboxy"),
    "w": ("w", "boxwidth", "bboxwidth", "bboxw"),
    "h": ("h", "boxheight", "bboxheight", "bboxh"),
    "bbox": ("bbox", "box", "boundingbox", "bndbox"),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
    "split": ("split", "subset", "set"),
    "group": ("group",),
    "confidence": ("confidence",),
    "object_id": ("objectid",),
    "track": ("track", "trackid"),
    "difficult": ("difficult", "isdifficult"),
    "truncated": ("truncated", "istruncated"),
    "occluded": ("occluded", "isoccluded"),
    "crowd": ("crowd", "iscrowd", "isgroupof"),
}  # fmt: skip
"""The names of each part, without case, blanks and punctuation; an earlier one is preferred."""

KNOWN = frozenset(name for names in NAMES.values() for name in names)
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        titles: Their names as written.
        where: Position of each part of `NAMES` that is there.
        box: How boxes are said, None in a table without them.
        corners: Positions of the four numbers of a box, or of its one cell.
        rest: Positions of all other columns.
    """

    titles: tuple[str, ...]
    where: dict[str, int]
    box: BoxKind | None
    corners: tuple[int, ...] = ()
    rest: tuple[int, ...] = field(default=())


def find_columns(titles: Sequence[str]) -> Columns:
    """Find the parts by their names; nothing is said of what is missing."""
    positions: dict[str, int] = {}
    for position, title in enumerate(titles):
        positions.setdefault(normal(title), position)
    where = {
        part: next(positions[name] for name in names if name in positions)
        for part, names in NAMES.items()
        if any(name in positions for name in names)
    }
    box: BoxKind | None = None
    corners: tuple[int, ...] = ()
    left, top = where.get("xmin", where.get("x")), where.get("ymin", where.get("y"))
    if all(part in where for part in CORNERS):
        box = "corners"
        corners = tuple(where[part] for part in CORNERS)
    elif left is not None and top is not None:
        # Beside a corner alone, width and height are those of the box.
        sides = [where.get("w"), where.get("h")]
        if None in sides:
            sides = [where.pop("width", None), where.pop("height", None)]
        if sides[0] is not None and sides[1] is not None:
            box, corners = "size", (left, top, sides[0], sides[1])
    elif "bbox" in where:
        box, corners = "cell", (where["bbox"],)
    used = set(corners)
    for part in ("xmin", "ymin", "xmax", "ymax", "x", "y", "w", "h", "bbox"):
        where.pop(part, None)
    used |= set(where.values())
    rest = tuple(p for p in range(len(titles)) if p not in used)
    return Columns(tuple(titles), where, box, corners, rest)
