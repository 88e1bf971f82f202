"""Images that EXIF says to show turned or mirrored, and labels that were drawn on the shown ones.

Pixels are taken as stored everywhere in tlx, as trainers take them. EXIF (JEITA CP-3451, tag
0x0112) numbers eight ways from the stored image to the upright one::

    1 as stored              5 mirrored at the main diagonal
    2 mirrored left-right    6 turned by 90 degrees clockwise
    3 turned by 180 degrees  7 mirrored at the other diagonal
    4 mirrored up-down       8 turned by 90 degrees counterclockwise

Labels that count the pixels of the upright image go the way back here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tlx.bad_input import Exif, Report
from tlx.media import ImageHeader
from tlx.model import Box, Keypoint, Object, Record, Segmentation, Shape, replace

Size = tuple[int, int]

_MIRRORED = frozenset({2, 4, 5, 7})


class _Way(NamedTuple):
    """From the upright image back to the stored one: first the axes, then the directions."""

    swaps: bool
    mirrors_x: bool
    mirrors_y: bool


_WAYS = {
    2: _Way(swaps=False, mirrors_x=True, mirrors_y=False),
    3: _Way(swaps=False, mirrors_x=True, mirrors_y=True),
    4: _Way(swaps=False, mirrors_x=False, mirrors_y=True),
    5: _Way(swaps=True, mirrors_x=False, mirrors_y=False),
    6: _Way(swaps=True, mirrors_x=False, mirrors_y=True),
    7: _Way(swaps=True, mirrors_x=True, mirrors_y=True),
    8: _Way(swaps=True, mirrors_x=True, mirrors_y=False),
}


class Ground(NamedTuple):
    """The pixels that the labels of an image count.

    Attributes:
        size: Width and height of the image that the labels were drawn on.
        orientation: 1 where that is the stored image; else what turns the stored image into it.
        stored: Width and height of the stored image.
    """

    size: Size | None
    orientation: int
    stored: Size | None

    def brought_back(self, objects: Iterable[Object]) -> tuple[Object, ...]:
        """Objects in the pixels of the stored image."""
        if self.orientation == 1 or self.stored is None:
            return tuple(objects)
        return tuple(turned(thing, self.orientation, self.stored) for thing in objects)


def ground_of(
    header: ImageHeader | None,
    stated: Size | None,
    policy: Exif | None,
    subject: str,
    report: Report,
    *,
    drawn_upright: bool = False,
) -> Ground | None:
    """Find out which pixels the labels of an image count, under the user's policy.

    Args:
        header: Of the stored image; None where it is not there or cannot be read.
        stated: The size that the label file gives, if any.
        policy: What the user wants (`tlx.bad_input.BadInputOptions.exif`).
        subject: The image in words, to begin the message with.
        report: Takes the issue.
        drawn_upright: The labelling tool shows images upright, so that its labels count these.

    Returns:
        The ground of the labels, whose size is ``stated`` where image and file say nothing of a
        turn; None leaves the image out.
    """
    if header is None:
        return Ground(stated, 1, None)
    stored = header.size
    swapped = stated is not None and stated == stored[::-1] and stated != stored
    if header.orientation == 1 and not (swapped and drawn_upright):
        return Ground(stated or stored, 1, stored)
    turns = header.orientation > 4  # The ways that swap width and height.
    upright = stored[::-1] if turns else stored
    # A size that fits one of the two images only says on which the labels were drawn.
    counts_stored = turns and stated == stored and stored != upright
    counts_upright = swapped or (drawn_upright and not counts_stored)
    message = f"{subject} is shown turned or mirrored (EXIF orientation {header.orientation})"
    if header.orientation == 1:
        message = (
            f"{subject} is stored as {_by(stored)} pixels and labelled as {_by(stated)}, turned, "
            "with no EXIF orientation that says how"
        )
    if policy == "drop":
        report("turned-image", f"{message}; left out.", "requested", "--exif drop did so.")
        return None
    if policy == "turn" and not counts_stored and header.orientation != 1:
        done = "its labels were turned to the stored pixels"
        report("turned-image", f"{message}; {done}.", "requested", "--exif turn did so.")
        return Ground(upright, header.orientation, stored)
    unknown_way = policy == "turn" and header.orientation == 1
    if policy == "fail" or unknown_way or (policy is None and counts_upright):
        why = "; its labels count the upright pixels" if counts_upright else ""
        hint = "Turn such labels with --exif turn, or store the images upright and read again."
        report("turned-image", f"{message}{why}; left out.", "skipped", hint)
        return None
    done = "its labels are taken to count the stored pixels"
    report("turned-image", f"{message}; {done}.", "kept", "Turn such labels with: --exif turn")
    return Ground(stated or stored, 1, stored)


def turned(thing: Object, orientation: int, stored: Size) -> Object:
    """An object of the upright image in the pixels of the stored one.

    Args:
        thing: Its coordinates count the upright image.
        orientation: What turns the stored image into the upright one, 2 to 8.
        stored: Width and height of the stored image.
    """
    way = _WAYS[orientation]
    box = thing.box
    if box is not None:
        x0, y0, x1, y1 = _points((box.xmin, box.ymin, box.xmax, box.ymax), way, stored)
        box = Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    shape = thing.shape
    if shape is not None and shape.kind == "ellipse":
        x, y, rx, ry = shape.coordinates
        radii = (ry, rx) if way.swaps else (rx, ry)
        shape = Shape("ellipse", (*_points((x, y), way, stored), *radii))
    elif shape is not None:
        shape = Shape(shape.kind, _points(shape.coordinates, way, stored))
    outline = thing.segmentation
    mirrored = orientation in _MIRRORED and thing.rotation
    result: Object = replace(
        thing,
        box=box,
        shape=shape,
        # A clockwise angle is counterclockwise in the mirror.
        rotation=-thing.rotation if mirrored and thing.rotation else thing.rotation,
        segmentation=None if outline is None else _segmentation(outline, way, stored),
        keypoints=tuple(_keypoint(point, way, stored) for point in thing.keypoints),
    )
    return result


def upright(record: Record, header: ImageHeader) -> Record:
    """A record whose labels count the stored pixels, in those of the upright image.

    Args:
        record: Of an image that is shown turned or mirrored.
        header: Of the stored image.
    """
    # A quarter turn is undone by the other one, all other ways by themselves.
    back = {6: 8, 8: 6}.get(header.orientation, header.orientation)
    size = header.size[::-1] if header.orientation > 4 else header.size
    objects = tuple(turned(thing, back, size) for thing in record.objects)
    result: Record = replace(record, objects=objects, width=size[0], height=size[1])
    return result


def _keypoint(point: Keypoint, way: _Way, stored: Size) -> Keypoint:
    x, y = _points((point.x, point.y), way, stored)
    return Keypoint(x, y, point.visibility, point.name)


def _points(values: tuple[float, ...], way: _Way, stored: Size) -> tuple[float, ...]:
    """Points x0, y0, x1, y1, ... of the upright image as points of the stored one."""
    found: list[float] = []
    for first, second in zip(values[0::2], values[1::2], strict=True):
        x, y = (second, first) if way.swaps else (first, second)
        found.append(stored[0] - x if way.mirrors_x else x)
        found.append(stored[1] - y if way.mirrors_y else y)
    return tuple(found)


def _segmentation(outline: Segmentation, way: _Way, stored: Size) -> Segmentation:
    counts, size = outline.counts, outline.size
    if counts is not None and size is not None:
        import warnings

        import numpy as np
        from pycocotools import mask

        with warnings.catch_warnings():  # pycocotools 2.0 and NumPy 2 differ on a keyword.
            warnings.simplefilter("ignore", DeprecationWarning)
            pixels = mask.decode({"size": list(size), "counts": counts})
        pixels = pixels.T if way.swaps else pixels
        pixels = pixels[:, ::-1] if way.mirrors_x else pixels
        pixels = pixels[::-1] if way.mirrors_y else pixels
        counts, size = mask.encode(np.asfortranarray(pixels))["counts"], stored[::-1]
    polygons = tuple(_points(points, way, stored) for points in outline.polygons)
    result: Segmentation = replace(outline, polygons=polygons, counts=counts, size=size)
    return result


def _by(size: Size | None) -> str:
    return "?" if size is None else f"{size[0]} x {size[1]}"
