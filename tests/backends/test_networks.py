"""Networks as built, with torchvision's own builders as judges."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import get_model_weights
from torchvision.models._api import WeightsEnum
from torchvision.ops import FrozenBatchNorm2d

from tlx.errors import UsageError
from tlx_backends.torch_detection import networks
from tlx_backends.torch_detection.catalog import ARCHITECTURES, architecture
from tlx_backends.torch_detection.class_rows import layout_of
from tlx_backends.torch_detection.options import TorchOptions
from tlx_backends.torch_detection.settings import NetworkSettings
from tlx_backends.torch_detection.starting import _published_layers

NAMES = [entry.name for entry in ARCHITECTURES]
OFFICIAL = [entry.name for entry in ARCHITECTURES if entry.published]
TINY = "fcos_shufflenet_v2_x0_5_fpn"


def settings(name: str, classes: tuple[str, ...] = ("a", "b", "c"), **changes) -> NetworkSettings:
    plain = NetworkSettings.of(name, classes, TorchOptions()).plain()
    return NetworkSettings.from_plain({**plain, **changes})


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a builder tried to load weights by itself")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)


@pytest.mark.parametrize("name", NAMES)
def test_class_rows_lie_where_the_layout_says(name):
    shapes = []
    for count in (3, 5):
        chosen = settings(name, tuple("abcde"[:count]))
        with torch.device("meta"):
            model = networks.build(chosen)
        shapes.append({k: tuple(v.shape) for k, v in model.state_dict().items()})
    family = architecture(name).family
    three, five = shapes
    assert three.keys() == five.keys()
    differing = {k for k in three if three[k] != five[k]}
    assert differing == {k for k in three if layout_of(k, family)}
    for k in differing:
        layout = layout_of(k, family)
        rows = [chosen_rows(family, count) * layout.inner for count in (3, 5)]
        assert three[k][0] % rows[0] == 0
        assert three[k][0] // rows[0] == five[k][0] // rows[1]


def chosen_rows(family: str, classes: int) -> int:
    return classes + (family in ("faster_rcnn", "ssd"))


@pytest.mark.parametrize("name", OFFICIAL)
def test_with_published_weights_layers_are_as_torchvisions_builder_makes_them(name, monkeypatch):
    published = architecture(name).published[0]
    chosen = settings(
        name,
        tuple(f"c{k}" for k in range(91 - architecture(name).background)),
        frozen_eps=published.frozen_eps,
        trainable_layers=_published_layers(architecture(name), published),
    )
    with torch.device("meta"):
        ours = networks.build(chosen)
        with monkeypatch.context() as patch:
            patch.setattr(WeightsEnum, "get_state_dict", lambda *a, **k: {})
            patch.setattr(nn.Module, "load_state_dict", lambda *a, **k: None)
            builder = networks._BUILDERS[name]
            theirs = builder(weights=get_model_weights(name).DEFAULT)
    assert trainable(ours) == trainable(theirs)
    assert norms(ours) == norms(theirs)


def trainable(model: nn.Module) -> set[str]:
    return {name for name, value in model.named_parameters() if value.requires_grad}


def norms(model: nn.Module) -> dict[str, tuple[str, float]]:
    kinds = (nn.BatchNorm2d, FrozenBatchNorm2d)
    return {
        name: (type(m).__name__, m.eps) for name, m in model.named_modules() if isinstance(m, kinds)
    }


def test_the_tiny_network_is_tiny_and_sees_from_stride_four():
    model = networks.build(settings(TINY))
    assert sum(p.numel() for p in model.parameters()) < 1_500_000
    features = model.backbone(torch.zeros(1, 3, 128, 192))
    assert next(tuple(f.shape[-2:]) for f in features.values()) == (32, 48)


@pytest.mark.parametrize("frozen", [0, 1, 4])
def test_frozen_stages_stay_as_they_are(frozen):
    chosen = settings(TINY, trainable_layers=4 - frozen)
    model = networks.build(chosen)
    networks.train_mode(model, chosen)
    body = model.backbone.body
    stages = [body.conv1, body.stage2, body.stage3, body.stage4]
    for k, stage in enumerate(stages):
        assert stage.training == (k >= frozen)
        assert all(p.requires_grad == (k >= frozen) for p in stage.parameters())


def test_too_many_trainable_layers_are_refused():
    with pytest.raises(UsageError, match="must be 0 to 4, not 9"):
        networks.build(settings(TINY, trainable_layers=9))


def test_input_layer_normalises_pads_and_swaps():
    from tlx_backends.torch_detection.input_layer import InputLayer

    image = torch.zeros(3, 30, 40, dtype=torch.uint8)
    image[0] = 255
    mean, std = (0.5, 0.25, 0.0), (0.5, 0.5, 1.0)
    batch, _ = InputLayer(mean, std, "rgb", 32)([image])
    assert batch.tensors.shape == (1, 3, 32, 64)
    assert batch.image_sizes == [(30, 40)]
    torch.testing.assert_close(batch.tensors[0, :, 0, 0], torch.tensor([1.0, -0.5, 0.0]))
    assert (batch.tensors[0, :, 31, :] == 0).all()
    swapped, _ = InputLayer(mean, std, "bgr", 32)([image])
    assert torch.equal(swapped.tensors, batch.tensors.flip(1))


def test_the_catalog_states_the_tiny_networks_size():
    model = networks.build(settings(TINY))
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert architecture(TINY).parameters == pytest.approx(millions, abs=0.005)
