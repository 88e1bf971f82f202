"""Weight files: found, checked, never executed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.models import shufflenet_v2_x0_5

from tlx.api import TrainRequest
from tlx.errors import DataError, UsageError
from tlx_backends.torch_detection import starting, weight_files
from tlx_backends.torch_detection.catalog import architecture
from tlx_backends.torch_detection.options import TorchOptions

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "checkpoint_shufflenetv2_x0_5"
LITE = "ssdlite320_mobilenet_v3_large"
TINY = "fcos_shufflenet_v2_x0_5_fpn"


class Poison:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's weight cache in a folder of its own."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def request(weights, model=TINY, **changes):
    return TrainRequest(dataset="", run="", model=model, weights=str(weights), **changes)


def test_a_poisoned_file_is_refused_and_nothing_runs(tmp_path):
    trap = tmp_path / "ran"
    path = tmp_path / "weights.pth"
    torch.save({"conv1.0.weight": Poison(trap)}, path)
    with pytest.raises(DataError, match="nothing in it was run"):
        weight_files.find(str(path), architecture(TINY), download=False)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists(), "the planted file would not have run anything anyway"


def test_a_published_file_with_another_hash_is_refused(hub):
    entry = architecture(LITE)
    torch.save({"a": torch.zeros(2)}, hub / entry.published[0].file)
    for name in ("COCO_V1", "default", str(hub / entry.published[0].file)):
        with pytest.raises(DataError, match="its name promises a79551df"):
            weight_files.find(name, entry, download=False)


def test_absent_published_weights_say_what_to_fetch_and_open_no_connection(hub, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used unasked")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(UsageError) as caught:
        weight_files.find("COCO_V1", architecture(LITE), download=False)
    text = str(caught.value)
    assert architecture(LITE).published[0].url in text
    assert str(hub) in text


def test_a_download_is_checked_and_put_into_the_cache(hub, tmp_path, monkeypatch):
    served = tmp_path / "served.pth"
    torch.save({"a": torch.ones(2)}, served)
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    entry = architecture(LITE)
    good = replace(entry.published[0], file=f"lite-{digest[:8]}.pth")
    bad = replace(entry.published[0], file="lite-00000000.pth")
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: served.open("rb"))
    found = weight_files.find("COCO_V1", replace(entry, published=(good,)), download=True)
    assert found.path == hub / good.file
    assert found.sha256 == digest
    with pytest.raises(DataError, match="promises 00000000"):
        weight_files.find("COCO_V1", replace(entry, published=(bad,)), download=True)
    assert sorted(p.name for p in hub.iterdir()) == [good.file]


@pytest.mark.parametrize(
    ("name", "message"),
    [("COCO_V2", "Did you mean 'COCO_V1'"), ("nowhere.pth", "neither a file, nor a run")],
)
def test_unknown_weights(hub, name, message):
    with pytest.raises(UsageError, match=message):
        weight_files.find(name, architecture(LITE), download=False)


def test_a_file_of_a_bare_body_goes_into_the_body(tmp_path):
    torch.manual_seed(7)
    body = shufflenet_v2_x0_5(weights=None)
    path = tmp_path / "body.pth"
    torch.save(body.state_dict(), path)
    beginning = starting.begin(request(path), ("a",), TorchOptions())
    restored = beginning.model.backbone.body.state_dict()
    theirs = body.state_dict()
    assert len(restored) > 200
    assert all(torch.equal(value, theirs[name]) for name, value in restored.items())
    parts = {part.part: part for part in beginning.restored.parts}
    assert parts["body"].new == 0
    assert parts["neck"].restored == 0
    # conv5 and fc belong to the classifier: seven tensors without the counter.
    assert beginning.restored.unused == 7
    assert beginning.restored.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_bare_body_names_no_classes(tmp_path):
    path = tmp_path / "body.pth"
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), path)
    with pytest.raises(UsageError, match="does not name its classes"):
        starting.begin(request(path, warm_start={"a": "b"}), ("a",), TorchOptions())


def test_the_real_checkpoint_fills_the_body():
    path = SHARED / "torchvision_keys_coco80_detector.pth"
    if not path.is_file():
        pytest.skip(f"no real weights at {path}")
    options = TorchOptions(normalize="none", channels="bgr")
    beginning = starting.begin(request(path), ("a",), options)
    parts = {part.part: part for part in beginning.restored.parts}
    assert parts["body"].new == 0
    assert beginning.restored.unused == 0
    assert beginning.restored.sha256.startswith("274663d8")
    assert beginning.settings.channels == "bgr"
    assert beginning.settings.std == (1.0, 1.0, 1.0)


def test_published_weights_bring_their_class_names(hub, monkeypatch):
    """Made-up weights under a published enumeration: COCO's rows, also with its gaps."""
    entry = architecture(LITE)
    torch.manual_seed(5)
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    donor = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    path = hub / "made-up.pth"
    torch.save(donor.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    published = replace(entry.published[0], file=f"made-up-{digest[:8]}.pth")
    path.rename(hub / published.file)
    monkeypatch.setattr(
        starting, "architecture", lambda name: replace(entry, published=(published,))
    )
    wanted = request("COCO_V1", LITE, warm_start={"stop": "traffic light", "go": "traffic light"})
    beginning = starting.begin(wanted, ("stop", "go", "car"), TorchOptions())
    key = "head.classification_head.module_list.0.1.weight"
    ours = beginning.model.state_dict()[key].view(6, 4, -1)
    theirs = donor.state_dict()[key].view(6, 91, -1)
    # COCO's ids: 10 is traffic light, 3 is car.
    assert torch.equal(ours[:, 1], theirs[:, 10])
    assert torch.equal(ours[:, 2], theirs[:, 10])
    assert torch.equal(ours[:, 3], theirs[:, 3])
    assert torch.equal(ours[:, 0], theirs[:, 0])
    with pytest.raises(UsageError, match="Did you mean 'traffic light'"):
        starting.begin(
            request("COCO_V1", LITE, warm_start={"stop": "trafic light"}), ("stop",), TorchOptions()
        )
