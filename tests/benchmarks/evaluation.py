"""Time and memory of the evaluator beside pycocotools and faster-coco-eval.

    python tests/benchmarks/evaluation.py [--images 5000] [--seed 0]

Each runs in a process of its own, on one thread, on the same synthetic data: 7.2 boxes per image,
1 % crowds, 80 classes of very different frequency, 20 detections per image. Times are CPU seconds
of the evaluation without making the data, and without building the COCO dictionaries; `tlx` does
all nine ranges (four areas, five heights) and, in its second row, also the match, the thresholds
and the confusion matrix.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "core"))

from tlx.evaluation import (
    Detections,
    GroundTruth,
    average_precision,
    best_thresholds,
    confusion_matrix,
    match,
    precision_recall,
)

CATEGORIES = 80
WIDTH, HEIGHT = 1280, 720
TRUTHS_PER_IMAGE = 7.2
DETECTIONS_PER_IMAGE = 20
EVALUATORS = ("tlx", "tlx, all", "pycocotools", "faster-coco-eval")


def make_data(image_count: int, seed: int) -> tuple[GroundTruth, Detections]:
    """Ground truth of mixed sizes; half of the detections are near a ground truth."""
    random = np.random.default_rng(seed)
    truths = int(image_count * TRUTHS_PER_IMAGE)
    image = np.sort(random.integers(0, image_count, truths))
    # A few classes hold most boxes, and the boxes of an image are mostly of few classes.
    frequency = 1 / np.arange(1, CATEGORIES + 1)
    favourite = random.choice(CATEGORIES, image_count, p=frequency / frequency.sum())
    other = random.choice(CATEGORIES, truths, p=frequency / frequency.sum())
    category = np.where(random.random(truths) < 0.6, favourite[image], other)
    size = np.exp(random.normal(3.4, 1.0, (truths, 2))).clip(3, 600)
    corner = random.random((truths, 2)) * (np.array([WIDTH, HEIGHT]) - size)
    box = np.round(np.concatenate([corner, corner + size], axis=1), 2)
    crowd = random.random(truths) < 0.01
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) * random.uniform(0.5, 1, truths)

    found = image_count * DETECTIONS_PER_IMAGE
    source = random.integers(0, truths, found // 2)
    jitter = random.normal(0, 0.08, (len(source), 4)) * np.tile(size[source], 2)
    near = box[source] + jitter
    stray_size = np.exp(random.normal(3.4, 1.0, (found - len(source), 2))).clip(3, 600)
    stray_corner = random.random((len(stray_size), 2)) * (np.array([WIDTH, HEIGHT]) - stray_size)
    stray = np.concatenate([stray_corner, stray_corner + stray_size], axis=1)
    found_box = np.round(np.concatenate([near, stray]), 2)
    found_box[:, 2:] = np.maximum(found_box[:, 2:], found_box[:, :2] + 0.5)
    found_image = np.concatenate([image[source], random.integers(0, image_count, len(stray))])
    mistaken = random.random(len(source)) < 0.1
    found_category = np.concatenate(
        [
            np.where(mistaken, random.integers(0, CATEGORIES, len(source)), category[source]),
            np.where(
                random.random(len(stray)) < 0.5,
                favourite[found_image[len(source) :]],
                random.integers(0, CATEGORIES, len(stray)),
            ),
        ]
    )
    score = np.round(random.beta(1, 2, found) + np.arange(found) * -0.2 / found + 0.2, 3)
    order = random.permutation(found)
    return (
        GroundTruth(image, category, box, crowd, area),
        Detections(found_image[order], found_category[order], found_box[order], score[order]),
    )


def coco_dictionaries(
    truth: GroundTruth, found: Detections, image_count: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same data as COCO annotations and results."""

    def bbox(row: list[float]) -> list[float]:
        return [row[0], row[1], row[2] - row[0], row[3] - row[1]]

    area = truth.box_area.tolist()
    annotations = [
        {
            "id": row + 1,
            "image_id": image,
            "category_id": category,
            "bbox": bbox(box),
            "area": area[row],
            "iscrowd": int(crowd),
        }
        for row, (image, category, box, crowd) in enumerate(
            zip(
                truth.image.tolist(),
                truth.category.tolist(),
                truth.box.tolist(),
                truth.crowd.tolist(),
                strict=True,
            )
        )
    ]
    results = [
        {"image_id": image, "category_id": category, "bbox": bbox(box), "score": score}
        for image, category, box, score in zip(
            found.image.tolist(),
            found.category.tolist(),
            found.box.tolist(),
            found.score.tolist(),
            strict=True,
        )
    ]
    dataset = {
        "info": {},
        "images": [{"id": image} for image in range(image_count)],
        "categories": [{"id": k, "name": str(k)} for k in range(CATEGORIES)],
        "annotations": annotations,
    }
    return dataset, results


