"""COCO average precision and recall, over size ranges of any kind, in one matching pass.

Definitions and conventions are those of the COCO API (pycocotools cocoeval.py: evaluateImg and
accumulate; https://cocodataset.org/#detection-eval), which the tests compare with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tlx.evaluation.assignment import assign, effective_thresholds
from tlx.evaluation.boxes import (
    Booleans,
    Detections,
    Floats,
    GroundTruth,
    Integers,
    require_indices,
)
from tlx.evaluation.grouping import group_boxes, ranks
from tlx.evaluation.overlap import candidates
from tlx.evaluation.precision_curve import curve, true_positives_needed
from tlx.evaluation.ranges import DEFAULT_RANGES, Range
from tlx.evaluation.scores import AveragePrecision

# np.arange would put 0.6000000000000001 where the COCO API has 0.6 (cocoeval.py, Params).
COCO_IOU_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
COCO_RECALL_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.0, 1.0, 101).tolist())
COCO_MAX_DETECTIONS: tuple[int, ...] = (1, 10, 100)

# Boxes whose matches are in memory together. One category is never cut.
_BOXES_PER_BATCH = 1 << 18


def average_precision(
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    image_count: int,
    category_count: int,
    ranges: Sequence[Range] = DEFAULT_RANGES,
    iou_thresholds: Sequence[float] = COCO_IOU_THRESHOLDS,
    max_detections: Sequence[int] = COCO_MAX_DETECTIONS,
) -> AveragePrecision:
    """Evaluate detections as the COCO API does, for area and height ranges at once.

    Detections of an image and category beyond the largest of `max_detections` are left out.
    A category without objects to find in a range is -1 there; one with objects but without
    detections is 0. Both inputs may be empty.

    Args:
        ground_truth: G boxes; crowds are ignored, not missed.
        detections: D boxes.
        image_count: the number of images, those without any box included.
        category_count: K, the number of categories, those without any box included.
        ranges: A size ranges, each with a name of its own.
        iou_thresholds: T thresholds, above 0 and up to 1.
        max_detections: M limits per image and category, rising.

    Returns:
        The precision, recall and score arrays with their summaries.

    Raises:
        ValueError: an index is not below its count, two ranges share a name, an IoU threshold is
            not above 0 and up to 1, or the limits are not rising whole numbers above 0.
    """
    require_indices(ground_truth, image_count=image_count, category_count=category_count)
    require_indices(detections, image_count=image_count, category_count=category_count)
    _require_settings(ranges, iou_thresholds, max_detections)

    boxes = _sort(ground_truth, detections, tuple(ranges), max_detections[-1])
    truth_start = np.searchsorted(boxes.truth_category, np.arange(category_count + 1))
    detection_start = np.searchsorted(boxes.detection_category, np.arange(category_count + 1))
    shape = (
        len(iou_thresholds),
        len(COCO_RECALL_THRESHOLDS),
        category_count,
        len(ranges),
        len(max_detections),
    )
    result = AveragePrecision(
        precision=np.full(shape, -1.0),
        recall=np.full((shape[0], *shape[2:]), -1.0),
        scores=np.full(shape, -1.0),
        positives=_count_positives(boxes, category_count),
        ranges=tuple(ranges),
        iou_thresholds=tuple(float(threshold) for threshold in iou_thresholds),
        recall_thresholds=COCO_RECALL_THRESHOLDS,
        max_detections=tuple(int(limit) for limit in max_detections),
    )
    for first, last in _batches(truth_start + detection_start):
        part = boxes.part(
            slice(truth_start[first], truth_start[last]),
            slice(detection_start[first], detection_start[last]),
        )
        matched, true = _match(part, np.asarray(iou_thresholds, dtype=np.float64))
        for category in range(first, last):
            rows = slice(*(detection_start[category : category + 2] - detection_start[first]))
            _accumulate(result, category, part, matched=matched, true=true, rows=rows)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _SortedBoxes:
    """Both inputs in group order (category, image), with what the ranges say about each box.

    Attributes:
        truth_category, truth_group: int64[G].
        truth_box: float64[G, 4].
        crowd: bool[G].
        ignored: bool[G, A], a crowd or outside of the range.
        detection_category, detection_group: int64[D].
        detection_rank: int64[D], place within the group by falling score, from 0.
        detection_box: float64[D, 4].
        score: float64[D].
        outside: bool[D, A], outside of the range.
    """

    truth_category: Integers
    truth_group: Integers
    truth_box: Floats
    crowd: Booleans
    ignored: Booleans
    detection_category: Integers
    detection_group: Integers
    detection_rank: Integers
    detection_box: Floats
    score: Floats
    outside: Booleans

    def part(self, truths: slice, detections: slice) -> _SortedBoxes:
        """The given rows, as views."""
        return _SortedBoxes(
            self.truth_category[truths],
            self.truth_group[truths],
            self.truth_box[truths],
            self.crowd[truths],
            self.ignored[truths],
            self.detection_category[detections],
            self.detection_group[detections],
            self.detection_rank[detections],
            self.detection_box[detections],
            self.score[detections],
            self.outside[detections],
        )


def _sort(
    ground_truth: GroundTruth, detections: Detections, ranges: tuple[Range, ...], limit: int
) -> _SortedBoxes:
    """Sort the boxes; of each group keep the `limit` detections of highest score."""
    grouping = group_boxes(ground_truth, detections)
    truth = grouping.ground_truth
    rank = ranks(grouping.detection_group)
    kept = rank < limit
    found = grouping.detection[kept]
    crowd = ground_truth.crowd[:, None]
    ignored = np.stack([size.outside_ground_truth(ground_truth) for size in ranges], axis=1) | crowd
    outside = np.stack([size.outside_detections(detections) for size in ranges], axis=1)
    return _SortedBoxes(
        truth_category=ground_truth.category[truth],
        truth_group=grouping.ground_truth_group,
        truth_box=ground_truth.box[truth],
        crowd=ground_truth.crowd[truth],
        ignored=ignored[truth],
        detection_category=detections.category[found],
        detection_group=grouping.detection_group[kept],
        detection_rank=rank[kept],
        detection_box=detections.box[found],
        score=detections.score[found],
        outside=outside[found],
    )


def _count_positives(boxes: _SortedBoxes, category_count: int) -> Integers:
    """int64[K, A]: the ground truths that are to be found."""
    counts = [
        np.bincount(boxes.truth_category[~ignored], minlength=category_count)
        for ignored in boxes.ignored.T
    ]
    return np.stack(counts, axis=1).astype(np.int64, copy=False)


def _batches(start: Integers) -> Iterator[tuple[int, int]]:
    """Runs of categories with about `_BOXES_PER_BATCH` boxes; start: int64[K + 1]."""
    first = 0
    while first < len(start) - 1:
        full = np.searchsorted(start, start[first] + _BOXES_PER_BATCH, side="right")
        last = max(first + 1, int(full) - 1)
        yield first, last
        first = last


def _match(boxes: _SortedBoxes, iou_thresholds: Floats) -> tuple[Booleans, Booleans]:
    """bool[D, T, A] twice: took a ground truth; took one that is not ignored."""
    pairs = candidates(
        boxes.detection_box,
        boxes.detection_group,
        boxes.truth_box,
        boxes.truth_group,
        boxes.crowd,
        minimum_iou=float(effective_thresholds(iou_thresholds).min()),
    )
    assignment = assign(pairs, boxes.detection_group, boxes.crowd, boxes.ignored, iou_thresholds)
    shape = (len(boxes.score), len(iou_thresholds), boxes.ignored.shape[1])
    matched, true = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    matched[assignment.detection] = assignment.matched
    true[assignment.detection] = assignment.true
    return matched, true


def _accumulate(
    result: AveragePrecision,
    category: int,
    boxes: _SortedBoxes,
    *,
    matched: Booleans,
    true: Booleans,
    rows: slice,
) -> None:
    """Write the curves of one category, whose detections are `rows`, into the result."""
    if not result.positives[category].any():
        return
    # A stable sort of rows in image order: equal scores rank as they do in the COCO API.
    order = rows.start + np.argsort(-boxes.score[rows], kind="stable")
    score, rank = boxes.score[order], boxes.detection_rank[order]
    recall_thresholds = np.asarray(result.recall_thresholds)
    # [A, T, N]: the cumulative sums run along the detections, which must lie side by side.
    right = np.ascontiguousarray(true[order].transpose(2, 1, 0))
    ignored_or_matched = matched[order] | boxes.outside[order, None]
    wrong = ~np.ascontiguousarray(ignored_or_matched.transpose(2, 1, 0))
    for size, positives in enumerate(result.positives[category].tolist()):
        if not positives:
            continue
        needed = true_positives_needed(positives, recall_thresholds)
        counted = -1
        for number, limit in enumerate(result.max_detections):
            kept = np.flatnonzero(rank < limit)
            if len(kept) != counted:
                counted = len(kept)
                whole = counted == len(rank)
                sampled = curve(
                    score[kept],
                    right[size] if whole else right[size][:, kept],
                    wrong[size] if whole else wrong[size][:, kept],
                    positives=positives,
                    needed=needed,
                )
            place = (category, size, number)
            result.precision[:, :, *place] = sampled.precision
            result.scores[:, :, *place] = sampled.score
            result.recall[:, *place] = sampled.recall


def _require_settings(
    ranges: Sequence[Range], iou_thresholds: Sequence[float], max_detections: Sequence[int]
) -> None:
    names = [size.name for size in ranges]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        message = f"ranges: the names {repeated} are used more than once"
        raise ValueError(message)
    if not names:
        message = "ranges: expected at least one range"
        raise ValueError(message)
    if not len(iou_thresholds) or not all(0 < threshold <= 1 for threshold in iou_thresholds):
        message = f"iou_thresholds: expected numbers above 0 and up to 1, found {iou_thresholds}"
        raise ValueError(message)
    limits = [0, *max_detections]
    rising = all(low < high for low, high in pairwise(limits))
    if len(limits) == 1 or not rising:
        message = f"max_detections: expected rising numbers above 0, found {max_detections}"
        raise ValueError(message)
