"""The things along a made-up street, and how each is drawn.

World coordinates are metres: x to the right of the middle of the road, y up from the ground, z
along the road. A thing knows its z and draws itself through a `Camera`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tlx_plugins.demo.camera import Camera, Canvas, Color, Corners

if TYPE_CHECKING:
    import random

ROAD = 5.5
"""Half the width of the road."""

PAVEMENT = 8.5
"""Where the buildings begin."""

LAMP_COLORS: dict[str, Color] = {
    "stop": (255, 42, 30),
    "warning": (255, 176, 20),
    "go": (40, 240, 130),
}
_HOUSING_HEIGHT = 1.15
_HOUSING_WIDTH = 0.46


@dataclass(frozen=True, slots=True)
class Seen:
    """A lit light as it was drawn: tag, housing and lamp in pixels of the canvas, lamp's colour."""

    tag: str
    housing: Corners
    bulb: Corners
    color: Color


class Thing(Protocol):
    """Something at a place on the street."""

    z: float

    def draw(self, camera: Camera, canvas: Canvas, frame: int) -> None:
        """Draw it as it looks in a frame."""
        ...


@dataclass(slots=True)
class Building:
    """A block beside the road with rows of windows and perhaps a shop sign."""

    z: float
    side: int
    depth: float
    height: float
    wall: Color
    window: Color
    lit: tuple[bool, ...]
    sign: Color | None

    def draw(self, camera: Camera, canvas: Canvas, frame: int) -> None:
        """Draw the front that faces the camera, then the face along the road."""
        del frame
        near, far = max(self.z, camera.z + 1.2), self.z + self.depth
        if far <= near:
            return
        x = self.side * PAVEMENT
        dark = tuple(int(c * 0.72) for c in self.wall)
        if self.z > camera.z + 1.2:
            canvas.quad(
                camera,
                [
                    (x, 0, near),
                    (x, self.height, near),
                    (x + self.side * 14, self.height, near),
                    (x + self.side * 14, 0, near),
                ],
                (dark[0], dark[1], dark[2]),
            )
        canvas.quad(
            camera,
            [(x, 0, near), (x, self.height, near), (x, self.height, far), (x, 0, far)],
            self.wall,
        )
        columns = max(2, int(self.depth / 3))
        rows = max(1, int(self.height / 3.2))
        step = self.depth / columns
        for column in range(columns):
            start = self.z + column * step + step * 0.25
            if start < near or start - camera.z > 70:
                continue
            for row in range(rows):
                low = 1.0 + row * 3.1
                bright = self.lit[(column * 7 + row) % len(self.lit)]
                color = canvas.window_light if bright else self.window
                canvas.quad(
                    camera,
                    [
                        (x, low, start),
                        (x, low + 1.6, start),
                        (x, low + 1.6, start + step * 0.5),
                        (x, low, start + step * 0.5),
                    ],
                    color,
                )
        if self.sign is not None and self.z > camera.z + 3:
            inner = x - self.side * 1.1
            corners = camera.box(min(x, inner), max(x, inner), 3.2, 4.1, self.z + 1)
            canvas.rectangle(corners, self.sign)
            canvas.glow(corners, self.sign, 0.5)


@dataclass(slots=True)
class StreetLamp:
    """A pole with a lamp on an arm; bright at night."""

    z: float
    side: int
    color: Color

    def draw(self, camera: Camera, canvas: Canvas, frame: int) -> None:
        """Draw pole, arm and lamp."""
        del frame
        x = self.side * (ROAD + 0.8)
        canvas.line(camera, (x, 0, self.z), (x, 7.5, self.z), 0.14, (70, 72, 74))
        end = x - self.side * 1.8
        canvas.line(camera, (x, 7.4, self.z), (end, 7.7, self.z), 0.1, (70, 72, 74))
        corners = camera.box(end - 0.35, end + 0.35, 7.55, 7.75, self.z)
        canvas.rectangle(corners, self.color if canvas.night else (150, 150, 148))
        if canvas.night:
            canvas.glow(corners, self.color, 1.0)


