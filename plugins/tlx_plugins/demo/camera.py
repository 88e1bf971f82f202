"""A pinhole camera on a car, and the canvas that it draws on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageDraw

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Color = tuple[int, int, int]
Corners = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax in pixels of the canvas."""

Point = tuple[float, float, float]
"""x, y, z in metres."""

NEAR = 1.0
"""Metres before the camera where everything is cut."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera is and how it projects, in pixels of the canvas.

    Attributes:
        x: Metres to the right of the middle of the road.
        y: Height in metres.
        z: Metres along the road.
        focal: Focal length in pixels.
        center: Column of the vanishing point.
        horizon: Row of the horizon.
    """

    x: float
    y: float
    z: float
    focal: float
    center: float
    horizon: float

    def project(self, point: Point) -> tuple[float, float]:
        """Pixels of a point, which is moved to the near plane if it lies before it."""
        scale = self.focal / max(point[2] - self.z, NEAR)
        return (
            self.center + (point[0] - self.x) * scale,
            self.horizon - (point[1] - self.y) * scale,
        )

    def box(self, left: float, right: float, low: float, high: float, z: float) -> Corners:
        """Corners in pixels of an upright rectangle that faces the camera."""
        xmin, ymax = self.project((left, low, z))
        xmax, ymin = self.project((right, high, z))
        return xmin, ymin, xmax, ymax


class Canvas:
    """A picture to draw on.

    Args:
        picture: RGB; drawn over.
        night: Whether lights shine and everything else is dark.
    """

    window_light: Color = (222, 190, 120)

    def __init__(self, picture: PillowImage, *, night: bool) -> None:
        self.picture = picture
        self.night = night
        self.pen = ImageDraw.Draw(picture)
        self.glows: list[tuple[Corners, Color, float]] = []

    def quad(self, camera: Camera, points: Sequence[Point], color: Color) -> None:
        """Fill a polygon given in metres."""
        self.pen.polygon([camera.project(point) for point in points], fill=color)

    def rectangle(self, corners: Corners, color: Color) -> None:
        """Fill a rectangle."""
        self.pen.rectangle(corners, fill=color)

    def ellipse(self, corners: Corners, color: Color) -> None:
        """Fill an ellipse."""
        self.pen.ellipse(corners, fill=color)

    def line(self, camera: Camera, start: Point, end: Point, width: float, color: Color) -> None:
        """Draw a line of a width in metres."""
        scale = camera.focal / max(start[2] - camera.z, NEAR)
        ends = [camera.project(start), camera.project(end)]
        self.pen.line(ends, fill=color, width=max(1, round(width * scale)))

    def lamp(self, corners: Corners, color: Color, glyph: str) -> Color:
        """Draw a lit lamp, a full disc or an arrow on a dark one; returns its middle's colour."""
        xmin, ymin, xmax, ymax = corners
        if not glyph:
            self.pen.ellipse(corners, fill=color)
            inset = (xmax - xmin) * 0.27
            core = (min(color[0] + 90, 255), min(color[1] + 70, 255), min(color[2] + 70, 255))
            self.pen.ellipse((xmin + inset, ymin + inset, xmax - inset, ymax - inset), fill=core)
            return core
        self.pen.ellipse(corners, fill=(16, 16, 18))
        # An arrow to the left in a unit square; turned for the one that points up.
        arrow = [(0.0, 0.5), (0.5, 0.05), (0.5, 0.32), (1.0, 0.32), (1.0, 0.68), (0.5, 0.68),
                 (0.5, 0.95)]  # fmt: skip
        if glyph == "up":
            arrow = [(y, x) for x, y in arrow]
        width, height = xmax - xmin, ymax - ymin
        self.pen.polygon([(xmin + x * width, ymin + y * height) for x, y in arrow], fill=color)
        return color

    def color_at(self, corners: Corners) -> Color | None:
        """The colour in the middle of a rectangle; None outside the picture."""
        x, y = int((corners[0] + corners[2]) / 2), int((corners[1] + corners[3]) / 2)
        if not (0 <= x < self.picture.width and 0 <= y < self.picture.height):
            return None
        color = self.picture.getpixel((x, y))
        return (color[0], color[1], color[2]) if isinstance(color, tuple) else None

    def glow(self, corners: Corners, color: Color, strength: float) -> None:
        """Remember a light; `shine` adds all of them at the end."""
        self.glows.append((corners, color, strength))

    def shine(self) -> None:
        """Add the glow of all remembered lights."""
        width, height = self.picture.size
        for (xmin, ymin, xmax, ymax), color, strength in self.glows:
            size = max(xmax - xmin, ymax - ymin)
            radius = int(min(size * (2.6 if self.night else 1.3) + 2, 160))
            x, y = int((xmin + xmax) / 2), int((ymin + ymax) / 2)
            left, top = max(x - radius, 0), max(y - radius, 0)
            right, bottom = min(x + radius, width), min(y + radius, height)
            if left >= right or top >= bottom:
                continue
            part = self.picture.crop((left, top, right, bottom))
            start = (left - x + radius, top - y + radius)
            halo = _halo(radius, color, round(strength, 2)).crop(
                (*start, start[0] + right - left, start[1] + bottom - top)
            )
            self.picture.paste(ImageChops.add(part, halo), (left, top))
        self.glows.clear()


@cache
def _halo(radius: int, color: Color, strength: float) -> PillowImage:
    """A round patch of light that fades outwards, black at its edge."""
    side = 2 * radius
    # Pillow's radial gradient is 0 in the middle and 255 at the edge of its inscribed circle.
    light = Image.radial_gradient("L").resize((side, side))
    fade = light.point([int(150 * strength * max(0.0, 1 - v / 180) ** 2.2) for v in range(256)])
    return Image.merge(
        "RGB", [fade.point([int(v * channel / 255) for v in range(256)]) for channel in color]
    )
