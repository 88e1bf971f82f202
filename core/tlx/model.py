"""The values that flow through tlx: one image with everything on it, and what a network says of it.

All values are frozen. Coordinates are absolute pixels, float, with the origin at the top left
corner of the image; boxes are half open, so that ``width == xmax - xmin``::

    (0,0) ----------------------------> x
      |     (xmin,ymin)
      |         +-----------+
      |         |           |  height = ymax - ymin
      |         +-----------+
      v                (xmax,ymax)
      y        width = xmax - xmin

A pixel with index i covers the interval [i, i + 1). A format that counts otherwise converts in its
own module and nowhere else. ``None`` always means "not stated" and is never written as 0 or False.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct, field

AttributeValue = str | int | float | bool
"""What an attribute may hold; the type is kept through a dataset file."""

BAG = "label_bag"
"""Record attribute that names what the image-level labels were given to, where that is more than
this image: a road segment, say. They hold for the bag as a whole, and what is present in it need
not be seen in each of its images; no split may part a bag."""


class Box(Struct, frozen=True, gc=False):
    """An axis-aligned rectangle in absolute pixels, half open (see the module's picture)."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float

    @property
    def width(self) -> float:
        """Width in pixels; negative for an inverted box."""
        return self.xmax - self.xmin

    @property
    def height(self) -> float:
        """Height in pixels; negative for an inverted box."""
        return self.ymax - self.ymin

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    def clip(self, width: float, height: float) -> Box:
        """Cut the box to an image of the given size in pixels."""
        return Box(
            min(max(self.xmin, 0.0), width),
            min(max(self.ymin, 0.0), height),
            min(max(self.xmax, 0.0), width),
            min(max(self.ymax, 0.0), height),
        )


class Segmentation(Struct, frozen=True, kw_only=True):
    """The outline of an object: polygons, or a run-length encoded mask.

    Attributes:
        polygons: Each polygon as x0, y0, x1, y1, ... in absolute pixels.
        counts: The run lengths in COCO's compressed alphabet, column-major
            (cocoapi ``maskApi.c``, ``rleToString``).
        size: Height and width of the mask in pixels; present with ``counts``.
        compressed: Whether the source wrote ``counts`` compressed; an uncompressed list is kept
            in the compressed alphabet too and this flag remembers it.
    """

    polygons: tuple[tuple[float, ...], ...] = ()
    counts: bytes | None = None
    size: tuple[int, int] | None = None
    compressed: bool | None = None


class Shape(Struct, frozen=True, gc=False):
    """What an annotator drew, where it is no box, no polygon, no mask and no points.

    Attributes:
        kind: What the numbers mean.
        coordinates: Absolute pixels. ``polyline``: x0, y0, x1, y1, ... of an open line.
            ``ellipse``: centre x, centre y and the two radii along x and y before the object's
            rotation. ``cuboid``: the corners of its front face and then of its back face as seen
            in the image, each as x, y of top left, bottom left, top right, bottom right.
    """

    kind: Literal["polyline", "ellipse", "cuboid"]
    coordinates: tuple[float, ...]


class Keypoint(Struct, frozen=True, gc=False):
    """A named point in absolute pixels; visibility as in COCO (0 absent, 1 hidden, 2 visible)."""

    x: float
    y: float
    visibility: int | None = None
    name: str | None = None


class Object(Struct, frozen=True, kw_only=True):
    """One labelled thing in an image. Ground truth: it has no score.

    Attributes:
        category: A name in the taxonomy.
        box: Bounding box in absolute pixels, None where only an outline or points are given.
        object_id: The source's own id.
        segmentation: Its outline.
        shape: A line, ellipse or cuboid, if that is what was drawn.
        rotation: Degrees, clockwise, around the centre of the box.
        track: Identity across frames of one group.
        crowd: The box stands for a group of things (COCO ``iscrowd``).
        difficult: The annotator marked it as hard to recognise (Pascal VOC).
        truncated: It extends beyond the image.
        occluded: Something stands in front of it.
        attributes: Whatever else the source says, typed.
        line: Line in the record's origin file, counted from 1.
    """

    category: str
    box: Box | None = None
    object_id: str | None = None
    segmentation: Segmentation | None = None
    shape: Shape | None = None
    rotation: float | None = None
    keypoints: tuple[Keypoint, ...] = ()
    track: str | None = None
    crowd: bool | None = None
    difficult: bool | None = None
    truncated: bool | None = None
    occluded: bool | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    line: int | None = None


class Label(Struct, frozen=True, gc=False):
    """An image-level label: the category is present, absent, or unsure (None)."""

    category: str
    present: bool | None = True


class Origin(Struct, frozen=True, gc=False):
    """Where a record was read: file relative to the source's root, and the first line if any."""

    path: str
    line: int | None = None


class Record(Struct, frozen=True, kw_only=True):
    """One image with everything on it.

    Attributes:
        image_id: Unique in its dataset; a relative POSIX path where the source has paths.
        uri: The image file as a POSIX path relative to the dataset's media root, or a URL.
        width: Pixels, None where the source does not say and the image was not read.
        height: Pixels.
        split: ``train``, ``val``, ``test`` or another name; None before splitting.
        group: The clip, drive or road that the image belongs to: what must not be split.
        frame: Position within the group.
        labels: Image-level labels.
        objects: Labelled things; an empty tuple is a real negative image.
        attributes: Whatever else the source says of the image, typed.
        origin: File and line where it was read.
    """

    image_id: str
    uri: str
    width: int | None = None
    height: int | None = None
    split: str | None = None
    group: str | None = None
    frame: int | None = None
    labels: tuple[Label, ...] = ()
    objects: tuple[Object, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    origin: Origin | None = None


class Category(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One class of a taxonomy.

    Attributes:
        name: The name, as the source writes it.
        source_id: The source's own numeric id; writers make their own ids.
        color: ``#rrggbb`` for viewers.
        mirror: The class that this one becomes in a mirrored image (goLeft, goRight). A class
            whose mirror image is not in the taxonomy names itself by ``mirrorable=False``.
        mirrorable: Whether a mirrored image of this class is still a valid example.
        color_defined: The class is told by its colour (light states), so hue must stay.
        supercategory: The source's coarser class.
    """

    name: str
    source_id: int | None = None
    color: str | None = None
    mirror: str | None = None
    mirrorable: bool = True
    color_defined: bool = False
    supercategory: str | None = None


class Taxonomy(Struct, frozen=True):
    """Ordered classes as the source declares them; order is data and never sorted."""

    categories: tuple[Category, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> Taxonomy:
        """A taxonomy of plain names, in the given order."""
        return cls(tuple(Category(name=name) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(category.name for category in self.categories)

    def index(self) -> dict[str, int]:
        """Position of each class name."""
        return {name: position for position, name in enumerate(self.names)}

    def __getitem__(self, name: str) -> Category:
        for category in self.categories:
            if category.name == name:
                return category
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(category.name == name for category in self.categories)

    def __len__(self) -> int:
        return len(self.categories)


class Detection(Struct, frozen=True, gc=False):
    """One thing that a network claims to see: category, box in absolute pixels, score in 0..1."""

    category: str
    box: Box
    score: float


class Prediction(Struct, frozen=True):
    """Everything that a network claims to see in one image, by falling score.

    Attributes:
        image_id: The image; of a frame of a video, the video's name, a slash and the number.
        detections: By falling score.
        frame: Number of the frame in its video, counted from 0; None for an image.
        seconds: When the frame is shown, from the start of its video.
    """

    image_id: str
    detections: tuple[Detection, ...] = ()
    frame: int | None = None
    seconds: float | None = None


def replace(value: Any, **changes: Any) -> Any:
    """Copy a frozen value with some fields changed."""
    import msgspec

    return msgspec.structs.replace(value, **changes)