@dataclass(slots=True)
class RoadSign:
    """A round or rectangular sign on a post: red rings and green boards look like lights."""

    z: float
    side: int
    kind: str

    def draw(self, camera: Camera, canvas: Canvas, frame: int) -> None:
        """Draw post and sign."""
        del frame
        x = self.side * (ROAD + 0.6)
        canvas.line(camera, (x, 0, self.z), (x, 2.7, self.z), 0.08, (120, 122, 124))
        shade = 0.45 if canvas.night else 1.0
        white, red = _shaded((235, 235, 230), shade), _shaded((205, 25, 30), shade)
        outer = camera.box(x - 0.42, x + 0.42, 2.2, 3.04, self.z)
        inner = camera.box(x - 0.29, x + 0.29, 2.33, 2.91, self.z)
        if self.kind == "ring":
            canvas.ellipse(outer, red)
            canvas.ellipse(inner, white)
        elif self.kind == "no-entry":
            canvas.ellipse(outer, red)
            canvas.rectangle(camera.box(x - 0.28, x + 0.28, 2.52, 2.72, self.z), white)
        elif self.kind == "amber":
            canvas.ellipse(outer, _shaded((240, 170, 20), shade))
        else:
            canvas.rectangle(
                camera.box(x - 0.9, x + 0.9, 2.2, 3.1, self.z), _shaded((20, 130, 75), shade)
            )


@dataclass(slots=True)
class Tree:
    """A trunk with some balls of leaves."""

    z: float
    side: int
    leaves: Color
    size: float

    def draw(self, camera: Camera, canvas: Canvas, frame: int) -> None:
        """Draw trunk and crown."""
        del frame
        x = self.side * (PAVEMENT - 1.2)
        shade = 0.25 if canvas.night else 1.0
        canvas.line(camera, (x, 0, self.z), (x, 3, self.z), 0.25, _shaded((80, 62, 45), shade))
        for dx, y, scale, tint in ((-0.5, 3.6, 0.9, 0.8), (0.5, 3.9, 1.0, 0.95), (0, 4.7, 1.0, 1)):
            radius = self.size * scale
            canvas.ellipse(
                camera.box(x + dx - radius, x + dx + radius, y - radius, y + radius, self.z),
                _shaded(self.leaves, shade * tint),
            )


@dataclass(slots=True)
class Car:
    """A car seen from behind (with red tail lights) or oncoming (with headlights)."""

    z: float
    x: float
    speed: float
    color: Color
    oncoming: bool
    braking: bool
    start: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.start = self.z

    def draw(self, camera: Camera, canvas: Canvas, frame: int) -> None:
        """Draw the body, the windows and the lights."""
        self.z = self.start + self.speed * frame
        if self.z < camera.z + 4:
            return
        x, z = self.x, self.z
        shade = 0.4 if canvas.night else 1.0
        body = _shaded(self.color, shade)
        canvas.ellipse(camera.box(x - 1.0, x + 1.0, -0.12, 0.12, z), _shaded((35, 35, 38), shade))
        for wheel in (x - 0.75, x + 0.55):
            canvas.rectangle(camera.box(wheel, wheel + 0.2, 0, 0.5, z), (18, 18, 20))
        canvas.rectangle(camera.box(x - 0.9, x + 0.9, 0.28, 0.95, z), body)
        canvas.rectangle(camera.box(x - 0.72, x + 0.72, 0.9, 1.45, z), body)
        canvas.rectangle(
            camera.box(x - 0.62, x + 0.62, 0.97, 1.36, z), _shaded((60, 72, 84), shade)
        )
        canvas.rectangle(
            camera.box(x - 0.25, x + 0.25, 0.5, 0.62, z), _shaded((220, 220, 210), shade)
        )
        light: Color = (255, 244, 214) if self.oncoming else (225, 22, 22)
        if not self.oncoming and not self.braking and not canvas.night:
            light = (140, 20, 22)
        for left in (x - 0.86, x + 0.6):
            corners = camera.box(left, left + 0.26, 0.68, 0.86, z)
            canvas.rectangle(corners, light)
            if canvas.night or self.braking:
                canvas.glow(corners, light, 0.9 if canvas.night else 0.35)


