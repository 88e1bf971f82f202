"""COCO's greedy assignment of detections to ground truths, for many criteria in one pass.

The rule (COCO API, pycocotools cocoeval.py, evaluateImg): within a group the detections choose in
the order of their score. Each takes, of the ground truths that reach the IoU threshold and that
nobody has taken, the one with the highest IoU, the later one of equals; one that is ignored only
if no other is left. A crowd can be taken any number of times.

Instead of walking through groups, all groups take their first turn together, then their second,
and so on: within a turn no two detections compete, so a turn is array arithmetic over pairs,
thresholds and ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tlx.evaluation.grouping import ranks

if TYPE_CHECKING:
    from tlx.evaluation.boxes import Booleans, Floats, Integers
    from tlx.evaluation.overlap import Candidates

# Cells (pair x threshold x range) that are worked on together; a cell takes a few bytes.
_CELLS_PER_BLOCK = 1 << 22

# An IoU of exactly 1 must pass a threshold of 1 although it may be rounded down (cocoeval.py).
_HIGHEST_THRESHOLD = 1 - 1e-10


def effective_thresholds(iou_thresholds: Floats) -> Floats:
    """float64[T]: the IoU thresholds as they are compared with, see cocoeval.py."""
    return np.minimum(iou_thresholds, _HIGHEST_THRESHOLD)


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """What each detection that has candidates took, for T thresholds and A ranges; N detections.

    Attributes:
        detection: int64[N], rows of the detections, ascending. All others took nothing.
        choice: unsigned[N, T, A], 0 for nothing taken; else the place of the taken pair among
            the pairs of the detection, from 1, plus `bonus` if the ground truth counts.
        bonus: the largest number of pairs that a detection has.
        first_pair: int64[N], where the pairs of the detection begin.
    """

    detection: Integers
    choice: npt.NDArray[np.unsignedinteger]
    bonus: int
    first_pair: Integers

    @property
    def matched(self) -> Booleans:
        """bool[N, T, A]: took a ground truth, be it ignored or not."""
        return self.choice > 0

    @property
    def true(self) -> Booleans:
        """bool[N, T, A]: took a ground truth that is not ignored."""
        return self.choice > self.bonus

    @property
    def pair(self) -> Integers:
        """int64[N, T, A]: row of the candidate pair that was taken, -1 for none."""
        place = self.choice.astype(np.int64) - self.bonus * self.true
        return np.where(self.matched, self.first_pair[:, None, None] + place - 1, -1)


def assign(
    pairs: Candidates,
    detection_group: Integers,
    crowd: Booleans,
    ignored: Booleans,
    iou_thresholds: Floats,
) -> Assignment:
    """Let the detections choose.

    Args:
        pairs: P candidate pairs, found with the lowest of the effective thresholds or less.
        detection_group: int64[D], ascending; within a group in falling order of score.
        crowd: bool[G].
        ignored: bool[G, A], the ground truths that do not count in a range.
        iou_thresholds: float64[T], above 0.
    """
    detection, start, count = np.unique(pairs.detection, return_index=True, return_counts=True)
    shape = (len(detection), len(iou_thresholds), ignored.shape[1])
    # The pairs of a detection are sorted by preference, and a ground truth that counts is
    # preferred to any that does not: so the best choice is the largest code.
    bonus = int(count.max(initial=0))
    code = np.min_scalar_type(2 * bonus)
    choice = np.zeros(shape, dtype=code)
    place = (np.arange(len(pairs.detection)) - np.repeat(start, count) + 1).astype(code)
    raised = (~ignored).astype(code) * code.type(bonus)
    close = pairs.iou[:, None] >= effective_thresholds(iou_thresholds)
    free = np.ones((len(crowd), *shape[1:]), dtype=np.bool_)

    for turn in _turns(detection_group[detection], count, cells_per_pair=shape[1] * shape[2]):
        lengths = count[turn]
        pair = _concatenated_ranges(start[turn], lengths)
        ground_truth = pairs.ground_truth[pair]
        open_ = free[ground_truth] & close[pair, :, None]
        value = place[pair, None, None] + raised[ground_truth, None, :]
        value = value * open_
        best = np.maximum.reduceat(value, np.cumsum(lengths) - lengths, axis=0)
        choice[turn] = best
        taken = open_ & (value == np.repeat(best, lengths, axis=0))
        taken &= ~crowd[ground_truth, None, None]
        # No ground truth appears twice in a turn: one detection per group, one pair per box.
        free[ground_truth] &= ~taken

    return Assignment(detection, choice, bonus, start)


def _turns(group: Integers, pair_count: Integers, *, cells_per_pair: int) -> list[Integers]:
    """Rows whose turn it is, turn by turn; one row per group in each, large turns cut up."""
    rank = ranks(group)
    order = np.argsort(rank, kind="stable")
    cells = np.cumsum(pair_count[order]) * cells_per_pair
    new_turn = np.diff(rank[order]) > 0
    new_block = np.diff(cells // _CELLS_PER_BLOCK) > 0
    cuts = np.flatnonzero(new_turn | new_block) + 1
    return [turn for turn in np.split(order, cuts) if len(turn)]


def _concatenated_ranges(start: Integers, length: Integers) -> Integers:
    """The numbers start[0] .. start[0] + length[0] - 1, start[1] .., in one array."""
    offset = start - (np.cumsum(length) - length)
    numbers: Integers = np.repeat(offset, length) + np.arange(length.sum())
    return numbers
