"""Predictions: in order, in stored pixels, independent of neighbours."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from PIL import Image

from tlx.api import ImageTask, TrainRequest
from tlx.errors import DataError, UsageError
from tlx_backends.torch_detection.backend import TorchBackend


@pytest.fixture(scope="module")
def learned(tmp_path_factory, new_scene, new_log):
    folder = tmp_path_factory.mktemp("predict")
    dataset = new_scene(folder).dataset(splits={"train": 24, "val": 6})
    run = folder / "run"
    run.mkdir()
    options = {"shorter_side": 64, "threads": 1, "tensorboard": False, "validate_every": 8}
    wanted = TrainRequest(
        dataset=str(dataset.path),
        run=str(run),
        model="fcos_shufflenet_v2_x0_5_fpn",
        epochs=8,
        batch_size=4,
        options=options,
    )
    result = TorchBackend().train(wanted, new_log().context)
    tasks = [ImageTask(r.image_id, str(dataset.image_path(r.uri))) for r in dataset.records("val")]
    return dataset, Path(result.best), tasks


def detect(checkpoint, tasks, log, **options):
    return list(TorchBackend().predict(checkpoint, tasks, log.context, **options))


def overlap(a, b) -> float:
    width = max(0.0, min(a.xmax, b.xmax) - max(a.xmin, b.xmin))
    height = max(0.0, min(a.ymax, b.ymax) - max(a.ymin, b.ymin))
    return width * height / (a.area + b.area - width * height)


def test_order_scores_and_places(learned, log):
    dataset, checkpoint, tasks = learned
    backwards = tasks[::-1]
    found = detect(checkpoint, backwards, log, batch_size=4)
    assert [p.image_id for p in found] == [t.image_id for t in backwards]
    truth = {r.image_id: r for r in dataset.records("val")}
    hits = total = 0
    for prediction in found:
        scores = [d.score for d in prediction.detections]
        assert scores == sorted(scores, reverse=True)
        record = truth[prediction.image_id]
        for d in prediction.detections:
            assert 0 <= d.box.xmin < d.box.xmax <= record.width
            assert 0 <= d.box.ymin < d.box.ymax <= record.height
        for item in record.objects:
            total += 1
            hits += any(
                overlap(d.box, item.box) > 0.5
                for d in prediction.detections
                if d.category == item.category
            )
    assert hits > 0.7 * total


def test_neighbours_do_not_matter(learned, log, tmp_path):
    _, checkpoint, tasks = learned
    odd = tmp_path / "odd.png"
    Image.new("RGB", (150, 70), (90, 90, 90)).save(odd)
    mixed = [tasks[0], ImageTask("odd", str(odd)), *tasks[1:]]
    together = detect(checkpoint, mixed, log, batch_size=8)
    alone = [p for t in mixed for p in detect(checkpoint, [t], log, batch_size=1)]
    for a, b in zip(together, alone, strict=True):
        assert len(a.detections) == len(b.detections)
        for x, y in zip(a.detections, b.detections, strict=True):
            assert x.score == pytest.approx(y.score, abs=1e-4)


def test_an_enlarged_image_gives_the_same_boxes_enlarged(learned, log, tmp_path):
    _, checkpoint, tasks = learned
    larger = []
    for number, task in enumerate(tasks):
        path = tmp_path / f"{number}.png"
        with Image.open(task.path) as picture:
            size = (picture.width * 4, picture.height * 4)
            picture.resize(size, Image.Resampling.NEAREST).save(path)
        larger.append(ImageTask(task.image_id, str(path)))
    small = detect(checkpoint, tasks, log, score_threshold=0.4)
    large = detect(checkpoint, larger, log, score_threshold=0.4)
    overlaps = []
    for a, b in zip(small, large, strict=True):
        for d in a.detections:
            scaled = type(d.box)(*(4 * v for v in (d.box.xmin, d.box.ymin, d.box.xmax, d.box.ymax)))
            overlaps.append(max((overlap(scaled, e.box) for e in b.detections), default=0.0))
    assert len(overlaps) >= 3
    # Enlarging blurs, so the boxes move a little, and how far depends on the processor that the
    # network was trained on. In a wrong scale a box overlaps by a sixteenth at most.
    assert min(overlaps) > 0.25
    assert statistics.median(overlaps) > 0.5


def test_the_score_threshold_cuts(learned, log):
    _, checkpoint, tasks = learned
    everything = detect(checkpoint, tasks, log)
    few = detect(checkpoint, tasks, log, score_threshold=0.5)
    assert all(d.score >= 0.5 for p in few for d in p.detections)
    for a, b in zip(everything, few, strict=True):
        strong = [d for d in a.detections if d.score >= 0.5]
        assert len(strong) == len(b.detections)


def test_an_unreadable_image_is_an_issue(learned, log, tmp_path, new_log):
    _, checkpoint, tasks = learned
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    mixed = [tasks[0], ImageTask("broken", str(broken)), tasks[1]]
    with pytest.raises(DataError, match="no picture"):
        detect(checkpoint, mixed, log)
    lenient = new_log("skip")
    found = detect(checkpoint, mixed, lenient)
    assert [p.image_id for p in found] == [tasks[0].image_id, tasks[1].image_id]
    assert lenient.issues.counts == {"unreadable-image": 1}


def test_what_is_no_checkpoint(log, tmp_path):
    import torch

    foreign = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1)}, foreign)
    with pytest.raises(DataError, match="no checkpoint of the torch backend"):
        detect(foreign, [], log)
    with pytest.raises(UsageError, match="there is no checkpoint"):
        detect(tmp_path / "nothing.pt", [], log)
