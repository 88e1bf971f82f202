"""Our matches as evaluation runs of FiftyOne, as if it had computed them.

FiftyOne evaluates some forty images a second; the evaluator in `tlx.evaluation` takes less than a
minute for a hundred thousand, and its numbers are those of ``tlx eval``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tlx.evaluation import COCO_AREA_RANGES, AveragePrecision, average_precision
from tlx_plugins.viewers.findings import CLASS_AGNOSTIC, CLASS_WISE, Findings

_NOTHING = "(none)"


def begin_runs(dataset: Any, findings: Findings) -> dict[str, Any]:
    """Register both runs and declare their fields; before any sample is written.

    Registering later would delete the fields of the same name from all samples.

    Args:
        dataset: The FiftyOne dataset.
        findings: The matches.

    Returns:
        FiftyOne's evaluation objects by key, for `finish_runs`.
    """
    from fiftyone.utils.eval.coco import COCOEvaluationConfig

    runs = {}
    for key in (CLASS_WISE, CLASS_AGNOSTIC):
        config = COCOEvaluationConfig(
            "predictions",
            "ground_truth",
            iou=findings.mistakes.iou,
            classwise=key == CLASS_WISE,
            compute_mAP=key == CLASS_WISE,
        )
        run = config.build()
        run.register_run(dataset, key, overwrite=True)
        run.register_samples(dataset, key)
        runs[key] = run
    return runs


def finish_runs(
    dataset: Any, runs: dict[str, Any], findings: Findings, image_ids: Iterable[str]
) -> None:
    """Save the results of both runs.

    Args:
        dataset: The FiftyOne dataset.
        runs: From `begin_runs`.
        findings: The matches.
        image_ids: The images that were loaded. Matches are listed for these; average precision is
            that of all judged images and of detections of every score.
    """
    from fiftyone.utils.eval.coco import COCODetectionResults
    from fiftyone.utils.eval.detection import DetectionResults

    loaded = tuple(image_ids)
    classes = list(findings.mistakes.class_names)
    for key, run in runs.items():
        common: dict[str, Any] = {"classes": classes, "missing": _NOTHING, "backend": run}
        matches = list(findings.rows(key, loaded))
        if key == CLASS_WISE:
            scores = _scores(findings)
            results = COCODetectionResults(
                dataset, run.config, key, matches, **_curves(scores), **common
            )
        else:
            results = DetectionResults(dataset, run.config, key, matches, **common)
        run.save_run_results(dataset, key, results)


def _scores(findings: Findings) -> AveragePrecision:
    mistakes = findings.mistakes
    return average_precision(
        mistakes.objects,
        mistakes.detections,
        image_count=len(mistakes.image_ids),
        category_count=len(mistakes.class_names),
        ranges=COCO_AREA_RANGES,
    )


def _curves(scores: AveragePrecision) -> dict[str, Any]:
    """The arrays in FiftyOne's order: IoU, class, recall."""
    place = [size.name for size in scores.ranges].index("all")
    precision = np.moveaxis(scores.precision[:, :, :, place, -1], 1, 2)
    thresholds = np.moveaxis(scores.scores[:, :, :, place, -1], 1, 2)
    summary = scores.summary()
    named = {"ap50": "AP50", "ap_small": "AP small", "ap_medium": "AP medium"}
    metrics = {
        f"tlx/{key}": {"key": key, "value": summary[key], "label": label, "lower_is_better": False}
        for key, label in named.items()
        if summary[key] is not None
    }
    return {
        "precision": precision,
        "recall": np.array(scores.recall_thresholds),
        "iou_threshs": np.array(scores.iou_thresholds),
        "recall_sweep": scores.recall[:, :, place, -1],
        "thresholds": thresholds,
        "custom_metrics": metrics or None,
    }
