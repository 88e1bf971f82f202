"""A real worker for the tests, where there is an environment for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import tlx
from tlx.dataset import Dataset
from tlx.worker_process import Worker

ROOT = Path(__file__).parents[3]
WORKER = ROOT / "backends" / "tlx_backends" / "tensorflow" / "worker"
CLASSES = ("stop", "go")
SIZE = (96, 64)
SMALL = {"depth_multiplier": 0.35, "feature_depth": 32, "head_layers": 1}

Events = list[dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the largest networks run only where TLX_NIGHTLY asks for them."""
    if os.environ.get("TLX_NIGHTLY"):
        return
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.skip(reason="TLX_NIGHTLY is not set"))


@pytest.fixture(scope="session")
def python() -> Path:
    """An interpreter with TensorFlow and the Object Detection API."""
    named = os.environ.get("TLX_TENSORFLOW_PYTHON")
    if not named:
        pytest.skip("TLX_TENSORFLOW_PYTHON names no Python with TensorFlow")
    return Path(named)


@pytest.fixture
def run_worker(python: Path) -> Callable[..., Events]:
    """Run a job to its end; the events, with a score for every validation.

    ``until`` stops the worker at the first event for which it is true.
    """

    def drive(
        job: Mapping[str, Any],
        *,
        folder: Path = WORKER,
        score: Callable[[int], Mapping[str, Any]] = lambda step: {"best": True, "step": step},
        until: Callable[[Mapping[str, Any]], bool] = lambda event: False,
    ) -> Events:
        return list(_events(python, folder, job, score, until))

    return drive


def _events(python: Path, folder: Path, job: Mapping[str, Any],
            score: Callable[[int], Mapping[str, Any]],
            until: Callable[[Mapping[str, Any]], bool]) -> Iterator[dict[str, Any]]:  # fmt: skip
    with Worker(python, folder, job) as worker:
        for event in worker.events():
            yield dict(event)
            if event["ev"] == "validated":
                reply = {"metrics": {"ap50": 0.5}, "best": False, "stop": False, "state": {}}
                worker.send({"cmd": "score", **reply, **score(int(event["step"]))})
            if until(event):
                yield from (dict(e) for e in worker.stop())
                return


@pytest.fixture
def lamps(scene: Any, tmp_path: Path) -> tuple[Dataset, Path]:
    """A dataset of coloured lamps, and its records."""
    dataset = scene.dataset(classes=CLASSES, size=SIZE, splits={"train": 16, "val": 6})
    tlx.convert(dataset.path, "tfrecord", tmp_path / "records")
    return dataset, tmp_path / "records"


@pytest.fixture
def train_job(lamps: tuple[Dataset, Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The job of a short training of a small FPNLite."""
    dataset, records = lamps

    def make(name: str = "run", **changes: Any) -> dict[str, Any]:
        run = tmp_path / name
        run.mkdir(exist_ok=True)
        found = list(dataset.records("train"))
        boxes = [
            [o.box.xmax - o.box.xmin, o.box.ymax - o.box.ymin, *SIZE]
            for record in found
            for o in record.objects
            if o.box is not None
        ]
        job = {
            "kind": "train",
            "backend": "tfod",
            "threads": 1,
            "device": "cpu",
            "seed": 0,
            "run": str(run),
            "model": "ssd_mobilenet_v2_fpnlite",
            "size": [64, 64],
            "settings": dict(SMALL),
            "classes": list(CLASSES),
            "label_map": str(records / "label_map.pbtxt"),
            "records": {
                "train": [str(records / "train.record")],
                "val": [str(records / "val.record")],
            },
            "images": {"train": 16, "val": 6},
            "steps_per_epoch": 4,
            "steps": 6,
            "steps_to_score": 3,
            "batch_size": 4,
            "learning_rate": 0.002,
            "augmentation": {"flip": True, "brightness": 0.2},
            "statistics": {"boxes": boxes, "most_boxes": 3},
            "validation": [str(dataset.image_path(r.uri)) for r in dataset.records("val")],
            "freeze": "none",
            "norm_momentum_cap": True,
        }
        return {**job, **changes}

    return make


def of(events: Events, kind: str) -> Events:
    """The events of one kind."""
    return [event for event in events if event["ev"] == kind]
