"""The backend tfod by its commands, with the real TensorFlow, where there is one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlx import environments
from tlx.dataset import Dataset
from tlx.predictions import open_predictions
from tlx.runs import Run
from tlx_backends.tensorflow.environment import TENSORFLOW

pytestmark = pytest.mark.slow

SMALL = [
    "--side",
    "96",
    "--depth-multiplier",
    "0.35",
    "--feature-depth",
    "32",
    "--head-layers",
    "1",
]
MODEL = ["--backend", "tfod", "--model", "ssd_mobilenet_v2_fpnlite"]
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from tlx.cli import main; sys.exit(main(sys.argv[1:]))",
]


@dataclass(frozen=True)
class Trained:
    """A folder with a dataset and a finished run."""

    folder: Path
    dataset: Path
    run: Path
    variables: dict[str, str]

    def tlx(self, *words: object, code: int = 0) -> str:
        """Run a command as a user would; what it printed."""
        done = subprocess.run(
            [*COMMAND, *(str(w) for w in words)],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, new_scene: Any) -> Iterator[Trained]:
    named = os.environ.get("TLX_TENSORFLOW_PYTHON")
    if not named:
        pytest.skip("TLX_TENSORFLOW_PYTHON names no Python with TensorFlow")
    folder = tmp_path_factory.mktemp("tfod")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLX_DATA_DIR", str(folder / "data"))
        environments.write_stamp(
            TENSORFLOW,
            environments.Stamp(
                python=named,
                owned=False,
                requirements="",
                versions={},
            ),
        )
        dataset: Dataset = new_scene(folder).dataset(splits={"train": 24, "val": 8, "test": 4})
        made = Trained(folder, dataset.path, folder / "run", {**os.environ, "COLUMNS": "80"})
        made.tlx("train", dataset.path, *MODEL, *SMALL, "--weights", "none", "--epochs", 2,
                 "--learning-rate", 0.003, "-o", made.run)  # fmt: skip
        yield made


def test_the_run_folder_is_as_the_other_backends(trained: Trained) -> None:
    assert {p.name for p in trained.run.iterdir()} >= {
        "request.json", "environment.json", "events.jsonl", "tensorboard", "checkpoints",
        "predictions", "thresholds.json", "result.json", "MODEL_CARD.md", "pipeline.config",
    }  # fmt: skip
    run = Run.open(trained.run)
    result = run.result()
    assert result is not None
    events = [json.loads(x) for x in (trained.run / "events.jsonl").read_text().splitlines()]
    epochs = [e for e in events if e["kind"] == "epoch"]
    assert [e["epoch"] for e in epochs] == [0, 1, 2]
    # What the training saw of the validation images is what the checkpoint predicts of them.
    from tlx.scoring import judge

    judged = judge(
        Dataset.open(trained.dataset), run.predictions_path("val"), split="val", thresholds=0.5
    )
    assert judged["ap"] == pytest.approx(result.metrics["ap"], abs=1e-6)


def test_eval_and_predict(trained: Trained) -> None:
    assert "split test: 4 images" in trained.tlx("eval", trained.run)
    images = trained.folder / "lamps.tlx-images" / "test"
    trained.tlx("predict", trained.run, images, "-o", "seen")
    found = list(open_predictions(trained.folder / "seen" / "predictions.parquet"))
    assert len(found) == 4
    told = trained.tlx("export", trained.run, "--to", "onnx", "-o", "onnx", code=2)
    assert "cannot export to 'onnx'. Known: frozen-graph, savedmodel, tflite." in told
    assert not (trained.folder / "onnx").exists()


@pytest.mark.parametrize(
    ("form", "file", "first_id", "tolerance"),
    [
        ("savedmodel", "saved_model/saved_model.pb", 1, 1e-4),
        ("frozen-graph", "frozen_inference_graph.pb", 1, 1e-4),
        ("tflite", "model.tflite", 0, 2e-3),
    ],
)
def test_predict_from_what_was_exported(
    trained: Trained, tmp_path: Path, form: str, file: str, first_id: int, tolerance: float
) -> None:
    """Within the tolerance that its own comparison has; drawn and kept by the run's thresholds."""
    saved = tmp_path / "saved"
    assert "agree with the checkpoint" in trained.tlx(
        "export", trained.run, "--to", form, "-o", saved
    )
    assert (saved / file).is_file()
    told = json.loads((saved / "tlx-model.json").read_text())
    tuned = json.loads((trained.run / "thresholds.json").read_text())
    assert [(c["name"], c["id"], c["threshold"]) for c in told["classes"]] == [
        (name, first_id + k, tuned[name]["threshold"]) for k, name in enumerate(("stop", "go"))
    ]
    data = Dataset.open(trained.dataset)
    images = [data.image_path(record.uri) for record in data.records("test")]
    # Two sizes: a batch of one form holds images of one size only.
    odd = tmp_path / "odd.png"
    with Image.open(images[0]) as picture:
        picture.resize((70, 90)).save(odd)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    given = [images[0], odd, broken, *images[1:]]
    for source, seen in ((trained.run, "of-run"), (saved, "of-file")):
        trained.tlx("predict", source, *given, "-o", tmp_path / seen, "--on-error", "skip")
    ours, theirs = (
        list(open_predictions(tmp_path / seen / "predictions.parquet"))
        for seen in ("of-run", "of-file")
    )
    assert [p.image_id for p in ours] == [p.image_id for p in theirs]
    assert len(ours) == len(images) + 1
    for prediction, other in zip(ours, theirs, strict=True):
        side = 96.0
        for one in prediction.detections[:10]:
            gaps = [
                max(
                    abs(one.score - d.score),
                    *(
                        abs(getattr(one.box, corner) - getattr(d.box, corner)) / side
                        for corner in ("xmin", "ymin", "xmax", "ymax")
                    ),
                )
                for d in other.detections
                if d.category == one.category
            ]
            assert min(gaps) <= tolerance
    drawn = len(list((tmp_path / "of-file" / "pictures").iterdir()))
    assert drawn == len(list((tmp_path / "of-run" / "pictures").iterdir())) == len(ours)

    trained.tlx("predict", saved, trained.dataset, "--split", "test", "-o", tmp_path / "judged")
    judged = trained.tlx("eval", tmp_path / "judged", "--dataset", trained.dataset)
    assert f"({form}) on lamps.tlx, split test: 4 images" in judged


