"""What is needed to build a network again and to feed it, as a checkpoint keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tlx.errors import UsageError
from tlx_backends.torch_detection.catalog import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Architecture,
    Triple,
    architecture,
)
from tlx_backends.torch_detection.options import TorchOptions

_MINIMUM_SIDE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """A network and its input.

    Attributes:
        model: Name in the catalog.
        classes: Class names; the position is the class index.
        shorter: Pixels that the shorter image side is brought to.
        longer: Most pixels of the longer side.
        mean: Subtracted from channel values in 0..1, in RGB order.
        std: Divided by after that.
        channels: ``rgb`` or ``bgr``, as the first convolution sees them.
        frozen_eps: Epsilon of frozen batch normalisation in the body; None for live.
        trainable_layers: Stages of the body that are trained; None for all.
    """

    model: str
    classes: tuple[str, ...]
    shorter: int
    longer: int
    mean: Triple
    std: Triple
    channels: str
    frozen_eps: float | None = None
    trainable_layers: int | None = None

    @classmethod
    def of(cls, model: str, classes: tuple[str, ...], options: TorchOptions) -> NetworkSettings:
        """Settings of a new network from the user's options."""
        entry = architecture(model)
        if not classes:
            raise UsageError("the dataset has no classes, so there is nothing to detect.")
        mean, std = _normalization(entry, options.normalize)
        settings = cls(
            model=model,
            classes=classes,
            shorter=entry.shorter,
            longer=entry.longer,
            mean=mean,
            std=std,
            channels="rgb" if options.channels == "model" else options.channels,
        )
        return settings.resized(options.shorter_side, options.longer_side)

    def resized(self, shorter: int | None, longer: int | None) -> NetworkSettings:
        """The same with another input size, where one is given."""
        short = self.shorter if shorter is None else shorter
        long = max(self.longer, short) if longer is None else longer
        if not _MINIMUM_SIDE <= short <= long:
            raise UsageError(
                f"an input of {short} x {long} pixels does not work: the shorter side must be at "
                f"least {_MINIMUM_SIDE} and not above the longer side."
            )
        return replace(self, shorter=short, longer=long)

    @property
    def architecture(self) -> Architecture:
        """The catalog's entry."""
        return architecture(self.model)

    @property
    def rows(self) -> int:
        """Class rows of the head, the background included where there is one."""
        return len(self.classes) + int(self.architecture.background)

    @property
    def first_label(self) -> int:
        """The row of class index 0."""
        return int(self.architecture.background)

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height at the network's input, pixels, for a stored image's size."""
        if self.architecture.stretch:
            return self.longer, self.shorter
        scale = min(self.shorter / min(width, height), self.longer / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    def plain(self) -> dict[str, Any]:
        """Lists, texts and numbers only."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> NetworkSettings:
        """The inverse of `plain`."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**fields)


def _normalization(entry: Architecture, choice: str) -> tuple[Triple, Triple]:
    if choice == "imagenet":
        return IMAGENET_MEAN, IMAGENET_STD
    if choice == "none":
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return entry.mean, entry.std
