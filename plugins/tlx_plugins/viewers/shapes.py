"""What was drawn beyond boxes, as FiftyOne's polylines, keypoints and instance masks.

Points are fractions of the image's width and height, as FiftyOne has them; the form of the
documents was read off those that FiftyOne 1.22 writes itself.
"""

from __future__ import annotations

import math
from typing import Any

from bson import ObjectId

from tlx.model import Box, Object, Record
from tlx.outlines import lines_of, mask_of
from tlx_plugins.viewers.findings import label_id

Size = tuple[int, int]
"""Width and height of an image in pixels."""


def polylines(record: Record, size: Size) -> dict[str, Any]:
    """The outlines of all objects of an image; open and closed lines are labels of their own."""
    found = []
    for place, thing in enumerate(record.objects):
        lines = lines_of(thing)
        for closed in (True, False):
            points = [line.points for line in lines if line.closed is closed]
            if not points:
                continue
            found.append(
                {
                    "_id": _identity(record, f"outline {closed}", place),
                    "_cls": "Polyline",
                    "attributes": {},
                    "tags": [],
                    "label": thing.category,
                    "points": [[[x / size[0], y / size[1]] for x, y in line] for line in points],
                    "closed": closed,
                    "filled": False,
                    "object_index": place,
                }
            )
    return {"_cls": "Polylines", "polylines": found}


def keypoints(record: Record, size: Size) -> dict[str, Any]:
    """The points of all objects of an image; absent ones are left out."""
    found = []
    for place, thing in enumerate(record.objects):
        points = [(p.x / size[0], p.y / size[1]) for p in thing.keypoints if p.visibility != 0]
        if points:
            found.append(
                {
                    "_id": _identity(record, "keypoints", place),
                    "_cls": "Keypoint",
                    "attributes": {},
                    "tags": [],
                    "label": thing.category,
                    "points": [[x, y] for x, y in points],
                    "confidence": None,
                    "object_index": place,
                }
            )
    return {"_cls": "Keypoints", "keypoints": found}


def box_and_mask(thing: Object) -> tuple[Box | None, bytes | None]:
    """The box that FiftyOne shows an object by, and its mask within that box.

    A mask without a box gets the box around its pixels. A mask that cannot be read is left out:
    its box is shown.
    """
    segmentation = thing.segmentation
    if segmentation is None or segmentation.counts is None:
        return thing.box, None
    import numpy as np
    from fiftyone.core.utils import serialize_numpy_array

    try:
        pixels = mask_of(segmentation)
    except ValueError:
        return thing.box, None
    if pixels is None or not pixels.any():
        return thing.box, None
    box = thing.box
    if box is None:
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    top, left = max(0, math.floor(box.ymin)), max(0, math.floor(box.xmin))
    part = pixels[top : math.ceil(box.ymax), left : math.ceil(box.xmax)]
    return box, serialize_numpy_array(part) if part.size else None


def _identity(record: Record, kind: str, place: int) -> ObjectId:
    return ObjectId(label_id(record.image_id, kind, place))
