"""Checkpoints of the torch backend as TorchScript and ONNX: described, judged, predicted from."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

import tlx
from tlx import exported
from tlx.api import ImageTask
from tlx.cli import main
from tlx.errors import DataError, MissingExtra, TlxError, UsageError
from tlx.runs import Run
from tlx_backends.torch_detection import catalog, checkpoints, networks, onnx_graph, parity
from tlx_backends.torch_detection.backend import TorchBackend
from tlx_backends.torch_detection.options import TorchOptions
from tlx_backends.torch_detection.settings import NetworkSettings

FORMS = ("torchscript", "onnx")
MODEL = "fcos_shufflenet_v2_x0_5_fpn"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, new_scene: Any) -> Run:
    """A run of the small detector that has learned the lamps."""
    folder = tmp_path_factory.mktemp("exported")
    dataset = new_scene(folder).dataset(splits={"train": 24, "val": 6, "test": 4})
    return tlx.train(
        dataset.path, model=MODEL, weights="none", epochs=8, batch_size=4, output=folder / "run",
        options={"shorter_side": 64, "threads": 1, "tensorboard": False, "validate_every": 8},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run in each of its forms."""
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("the extra export is not installed")
    folder = tmp_path_factory.mktemp("forms")
    for form in FORMS:
        tlx.export(run.path, form, folder / form)
    return {form: folder / form for form in FORMS}


def images(run: Run, split: str = "test") -> list[Path]:
    data = tlx.Dataset.open(run.info.request.dataset)
    return [data.image_path(record.uri) for record in data.records(split)]


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_says_what_it_is(run: Run, folders: dict[str, Path], form: str) -> None:
    folder = folders[form]
    told = json.loads((folder / "tlx-model.json").read_text())
    assert sorted(p.name for p in folder.iterdir()) == sorted([*told["files"], "tlx-model.json"])
    tuned = run.read_json("thresholds.json")
    assert [(c["name"], c["id"], c["threshold"]) for c in told["classes"]] == [
        (name, number, tuned[name]["threshold"]) for number, name in enumerate(("stop", "go"))
    ]
    assert (told["backend"], told["form"], told["model"]) == ("torch", form, MODEL)
    assert told["lineage"]["run"] == str(run.path.resolve())
    assert told["lineage"]["dataset_fingerprint"] == run.info.dataset_fingerprint


@pytest.mark.parametrize("form", FORMS)
def test_it_predicts_what_the_run_predicts(
    run: Run, folders: dict[str, Path], tmp_path: Path, form: str
) -> None:
    of_run = tlx.predict(run.path, images(run), tmp_path / "run")
    of_form = tlx.predict(folders[form], images(run), tmp_path / "form")
    assert of_form.thresholds == of_run.thresholds
    assert isinstance(of_form.thresholds, dict)
    compared = 0
    for a, b in zip(of_run.predictions, of_form.predictions, strict=True):
        assert a.image_id == b.image_id
        assert len(a.detections) == len(b.detections)
        for one, other in zip(a.detections[:10], b.detections[:10], strict=True):
            compared += 1
            assert one.category == other.category
            assert one.score == pytest.approx(other.score, abs=parity.SCORE_TOLERANCE)
            for name in ("xmin", "ymin", "xmax", "ymax"):
                assert getattr(one.box, name) == pytest.approx(getattr(other.box, name), abs=0.05)
    assert compared == 40
    drawn = sorted((tmp_path / "form" / "pictures").iterdir())
    assert [p.read_bytes() for p in drawn] == [
        p.read_bytes() for p in sorted((tmp_path / "run" / "pictures").iterdir())
    ]
    strict = tlx.predict(folders[form], images(run), tmp_path / "strict", score_threshold=0.3)
    kept = [d.score for p in strict.predictions for d in p.detections]
    assert kept
    assert min(kept) >= 0.3


