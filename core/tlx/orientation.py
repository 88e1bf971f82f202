"""Images that are stored turned or mirrored, and labels that follow them.

An image may say by its EXIF orientation (Exif 2.3, tag 0x0112) how it is to be shown. Labels of a
dataset count pixels as they are stored; a program that turns images when it opens them needs labels
of the image as it is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.model import Box, Object, Record, Segmentation, Shape, replace

if TYPE_CHECKING:
    import numpy as np

EXIF_ORIENTATION = 0x0112
AS_STORED = 1

Size = tuple[int, int]


def stored_orientation(path: Path) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 where it says none or cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            value = image.getexif().get(EXIF_ORIENTATION, AS_STORED)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        # Pillow's readers raise SyntaxError and ValueError for broken files.
        return AS_STORED
    return value if isinstance(value, int) and 1 <= value <= 8 else AS_STORED


class Turn:
    """The way from the pixels as they are stored to those that are shown.

    Args:
        orientation: EXIF orientation, 1 to 8.
        size: Width and height of the stored image in pixels.
    """

    def __init__(self, orientation: int, size: Size) -> None:
        width, height = size
        self.orientation = orientation
        self.swaps = orientation >= 5
        """Width and height change places."""
        self.mirrors = orientation in {2, 4, 5, 7}
        self.size = (height, width) if self.swaps else size
        # Which stored axis becomes x and y, and whether it is counted from its other end: the EXIF
        # values name the side on which the first stored row, and the first column, are shown.
        self.x_from_end = orientation in {2, 3, 6, 7}
        self.y_from_end = orientation in {3, 4, 7, 8}

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point in absolute pixels."""
        if self.swaps:
            x, y = y, x
        return (
            self.size[0] - x if self.x_from_end else x,
            self.size[1] - y if self.y_from_end else y,
        )

    def points(self, numbers: tuple[float, ...]) -> tuple[float, ...]:
        """Points in absolute pixels, x and y in turn."""
        pairs = zip(numbers[0::2], numbers[1::2], strict=True)
        return tuple(value for pair in pairs for value in self.point(*pair))

    def box(self, box: Box) -> Box:
        """A box; one that is rotated around its centre keeps its sides."""
        x0, y0 = self.point(box.xmin, box.ymin)
        x1, y1 = self.point(box.xmax, box.ymax)
        # An inverted box stays one.
        if self.x_from_end:
            x0, x1 = x1, x0
        if self.y_from_end:
            y0, y1 = y1, y0
        return Box(x0, y0, x1, y1)

    def pixels(self, stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """An array [height, width, ...] of stored pixels as it is shown."""
        shown = stored.swapaxes(0, 1) if self.swaps else stored
        if self.y_from_end:
            shown = shown[::-1]
        return shown[:, ::-1] if self.x_from_end else shown

    def record(self, record: Record) -> Record:
        """A record whose labels count the pixels that are shown."""
        objects = tuple(map(self.object, record.objects))
        width, height = self.size
        turned: Record = replace(record, objects=objects, width=width, height=height)
        return turned

    def object(self, thing: Object) -> Object:
        """An object with all its geometry."""
        # A quarter turn changes the sides of a box and leaves its angle; a mirror negates it.
        rotation = thing.rotation
        if rotation and self.mirrors:
            rotation = -rotation
        turned: Object = replace(
            thing,
            box=None if thing.box is None else self.box(thing.box),
            rotation=rotation,
            segmentation=None
            if thing.segmentation is None
            else self._segmentation(thing.segmentation),
            shape=None if thing.shape is None else self._shape(thing.shape),
            keypoints=tuple(
                replace(p, **dict(zip("xy", self.point(p.x, p.y), strict=True)))
                for p in thing.keypoints
            ),
        )
        return turned

    def _segmentation(self, outline: Segmentation) -> Segmentation:
        changes: dict[str, Any] = {"polygons": tuple(map(self.points, outline.polygons))}
        if outline.counts is not None and outline.size is not None:
            import numpy as np
            from pycocotools import mask

            inside = mask.decode({"size": list(outline.size), "counts": outline.counts})
            shown = np.asfortranarray(self.pixels(inside))
            changes |= {"counts": mask.encode(shown)["counts"], "size": shown.shape}
        result: Segmentation = replace(outline, **changes)
        return result

    def _shape(self, shape: Shape) -> Shape:
        if shape.kind == "ellipse":
            x, y, along, across = shape.coordinates
            radii = (across, along) if self.swaps else (along, across)
            return Shape("ellipse", (*self.point(x, y), *radii))
        points = self.points(shape.coordinates)
        if shape.kind == "cuboid":
            points = self._corners(points[:8]) + self._corners(points[8:])
        return Shape(shape.kind, points)

    def _corners(self, face: tuple[float, ...]) -> tuple[float, ...]:
        """The corners of a face in the order top left, bottom left, top right, bottom right."""
        names = [(x, y) for x in (0, 1) for y in (0, 1)]
        shown = {self._corner(x, y): face[2 * i : 2 * i + 2] for i, (x, y) in enumerate(names)}
        return tuple(value for name in names for value in shown[name])

    def _corner(self, x: int, y: int) -> tuple[int, int]:
        if self.swaps:
            x, y = y, x
        return (1 - x if self.x_from_end else x, 1 - y if self.y_from_end else y)