def test_an_exported_model_that_is_broken(trained: Trained, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    trained.tlx("export", trained.run, "--to", "frozen-graph", "-o", saved)
    graph = saved / "frozen_inference_graph.pb"
    graph.write_bytes(graph.read_bytes()[:1000])
    images = trained.folder / "lamps.tlx-images" / "test"
    told = trained.tlx("predict", saved, images, "-o", tmp_path / "seen", code=3)
    assert "the frozen-graph cannot be loaded" in told
    graph.unlink()
    told = trained.tlx("predict", saved, images, "-o", tmp_path / "seen", code=3)
    assert "frozen_inference_graph.pb, which is gone" in told
    assert not (tmp_path / "seen").exists()


def test_from_an_earlier_run_with_other_classes(trained: Trained, new_scene: Any) -> None:
    other = new_scene(trained.folder).dataset("three.tlx", classes=("stop", "go", "off"))
    told = trained.tlx("train", other.path, *MODEL, *SMALL, "--weights", trained.run,
                       "--epochs", 1, "-o", "second")  # fmt: skip
    assert "Weights from" in told
    told = trained.tlx("train", other.path, "--backend", "tfod", "--model", "ssd_mobilenet_v2",
                       "--weights", trained.run, "-o", "third", code=2)  # fmt: skip
    assert "whose weights do not fit ssd_mobilenet_v2" in told
    prefix = json.loads((trained.run / "checkpoints" / "best.json").read_text())["prefix"]
    index = trained.run / "checkpoints" / f"{prefix}.index"
    told = trained.tlx("train", other.path, "--backend", "tfod", "--model", "efficientdet_d0",
                       "--side", 256, "--weights", index, "-o", "third", code=2)  # fmt: skip
    assert "is of another network" in told
    assert not (trained.folder / "third").exists()


def test_interrupted_and_resumed_without_an_orphan(trained: Trained) -> None:
    process = subprocess.Popen(
        [*COMMAND, "train", str(trained.dataset), *MODEL, *SMALL, "--weights", "none",
         "--epochs", "200", "-o", "stopped"],
        cwd=trained.folder, env=trained.variables, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    events = trained.folder / "stopped" / "events.jsonl"
    while not (events.is_file() and '"kind": "step"' in events.read_text()):
        assert process.poll() is None
        time.sleep(0.5)
    process.terminate()
    _, told = process.communicate()
    assert process.returncode == 130
    assert "Go on with: tlx train --resume" in told
    last = json.loads((trained.folder / "stopped" / "checkpoints" / "last.json").read_text())
    assert last["step"] > 0
    assert worker_processes(trained.folder) == []
    trained.tlx("train", "--resume", "stopped", "--epochs", last["step"] // 3 + 1)
    ended = json.loads((trained.folder / "stopped" / "checkpoints" / "last.json").read_text())
    assert ended["step"] > last["step"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_worker_loses_no_checkpoint(trained: Trained) -> None:
    process = subprocess.Popen(
        [*COMMAND, "train", str(trained.dataset), *MODEL, *SMALL, "--weights", "none",
         "--epochs", "200", "-o", "killed"],
        cwd=trained.folder, env=trained.variables, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    last = trained.folder / "killed" / "checkpoints" / "last.json"
    while not last.is_file():
        assert process.poll() is None
        time.sleep(0.2)
    (worker,) = worker_processes(trained.folder)
    os.kill(worker, signal.SIGKILL)
    _, told = process.communicate()
    told = " ".join(told.split())
    assert process.returncode == 1
    assert "was killed by the signal SIGKILL, most likely because memory ran out" in told
    assert "The last whole checkpoint is kept. Go on with: tlx train --resume" in told
    step = json.loads(last.read_text())["step"]
    trained.tlx("train", "--resume", "killed", "--epochs", step // 3 + 1)
    assert json.loads(last.read_text())["step"] == step // 3 * 3 + 3
    assert not list(last.parent.glob("*.part"))


def test_what_is_damaged_is_said_and_lost_for_nobody(trained: Trained) -> None:
    run = trained.folder / "long"
    trained.tlx("train", trained.dataset, *MODEL, *SMALL, "--weights", "none", "--epochs", 1,
                "-o", run)  # fmt: skip
    (record,) = (trained.folder / "data" / "records").glob("*/train.record")
    damaged = bytearray(record.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    record.write_bytes(damaged)
    told = trained.tlx("train", "--resume", run, "--epochs", 2, code=3)
    assert "was damaged and has been deleted; it is only a copy" in told
    trained.tlx("train", "--resume", run, "--epochs", 2)
    last = json.loads((run / "checkpoints" / "last.json").read_text())
    assert last["step"] == 6
    prefix = run / "checkpoints" / last["prefix"]
    # TensorFlow names a checkpoint by what its files have in common.
    again = ["train", trained.dataset, *MODEL, *SMALL, "--epochs", 1, "-o", "again", "--overwrite"]
    assert "Weights from" in trained.tlx(*again, "--weights", prefix)
    weights = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    weights.write_bytes(weights.read_bytes()[:-1000])
    predict = ["predict", run, "lamps.tlx-images/test", "--checkpoint", "last", "-o", "none"]
    resume = ["train", "--resume", run, "--epochs", 3]
    for command in (resume, [*again, "--weights", prefix], predict):
        assert "the checkpoint is cut off or damaged" in trained.tlx(*command, code=3)
    # A failed replacement leaves what it was to replace.
    assert (trained.folder / "again" / "checkpoints" / "last.json").is_file()


def worker_processes(folder: Path) -> list[int]:
    """Workers that run for something below a folder: none may be left."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            cwd = (entry / "cwd").readlink() if entry.name.isdigit() else None
            command = (entry / "cmdline").read_text() if cwd else ""
        except OSError:
            continue
        if cwd == folder and "worker_protocol" in command:
            found.append(int(entry.name))
    return found


def test_a_broken_image_is_named(trained: Trained, new_scene: Any) -> None:
    broken = new_scene(trained.folder).dataset("broken.tlx", seed=1)
    image = trained.folder / "broken.tlx-images" / "train" / "005.png"
    image.write_bytes(image.read_bytes()[:200] + b"\0" * 300)
    told = trained.tlx("train", broken.path, *MODEL, *SMALL, "--weights", "none", "--epochs", 1,
                       "-o", "none", code=3)  # fmt: skip
    assert "005.png" in told
    assert not (trained.folder / "none" / "checkpoints" / "best.pt").exists()
