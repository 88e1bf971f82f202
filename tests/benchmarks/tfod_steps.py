"""The worker's loop beside the API's `train_loop` and `eval_continuously`.

Both train a small FPNLite by one configuration on drawn pictures, one after the other, in fresh
processes. Needs TLX_TENSORFLOW_PYTHON, an interpreter with the backend's packages::

    TLX_TENSORFLOW_PYTHON=... python tests/benchmarks/tfod_steps.py [STEPS]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tfod_lights

import tlx
from tlx.worker_process import Worker

HERE = Path(__file__).parent
WORKER = HERE.parents[1] / "backends" / "tlx_backends" / "tensorflow" / "worker"
BATCH = 8
IMAGES = 200
VAL = 60
PER_ITERATION = 10


def listen(
    python: Path, folder: Path, job: Mapping[str, Any]
) -> list[tuple[float, dict[str, Any]]]:
    """Every event with the seconds since the start of the process."""
    began = time.monotonic()
    events = []
    with Worker(python, folder, job) as worker:
        for event in worker.events():
            events.append((time.monotonic() - began, {**event, "cpu": cpu_seconds(worker.pid)}))
            if event["ev"] == "validated":
                worker.send({"cmd": "score", "metrics": {}, "best": False, "stop": False,
                             "state": {}})  # fmt: skip
    return events


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor, in seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def at(events: list[tuple[float, dict[str, Any]]], kind: str) -> list[tuple[float, dict[str, Any]]]:
    """The events of one kind."""
    return [(when, event) for when, event in events if event["ev"] == kind]


def ours(python: Path, job: Mapping[str, Any]) -> dict[str, float]:
    """Figures of the worker's loop."""
    events = listen(python, WORKER, job)
    steps = at(events, "step")
    validated = [when for when, _ in at(events, "validated")]
    phases = [when for when, e in at(events, "phase") if e["name"] == "validate"]
    first, last = steps[0], steps[-1]
    return {
        "to first step, s": first[0] - (validated[0] - phases[0]),
        "steps/s": (last[1]["step"] - first[1]["step"]) / (last[0] - first[0]),
        "CPU s/step": (last[1]["cpu"] - first[1]["cpu"]) / (last[1]["step"] - first[1]["step"]),
        "evaluation, s": validated[-1] - phases[-1],
    }


def bare(python: Path, job: Mapping[str, Any]) -> dict[str, float]:
    """Figures of the API's loops."""
    events = listen(python, HERE / "tfod_bare", job)
    told = at(events, "iteration")
    iterations = [when for when, _ in told]
    rate = PER_ITERATION * (len(iterations) - 1) / (iterations[-1] - iterations[0])
    return {
        "to first step, s": iterations[0] - (PER_ITERATION - 1) / rate,
        "steps/s": rate,
        "CPU s/step": (told[-1][1]["cpu"] - told[0][1]["cpu"]) / (PER_ITERATION * (len(told) - 1)),
        "evaluation, s": at(events, "evaluated")[-1][1]["seconds"],
    }


def main(steps: int) -> None:
    """Measure both and print a table."""
    python = Path(os.environ["TLX_TENSORFLOW_PYTHON"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        raw = tfod_lights.write(folder / "raw", train=IMAGES, val=VAL, states=True, seed=0)
        tlx.convert(raw, "tfrecord", folder / "records", from_="coco")
        for name in ("ours", "bare"):
            (folder / name).mkdir()
        common = {"threads": None, "device": "cpu", "seed": 0, "steps": steps}
        job = {
            **common,
            "kind": "train",
            "backend": "tfod",
            "run": str(folder / "ours"),
            "model": "ssd_mobilenet_v2_fpnlite",
            "size": [128, 128],
            "settings": {"depth_multiplier": 0.5, "feature_depth": 64, "head_layers": 2},
            "classes": list(tfod_lights.STATES),
            "label_map": str(folder / "records" / "label_map.pbtxt"),
            "records": {s: [str(folder / "records" / f"{s}.record")] for s in ("train", "val")},
            "steps_per_epoch": IMAGES // BATCH,
            "steps_to_score": steps,
            "batch_size": BATCH,
            "augmentation": {"flip": True},
            "statistics": {"boxes": [[16, 40, 128, 128]], "most_boxes": 3},
            "validation": sorted(map(str, (raw / "images").glob("val-*"))),
        }
        figures = {"tlx": ours(python, job)}
        figures["the API"] = bare(
            python,
            {**common, "worker": str(WORKER), "run": str(folder / "bare"),
             "config": str(folder / "ours" / "pipeline.config"),
             "per_iteration": PER_ITERATION},
        )  # fmt: skip
    print("| | " + " | ".join(figures["tlx"]) + " |\n|---|" + "---|" * 4)
    for name, values in figures.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values.values()) + " |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100)
