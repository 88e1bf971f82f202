"""One judge for every backend: a dataset and a predictions file in, numbers and tables out.

The numbers are COCO's (`tlx.evaluation`, judged by pycocotools); beside them stand average
precision by pixel height and precision and recall at the score that would really be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.thresholds import FALLBACK_THRESHOLD, threshold_array

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx.mistakes import Mistakes

DEFAULT_HEIGHTS = (8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The judgement of one set of predictions.

    Attributes:
        metrics: Everything as plain JSON values; what ``metrics.json`` holds.
        path: Where it was written, None if it was not.
    """

    metrics: Mapping[str, Any]
    path: Path | None = None


def judge(
    dataset: Dataset,
    predictions: Path,
    *,
    split: str | None,
    thresholds: Mapping[str, float] | float,
    heights: Sequence[float] = DEFAULT_HEIGHTS,
) -> dict[str, Any]:
    """Judge a predictions file against a dataset.

    Args:
        dataset: The dataset that the predictions were made on.
        predictions: A predictions file.
        split: Judge this split only.
        thresholds: Score from which a detection is used, one for all classes or by class name.
        heights: Bounds of the pixel-height bins, ascending.

    Returns:
        Plain JSON values. A score that is not defined (nothing to be found) is None.
    """
    import numpy as np

    from tlx.evaluation import COCO_AREA_RANGES, average_precision, height_ranges, precision_recall

    joined = joined_boxes(dataset, predictions, split)
    names = dataset.taxonomy.names
    bins = height_ranges(tuple(heights))
    scores = average_precision(
        joined.objects,
        joined.detections,
        image_count=len(joined.image_ids),
        category_count=len(names),
        ranges=(*COCO_AREA_RANGES, *bins),
    )
    chosen = threshold_array(names, thresholds)
    point = precision_recall(
        joined.objects,
        joined.detections,
        category_count=len(names),
        score_threshold=np.array(chosen),
    )
    by_class = scores.by_category()
    by_range = scores.by_range()
    return {
        "split": split,
        "images": len(joined.image_ids),
        "images_without_predictions": len(joined.unpredicted),
        "objects": len(joined.objects.image),
        "detections": len(joined.detections.image),
        **scores.summary(),
        **_counts(point.overall),
        "by_class": {
            name: {
                "objects": by_class[k].positives,
                "ap": by_class[k].ap,
                "ap50": by_class[k].ap50,
                "ar": by_class[k].ar,
                "threshold": chosen[k],
                **_counts(point.by_category[k]),
            }
            for k, name in enumerate(names)
        },
        "by_height": [
            {
                "low": size.low,
                "high": None if np.isinf(size.high) else size.high,
                "objects": by_range[size.name].positives,
                "ap": by_range[size.name].ap,
                "ap50": by_range[size.name].ap50,
                "ar": by_range[size.name].ar,
            }
            for size in bins
        ],
    }


def _counts(counts: Any) -> dict[str, Any]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "true_positives": counts.true_positive,
        "false_positives": counts.false_positive,
        "false_negatives": counts.false_negative,
    }


def joined_boxes(dataset: Dataset, predictions: Path, split: str | None) -> Mistakes:
    """All boxes of both sides as arrays, detections of every score included."""
    from tlx.mistakes import find_mistakes

    return find_mistakes(dataset, predictions, split, score_threshold=0.0)


def tune(dataset: Dataset, predictions: Path, split: str) -> dict[str, dict[str, Any]]:
    """For each class the score threshold with the highest F1 on a split.

    A class with nothing to find there takes the threshold that is best for all classes together,
    and says so by ``f1`` None.
    """
    from tlx.evaluation import Detections, GroundTruth, best_thresholds

    joined = joined_boxes(dataset, predictions, split)
    names = dataset.taxonomy.names
    single = best_thresholds(joined.objects, joined.detections, category_count=len(names))
    # One class for everything: the overall threshold of classes that val says nothing about.
    objects = joined.objects
    found = joined.detections
    together = best_thresholds(
        GroundTruth(objects.image, objects.category * 0, objects.box, objects.crowd),
        Detections(found.image, found.category * 0, found.box, found.score),
        category_count=1,
    )[0]
    fallback = FALLBACK_THRESHOLD if together.threshold is None else together.threshold
    return {
        name: {
            "threshold": fallback if best.threshold is None else best.threshold,
            "f1": best.f1,
            "precision": best.precision,
            "recall": best.recall,
        }
        for name, best in zip(names, single, strict=True)
    }
