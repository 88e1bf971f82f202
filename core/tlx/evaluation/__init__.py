"""The evaluator: COCO average precision by size, matches, operating points, confusion.

Columns of numbers in, columns of numbers out, in plain numpy. The numbers are those of the COCO
API (pycocotools), to rounding; sizes may be areas as there, or heights in pixels.
"""

from tlx.evaluation.average_precision import (
    COCO_IOU_THRESHOLDS,
    COCO_MAX_DETECTIONS,
    COCO_RECALL_THRESHOLDS,
    average_precision,
)
from tlx.evaluation.boxes import Detections, GroundTruth
from tlx.evaluation.matching import Matches, Status, match
from tlx.evaluation.operating_point import (
    BestThreshold,
    Counts,
    OperatingPoint,
    best_thresholds,
    confusion_matrix,
    precision_recall,
)
from tlx.evaluation.ranges import COCO_AREA_RANGES, DEFAULT_RANGES, Range, height_ranges
from tlx.evaluation.scores import AveragePrecision, Scores

__all__ = [
    "COCO_AREA_RANGES",
    "COCO_IOU_THRESHOLDS",
    "COCO_MAX_DETECTIONS",
    "COCO_RECALL_THRESHOLDS",
    "DEFAULT_RANGES",
    "AveragePrecision",
    "BestThreshold",
    "Counts",
    "Detections",
    "GroundTruth",
    "Matches",
    "OperatingPoint",
    "Range",
    "Scores",
    "Status",
    "average_precision",
    "best_thresholds",
    "confusion_matrix",
    "height_ranges",
    "match",
    "precision_recall",
]