def run(evaluator: str, image_count: int, seed: int) -> dict[str, Any]:
    """Evaluate in this process; the twelve stats, CPU seconds, and what memory it took."""
    truth, found = make_data(image_count, seed)
    if evaluator.startswith("tlx"):
        before = _peak_megabytes()
        start = time.process_time()
        result = average_precision(truth, found, image_count=image_count, category_count=CATEGORIES)
        summary = result.summary()
        if evaluator == "tlx, all":
            match(truth, found, score_threshold=0.3)
            precision_recall(truth, found, category_count=CATEGORIES, score_threshold=0.3)
            best_thresholds(truth, found, category_count=CATEGORIES)
            confusion_matrix(truth, found, category_count=CATEGORIES, score_threshold=0.3)
        stats = [-1.0 if value is None else value for value in summary.values()]
    else:
        dataset, results = coco_dictionaries(truth, found, image_count)
        if evaluator == "pycocotools":
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        else:
            from faster_coco_eval import COCO  # type: ignore[import-untyped]
            from faster_coco_eval import COCOeval_faster as COCOeval
        before = _peak_megabytes()
        start = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            reference = COCO()
            reference.dataset = dataset
            reference.createIndex()
            evaluation = COCOeval(reference, reference.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        stats = [float(value) for value in evaluation.stats[:12]]
    seconds = time.process_time() - start
    peak = _peak_megabytes()
    return {"stats": stats, "seconds": seconds, "peak": peak, "added": peak - before}


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the evaluators one after the other and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluator", choices=EVALUATORS, help="run this one alone, print JSON")
    arguments = parser.parse_args()
    if arguments.evaluator:
        print(json.dumps(run(arguments.evaluator, arguments.images, arguments.seed)))
        return
    installed = {
        "pycocotools": importlib.util.find_spec("pycocotools") is not None,
        "faster-coco-eval": importlib.util.find_spec("faster_coco_eval") is not None,
    }
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(threads, "1")
    outcomes: dict[str, dict[str, Any]] = {}
    print(f"{'':18}{'CPU s':>8}{'peak MB':>9}{'added MB':>10}{'largest difference':>20}")
    for evaluator in EVALUATORS:
        if not installed.get(evaluator, True):
            print(f"{evaluator:18}not installed")
            continue
        command = [sys.executable, __file__, "--evaluator", evaluator]
        command += ["--images", str(arguments.images), "--seed", str(arguments.seed)]
        answer = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        outcome = outcomes[evaluator] = json.loads(answer.stdout)
        difference = np.abs(np.subtract(outcome["stats"], outcomes["tlx"]["stats"])).max()
        print(
            f"{evaluator:18}{outcome['seconds']:8.2f}{outcome['peak']:9.0f}"
            f"{outcome['added']:10.0f}{difference:20.1e}"
        )
    print("the twelve numbers:", " ".join(f"{value:.4f}" for value in outcomes["tlx"]["stats"]))


if __name__ == "__main__":
    main()
