"""One clip of the made-up drive: a street, a camera that drives along it, and its frames."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from tlx_plugins.demo.camera import Camera, Canvas, Color, Corners
from tlx_plugins.demo.street import (
    PAVEMENT,
    ROAD,
    Car,
    Mast,
    RoadSign,
    StreetLamp,
    Thing,
    TrafficLight,
    Tree,
    random_building,
)

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SCALE = 2
"""Canvas pixels per image pixel: drawing twice as large and halving smooths the edges."""

SIGHT = 62.0
"""Metres from which traffic lights are drawn; before that they would be a few pixels."""

DISTANCE = 134.0
"""Metres that the camera goes in a clip, whatever the number of frames: past two crossings."""

SMALLEST = 8.0
"""Height in image pixels from which a light is labelled."""

Phases = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Crossing:
    """What the lights of a crossing show from when they come in sight, as tags and frames.

    Attributes:
        main: The lights above the lanes that go straight on.
        left: The light of the lane that turns left, if there is one.
    """

    main: Phases
    left: Phases = ()


@dataclass(frozen=True, slots=True)
class Label:
    """A light in a frame: tag, housing and lit lamp in whole image pixels."""

    tag: str
    box: tuple[int, int, int, int]
    bulb: tuple[int, int, int, int]


class Clip:
    """A street made at random with given crossings.

    Args:
        seed: Root of everything that is random in the clip.
        night: Night instead of day.
        crossings: In the order in which they are met.
        frames: How many frames the clip has.
        size: Width and height of the frames in pixels.
    """

    def __init__(
        self,
        seed: str,
        *,
        night: bool,
        crossings: Sequence[Crossing],
        frames: int,
        size: tuple[int, int],
    ) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - pictures, not secrets
        self.noise = np.random.default_rng(self.dice.getrandbits(64))
        self.night = night
        self.frames = frames
        self.size = size
        self.speed = DISTANCE / frames * self.dice.uniform(0.95, 1.05)
        self.length = self.speed * frames
        self.things: list[Thing] = []
        self.lights: list[TrafficLight] = []
        self.stops: list[float] = []
        self._build(crossings)
        self._set_camera()

    def _build(self, crossings: Sequence[Crossing]) -> None:
        dice = self.dice
        gap = SIGHT + 4
        housing: Color = dice.choice(((28, 30, 30), (44, 46, 44), (168, 132, 30), (30, 44, 36)))
        for number, crossing in enumerate(crossings):
            # Far enough apart that between two crossings there are frames without a light.
            z = 62 + gap * number + dice.uniform(-4, 4)
            self.stops.append(z)
            self._add_crossing(crossing, z, housing)
        for side in (-1, 1):
            z = -5.0
            while z < self.length + 110:
                building = random_building(dice, z, side, night=self.night)
                crossing_near = any(z - 4 < stop + 14 and stop + 4 < z + 22 for stop in self.stops)
                if not crossing_near:
                    self.things.append(building)
                z += building.depth + (dice.uniform(0, 4) if not crossing_near else 3)
            for place in range(0, int(self.length) + 90, 23):
                where = place + dice.uniform(0, 8)
                lamp: Color = dice.choice(((255, 190, 110), (255, 236, 200), (255, 170, 70)))
                self.things.append(StreetLamp(where, side, lamp))
                if dice.random() < 0.7:
                    kind = dice.choice(("ring", "no-entry", "amber", "board"))
                    self.things.append(RoadSign(where + dice.uniform(4, 14), side, kind))
                if dice.random() < 0.55:
                    leaves = (dice.randrange(40, 90), dice.randrange(90, 135), 45)
                    size = dice.uniform(1.1, 1.9)
                    self.things.append(Tree(where + dice.uniform(2, 18), side, leaves, size))
        self._add_cars()

    def _add_crossing(self, crossing: Crossing, z: float, housing: Color) -> None:
        dice = self.dice
        high = dice.random() < 0.7
        backplate = dice.random() < 0.4
        far = z + 12
        start = max(0, int((far - SIGHT) / self.speed))
        # (x, y, on an arm) of the lights that go straight on; the left one hangs over its lane.
        places = [(2.2, 5.1), (ROAD + 0.7, 3.0)] if high else [(ROAD + 0.7, 2.9)]
        if dice.random() < 0.35:
            places.append((-ROAD - 0.7, 3.0))
        self.things.append(Mast(far + 0.2, 1, 4.2 if high else 0.0, 6.2 if high else 4.1))
        if crossing.left or len(places) > 2:
            reach = 4.6 if crossing.left else 0.0
            self.things.append(Mast(far + 0.2, -1, reach, 6.2 if crossing.left else 4.1))
        for x, y in places:
            light = TrafficLight(far, x, y, crossing.main, start, housing, backplate)
            self.lights.append(light)
        if crossing.left:
            left = TrafficLight(far, -1.9, 5.1, crossing.left, start, housing, backplate)
            self.lights.append(left)
        # Lights for the crossing road and for those who come the other way: seen from behind.
        self.lights.append(TrafficLight(z, ROAD + 0.9, 2.9, (), start, housing))
        self.things.append(Mast(z + 0.2, 1, 0.0, 4.1))

    def _add_cars(self) -> None:
        dice = self.dice
        paint: list[Color] = [(190, 30, 30), (230, 230, 228), (40, 44, 52), (60, 90, 150),
                              (130, 132, 136), (60, 110, 70), (220, 190, 60)]  # fmt: skip
        for _ in range(3):
            speed = self.speed * dice.uniform(0.75, 1.1)
            lane = dice.choice((-0.2, 1.9, 4.0))
            z = dice.uniform(14, 60)
            brakes = dice.random() < 0.5
            self.things.append(Car(z, lane, speed, dice.choice(paint), False, brakes))
        for _ in range(5):
            z = dice.uniform(30, self.length * 2)
            speed = -self.speed * dice.uniform(0.4, 1.0)
            self.things.append(Car(z, -3.8, speed, dice.choice(paint), True, False))
        for side in (-1, 1):
            for place in range(0, int(self.length) + 60, 9):
                if dice.random() < 0.4 and not self._near_stop(place):
                    x = side * (ROAD + 0.1)
                    parked = Car(float(place), x, 0, dice.choice(paint), side < 0, False)
                    self.things.append(parked)

    def _near_stop(self, z: float) -> bool:
        return any(stop - 8 < z < stop + 20 for stop in self.stops)

    def _set_camera(self) -> None:
        """Exposure, colour balance, sharpness and sky, which hold for the whole clip."""
        dice = self.dice
        width, height = self.size
        self.blur = dice.uniform(0.3, 0.75)
        self.grain = dice.uniform(4.0, 8.0) if self.night else dice.uniform(2.0, 5.0)
        exposure = dice.uniform(0.8, 1.15)
        balance = [exposure * dice.uniform(0.94, 1.06) for _ in range(3)]
        gamma = dice.uniform(0.9, 1.12)
        self.curve = [
            round(min(255.0, 255 * (value / 255) ** gamma * gain))
            for gain in balance
            for value in range(256)
        ]
        bank = self.noise.normal(0, self.grain, (height + 40, width + 40, 3))
        self.bank = bank.astype(np.int16)
        night_sky = (dice.randrange(4, 14), dice.randrange(6, 16), dice.randrange(16, 34))
        day_sky = dice.choice(((110, 156, 214), (150, 172, 196), (186, 190, 196), (214, 178, 150)))
        self.sky: Color = night_sky if self.night else day_sky
        self.asphalt: Color = (
            (34, 34, 38)
            if self.night
            else dice.choice(((98, 98, 102), (84, 86, 90), (122, 120, 116)))
        )
        self.ground: Color = (24, 24, 26) if self.night else (142, 138, 130)
        self.backdrop = self._backdrop()
        self.vignette = self._vignette()

    def _backdrop(self) -> PillowImage:
        width, height = self.size[0] * SCALE, self.size[1] * SCALE
        horizon = (30, 26, 34) if self.night else (226, 228, 230)
        rows = np.linspace(0, 1, height)[:, None]
        colors = np.asarray(self.sky) * (1 - rows) + np.asarray(horizon) * rows
        picture = np.broadcast_to(colors[:, None, :], (height, width, 3))
        return Image.fromarray(picture.astype(np.uint8), "RGB")

    def _vignette(self) -> PillowImage:
        width, height = self.size
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        shade = 255 * (1 - 0.16 * (x**2 + y**2))
        return Image.fromarray(np.repeat(shade.astype(np.uint8)[:, :, None], 3, axis=2), "RGB")

    def __iter__(self) -> Iterator[tuple[PillowImage, list[Label]]]:
        """Frames with the lights that are labelled in them."""
        for frame in range(self.frames):
            yield self._frame(frame)

    def _frame(self, frame: int) -> tuple[PillowImage, list[Label]]:
        width, height = self.size[0] * SCALE, self.size[1] * SCALE
        camera = Camera(
            x=1.9 + 0.15 * math.sin(frame / 17),
            y=1.45,
            z=frame * self.speed,
            focal=0.95 * width,
            center=width * (0.5 + 0.012 * math.sin(frame / 23)),
            horizon=height * (0.56 + 0.006 * math.sin(frame / 5)),
        )
        canvas = Canvas(self.backdrop.copy(), night=self.night)
        self._draw_ground(camera, canvas)
        visible = [
            thing
            for thing in [*self.things, *self.lights]
            if camera.z + (-25 if hasattr(thing, "depth") else 1.5) < thing.z < camera.z + 120
            and not (isinstance(thing, (TrafficLight, Mast)) and thing.z > camera.z + SIGHT)
        ]
        for thing in sorted(visible, key=lambda thing: -thing.z):
            thing.draw(camera, canvas, frame)
        seen = [light for light in self.lights if light in visible and light.is_free(canvas)]
        canvas.shine()
        labels = [label for light in seen for label in self._label(light)]
        return self._expose(canvas.picture), labels

    def _draw_ground(self, camera: Camera, canvas: Canvas) -> None:
        near, far = camera.z + 1.2, camera.z + 400
        quad = canvas.quad
        quad(camera, [(-90, 0, near), (-90, 0, far), (90, 0, far), (90, 0, near)], self.ground)
        kerb = PAVEMENT - 3
        road = [(-kerb, 0, near), (-kerb, 0, far), (kerb, 0, far), (kerb, 0, near)]
        quad(camera, road, self.asphalt)
        paint: Color = (92, 92, 90) if self.night else (216, 216, 210)
        for stop in self.stops:
            if stop + 12 < near or stop > camera.z + 90:
                continue
            start, end = max(stop + 3, near), stop + 11
            quad(camera, [(-60, 0, start), (-60, 0, end), (60, 0, end), (60, 0, start)],
                 self.asphalt)  # fmt: skip
            if stop > near:
                for stripe in range(-5, 6):
                    quad(camera, [(stripe - 0.25, 0, stop), (stripe - 0.25, 0, stop + 2.5),
                                  (stripe + 0.25, 0, stop + 2.5), (stripe + 0.25, 0, stop)],
                         paint)  # fmt: skip
        first = int(near // 6) * 6
        for z in range(first, first + 96, 6):
            start, end = max(float(z), near), z + 2.8
            if end <= near or any(stop - 1 < z < stop + 12 for stop in self.stops):
                continue
            for x in (-1.9, 0.85, 3.2):
                quad(camera, [(x - 0.07, 0, start), (x - 0.07, 0, end), (x + 0.07, 0, end),
                              (x + 0.07, 0, start)], paint)  # fmt: skip

    def _label(self, light: TrafficLight) -> Iterator[Label]:
        seen = light.seen
        if seen is None:
            return
        box, bulb = self._pixels(seen.housing), self._pixels(seen.bulb)
        height = (seen.housing[3] - seen.housing[1]) / SCALE
        shown = (box[3] - box[1]) * (box[2] - box[0])
        whole = height * (seen.housing[2] - seen.housing[0]) / SCALE
        if height >= SMALLEST and shown > 0.6 * whole and bulb[2] > bulb[0] and bulb[3] > bulb[1]:
            yield Label(seen.tag, box, bulb)

    def _pixels(self, corners: Corners) -> tuple[int, int, int, int]:
        """Whole image pixels around corners on the canvas, cut to the image."""
        width, height = self.size
        xmin, ymin, xmax, ymax = (value / SCALE for value in corners)
        return (
            max(math.floor(xmin), 0),
            max(math.floor(ymin), 0),
            min(math.ceil(xmax), width),
            min(math.ceil(ymax), height),
        )

    def _expose(self, picture: PillowImage) -> PillowImage:
        """What lens and sensor make of the scene: blur, shading, exposure, noise."""
        picture = picture.reduce(SCALE).filter(ImageFilter.GaussianBlur(self.blur))
        picture = ImageChops.multiply(picture, self.vignette).point(self.curve)
        dx, dy = self.noise.integers(0, 40, 2)
        width, height = self.size
        noisy = np.asarray(picture) + self.bank[dy : dy + height, dx : dx + width]
        return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8), "RGB")
