"""Pictures with boxes drawn: what was labelled, what was predicted, side by side."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.api import ImageTask
from tlx.model import Box, Detection, Object, Prediction, Taxonomy

if TYPE_CHECKING:
    from PIL import Image as PillowImage

Shown = tuple[Box, str, str, bool]
"""A box, its text, its ``#rrggbb`` colour, and whether it is drawn dashed (a label)."""

_LABEL = "#ffffff"


def color_of(name: str, taxonomy: Taxonomy | None) -> str:
    """The taxonomy's colour of a class, or a steady one made from its name."""
    if taxonomy is not None and name in taxonomy:
        own = taxonomy[name].color
        if own is not None:
            return own
    hue = hashlib.blake2b(name.encode(), digest_size=2).digest()
    red, green, blue = colorsys.hsv_to_rgb(int.from_bytes(hue) / 65536, 0.75, 1.0)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def open_rgb(path: Path) -> PillowImage.Image:
    """An image as 8-bit RGB, pixels as stored (no EXIF rotation: labels count stored pixels)."""
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def draw(
    image: PillowImage.Image, shown: Iterable[Shown], *, scale: float = 1.0
) -> PillowImage.Image:
    """Draw boxes on a copy of an image.

    Args:
        image: RGB.
        shown: Boxes in the image's pixels.
        scale: Enlarge the picture before drawing, so that small things stay visible.
    """
    from PIL import ImageDraw, ImageFont

    if scale == 1.0:
        picture = image.copy()
    else:
        picture = image.resize((round(image.width * scale), round(image.height * scale)))
    pen = ImageDraw.Draw(picture)
    size = max(10, picture.height // 32)
    font = ImageFont.load_default(size=size)
    for box, text, color, dashed in shown:
        corners = [box.xmin * scale, box.ymin * scale, box.xmax * scale, box.ymax * scale]
        if dashed:
            _dashes(pen, corners, color)
        else:
            pen.rectangle(corners, outline=color, width=max(1, picture.height // 400))
        if text:
            top = corners[1] - size - 4
            place = (corners[0], top if top > 0 else corners[3] + 2)
            ground = pen.textbbox(place, text, font=font)
            pen.rectangle(ground, fill=color)
            pen.text(place, text, fill="#000000", font=font)
    return picture


def _dashes(pen: object, corners: Sequence[float], color: str) -> None:
    x0, y0, x1, y1 = corners
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
            pen.line(line, fill=color, width=1)  # type: ignore[attr-defined]
            at += step


def shown_objects(objects: Iterable[Object], *, text: bool = False) -> list[Shown]:
    """Labels, dashed and white."""
    return [(o.box, o.category if text else "", _LABEL, True) for o in objects if o.box is not None]


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
            shown.append(
                (d.box, f"{d.category} {d.score:.2f}", color_of(d.category, taxonomy), False)
            )
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
