"""Builds detectors empty: no weights are loaded here and none are ever fetched by a builder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x0_5
from torchvision.models.detection import (
    FCOS,
    fasterrcnn_mobilenet_v3_large_320_fpn,
    fasterrcnn_mobilenet_v3_large_fpn,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
    fcos_resnet50_fpn,
    retinanet_resnet50_fpn,
    retinanet_resnet50_fpn_v2,
    ssd300_vgg16,
    ssdlite320_mobilenet_v3_large,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import (
    FCOSClassificationHead,
    FCOSHead,
    FCOSRegressionHead,
)
from torchvision.ops import FrozenBatchNorm2d

from tlx.errors import UsageError
from tlx_backends.torch_detection.input_layer import InputLayer
from tlx_backends.torch_detection.settings import NetworkSettings

Found = dict[str, Tensor]
"""Detections of one image: ``boxes`` float32 [n, 4] in input pixels, ``labels``, ``scores``."""

Network = Callable[[list[Tensor]], list[Found]]
"""A detector in evaluation mode, built here or loaded from an exported file."""

_BUILDERS: dict[str, Any] = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": fasterrcnn_mobilenet_v3_large_320_fpn,
    "fasterrcnn_mobilenet_v3_large_fpn": fasterrcnn_mobilenet_v3_large_fpn,
    "fasterrcnn_resnet50_fpn": fasterrcnn_resnet50_fpn,
    "fasterrcnn_resnet50_fpn_v2": fasterrcnn_resnet50_fpn_v2,
    "fcos_resnet50_fpn": fcos_resnet50_fpn,
    "retinanet_resnet50_fpn": retinanet_resnet50_fpn,
    "retinanet_resnet50_fpn_v2": retinanet_resnet50_fpn_v2,
    "ssd300_vgg16": ssd300_vgg16,
    "ssdlite320_mobilenet_v3_large": ssdlite320_mobilenet_v3_large,
}

_MOST_CANDIDATES = 1 << 20

# The tiny detector. Levels and channels of shufflenet_v2_x0_5: maxpool is stride 4.
_TINY_LEVELS = {"maxpool": 24, "stage2": 48, "stage3": 96, "stage4": 192}
_TINY_STRIDE = 4
_TINY_WIDTH = 32
_TINY_CONVOLUTIONS = 2
_TINY_GROUPS = 8


def build(settings: NetworkSettings) -> nn.Module:
    """Build a detector with random weights from torch's global generator.

    The result takes a list of uint8 images [3, h, w] (RGB, already at the network's input size)
    and, in training, targets with ``boxes`` float [n, 4] (xmin, ymin, xmax, ymax in input pixels)
    and ``labels`` int64 [n] (class rows); detections come back in input pixels.
    """
    model: Any
    if settings.model == "fcos_shufflenet_v2_x0_5_fpn":
        model = _tiny_fcos(settings.rows)
    else:
        model = _BUILDERS[settings.model](
            weights=None, weights_backbone=None, num_classes=settings.rows
        )
    # Feature pyramids add levels of different strides, so theirs must divide evenly; SSD's fixed
    # size is part of its published form.
    multiple = 1 if settings.architecture.stretch else 32
    model.transform = InputLayer(settings.mean, settings.std, settings.channels, multiple)
    if settings.frozen_eps is not None:
        freeze_normalization(model.backbone.body, settings.frozen_eps)
    if settings.trainable_layers is not None:
        for stage in frozen_stages(model, settings):
            stage.requires_grad_(False)
    network: nn.Module = model
    return network


def _tiny_fcos(rows: int) -> nn.Module:
    body = shufflenet_v2_x0_5(weights=None)
    levels = {name: str(position) for position, name in enumerate(_TINY_LEVELS)}
    backbone = BackboneWithFPN(body, levels, list(_TINY_LEVELS.values()), _TINY_WIDTH)
    norm = partial(nn.GroupNorm, _TINY_GROUPS)
    # FCOSHead builds its parts with 32 groups before they can be replaced, hence the 32.
    head = FCOSHead(32, 1, rows, 1)
    head.classification_head = FCOSClassificationHead(
        _TINY_WIDTH, 1, rows, _TINY_CONVOLUTIONS, norm_layer=norm
    )
    head.regression_head = FCOSRegressionHead(_TINY_WIDTH, 1, _TINY_CONVOLUTIONS, norm_layer=norm)
    # FCOS counts an object's range in multiples of these sizes, so they equal the strides; the
    # last level is the pooled one that BackboneWithFPN adds.
    sizes = tuple((_TINY_STRIDE << level,) for level in range(len(_TINY_LEVELS) + 1))
    anchors = AnchorGenerator(sizes, ((1.0,),) * len(sizes))
    model: nn.Module = FCOS(backbone, rows, head=head, anchor_generator=anchors)
    return model


def freeze_normalization(root: nn.Module, eps: float) -> None:
    """Replace live batch normalisation by its frozen form, statistics and weights kept.

    Weights that were trained with frozen normalisation expect it, and the epsilon of their
    builder: 0.0 for the first ResNet-50 weights of torchvision, 1e-5 for the others.
    """
    for name, child in list(root.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps)
            state = {k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"}
            frozen.load_state_dict(state)
            setattr(root, name, frozen)
        else:
            freeze_normalization(child, eps)


def set_norm_momentum(model: nn.Module, momentum: float) -> None:
    """Set the momentum of all live batch normalisation."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum


def set_score_threshold(model: nn.Module, threshold: float) -> None:
    """Detections below the threshold are not made at all."""
    owner: Any = getattr(model, "roi_heads", model)
    owner.score_thresh = threshold


class Suppression(NamedTuple):
    """How a network thins out its candidates.

    Attributes:
        overlap: Boxes of one class that overlap by more (IoU) are taken for one object.
        most: Detections of one image.
    """

    overlap: float
    most: int


def suppression(model: nn.Module) -> Suppression:
    """What a network's last suppression is set to."""
    owner: Any = getattr(model, "roi_heads", model)
    return Suppression(owner.nms_thresh, owner.detections_per_img)


@contextmanager
def unsuppressed(model: nn.Module) -> Iterator[None]:
    """Let a network give all candidates of its last suppression, and some that come before it."""
    owner: Any = getattr(model, "roi_heads", model)
    wanted = {"nms_thresh": 1.0, "detections_per_img": _MOST_CANDIDATES}
    if hasattr(owner, "topk_candidates"):
        wanted["topk_candidates"] = 4 * owner.topk_candidates
    before = {name: getattr(owner, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def train_mode(model: nn.Module, settings: NetworkSettings) -> None:
    """Training mode, with frozen stages left as in evaluation: their statistics stay."""
    model.train()
    if settings.trainable_layers is not None:
        for stage in frozen_stages(model, settings):
            stage.eval()


def frozen_stages(model: nn.Module, settings: NetworkSettings) -> list[nn.Module]:
    """Modules of the body that ``settings.trainable_layers`` leaves untrained.

    Raises:
        UsageError: If the body has fewer stages.
    """
    stages = [list(stage) for stage in _stages(model, settings)]
    wanted = len(stages) if settings.trainable_layers is None else settings.trainable_layers
    if not 0 <= wanted <= len(stages):
        raise UsageError(
            f"{settings.model} has {len(stages)} stages, so trainable_layers must be 0 to "
            f"{len(stages)}, not {wanted}."
        )
    return [module for stage in stages[: len(stages) - wanted] for module in stage]


def _stages(model: Any, settings: NetworkSettings) -> Iterator[list[nn.Module]]:
    """The body's stages from the input on, cut as torchvision's builders cut them."""
    backbone = model.backbone
    match settings.architecture.body:
        case "resnet":
            body = backbone.body
            yield [body.conv1, body.bn1]
            yield from ([getattr(body, f"layer{k}")] for k in range(1, 5))
        case "shufflenet":
            body = backbone.body
            yield [body.conv1]
            yield from ([getattr(body, f"stage{k}")] for k in range(2, 5))
        case "mobilenet":
            blocks = list(backbone.body.children())
            strided = [k for k, block in enumerate(blocks) if getattr(block, "_is_cn", False)]
            starts = [0, *strided, len(blocks) - 1]
            ends = [*starts[1:], len(blocks)]
            yield from (blocks[a:b] for a, b in zip(starts, ends, strict=True))
        case "mobilenet_ssd":
            # torchvision re-arranges this body; its two parts are the stages that are left.
            yield from ([part] for part in backbone.features)
        case "vgg":
            layers = [*backbone.features, backbone.extra[0]]
            pools = [k for k, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
            starts = [0, *pools, len(layers) - 1]
            ends = [*starts[1:], len(layers)]
            yield from (layers[a:b] for a, b in zip(starts, ends, strict=True))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters for an optimizer; vectors (biases, normalisation) without decay."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def state_sha256(model: nn.Module) -> str:
    """SHA-256 over names and values of all weights and statistics."""
    import hashlib

    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
