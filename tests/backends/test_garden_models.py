"""What tfvision knows without TensorFlow: its networks, their sizes, anchors for a data set."""

from __future__ import annotations

import pytest

from tlx.host import installed
from tlx_backends.tensorflow.worker.garden.experiment import anchors
from tlx_backends.tensorflow.worker.garden.models import MODELS, garden_model


def test_the_backend_shares_environment_and_host_code() -> None:
    tfod, tfvision = (installed().backend(name) for name in ("tfod", "tfvision"))
    assert tfvision.environment is tfod.environment  # type: ignore[attr-defined]
    assert [model.name for model in tfvision.models()] == [model.name for model in MODELS]
    assert all(model.parameters > 0 for model in tfvision.models())


def test_sizes_and_names_are_checked() -> None:
    garden_model("retinanet_mobilenet_v2_fpn").require_size(96)
    with pytest.raises(ValueError, match="a multiple of 128; use 256 or 384"):
        garden_model("retinanet_spinenet49").require_size(320)
    with pytest.raises(ValueError, match="did you mean retinanet_resnet50_fpn"):
        garden_model("retinanet_resnet_50_fpn")


def test_anchors_follow_the_boxes() -> None:
    assert anchors([], 640, 3)["anchor_size"] == 4.0
    # Tall lights of 10 x 20 pixels in images of twice the input's side.
    small = anchors([[10, 20, 1280, 960]] * 40, 640, 3)
    assert small["aspect_ratios"] == [0.5]
    assert small["anchor_size"] == 1.0
    large = anchors([[200, 200, 640, 640]] * 40, 640, 3)
    assert (large["aspect_ratios"], large["anchor_size"]) == ([1.0], 4.0)
    mixed = anchors([[40, 40, 640, 640]] * 20 + [[80, 20, 640, 640]] * 20, 640, 3)
    assert mixed["aspect_ratios"] == [1.0, 4.0]
