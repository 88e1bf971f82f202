"""The join of a dataset with predictions, and what counts as a mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlx.dataset import Dataset, write_dataset
from tlx.errors import DataError, UsageError
from tlx.mistakes import Mistakes, find_mistakes
from tlx.model import Box, Detection, Object, Prediction, Record, Taxonomy
from tlx.predictions import write_predictions

CLASSES = ("stop", "go")
BOX = Box(10.0, 10.0, 20.0, 30.0)
FAR = Box(50.0, 10.0, 60.0, 30.0)


def dataset(path: Path, records: list[Record]) -> Dataset:
    return write_dataset(path / "a.tlx", records, Taxonomy.of(CLASSES), path, ())


def mistakes(
    path: Path, records: list[Record], predictions: list[Prediction], split: str | None = None
) -> Mistakes:
    file = path / "p.parquet"
    write_predictions(file, predictions, {}, overwrite=True)
    return find_mistakes(dataset(path, records), file, split)


def record(name: str, *objects: Object, split: str | None = None) -> Record:
    return Record(image_id=name, uri=name, width=100, height=50, split=split, objects=objects)


def test_tells_right_wrong_missed_and_confused_apart(tmp_path: Path) -> None:
    result = mistakes(
        tmp_path,
        [
            record("b.jpg", Object(category="stop"), Object(category="stop", box=BOX)),
            record("a.jpg", Object(category="go", box=BOX), Object(category="go", box=FAR)),
            record("empty.jpg"),
        ],
        [
            Prediction("b.jpg", (Detection("stop", BOX, 0.9), Detection("stop", FAR, 0.2))),
            Prediction("a.jpg", (Detection("stop", BOX, 0.8), Detection("go", FAR, 0.29))),
            Prediction("empty.jpg", (Detection("go", BOX, 0.3),)),
        ],
    )
    assert result.image_ids == ("a.jpg", "b.jpg", "empty.jpg")
    # The stop light without a box comes first in its record, so the box that counts is number 1.
    assert result.object_index.tolist() == [0, 1, 1]
    assert result.missed.tolist() == [True, True, False]
    assert result.true_positive.tolist() == [False, False, True, False, False]
    assert result.false_positive.tolist() == [True, False, False, False, True]
    assert result.false_positives_per_image.tolist() == [1, 0, 1]
    assert result.misses_per_image.tolist() == [2, 0, 0]
    assert result.true_positives_per_image.tolist() == [0, 1, 0]
    assert result.confusions.tolist() == [[0, 0]]
    assert result.confused_classes() == [("go", "stop", 1)]
    assert [result.image_ids[row] for row in result.worst_images] == ["a.jpg", "empty.jpg"]


def test_crowds_are_neither_missed_nor_do_they_make_detections_wrong(tmp_path: Path) -> None:
    result = mistakes(
        tmp_path,
        [record("a", Object(category="go", box=FAR, crowd=True))],
        [Prediction("a", (Detection("go", FAR, 0.9), Detection("go", FAR, 0.8)))],
    )
    assert not result.missed.any()
    assert not result.found.any()
    assert not result.false_positive.any()
    assert not result.true_positive.any()


def test_an_image_without_a_row_is_not_judged(tmp_path: Path) -> None:
    result = mistakes(
        tmp_path,
        [record("a", Object(category="go", box=BOX)), record("b", Object(category="go", box=BOX))],
        [Prediction("b", ())],
    )
    assert result.image_ids == ("b",)
    assert result.unpredicted == ("a",)
    assert result.misses_per_image.tolist() == [1]


def test_a_split_leaves_the_others_out(tmp_path: Path) -> None:
    records = [
        record("a", Object(category="go", box=BOX), split="train"),
        record("b", split="val"),
    ]
    predictions = [Prediction("a", ()), Prediction("b", (Detection("go", BOX, 1.0),))]
    result = mistakes(tmp_path, records, predictions, "val")
    assert result.image_ids == ("b",)
    assert result.unpredicted == ()
    with pytest.raises(UsageError, match="'test'"):
        find_mistakes(Dataset.open(tmp_path / "a.tlx"), tmp_path / "p.parquet", "test")


def test_no_objects_and_no_detections(tmp_path: Path) -> None:
    result = mistakes(tmp_path, [record("a")], [Prediction("a", ())])
    assert result.worst_images.tolist() == []
    assert result.confusions.shape == (0, 2)
    nothing = mistakes(tmp_path / "no", [record("a", Object(category="go", box=BOX))], [])
    assert nothing.image_ids == ()
    assert nothing.unpredicted == ("a",)


@pytest.mark.parametrize(
    ("prediction", "says"),
    [
        (Prediction("c", ()), "'c', which .* lacks"),
        (Prediction("a", (Detection("stpo", BOX, 1.0),)), "'stpo'.*Did you mean 'stop'"),
        (Prediction("a", (Detection("go", Box(5, 5, 1, 9), 1.0),)), "'a' has no usable box"),
        (Prediction("a", (Detection("go", BOX, float("nan")),)), "'a' has no usable"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    tmp_path: Path, prediction: Prediction, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        mistakes(tmp_path, [record("a")], [prediction])


def test_an_image_predicted_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="twice"):
        mistakes(tmp_path, [record("a")], [Prediction("a", ()), Prediction("a", ())])


def test_an_inverted_object_is_refused_by_name(tmp_path: Path) -> None:
    bad = record("a", Object(category="go", box=Box(5, 5, 1, 9)))
    with pytest.raises(DataError, match="an object of the image 'a'"):
        mistakes(tmp_path, [bad], [Prediction("a", ())])


@pytest.mark.parametrize("values", [(0.0, 0.3), (1.1, 0.3), (0.5, -0.1), (0.5, float("nan"))])
def test_thresholds_out_of_range_are_refused(tmp_path: Path, values: tuple[float, float]) -> None:
    mistakes(tmp_path, [record("a")], [])
    with pytest.raises(UsageError, match="threshold must be"):
        find_mistakes(
            Dataset.open(tmp_path / "a.tlx"), tmp_path / "p.parquet", None, values[0], values[1]
        )


_CORNER = st.integers(0, 30).map(float)
_SIZE = st.integers(4, 12).map(float)
_BOXES = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), _CORNER, _CORNER, _SIZE, _SIZE)
_OBJECTS = st.lists(
    st.builds(lambda b, c: Object(category=c, box=b), _BOXES, st.sampled_from(CLASSES))
)
_SCORES = st.sampled_from([0.1, 0.3, 0.6, 0.9])
_DETECTIONS = st.lists(st.builds(Detection, st.sampled_from(CLASSES), _BOXES, _SCORES))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(_OBJECTS, _DETECTIONS), min_size=1, max_size=3))
def test_every_object_and_judged_detection_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory,
    images: list[tuple[list[Object], list[Detection]]],
) -> None:
    result = mistakes(
        tmp_path_factory.mktemp("any"),
        [record(str(i), *objects) for i, (objects, _) in enumerate(images)],
        [Prediction(str(i), tuple(detections)) for i, (_, detections) in enumerate(images)],
    )
    found = result.true_positives_per_image
    assert (found + result.misses_per_image).tolist() == [len(objects) for objects, _ in images]
    judged = [sum(d.score >= 0.3 for d in detections) for _, detections in images]
    assert (found + result.false_positives_per_image).tolist() == judged
    missed, false = result.confusions.T
    assert result.missed[missed].all()
    assert result.false_positive[false].all()
    assert len(np.unique(missed)) == len(missed)
    assert len(np.unique(false)) == len(false)
    # Of one class the better detection would have taken the object: they are never left together.
    assert (result.objects.category[missed] != result.detections.category[false]).all()
    assert (result.objects.image[missed] == result.detections.image[false]).all()
