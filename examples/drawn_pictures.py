"""Small labelled pictures for the notebooks, drawn on the spot: fruit on a table, traffic lights.

Each function writes what one tool of the field leaves on the disk, so that the notebooks start
where a user starts. Nothing is downloaded, and another seed draws other pictures.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from tlx.video import VideoWriter

SIZE = (160, 120)
CLASSES = ("apple", "lemon")

Box = tuple[int, int, int, int]
"""xmin, ymin, xmax, ymax in pixels, half open."""


def _table(dice: random.Random) -> Image.Image:
    """A wooden table with some things on it that are no fruit."""
    shade = dice.randrange(90, 150)
    picture = Image.new("RGB", SIZE, (shade + 30, shade, shade - 40))
    pen = ImageDraw.Draw(picture)
    for _ in range(40):
        y = dice.randrange(SIZE[1])
        grain = shade + dice.randrange(-18, 18)
        pen.line((0, y, SIZE[0], y + dice.randrange(-3, 4)), (grain + 28, grain, grain - 42))
    for _ in range(3):
        x, y = dice.randrange(SIZE[0]), dice.randrange(SIZE[1])
        color = dice.choice(((60, 70, 150), (225, 225, 220), (60, 110, 70), (150, 40, 40)))
        pen.rectangle((x, y, x + dice.randrange(8, 40), y + dice.randrange(4, 12)), fill=color)
    return picture


def _draw_fruit(picture: Image.Image, name: str, x: int, y: int, size: int) -> Box:
    """Draw one fruit with its corner at x, y; returns the box that an annotator would draw."""
    pen = ImageDraw.Draw(picture)
    high = size if name == "apple" else round(size * 0.75)
    skin = (190, 35, 30) if name == "apple" else (225, 205, 50)
    pen.ellipse((x + 3, y + 4, x + size + 2, y + high + 3), fill=(45, 32, 22))
    pen.ellipse((x, y, x + size - 1, y + high - 1), fill=skin)
    light = tuple(min(255, value + 60) for value in skin)
    pen.ellipse((x + size // 5, y + high // 6, x + size // 2, y + high // 2), fill=light)
    if name == "apple":
        pen.line((x + size // 2, y + 4, x + size // 2 + 2, y), fill=(60, 40, 20), width=2)
    else:
        pen.ellipse((x + size - 4, y + high // 2 - 2, x + size - 1, y + high // 2 + 2), fill=light)
    return x, y, x + size, y + high


def scenes(count: int, seed: int = 0) -> Iterable[tuple[Image.Image, list[tuple[str, Box]]]]:
    """Pictures with their labels; one in five shows no fruit."""
    for number in range(count):
        dice = random.Random(f"{seed}/{number}")  # noqa: S311 - pictures, not secrets
        picture, labels = _table(dice), []
        for place in range(0 if number % 5 == 4 else dice.randrange(1, 4)):
            size = dice.randrange(22, 40)
            x = min(place * 54 + dice.randrange(0, 16), SIZE[0] - size)
            name = dice.choice(CLASSES)
            box = _draw_fruit(picture, name, x, dice.randrange(2, SIZE[1] - size), size)
            labels.append((name, box))
        yield picture.filter(ImageFilter.GaussianBlur(0.6)), labels


def write_lisa(folder: Path, clips: int = 6, frames: int = 8, seed: int = 0) -> None:
    """Clips of traffic lights that come nearer, in the layout of the extracted LISA archive."""
    header = (
        "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
        "Lower right corner Y;Origin file;Origin frame number;Origin track;"
        "Origin track frame number"
    )
    for clip in range(1, clips + 1):
        name = f"dayClip{clip}"
        dice = random.Random(f"{seed}/{name}")  # noqa: S311 - pictures, not secrets
        ground = ImageEnhance.Color(_table(dice).filter(ImageFilter.GaussianBlur(2))).enhance(0.3)
        states = [dice.choice(("go", "warning", "stop")) for _ in range(2)]
        rows = []
        for frame in range(frames):
            file = f"{name}--{frame:05d}.jpg"
            picture = ground.copy()
            wide = 9 + frame
            _draw_light(picture, "off", 130 - wide, 70 - 2 * wide, wide)
            for place, state in enumerate(states):
                box = _draw_light(picture, state, 14 + 54 * place - frame, 8, wide)
                corners = ";".join(map(str, box))
                video = f"dayTraining/{name}/{name}.mp4"
                rows.append(
                    f"dayTraining/{file};{state};{corners};{video};{frame};{video};{frame}\n"
                )
            pictures = folder / "dayTrain" / "dayTrain" / name / "frames"
            pictures.mkdir(parents=True, exist_ok=True)
            picture.filter(ImageFilter.GaussianBlur(0.6)).save(pictures / file, quality=92)
        labels = folder / "Annotations" / "Annotations" / "dayTrain" / name
        labels.mkdir(parents=True)
        (labels / "frameAnnotationsBOX.csv").write_text(f"{header}\n{''.join(rows)}")


def _draw_light(picture: Image.Image, state: str, x: int, y: int, wide: int) -> Box:
    """Draw a light with its corner at x, y; one that is off is what a detector must not report."""
    pen = ImageDraw.Draw(picture)
    pen.rectangle((x, y, x + wide - 1, y + 3 * wide - 1), fill=(25, 27, 27))
    lit = {"stop": (255, 60, 40), "warning": (255, 200, 40), "go": (60, 255, 150)}
    for lamp, name in enumerate(lit):
        top = y + lamp * wide
        color = lit[name] if name == state else (48, 48, 46)
        pen.ellipse((x + 1, top + 1, x + wide - 2, top + wide - 2), fill=color)
    return x, y, x + wide, y + 3 * wide


def write_labelimg(folder: Path, count: int, seed: int = 0) -> None:
    """Pictures with one XML file each, as labelImg saves them."""
    for number, (picture, labels) in enumerate(scenes(count, seed)):
        name = _save(picture, folder, number)
        objects = "".join(
            f"<object><name>{thing}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for thing, (x0, y0, x1, y1) in labels
        )
        (folder / name).with_suffix(".xml").write_text(
            f"<annotation><folder>{folder.name}</folder><filename>{name}</filename>"
            f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
            f"<segmented>0</segmented>{objects}</annotation>"
        )


def write_labelbox(folder: Path, count: int, seed: int = 0) -> None:
    """Pictures below ``images``, and ``export.ndjson`` as Labelbox exports it today."""
    rows = []
    for number, (picture, labels) in enumerate(scenes(count, seed)):
        name = _save(picture, folder / "images", number)
        objects = [
            {
                "feature_id": f"feature-{number}-{place}",
                "name": thing,
                "annotation_kind": "ImageBoundingBox",
                "classifications": [],
                "bounding_box": {"top": y0, "left": x0, "height": y1 - y0, "width": x1 - x0},
            }
            for place, (thing, (x0, y0, x1, y1)) in enumerate(labels)
        ]
        label = {
            "label_kind": "Default",
            "version": "1.0.0",
            "id": f"label-{number}",
            "annotations": {"objects": objects, "classifications": [], "relationships": []},
        }
        rows.append(
            {
                "data_row": {
                    "id": f"row-{number}",
                    "external_id": name,
                    "row_data": f"https://example.com/{name}",
                },
                "media_attributes": _size() | {"mime_type": "image/jpeg"},
                "projects": {"project-1": {"name": "fruit", "labels": [label]}},
            }
        )
    (folder / "export.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_coco(folder: Path, count: int, seed: int = 0) -> None:
    """Pictures below ``images``, and ``annotations.json`` in COCO's format."""
    images, annotations = [], []
    for number, (picture, labels) in enumerate(scenes(count, seed)):
        name = _save(picture, folder / "images", number)
        images.append({"id": number + 1, "file_name": name} | _size())
        for thing, (x0, y0, x1, y1) in labels:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": CLASSES.index(thing) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    value = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(value))


def write_video(path: Path, frames: int = 30, seed: int = 0) -> None:
    """A video of ten frames per second in which fruit rolls over the table."""
    dice = random.Random(f"{seed}/video")  # noqa: S311 - pictures, not secrets
    table = _table(dice)
    rolling: Sequence[tuple[str, int, float]] = (("apple", 20, 3.5), ("lemon", 75, 2.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 10.0, SIZE) as video:
        for frame in range(frames):
            picture = table.copy()
            for name, y, speed in rolling:
                _draw_fruit(picture, name, round(frame * speed) % (SIZE[0] - 34), y, 32)
            video.write(picture.filter(ImageFilter.GaussianBlur(0.6)))


def _save(picture: Image.Image, folder: Path, number: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"fruit-{number:03}.jpg"
    picture.save(folder / name, quality=92)
    return name


def _size() -> dict[str, int]:
    return {"width": SIZE[0], "height": SIZE[1]}
