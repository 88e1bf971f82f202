"""Row moving, judged by what the networks compute."""

from __future__ import annotations

import math

import pytest
import torch

from tlx.errors import DataError, UsageError
from tlx_backends.torch_detection import checkpoints, networks, weight_files
from tlx_backends.torch_detection.catalog import architecture
from tlx_backends.torch_detection.options import TorchOptions
from tlx_backends.torch_detection.restoring import restore
from tlx_backends.torch_detection.settings import NetworkSettings

OLD = ("bus", "traffic light", "car")
NEW = ("go", "bus", "stop", "tree")
SPLIT = {"go": "traffic light", "stop": "traffic light"}


def built(name, classes, seed):
    settings = NetworkSettings.of(name, classes, TorchOptions())
    torch.manual_seed(seed)
    return networks.build(settings).eval(), settings


@pytest.fixture
def start(tmp_path):
    """Save a network of old classes and start one of new classes from it."""

    def run(name, *, warm_start=SPLIT, blend=1.0, classes=NEW):
        old, old_settings = built(name, OLD, seed=1)
        for key, value in old.state_dict().items():
            if value.is_floating_point() and key.endswith("bias"):
                value.normal_(std=0.1)
        path = tmp_path / f"{name}.pt"
        checkpoints.save(path, {"settings": old_settings.plain(), "model": old.state_dict()})
        new, settings = built(name, classes, seed=2)
        rows = {c: old_settings.first_label + k for k, c in enumerate(OLD)}
        table = restore(
            new, settings, weight_files.read(path), rows, old_settings.rows, warm_start, blend
        )
        return old, new, settings.first_label, table

    return run


@torch.inference_mode()
def outputs(model, name):
    """Class scores [cells, rows] and, for Faster R-CNN, boxes per class."""
    torch.manual_seed(3)
    if architecture(name).family == "faster_rcnn":
        scores, boxes = model.roi_heads.box_predictor(torch.randn(5, 1024))
        return scores, boxes.view(5, -1, 4)
    size = 320 if architecture(name).stretch else 96
    features = list(model.backbone(torch.randn(1, 3, size, size)).values())
    head = model.head(features)
    return head["cls_logits"][0], head["bbox_regression"][0]


SIGMOID = ["fcos_shufflenet_v2_x0_5_fpn", "retinanet_resnet50_fpn"]
SOFTMAX = [
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
    "ssd300_vgg16",
]


@pytest.mark.parametrize("name", SIGMOID + SOFTMAX)
def test_logits_of_moved_rows_equal_those_of_the_old_class(start, name):
    old, new, first, table = start(name)
    before, old_boxes = outputs(old, name)
    after, new_boxes = outputs(new, name)
    light, bus = first + OLD.index("traffic light"), first + OLD.index("bus")
    split_bias = math.log(2) if name in SOFTMAX else 0.0
    for k, c in enumerate(NEW):
        if c in SPLIT:
            torch.testing.assert_close(after[:, first + k], before[:, light] - split_bias)
    torch.testing.assert_close(after[:, first + NEW.index("bus")], before[:, bus])
    if name in SOFTMAX:
        torch.testing.assert_close(after[:, 0], before[:, 0])
    if architecture(name).family == "faster_rcnn":
        torch.testing.assert_close(new_boxes[:, first], old_boxes[:, light])
    else:
        torch.testing.assert_close(new_boxes, old_boxes)
    fresh = first + NEW.index("tree")
    assert not any(torch.allclose(after[:, fresh], before[:, k]) for k in range(before.shape[1]))
    assert [(c.name, c.old) for c in table.classes] == [
        ("go", "traffic light"),
        ("bus", "bus"),
        ("stop", "traffic light"),
        ("tree", None),
    ]


def test_splitting_a_softmax_class_keeps_its_probability(start):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    classes = ("bus", "go", "stop", "car")
    old, new, first, _ = start(name, classes=classes)
    before = outputs(old, name)[0].softmax(-1)
    after = outputs(new, name)[0].softmax(-1)
    both = after[:, first + 1] + after[:, first + 2]
    torch.testing.assert_close(both, before[:, first + 1])


def test_the_same_classes_give_the_same_network(start):
    old, new, _, table = start(SIGMOID[0], classes=OLD, warm_start={}, blend=None)
    for name, value in old.state_dict().items():
        assert torch.equal(value, new.state_dict()[name]), name
    assert all(part.new == 0 for part in table.parts)
    assert table.unused == 0


def test_split_sigmoid_rows_are_mixed_by_default(start):
    name = SIGMOID[0]
    old, new, _, table = start(name, blend=None)
    fresh, _ = built(name, NEW, seed=2)
    row = "head.classification_head.cls_logits.weight"
    expected = 0.3 * old.state_dict()[row][1] + 0.7 * fresh.state_dict()[row][0]
    torch.testing.assert_close(new.state_dict()[row][0], expected)
    assert [c.share for c in table.classes] == [0.3, 1.0, 0.3, 0.0]


@pytest.mark.parametrize(
    ("warm_start", "message"),
    [
        ({"go": "trafic light"}, "Did you mean 'traffic light'"),
        ({"gogo": "traffic light"}, "Did you mean 'go'"),
    ],
)
def test_unknown_classes_name_the_nearest(start, warm_start, message):
    with pytest.raises(UsageError, match=message):
        start(SIGMOID[0], warm_start=warm_start)


def test_a_warm_start_needs_weights():
    model, settings = built(SIGMOID[0], NEW, seed=0)
    with pytest.raises(UsageError, match="the weights are random"):
        restore(model, settings, None, None, None, SPLIT, None)


def test_a_file_that_fits_nothing_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"encoder.weight": torch.zeros(3, 3)}, path)
    model, settings = built(SIGMOID[0], NEW, seed=0)
    with pytest.raises(DataError, match="none fits fcos_shufflenet"):
        restore(model, settings, weight_files.read(path), None, None, {}, None)
