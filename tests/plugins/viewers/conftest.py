"""A small drive with rendered images, and predictions with every kind of mistake."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tlx.dataset import Dataset, write_dataset
from tlx.model import (
    Box,
    Category,
    Detection,
    Label,
    Object,
    Prediction,
    Record,
    Taxonomy,
)
from tlx.predictions import write_predictions
from tlx_plugins.viewers.mongod import find_mongod

COLORS = {"stop": "#ee2222", "go": "#22cc44", "warning": "#eecc22"}
WIDTH, HEIGHT = 320, 200


@dataclass(frozen=True)
class Drive:
    """The dataset and the predictions file of the tests."""

    dataset: Dataset
    predictions: Path


@pytest.fixture(autouse=True)
def no_database_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests work on databases of their own, whatever the environment says."""
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)


@pytest.fixture(scope="session")
def mongod() -> Path:
    """The database server; tests that need it are skipped where it or FiftyOne is absent."""
    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("fiftyone is not installed")
    found = find_mongod()
    if found is None:
        pytest.skip("no mongod: neither with fiftyone nor on PATH")
    return found


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """40 frames of four clips; every tenth without a light."""
    root = tmp_path_factory.mktemp("drive")
    return make_drive(root, count=40)


def make_drive(root: Path, count: int, seed: int = 7) -> Drive:
    chance = random.Random(seed)
    records = [_record(root / "images", number, chance) for number in range(count)]
    taxonomy = Taxonomy(tuple(Category(name=n, color=c) for n, c in COLORS.items()))
    dataset = write_dataset(root / "city drive.tlx", records, taxonomy, root / "images", ())
    file = root / "predictions.parquet"
    predictions = [_prediction(record, chance) for record in records if record.split == "val"]
    write_predictions(file, predictions, {"split": "val"})
    return Drive(dataset, file)


def _record(folder: Path, number: int, chance: random.Random) -> Record:
    clip, frame = divmod(number, 10)
    uri = f"clip{clip}/frame {frame}.jpg"
    path = folder / uri
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (WIDTH, HEIGHT), (60, 70, 90))
    draw = ImageDraw.Draw(image)
    objects = []
    for track in range(0 if frame == 9 else chance.randint(1, 4)):
        height = chance.choice([9.5, 14.0, 22.0, 40.0])
        xmin, ymin = 12.0 + 75 * track, chance.uniform(10, 120)
        box = Box(xmin, ymin, xmin + height / 2, ymin + height)
        category = chance.choice(list(COLORS))
        draw.rectangle((box.xmin, box.ymin, box.xmax, box.ymax), fill=(20, 20, 20))
        objects.append(
            Object(
                category=category,
                box=box,
                track=f"t{track}",
                occluded=chance.random() < 0.2 if track else None,
                attributes={"lamps": track if track % 2 else 0.5, "eval": "own name"},
            )
        )
    image.save(path, quality=80)
    return Record(
        image_id=uri,
        uri=uri,
        width=None if number == 3 else WIDTH,
        height=None if number == 3 else HEIGHT,
        split="train" if clip == 0 else "val",
        group=f"clip{clip}",
        frame=frame,
        labels=(Label("go"), Label("stop", present=False)),
        objects=tuple(objects),
        attributes={"time": "night" if clip % 2 else "day", "exposure": 2},
    )


def _prediction(record: Record, chance: random.Random) -> Prediction:
    """Some found, some missed, some called another class, some seen where nothing is."""
    detections = []
    for thing in record.objects:
        fate = chance.random()
        if fate < 0.2 or thing.box is None:
            continue
        shift = chance.uniform(-1, 1)
        box = Box(thing.box.xmin, thing.box.ymin + shift, thing.box.xmax, thing.box.ymax + shift)
        category = chance.choice(list(COLORS)) if fate < 0.4 else thing.category
        detections.append(Detection(category, box, chance.uniform(0.1, 1)))
        if fate > 0.8:
            # Clear of an overlap of exactly one half, so that no rounding decides.
            other = Box(box.xmin + 1, box.ymin, box.xmax + 1, box.ymax)
            detections.append(Detection(category, other, chance.uniform(0.1, 1)))
    for _ in range(chance.randint(0, 2)):
        xmin, ymin = chance.uniform(0, 280), chance.uniform(140, 170)
        score = chance.uniform(0.1, 1)
        detections.append(Detection("stop", Box(xmin, ymin, xmin + 12, ymin + 24), score))
    return Prediction(record.image_id, tuple(sorted(detections, key=lambda d: -d.score)))


@dataclass
class Session:
    """A viewer that runs as a program of its own.

    Attributes:
        process: The program.
        ready: Its event when the page can be opened.
        notes: The messages before it.
        children: Process ids of the database and of FiftyOne's server.
        room: Folder of everything temporary.
    """

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    notes: list[str]
    children: set[int]
    room: Path

    def gone(self, patience: float = 8.0) -> bool:
        """Whether database and server end within the given seconds."""
        until = time.monotonic() + patience
        while any(alive(pid) for pid in self.children):
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> set[int]:
    """Process ids of the direct children, whatever thread started them."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


@contextmanager
def opened(drive: Drive, folder: Path, **options: Any) -> Iterator[Session]:
    """Run the viewer until the body ends, then end it with SIGTERM if it still runs."""
    request = json.dumps([str(drive.dataset.path), str(drive.predictions), options])
    script = Path(__file__).with_name("drive_viewer.py")
    log = folder / "viewer.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), request],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )
    try:
        assert process.stdout is not None
        notes = []
        for line in process.stdout:
            event = json.loads(line)
            if event["kind"] == "ready":
                yield Session(process, event, notes, children_of(process.pid), folder)
                return
            notes.append(event["message"])
        pytest.fail(f"the viewer did not open:\n{log.read_text()[-3000:]}")
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def open_viewer(
    mongod: Path, drive: Drive
) -> Iterator[Callable[..., AbstractContextManager[Session]]]:
    """A function that runs the viewer on the drive; its temporary files are gone afterwards."""
    del mongod
    # Not below pytest's own folder: the path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="tlx-test-") as folder:
        yield lambda **options: opened(drive, Path(folder), **options)
