"""Tiny and nasty datasets that the kit lets formats write."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from tlx.dataset import Dataset
from tlx.file_names import output_name
from tlx.model import (
    AttributeValue,
    Box,
    Keypoint,
    Label,
    Object,
    Record,
    Segmentation,
    Shape,
    Taxonomy,
)
from tlx.testing.trial import store

WIDTH, HEIGHT = 64, 48

IMAGES = (
    "drive 1/front/0001.png",
    "drive 1/left/0001.png",
    "drive 2/bild ä's.jpg",
    "drive 2/nothing here.png",
)
"""The same name in two folders, blanks, an apostrophe, a letter beyond ASCII; the last is of an
image without objects."""

_MASK = b"24[1NRm2"
"""Of 48 x 64 pixels, the third to sixth of the first column and two of the second, as COCO's own
encoder (``pycocotools.mask``) writes it."""


def draw(media: Path, names: Iterable[str], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Make images of ``size`` (width, height) that differ from each other."""
    from PIL import Image

    for name in names:
        dice = random.Random(name)  # noqa: S311 - the same picture each time
        pixels = dice.randbytes(12)
        image = Image.frombytes("RGB", (2, 2), pixels).resize(size)
        path = media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, "JPEG" if name.endswith(".jpg") else "PNG")


def _made(room: Path, records: list[Record], taxonomy: Taxonomy | Iterable[str]) -> Dataset:
    media = room / "media"
    draw(media, (record.uri for record in records))
    return store(room / "sample.tlx", records, taxonomy, media)


def plain_sample(classes: Sequence[str], room: Path, split: str | None = None) -> Dataset:
    """Boxes and nothing else: each image but the last has two, with parts of pixels."""
    records = [
        Record(
            image_id=name,
            uri=name,
            width=WIDTH,
            height=HEIGHT,
            split=split,
            objects=()
            if number == len(IMAGES) - 1
            else (
                Object(category=classes[number % 3], box=Box(3.25, 4.5, 20.125 + number, 30.75)),
                Object(category=classes[4], box=Box(0, 0, WIDTH, HEIGHT)),
            ),
        )
        for number, name in enumerate(IMAGES)
    ]
    return _made(room, records, classes)


def bare_sample(room: Path) -> Dataset:
    """What must be stated is stated: two images with a class and a box each; sizes are not."""
    things = (Object(category="car", box=Box(1, 2, 30, 40)),)
    records = [Record(image_id=n, uri=n, objects=things) for n in ("a.png", "b.png")]
    return _made(room, records, ["car"])


BAD_BOXES = {
    "an empty box": Box(5, 5, 5, 9),
    "an inverted box": Box(30, 30, 10, 10),
    "a box that leaves the image": Box(-20, 10, 30, 90),
    "a box beside the image": Box(300, 300, 310, 310),
    "a box that is no number": Box(math.nan, 1, 2, 3),
    "an endless box": Box(0, 0, math.inf, 5),
    "no box": None,
}


def numbered_sample(room: Path, names: Sequence[str], classes: Sequence[str] = ("car",)) -> Dataset:
    """One object in each image, whose box begins at the image's number.

    Images are there only where a name can be one of a file.
    """
    media = room / "media"
    draw(media, [n for n in names if n == output_name(n) and len(n) < 200])
    records = [
        Record(
            image_id=name,
            uri=name,
            width=WIDTH,
            height=HEIGHT,
            objects=(
                Object(
                    category=classes[number % len(classes)], box=Box(number, 2, number + 20, 30)
                ),
            ),
        )
        for number, name in enumerate(names)
    ]
    return store(room / "sample.tlx", records, classes, media)


