"""Pictures with boxes drawn: what was labelled, what was predicted, side by side."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.api import ImageTask
from tlx.model import Box, Detection, Object, Prediction, Segmentation, Taxonomy
from tlx.outlines import Line, Point, lines_of, mask_of
from tlx.pixels import open_rgb

if TYPE_CHECKING:
    from PIL import Image as PillowImage
    from PIL.ImageDraw import ImageDraw

_LABEL = "#ffffff"
_MASK_OPACITY = 0.4


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing to draw; everything is in absolute pixels of the image.

    Attributes:
        box: Its upright box.
        text: Written above the box.
        color: ``#rrggbb``.
        dashed: Whether the box is drawn dashed, as labels are.
        lines: Outlines.
        points: Keypoints.
        mask: A run-length encoded mask of the size of the image.
    """

    box: Box | None
    text: str = ""
    color: str = _LABEL
    dashed: bool = False
    lines: tuple[Line, ...] = ()
    points: tuple[Point, ...] = ()
    mask: Segmentation | None = None

    def moved(self, x: float, y: float) -> Shown:
        """The same in the pixels of a cut-out that begins at x and y; a mask stays behind."""
        box = self.box
        return replace(
            self,
            box=box and Box(box.xmin - x, box.ymin - y, box.xmax - x, box.ymax - y),
            lines=tuple(
                Line(tuple((a - x, b - y) for a, b in line.points), line.closed)
                for line in self.lines
            ),
            points=tuple((a - x, b - y) for a, b in self.points),
            mask=None,
        )


