"""A tiny drive with coloured lamps that a small network learns within seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlx.context import Context, Event
from tlx.dataset import Dataset, Operation, write_dataset
from tlx.issues import IssueLog
from tlx.model import Box, Category, Object, Record, Taxonomy

COLORS = {"stop": (220, 30, 30), "go": (30, 220, 60), "traffic light": (220, 30, 30)}


class Scene:
    """Writes small street-like images and the dataset of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dataset(
        self,
        name: str = "lamps.tlx",
        *,
        splits: Mapping[str, int] | None = None,
        classes: tuple[str, ...] = ("stop", "go"),
        size: tuple[int, int] = (96, 64),
        seed: int = 0,
        taxonomy: Taxonomy | None = None,
        change: Callable[[list[Record]], list[Record]] = lambda records: records,
    ) -> Dataset:
        """Images of ``size`` (width, height) with one to two lamps of 10 to 16 pixels each."""
        random = np.random.default_rng(seed)
        media = self.folder / f"{name}-images"
        media.mkdir(parents=True, exist_ok=True)
        records = []
        for split, count in (splits or {"train": 24, "val": 8}).items():
            for number in range(count):
                image_id = f"{split}/{number:03d}.png"
                record = _draw(random, media, image_id, split, classes, size)
                records.append(record)
        kinds = taxonomy or Taxonomy(tuple(Category(name=c, color_defined=True) for c in classes))
        operation = Operation(name="test", version="0")
        return write_dataset(
            self.folder / name, change(records), kinds, media, (operation,), overwrite=True
        )


def _draw(
    random: np.random.Generator,
    media: Path,
    image_id: str,
    split: str,
    classes: tuple[str, ...],
    size: tuple[int, int],
) -> Record:
    width, height = size
    pixels = random.integers(60, 110, (height, width, 3)).astype(np.uint8)
    objects: list[Object] = []
    for slot in range(int(random.integers(1, 3))):
        side = int(random.integers(10, 17))
        left = slot * (width // 2) + int(random.integers(0, width // 2 - side))
        top = int(random.integers(0, height - side))
        category = classes[int(random.integers(len(classes)))]
        pixels[top : top + side, left : left + side] = 20
        pixels[top + 2 : top + side - 2, left + 2 : left + side - 2] = COLORS.get(
            category, (200, 200, 30)
        )
        objects.append(Object(category=category, box=Box(left, top, left + side, top + side)))
    file = media / image_id
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(file)
    return Record(
        image_id=image_id,
        uri=image_id,
        width=width,
        height=height,
        split=split,
        objects=tuple(objects),
    )


class Log:
    """A context that keeps its events."""

    def __init__(self, policy: Any = "fail") -> None:
        self.events: list[Event] = []
        self.issues = IssueLog(policy)
        self.context = Context(issues=self.issues, emit=self.events.append)

    def of(self, kind: str) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.events if event["kind"] == kind]


@pytest.fixture(scope="session")
def new_scene() -> type[Scene]:
    """Makes scenes in any folder."""
    return Scene


@pytest.fixture(scope="session")
def new_log() -> type[Log]:
    """Makes logs with any policy."""
    return Log


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def log() -> Log:
    return Log()
