"""Augmentation of one image at the network's input size; stateless, on uint8 pixels."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tlx.class_guards import colored_classes, one_sided_classes
from tlx.model import Taxonomy
from tlx_backends.torch_detection.images import resize
from tlx_backends.torch_detection.options import TorchOptions

Boxes = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]

# A box that a crop leaves less than this share of is no longer an example of its class.
_SMALLEST_SHARE = 0.4
# Luma weights of ITU-R BT.601, as YIQ uses them.
_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]]
)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        flip: Half of the images are mirrored.
        swap: For each class index the index it has in a mirrored image.
        scale: Largest relative change of size.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        hue: Largest turn of hue, in turns.
        notes: Why something that was asked for is not done.
    """

    flip: bool
    swap: tuple[int, ...]
    scale: float
    brightness: float
    contrast: float
    hue: float
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: TorchOptions, taxonomy: Taxonomy) -> Augmentation:
        """Choose what the classes allow."""
        notes = []
        index = taxonomy.index()
        swap = tuple(
            place if c.mirror is None else index.get(c.mirror, place)
            for place, c in enumerate(taxonomy.categories)
        )
        one_sided = one_sided_classes(taxonomy)
        flip = options.flip and not one_sided
        if options.flip and one_sided:
            notes.append(f"no horizontal flip: {', '.join(one_sided)} would become something else")
        elif flip and swap != tuple(range(len(swap))):
            notes.append("horizontal flip swaps the classes of mirror pairs")
        colored = colored_classes(taxonomy)
        if options.hue and colored:
            notes.append(f"no hue change: {', '.join(colored)} are told by their colour")
        return cls(
            flip=flip,
            swap=swap,
            scale=options.scale_jitter,
            brightness=options.brightness,
            contrast=options.contrast,
            hue=0.0 if colored else options.hue,
            notes=tuple(notes),
        )

    def plain(self) -> dict[str, Any]:
        """Plain values for an event."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def apply(
        self, pixels: Tensor, boxes: Boxes, classes: Classes, random: np.random.Generator
    ) -> tuple[Tensor, Boxes, Classes]:
        """Augment one image; the inputs are not changed.

        Args:
            pixels: uint8 [3, h, w].
            boxes: float32 [n, 4], xmin, ymin, xmax, ymax in pixels of ``pixels``.
            classes: int64 [n].
            random: All draws come from it, always in the same number and order.
        """
        mirrored, zoom, *colour = random.random(5)
        place = random.random(3)
        if self.scale > 0:
            factor = math.exp((2.0 * zoom - 1.0) * math.log1p(self.scale))
            pixels, boxes, classes = _zoom(pixels, boxes, classes, factor, place)
        if self.flip and mirrored < 0.5:
            width = np.float32(pixels.shape[-1])
            pixels = pixels.flip(-1)
            boxes = np.stack(
                [width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1
            )
            classes = np.array(self.swap, dtype=np.int64)[classes]
        return self._colour(pixels, [2.0 * value - 1.0 for value in colour]), boxes, classes

    def _colour(self, pixels: Tensor, draws: list[float]) -> Tensor:
        """Brightness and contrast by one table, then hue."""
        brightness = 1.0 + self.brightness * draws[0]
        contrast = 1.0 + self.contrast * draws[1]
        array = pixels.permute(1, 2, 0).numpy()
        if self.brightness or self.contrast:
            mean = float(array.sum(dtype=np.int64)) / array.size
            values = (np.arange(256) - mean) * contrast + mean * brightness
            table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
            array = table[array]
        if self.hue:
            array = _turn_hue(array, self.hue * draws[2])
        return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)


def _turn_hue(array: npt.NDArray[np.uint8], turns: float) -> npt.NDArray[np.uint8]:
    """Turn the hue of uint8 [h, w, 3] by rotating the chroma plane of YIQ."""
    angle = 2.0 * math.pi * turns
    rotation = np.eye(3)
    rotation[1:, 1:] = [
        [math.cos(angle), -math.sin(angle)],
        [math.sin(angle), math.cos(angle)],
    ]
    matrix = (np.linalg.inv(_YIQ) @ rotation @ _YIQ).astype(np.float32)
    # einsum without BLAS gives the same bits whatever the number of threads.
    turned = np.einsum("hwc,dc->hwd", array.astype(np.float32), matrix, optimize=False)
    result: npt.NDArray[np.uint8] = np.clip(np.rint(turned), 0, 255).astype(np.uint8)
    return result


def _zoom(
    pixels: Tensor, boxes: Boxes, classes: Classes, factor: float, place: npt.NDArray[np.float64]
) -> tuple[Tensor, Boxes, Classes]:
    """Scale an image; what grows beyond its old size is cut to a window that keeps an object."""
    height, width = pixels.shape[-2:]
    new_height, new_width = max(1, round(height * factor)), max(1, round(width * factor))
    unchanged = pixels, boxes, classes
    pixels = resize(pixels, new_height, new_width)
    boxes = boxes * np.array([new_width / width, new_height / height] * 2, dtype=np.float32)
    if factor <= 1.0:
        return pixels, boxes, classes
    left = int(place[0] * (new_width - width + 1))
    top = int(place[1] * (new_height - height + 1))
    if len(boxes):
        keep = _kept(boxes, left, top, width, height)
        if not keep.any():
            chosen = boxes[int(place[2] * len(boxes))]
            left = _around(chosen[0], chosen[2], width, new_width)
            top = _around(chosen[1], chosen[3], height, new_height)
            keep = _kept(boxes, left, top, width, height)
        if not keep.any():
            return unchanged
        shift = np.array([left, top, left, top], dtype=np.float32)
        limit = np.array([width, height, width, height], dtype=np.float32)
        boxes = np.clip(boxes[keep] - shift, 0, limit)
        classes = classes[keep]
    return pixels[:, top : top + height, left : left + width], boxes, classes


def _around(low: float, high: float, length: int, limit: int) -> int:
    """Start of a window of ``length`` within ``limit`` that has an interval in its middle."""
    return int(min(max((low + high - length) / 2, 0), limit - length))


def _kept(boxes: Boxes, left: int, top: int, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Which boxes a window leaves enough of: bool [n]."""
    inner_width = np.minimum(boxes[:, 2], left + width) - np.maximum(boxes[:, 0], left)
    inner_height = np.minimum(boxes[:, 3], top + height) - np.maximum(boxes[:, 1], top)
    inner = np.clip(inner_width, 0, None) * np.clip(inner_height, 0, None)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: npt.NDArray[np.bool_] = inner >= _SMALLEST_SHARE * area
    return kept
