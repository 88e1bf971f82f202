"""The networks of the TensorFlow backend: what they are called and what their inputs may be.

Standard library only: tlx's own process reads this table too. The archives are those of the API's
"TensorFlow 2 Detection Model Zoo" (tf2_detection_zoo.md); the feature extractors are names of
`object_detection.builders.model_builder`. Parameters are in millions, of the built network where it
was built and as published else.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ssd", "fpn", "efficientdet", "faster_rcnn", "center_net"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of network of the API.

    Attributes:
        name: The name for ``--model``.
        kind: Which generator builds its configuration.
        extractor: The API's name of the feature extractor.
        summary: One line for people.
        parameters: Number of weights in millions.
        size: Input side in pixels of the published weights.
        multiple: The input side must be a multiple of this.
        smallest: The least input side that works, in pixels.
        archives: Names of published weights; the first is the default.
        adam: Whether the published training used Adam (CenterNet did) and not momentum.
        stretch: Whether the input is stretched to a square; else it is padded to one.
        level: EfficientDet's compound coefficient.
    """

    name: str
    kind: Kind
    extractor: str
    summary: str
    parameters: float
    size: int
    multiple: int = 1
    smallest: int = 64
    archives: tuple[str, ...] = ()
    adam: bool = False
    stretch: bool = False
    level: int = 0

    def require_size(self, size: int) -> None:
        """Refuse an input side that the network cannot take.

        Raises:
            ValueError: With the next sides that work.
        """
        if size >= self.smallest and size % self.multiple == 0:
            return
        lower = max(self.smallest, size // self.multiple * self.multiple)
        upper = max(self.smallest, -(-size // self.multiple) * self.multiple)
        nearest = " or ".join(str(side) for side in sorted({lower, upper}))
        raise ValueError(
            f"{self.name} cannot take an input of {size} pixels: it needs a multiple of "
            f"{self.multiple}, at least {self.smallest}; use {nearest}"
        )


def _resnet_fpn(depth: int, parameters: float) -> Family:
    return Family(
        name=f"ssd_resnet{depth}_v1_fpn",
        kind="fpn",
        extractor=f"ssd_resnet{depth}_v1_fpn_keras",
        summary=f"RetinaNet: SSD with ResNet-{depth} and a feature pyramid",
        parameters=parameters,
        size=640,
        multiple=32,
        smallest=160,
        archives=(
            f"ssd_resnet{depth}_v1_fpn_640x640_coco17_tpu-8",
            f"ssd_resnet{depth}_v1_fpn_1024x1024_coco17_tpu-8",
        ),
        stretch=True,
    )


def _efficientdet(level: int, size: int, parameters: float, backbone: int) -> Family:
    return Family(
        name=f"efficientdet_d{level}",
        kind="efficientdet",
        extractor=f"ssd_efficientnet-b{backbone}_bifpn_keras",
        summary=f"EfficientDet-D{level}",
        parameters=parameters,
        size=size,
        multiple=128,
        smallest=256,
        archives=(f"efficientdet_d{level}_coco17_tpu-32",),
        level=level,
    )


def _faster_rcnn(depth: int, parameters: float) -> Family:
    base = f"faster_rcnn_resnet{depth}_v1"
    return Family(
        name=base,
        kind="faster_rcnn",
        extractor=f"faster_rcnn_resnet{depth}_keras",
        summary=f"Faster R-CNN with ResNet-{depth}; slow without a GPU",
        parameters=parameters,
        size=640,
        archives=(
            f"{base}_640x640_coco17_tpu-8",
            f"{base}_1024x1024_coco17_tpu-8",
            f"{base}_800x1333_coco17_gpu-8",
        ),
    )


def _center_net(
    name: str,
    extractor: str,
    summary: str,
    parameters: float,
    archives: tuple[str, ...],
    multiple: int = 32,
) -> Family:
    return Family(
        name=f"centernet_{name}",
        kind="center_net",
        extractor=extractor,
        summary=summary,
        parameters=parameters,
        size=512,
        multiple=multiple,
        smallest=max(64, multiple),
        archives=archives,
        adam=True,
    )


FAMILIES: tuple[Family, ...] = (
    Family(
        name="ssd_mobilenet_v2_fpnlite",
        kind="fpn",
        extractor="ssd_mobilenet_v2_fpn_keras",
        summary="SSD with MobileNetV2 and a light feature pyramid; the choice without a GPU",
        parameters=2.6,
        size=320,
        multiple=32,
        archives=(
            "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
            "ssd_mobilenet_v2_fpnlite_640x640_coco17_tpu-8",
        ),
        stretch=True,
    ),
    Family(
        name="ssd_mobilenet_v2",
        kind="ssd",
        extractor="ssd_mobilenet_v2_keras",
        summary="SSD with MobileNetV2: the fastest, weak on small objects",
        parameters=4.6,
        size=320,
        archives=("ssd_mobilenet_v2_320x320_coco17_tpu-8",),
        stretch=True,
    ),
    _resnet_fpn(50, 31.6),
    _resnet_fpn(101, 50.6),
    _resnet_fpn(152, 66.2),
    _efficientdet(0, 512, 3.9, 0),
    _efficientdet(1, 640, 6.6, 1),
    _efficientdet(2, 768, 8.1, 2),
    _efficientdet(3, 896, 12.0, 3),
    _efficientdet(4, 1024, 20.7, 4),
    _efficientdet(5, 1280, 33.6, 5),
    _efficientdet(6, 1408, 51.8, 6),
    # The published D7 is D6's backbone on a larger input.
    _efficientdet(7, 1536, 51.8, 6),
    _faster_rcnn(50, 28.3),
    _faster_rcnn(101, 47.3),
    _faster_rcnn(152, 62.9),
    _center_net(
        "mobilenet_v2_fpn",
        "mobilenet_v2_fpn",
        "CenterNet with MobileNetV2: boxes without anchors",
        2.5,
        ("centernet_mobilenetv2fpn_512x512_coco17_od",),
    ),
    _center_net(
        "resnet18_v1_fpn", "resnet_v1_18_fpn", "CenterNet with ResNet-18 and a pyramid", 12.3, ()
    ),
    _center_net(
        "resnet50_v1_fpn",
        "resnet_v1_50_fpn",
        "CenterNet with ResNet-50 and a pyramid",
        27.7,
        ("centernet_resnet50_v1_fpn_512x512_coco17_tpu-8",),
    ),
    _center_net(
        "resnet101_v1_fpn",
        "resnet_v1_101_fpn",
        "CenterNet with ResNet-101 and a pyramid",
        46.7,
        ("centernet_resnet101_v1_fpn_512x512_coco17_tpu-8",),
    ),
    _center_net(
        "resnet50_v2",
        "resnet_v2_50",
        "CenterNet with ResNet-50 v2",
        30.7,
        ("centernet_resnet50_v2_512x512_coco17_tpu-8",),
        multiple=32,
    ),
    _center_net(
        "hourglass104",
        "hourglass_104",
        "CenterNet with the 104-layer hourglass: accurate, very slow without a GPU",
        191.2,
        (
            "centernet_hg104_512x512_coco17_tpu-8",
            "centernet_hg104_1024x1024_coco17_tpu-32",
        ),
        multiple=128,
    ),
)


def family(name: str) -> Family:
    """The family called ``name``.

    Raises:
        ValueError: With the nearest names.
    """
    for entry in FAMILIES:
        if entry.name == name:
            return entry
    names = [entry.name for entry in FAMILIES]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
    raise ValueError(f"there is no model {name!r}; the nearest are {', '.join(close)}")
