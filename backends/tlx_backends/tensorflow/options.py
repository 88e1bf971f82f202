"""The options of a training with the TensorFlow backends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TfvisionOptions:
    """Options of a training; what is None is decided by the model and its weights."""

    side: int | None = None
    "Side in pixels of the square input; None for the model's own."
    depth_multiplier: float | None = None
    "Width of a MobileNet, as a share of the published one."
    feature_depth: int | None = None
    "Channels of the feature pyramid and the heads; None for the published number."
    head_layers: int | None = None
    "Layers of the heads before the last; None for the published number."
    restore: Literal["body", "body+boxes", "all"] | None = None
    "What is taken from the weights: the body with its feature pyramid, the layers that find boxes \
besides, or everything that fits. None: what was measured to be best."
    freeze: Literal["none", "backbone"] = "none"
    "Leave the backbone as it is, with its batch normalisation; a step is then faster."
    optimizer: Literal["adam", "momentum"] | None = None
    "Adam, or SGD with momentum 0.9."
    warmup_steps: int | None = None
    "Steps of rising learning rate; None: a twentieth of all."
    gradient_norm: float = 10.0
    "Gradients are cut to this norm."
    norm_momentum_cap: bool = True
    "Keep the momentum of batch normalisation below what a training of this length can follow; \
without it a short training exports a network that finds nothing."
    flip: bool = True
    "Mirror half of the images, unless a class has no valid mirror image."
    scale_jitter: float = 0.25
    "Images are scaled by up to this share, up or down, and cut back to size."
    validate_every: int = 1
    "Epochs between validations; the last epoch is always validated."
    patience: int = 0
    "Stop after so many validations without a better one; 0 never stops early."
    threads: int | None = None
    "Threads of TensorFlow on the CPU. None: its own choice."


@dataclass(frozen=True, kw_only=True)
class TfodOptions(TfvisionOptions):
    """The same, with what the Object Detection API can do besides."""

    proposals: int | None = None
    "Regions that the second stage of Faster R-CNN looks at; fewer are faster."
    config: Path | None = None
    "Your own pipeline.config; it is completed, and what is changed in it is said."
    download: bool = False
    "Fetch published weights from the model zoo when they are not on this machine."
    brightness: float = 0.25
    "Largest relative change of brightness."
    contrast: float = 0.25
    "Largest relative change of contrast."
    hue: float = 0.02
    "Largest turn of hue, in turns; never used when a class is told by its colour."
    mirrored: bool = False
    "Train on all devices at once (MirroredStrategy); the batch is divided among them."
