"""Which detection found which object, at one IoU threshold and a chosen score."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from tlx.evaluation.assignment import assign, effective_thresholds
from tlx.evaluation.boxes import Booleans, Detections, Floats, GroundTruth, Integers
from tlx.evaluation.grouping import group_boxes
from tlx.evaluation.overlap import candidates


class Status(IntEnum):
    """What became of a detection."""

    FALSE_POSITIVE = 0
    TRUE_POSITIVE = 1
    IGNORED = 2
    """Fell into a crowd: neither right nor wrong."""
    BELOW_THRESHOLD = 3
    """Its score is below the threshold: it took no part."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Detections and the ground truths they took.

    Attributes:
        ground_truth: int64[D], for each detection the row of its ground truth, or -1.
        iou: float64[D], the IoU with it (with a crowd: intersection over the detection's area).
            For detections that took none, the highest IoU with any ground truth they were
            compared with, crowds left out, even if it was taken already: near the threshold and
            above tells a duplicate from a ghost. NaN for those below the score threshold.
        status: int8[D], values of `Status`. In a class-agnostic match TRUE_POSITIVE says that
            the box fits; compare the categories.
        detection: int64[G], for each ground truth the row of its detection, or -1. For crowds
            the one of the highest score of those that fell into it.
    """

    ground_truth: Integers
    iou: Floats
    status: npt.NDArray[np.int8]
    detection: Integers


def match(
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    iou_threshold: float = 0.5,
    score_threshold: float | npt.ArrayLike = 0.0,
    class_agnostic: bool = False,
) -> Matches:
    """Assign detections to ground truths with the greedy rule of the COCO API.

    All detections from the score threshold upwards take part; there is no limit per image.

    Args:
        ground_truth: G boxes.
        detections: D boxes.
        iou_threshold: above 0 and up to 1.
        score_threshold: detections with `score >= score_threshold` take part; one number, or
            float64[K], one per category.
        class_agnostic: let boxes of different categories match.

    Raises:
        ValueError: the IoU threshold is out of range, or the score thresholds do not cover the
            categories of the detections, or are NaN.
    """
    if not 0 < iou_threshold <= 1:
        message = f"iou_threshold: expected a number above 0 and up to 1, found {iou_threshold}"
        raise ValueError(message)
    kept = np.flatnonzero(_reaches(detections, score_threshold))
    confident = Detections(
        detections.image[kept],
        detections.category[kept],
        detections.box[kept],
        detections.score[kept],
    )
    grouping = group_boxes(ground_truth, confident, class_agnostic=class_agnostic)
    truth_row, detection_row = grouping.ground_truth, kept[grouping.detection]
    crowd = ground_truth.crowd[truth_row]
    thresholds = np.array([iou_threshold], dtype=np.float64)
    pairs = candidates(
        detections.box[detection_row],
        grouping.detection_group,
        ground_truth.box[truth_row],
        grouping.ground_truth_group,
        crowd,
        minimum_iou=float(effective_thresholds(thresholds)[0]),
    )
    assignment = assign(pairs, grouping.detection_group, crowd, crowd[:, None], thresholds)
    taken = assignment.pair.reshape(-1)
    taken = taken[taken >= 0]
    taking = detection_row[pairs.detection[taken]]
    taken_truth = truth_row[pairs.ground_truth[taken]]

    count = len(detections)
    matched_truth = np.full(count, -1, dtype=np.int64)
    matched_truth[taking] = taken_truth
    iou = np.full(count, np.nan)
    iou[detection_row] = pairs.best_iou
    iou[taking] = pairs.iou[taken]
    status = np.full(count, Status.BELOW_THRESHOLD, dtype=np.int8)
    status[kept] = Status.FALSE_POSITIVE
    status[taking] = np.where(ground_truth.crowd[taken_truth], Status.IGNORED, Status.TRUE_POSITIVE)
    matched_detection = np.full(len(ground_truth), -1, dtype=np.int64)
    # Backwards, so that of several detections in a crowd the first, of the highest score, stays.
    matched_detection[taken_truth[::-1]] = taking[::-1]
    return Matches(matched_truth, iou, status, matched_detection)


def _reaches(detections: Detections, score_threshold: float | npt.ArrayLike) -> Booleans:
    """bool[D]: the detections whose score is not below the threshold (of their category)."""
    threshold = np.asarray(score_threshold, dtype=np.float64)
    if np.isnan(threshold).any():
        message = "score_threshold: NaN is no threshold"
        raise ValueError(message)
    if threshold.ndim == 0:
        return detections.score >= threshold
    highest = int(detections.category.max(initial=-1))
    if threshold.ndim != 1 or highest >= len(threshold):
        message = (
            "score_threshold: expected one number, or one per category; "
            f"found shape {threshold.shape} for category indices up to {highest}"
        )
        raise ValueError(message)
    return detections.score >= threshold[detections.category]
