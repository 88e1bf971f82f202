"""The evaluator on cases small enough to know the answer, and on properties that must hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.evaluation import (
    DEFAULT_RANGES,
    BestThreshold,
    Counts,
    Detections,
    GroundTruth,
    Range,
    Status,
    average_precision,
    best_thresholds,
    confusion_matrix,
    height_ranges,
    match,
    precision_recall,
)

NUMBERS = [
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
]


def truths(*rows: tuple[Any, ...], area: list[float] | None = None) -> GroundTruth:
    """Rows of image, category, box and, if it is one, "crowd"."""
    return GroundTruth(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array(["crowd" in row[3:] for row in rows], dtype=np.bool_),
        None if area is None else np.array(area),
    )


def detections(*rows: tuple[Any, ...]) -> Detections:
    """Rows of image, category, box, score."""
    return Detections(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], dtype=np.float64),
    )


def random_boxes(seed: int, count: int = 80, found: int = 200) -> tuple[GroundTruth, Detections]:
    """Without ties of any kind; 10 images, 3 categories."""
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 200, (count, 2))
    box = np.concatenate([corner, corner + np.exp(random.normal(3, 1, (count, 2)))], axis=1)
    image, category = random.integers(0, 10, count), random.integers(0, 3, count)
    source = random.integers(0, count, found)
    near = box[source] * random.normal(1, 0.04, (found, 4))
    near[:, 2:] = np.maximum(near[:, :2], near[:, 2:])
    truth = GroundTruth(image, category, box, random.random(count) < 0.1)
    return truth, Detections(image[source], category[source], near, random.random(found))


A = [0, 0, 100, 100]
B = [200, 0, 300, 100]
C = [0, 200, 20, 212]


# Average precision


@pytest.mark.parametrize("score", [1.0, 0.5, -3.0])
def test_perfect_detections_have_precision_one(score: float) -> None:
    truth, _ = random_boxes(0)
    found = Detections(truth.image, truth.category, truth.box, np.full(len(truth), score))
    result = average_precision(truth, found, image_count=10, category_count=3)
    for scores in (*result.by_range().values(), *result.by_category()):
        if scores.positives:
            values = (scores.ap, scores.ap50, scores.ap75, scores.ar)
            assert values == pytest.approx((1.0,) * 4, rel=0, abs=1e-12)
        else:
            assert scores.ap is None
    assert result.by_range()["all"].positives == np.count_nonzero(~truth.crowd)


def test_a_curve_by_hand() -> None:
    # Right, wrong, right: precision 1 up to recall 1/2, then 2/3.
    truth = truths((0, 0, A), (0, 0, B))
    found = detections((0, 0, A, 0.9), (0, 0, C, 0.8), (0, 0, B, 0.7))
    result = average_precision(truth, found, image_count=1, category_count=1)
    assert result.ap() == pytest.approx((51 * 1 + 50 * 2 / 3) / 101, abs=1e-12)
    assert result.ar(max_detections=1) == 0.5
    assert result.ar() == 1.0
    curve = result.scores[0, :, 0, 0, -1]
    assert curve[:51].tolist() == [0.9] * 51
    assert curve[51:].tolist() == [0.7] * 50


def test_the_twelve_numbers_in_order() -> None:
    truth, found = random_boxes(1)
    result = average_precision(truth, found, image_count=10, category_count=3)
    summary = result.summary()
    assert list(summary) == NUMBERS
    assert summary["ap"] == result.ap() == result.by_range()["all"].ap
    assert summary["ap50"] == result.ap(iou_threshold=0.5)
    assert summary["ap_small"] == result.ap(range_name="small")
    assert summary["ar_10"] == result.ar(max_detections=10)
    assert summary["ap"] == pytest.approx(np.mean([s.ap for s in result.by_category()]))


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        pytest.param(truths(), detections(), None, id="nothing"),
        pytest.param(truths(), detections((0, 0, A, 0.9)), None, id="nothing to find"),
        pytest.param(
            truths((0, 0, A, "crowd")), detections((0, 0, A, 0.9)), None, id="only a crowd"
        ),
        pytest.param(truths((0, 0, A)), detections(), 0.0, id="nothing found"),
        pytest.param(truths((0, 0, A)), detections((0, 1, A, 0.9)), 0.0, id="another category"),
        pytest.param(truths((0, 0, A)), detections((1, 0, A, 0.9)), 0.0, id="another image"),
    ],
)
def test_defined_where_there_is_little(
    truth: GroundTruth, found: Detections, expected: float | None
) -> None:
    result = average_precision(truth, found, image_count=2, category_count=3)
    assert result.precision.shape == (10, 101, 3, len(DEFAULT_RANGES), 3)
    summary = result.summary()
    assert (summary["ap"], summary["ap50"], summary["ar_100"]) == (expected,) * 3
    assert summary["ap_small"] is None
    categories = result.by_category()
    assert [scores.ap for scores in categories] == [expected, None, None]
    assert [scores.positives for scores in categories] == [0 if expected is None else 1, 0, 0]


def test_no_images_and_no_categories() -> None:
    result = average_precision(truths(), detections(), image_count=0, category_count=0)
    assert result.precision.shape == (10, 101, 0, len(DEFAULT_RANGES), 3)
    assert set(result.summary().values()) == {None}
    assert result.by_category() == ()


def test_a_height_on_a_bound_counts_once() -> None:
    # Three lights, 8, 16 and 64 pixels high; none of their edges is a whole number.
    heights = (8, 16, 64)
    truth = truths(
        *((0, 0, [x, 0.1, x + 5.7, 0.1 + h]) for x, h in zip((0, 50, 90), heights, strict=True))
    )
    result = average_precision(truth, detections(), image_count=1, category_count=1)
    counted = {name: scores.positives for name, scores in result.by_range().items()}
    assert counted == {
        "all": 3,
        "small": 3,
        "medium": 0,
        "large": 0,
        "height_0_8": 0,
        "height_8_16": 1,
        "height_16_32": 1,
        "height_32_64": 0,
        "height_64_up": 1,
    }


def test_an_area_on_a_bound_counts_in_both() -> None:
    truth = truths((0, 0, [0, 0, 32, 32]))
    result = average_precision(truth, detections(), image_count=1, category_count=1)
    assert result.positives[0, :4].tolist() == [1, 1, 1, 0]


def test_the_stated_area_is_what_counts() -> None:
    truth = truths((0, 0, A), (0, 0, B), area=[500.0, math.nan])
    result = average_precision(truth, detections(), image_count=1, category_count=1)
    assert result.positives[0, :4].tolist() == [2, 1, 0, 1]
    # A height is always that of the box.
    assert result.by_range()["height_64_up"].positives == 2


def test_sizes_outside_of_a_range_are_ignored() -> None:
    truth = truths((0, 0, A), (0, 0, C))
    found = detections((0, 0, A, 0.9), (0, 0, [400, 0, 500, 100], 0.8), (0, 0, C, 0.7))
    result = average_precision(truth, found, image_count=1, category_count=1)
    by_range = result.by_range()
    assert by_range["height_8_16"].ap == pytest.approx(1, abs=1e-12)
    assert by_range["height_64_up"].ap == pytest.approx(1, abs=1e-12)
    assert by_range["all"].ap == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_ranges_thresholds_and_limits_of_ones_own() -> None:
    truth, found = random_boxes(2)
    ranges = (Range("tall", "height", 20, math.inf), *height_ranges((5, 50)))
    result = average_precision(
        truth,
        found,
        image_count=10,
        category_count=3,
        ranges=ranges,
        iou_thresholds=(0.3,),
        max_detections=(5,),
    )
    assert result.precision.shape == (1, 101, 3, 4, 1)
    assert list(result.by_range()) == ["tall", "height_0_5", "height_5_50", "height_50_up"]
    assert result.ap(range_name="tall", iou_threshold=0.3) is not None
    assert result.by_range()["tall"].ap50 is None
    assert set(result.summary().values()) == {None}
    assert [size.label for size in ranges] == ["20+ px", "0-5 px", "5-50 px", "50+ px"]
    with pytest.raises(ValueError, match="range 'al' was not evaluated; there are tall"):
        result.ap(range_name="al")
    with pytest.raises(ValueError, match=r"IoU 0\.5 was not evaluated; there are"):
        result.ap(range_name="tall", iou_threshold=0.5)
    with pytest.raises(ValueError, match="limit 100 was not evaluated; there are"):
        result.ar(range_name="tall", max_detections=100)
    with pytest.raises(ValueError, match="'all' was not evaluated; there are tall"):
        result.by_category()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    truth, found = random_boxes(seed)
    random = np.random.default_rng(seed)
    p, q = random.permutation(len(truth)), random.permutation(len(found))
    shuffled_truth = GroundTruth(truth.image[p], truth.category[p], truth.box[p], truth.crowd[p])
    shuffled = Detections(found.image[q], found.category[q], found.box[q], found.score[q])
    before = average_precision(truth, found, image_count=10, category_count=3)
    after = average_precision(shuffled_truth, shuffled, image_count=10, category_count=3)
    np.testing.assert_array_equal(after.precision, before.precision)
    np.testing.assert_array_equal(after.recall, before.recall)
    np.testing.assert_array_equal(after.scores, before.scores)

    matches, again = match(truth, found), match(shuffled_truth, shuffled)
    np.testing.assert_array_equal(again.status, matches.status[q])
    np.testing.assert_array_equal(again.iou, matches.iou[q])
    assert best_thresholds(shuffled_truth, shuffled, category_count=3) == best_thresholds(
        truth, found, category_count=3
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_what_must_and_must_not_change_the_scores(seed: int) -> None:
    truth, found = random_boxes(seed)

    def evaluate(other: Detections) -> Any:
        return average_precision(truth, other, image_count=10, category_count=3)

    plain = evaluate(found)
    assert plain.precision.max() <= 1
    assert plain.precision[..., 0, -1].min() >= 0
    rescaled = Detections(found.image, found.category, found.box, np.exp(3 * found.score))
    np.testing.assert_array_equal(evaluate(rescaled).precision, plain.precision)
    # A ghost at the end of the list changes nothing; at its head it can only harm.
    for score, worst in ((-1.0, 0.0), (2.0, -1.0)):
        more = Detections(
            np.append(found.image, 0),
            np.append(found.category, 0),
            np.append(found.box, [[900, 900, 950, 950]], axis=0),
            np.append(found.score, score),
        )
        change = evaluate(more).ap() - plain.ap()
        assert worst <= change <= 0


# Matches


def test_a_match_by_hand() -> None:
    truth = truths((0, 0, A), (0, 0, B), (0, 0, [400, 0, 800, 400], "crowd"), (1, 1, A))
    found = detections(
        (0, 0, [0, 0, 100, 90], 0.6),  # fits A, but later than the next
        (0, 0, [0, 0, 100, 80], 0.8),  # takes A
        (0, 0, [410, 10, 450, 50], 0.7),  # both in the crowd
        (0, 0, [500, 10, 550, 50], 0.9),
        (0, 0, [200, 0, 300, 20], 0.95),  # too small for B
        (0, 1, B, 0.5),  # not the category
        (0, 0, B, 0.1),  # too faint
    )
    matches = match(truth, found, score_threshold=0.2)
    assert matches.ground_truth.tolist() == [-1, 0, 2, 2, -1, -1, -1]
    assert matches.detection.tolist() == [1, -1, 3, -1]
    assert [Status(status) for status in matches.status] == [
        Status.FALSE_POSITIVE,
        Status.TRUE_POSITIVE,
        Status.IGNORED,
        Status.IGNORED,
        Status.FALSE_POSITIVE,
        Status.FALSE_POSITIVE,
        Status.BELOW_THRESHOLD,
    ]
    np.testing.assert_allclose(matches.iou, [0.9, 0.8, 1.0, 1.0, 0.2, 0.0, math.nan])


def test_of_equal_overlaps_the_later_ground_truth_is_taken() -> None:
    matches = match(truths((0, 0, A), (0, 0, A)), detections((0, 0, A, 0.5), (0, 0, A, 0.5)))
    assert matches.ground_truth.tolist() == [1, 0]
    # Later means: of the later category, where categories are disregarded.
    truth, found = truths((0, 1, A), (0, 0, A)), detections((0, 2, A, 0.5))
    assert match(truth, found, class_agnostic=True).ground_truth.tolist() == [0]


def test_an_exact_threshold_is_reached() -> None:
    truth, half = truths((0, 0, A)), detections((0, 0, [0, 0, 100, 50], 0.5))
    assert match(truth, half, iou_threshold=0.5).ground_truth.tolist() == [0]
    assert match(truth, half, iou_threshold=0.51).ground_truth.tolist() == [-1]
    same = detections((0, 0, A, 0.5))
    assert match(truth, same, iou_threshold=1.0).ground_truth.tolist() == [0]


def test_a_threshold_of_one_forgives_rounding() -> None:
    truth, almost = truths((0, 0, A)), detections((0, 0, [0, 0, 100, 100 - 1e-9], 0.5))
    matches = match(truth, almost, iou_threshold=1.0)
    assert matches.ground_truth.tolist() == [0]
    assert matches.iou[0] < 1


def test_the_overlap_of_a_false_positive_is_with_single_objects() -> None:
    truth = truths((0, 0, A), (0, 0, [0, 0, 300, 300], "crowd"))
    found = detections((0, 0, [60, 0, 160, 100], 0.9), (0, 0, [0, 0, 100, 100], 0.8))
    matches = match(truth, found, iou_threshold=0.9)
    assert matches.ground_truth.tolist() == [1, 0]
    far = detections((0, 0, [260, 0, 360, 100], 0.9))
    assert match(truth, far).iou.tolist() == [0.0]


def test_boxes_that_only_touch_share_nothing() -> None:
    matches = match(truths((0, 0, A)), detections((0, 0, [100, 0, 200, 100], 0.5)))
    assert matches.iou.tolist() == [0.0]


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_matches_of_nothing(class_agnostic: bool) -> None:
    empty = match(truths(), detections(), class_agnostic=class_agnostic)
    assert [len(empty.ground_truth), len(empty.iou), len(empty.detection)] == [0, 0, 0]
    missed = match(truths((0, 0, A)), detections(), class_agnostic=class_agnostic)
    assert missed.detection.tolist() == [-1]
    ghost = match(truths(), detections((3, 2, A, 0.5)), class_agnostic=class_agnostic)
    assert ghost.ground_truth.tolist() == [-1]
    assert ghost.status.tolist() == [Status.FALSE_POSITIVE]
    assert ghost.iou.tolist() == [0.0]


def test_a_score_threshold_per_category() -> None:
    truth = truths((0, 0, A), (0, 1, B))
    found = detections((0, 0, A, 0.5), (0, 1, B, 0.5))
    assert match(truth, found, score_threshold=[0.5, 0.6]).ground_truth.tolist() == [0, -1]
    with pytest.raises(ValueError, match=r"one per category; found shape \(1,\) .* up to 1"):
        match(truth, found, score_threshold=[0.5])
    with pytest.raises(ValueError, match="NaN"):
        match(truth, found, score_threshold=[0.5, math.nan])


# Operating points


def test_counts_by_hand() -> None:
    truth = truths((0, 0, A), (0, 0, B), (1, 1, A), (1, 2, B, "crowd"))
    found = detections(
        (0, 0, A, 0.9), (0, 0, C, 0.8), (1, 0, C, 0.7), (1, 2, B, 0.6), (1, 1, A, 0.1)
    )
    point = precision_recall(truth, found, category_count=4, score_threshold=0.5)
    assert point.by_category == (
        Counts(true_positive=1, false_positive=2, false_negative=1),
        Counts(true_positive=0, false_positive=0, false_negative=1),
        Counts(true_positive=0, false_positive=0, false_negative=0),
        Counts(true_positive=0, false_positive=0, false_negative=0),
    )
    assert point.overall == Counts(true_positive=1, false_positive=2, false_negative=2)
    first, second, third, _ = point.by_category
    assert (first.precision, first.recall, first.f1) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert (second.precision, second.recall, second.f1) == (None, 0.0, 0.0)
    assert (third.precision, third.recall, third.f1) == (None, None, None)


def test_best_thresholds_by_hand() -> None:
    truth = truths((0, 0, A), (0, 0, B), (0, 1, A), (1, 3, A, "crowd"))
    found = detections(
        (0, 0, A, 0.9),
        (0, 0, C, 0.6),  # the score of the next: both or neither
        (0, 0, B, 0.6),
        (0, 1, C, 0.9),
        (0, 2, A, 0.9),
        (1, 3, A, 0.9),
    )
    best = best_thresholds(truth, found, category_count=4)
    assert best[0] == BestThreshold(0.6, f1=0.8, precision=2 / 3, recall=1.0)
    assert best[1] == BestThreshold(None, f1=0.0, precision=None, recall=0.0)
    assert best[2] == best[3] == BestThreshold(None, None, None, None)


def test_of_equal_f1_the_higher_threshold_is_best() -> None:
    # One of two right; then one wrong and one right: F1 is 2/3 at 0.9 and 4/6 at 0.5.
    truth = truths((0, 0, A), (0, 0, B))
    found = detections(
        (0, 0, A, 0.9), (0, 0, C, 0.7), (0, 0, [400, 0, 410, 9], 0.6), (0, 0, B, 0.5)
    )
    (best,) = best_thresholds(truth, found, category_count=1)
    assert best == BestThreshold(0.9, f1=2 / 3, precision=1.0, recall=0.5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_best_thresholds_beat_every_other(seed: int) -> None:
    truth, found = random_boxes(seed, found=60)
    found = Detections(found.image, found.category, found.box, np.round(found.score, 1))
    best = best_thresholds(truth, found, category_count=3)
    points = {
        score: precision_recall(truth, found, category_count=3, score_threshold=score)
        for score in np.unique(found.score).tolist()
    }
    for category, choice in enumerate(best):
        counts = {score: point.by_category[category] for score, point in points.items()}
        highest = max(count.f1 or 0.0 for count in counts.values())
        assert choice.f1 == highest
        if highest:
            assert choice.threshold == max(s for s, count in counts.items() if count.f1 == highest)
            at_best = counts[choice.threshold]
            assert (choice.precision, choice.recall) == (at_best.precision, at_best.recall)


def test_confusion_by_hand() -> None:
    truth = truths((0, 0, A), (0, 1, B), (0, 2, C), (1, 0, A, "crowd"))
    found = detections(
        (0, 0, A, 0.9),
        (0, 2, B, 0.8),  # a 1 taken for a 2
        (0, 1, [400, 0, 410, 9], 0.7),
        (1, 2, A, 0.6),  # in a crowd
        (0, 2, C, 0.1),
    )
    matrix = confusion_matrix(truth, found, category_count=3, score_threshold=0.5)
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    empty = confusion_matrix(truths(), detections(), category_count=2)
    assert empty.tolist() == [[0, 0, 0]] * 3


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_confusion_counts_every_box_once(seed: int) -> None:
    truth, found = random_boxes(seed)
    matrix = confusion_matrix(truth, found, category_count=3, score_threshold=0.4)
    single = truth.category[~truth.crowd]
    np.testing.assert_array_equal(matrix[:3].sum(axis=1), np.bincount(single, minlength=3))
    matches = match(truth, found, score_threshold=0.4, class_agnostic=True)
    counted = found.category[matches.status <= Status.TRUE_POSITIVE]
    np.testing.assert_array_equal(matrix[:, :3].sum(axis=0), np.bincount(counted, minlength=3))
