"""From an image file to pixels at the network's input size, and boxes back.

Pixels are taken as stored: EXIF orientation is not applied, because boxes refer to the width and
height that the dataset states, and an image whose stored size differs from them is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from tlx.pixels import decoder_of as pixels_decoder
from tlx.pixels import open_rgb
from tlx_backends.torch_detection.settings import NetworkSettings


class UnreadableImage(Exception):
    """An image file cannot be used; the message says why, without the path."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """An image at the network's input size.

    Attributes:
        pixels: uint8 [3, h, w], RGB, in HWC memory.
        width: Pixels of the stored image.
        height: Pixels of the stored image.
    """

    pixels: Tensor
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per stored pixel, in x and y."""
        return self.pixels.shape[-1] / self.width, self.pixels.shape[-2] / self.height


def read(path: str) -> Tensor:
    """Decode an image file to uint8 [3, h, w], RGB, as stored.

    Transparency is dropped, grey is repeated, 16 bits per colour channel are reduced to 8. Sensor
    data are decoded where a plugin knows them (`tlx.pixels`).

    Raises:
        UnreadableImage: If there is no file, no picture in it, only a part of one, or 16-bit or
            float values of one channel (sensor data), which have no colours.
    """
    try:
        # Pillow, although torchvision's own decoders take 60 % of its time: they are deprecated,
        # and images are decoded once per training as long as the cache holds them.
        if pixels_decoder(path) is not None:
            return torch.from_numpy(np.array(open_rgb(path))).permute(2, 0, 1)
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise UnreadableImage(
                    f"it holds {picture.mode} values of one channel (sensor data), not colours; "
                    "develop it to 8-bit RGB first"
                )
            pixels = np.array(picture.convert("RGB"))
    except UnidentifiedImageError as error:
        raise UnreadableImage("it is no picture in a format that Pillow knows") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImage(f"it is no picture that can be decoded: {reason}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def fit(pixels: Tensor, settings: NetworkSettings) -> Fitted:
    """Resize uint8 [3, h, w] to the network's input size, with antialiasing, in uint8."""
    height, width = pixels.shape[-2:]
    target_width, target_height = settings.input_size(width, height)
    if (target_height, target_width) == (height, width):
        return Fitted(pixels, width, height)
    return Fitted(resize(pixels, target_height, target_width), width, height)


def resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """Bilinear with antialiasing on uint8 [3, h, w]; HWC memory takes the fast path."""
    batch = pixels.unsqueeze(0).contiguous(memory_format=torch.channels_last)
    return torch.nn.functional.interpolate(
        batch, size=(height, width), mode="bilinear", antialias=True
    )[0]
