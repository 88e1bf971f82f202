"""The host's side of the TensorFlow backends, with a worker that only pretends."""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tlx import environments, exported
from tlx.api import ImageTask, TrainRequest, TrainResult
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, MissingEnvironment, TlxError, UsageError
from tlx.issues import IssueLog
from tlx.model import Category, Taxonomy
from tlx.runs import Run, RunInfo
from tlx_backends.tensorflow import job as job_making
from tlx_backends.tensorflow import zoo
from tlx_backends.tensorflow.backend import TfodBackend, TfvisionBackend
from tlx_backends.tensorflow.environment import TENSORFLOW
from tlx_backends.tensorflow.options import TfodOptions

MODEL = "ssd_mobilenet_v2_fpnlite"
ZOO = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TfodBackend:
    """The backend with an environment that is this Python and a worker that pretends."""
    monkeypatch.setenv("TLX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("FAKE_WORKER", raising=False)
    worker = tmp_path / "worker"
    worker.mkdir()
    shutil.copy(Path(__file__).with_name("fake_tensorflow_worker.py"), worker / "__init__.py")
    made = TfodBackend()
    made.environment = replace(TENSORFLOW, worker=worker)
    environments.write_stamp(
        made.environment,
        environments.Stamp(
            python=sys.executable,
            owned=False,
            requirements="",
            versions={"tensorflow": "0.0"},
        ),
    )
    return made


@pytest.fixture
def data(scene: Any, backend: TfodBackend) -> Dataset:
    dataset: Dataset = scene.dataset()
    index = dataset.taxonomy.index()
    truth = {}
    for record in dataset.records("val"):
        truth[Path(record.uri).name] = {
            "boxes": [[o.box.xmin, o.box.ymin, o.box.xmax, o.box.ymax] for o in record.objects],
            "classes": [index[o.category] for o in record.objects],
        }
    (backend.environment.worker / "truth.json").write_text(json.dumps(truth))
    return dataset


def request(data: Dataset, run: Path, **changes: Any) -> TrainRequest:
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"epochs": 3, "batch_size": 8, **changes}
    return TrainRequest(dataset=str(data.path), run=str(run), model=MODEL, **values)


def told(run: Path) -> Mapping[str, Any]:
    value: Mapping[str, Any] = json.loads((run / "job.json").read_text())
    return value


