"""What is loaded, compared with what FiftyOne itself would have written and found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tlx.mistakes import find_mistakes
from tlx_plugins.viewers.children import private_room
from tlx_plugins.viewers.fiftyone_app import _environment
from tlx_plugins.viewers.mongod import running_mongod


@pytest.fixture(scope="module")
def judged(drive: Any, mongod: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("judge.py")
    with private_room() as room, running_mongod(mongod, room / "database", room) as server:
        done = subprocess.run(
            [sys.executable, str(script), str(drive.dataset.path), str(drive.predictions)],
            env=_environment(server.uri, "fiftyone", room),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("run", ["class_wise", "agnostic", "chosen"])
def test_a_registered_run_is_what_fiftyone_computes(judged: dict[str, Any], run: str) -> None:
    answer = judged[run]
    assert answer["labels"] > 80
    assert answer["differences"] == []
    assert answer["same_report"]
    assert answer["same_confusion"]


def test_average_precision_is_that_of_fiftyone(judged: dict[str, Any]) -> None:
    theirs, ours = judged["class_wise"]["map"]
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert 0.1 < ours < 0.95
    theirs, ours = judged["class_wise"]["mar"]
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert judged["classes_from_disk"] == ["stop", "go", "warning"]


def test_fiftyone_would_have_written_the_same_documents(judged: dict[str, Any]) -> None:
    assert judged["native"] == [True] * 40


def test_add_samples_as_the_second_way_gives_the_same_views(judged: dict[str, Any]) -> None:
    assert judged["views_by_add_samples"] == judged["views"]


def test_saved_views_count_what_numpy_counts(judged: dict[str, Any], drive: Any) -> None:
    found = find_mistakes(drive.dataset, drive.predictions)
    views = judged["views"]
    false, missed = found.false_positives_per_image, found.misses_per_image
    height = found.objects.box[:, 3] - found.objects.box[:, 1]
    small = found.missed & (height < 16)
    right = found.true_positive & (found.detections.score < 0.65)
    confusions = len(found.confusions)
    assert views["mistakes"][0] == len(found.worst_images)
    assert [views["false positives"][i] for i in (0, 2)] == [(false > 0).sum(), false.sum()]
    assert views["missed objects"][:2] == [(missed > 0).sum(), missed.sum()]
    assert views["missed small objects"][:2] == [len({*found.objects.image[small]}), small.sum()]
    images = (found.confusions_per_image > 0).sum()
    assert views["class confusions"] == [images, confusions, confusions]
    assert [views["low confidence correct"][i] for i in (0, 2)] == [
        len({*found.detections.image[right]}),
        right.sum(),
    ]
    assert views["images without objects"][0] == drive.dataset.counts.negatives
    assert views["smallest objects"][:2] == [
        len(drive.dataset) - drive.dataset.counts.negatives,
        drive.dataset.counts.objects,
    ]
    assert views["one per group"] == [4]
    assert confusions > 2
    assert small.any()
    assert right.any()


def test_the_same_input_is_not_loaded_twice(judged: dict[str, Any]) -> None:
    assert judged["reused"]
    assert judged["reuse_seconds"] < 1
    assert judged["other_name"], "other options must make another dataset"
    assert judged["mended"], "a dataset whose loading was interrupted must be loaded again"


def test_fields_have_the_types_of_the_dataset(judged: dict[str, Any]) -> None:
    types = judged["types"]
    assert types["ground_truth.detections.lamps"] == "FloatField"
    assert types["ground_truth.detections.occluded"] == "BooleanField"
    assert types["ground_truth.detections.eval_"] == "StringField"
    assert types["exposure"] == "IntField"
    assert types["time"] == "StringField"
    assert types["frame"] == "IntField"
    assert judged["track"] == "t1"
    assert judged["colors"][0] == {"value": "stop", "color": "#ee2222"}
    assert judged["filepaths"] == 40


def test_without_predictions_the_dataset_is_shown(judged: dict[str, Any]) -> None:
    images, views, opening = judged["plain"]
    assert images == 7
    assert views == ["smallest objects", "images without objects", "one per group"]
    assert opening is None


def test_a_limit_keeps_the_images_with_most_mistakes(judged: dict[str, Any], drive: Any) -> None:
    found = find_mistakes(drive.dataset, drive.predictions)
    worst = [found.image_ids[row] for row in found.worst_images[:5]]
    assert sorted(judged["worst"]) == sorted(worst)


def test_without_a_mistake_the_whole_dataset_is_shown(judged: dict[str, Any]) -> None:
    first, asked_for, notes = judged["perfect"]
    assert first is None
    assert asked_for == "mistakes"
    assert any("no mistake in 40 judged images" in note for note in notes)
