"""Whole trainings of the tiny detector on a tiny drive."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tlx.api import TrainRequest
from tlx.errors import DataError, MissingExtra, TlxError, UsageError
from tlx.model import Box, Category, Object, Taxonomy
from tlx.model import replace as changed
from tlx_backends.torch_detection import checkpoints, loading, networks
from tlx_backends.torch_detection.backend import TorchBackend

TINY = "fcos_shufflenet_v2_x0_5_fpn"
SMALL = {"shorter_side": 64, "threads": 1, "tensorboard": False}


def request(dataset, run: Path, **changes) -> TrainRequest:
    run.mkdir(parents=True, exist_ok=True)
    options = {**SMALL, **changes.pop("options", {})}
    defaults = {"model": TINY, "epochs": 2, "batch_size": 4}
    return TrainRequest(
        dataset=str(dataset.path), run=str(run), options=options, **{**defaults, **changes}
    )


def train(wanted: TrainRequest, log):
    return TorchBackend().train(wanted, log.context)


def weights(result) -> str:
    model, _ = checkpoints.network(checkpoints.load(Path(result.last)), Path(result.last))
    return networks.state_sha256(model)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, new_scene, new_log):
    """A detector that has learned lamps: dataset, run, result and log."""
    folder = tmp_path_factory.mktemp("learned")
    dataset = new_scene(folder).dataset(splits={"train": 32, "val": 8})
    log = new_log()
    result = train(request(dataset, folder / "run", epochs=10), log)
    return dataset, folder / "run", result, log


def test_it_learns(learned):
    _, _, result, log = learned
    epochs = log.of("epoch")
    assert [e["epoch"] for e in epochs] == list(range(11))
    before, after = epochs[0]["metrics"]["ap50"], result.metrics["ap50"]
    assert before < 0.05
    assert after > 0.6
    assert epochs[-1]["loss"] < 0.7 * epochs[1]["loss"]
    best = max(epochs, key=lambda e: e["metrics"]["ap"])
    assert result.best_epoch == best["epoch"]
    assert result.metrics == best["metrics"]


def test_events_say_what_happened(learned):
    _, run, result, log = learned
    kinds = [event["kind"] for event in log.events]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert len(log.of("step")) >= 10
    assert {"loss", "losses", "learning_rate", "images_per_second"} <= log.of("step")[0].keys()
    assert log.of("checkpoint")[-1]["path"] == str(run / "checkpoints" / "last.pt")
    assert Path(result.best).is_file()
    (restored,) = log.of("restored")
    assert sum(row["restored"] for row in restored["rows"]) == 0
    (augmentation,) = log.of("augmentation")
    assert augmentation["hue"] == 0.0


def test_an_earlier_run_starts_a_new_one_and_step_zero_counts(learned, tmp_path, log):
    dataset, run, result, _ = learned
    # A rate that destroys: the start must stay the best.
    wanted = request(dataset, tmp_path / "run", epochs=1, weights=str(run), learning_rate=0.5)
    again = train(wanted, log)
    assert again.best_epoch == 0
    assert again.metrics == pytest.approx(result.metrics)
    best, _ = checkpoints.network(checkpoints.load(Path(again.best)), Path(again.best))
    old, _ = checkpoints.network(checkpoints.load(Path(result.best)), Path(result.best))
    assert networks.state_sha256(best) == networks.state_sha256(old)
    source = checkpoints.load(Path(again.last))["source"]
    (event,) = log.of("restored")
    assert event["sha256"] == source["sha256"]
    assert len(source["sha256"]) == 64
    assert [c["from"] for c in event["classes"]] == ["stop", "go"]


def test_an_unknown_class_in_a_warm_start(learned, tmp_path, log):
    dataset, run, *_ = learned
    wanted = request(dataset, tmp_path / "run", weights=str(run), warm_start={"stop": "stopp"})
    with pytest.raises(UsageError, match="Did you mean 'stop'"):
        train(wanted, log)


class Interrupt:
    """A context whose Ctrl-C comes in the middle of an epoch."""

    def __init__(self, log, epoch: int) -> None:
        self.context = replace(log.context, emit=self.emit)
        self.epoch = epoch

    def emit(self, event):
        if event["kind"] == "step" and event["epoch"] == self.epoch:
            raise KeyboardInterrupt


def test_resumed_weights_are_those_of_an_unbroken_training(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 10, "val": 2})
    unbroken = train(request(dataset, tmp_path / "whole", epochs=3), log)
    wanted = request(dataset, tmp_path / "cut", epochs=3)
    with pytest.raises(KeyboardInterrupt):
        train(wanted, Interrupt(log, epoch=2))
    state = checkpoints.load(tmp_path / "cut" / "checkpoints" / "last.pt")
    assert state["epoch"] == 1
    resumed = train(replace(wanted, resume=True), log)
    assert weights(resumed) == weights(unbroken)
    assert resumed.best_epoch == unbroken.best_epoch
    assert resumed.metrics == unbroken.metrics
    assert not log.of("warning")


def test_a_killed_process_is_resumed_too(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 40, "val": 2})
    unbroken = train(request(dataset, tmp_path / "whole"), log)
    wanted = request(dataset, tmp_path / "cut")
    code = (
        "import sys\nfrom tlx.api import TrainRequest\nfrom tlx.context import Context\n"
        "import msgspec\nfrom tlx_backends.torch_detection.backend import TorchBackend\n"
        "request = msgspec.json.decode(sys.stdin.read(), type=TrainRequest)\n"
        "say = lambda e: print(e['kind'], e.get('epoch'), e.get('which'), flush=True)\n"
        "TorchBackend().train(request, Context(emit=say))"
    )
    import msgspec

    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    process.stdin.write(msgspec.json.encode(wanted).decode())
    process.stdin.close()
    for line in process.stdout:
        if line.split() == ["checkpoint", "1", "last"]:
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    resumed = train(replace(wanted, resume=True), log)
    assert weights(resumed) == weights(unbroken)


def test_faster_rcnn_resumes_although_it_samples_with_torch(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 3, "val": 1})
    model = "fasterrcnn_mobilenet_v3_large_320_fpn"
    options = {"trainable_layers": 0, "precision": "float32"}
    wanted = request(dataset, tmp_path / "whole", model=model, options=options, batch_size=3)
    unbroken = train(wanted, log)
    cut = replace(wanted, run=str(tmp_path / "cut"))
    with pytest.raises(KeyboardInterrupt):
        train(cut, Interrupt(log, epoch=2))
    assert weights(train(replace(cut, resume=True), log)) == weights(unbroken)


def test_ssdlite_trains_with_a_lonely_last_image(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 5, "val": 2})
    wanted = request(
        dataset,
        tmp_path / "run",
        model="ssdlite320_mobilenet_v3_large",
        epochs=1,
        options={"shorter_side": 320},
    )
    result = train(wanted, log)
    assert log.of("step")[-1]["steps"] == 1
    assert set(result.metrics) >= {"ap", "ap50"}
    with pytest.raises(UsageError, match="needs --batch-size 2"):
        train(replace(wanted, batch_size=1), log)


def test_worker_processes_change_nothing(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 10, "val": 1})
    alone = train(request(dataset, tmp_path / "0"), log)
    helped = train(request(dataset, tmp_path / "2", workers=2), log)
    assert weights(alone) == weights(helped)


def test_resuming_says_what_changed_and_refuses_other_classes(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 4, "val": 1})
    wanted = request(dataset, tmp_path / "run", epochs=1)
    train(wanted, log)
    train(replace(wanted, resume=True, epochs=2, seed=5), log)
    assert "seed, epochs changed" in log.of("warning")[0]["message"]
    other = scene.dataset("other.tlx", classes=("go", "stop"), splits={"train": 4, "val": 1})
    with pytest.raises(UsageError, match="cannot be resumed with another model or other classes"):
        train(replace(wanted, resume=True, dataset=str(other.path)), log)


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoints(
    scene, tmp_path, log, monkeypatch
):
    dataset = scene.dataset(splits={"train": 8, "val": 1})
    run = tmp_path / "run"
    original = loading.TrainingImages.__getitem__

    def broken(self, key):
        pixels, target = original(self, key)
        if key[0] == 2:
            target["boxes"] = target["boxes"] * float("nan")
        return pixels, target

    monkeypatch.setattr(loading.TrainingImages, "__getitem__", broken)
    with pytest.raises(TlxError, match=r"epoch 2.*not a finite number") as caught:
        train(request(dataset, run, epochs=3), log)
    assert "--learning-rate" in str(caught.value)
    state = checkpoints.load(run / "checkpoints" / "last.pt")
    assert state["epoch"] == 1
    assert all(torch.isfinite(v).all() for v in state["model"].values())


def test_without_a_validation_split_the_last_is_the_best(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 4})
    result = train(request(dataset, tmp_path / "run"), log)
    assert result.best_epoch == 2
    assert "no split 'val'" in log.of("warning")[0]["message"]


def test_patience_ends_a_training(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 4, "val": 1})
    options = {"patience": 2}
    train(request(dataset, tmp_path / "run", epochs=30, learning_rate=1e-9, options=options), log)
    (end,) = log.of("end")
    assert end["epochs"] == 2
    assert end["stopped_early"]


def test_missing_and_unreadable_images(scene, tmp_path, log, new_log):
    dataset = scene.dataset(splits={"train": 8, "val": 2})
    files = sorted((dataset.media_root / "train").iterdir())
    files[0].unlink()
    files[1].unlink()
    with pytest.raises(DataError, match=r"2 of 8 images are missing, the first: .*000.png"):
        train(request(dataset, tmp_path / "run"), log)
    files[2].write_bytes(files[2].read_bytes()[:100])
    (dataset.media_root / "val" / "000.png").write_text("no picture")
    lenient = new_log("skip")
    train(request(dataset, tmp_path / "run"), lenient)
    assert lenient.issues.counts == {"missing-image": 2, "unreadable-image": 2}
    assert lenient.of("start")[0]["train_images"] == 6


def test_degenerate_boxes_are_counted_and_never_trained_on(scene, tmp_path, log):
    bad = (
        Box(10, 10, 10, 20),
        Box(20, 20, 10, 30),
        Box(200, 10, 220, 20),
        Box(float("nan"), 1, 2, 3),
    )

    def spoil(records):
        extra = tuple(Object(category="stop", box=box) for box in (*bad, None))
        wide = Object(category="go", box=Box(80, 40, 300, 200))
        crowd = Object(category="go", box=Box(0, 0, 50, 50), crowd=True)
        first, *rest = records
        return [changed(first, objects=(*first.objects, *extra, wide, crowd)), *rest]

    dataset = scene.dataset(splits={"train": 4, "val": 1}, change=spoil)
    train(request(dataset, tmp_path / "run", epochs=1), log)
    assert log.of("dropped") == [
        {
            "kind": "dropped",
            "split": "train",
            "no area": 2,
            "outside the image or too thin": 1,
            "not finite": 1,
            "no box": 1,
        }
    ]


def test_options_and_names_that_are_wrong(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 2, "val": 1})
    cases = [
        ({"options": {"trainable_layer": 1}}, "Did you mean 'trainable_layers'"),
        ({"model": "fasterrcnn_resnet50"}, "Did you mean 'fasterrcnn_resnet50_fpn'"),
        ({"train_split": "trian"}, "its splits: train, val"),
        ({"epochs": 0}, "--epochs"),
        ({"learning_rate": -1.0}, "--learning-rate"),
        ({"device": "tpu"}, "auto, cpu, cuda"),
    ]
    for changes, message in cases:
        with pytest.raises(UsageError, match=message):
            train(request(dataset, tmp_path / "run", **changes), log)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(scene, tmp_path, log):
    dataset = scene.dataset(splits={"train": 2, "val": 1})
    with pytest.raises(UsageError, match="finds no GPU here"):
        train(request(dataset, tmp_path / "run", device="cuda"), log)


def test_torch_that_does_not_load(monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(MissingExtra, match="install matching builds"):
        TorchBackend().train(TrainRequest(dataset="", run="", model=TINY), None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = TorchBackend().availability()
    assert (found.ok, found.extra) == (False, "torch")
    with pytest.raises(MissingExtra, match=r"pip install 'tlx\[torch\]'"):
        TorchBackend().train(TrainRequest(dataset="", run="", model=TINY), None)


def test_arrow_classes_are_never_mirrored_alone(scene, tmp_path, log):
    taxonomy = Taxonomy((Category(name="stop", mirrorable=False), Category(name="go")))
    dataset = scene.dataset(splits={"train": 2, "val": 1}, taxonomy=taxonomy)
    train(request(dataset, tmp_path / "run", epochs=1), log)
    (event,) = log.of("augmentation")
    assert event["flip"] is False
    assert "stop would become something else" in event["notes"][0]
