"""The built-in backends, viewers and commands on the kit."""

from __future__ import annotations

import pytest

from tlx.host import installed
from tlx.testing import BackendChecks, CommandChecks, DecoderChecks, ViewerChecks
from tlx_backends.torch_detection.backend import TorchBackend


@pytest.mark.slow
class TestTorch(BackendChecks):
    plugin = TorchBackend()
    model = "fcos_shufflenet_v2_x0_5_fpn"
    train_options = {"shorter_side": 64, "threads": 1, "tensorboard": False}


KINDS = {"viewer": ViewerChecks, "decoder": DecoderChecks, "command": CommandChecks}

for kind, base in KINDS.items():
    for entry in installed().all(kind):
        if entry.distribution == "tlx":
            name = f"Test{entry.name.title().replace('-', '')}"
            globals()[name] = type(name, (base,), {"plugin": entry.value})
