"""The TensorFlow backend on the kit, where there is an environment for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlx import environments
from tlx.testing import BackendChecks, Trial, checks_for
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
        # A handful of steps shows a falling loss only where no two epochs see other images.
        "scale_jitter": 0.0,
        "brightness": 0.0,
        "contrast": 0.0,
    }


@pytest.mark.slow
def test_crops_follow_the_seed_too(tmp_path: Path) -> None:
    """TensorFlow's own random crop knows no global seed; with it, two trainings still agree."""
    with_crops = {**TestTfod.train_options, "scale_jitter": 0.5}
    trial = Trial(TfodBackend(), tmp_path, model=TestTfod.model, train_options=with_crops)
    (same,) = (c for c in checks_for("backend") if c.name == "the_same_seed_gives_the_same_numbers")
    same.run(trial)
