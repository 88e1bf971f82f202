"""The order in which boxes are compared: groups of an image and a category, scores falling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tlx.evaluation.boxes import Detections, GroundTruth, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Rows of both inputs in group order. Only boxes of one group are compared.

    Groups are numbered by category, then image (by image alone if class agnostic).

    Attributes:
        ground_truth: int64[G], rows of the ground truth, by group; as given within a group.
        ground_truth_group: int64[G], the group of each, ascending.
        detection: int64[D], rows of the detections, by group, then falling score; equal scores
            as given.
        detection_group: int64[D], the group of each, ascending.
    """

    ground_truth: Integers
    ground_truth_group: Integers
    detection: Integers
    detection_group: Integers


def group_boxes(
    ground_truth: GroundTruth, detections: Detections, *, class_agnostic: bool = False
) -> Grouping:
    """Sort both inputs into groups.

    Args:
        ground_truth: G boxes.
        detections: D boxes.
        class_agnostic: compare boxes of all categories of an image. Equal boxes and equal scores
            are then in the order of the categories, like the COCO API with `useCats = 0`.
    """
    images = 1 + max(int(boxes.image.max(initial=-1)) for boxes in (ground_truth, detections))

    def number(boxes: GroundTruth | Detections) -> Integers:
        return boxes.image if class_agnostic else boxes.category * images + boxes.image

    truth_group, detection_group = number(ground_truth), number(detections)
    truth = np.lexsort((ground_truth.category, truth_group))
    found = np.lexsort((detections.category, -detections.score, detection_group))
    return Grouping(truth, truth_group[truth], found, detection_group[found])


def ranks(group: Integers) -> Integers:
    """int64[N]: the place of each row within its group, from 0; `group` int64[N] is ascending."""
    opens = np.ones(len(group), dtype=np.bool_)
    opens[1:] = group[1:] != group[:-1]
    first = np.flatnonzero(opens)
    place: Integers = np.arange(len(group)) - first[np.cumsum(opens) - 1]
    return place