def test_a_training_from_start_to_end(
    backend: TfodBackend, data: Dataset, log: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = backend.train(request(data, run), log.context)
    kinds = [event["kind"] for event in log.events]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    epochs = log.of("epoch")
    assert [e["epoch"] for e in epochs] == [0, 1, 2, 3]
    # Shifted by half of their width the boxes overlap too little; in place they are perfect.
    aps = [e["metrics"]["ap"] for e in epochs]
    assert aps == sorted(aps)
    assert aps[0] < 0.1
    assert aps[2] == pytest.approx(1.0)
    assert [e["best"] for e in epochs] == [True, True, True, False]
    assert result == TrainResult(
        best=str(run / "checkpoints" / "best.json"),
        last=str(run / "checkpoints" / "last.json"),
        best_epoch=2,
        metrics=epochs[2]["metrics"],
    )
    steps = log.of("step")
    assert [(s["epoch"], s["step"], s["steps"]) for s in steps][:4] == [
        (1, 1, 3), (1, 2, 3), (1, 3, 3), (2, 1, 3),
    ]  # fmt: skip
    job = told(run)
    assert job["steps"] == 9
    assert job["classes"] == list(data.taxonomy.names)
    assert all(Path(path).is_file() for path in [job["label_map"], *job["validation"]])
    assert all(Path(p).is_file() for split in job["records"].values() for p in split)
    assert len(job["statistics"]["boxes"][0]) == 4


def test_the_records_are_made_once_and_again_when_an_image_changes(
    backend: TfodBackend, data: Dataset, log: Any, tmp_path: Path
) -> None:
    runs = [tmp_path / name for name in "abc"]
    backend.train(request(data, runs[0]), log.context)
    made = Path(told(runs[0])["label_map"]).parent
    before = {p.name: p.stat().st_mtime_ns for p in made.iterdir()}
    backend.train(request(data, runs[1]), log.context)
    assert Path(told(runs[1])["label_map"]).parent == made
    assert {p.name: p.stat().st_mtime_ns for p in made.iterdir()} == before
    image = Path(told(runs[0])["validation"][0])
    image.write_bytes(image.read_bytes() + b"\0")
    backend.train(request(data, runs[2]), log.context)
    assert Path(told(runs[2])["label_map"]).parent != made


def test_resumed_where_it_was_stopped(
    backend: TfodBackend,
    data: Dataset,
    log: Any,
    new_log: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"

    def emit(event: Mapping[str, Any]) -> None:
        log.events.append(event)
        if event["kind"] == "step" and event["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.train(request(data, run), Context(emit=emit, issues=IssueLog("fail")))
    kept = json.loads((run / "checkpoints" / "last.json").read_text())
    assert kept["step"] >= 3
    assert log.of("checkpoint")[-1]["step"] == kept["step"]
    again = new_log()
    result = backend.train(request(data, run, resume=True), again.context)
    assert told(run)["resume"]["step"] == kept["step"]
    assert again.of("start")[0]["resume"]
    assert [e["epoch"] for e in again.of("epoch")] == [2, 3]
    assert result.best_epoch == 2
    with pytest.raises(UsageError, match="cannot be resumed with another model"):
        backend.train(
            replace(request(data, run, resume=True), model="efficientdet_d0"), again.context
        )


def test_patience_ends_it_early(
    backend: TfodBackend,
    data: Dataset,
    log: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"shifts": [0, 4]}))
    result = backend.train(
        request(data, tmp_path / "run", epochs=9, options={"patience": 2}), log.context
    )
    assert result.best_epoch == 0
    assert log.of("end")[0]["epochs"] == 2
    assert log.of("end")[0]["stopped_early"]


def test_a_dead_worker_is_one_error_and_the_checkpoint_is_kept(
    backend: TfodBackend,
    data: Dataset,
    log: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"die_at": 5}))
    with pytest.raises(TlxError, match="'tfod' was killed by the signal SIGKILL"):
        backend.train(request(data, tmp_path / "run"), log.context)
    monkeypatch.delenv("FAKE_WORKER")
    result = backend.train(request(data, tmp_path / "run", resume=True), log.context)
    assert result.best_epoch == 2


def test_what_the_worker_refuses_is_said_in_its_words(
    backend: TfodBackend,
    data: Dataset,
    log: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"refuse": ["data", "nothing was restored."]}))
    with pytest.raises(DataError, match="nothing was restored"):
        backend.train(request(data, tmp_path / "run"), log.context)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"options": {"side": 100}}, "multiple of 32, at least 64; use 96 or 128"),
        ({"weights": ZOO}, f"download.tensorflow.org.*{ZOO}.tar.gz there, let tlx fetch it"),
        ({"weights": "/nowhere/ckpt-0"}, "no checkpoint of TensorFlow"),
        ({"options": {"optimizer": "adagrad"}}, "adagrad"),
    ],
)
def test_what_cannot_be_is_said_before_the_worker_starts(
    changes: Mapping[str, Any], text: str, backend: TfodBackend, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=text):
        backend.train(request(data, tmp_path / "run", **changes), Context())
    assert not (tmp_path / "run" / "job.json").exists()


def test_without_its_environment(backend: TfodBackend, data: Dataset, tmp_path: Path) -> None:
    environments.remove(backend.environment)
    assert not backend.availability().ok
    assert backend.availability().hint == "Install it with: tlx backends install tfod"
    with pytest.raises(MissingEnvironment, match="not installed. Install it with: tlx backends"):
        backend.train(request(data, tmp_path / "run"), Context())


