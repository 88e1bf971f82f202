"""The options of a training with the torch backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TorchOptions:
    """Options of a training; what is None is decided by the model and its weights."""

    shorter_side: int | None = None
    "Pixels that the shorter image side is brought to; None for the model's own."
    longer_side: int | None = None
    "Most pixels of the longer image side; None for the model's own."
    normalize: Literal["model", "imagenet", "none"] = "model"
    "Input values: as the model was published, ImageNet mean and deviation, or plain 0..1."
    channels: Literal["model", "rgb", "bgr"] = "model"
    "Order of the input channels that the weights were trained with; model: rgb, or as in the run \
that the weights come from."
    download: bool = False
    "Fetch published weights from torchvision's address when they are not in torch's cache."
    trainable_layers: int | None = None
    "Stages of the body that are trained, counted from its end; 0 freezes the body, which makes \
a step about twice as fast. None: as published for published weights, else all."
    head_blend: float | None = None
    "Share of the old class rows where one old class starts several new ones, the rest is fresh. \
None: 1.0 for softmax heads, 0.3 for sigmoid heads, whose equal rows separate slowly."
    optimizer: Literal["adamw", "sgd"] = "adamw"
    "AdamW, or SGD with momentum 0.9."
    weight_decay: float = 1e-4
    "Decay of the weights; none on biases and normalisation."
    warmup_steps: int | None = None
    "Steps of rising learning rate; None: a tenth of all, at most 500."
    gradient_norm: float = 10.0
    "Gradients are cut to this norm."
    norm_momentum: float = 0.1
    "Momentum of live batch normalisation; small values leave short trainings behind."
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    "Arithmetic of the training step; auto is bfloat16 where the hardware has it and it is faster."
    flip: bool = True
    "Mirror half of the images, unless a class has no valid mirror image."
    scale_jitter: float = 0.25
    "Images are scaled by up to this share, up or down, and cut back to size."
    brightness: float = 0.25
    "Largest relative change of brightness."
    contrast: float = 0.25
    "Largest relative change of contrast."
    hue: float = 0.02
    "Largest turn of hue, in turns; never used when a class is told by its colour."
    validate_every: int = 1
    "Epochs between validations; the last epoch is always validated."
    patience: int = 0
    "Stop after so many validations without a better one; 0 never stops early."
    cache_mb: int = 1024
    "Memory for decoded, resized images, in megabytes."
    threads: int | None = None
    "Threads of torch on the CPU; the last bits of the weights depend on it. None: torch's choice."
    tensorboard: bool = True
    "Write scalars for TensorBoard when it is installed."