def large_sample(room: Path, images: int = 240, boxes: int = 40) -> Dataset:
    """Many images with many boxes each, in parts of 16 images."""
    from tlx.schema import chunked, records_to_batch

    names = [f"{number:04d}.png" for number in range(images)]
    things = tuple(
        Object(category="car", box=Box(n % 8 * 7.5, n // 8 * 9.25, n % 8 * 7.5 + 6, 47.5))
        for n in range(boxes)
    )
    media = room / "media"
    draw(media, names[:1])
    for name in names[1:]:
        (media / name).symlink_to(media / names[0])
    records = (Record(image_id=n, uri=n, width=WIDTH, height=HEIGHT, objects=things) for n in names)
    batches = (records_to_batch(part) for part in chunked(records, 16))
    return store(room / "sample.tlx", batches, ["car"], media)


def full_sample(classes: Sequence[str], room: Path) -> Dataset:
    """Every field of the schema is stated at least once."""
    polygons = ((10.25, 8.0, 50.5, 8.0, 50.5, 40.75), (1.0, 1.0, 6.5, 1.0, 6.5, 7.0, 1.0, 7.0))
    attributes: dict[str, AttributeValue] = {
        "weather": 'rain, "heavy" & <cold> äöü',
        "number": 7,
        "gain": 0.1,
        "wet": True,
    }
    points = tuple(Keypoint(5.5 + n, 6.25 + n, n % 3, f"point {n}") for n in (0, 1, 2))
    things = (
        Object(
            category=classes[0],
            box=Box(3.25, 4.5, 20.125, 30.75),
            object_id="17",
            track="t 1",
            difficult=True,
            truncated=False,
            occluded=True,
            attributes=attributes,
        ),
        Object(
            category=classes[1],
            box=Box(1.0, 1.0, 50.5, 40.75),
            object_id="18",
            segmentation=Segmentation(polygons=polygons),
            difficult=False,
            truncated=True,
            occluded=False,
        ),
        Object(
            category=classes[2],
            box=Box(1 / 3, 2 / 3, 2.0, 4.0),
            object_id="19",
            segmentation=Segmentation(counts=_MASK, size=(HEIGHT, WIDTH), compressed=True),
            crowd=True,
        ),
        Object(category=classes[4], box=Box(20, 10, 40, 20), object_id="20", rotation=12.5),
        Object(
            category=classes[4],
            box=Box(10, 5, 40, 45),
            object_id="21",
            shape=Shape("polyline", (10.0, 5.0, 40.0, 45.0)),
        ),
        Object(category=classes[6], box=Box(4, 5, 30, 31), object_id="22", keypoints=points),
    )
    records = [
        Record(
            image_id=IMAGES[0],
            uri=IMAGES[0],
            width=WIDTH,
            height=HEIGHT,
            split="train",
            group="drive 1",
            frame=3,
            labels=(Label(classes[4]), Label(classes[5], False), Label(classes[6], None)),
            objects=things,
            attributes=attributes,
        ),
        Record(
            image_id=IMAGES[1],
            uri=IMAGES[1],
            width=WIDTH,
            height=HEIGHT,
            split="val",
            group="drive 1",
            frame=4,
            objects=(Object(category=classes[2], box=Box(1.1, 2.2, 33.3, 44.4), object_id="23"),),
        ),
        Record(image_id=IMAGES[3], uri=IMAGES[3], width=WIDTH, height=HEIGHT, split="val"),
    ]
    return _made(room, records, classes)


def training_sample(room: Path) -> Dataset:
    """Four images to learn from and two to validate on: a bright square on grey is a lamp."""
    from PIL import Image, ImageDraw

    records = []
    for number in range(6):
        name = f"{number}.png"
        image = Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90))
        left, top = 6 + 7 * number, 4 + 4 * number
        ImageDraw.Draw(image).rectangle((left, top, left + 15, top + 15), (230, 40, 40))
        (room / "media").mkdir(parents=True, exist_ok=True)
        image.save(room / "media" / name)
        box = Box(left, top, left + 16, top + 16)
        records.append(
            Record(
                image_id=name,
                uri=name,
                width=WIDTH,
                height=HEIGHT,
                split="train" if number < 4 else "val",
                objects=(Object(category="lamp", box=box),),
            )
        )
    return store(room / "sample.tlx", records, ["lamp", "never seen"], room / "media")
