"""The detectors that can be fine-tuned, as data: names, sizes, published weights. Imports no torch.

Sources: torchvision's builders and weight enumerations (torchvision.models.detection), whose file
names carry the first 8 hexadecimal digits of the file's SHA-256.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tlx.api import ModelInfo
from tlx.errors import UsageError, nearest

Family = Literal["faster_rcnn", "retinanet", "fcos", "ssd"]
Body = Literal["resnet", "mobilenet", "mobilenet_ssd", "vgg", "shufflenet"]
Triple = tuple[float, float, float]

_URL = "https://download.pytorch.org/models/"
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A weight file that torchvision publishes.

    Attributes:
        name: Member of torchvision's weight enumeration.
        file: File name, which ends with the first 8 hexadecimal digits of its SHA-256.
        frozen_eps: Epsilon of the frozen batch normalisation that the builder puts into the body
            for these weights; None where it keeps live batch normalisation.
        trainable_layers: How many stages of the body the builder leaves trainable.
        box_map: COCO box mAP as published, in percent.
    """

    name: str
    file: str
    frozen_eps: float | None
    trainable_layers: int
    box_map: float

    @property
    def url(self) -> str:
        """Where torchvision publishes the file."""
        return _URL + self.file

    @property
    def hash_prefix(self) -> str:
        """The first hexadecimal digits of the SHA-256, from the file name."""
        return self.file.rsplit("-", 1)[1].split(".")[0]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One detector.

    Attributes:
        name: The name for ``--model``.
        summary: One line.
        family: Decides where class rows lie and whether a background row exists.
        body: Decides the stages that can be frozen.
        parameters: Millions of weights with 91 classes.
        shorter: Pixels that the shorter image side is brought to.
        longer: Pixels that the longer side may have; the image is made smaller to keep it.
        stretch: The image is brought to ``longer`` x ``shorter`` without keeping its proportions,
            as the published weights were trained.
        smallest: Pixels at the network's input below which an object is hardly seen.
        learning_rate: Default rate of AdamW for batches of 8.
        mean: Subtracted from RGB values in 0..1.
        std: Divided by after that.
        heavy: Gains from bfloat16 on a CPU that has it; small networks lose.
        published: Weight files.
    """

    name: str
    summary: str
    family: Family
    body: Body
    parameters: float
    shorter: int
    longer: int
    smallest: int
    learning_rate: float
    stretch: bool = False
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    heavy: bool = False
    published: tuple[PublishedWeights, ...] = ()

    @property
    def background(self) -> bool:
        """Whether class row 0 is the background (softmax heads)."""
        return self.family in ("faster_rcnn", "ssd")

    @property
    def info(self) -> ModelInfo:
        """What `tlx models` shows."""
        return ModelInfo(
            name=self.name,
            summary=self.summary,
            parameters=self.parameters,
            input_size=(self.shorter, self.longer),
            weights=tuple(weights.name for weights in self.published),
            note=f"objects below {self.smallest} px at the network's input are hardly seen",
        )


ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture(
        name="fcos_shufflenet_v2_x0_5_fpn",
        summary="FCOS on ShuffleNetV2 x0.5 with strides from 4: tiny, for CPUs and small lights",
        family="fcos",
        body="shufflenet",
        parameters=0.23,
        shorter=256,
        longer=480,
        smallest=6,
        learning_rate=3e-3,
    ),
    Architecture(
        name="ssdlite320_mobilenet_v3_large",
        summary="SSDlite on MobileNetV3: light and quick",
        family="ssd",
        body="mobilenet_ssd",
        parameters=3.4,
        shorter=320,
        longer=320,
        smallest=24,
        learning_rate=1e-3,
        stretch=True,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        published=(
            PublishedWeights(
                "COCO_V1", "ssdlite320_mobilenet_v3_large_coco-a79551df.pth", None, 6, 21.3
            ),
        ),
    ),
    Architecture(
        name="fasterrcnn_mobilenet_v3_large_320_fpn",
        summary="Faster R-CNN on MobileNetV3 at 320 pixels",
        family="faster_rcnn",
        body="mobilenet",
        parameters=19.4,
        shorter=320,
        longer=640,
        smallest=24,
        learning_rate=5e-4,
        heavy=True,
        published=(
            PublishedWeights(
                "COCO_V1", "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth", 1e-5, 3, 22.8
            ),
        ),
    ),
    Architecture(
        name="fasterrcnn_mobilenet_v3_large_fpn",
        summary="Faster R-CNN on MobileNetV3 at 800 pixels",
        family="faster_rcnn",
        body="mobilenet",
        parameters=19.4,
        shorter=800,
        longer=1333,
        smallest=24,
        learning_rate=5e-4,
        heavy=True,
        published=(
            PublishedWeights(
                "COCO_V1", "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth", 1e-5, 3, 32.8
            ),
        ),
    ),
    Architecture(
        name="fasterrcnn_resnet50_fpn",
        summary="Faster R-CNN on ResNet-50",
        family="faster_rcnn",
        body="resnet",
        parameters=41.8,
        shorter=800,
        longer=1333,
        smallest=12,
        learning_rate=2e-4,
        heavy=True,
        published=(
            PublishedWeights("COCO_V1", "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", 0.0, 3, 37.0),
        ),
    ),
    Architecture(
        name="fasterrcnn_resnet50_fpn_v2",
        summary="Faster R-CNN on ResNet-50, improved recipe",
        family="faster_rcnn",
        body="resnet",
        parameters=43.7,
        shorter=800,
        longer=1333,
        smallest=12,
        learning_rate=2e-4,
        heavy=True,
        published=(
            PublishedWeights(
                "COCO_V1", "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", None, 3, 46.7
            ),
        ),
    ),
    Architecture(
        name="retinanet_resnet50_fpn",
        summary="RetinaNet on ResNet-50",
        family="retinanet",
        body="resnet",
        parameters=34.0,
        shorter=800,
        longer=1333,
        smallest=16,
        learning_rate=2e-4,
        heavy=True,
        published=(
            PublishedWeights("COCO_V1", "retinanet_resnet50_fpn_coco-eeacb38b.pth", 0.0, 3, 36.4),
        ),
    ),
    Architecture(
        name="retinanet_resnet50_fpn_v2",
        summary="RetinaNet on ResNet-50, improved recipe",
        family="retinanet",
        body="resnet",
        parameters=38.2,
        shorter=800,
        longer=1333,
        smallest=16,
        learning_rate=2e-4,
        heavy=True,
        published=(
            PublishedWeights(
                "COCO_V1", "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", None, 3, 41.5
            ),
        ),
    ),
    Architecture(
        name="fcos_resnet50_fpn",
        summary="FCOS on ResNet-50",
        family="fcos",
        body="resnet",
        parameters=32.3,
        shorter=800,
        longer=1333,
        smallest=10,
        learning_rate=2e-4,
        heavy=True,
        published=(
            PublishedWeights("COCO_V1", "fcos_resnet50_fpn_coco-99b0c9b7.pth", 1e-5, 3, 39.2),
        ),
    ),
    Architecture(
        name="ssd300_vgg16",
        summary="SSD on VGG16 at 300 pixels",
        family="ssd",
        body="vgg",
        parameters=35.6,
        shorter=300,
        longer=300,
        smallest=20,
        learning_rate=1e-4,
        stretch=True,
        mean=(0.48235, 0.45882, 0.40784),
        std=(1.0 / 255.0, 1.0 / 255.0, 1.0 / 255.0),
        heavy=True,
        published=(PublishedWeights("COCO_V1", "ssd300_vgg16_coco-b556d3b4.pth", None, 4, 25.1),),
    ),
)


def architecture(name: str) -> Architecture:
    """The detector of a name.

    Raises:
        UsageError: If there is none, with the nearest names.
    """
    for entry in ARCHITECTURES:
        if entry.name == name:
            return entry
    raise UsageError(
        f"the torch backend has no model {name!r}.",
        hint=nearest(name, [entry.name for entry in ARCHITECTURES]),
    )
