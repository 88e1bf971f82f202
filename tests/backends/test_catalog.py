"""The catalog against torchvision's own enumerations."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torchvision
from torchvision.models import get_model_weights

from tlx.api import Backend
from tlx.errors import UsageError
from tlx_backends import tlx_backends
from tlx_backends.torch_detection.backend import TorchBackend
from tlx_backends.torch_detection.catalog import ARCHITECTURES, architecture

OFFICIAL = [entry for entry in ARCHITECTURES if entry.published]


@pytest.mark.parametrize("entry", OFFICIAL, ids=lambda entry: entry.name)
def test_published_weights_are_torchvisions(entry):
    theirs = get_model_weights(entry.name)
    for ours in entry.published:
        reference = theirs[ours.name]
        assert ours.url == reference.url
        assert len(ours.hash_prefix) == 8
        assert int(ours.hash_prefix, 16) >= 0
        assert ours.box_map == reference.meta["_metrics"]["COCO-val2017"]["box_map"]
        assert entry.parameters == pytest.approx(reference.meta["num_params"] / 1e6, abs=0.06)


def test_every_box_detector_of_torchvision_is_there():
    theirs = {
        name
        for name in torchvision.models.list_models(module=torchvision.models.detection)
        if not name.startswith(("maskrcnn", "keypointrcnn"))
    }
    assert {entry.name for entry in OFFICIAL} == theirs


def test_unknown_model_names_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'fcos_resnet50_fpn'"):
        architecture("fcos_resnet_fpn")


def test_backend_is_what_the_protocol_asks():
    plugged = {backend.name: backend for backend in tlx_backends()}
    assert all(isinstance(backend, Backend) for backend in plugged.values())
    backend = plugged["torch"]
    found = TorchBackend().availability()
    assert found.ok
    assert "torch" in found.detail
    assert [model.name for model in backend.models()] == [a.name for a in ARCHITECTURES]


def test_discovery_and_models_import_nothing_heavy():
    code = (
        "import sys, tlx_backends\n"
        "for b in tlx_backends.tlx_backends(): b.models(); b.availability(); b.options()\n"
        "heavy = ('torch', 'numpy', 'pyarrow', 'torchvision', 'tensorflow')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert out.stdout.strip() == "[]"
