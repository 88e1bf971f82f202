"""What the evaluator accepts, what it refuses and with which words, and what it leaves alone."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tlx.evaluation
from tlx.evaluation import (
    COCO_AREA_RANGES,
    Detections,
    GroundTruth,
    Range,
    average_precision,
    best_thresholds,
    confusion_matrix,
    height_ranges,
    match,
    precision_recall,
)

A = [0.0, 0.0, 100.0, 100.0]
B = [200.0, 0.0, 300.0, 100.0]


def truths(categories: list[int]) -> GroundTruth:
    """One box A in each of the images 0, 1, ..."""
    rows = len(categories)
    return GroundTruth(
        np.arange(rows), np.array(categories), np.array([A] * rows), np.zeros(rows, dtype=np.bool_)
    )


def detections(categories: list[int]) -> Detections:
    """One box A in each of the images 0, 1, ..."""
    rows = len(categories)
    return Detections(
        np.arange(rows), np.array(categories), np.array([A] * rows), np.full(rows, 0.5)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": [[0, 0, 1]]}, r"GroundTruth\.box: expected shape \(n, 4\) .* found \(1, 3\)"),
        ({"box": [[0, 0, math.nan, 1]]}, r"GroundTruth\.box\[0\]: expected four finite numbers"),
        ({"box": [[0, 0, math.inf, 1]]}, r"GroundTruth\.box\[0\]: expected four finite numbers"),
        ({"box": [[5, 0, 4, 1]]}, r"box\[0\]: expected xmin <= xmax and ymin <= ymax"),
        ({"box": [["a"] * 4]}, r"box: expected real numbers"),
        ({"image": [-1]}, r"image\[0\]: expected an index of 0 or more, found -1"),
        ({"image": [0.0]}, r"image: expected whole numbers, found type float64"),
        ({"image": [0, 0]}, r"image: expected shape \(1,\) like the boxes, found \(2,\)"),
        ({"category": [-2]}, r"category\[0\]: expected an index of 0 or more, found -2"),
        ({"crowd": [2]}, r"crowd\[0\]: expected True or False, found 2"),
        ({"crowd": ["no"]}, r"crowd: expected True and False"),
        ({"area": [-1.0]}, r"area\[0\]: expected an area, found -1\.0"),
    ],
)
def test_bad_ground_truth_is_named(change: dict[str, Any], message: str) -> None:
    columns: dict[str, Any] = {
        "image": [0],
        "category": [0],
        "box": [A],
        "crowd": [False],
        **change,
    }
    with pytest.raises(ValueError, match=message):
        GroundTruth(**(columns | change))


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_is_a_finite_number(score: float) -> None:
    zeros, scores = np.zeros(3, dtype=np.int64), np.array([0.5, score, score])
    message = r"Detections\.score\[1\]: expected a finite score, found (nan|inf) \(1 more"
    with pytest.raises(ValueError, match=message):
        Detections(zeros, zeros, np.array([A] * 3), scores)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"image_count": 1}, r"GroundTruth\.image\[1\]: expected an index below 1, found 1"),
        ({"category_count": 2}, r"Detections\.category\[0\]: expected an index below 2, found 2"),
        ({"ranges": ()}, "at least one range"),
        ({"ranges": COCO_AREA_RANGES * 2}, r"\['all', 'large', 'medium', 'small'\]"),
        ({"iou_thresholds": ()}, "iou_thresholds"),
        ({"iou_thresholds": (0.0,)}, "above 0 and up to 1"),
        ({"iou_thresholds": (math.nan,)}, "above 0 and up to 1"),
        ({"max_detections": ()}, "max_detections"),
        ({"max_detections": (0, 10)}, "rising numbers above 0"),
        ({"max_detections": (10, 1)}, "rising numbers above 0"),
    ],
)
def test_bad_settings_are_named(settings_: dict[str, Any], message: str) -> None:
    truth, found = truths([0, 0]), detections([2])
    with pytest.raises(ValueError, match=message):
        average_precision(truth, found, **{"image_count": 2, "category_count": 3, **settings_})


@pytest.mark.parametrize("bounds", [(5, 5), (9, 4), (0, 4), (-1, 4)])
def test_height_bounds_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="hold no size"):
        height_ranges(bounds)


def test_a_measure_is_area_or_height() -> None:
    with pytest.raises(ValueError, match="'area' or 'height': 'width'"):
        Range("wide", "width", 0, 1)  # type: ignore[arg-type]


def test_a_count_is_checked_for_operating_points() -> None:
    truth, found = truths([1]), detections([0])
    for function in (precision_recall, best_thresholds, confusion_matrix):
        with pytest.raises(
            ValueError, match=r"GroundTruth\.category\[0\]: expected an index below"
        ):
            function(truth, found, category_count=1)


def test_the_input_stays_as_it_was() -> None:
    box = np.array([A, B], dtype=np.float64)
    truth = GroundTruth(np.zeros(2, int), np.zeros(2, int), box, np.zeros(2, bool))
    with pytest.raises(ValueError, match="read-only"):
        truth.box[0, 0] = 1
    found = Detections(truth.image, truth.category, box, np.array([0.1, 0.9], dtype=np.float32))
    average_precision(truth, found, image_count=1, category_count=1)
    match(truth, found)
    assert box.flags.writeable
    assert box.tolist() == [A, B]


def test_narrow_types_and_lists_are_accepted() -> None:
    image: Any = np.array([0], np.uint8)
    box: Any = np.array([A], np.int16)
    zero: Any = [0]
    nothing: Any = []
    truth = GroundTruth(image, zero, box, zero, zero)
    assert [truth.image.dtype, truth.category.dtype] == [np.int64] * 2
    assert [truth.box.dtype, truth.crowd.dtype] == [np.float64, np.bool_]
    assert len(GroundTruth(nothing, nothing, nothing, nothing)) == 0
    assert len(Detections(nothing, nothing, nothing, nothing)) == 0


def test_numpy_is_all_it_needs() -> None:
    root = Path(tlx.evaluation.__file__).parents[2]
    code = (
        "import sys; before = set(sys.modules); import numpy; import tlx.evaluation;"
        "bad = {'pandas', 'torch', 'pycocotools', 'pyarrow', 'scipy'} & set(sys.modules) - before;"
        "sys.exit(', '.join(bad) or None)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(root)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
