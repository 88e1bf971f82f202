"""tfvision's worker with the real Model Garden: trains, goes on, starts anew, detects, exports."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlx.dataset import Dataset
from tlx.errors import TlxError, UsageError
from tlx_backends.tensorflow.worker.garden.models import MODELS

Events = list[dict[str, Any]]
Drive = Callable[..., Events]
MODEL = {"backend": "tfvision", "model": "retinanet_mobilenet_v2_fpn"}


def of(events: Events, kind: str) -> Events:
    return [event for event in events if event["ev"] == kind]


def test_a_run_from_the_first_step_to_another_one(
    train_job: Callable[..., dict[str, Any]], run_worker: Drive, tmp_path: Path
) -> None:
    job = train_job(**MODEL, steps=4, steps_to_score=2)
    events = run_worker(job)
    assert [e["step"] for e in of(events, "validated")] == [0, 2, 4]
    (restored,) = of(events, "restored")
    assert {row["part"] for row in restored["rows"]} == {
        "backbone", "neck", "tower", "boxes", "classes",
    }  # fmt: skip
    assert all(row["restored"] == row["moved"] == 0 < row["new"] for row in restored["rows"])
    assert all(math.isfinite(e["loss"]) for e in of(events, "step"))
    run = Path(job["run"])
    assert (run / "params.yaml").is_file()
    assert list((run / "tensorboard").iterdir())
    pointer = json.loads((run / "checkpoints" / "last.json").read_text())
    assert (pointer["step"], pointer["backend"]) == (4, "tfvision")

    images = job["validation"]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    asked = {"kind": "predict", "backend": "tfvision", "device": "cpu", "threads": 1,
             "checkpoint": str(run / "checkpoints" / "last.json"), "batch_size": 4,
             "images": [images[0], str(broken), *images[1:3]]}  # fmt: skip
    found = run_worker(asked)
    assert [e["image"] for e in of(found, "detections")] == [0, 2, 3]
    assert [e["image"] for e in of(found, "unreadable")] == [1]
    for event in of(found, "detections"):
        for xmin, ymin, xmax, ymax in event["boxes"]:
            assert 0 <= xmin < xmax <= 96
            assert 0 <= ymin < ymax <= 64
        assert set(event["classes"]) <= {0, 1}
        assert event["scores"] == sorted(event["scores"], reverse=True)

    dest = tmp_path / "model"
    dest.mkdir()
    exported = {**asked, "kind": "export", "to": "savedmodel", "dest": str(dest), "images": images}
    (done,) = of(run_worker(exported), "done")
    assert done["result"]["parity"]["missed"] == 0
    assert done["result"]["parity"]["compared"] > 0
    assert (dest / "saved_model" / "saved_model.pb").is_file()
    of_file = {**asked, "exported": {"form": "savedmodel", "folder": str(dest)}}
    del of_file["checkpoint"]
    again_found = run_worker(of_file)
    assert [e["image"] for e in of(again_found, "unreadable")] == [1]
    for ours, theirs in zip(of(found, "detections"), of(again_found, "detections"), strict=True):
        assert ours["image"] == theirs["image"]
        assert ours["scores"][:10] == pytest.approx(theirs["scores"][:10], abs=1e-4)
    with pytest.raises(UsageError, match="tfvision exports savedmodel, not tflite"):
        run_worker({**exported, "to": "tflite"})

    weights = {"prefix": str(run / "checkpoints" / pointer["prefix"]), "name": "the first run",
               "classes": ["stop", "go"]}  # fmt: skip
    again = train_job("again", **MODEL, steps=1, steps_to_score=1, weights=weights,
                      classes=["halt", "go"], warm_start={"halt": "stop"})  # fmt: skip
    again["settings"]["restore"] = "all"
    (restored,) = of(run_worker(again), "restored")
    assert restored["source"] == "the first run"
    assert all(row["new"] == 0 for row in restored["rows"])
    assert restored["classes"] == [{"class": "halt", "from": "stop"}, {"class": "go", "from": "go"}]

    other = train_job("other", **{**MODEL, "model": "retinanet_resnet50_fpn"}, weights=weights)
    del other["settings"]["depth_multiplier"]
    with pytest.raises(UsageError, match=r"the first run is of another network: \d+ of its back"):
        run_worker(other)


def test_a_stopped_training_ends_like_an_unbroken_one(
    train_job: Callable[..., dict[str, Any]], run_worker: Drive
) -> None:
    whole = train_job("whole", **MODEL, steps=5, steps_to_score=5)
    unbroken = run_worker(whole)
    parts = train_job("parts", **MODEL, steps=5, steps_to_score=5)
    first = run_worker(parts, until=lambda event: event["ev"] == "step")
    (cancelled,) = of(first, "cancelled")
    last = json.loads((Path(parts["run"]) / "checkpoints" / "last.json").read_text())
    assert last["step"] == cancelled["step"] >= 1
    resume = {
        "prefix": str(Path(parts["run"]) / "checkpoints" / last["prefix"]),
        "step": last["step"],
        "state": last["state"],
    }
    second = run_worker({**parts, "resume": resume})
    assert of(second, "done")[0]["result"]["step"] == 5
    losses = [of(events, "step")[-1]["loss"] for events in (unbroken, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_what_cannot_be_is_said(
    train_job: Callable[..., dict[str, Any]], run_worker: Drive, lamps: tuple[Dataset, Path]
) -> None:
    with pytest.raises(UsageError, match="did you mean retinanet_resnet50_fpn"):
        run_worker(train_job(**{**MODEL, "model": "retinanet_resnet50"}))
    with pytest.raises(UsageError, match="needs a multiple of 32; use 64 or 96"):
        run_worker(train_job(**MODEL, size=[70, 70]))
    records = {"prefix": str(lamps[1] / "train.record"), "name": "records"}
    with pytest.raises(TlxError, match="is no checkpoint of TensorFlow"):
        run_worker(train_job(**MODEL, weights=records))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_every_network_builds_learns_and_detects(
    model: Any, train_job: Callable[..., dict[str, Any]], run_worker: Drive
) -> None:
    job = train_job(backend="tfvision", model=model.name, size=[model.multiple] * 2, settings={},
                    batch_size=2, steps=1, steps_to_score=1)  # fmt: skip
    events = run_worker(job)
    (built,) = of(events, "model")
    assert built["parameters"] == pytest.approx(model.parameters * 1e6, rel=0.03)
    (step,) = of(events, "step")
    assert math.isfinite(step["loss"])
    assert step["loss"] > 0
    assert [e["step"] for e in of(events, "validated")] == [0, 1]
    assert {e["image"] for e in of(events, "detections")} == set(range(6))
