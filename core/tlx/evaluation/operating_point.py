"""Precision, recall and F1 at a chosen score, and the scores that are worth choosing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlx.evaluation.boxes import Detections, GroundTruth, Integers, require_indices
from tlx.evaluation.matching import Matches, Status, match


@dataclass(frozen=True, slots=True)
class Counts:
    """Right, wrong and missed; crowds and what falls into them are in none of the three."""

    true_positive: int
    false_positive: int
    false_negative: int

    @property
    def precision(self) -> float | None:
        """Share of the detections that are right; None without detections."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float | None:
        """Share of the ground truths that are found; None without any to find."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); None if recall is."""
        if self.recall is None:
            return None
        found_or_claimed = 2 * self.true_positive + self.false_positive + self.false_negative
        return 2 * self.true_positive / found_or_claimed


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Counts at a chosen score: of everything together, and of each of the K categories."""

    overall: Counts
    by_category: tuple[Counts, ...]


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """The score threshold with the highest F1 of a category.

    Attributes:
        threshold: use detections with `score >= threshold`. None where the category has nothing
            to find, or where no detection finds anything: then no threshold is better than
            another.
        f1: the F1 at the threshold; 0.0 where nothing is found, None where nothing is to be.
        precision: at the threshold, None without a threshold.
        recall: at the threshold; 0.0 and None like `f1`.
    """

    threshold: float | None
    f1: float | None
    precision: float | None
    recall: float | None


def precision_recall(
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    category_count: int,
    score_threshold: float | npt.ArrayLike = 0.0,
    iou_threshold: float = 0.5,
) -> OperatingPoint:
    """Count what is right, wrong and missed at a score threshold.

    Args:
        ground_truth: G boxes.
        detections: D boxes.
        category_count: K.
        score_threshold: detections with `score >= score_threshold` count; one number, or
            float64[K], one per category.
        iou_threshold: above 0 and up to 1.

    Raises:
        ValueError: a category is not below the count, or as for `match`.
    """
    require_indices(ground_truth, image_count=None, category_count=category_count)
    require_indices(detections, image_count=None, category_count=category_count)
    matches = match(
        ground_truth, detections, iou_threshold=iou_threshold, score_threshold=score_threshold
    )

    def count(categories: Integers) -> list[int]:
        return [int(number) for number in np.bincount(categories, minlength=category_count)]

    by_category = tuple(
        Counts(right, wrong, missed)
        for right, wrong, missed in zip(
            count(detections.category[matches.status == Status.TRUE_POSITIVE]),
            count(detections.category[matches.status == Status.FALSE_POSITIVE]),
            count(ground_truth.category[_missed(ground_truth, matches)]),
            strict=True,
        )
    )
    overall = Counts(
        sum(counts.true_positive for counts in by_category),
        sum(counts.false_positive for counts in by_category),
        sum(counts.false_negative for counts in by_category),
    )
    return OperatingPoint(overall, by_category)


def best_thresholds(
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    category_count: int,
    iou_threshold: float = 0.5,
) -> tuple[BestThreshold, ...]:
    """For each category the score threshold that maximises F1, the highest of equals.

    One match serves all thresholds: a detection's choice does not depend on lower scores.

    Args:
        ground_truth: G boxes.
        detections: D boxes.
        category_count: K.
        iou_threshold: above 0 and up to 1.

    Returns:
        K entries.

    Raises:
        ValueError: a category is not below the count, or the IoU threshold is out of range.
    """
    require_indices(ground_truth, image_count=None, category_count=category_count)
    require_indices(detections, image_count=None, category_count=category_count)
    matches = match(ground_truth, detections, iou_threshold=iou_threshold, score_threshold=-np.inf)
    positives = np.bincount(
        ground_truth.category[~ground_truth.crowd], minlength=category_count
    ).tolist()
    order = np.lexsort((-detections.score, detections.category))
    start = np.searchsorted(detections.category[order], np.arange(category_count + 1))
    return tuple(
        _best_threshold(
            detections.score[order[start[category] : start[category + 1]]],
            matches.status[order[start[category] : start[category + 1]]],
            positives[category],
        )
        for category in range(category_count)
    )


def confusion_matrix(
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    category_count: int,
    score_threshold: float | npt.ArrayLike = 0.0,
    iou_threshold: float = 0.5,
) -> Integers:
    """Count which category was taken for which, by matches that disregard the category.

    Args:
        ground_truth: G boxes; crowds, and what falls into them, are left out.
        detections: D boxes.
        category_count: K.
        score_threshold: one number, or float64[K], one per category.
        iou_threshold: above 0 and up to 1.

    Returns:
        int64[K + 1, K + 1]; row: what it is, column: what it was taken for. The last row and
        column are the background: `[K, c]` counts detections of c on nothing, `[c, K]` objects
        of c that were missed, and `[K, K]` is 0.

    Raises:
        ValueError: a category is not below the count, or as for `match`.
    """
    require_indices(ground_truth, image_count=None, category_count=category_count)
    require_indices(detections, image_count=None, category_count=category_count)
    matches = match(
        ground_truth,
        detections,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        class_agnostic=True,
    )
    found = matches.status == Status.TRUE_POSITIVE
    ghost = matches.status == Status.FALSE_POSITIVE
    missed = ground_truth.category[_missed(ground_truth, matches)]
    background = category_count
    matrix = np.zeros((category_count + 1, category_count + 1), dtype=np.int64)
    truth = ground_truth.category[matches.ground_truth[found]]
    np.add.at(matrix, (truth, detections.category[found]), 1)
    matrix[background] += np.bincount(detections.category[ghost], minlength=background + 1)
    matrix[:, background] += np.bincount(missed, minlength=background + 1)
    return matrix


def _best_threshold(
    score: npt.NDArray[np.float64], status: npt.NDArray[np.int8], positives: int
) -> BestThreshold:
    """Best threshold for one category; score [N] falling, status [N] of the same detections."""
    if not positives:
        return BestThreshold(None, None, None, None)
    right = np.cumsum(status == Status.TRUE_POSITIVE)
    wrong = np.cumsum(status == Status.FALSE_POSITIVE)
    if not len(score) or not right[-1]:
        return BestThreshold(None, 0.0, None, 0.0)
    # TP + FP + positives = 2 TP + FP + FN
    f1 = 2 * right / (right + wrong + positives)
    # A threshold lets all detections of its score through, so only the last of equals is a choice.
    last_of_score = np.append(score[1:] < score[:-1], True)
    best = int(np.where(last_of_score, f1, -1.0).argmax())
    counts = Counts(int(right[best]), int(wrong[best]), positives - int(right[best]))
    return BestThreshold(float(score[best]), counts.f1, counts.precision, counts.recall)


def _missed(ground_truth: GroundTruth, matches: Matches) -> npt.NDArray[np.bool_]:
    """bool[G]: to be found, but not found."""
    return (matches.detection < 0) & ~ground_truth.crowd


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
