"""Intersection over union within groups, and the few pairs of it that can become matches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tlx.evaluation.boxes import Booleans, Floats, Integers

# Pairs that are looked at together: bounds the memory (some ten columns of this length) and keeps
# the columns in the cache.
_PAIRS_PER_BLOCK = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The pairs of a detection and a ground truth of one group whose IoU reaches a minimum.

    P pairs, sorted by detection, then rising IoU, then ground truth: of two pairs of a detection
    the COCO API prefers the later one.

    Attributes:
        detection: int64[P], row of the detection.
        ground_truth: int64[P], row of the ground truth.
        iou: float64[P]; for a crowd the intersection over the area of the detection.
        best_iou: float64[D], the highest IoU of each detection with any ground truth of its
            group that is no crowd, whether or not it reaches the minimum; 0 if there is none.
    """

    detection: Integers
    ground_truth: Integers
    iou: Floats
    best_iou: Floats


def pairwise_iou(box: Floats, other: Floats, crowd: Booleans) -> Floats:
    """IoU of row i of `box` with row i of `other`.

    The formula of the COCO API (maskApi.c, bbIou), which works on xmin, ymin, width, height: the
    far corner is therefore rebuilt from the width, to round as it does.

    Args:
        box: float64[N, 4], detections, xmin, ymin, xmax, ymax in pixels.
        other: float64[N, 4], ground truths.
        crowd: bool[N], the ground truths that are crowds: divided by the detection's area alone.

    Returns:
        float64[N] in 0 .. 1; 0 where the boxes share no area, and for boxes without area.
    """
    corner, size = box[:, :2], box[:, 2:] - box[:, :2]
    other_corner, other_size = other[:, :2], other[:, 2:] - other[:, :2]
    shared = np.minimum(size + corner, other_size + other_corner)
    shared -= np.maximum(corner, other_corner)
    np.maximum(shared, 0, out=shared)
    intersection = shared[:, 0] * shared[:, 1]
    area = size[:, 0] * size[:, 1]
    union = np.where(crowd, area, area + other_size[:, 0] * other_size[:, 1] - intersection)
    iou = np.zeros(len(box))
    np.divide(intersection, union, out=iou, where=intersection > 0)
    return iou


def candidates(
    detection_box: Floats,
    detection_group: Integers,
    ground_truth_box: Floats,
    ground_truth_group: Integers,
    crowd: Booleans,
    *,
    minimum_iou: float,
) -> Candidates:
    """Find the pairs within each group whose IoU is at least `minimum_iou`.

    A group is what is compared with each other: mostly the boxes of one category in one image.

    Args:
        detection_box: float64[D, 4], xmin, ymin, xmax, ymax in pixels.
        detection_group: int64[D], ascending.
        ground_truth_box: float64[G, 4].
        ground_truth_group: int64[G], ascending.
        crowd: bool[G].
        minimum_iou: above 0; pairs below it are dropped at once, which is most of them.

    Returns:
        The pairs; rows refer to the arrays given. All pairs are looked at block by block, so
        memory grows with the pairs that are kept only.
    """
    first = np.searchsorted(ground_truth_group, detection_group, side="left")
    last = np.searchsorted(ground_truth_group, detection_group, side="right")
    partners = last - first
    best_iou = np.zeros(len(detection_box))
    kept: list[tuple[Integers, Integers, Floats]] = []
    for rows in _blocks(np.flatnonzero(partners), partners):
        count = partners[rows]
        start = np.cumsum(count) - count
        detection = np.repeat(rows, count)
        ground_truth = np.arange(len(detection)) + np.repeat(first[rows] - start, count)
        is_crowd = crowd[ground_truth]
        iou = pairwise_iou(detection_box[detection], ground_truth_box[ground_truth], is_crowd)
        best_iou[rows] = np.maximum.reduceat(np.where(is_crowd, 0, iou), start)
        close = iou >= minimum_iou
        kept.append((detection[close], ground_truth[close], iou[close]))
    if not kept:
        nothing = np.zeros(0, dtype=np.int64)
        return Candidates(nothing, nothing, np.zeros(0), best_iou)
    detection, ground_truth, iou = (np.concatenate(column) for column in zip(*kept, strict=True))
    order = np.lexsort((ground_truth, iou, detection))
    return Candidates(detection[order], ground_truth[order], iou[order], best_iou)


def _blocks(rows: Integers, partners: Integers) -> Iterator[Integers]:
    """Cut `rows` into runs with about `_PAIRS_PER_BLOCK` partners, at least one row each."""
    before = np.cumsum(partners[rows]) - partners[rows]
    cuts = np.flatnonzero(np.diff(before // _PAIRS_PER_BLOCK)) + 1
    for block in np.split(rows, cuts):
        if len(block):
            yield block