@dataclass(slots=True)
class TrafficLight:
    """A housing with three lamps, one of them lit; nothing is lit on one seen from behind.

    Attributes:
        z: Metres along the road.
        x: Middle of the housing.
        y: Lower edge of the housing.
        phases: The tag and the number of frames that it lasts, in turn; none for a light that is
            seen from behind.
        start: The frame in which the first phase begins.
        housing: Colour of the housing.
        backplate: A dark plate with a pale edge behind the housing.
    """

    z: float
    x: float
    y: float
    phases: Sequence[tuple[str, int]]
    start: int
    housing: Color
    backplate: bool = False
    seen: Seen | None = None

    def tag(self, frame: int) -> str | None:
        """The tag in a frame; None for a light that faces elsewhere."""
        if not self.phases:
            return None
        frame = (frame - self.start) % sum(length for _, length in self.phases)
        for tag, length in self.phases:
            if frame < length:
                return tag
            frame -= length
        return None

    def draw(self, camera: Camera, canvas: Canvas, frame: int) -> None:
        """Draw it, and remember where it was seen."""
        half, height, z = _HOUSING_WIDTH / 2, _HOUSING_HEIGHT, self.z
        corners = camera.box(self.x - half, self.x + half, self.y, self.y + height, z)
        shade = 0.35 if canvas.night else 1.0
        if self.backplate:
            plate = camera.box(
                self.x - half - 0.16, self.x + half + 0.16, self.y - 0.14, self.y + height + 0.14, z
            )
            canvas.rectangle(plate, _shaded((34, 35, 37), shade))
        canvas.rectangle(corners, _shaded(self.housing, shade))
        tag = self.tag(frame)
        self.seen = None
        state = next((s for s in LAMP_COLORS if tag is not None and tag.startswith(s)), None)
        radius = _HOUSING_WIDTH * 0.36
        for place, name in enumerate(("go", "warning", "stop")):
            middle = self.y + height * (place * 2 + 1) / 6
            lamp = camera.box(self.x - radius, self.x + radius, middle - radius, middle + radius, z)
            if tag is None or name != state:
                canvas.ellipse(lamp, _shaded(LAMP_COLORS[name], 0.13 * shade + 0.04))
                continue
            glyph = "left" if tag.endswith("Left") else "up" if tag == "goForward" else ""
            color = canvas.lamp(lamp, LAMP_COLORS[name], glyph)
            canvas.glow(lamp, LAMP_COLORS[name], 1.0 if canvas.night else 0.45)
            self.seen = Seen(tag, corners, lamp, color)

    def is_free(self, canvas: Canvas) -> bool:
        """Whether nothing was drawn over the lit lamp since; to be asked before `Canvas.shine`."""
        return self.seen is not None and canvas.color_at(self.seen.bulb) == self.seen.color


@dataclass(slots=True)
class Mast:
    """A pole beside the road, with an arm above it on which lights hang."""

    z: float
    side: int
    reach: float
    height: float

    def draw(self, camera: Camera, canvas: Canvas, frame: int) -> None:
        """Draw the pole and the arm."""
        del frame
        shade = 0.4 if canvas.night else 1.0
        color = _shaded((92, 96, 98), shade)
        x = self.side * (ROAD + 0.7)
        top = self.height
        canvas.line(camera, (x, 0, self.z), (x, top, self.z), 0.22, color)
        if self.reach:
            end = x - self.side * self.reach
            canvas.line(camera, (x, top - 0.1, self.z), (end, top - 0.1, self.z), 0.14, color)


def _shaded(color: Color, factor: float) -> Color:
    return (int(color[0] * factor), int(color[1] * factor), int(color[2] * factor))


def random_building(dice: random.Random, z: float, side: int, *, night: bool) -> Building:
    """A building of some height and colour."""
    tone = dice.uniform(0.16, 0.3) if night else dice.uniform(0.45, 0.95)
    base = dice.choice(
        (
            (196, 182, 160),
            (168, 120, 96),
            (176, 178, 182),
            (208, 200, 186),
            (150, 140, 128),
            (132, 146, 158),
        )
    )
    signs: list[Color] = [(220, 30, 35), (30, 190, 90), (245, 170, 20), (40, 90, 220)]
    return Building(
        z=z,
        side=side,
        depth=dice.uniform(10, 20),
        height=dice.choice((5, 7, 9, 12, 16, 22)) * dice.uniform(0.9, 1.1),
        wall=_shaded(base, tone),
        window=(26, 30, 38) if night else _shaded((86, 100, 116), dice.uniform(0.6, 1.0)),
        lit=tuple(night and dice.random() < 0.22 for _ in range(37)),
        sign=dice.choice(signs) if dice.random() < 0.45 else None,
    )
