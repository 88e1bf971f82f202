"""The networks of the backend ``tfvision``: RetinaNet of TensorFlow's Model Garden.

Standard library only: tlx's own process reads this table too. Backbones are those of
`official.vision.configs.backbones`. Parameters are counted in the built networks with one class,
in millions.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Decoder = Literal["fpn", "identity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GardenModel:
    """One RetinaNet.

    Attributes:
        name: The name for ``--model``.
        backbone: The Garden's name of the backbone.
        settings: Its configuration, where it differs from the Garden's own.
        decoder: A feature pyramid, or nothing where the backbone is one.
        summary: One line for people.
        parameters: Number of weights in millions.
        size: Input side in pixels of the published configuration.
        filters: Channels of pyramid and heads.
        activation: Of pyramid and heads, and of the backbone.
        separable: Whether the heads use separable convolutions.
        learning_rate: Default rate of Adam for batches of 8.
    """

    name: str
    backbone: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    decoder: Decoder = "fpn"
    summary: str
    parameters: float
    size: int
    filters: int = 256
    activation: str = "relu"
    separable: bool = False
    learning_rate: float = 3e-4

    @property
    def multiple(self) -> int:
        """The input side must be a multiple of this.

        Levels that are added to each other have to fit: 3 to 5 in a pyramid, 3 to 7 in SpineNet.
        """
        return 128 if self.decoder == "identity" else 32

    def require_size(self, size: int) -> None:
        """Refuse an input side that the network cannot take.

        Raises:
            ValueError: With the next sides that work.
        """
        if size >= self.multiple and size % self.multiple == 0:
            return
        lower = max(self.multiple, size // self.multiple * self.multiple)
        upper = max(self.multiple, -(-size // self.multiple) * self.multiple)
        nearest = " or ".join(str(side) for side in sorted({lower, upper}))
        raise ValueError(
            f"{self.name} cannot take an input of {size} pixels: it needs a multiple of "
            f"{self.multiple}; use {nearest}"
        )


def _resnet(depth: int, parameters: float) -> GardenModel:
    return GardenModel(
        name=f"retinanet_resnet{depth}_fpn",
        backbone="resnet",
        settings={"model_id": depth},
        summary=f"RetinaNet on ResNet-{depth} with a feature pyramid",
        parameters=parameters,
        size=640,
    )


def _spinenet(number: str, parameters: float, size: int) -> GardenModel:
    return GardenModel(
        name=f"retinanet_spinenet{number.lower()}",
        backbone="spinenet",
        settings={"model_id": number},
        decoder="identity",
        summary=f"RetinaNet on SpineNet-{number}",
        parameters=parameters,
        size=size,
        activation="swish",
    )


MODELS: tuple[GardenModel, ...] = (
    GardenModel(
        name="retinanet_mobilenet_v2_fpn",
        backbone="mobilenet",
        settings={"model_id": "MobileNetV2"},
        summary="RetinaNet on MobileNetV2 with a feature pyramid: small, for CPUs",
        parameters=2.4,
        size=320,
        filters=64,
        separable=True,
        learning_rate=1e-3,
    ),
    GardenModel(
        name="retinanet_spinenet_mobile49",
        backbone="spinenet_mobile",
        settings={"model_id": "49"},
        decoder="identity",
        summary="RetinaNet on SpineNet-49 Mobile: few weights, many layers",
        parameters=2.4,
        size=384,
        filters=48,
        activation="swish",
        separable=True,
        learning_rate=1e-3,
    ),
    _resnet(50, 32.3),
    _resnet(101, 51.4),
    _spinenet("49S", 13.4, 640),
    _spinenet("49", 26.8, 640),
    _spinenet("96", 41.3, 1024),
    _spinenet("143", 65.3, 1280),
)


def garden_model(name: str) -> GardenModel:
    """The network of a name.

    Raises:
        ValueError: If there is none, with the nearest names.
    """
    known = {model.name: model for model in MODELS}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}? " if close else ""
    raise ValueError(f"tfvision has no network {name}; {meant}known: {', '.join(known)}")
