"""What a training sees is a function of the seed and the step: not of threads, not of a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
WORKER = HERE.parents[2] / "backends" / "tlx_backends" / "tensorflow" / "worker"
# Mean and standard deviation of one draw.
MOMENTS = {
    "uniform": (3.0, 2 / 12**0.5),
    "integer": (502.0, 995 / 12**0.5),
    "normal": (3.0, 0.5),
    "truncated": (3.0, 0.44),
    "shuffle": (3.0, 2.0),
}


def test_draws_and_batches_depend_on_seed_and_position_alone(
    run_worker: Callable[..., list[dict[str, Any]]], train_job: Callable[..., dict[str, Any]]
) -> None:
    augmentation = {"flip": True, "scale_jitter": 0.5, "brightness": 0.2, "contrast": 0.2,
                    "hue": 0.1}  # fmt: skip
    job = train_job(worker=str(WORKER), threads=None, augmentation=augmentation)
    events = run_worker(job, folder=HERE / "input_judge")

    drawn = {event["name"]: event for event in events if event["ev"] == "drawn"}
    assert len(drawn) == 8
    for name, event in drawn.items():
        values = np.array(event["all"], float)
        first, second = (np.array(free, float) for free in event["free"])
        assert len(values) == 400
        if name == "loop":
            # Rounds must not draw the same.
            assert (values[:, 0] != values[:, 1]).all()
            continue
        assert (values[150:] == np.array(event["later"], float)).all(), name
        assert len(np.unique(values, axis=0)) > 300, name
        # What is not asked for stays as TensorFlow has it.
        assert (first != values).any(), name
        assert (first != second).any(), name
    for name, (mean, deviation) in MOMENTS.items():
        values = np.array(drawn[name]["all"], float)
        assert values.mean() == pytest.approx(mean, abs=5 * deviation / values.size**0.5), name
        assert values.std() == pytest.approx(deviation, rel=0.1), name
    assert all(sorted(row) == list(range(7)) for row in drawn["shuffle"]["all"])

    batches = {(e["step"], e["seed"]): e["hashes"] for e in events if e["ev"] == "batches"}
    whole = batches[0, 0]
    assert len(set(whole)) == 12
    for step in (3, 4, 9):
        assert batches[step, 0][: 12 - step] == whole[step:], step
    assert not set(batches[0, 1]) & set(whole)
