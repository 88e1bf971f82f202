"""Several polygons of CVAT that are one object.

CVAT has one polygon in a shape; what is cut in two by something in front of it is drawn as two, in
one group. tlx writes such an object so, and marks the parts for itself by the same ``part_of``.
"""

from __future__ import annotations

from tlx.model import Object, Segmentation, replace
from tlx_plugins.formats.cvat_geometry import joined_box
from tlx_plugins.formats.cvat_xml import Drawn


def whole_of(shape: Drawn, *, join: bool) -> str | None:
    """What tells the parts of one object from all others of its image; None for a whole one.

    Args:
        shape: A shape of an image.
        join: Polygons of one label and group are taken for parts too.
    """
    if shape.kind != "polygon":
        return None
    part, group = shape.values.get("part_of"), shape.values.get("group_id")
    if part:
        return f"{shape.values.get('label')} {part}"
    # CVAT itself says 0 for no group.
    grouped = join and group not in {None, "", "0"}
    return f"{shape.values.get('label')} group {group}" if grouped else None


def joined(whole: Object, part: Object, *, boxed: bool) -> Object:
    """An object with the polygons of another one.

    Args:
        whole: The object of the first part, or of all before this one.
        part: The object of another part.
        boxed: The file states the box of the whole object; else it is the one around both.
    """
    first, second = whole.segmentation, part.segmentation
    if first is None or second is None:
        return whole
    result: Object = replace(
        whole,
        segmentation=Segmentation(polygons=first.polygons + second.polygons),
        box=whole.box if boxed else joined_box(whole.box, part.box),
    )
    return result
