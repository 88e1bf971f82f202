"""What a training in the worker leaves behind, and how it ends."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlx.dataset import Dataset
from tlx.errors import DataError, TlxError, UsageError

Job = dict[str, Any]
Events = list[dict[str, Any]]
Make = Callable[..., Job]
Drive = Callable[..., Events]

JUDGE = Path(__file__).parent / "weights_judge"


def of(events: Events, kind: str) -> Events:
    return [event for event in events if event["ev"] == kind]


def pointer(job: Job, name: str = "last") -> Path:
    return Path(job["run"]) / "checkpoints" / f"{name}.json"


def test_a_training_scores_saves_and_is_read_by_everything(
    run_worker: Drive, train_job: Make, lamps: tuple[Dataset, Path], tmp_path: Path
) -> None:
    job = train_job()
    events = run_worker(job, score=lambda step: {"best": step == 3, "state": {"at": step}})
    assert [e["step"] for e in of(events, "validated")] == [0, 3, 6]
    steps = [e["step"] for e in of(events, "step")]
    assert steps[0] == 1
    assert steps[-1] == 6
    assert all(math.isfinite(e["loss"]) and e["loss"] > 0 for e in of(events, "step"))
    rows = of(events, "restored")[0]["rows"]
    assert {row["part"] for row in rows} == {"backbone", "neck", "tower", "boxes", "classes"}
    assert all(row["restored"] == 0 < row["new"] for row in rows)
    best, last = (json.loads(pointer(job, name).read_text()) for name in ("best", "last"))
    assert (best["step"], last["step"], last["state"]) == (3, 6, {"at": 6})
    folder = pointer(job).parent
    kept = sorted(p.name for p in folder.iterdir())
    assert kept == ["best.json", "last.json", "step-00000003", "step-00000006"]
    assert list((Path(job["run"]) / "tensorboard").glob("events*"))

    judged = run_worker(
        {"kind": "evaluate", "checkpoint": str(pointer(job)), "records": job["records"]["val"]}
    )
    compare_with_tlx(judged, lamps[0])

    predicted = run_worker(
        {"kind": "predict", "checkpoint": str(pointer(job)), "batch_size": 4,
         "images": [*job["validation"], str(tmp_path / "none.png")], "score_threshold": 0.01}
    )  # fmt: skip
    found = of(predicted, "detections")
    assert [e["image"] for e in found] == list(range(6))
    assert [e["image"] for e in of(predicted, "unreadable")] == [6]
    assert all(0 <= x <= 96 for e in found for b in e["boxes"] for x in b[::2])
    for mine, theirs in zip(found, of(judged, "detections"), strict=True):
        kept_scores = [s for s in theirs["scores"] if s >= 0.01]
        assert mine["scores"] == pytest.approx(kept_scores[: len(mine["scores"])], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("savedmodel", "saved_model"),
        ("frozen-graph", "frozen_inference_graph.pb"),
        ("tflite", "model.tflite"),
    ],
)
def test_an_exported_network_finds_the_same(
    run_worker: Drive, train_job: Make, tmp_path: Path, form: str, name: str
) -> None:
    job = train_job(steps=2, steps_to_score=2)
    run_worker(job)
    dest = tmp_path / form
    dest.mkdir()
    exported = run_worker(
        {"kind": "export", "checkpoint": str(pointer(job)), "to": form, "dest": str(dest),
         "images": job["validation"][:2]}
    )  # fmt: skip
    result = exported[-1]["result"]
    assert name in result["files"]
    assert all((dest / file).exists() for file in result["files"])
    assert result["parity"]["compared"] == 20
    assert result["parity"]["missed"] == 0


def compare_with_tlx(events: Events, dataset: Dataset) -> None:
    """tlx's evaluator and the API's agree on one set of detections."""
    from tlx.context import Context
    from tlx.samples import load_samples
    from tlx.validation import validation_scores
    from tlx_backends.tensorflow.prediction import found_boxes

    samples = load_samples(dataset, "val", Context())
    found = {e["image"]: found_boxes(e) for e in of(events, "detections")}
    ours = validation_scores(samples.items, found, 2)
    theirs = events[-1]["result"]["metrics"]
    assert ours["ap"] == pytest.approx(theirs["DetectionBoxes_Precision/mAP"], abs=1e-3)
    assert ours["ap50"] == pytest.approx(theirs["DetectionBoxes_Precision/mAP@.50IOU"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size", "proposals"),
    # The second chooses by chance which of 1,728 anchors and of 128 proposals it learns from.
    [("ssd_mobilenet_v2_fpnlite", 64, None), ("faster_rcnn_resnet50_v1", 192, 128)],
)
def test_a_training_that_was_broken_off_ends_with_the_same_weights(
    run_worker: Drive, train_job: Make, model: str, size: int, proposals: int | None
) -> None:
    changes = {"model": model, "size": [size, size], "steps": 10, "steps_to_score": 5,
               "augmentation": {"flip": True, "scale_jitter": 0.3}}  # fmt: skip
    whole, broken = (train_job(name, **changes) for name in ("whole", "broken"))
    for job in (whole, broken):
        job["settings"] = {**job["settings"], "proposals": proposals}
    run_worker(whole)
    # In the second or third pass over the records, which has four steps.
    events = run_worker(broken, until=lambda e: e["ev"] == "validated" and e["step"] == 5)
    kept = json.loads(pointer(broken).read_text())
    assert 5 <= kept["step"] < 10
    assert of(events, "checkpoint")[-1]["step"] == kept["step"]
    prefix = str(pointer(broken).parent / kept["prefix"])
    resume = {"prefix": prefix, "step": kept["step"], "state": {}}
    run_worker({**broken, "resume": resume})
    prefixes = [str(pointer(j).parent / json.loads(pointer(j).read_text())["prefix"])
                for j in (whole, broken)]  # fmt: skip
    judged = run_worker({"prefixes": prefixes}, folder=JUDGE)
    (compared,) = of(judged, "compared")
    assert compared["variables"] > 100
    assert compared["different"] == []


@pytest.mark.slow
def test_a_frozen_backbone_does_not_move_and_other_classes_start_from_it(
    run_worker: Drive, train_job: Make
) -> None:
    first = train_job("first", steps=2, steps_to_score=2, classes=["lamp"])
    first["label_map"] = str(Path(first["run"]) / "label_map.pbtxt")
    Path(first["label_map"]).write_text('item { id: 1 name: "stop" }\n')
    run_worker(first)
    kept = json.loads(pointer(first).read_text())
    weights = {"prefix": str(pointer(first).parent / kept["prefix"]), "origin": "run",
               "name": "first", "sha256": None, "classes": ["lamp"], "model": first["model"],
               "config": str(Path(first["run"]) / "pipeline.config")}  # fmt: skip
    second = train_job("second", steps=2, steps_to_score=2, weights=weights, freeze="backbone")
    events = run_worker(second)
    rows = {row["part"]: row for row in of(events, "restored")[0]["rows"]}
    assert rows["backbone"]["new"] == rows["neck"]["new"] == 0
    assert rows["classes"]["restored"] == 0 < rows["classes"]["new"]
    prefixes = [str(pointer(j).parent / json.loads(pointer(j).read_text())["prefix"])
                for j in (first, second)]  # fmt: skip
    (compared,) = of(run_worker({"prefixes": prefixes}, folder=JUDGE), "compared")
    assert not [name for name in compared["different"] if "classification_backbone" in name]
    assert [name for name in compared["different"] if "_fpn_features" in name]

    moved = train_job("moved", steps=1, steps_to_score=1, weights=weights,
                      warm_start={"stop": "lamp", "go": "lamp"})  # fmt: skip
    moved["settings"] = {**moved["settings"], "restore": "all"}
    found = of(run_worker(moved), "restored")[0]
    rows = {row["part"]: row for row in found["rows"]}
    assert rows["classes"]["new"] == rows["boxes"]["new"] == 0 < rows["classes"]["moved"]
    assert [c["from"] for c in found["classes"]] == ["lamp", "lamp"]

    wider = train_job("wider", weights={**weights, "config": None})
    wider["settings"] = {**wider["settings"], "depth_multiplier": 1.0}
    with pytest.raises(UsageError, match="of another network"):
        run_worker(wider)
    other = train_job("other", weights=weights, model="centernet_mobilenet_v2_fpn")
    with pytest.raises(UsageError, match="which is not centernet_mobilenet_v2_fpn"):
        run_worker(other)


@pytest.mark.slow
def test_two_copies_share_a_batch(run_worker: Drive, train_job: Make) -> None:
    job = train_job(steps=2, steps_to_score=2, mirrored=True)
    job["settings"] = {**job["settings"], "logical_devices": 2}
    events = run_worker(job)
    assert [e["step"] for e in of(events, "step")] == [1, 2]
    assert all(math.isfinite(e["loss"]) for e in of(events, "step"))


def test_what_is_wrong_is_said(run_worker: Drive, train_job: Make, tmp_path: Path) -> None:
    job = train_job()
    broken = tmp_path / "last.json"
    broken.write_text("{}")
    with pytest.raises(DataError, match="no checkpoint of this backend"):
        run_worker({"kind": "predict", "checkpoint": str(broken), "images": []})
    with pytest.raises(TlxError, match="no job 'dance'"):
        run_worker({"kind": "dance"})
    weights = {"prefix": str(tmp_path / "ckpt-0"), "name": "mine"}
    with pytest.raises(DataError, match="is no checkpoint"):
        run_worker({**job, "weights": weights})
