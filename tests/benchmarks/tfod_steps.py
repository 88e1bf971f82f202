"""The worker's loop beside the API's `train_loop` and `eval_continuously`.

Both train a small FPNLite by one configuration on drawn pictures, in fresh processes, in turns.
Needs TLX_TENSORFLOW_PYTHON, an interpreter with the backend's packages; about one minute a round::

    TLX_TENSORFLOW_PYTHON=... python tests/benchmarks/tfod_steps.py [STEPS] [ROUNDS] [OUTPUT.md]

The figures of the last run are in tfod_steps.md.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tfod_lights

import tlx
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.samples import Samples, load_samples
from tlx.validation import validation_scores
from tlx.worker_process import Worker
from tlx_backends.tensorflow.prediction import found_boxes

HERE = Path(__file__).parent
WORKER = HERE.parents[1] / "backends" / "tlx_backends" / "tensorflow" / "worker"
BATCH = 8
IMAGES = 200
VAL = 60
PER_ITERATION = 10
FIRST, WITH_SCORE = "to first step, s", "with the validation before it, s"
RATE, CPU = "steps/s", "CPU s/step"
EVALUATION, LATER = "first evaluation, s", "a later one, s"


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


def ours(python: Path, job: Mapping[str, Any], validation: Samples) -> dict[str, float]:
    """Figures of the worker's loop; an evaluation ends with its average precision."""
    events = listen(python, WORKER, job)
    steps = at(events, "step")
    validated = [when for when, _ in at(events, "validated")]
    phases = [when for when, e in at(events, "phase") if e["name"] == "validate"]
    # From the same step on as the API, which tells of ten at a time.
    first = next(told for told in steps if told[1]["step"] >= PER_ITERATION)
    last = steps[-1]
    found = {int(e["image"]): found_boxes(e) for when, e in at(events, "detections")
             if when > phases[-1]}  # fmt: skip
    began = time.monotonic()
    validation_scores(validation.items, found, len(tfod_lights.STATES))
    judged = time.monotonic() - began
    return {
        FIRST: steps[0][0] - (validated[0] - phases[0]),
        WITH_SCORE: steps[0][0],
        RATE: (last[1]["step"] - first[1]["step"]) / (last[0] - first[0]),
        CPU: (last[1]["cpu"] - first[1]["cpu"]) / (last[1]["step"] - first[1]["step"]),
        EVALUATION: validated[0] - phases[0] + judged,
        LATER: validated[-1] - phases[-1] + judged,
    }


def bare(python: Path, job: Mapping[str, Any]) -> dict[str, float]:
    """Figures of the API's loops; each of its evaluations traces the network anew."""
    events = listen(python, HERE / "tfod_bare", job)
    told = at(events, "iteration")
    iterations = [when for when, _ in told]
    rate = PER_ITERATION * (len(iterations) - 1) / (iterations[-1] - iterations[0])
    evaluated = at(events, "evaluated")[-1][1]["seconds"]
    first = iterations[0] - (PER_ITERATION - 1) / rate
    return {
        FIRST: first,
        WITH_SCORE: first + evaluated,
        RATE: rate,
        CPU: (told[-1][1]["cpu"] - told[0][1]["cpu"]) / (PER_ITERATION * (len(told) - 1)),
        EVALUATION: evaluated,
        LATER: evaluated,
    }


def versions(python: Path, folder: Path) -> str:
    """What the worker runs on."""
    events = listen(python, WORKER, {"kind": "selftest", "device": "cpu", "run": str(folder)})
    found = at(events, "ready")[0][1]["versions"]
    return ", ".join(f"{name} {version}" for name, version in found.items())


def main(steps: int, rounds: int, output: Path | None) -> None:
    """Measure both in turns and print a table of medians and ranges."""
    python = Path(os.environ["TLX_TENSORFLOW_PYTHON"])
    figures: dict[str, list[dict[str, float]]] = {"tlx": [], "the API": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        raw = tfod_lights.write(folder / "raw", train=IMAGES, val=VAL, states=True, seed=0)
        tlx.convert(raw, "tfrecord", folder / "records", from_="coco")
        tlx.ingest("coco", raw, folder / "lights.tlx")
        validation = load_samples(Dataset.open(folder / "lights.tlx"), "val", Context())
        for number in range(rounds):
            runs = {name: folder / f"{name}-{number}" for name in ("ours", "bare")}
            for run in runs.values():
                run.mkdir()
            common = {"threads": None, "device": "cpu", "seed": 0, "steps": steps}
            job = {
                **common,
                "kind": "train",
                "backend": "tfod",
                "run": str(runs["ours"]),
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
                "validation": [str(item.path) for item in validation.items],
            }
            figures["tlx"].append(ours(python, job, validation))
            figures["the API"].append(bare(
                python,
                {**common, "worker": str(WORKER), "run": str(runs["bare"]),
                 "config": str(runs["ours"] / "pipeline.config"),
                 "per_iteration": PER_ITERATION},
            ))  # fmt: skip
            for name, measured in figures.items():
                shown = {column: round(value, 3) for column, value in measured[-1].items()}
                print(f"round {number + 1}, {name}: {shown}", file=sys.stderr, flush=True)
        machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
        about = (f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine}, "
                 f"{versions(python, folder)}; {steps} steps of {BATCH} images, "
                 f"{rounds} rounds in turns, medians and ranges:")  # fmt: skip
    columns = list(figures["tlx"][0])
    lines = [about, "", "| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, measured in figures.items():
        cells = [_cell([values[column] for values in measured]) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    text = "\n".join(lines)
    print(text)
    if output is not None:
        output.write_text(text + "\n", encoding="utf-8")


def _cell(values: list[float]) -> str:
    digits = 3 if max(values) < 1 else 1
    middle = f"{statistics.median(values):.{digits}f}"
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 200,
        int(given[1]) if given[1:] else 5,
        Path(given[2]) if given[2:] else None,
    )