def test_predictions_come_in_order_and_unreadable_images_are_issues(
    backend: TfodBackend, data: Dataset, new_log: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    backend.train(request(data, run), new_log().context)
    paths = [data.image_path(r.uri) for r in data.records("val")]
    tasks = [ImageTask(str(k), str(p)) for k, p in enumerate(paths)]
    found = list(backend.predict(run / "checkpoints" / "best.json", tasks, Context()))
    assert [p.image_id for p in found] == [t.image_id for t in tasks]
    first = next(iter(data.records("val")))
    assert [d.category for d in found[0].detections] == [o.category for o in first.objects]
    assert [d.box for d in found[0].detections] == [o.box for o in first.objects]
    paths[1].write_bytes(b"no picture")
    log = new_log("skip")
    found = list(backend.predict(run / "checkpoints" / "best.json", tasks, log.context))
    assert [p.image_id for p in found] == [t.image_id for t in tasks if t.image_id != "1"]
    assert log.issues.counts == {"unreadable-image": 1}
    with pytest.raises(DataError, match="it is no picture"):
        list(backend.predict(run / "checkpoints" / "best.json", tasks, Context()))
    assert list(backend.predict(run / "checkpoints" / "best.json", [], Context())) == []


def test_export_and_its_forms(backend: TfodBackend, data: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    backend.train(request(data, run), Context())
    best = run / "checkpoints" / "best.json"
    report = backend.export(best, "frozen-graph", tmp_path / "out", Context())
    assert report.files == ("model.txt",)
    assert report.class_ids == {"stop": 1, "go": 2}
    assert (tmp_path / "out" / "model.txt").read_text() == "frozen-graph"
    with pytest.raises(UsageError, match="cannot export to 'frozen'. Did you mean 'frozen-graph'"):
        backend.export(best, "frozen", tmp_path / "out", Context())


def test_an_exported_model_is_handed_to_the_worker(
    backend: TfodBackend, data: Dataset, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    backend.train(request(data, run), Context())
    report = backend.export(run / "checkpoints" / "best.json", "tflite", out, Context())
    model = exported.ExportedModel(
        tlx="0", backend="tfod", form="tflite", model=MODEL, files=list(report.files),
        classes=exported.classes_of(report, {}, None), input={}, output={}, lineage={},
    )  # fmt: skip
    exported.write(out, model)
    tasks = [ImageTask(r.image_id, str(data.image_path(r.uri))) for r in data.records("val")]
    ours, theirs = (
        list(backend.predict(network, tasks, Context()))
        for network in (run / "checkpoints" / "best.json", out)
    )
    assert ours == theirs
    with pytest.raises(DataError, match="exported by the backend 'tfod', not 'tfvision'"):
        TfvisionBackend().predict(out, tasks, Context())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "tlx-tensorflow"}', "\x00"])
def test_a_broken_pointer_file(text: str, backend: TfodBackend, tmp_path: Path) -> None:
    file = tmp_path / "best.json"
    file.write_text(text)
    with pytest.raises(TlxError, match="best.json"):
        backend.predict(file, [ImageTask("a", "a.png")], Context())


def write_archive(path: Path, names: tuple[str, ...]) -> Path:
    inside = path.with_suffix(".inside")
    inside.write_text("weights")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            tar.add(inside, name)
    return path


def test_weights_of_every_origin(backend: TfodBackend, data: Dataset, tmp_path: Path) -> None:
    files = tuple(f"{ZOO}/checkpoint/ckpt-0.{e}" for e in ("index", "data-00000-of-00001"))
    more = (f"{ZOO}/pipeline.config", f"{ZOO}/saved_model/variables/variables.index")
    archive = write_archive(tmp_path / f"{ZOO}.tar.gz", (*files, *more, "../../evil.index.py"))
    found = zoo.find(str(archive), (ZOO,), Context(), download=False)
    assert found.origin == "zoo"
    assert found.name == ZOO
    assert Path(found.prefix + ".index").read_text() == "weights"
    assert found.config is not None
    inside = Path(found.prefix).parent
    assert sorted(p.name for p in inside.iterdir()) == [
        "ckpt-0.data-00000-of-00001", "ckpt-0.index", "pipeline.config",
    ]  # fmt: skip
    # The same archive where tlx keeps what it has fetched goes by its name.
    write_archive(zoo.weights_folder() / f"{ZOO}.tar.gz", files)
    assert zoo.find(ZOO, (ZOO,), Context(), download=False).name == ZOO
    (zoo.weights_folder() / f"{ZOO}.tar.gz.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(DataError, match="has changed since it was fetched"):
        zoo.find(ZOO, (ZOO,), Context(), download=False)
    assert zoo.find(str(inside), (), Context(), download=False).prefix == found.prefix
    index = Path(found.prefix + ".index")
    assert zoo.find(str(index), (), Context(), download=False).prefix == found.prefix
    backend.train(request(data, tmp_path / "run"), Context())
    (tmp_path / "run" / "request.json").write_text("{}")
    run = zoo.find(str(tmp_path / "run"), (), Context(), download=False)
    assert run.classes == data.taxonomy.names
    assert run.model == MODEL
    with pytest.raises(UsageError, match="whose weights do not fit efficientdet_d0"):
        job_making.weights(
            replace(
                request(data, tmp_path / "b", weights=str(tmp_path / "run")),
                model="efficientdet_d0",
            ),
            TfodOptions(),
            Context(),
        )


@pytest.mark.parametrize(
    "names",
    [(), ("model.ckpt.meta",), ("a/ckpt-0.index", "b/ckpt-0.index"), ("a/a.index", "b.index")],
)
def test_archives_without_one_checkpoint_leave_nothing(
    names: tuple[str, ...], backend: TfodBackend, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", names)
    with pytest.raises(DataError, match="holds"):
        zoo.find(str(archive), (), Context(), download=False)
    assert list(zoo.weights_folder().iterdir()) == []
    (tmp_path / "b.tar.gz").write_bytes(archive.read_bytes()[:-9])
    with pytest.raises(DataError):
        zoo.find(str(tmp_path / "b.tar.gz"), (), Context(), download=False)


def test_no_augmentation_makes_another_class() -> None:
    plain = Category(name="sign")
    left, right = Category(name="left", mirror="right"), Category(name="right", mirror="left")
    red = Category(name="stop", color_defined=True)
    for categories, flip, hue in (
        ((plain,), True, 0.02),
        ((left, right), False, 0.02),
        ((left,), False, 0.02),
        ((red,), True, 0.0),
    ):
        chosen, notes = job_making.augmentation(TfodOptions(), Taxonomy(categories))
        assert (chosen["flip"], chosen["hue"]) == (flip, hue)
        assert len(notes) == (not flip) + (not hue)


def test_images_that_cannot_be_decoded(
    backend: TfodBackend,
    data: Dataset,
    new_log: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TensorFlow says only that something could not be decoded; the image is named all the same."""
    image = data.image_path("train/003.png")
    image.write_bytes(image.read_bytes()[:120])
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"raise": "InvalidArgumentError"}))
    with pytest.raises(DataError, match=r"train/003.png: it is no picture that can be decoded"):
        backend.train(request(data, tmp_path / "run"), Context())
    monkeypatch.delenv("FAKE_WORKER")
    for name in "ab":
        # The second time the records are there already, and say so too.
        log = new_log("skip")
        backend.train(request(data, tmp_path / name), log.context)
        assert log.issues.counts == {"unreadable-image": 1}
        assert log.issues.kept[0].path == str(image)


def test_damaged_records_are_made_anew(
    backend: TfodBackend,
    data: Dataset,
    log: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"raise": "DataLossError"}))
    with pytest.raises(DataError, match="was damaged and has been deleted"):
        backend.train(request(data, tmp_path / "run"), log.context)
    assert not Path(told(tmp_path / "run")["label_map"]).exists()
    monkeypatch.delenv("FAKE_WORKER")
    assert backend.train(request(data, tmp_path / "run"), log.context).best_epoch == 2


def test_the_log_outlives_a_run_that_is_removed(
    backend: TfodBackend, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"raise": "RuntimeError"}))
    wanted = TrainRequest(dataset=str(data.path), run=str(tmp_path / "run"), model=MODEL)
    info = RunInfo(backend="tfod", request=wanted, dataset_fingerprint="", leaks=[])
    with (
        pytest.raises(TlxError, match="failed: RuntimeError") as caught,
        Run.beginning(tmp_path / "run", info),
    ):
        backend.train(wanted, Context())
    assert not (tmp_path / "run").exists()
    log = tmp_path / "run.log"
    assert caught.value.hint == f"Everything it printed: {log}"
    assert "RuntimeError" in log.read_text()