def test_the_onnx_file_needs_neither_tlx_nor_torch_to_run(
    run: Run, folders: dict[str, Path]
) -> None:
    """Fed as ``tlx-model.json`` says, by onnxruntime and Pillow alone."""
    import onnx
    import onnxruntime
    from PIL import Image

    path = folders["onnx"] / "model.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    told = json.loads((folders["onnx"] / "tlx-model.json").read_text())
    names = {c["id"]: c["name"] for c in told["classes"]}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    data = tlx.Dataset.open(run.info.request.dataset)
    hits = total = 0
    for record in data.records("test"):
        with Image.open(data.image_path(record.uri)) as picture:
            assert min(picture.size) == told["input"]["network"]["shorter"]
            pixels = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
        boxes, scores, labels = session.run(None, {"image": np.ascontiguousarray(pixels)})
        for item in record.objects:
            assert item.box is not None
            box = item.box
            truth = torch.tensor([[box.xmin, box.ymin, box.xmax, box.ymax]])
            over = box_iou(truth, torch.from_numpy(boxes))[0].numpy()
            total += 1
            hits += any(
                names[int(label)] == item.category and o > 0.5 and score > 0.3
                for o, label, score in zip(over, labels, scores, strict=True)
            )
    assert hits > 0.6 * total


def test_the_graph_follows_the_size_of_the_image(run: Run, folders: dict[str, Path]) -> None:
    """A trace fixes numbers: an image of other proportions must not be cut to the first one's."""
    model, _ = checkpoints.network(checkpoints.load(run.checkpoint()), run.checkpoint())
    networks.set_score_threshold(model.eval(), 0.01)
    graph = onnx_graph.OnnxDetector(folders["onnx"] / "model.onnx")
    random = torch.Generator().manual_seed(1)
    sizes = [(64, 96), (150, 64), (33, 200)]
    drawn = [torch.randint(0, 255, (3, *size), generator=random).to(torch.uint8) for size in sizes]
    found = parity.compare(model, graph, drawn)
    assert found.missed == 0
    assert found.compared > 30


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ssdlite320_mobilenet_v3_large",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fcos_resnet50_fpn",
        "retinanet_resnet50_fpn_v2",
    ],
)
def test_every_family_as_onnx(name: str, tmp_path: Path) -> None:
    """Random weights would give equal scores: batch norms are set, class rows spread."""
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    stretch = catalog.architecture(name).stretch
    sides = {} if stretch else {"shorter_side": 160, "longer_side": 256}
    settings = NetworkSettings.of(name, ("a", "b", "c"), TorchOptions(**sides))
    model = spread(settings)
    networks.set_score_threshold(model, 0.01)
    width, height = settings.input_size(settings.longer, settings.shorter)
    onnx_graph.write(model, width, height, tmp_path / "model.onnx")
    drawn = parity.images_to_compare(tmp_path / "no run", settings)
    found = parity.compare(model, onnx_graph.OnnxDetector(tmp_path / "model.onnx"), drawn)
    assert found.missed == 0
    assert found.compared > 30


def spread(settings: NetworkSettings) -> Any:
    """A network in evaluation mode whose scores differ."""
    torch.manual_seed(0)
    model: Any = networks.build(settings).train()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    drawn = parity.images_to_compare(Path("no run"), settings)[:1]
    with torch.no_grad():
        model.backbone(torch.cat([model.transform(drawn)[0].tensors] * 2))
    model.eval()
    networks.set_score_threshold(model, 1e-4)
    rows = (settings.rows, 6 * settings.rows, 9 * settings.rows)
    owner = model.roi_heads.box_predictor if hasattr(model, "roi_heads") else model.head
    heads = [
        m
        for n, m in owner.named_modules()
        if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)
        and m.weight.shape[0] in rows
        and "bbox" not in n
        and "regression" not in n
    ]
    seen: dict[Any, list[torch.Tensor]] = {}
    hooks = [
        m.register_forward_hook(lambda m, _, out: seen.setdefault(m, []).append(out.flatten()))
        for m in heads
    ]
    with torch.no_grad():
        model(drawn)
    for hook in hooks:
        hook.remove()
    assert seen
    with torch.no_grad():
        for head, values in seen.items():
            head.weight.mul_(1.5 / torch.cat(values).std())
            head.bias.fill_(0.0 if settings.first_label else -2.0)
    return model


