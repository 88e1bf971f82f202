"""The first layer of every detector here: batches uint8 images, pads and normalises them.

It stands where torchvision's detectors have their own resizing transform, so that training,
validation and prediction share one resize (`images.fit`), done once per image on uint8 values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList


class InputLayer(nn.Module):
    """Images of different sizes to one normalised batch.

    Args:
        mean: Subtracted from RGB values in 0..1.
        std: Divided by after that.
        channels: ``rgb`` or ``bgr``: the order that the network sees.
        multiple: Height and width of a batch are brought to a multiple of this.
    """

    def __init__(
        self,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        channels: str,
        multiple: int,
    ) -> None:
        super().__init__()
        self.multiple = multiple
        self.swap = channels == "bgr"
        # Not persistent: weights of other makers have no such entries, settings restore them.
        scale = 1.0 / (255.0 * torch.tensor(std).view(1, 3, 1, 1))
        shift = torch.tensor(mean).view(1, 3, 1, 1) / torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.scale: Tensor
        self.shift: Tensor

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        """Pad at the right and bottom to a common size, with the mean colour.

        Args:
            images: uint8 [3, h, w] in RGB.
            targets: Passed through.
        """
        height = max(image.shape[-2] for image in images)
        width = max(image.shape[-1] for image in images)
        height += -height % self.multiple
        width += -width % self.multiple
        batch = self.scale.new_zeros((len(images), 3, height, width)).to(
            memory_format=torch.channels_last
        )
        for row, image in zip(batch, images, strict=True):
            values = image.to(row.dtype) * self.scale[0] - self.shift[0]
            row[:, : image.shape[-2], : image.shape[-1]] = values
        if self.swap:
            batch = batch.flip(1).contiguous(memory_format=torch.channels_last)
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        return ImageList(batch, sizes), targets

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Detections stay in input pixels; `images.Fitted` maps them back."""
        del image_shapes, original_image_sizes
        return result
