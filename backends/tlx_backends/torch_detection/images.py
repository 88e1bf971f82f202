"""From an image file to pixels at the network's input size, and boxes back.

Pixels are taken as stored: EXIF orientation is not applied, because boxes refer to the width and
height that the dataset states, and an image whose stored size differs from them is refused.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, decode_png

from tlx_backends.torch_detection.settings import NetworkSettings

_SIXTEEN_BIT_STEP = 257


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


def stored_size(path: str) -> tuple[int, int] | None:
    """Width and height from an image file's header, None where it has none."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def read(path: str) -> Tensor:
    """Decode an image file to uint8 [3, h, w], RGB, as stored.

    Transparency is dropped, grey is repeated, 16 bits per colour channel are reduced to 8.

    Raises:
        UnreadableImage: If there is no file, no picture in it, only a part of one, or 16-bit or
            float values of one channel (sensor data), which have no colours.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImage(error.strerror or str(error)) from error
    try:
        with Image.open(io.BytesIO(data)) as picture:
            kind, mode = picture.format, picture.mode
            if mode.startswith(("I", "F")):
                raise UnreadableImage(
                    f"it holds {mode} values of one channel (sensor data), not colours; "
                    "develop it to 8-bit RGB first"
                )
            pixels = _fast(data, kind, mode)
            if pixels is None:
                array = np.array(picture.convert("RGB"))
                pixels = torch.from_numpy(array).permute(2, 0, 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"it is no picture that can be decoded: {error}") from error
    return pixels


def _fast(data: bytes, kind: str | None, mode: str) -> Tensor | None:
    """Decode with torchvision where it gives Pillow's pixels in less time; None elsewhere."""
    if not (kind == "JPEG" and mode in ("RGB", "L")) and not (kind == "PNG" and mode != "P"):
        return None
    buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    decode = decode_jpeg if kind == "JPEG" else decode_png
    try:
        pixels: Tensor = decode(buffer, mode=ImageReadMode.RGB)
    except RuntimeError:
        # A cut or odd file: Pillow decides and words the error.
        return None
    if pixels.dtype == torch.uint16:
        pixels = (pixels.to(torch.int32) // _SIXTEEN_BIT_STEP).to(torch.uint8)
    return pixels


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
