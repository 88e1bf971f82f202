"""Drawn traffic lights with look-alikes, as COCO files.

128 px pictures on noise. A light is a dark upright box with one lit lamp. Unlit boxes and boxes
with blue or white lamps are look-alikes without a label: without them a detector of "traffic
light" learns dark boxes only and nothing about colour.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 128
STATES = ("red", "yellow", "green")
_LIT = {"red": (235, 40, 35), "yellow": (240, 190, 40), "green": (50, 220, 110)}
_OTHER = ((90, 140, 250), (240, 240, 245))
_RATIO = 0.41

Corners = tuple[int, int, int, int]


def _background(dice: random.Random, *, cluttered: bool) -> Image.Image:
    coarse = Image.new("RGB", (9, 9))
    base = [dice.randint(60, 170) for _ in range(3)]
    coarse.putdata(
        [tuple(min(255, max(0, c + dice.randint(-45, 45))) for c in base) for _ in range(81)]
    )
    image = coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    number, darkest, least, most = ((14, 24), 10, 4, 40) if cluttered else ((2, 6), 30, 6, 50)
    for _ in range(dice.randint(*number)):
        x, y = dice.randint(-20, SIDE), dice.randint(-20, SIDE)
        color = tuple(dice.randint(darkest, 220) for _ in range(3))
        right, bottom = x + dice.randint(least, most), y + dice.randint(6, most)
        draw.rectangle((x, y, right, bottom), fill=color)
    grain = Image.effect_noise((SIDE, SIDE), 40).convert("RGB")
    return Image.blend(image, grain, 0.15)


def _box(draw: ImageDraw.ImageDraw, dice: random.Random, at: Corners, lit: int | None,
         color: tuple[int, ...]) -> None:  # fmt: skip
    x, y, right, bottom = at
    shade = dice.randint(12, 45)
    draw.rectangle(at, fill=(shade, shade, shade))
    radius = (right - x) * 0.34
    for lamp in range(3):
        middle = y + (bottom - y) * (0.18 + 0.32 * lamp)
        centre = (x + right) / 2
        fill = color if lamp == lit else (shade + 25, shade + 20, shade + 15)
        draw.ellipse(
            (centre - radius, middle - radius, centre + radius, middle + radius), fill=fill
        )


def _free(dice: random.Random, taken: list[Corners], *, cluttered: bool) -> Corners | None:
    for _ in range(20):
        height = dice.randint(*((SIDE // 8, SIDE // 3) if cluttered else (SIDE // 6, SIDE // 2)))
        width = round(height * _RATIO * dice.uniform(0.9, 1.1))
        x, y = dice.randint(0, SIDE - width - 1), dice.randint(0, SIDE - height - 1)
        at = (x, y, x + width, y + height)
        if all(at[2] < t[0] or t[2] < at[0] or at[3] < t[1] or t[3] < at[1] for t in taken):
            taken.append(at)
            return at
    return None


def _picture(
    dice: random.Random, *, states: bool, cluttered: bool
) -> tuple[Image.Image, list[tuple[str, Corners]]]:
    image = _background(dice, cluttered=cluttered)
    draw = ImageDraw.Draw(image)
    taken: list[Corners] = []
    labels = []
    for _ in range(dice.randint(1, 3)):
        if at := _free(dice, taken, cluttered=cluttered):
            state = dice.choice(STATES)
            _box(draw, dice, at, STATES.index(state), _LIT[state])
            labels.append((state if states else "traffic light", at))
    for _ in range(dice.randint(0, 2)):
        if at := _free(dice, taken, cluttered=cluttered):
            lit = dice.choice((None, 0, 1, 2))
            _box(draw, dice, at, lit, dice.choice(_OTHER))
    return image, labels


def write(
    folder: Path, *, train: int, val: int, states: bool, seed: int, cluttered: bool = False
) -> Path:
    """Write ``images/`` and ``train.json``, ``val.json`` in COCO's form; returns the folder."""
    dice = random.Random(f"lights {seed}")
    names = STATES if states else ("traffic light",)
    (folder / "images").mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        images, annotations = [], []
        for index in range(count):
            picture, labels = _picture(dice, states=states, cluttered=cluttered)
            name = f"{split}-{index:04d}.png"
            picture.save(folder / "images" / name)
            images.append({"id": index, "file_name": name, "width": SIDE, "height": SIDE})
            for category, (x, y, right, bottom) in labels:
                width, height = right - x + 1, bottom - y + 1
                annotations.append({"id": len(annotations) + 1, "image_id": index, "iscrowd": 0,
                                    "category_id": names.index(category) + 1,
                                    "area": width * height,
                                    "bbox": [x, y, width, height]})  # fmt: skip
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(document))
    return folder
