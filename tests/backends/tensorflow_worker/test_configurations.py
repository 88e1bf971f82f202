"""Generated configurations: what decides them, and that the API builds and trains what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.errors import UsageError
from tlx_backends.tensorflow.worker import anchors, network_config
from tlx_backends.tensorflow.worker.families import FAMILIES, family

HERE = Path(__file__).parent
WORKER = HERE.parents[2] / "backends" / "tlx_backends" / "tensorflow" / "worker"
FAST = ("ssd_mobilenet_v2_fpnlite", "ssd_mobilenet_v2")
HEAVY = ("efficientdet_d0", "efficientdet_d1", "faster_rcnn_resnet50_v1", "ssd_resnet50_v1_fpn",
         "centernet_mobilenet_v2_fpn", "centernet_resnet18_v1_fpn", "centernet_resnet50_v1_fpn",
         "centernet_resnet50_v2")  # fmt: skip
# Up to a minute and 6.3 GB each (the hourglass); the same code with more layers.
HUGE = tuple(f.name for f in FAMILIES if f.name not in FAST + HEAVY)

Job = dict[str, Any]
Events = list[dict[str, Any]]
sides = st.floats(1.0, 500.0)


def leaves(block: Any) -> list[Any]:
    if isinstance(block, dict):
        return [leaf for value in block.values() for leaf in leaves(value)]
    if isinstance(block, list):
        return [leaf for value in block for leaf in leaves(value)]
    return [block]


@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=40), st.sampled_from(FAMILIES))
def test_anchors_follow_the_boxes(boxes: list[tuple[float, float]], chosen: Any) -> None:
    size = chosen.size
    found = anchors.anchors_of(boxes, size)
    assert 1 <= len(found.ratios) <= 3
    assert list(found.ratios) == sorted(found.ratios)
    assert 0 < found.smallest <= found.largest
    config = anchors.generator(chosen, found, size)
    assert (config is None) == (chosen.kind == "center_net")
    if config is not None:
        shapes = anchors.shapes_of(config, size)
        assert all(w > 0 and h > 0 and math.isfinite(w * h) for w, h in shapes)
        assert anchors.covered(shapes, shapes) == 1.0
        assert 0.0 <= anchors.covered(boxes, shapes) <= 1.0


def test_anchors_of_lights_cover_them_where_cocos_do_not() -> None:
    chosen = family("ssd_mobilenet_v2_fpnlite")
    stored = [(8 + i % 9, 2.4 * (8 + i % 9), 1280, 720) for i in range(100)]
    boxes = anchors.input_boxes(stored, 640, stretch=True)
    ours = anchors.generator(chosen, anchors.anchors_of(boxes, 640), 640)
    coco = {
        "multiscale_anchor_generator": {
            "min_level": 3, "max_level": 7, "anchor_scale": 4.0, "scales_per_octave": 2,
            "aspect_ratios": [1.0, 2.0, 0.5],
        }
    }  # fmt: skip
    assert ours is not None
    assert anchors.covered(boxes, anchors.shapes_of(coco, 640)) < 0.1
    assert anchors.covered(boxes, anchors.shapes_of(ours, 640)) > 0.9


def test_boxes_in_the_input_are_stretched_or_padded_as_the_image_is() -> None:
    stored = [(20.0, 10.0, 200, 100), (0.0, 5.0, 200, 100)]
    assert anchors.input_boxes(stored, 100, stretch=True) == [(10.0, 10.0)]
    assert anchors.input_boxes(stored, 100, stretch=False) == [(10.0, 5.0)]


@pytest.mark.parametrize("chosen", FAMILIES, ids=lambda f: f.name)
def test_a_block_says_everything_whose_default_is_wrong(chosen: Any) -> None:
    generator = anchors.generator(chosen, anchors.anchors_of([(20, 50)], chosen.size), chosen.size)
    shape = network_config.Shape(3, chosen.size, generator)
    (kind, block), *_ = network_config.network_block(chosen, shape).items()
    assert block["num_classes"] == 3
    assert None not in leaves(block)
    if kind == "ssd":
        assert block["post_processing"]["score_converter"] == "SIGMOID"
        assert block["matcher"]["argmax_matcher"]["force_match_for_each_row"]
        head = next(iter(block["box_predictor"].values()))
        for part in (head, block["feature_extractor"]):
            layers = part["conv_hyperparams"]
            assert layers["regularizer"]["l2_regularizer"]["weight"] < 0.01
            assert layers["batch_norm"]["scale"]
        assert head["class_prediction_bias_init"] == -4.6
    if kind == "faster_rcnn":
        assert block["second_stage_post_processing"]["score_converter"] == "SOFTMAX"


def test_sizes_and_names_that_do_not_fit_are_answered_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="use 256 or 384"):
        family("efficientdet_d0").require_size(300)
    with pytest.raises(ValueError, match="nearest are .*ssd_mobilenet_v2"):
        family("ssd_mobilenet_v1")
    for chosen in FAMILIES:
        chosen.require_size(chosen.size)
        chosen.require_size(chosen.smallest)


def built(
    names: tuple[str, ...], run_worker: Callable[..., Events], train_job: Callable[..., Job]
) -> None:
    """Each family parses, builds and learns from one step on small records."""
    asked = [
        {
            "model": name,
            "size": [max(family(name).smallest, 64)] * 2,
            "settings": {"proposals": 16, "depth_multiplier": 0.35},
        }
        for name in names
    ]
    job = train_job(batch_size=2, families=asked, worker=str(WORKER))
    events = run_worker(job, folder=HERE / "family_judge")
    found = [event for event in events if event["ev"] == "family"]
    assert [event["model"] for event in found] == list(names)
    for event in found:
        assert event["loss"] > 0, event
        assert event["changed"] > 0.8 * event["variables"], event
        assert event["boxes"] == [1, 100, 4], event
        assert set(event["classes"]) <= {0, 1}, event


def test_fast_families_build_and_learn(
    run_worker: Callable[..., Events], train_job: Callable[..., Job]
) -> None:
    built(FAST, run_worker, train_job)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_heavy_families_build_and_learn(
    name: str, run_worker: Callable[..., Events], train_job: Callable[..., Job]
) -> None:
    built((name,), run_worker, train_job)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("name", HUGE)
def test_huge_families_build_and_learn(
    name: str, run_worker: Callable[..., Events], train_job: Callable[..., Job]
) -> None:
    built((name,), run_worker, train_job)


def test_a_users_configuration_is_completed_and_the_differences_are_said(
    run_worker: Callable[..., Events], train_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = train_job(kind="config")
    run_worker(job)
    text = (Path(job["run"]) / "pipeline.config").read_text()
    mine = tmp_path / "mine.config"
    mine.write_text(
        text.replace("num_classes: 2", "num_classes: 90")
        .replace("use_bfloat16: false", "use_bfloat16: true")
        .replace("score_converter: SIGMOID", "")
        .replace("fine_tune_checkpoint_version: V2", 'fine_tune_checkpoint: "PATH"')
    )
    events = run_worker({**train_job("second", kind="config"), "config": str(mine)})
    said = {line.split(": ", 1)[0]: line for line in events[-1]["result"]["differences"]}
    assert said["model.ssd.num_classes"].endswith("90 -> 2")
    assert said["train_config.use_bfloat16"].endswith("True -> False")
    assert "not set -> 1" in said["model.ssd.post_processing.score_converter"]
    assert said["train_config.fine_tune_checkpoint"].endswith("PATH -> not set")
    assert len(said) == 5, said


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("seed_star_wars/object_detection/data/ssd_inception_v2_pets.config", "ssd_inception_v2",
         "ssd_mobilenet_v2", "ssd_random_crop -> --scale-jitter"),
        ("seed_peaches/model/faster_rcnn_resnet50_coco.config", "faster_rcnn_resnet50",
         "faster_rcnn_resnet50_v1", "600 to 1024 -> padded to one square"),
    ],
)  # fmt: skip
def test_a_configuration_of_tensorflow_1_is_explained(
    run_worker: Callable[..., Events],
    train_job: Callable[..., Job],
    shared_data: Path,
    file: str,
    old: str,
    new: str,
    said: str,
) -> None:
    lines: list[str] = []

    def hear(event: Any) -> bool:
        lines.append(str(event.get("message")))
        return False

    job = {**train_job(), "config": str(shared_data / file)}
    with pytest.raises(UsageError, match=f"its {old} has no TensorFlow 2 form, and {new}"):
        run_worker(job, until=hear)
    told = "\n".join(lines)
    assert said in told
    # Every key of the file is answered.
    for key in ("num_classes", "train_config.optimizer", "train_config.fine_tune_checkpoint",
                "train_config.from_detection_checkpoint", "eval_config.max_evals",
                "train_input_reader"):  # fmt: skip
        assert f"\n{key}: " in told