def changed(model: Any, change: Any) -> Any:
    def detect(given: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        with torch.inference_mode():
            return [change(dict(found)) for found in model(given)]

    return detect


def moved(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**found, "boxes": found["boxes"] + 2.0}


def best_lost(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: values[1:] for name, values in found.items()}


def relabelled(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**found, "labels": 1 - found["labels"]}


def less_sure(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**found, "scores": found["scores"] - 0.01}


@pytest.mark.parametrize("change", [moved, best_lost, relabelled, less_sure])
def test_the_gate_refuses_what_detects_otherwise(
    run: Run, folders: dict[str, Path], change: Any, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path
) -> None:  # fmt: skip
    model, settings = checkpoints.network(checkpoints.load(run.checkpoint()), run.checkpoint())
    networks.set_score_threshold(model.eval(), 0.01)
    shown = parity.images_to_compare(run.checkpoint(), settings)
    assert parity.compare(model, changed(model, dict), shown).missed == 0
    assert parity.compare(model, changed(model, change), shown).missed > 0

    monkeypatch.setattr(onnx_graph, "OnnxDetector", lambda path: changed(model, change))
    with pytest.raises(TlxError, match=r"the onnx does not find what .* differ; nothing was writ"):
        tlx.export(run.path, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_gate_takes_ties_for_ties(run: Run, folders: dict[str, Path]) -> None:
    """Another order of equal scores keeps other boxes, which are candidates all the same."""
    model: Any
    model, settings = checkpoints.network(checkpoints.load(run.checkpoint()), run.checkpoint())
    networks.set_score_threshold(model.eval(), 0.01)
    # All scores are the same, so that only the order of the candidates decides.
    for name, values in model.head.classification_head.named_parameters():
        if "cls_logits" in name:
            torch.nn.init.constant_(values, 0.0)
    for name, values in model.head.regression_head.named_parameters():
        if "bbox_ctrness" in name:
            torch.nn.init.constant_(values, 0.0)
    shown = parity.images_to_compare(run.checkpoint(), settings)[:2]

    def otherwise(given: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        with torch.inference_mode(), networks.unsuppressed(model):
            (candidates,) = model(given)
        turned = {name: values.flip(0) for name, values in candidates.items()}
        from torchvision.ops import batched_nms

        limits = networks.suppression(model)
        kept = batched_nms(turned["boxes"], turned["scores"], turned["labels"], limits.overlap)
        return [{name: values[kept[: limits.most]] for name, values in turned.items()}]

    found = parity.compare(model, otherwise, shown)
    assert found.ties > 0
    assert found.missed == 0


def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                           folders: dict[str, Path], capsys: Any) -> None:  # fmt: skip
    real = importlib.util.find_spec
    gone = ("onnx", "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in gone else real(n))
    with pytest.raises(MissingExtra, match="onnx and onnxruntime are not installed"):
        tlx.export(run.path, "onnx", tmp_path / "out")
    assert main(["predict", str(folders["onnx"]), str(images(run)[0]), "-o", "out"]) == 5
    assert "pip install 'tlx[export]'" in " ".join(capsys.readouterr().err.split())
    assert tlx.export(run.path, "torchscript", tmp_path / "script")


def test_other_forms_are_refused_with_those_that_there_are(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot export to 'onx'. Did you mean 'onnx'. Known: onn"):
        tlx.export(run.path, "onx", tmp_path / "out")
    with pytest.raises(UsageError, match="cannot export to 'tflite'. Known: onnx, torchscript"):
        TorchBackend().export(run.checkpoint(), "tflite", tmp_path / "out", tlx.Context())
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="would replace the input"):
        tlx.export(run.path, "torchscript", run.path, overwrite=True)
    assert (run.path / "request.json").is_file()


def test_what_is_no_exported_model(run: Run, folders: dict[str, Path], tmp_path: Path) -> None:
    def refused(path: Path, kind: type[TlxError], words: str) -> None:
        with pytest.raises(kind, match=words):
            tlx.predict(path, images(run), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "saved_model.pb").write_bytes(b"x")
    refused(foreign, UsageError, "it has no request.json and no tlx-model.json")
    refused(tmp_path / "nowhere", UsageError, "is not a run folder, .*: it does not exist")
    file = folders["onnx"] / "model.onnx"
    refused(file, UsageError, f"Give the folder: {file.parent}")
    with pytest.raises(UsageError, match="an exported model, which holds one checkpoint: best"):
        tlx.predict(file.parent, images(run), tmp_path / "out", checkpoint="last")

    def copied(source: str, **changes: Any) -> Path:
        folder = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for path in folders[source].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        told = json.loads((folder / "tlx-model.json").read_text()) | changes
        (folder / "tlx-model.json").write_text(json.dumps(told))
        return folder

    refused(copied("onnx", version=2), DataError, "that this tlx can read.*version")
    refused(
        copied("onnx", files=["model.onnx", "other.bin"]), DataError, "other.bin, which is gone"
    )
    for name in ("../model.onnx", "/etc/hostname", "a/../../b"):
        refused(copied("onnx", files=[name]), DataError, "which is not in its folder")
    refused(copied("onnx", backend="trch"), UsageError, "Did you mean 'torch'")
    refused(copied("onnx", form="tensorrt"), UsageError, "does not predict from what it exports as")
    refused(copied("onnx", input={}), DataError, "lacks the settings")
    for form in FORMS:
        folder = copied(form)
        (model,) = (p for p in folder.iterdir() if p.name != "tlx-model.json")
        model.write_bytes(model.read_bytes()[:2000])
        refused(folder, DataError, model.name)


def test_predictions_on_a_dataset_are_judged_like_the_run(
    run: Run, folders: dict[str, Path], tmp_path: Path
) -> None:
    dataset = run.info.request.dataset
    tlx.predict(folders["onnx"], dataset, tmp_path / "seen", split="test")
    ours = tlx.evaluate(run.path).metrics
    theirs = tlx.evaluate(tmp_path / "seen", dataset=dataset).metrics
    assert theirs["split"] == "test"
    assert json.loads((tmp_path / "seen" / "metrics.json").read_text()) == theirs
    for name in ("ap", "ap50", "precision", "recall"):
        assert theirs[name] == pytest.approx(ours[name], abs=1e-3)
    assert [c["threshold"] for c in theirs["by_class"].values()] == [
        c["threshold"] for c in ours["by_class"].values()
    ]
    with pytest.raises(UsageError, match="do not say where their labels are"):
        tlx.evaluate(tmp_path / "seen")
    with pytest.raises(UsageError, match="are of the split 'test', not 'val'"):
        tlx.evaluate(tmp_path / "seen", dataset=dataset, split="val")
    tlx.predict(folders["onnx"], images(run), tmp_path / "loose", pictures=False)
    with pytest.raises(UsageError, match="were not made on"):
        tlx.evaluate(tmp_path / "loose", dataset=dataset)


def test_a_plugin_that_says_only_its_files(run: Run) -> None:
    """Its classes are those of the dataset, with the thresholds of the run."""
    from tlx.api import ExportReport

    taxonomy = tlx.Dataset.open(run.info.request.dataset).taxonomy
    found = exported.classes_of(ExportReport(("a.bin",)), {"go": 0.25}, taxonomy)
    assert [(c.name, c.id, c.threshold) for c in found] == [
        ("stop", None, None),
        ("go", None, 0.25),
    ]


def test_the_digest_is_of_all_that_belongs_to_a_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model" / "variables").mkdir(parents=True)
    (tmp_path / "saved_model" / "variables" / "index").write_text("a")
    (tmp_path / "beside.txt").write_text("not of the model")
    before = exported.digest(tmp_path, ["saved_model"])
    (tmp_path / "beside.txt").write_text("changed")
    assert exported.digest(tmp_path, ["saved_model"]) == before
    (tmp_path / "saved_model" / "variables" / "index").write_text("b")
    assert exported.digest(tmp_path, ["saved_model"]) != before


def test_the_torch_backend_takes_the_folder_itself(run: Run, folders: dict[str, Path]) -> None:
    """As any caller of the protocol may do it."""
    tasks = [ImageTask("a", str(images(run)[0]))]
    (found,) = TorchBackend().predict(folders["torchscript"], tasks, tlx.Context(), device="cpu")
    (same,) = TorchBackend().predict(run.checkpoint(), tasks, tlx.Context(), device="cpu")
    assert len(found.detections) == len(same.detections) > 0


def test_help_and_list_name_the_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (
        "tfod: savedmodel, frozen-graph, tflite; tfvision: savedmodel; torch: torchscript" in told
    )
    assert main(["backends"]) == 0
    assert "torch exports to torchscript, onnx" in capsys.readouterr().out
    assert main(["backends", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["backends"]
    (line,) = (one for one in listed if one["name"] == "tfvision")
    assert [form["name"] for form in line["forms"]] == ["savedmodel"]


def test_a_device_that_onnxruntime_does_not_have(
    run: Run, folders: dict[str, Path], tmp_path: Path
) -> None:
    import onnxruntime

    def asked(device: str) -> None:
        tlx.predict(folders["onnx"], images(run), tmp_path / device, device=device, pictures=False)

    asked("cpu")
    with pytest.raises(UsageError, match="--device must be auto, cpu, cuda or cuda:N, not 'gpu'"):
        asked("gpu")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(UsageError, match="this onnxruntime has no CUDA"):
            asked("cuda:0")
