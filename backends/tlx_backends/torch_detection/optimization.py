"""The optimizer and its learning rate, a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from tlx.errors import UsageError
from tlx_backends.torch_detection import networks
from tlx_backends.torch_detection.options import TorchOptions

_WARMUP_SHARE = 0.1
_LONGEST_WARMUP = 500
_REFERENCE_BATCH = 8
# Published rates of SGD lie about this far above those of AdamW.
_SGD_FACTOR = 10.0


@dataclass(frozen=True, slots=True)
class LearningRate:
    """Linear warm-up, then half a cosine down to zero.

    Attributes:
        peak: The rate after the warm-up.
        warmup: Steps of warm-up.
        total: Steps of the training.
    """

    peak: float
    warmup: int
    total: int

    @classmethod
    def of(cls, peak: float, total: int, options: TorchOptions) -> LearningRate:
        """The schedule of a training of ``total`` steps."""
        warmup = options.warmup_steps
        if warmup is None:
            warmup = min(_LONGEST_WARMUP, int(total * _WARMUP_SHARE))
        return cls(peak, min(warmup, total), total)

    def at(self, step: int) -> float:
        """The rate of a step, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / (self.warmup + 1)
        done = (step - self.warmup) / max(1, self.total - self.warmup)
        return self.peak * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def peak_rate(given: float | None, default: float, batch_size: int, options: TorchOptions) -> float:
    """The user's rate, or the model's for its batch size (scaled by the square root).

    Raises:
        UsageError: If the given rate is not above 0.
    """
    if given is not None:
        if not given > 0:
            raise UsageError(f"--learning-rate must be above 0, not {given}.")
        return given
    rate = default * math.sqrt(batch_size / _REFERENCE_BATCH)
    return rate * _SGD_FACTOR if options.optimizer == "sgd" else rate


def optimizer(model: nn.Module, options: TorchOptions) -> torch.optim.Optimizer:
    """The optimizer over all trainable parameters; its rate is set before every step."""
    groups = networks.parameter_groups(model, options.weight_decay)
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9)
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameter groups a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
