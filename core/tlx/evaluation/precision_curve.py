"""The precision-recall curve of one category in one size range, sampled as the COCO API does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tlx.evaluation.boxes import Booleans, Floats, Integers

# The COCO API adds this to the number of detections before dividing (cocoeval.py, accumulate), so
# that a curve without detections divides; it makes one perfect detection 0.9999999999999998.
_SPACING = float(np.spacing(1))


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A sampled curve, for T IoU thresholds and R recall thresholds.

    Attributes:
        precision: float64[T, R], the best precision at the recall threshold or beyond; 0 where
            the recall is never reached.
        score: float64[T, R], the score of the detection that first reaches the recall; 0 where
            it is never reached.
        recall: float64[T], the recall of all detections together.
    """

    precision: Floats
    score: Floats
    recall: Floats


def true_positives_needed(positives: int, recall_thresholds: Floats) -> Integers:
    """How many true positives reach a recall.

    The recalls are divided and compared in floating point on purpose: the COCO API finds 0.29 not
    reached where 29 of 100 are found, should rounding have it so.

    Args:
        positives: the number of objects to find, above 0.
        recall_thresholds: float64[R].

    Returns:
        int64[R], 0 .. positives + 1.
    """
    recalls = np.arange(positives + 1) / positives
    needed: Integers = np.searchsorted(recalls, recall_thresholds, side="left")
    return needed


def curve(
    score: Floats,
    true_positive: Booleans,
    false_positive: Booleans,
    *,
    positives: int,
    needed: Integers,
) -> Curve:
    """Sample the precision envelope at the recall thresholds.

    Precision has its peaks at the true positives, so the envelope is taken over these alone.

    Args:
        score: float64[N], falling; all detections, with those that are ignored.
        true_positive: bool[T, N].
        false_positive: bool[T, N]; what is neither is ignored.
        positives: the number of objects to find, above 0.
        needed: int64[R] from `true_positives_needed`.
    """
    threshold, place = np.nonzero(true_positive)
    thresholds = len(true_positive)
    found = np.bincount(threshold, minlength=thresholds)
    first = np.cumsum(found) - found
    ordinal = np.arange(len(threshold)) - first[threshold]
    right = ordinal + 1.0
    wrong = np.cumsum(false_positive, axis=1, dtype=np.int32)[threshold, place]

    # One column more than true positives: it stands for "never reached".
    unreached = int(found.max(initial=0))
    precision = np.zeros((thresholds, unreached + 1))
    precision[threshold, ordinal] = right / (wrong + right + _SPACING)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    places = np.full((thresholds, unreached + 1), len(score))
    places[threshold, ordinal] = place

    column = np.where(needed <= found[:, None], np.maximum(needed - 1, 0), unreached)
    rows = np.arange(thresholds)[:, None]
    # A recall of 0 is reached by the first detection, be it right, wrong or ignored.
    where = np.where(needed == 0, 0, places[rows, column])
    return Curve(
        precision=envelope[rows, column],
        score=np.append(score, 0.0)[where],
        recall=found / positives,
    )