def color_of(name: str, taxonomy: Taxonomy | None) -> str:
    """The taxonomy's colour of a class, or a steady one made from its name."""
    if taxonomy is not None and name in taxonomy:
        own = taxonomy[name].color
        if own is not None:
            return own
    hue = hashlib.blake2b(name.encode(), digest_size=2).digest()
    red, green, blue = colorsys.hsv_to_rgb(int.from_bytes(hue) / 65536, 0.75, 1.0)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def draw(
    image: PillowImage.Image, shown: Iterable[Shown], *, scale: float = 1.0
) -> PillowImage.Image:
    """Draw boxes on a copy of an image.

    Args:
        image: RGB.
        shown: What to draw, in the image's pixels.
        scale: Enlarge the picture before drawing, so that small things stay visible.
    """
    from PIL import ImageDraw, ImageFont

    shown = [*shown]
    picture = image.copy()
    for item in shown:
        if item.mask is not None:
            _tint(picture, item.mask, item.color)
    if scale != 1.0:
        picture = picture.resize((round(image.width * scale), round(image.height * scale)))
    pen = ImageDraw.Draw(picture)
    size = max(10, picture.height // 32)
    thick = max(1, picture.height // 400)
    font = ImageFont.load_default(size=size)
    for item in shown:
        for line in item.lines:
            points = [(x * scale, y * scale) for x, y in line.points]
            pen.line(points + points[: 1 if line.closed else 0], fill=item.color, width=thick)
        for x, y in item.points:
            pen.circle((x * scale, y * scale), 2 * thick, fill=item.color, outline="#000000")
        if item.box is not None:
            _draw_box(pen, item, item.box, scale, thick)
        place = _text_place(item, scale, size, picture.height)
        if item.text and place is not None:
            ground = pen.textbbox(place, item.text, font=font)
            pen.rectangle(ground, fill=item.color)
            pen.text(place, item.text, fill=_readable_on(item.color), font=font)
    return picture


def _readable_on(color: str) -> str:
    """Black or white, whichever stands out more (luma after ITU-R BT.601)."""
    red, green, blue = bytes.fromhex(color[1:])
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "#ffffff"


def _draw_box(pen: ImageDraw, item: Shown, box: Box, scale: float, thick: int) -> None:
    corners = [box.xmin * scale, box.ymin * scale, box.xmax * scale, box.ymax * scale]
    if item.dashed or item.lines:
        # Where there is an outline, the box only frames it.
        _dashes(pen, corners, item.color)
    else:
        pen.rectangle(_ordered(corners), outline=item.color, width=thick)


def _ordered(corners: Sequence[float]) -> list[float]:
    """Corners from the upper left to the lower right: a label may be inverted."""
    x0, y0, x1, y1 = corners
    return [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]


def _text_place(item: Shown, scale: float, size: int, height: int) -> Point | None:
    """Above the thing, or below it at the upper edge of the picture."""
    spots = [point for line in item.lines for point in line.points] + [*item.points]
    if item.box is not None:
        spots = [(item.box.xmin, item.box.ymin), (item.box.xmax, item.box.ymax)]
    if not spots:
        return None
    left = min(x for x, _ in spots) * scale
    top = min(y for _, y in spots) * scale - size - 4
    bottom = min(max(y for _, y in spots) * scale + 2, height - size - 4)
    return left, top if top > 0 else bottom


def _tint(picture: PillowImage.Image, segmentation: Segmentation, color: str) -> None:
    """Colour the pixels of a mask; one that does not fit the picture is left out."""
    from PIL import Image

    pixels = mask_of(segmentation)
    if pixels is None or pixels.shape != (picture.height, picture.width):
        return
    where = Image.fromarray((pixels * round(255 * _MASK_OPACITY)).astype("uint8"))
    picture.paste(color, (0, 0), where)


def _dashes(pen: ImageDraw, corners: Sequence[float], color: str) -> None:
    x0, y0, x1, y1 = _ordered(corners)
    step = 4.0
    for a, b, fixed, horizontal in (
        (x0, x1, y0, True),
        (x0, x1, y1, True),
        (y0, y1, x0, False),
        (y0, y1, x1, False),
    ):
        at = a
        while at < b:
            end = min(at + step / 2 + 1, b)
            line = [(at, fixed), (end, fixed)] if horizontal else [(fixed, at), (fixed, end)]
            pen.line(line, fill=color, width=1)
            at += step


def shown_objects(
    objects: Iterable[Object], *, text: bool = False, taxonomy: Taxonomy | None = None
) -> list[Shown]:
    """Labels: dashed and white, or with a taxonomy in the colours of their classes."""
    return [
        Shown(
            thing.box,
            thing.category if text else "",
            _LABEL if taxonomy is None else color_of(thing.category, taxonomy),
            dashed=taxonomy is None,
            lines=tuple(lines_of(thing)),
            points=tuple((p.x, p.y) for p in thing.keypoints if p.visibility != 0),
            mask=thing.segmentation,
        )
        for thing in objects
    ]


def shown_detections(
    detections: Iterable[Detection],
    thresholds: Mapping[str, float] | float,
    taxonomy: Taxonomy | None,
) -> list[Shown]:
    """Detections that pass their threshold, in the colour of their class."""
    from tlx.thresholds import FALLBACK_THRESHOLD

    shown = []
    for d in detections:
        limit = (
            thresholds.get(d.category, FALLBACK_THRESHOLD)
            if isinstance(thresholds, Mapping)
            else thresholds
        )
        if d.score >= limit:
            text = f"{d.category} {d.score:.2f}"
            shown.append(Shown(d.box, text, color_of(d.category, taxonomy)))
    return shown


def draw_predictions(
    folder: Path,
    predictions: Iterable[Prediction],
    tasks: Sequence[ImageTask],
    thresholds: Mapping[str, float] | float,
    taxonomy: Taxonomy | None,
) -> None:
    """Write one JPEG per image with the detections drawn.

    Names are the image ids with folders flattened, so that nothing is written outside ``folder``.
    """
    folder.mkdir()
    paths = {task.image_id: task.path for task in tasks}
    for prediction in predictions:
        picture = draw(
            open_rgb(Path(paths[prediction.image_id])),
            shown_detections(prediction.detections, thresholds, taxonomy),
        )
        name = prediction.image_id.strip("/").replace("/", "__").replace("\\", "__")
        picture.save(folder / f"{name.removesuffix('.jpg')}.jpg", quality=90)


def sheet(pictures: Sequence[PillowImage.Image], columns: int, width: int) -> PillowImage.Image:
    """Tile pictures of one shape into a sheet of the given width in pixels."""
    from PIL import Image

    if not pictures:
        raise ValueError("a sheet needs at least one picture")
    cell = width // columns
    height = round(cell * pictures[0].height / pictures[0].width)
    rows = -(-len(pictures) // columns)
    canvas = Image.new("RGB", (cell * columns, height * rows), "#202020")
    for place, picture in enumerate(pictures):
        tile = picture.resize((cell - 4, height - 4), Image.Resampling.LANCZOS)
        canvas.paste(tile, (place % columns * cell + 2, place // columns * height + 2))
    return canvas
