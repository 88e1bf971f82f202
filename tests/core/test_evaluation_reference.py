"""The evaluator against its judge, pycocotools: the same arrays and the same numbers, to 1e-12."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tlx.evaluation import (
    COCO_AREA_RANGES,
    DEFAULT_RANGES,
    AveragePrecision,
    Detections,
    GroundTruth,
    Range,
    Status,
    average_precision,
    height_ranges,
    match,
)
from tlx.evaluation.overlap import pairwise_iou

TOLERANCE = 1e-12


def coco_evaluation(
    truth: GroundTruth,
    found: Detections,
    *,
    image_count: int,
    category_count: int,
    images: Sequence[int] | None = None,
    by_height: Sequence[Range] = (),
    iou_thresholds: Sequence[float] = (),
    max_detections: Sequence[int] = (),
    use_categories: bool = True,
) -> COCOeval:
    """Run pycocotools on the same boxes; ids are rows + 1, since 0 is its "not matched"."""

    def bbox(box: np.ndarray) -> list[float]:
        xmin, ymin, xmax, ymax = box.tolist()
        return [xmin, ymin, xmax - xmin, ymax - ymin]

    frame = {
        "info": {},
        "images": [{"id": image} for image in range(image_count)],
        "categories": [{"id": category, "name": "c"} for category in range(category_count)],
    }
    annotations = [
        {
            "id": row + 1,
            "image_id": int(truth.image[row]),
            "category_id": int(truth.category[row]),
            "bbox": bbox(truth.box[row]),
            "area": float(truth.box_area[row]),
            "iscrowd": int(truth.crowd[row]),
        }
        for row in range(len(truth))
    ]
    results = [
        {
            "image_id": int(found.image[row]),
            "category_id": int(found.category[row]),
            "bbox": bbox(found.box[row]),
            "score": float(found.score[row]),
        }
        for row in range(len(found))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference, answer = COCO(), COCO()
        reference.dataset = {**frame, "annotations": annotations}
        reference.createIndex()
        if results:
            answer = reference.loadRes(results)
        else:  # loadRes would raise IndexError
            answer.dataset = {**frame, "annotations": []}
            answer.createIndex()
        evaluation = COCOeval(reference, answer, "bbox")
        if by_height:
            for annotation in [*reference.anns.values(), *answer.anns.values()]:
                annotation["area"] = annotation["bbox"][3] ** 2
            evaluation.params.areaRng = [[r.low**2, min(r.high, 1e5) ** 2] for r in by_height]
            evaluation.params.areaRngLbl = [r.name for r in by_height]
        if images is not None:
            evaluation.params.imgIds = list(images)
        if iou_thresholds:
            evaluation.params.iouThrs = np.array(iou_thresholds)
        if max_detections:
            evaluation.params.maxDets = list(max_detections)
        evaluation.params.useCats = int(use_categories)
        evaluation.evaluate()
        evaluation.accumulate()
        if not by_height and len(evaluation.params.maxDets) == 3:
            evaluation.summarize()
    return evaluation


def assert_same_arrays(
    result: AveragePrecision, evaluation: COCOeval, first_range: int = 0
) -> None:
    ranges = slice(first_range, first_range + len(evaluation.params.areaRng))
    for name in ("precision", "recall", "scores"):
        ours = getattr(result, name)[..., ranges, :]
        theirs = evaluation.eval[name]
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE, err_msg=name)


def assert_same_numbers(result: AveragePrecision, evaluation: COCOeval) -> None:
    numbers = [-1.0 if number is None else number for number in result.summary().values()]
    np.testing.assert_allclose(numbers, evaluation.stats, rtol=0, atol=TOLERANCE)


def random_boxes(
    seed: int,
    *,
    images: int = 12,
    categories: int = 4,
    truths: int = 60,
    found: int = 150,
    crowds: float = 0.1,
    score_steps: int = 0,
    grid: float = 0.0,
    zero_sized: float = 0.0,
    heights_on_bounds: bool = True,
) -> tuple[GroundTruth, Detections]:
    """Boxes of all sizes, half of the detections beside a ground truth of the same category."""
    random = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        size = np.exp(random.normal(3.5, 1.0, (count, 2)))
        corner = random.uniform(0, 300, (count, 2))
        size[random.random(count) < zero_sized] = 0
        return np.concatenate([corner, corner + size], axis=1)

    truth_image = random.integers(0, images, truths)
    truth_category = random.integers(0, categories, truths)
    truth_box = boxes(truths)
    near = found // 2 if truths else 0
    source = random.integers(0, max(truths, 1), near)
    image = np.concatenate([truth_image[source], random.integers(0, images, found - near)])
    category = np.concatenate(
        [truth_category[source], random.integers(0, categories, found - near)]
    )
    box = np.concatenate(
        [truth_box[source] * random.normal(1, 0.03, (near, 4)), boxes(found - near)]
    )
    if grid:
        truth_box, box = np.round(truth_box / grid) * grid, np.round(box / grid) * grid
    box[:, 2:] = np.maximum(box[:, 2:], box[:, :2])
    if not heights_on_bounds:
        truth_box[:, 3] += 0.123
        box[:, 3] += 0.0987
    score = random.random(found)
    if score_steps:
        score = np.floor(score * score_steps) / score_steps
    order = random.permutation(found)
    area = (truth_box[:, 2] - truth_box[:, 0]) * (truth_box[:, 3] - truth_box[:, 1])
    return (
        GroundTruth(
            truth_image,
            truth_category,
            truth_box,
            random.random(truths) < crowds,
            area * random.uniform(0.4, 1, truths),
        ),
        Detections(image[order], category[order], box[order], score[order]),
    )


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"crowds": 0.5}, id="many crowds"),
        pytest.param({"crowds": 1.0}, id="only crowds"),
        pytest.param({"score_steps": 4}, id="score ties"),
        pytest.param({"score_steps": 1}, id="all scores equal"),
        pytest.param({"grid": 16.0, "score_steps": 10}, id="equal boxes and sizes on bounds"),
        pytest.param({"zero_sized": 0.3}, id="boxes without area"),
        pytest.param({"images": 2, "categories": 1, "found": 500}, id="over 100 in a group"),
        pytest.param({"images": 1, "categories": 1, "truths": 150, "found": 300}, id="one group"),
        pytest.param({"categories": 40, "truths": 20}, id="categories without ground truth"),
        pytest.param({"images": 300}, id="images without boxes"),
        pytest.param({"found": 0}, id="no detections"),
        pytest.param({"truths": 0}, id="no ground truth"),
        pytest.param({"truths": 0, "found": 0}, id="nothing"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_arrays_and_numbers_of_pycocotools(options: dict[str, Any], seed: int) -> None:
    truth, found = random_boxes(seed, **options)
    counts: dict[str, Any] = {
        "image_count": options.get("images", 12),
        "category_count": options.get("categories", 4),
    }
    result = average_precision(truth, found, **counts)
    evaluation = coco_evaluation(truth, found, **counts)
    assert result.ranges == DEFAULT_RANGES
    assert_same_arrays(result, evaluation)
    assert_same_numbers(result, evaluation)


# Coordinates on a grid of 16 pixels make equal IoUs, IoUs that are thresholds, and areas on bounds.
_coordinate = st.integers(0, 7)
_box = st.tuples(_coordinate, _coordinate, _coordinate, _coordinate).map(
    lambda b: [
        16.0 * min(b[0], b[2]),
        16.0 * min(b[1], b[3]),
        16.0 * max(b[0], b[2]),
        16.0 * max(b[1], b[3]),
    ]
)
_truth_row = st.tuples(
    st.integers(0, 2),
    st.integers(0, 1),
    _box,
    st.booleans(),
    st.sampled_from([math.nan, 0.0, 1024, 5000]),
)
_found_row = st.tuples(st.integers(0, 2), st.integers(0, 1), _box, st.sampled_from([0.1, 0.5, 0.9]))


def as_columns(
    truth_rows: list[tuple[Any, ...]], found_rows: list[tuple[Any, ...]]
) -> tuple[GroundTruth, Detections]:
    truth = [np.array([row[i] for row in truth_rows]) for i in range(5)]
    found = [np.array([row[i] for row in found_rows]) for i in range(4)]
    return GroundTruth(*truth), Detections(*found)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_truth_row, max_size=12), st.lists(_found_row, max_size=16))
def test_any_boxes_on_a_grid(truth_rows: list[Any], found_rows: list[Any]) -> None:
    truth, found = as_columns(truth_rows, found_rows)
    settings_: dict[str, Any] = {
        "image_count": 3,
        "category_count": 2,
        "max_detections": (1, 3, 100),
    }
    settings_ |= {"iou_thresholds": (0.25, 0.5, 0.75, 1.0)}
    result = average_precision(truth, found, ranges=COCO_AREA_RANGES, **settings_)
    assert_same_arrays(result, coco_evaluation(truth, found, **settings_))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(_truth_row, max_size=10), st.lists(_found_row, max_size=14), st.sampled_from([0.5, 1])
)
def test_any_matches_on_a_grid(
    truth_rows: list[Any], found_rows: list[Any], iou_threshold: float
) -> None:
    truth, found = as_columns(truth_rows, found_rows)
    for class_agnostic in (False, True):
        assert_same_matches(truth, found, iou_threshold, class_agnostic=class_agnostic)


def test_overlaps_are_those_of_pycocotools_to_the_last_bit() -> None:
    truth, found = random_boxes(5, images=1, categories=1, zero_sized=0.1)

    def as_sizes(box: np.ndarray) -> np.ndarray:
        return np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)

    crowd = truth.crowd.astype(np.uint8).tolist()
    expected = mask.iou(as_sizes(found.box), as_sizes(truth.box), crowd)
    row, column = (index.ravel() for index in np.indices(expected.shape))
    overlaps = pairwise_iou(found.box[row], truth.box[column], truth.crowd[column])
    np.testing.assert_array_equal(overlaps.reshape(expected.shape), expected)


@pytest.mark.parametrize("seed", range(3))
def test_images_may_be_left_out(seed: int) -> None:
    truth, found = random_boxes(seed)
    images = np.array([1, 4, 5, 11])
    truth_rows = np.isin(truth.image, images)
    found_rows = np.isin(found.image, images)
    assert truth.area is not None
    result = average_precision(
        GroundTruth(
            np.searchsorted(images, truth.image[truth_rows]),
            truth.category[truth_rows],
            truth.box[truth_rows],
            truth.crowd[truth_rows],
            truth.area[truth_rows],
        ),
        Detections(
            np.searchsorted(images, found.image[found_rows]),
            found.category[found_rows],
            found.box[found_rows],
            found.score[found_rows],
        ),
        image_count=4,
        category_count=4,
    )
    evaluation = coco_evaluation(
        truth, found, image_count=12, category_count=4, images=images.tolist()
    )
    assert_same_arrays(result, evaluation)
    assert_same_numbers(result, evaluation)


@pytest.mark.parametrize("seed", range(3))
def test_height_bins_are_area_ranges_of_squared_heights(seed: int) -> None:
    bins = height_ranges((10, 20, 40, 80))
    truth, found = random_boxes(seed, truths=120, score_steps=20, heights_on_bounds=False)
    counts: dict[str, Any] = {"image_count": 12, "category_count": 4}
    result = average_precision(truth, found, ranges=(*COCO_AREA_RANGES, *bins), **counts)
    assert_same_arrays(
        result, coco_evaluation(truth, found, by_height=bins, **counts), len(COCO_AREA_RANGES)
    )


def test_other_limits_and_thresholds() -> None:
    truth, found = random_boxes(7, images=2, categories=1, truths=80, found=400)
    settings_: dict[str, Any] = {
        "image_count": 2,
        "category_count": 1,
        "iou_thresholds": (0.1, 0.9, 0.3),
        "max_detections": (2, 5, 30, 1000),
    }
    result = average_precision(truth, found, ranges=COCO_AREA_RANGES, **settings_)
    assert_same_arrays(result, coco_evaluation(truth, found, **settings_))


@pytest.mark.parametrize(
    ("module_name", "constant"),
    [
        ("overlap", "_PAIRS_PER_BLOCK"),
        ("assignment", "_CELLS_PER_BLOCK"),
        ("average_precision", "_BOXES_PER_BATCH"),
    ],
)
def test_blocks_do_not_change_the_result(
    module_name: str, constant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By name, since `tlx.evaluation.average_precision` is the function, not its module.
    module = importlib.import_module(f"tlx.evaluation.{module_name}")
    truth, found = random_boxes(3, score_steps=5)
    whole = average_precision(truth, found, image_count=12, category_count=4)
    monkeypatch.setattr(module, constant, 7)
    parts = average_precision(truth, found, image_count=12, category_count=4)
    np.testing.assert_array_equal(parts.precision, whole.precision)
    np.testing.assert_array_equal(parts.recall, whole.recall)
    np.testing.assert_array_equal(parts.scores, whole.scores)


def assert_same_matches(
    truth: GroundTruth, found: Detections, iou_threshold: float, *, class_agnostic: bool
) -> None:
    """Compare with the matches that pycocotools keeps per image, in `evalImgs`."""
    matches = match(
        truth,
        found,
        iou_threshold=iou_threshold,
        score_threshold=0.3,
        class_agnostic=class_agnostic,
    )
    kept = found.score >= 0.3
    rows = np.flatnonzero(kept)
    confident = Detections(
        found.image[kept], found.category[kept], found.box[kept], found.score[kept]
    )
    evaluation = coco_evaluation(
        truth,
        confident,
        image_count=12,
        category_count=4,
        iou_thresholds=(iou_threshold,),
        max_detections=(10_000,),
        use_categories=not class_agnostic,
    )
    partner = np.full(len(found), -1)
    status = np.where(kept, Status.FALSE_POSITIVE, Status.BELOW_THRESHOLD)
    finder = np.full(len(truth), -1)
    for image in evaluation.evalImgs:
        # The first of the area ranges is "all": the others repeat it with more ignored.
        if image is None or image["aRng"] != [0, 1e10]:
            continue
        for detection, taken, ignored in zip(
            image["dtIds"], image["dtMatches"][0], image["dtIgnore"][0], strict=True
        ):
            row = rows[detection - 1]
            partner[row] = int(taken) - 1
            if taken:
                status[row] = Status.IGNORED if ignored else Status.TRUE_POSITIVE
        for annotation, taken in zip(image["gtIds"], image["gtMatches"][0], strict=True):
            if taken:
                finder[annotation - 1] = rows[int(taken) - 1]
    np.testing.assert_array_equal(matches.ground_truth, partner)
    np.testing.assert_array_equal(matches.status, status)
    single = ~truth.crowd  # pycocotools keeps the last detection of a crowd, tlx the first
    np.testing.assert_array_equal(matches.detection[single], finder[single])


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("options", [{}, {"grid": 16.0, "score_steps": 10}, {"crowds": 0.6}])
def test_matches_of_pycocotools(options: dict[str, Any], class_agnostic: bool) -> None:
    truth, found = random_boxes(11, truths=150, found=400, **options)
    for iou_threshold in (0.3, 0.5):
        assert_same_matches(truth, found, iou_threshold, class_agnostic=class_agnostic)
