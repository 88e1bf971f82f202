"""The TensorFlow backend on the kit, where there is an environment for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tlx import environments
from tlx.testing import BackendChecks
from tlx_backends.tensorflow.backend import TfodBackend
from tlx_backends.tensorflow.environment import TENSORFLOW


@pytest.fixture(scope="module", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    named = os.environ.get("TLX_TENSORFLOW_PYTHON")
    if not named:
        pytest.skip("TLX_TENSORFLOW_PYTHON names no Python with TensorFlow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLX_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        versions = {"tensorflow": "as it is"}
        stamp = environments.Stamp(python=named, owned=False, requirements="", versions=versions)
        environments.write_stamp(TENSORFLOW, stamp)
        yield


@pytest.mark.slow
class TestTfod(BackendChecks):
    plugin = TfodBackend()
    model = "ssd_mobilenet_v2_fpnlite"
    train_options = {
        "side": 96,
        "depth_multiplier": 0.35,
        "feature_depth": 32,
        "head_layers": 1,
        "threads": 1,
    }
