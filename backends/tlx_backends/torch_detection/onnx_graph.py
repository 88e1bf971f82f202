"""A detector as one ONNX graph: an image in, detections out, suppression and all.

torch's newer exporter (`torch.export`) cannot follow a suppression, whose number of boxes depends
on the data; the older one, which traces, can. Tracing fixes Python numbers, so what depends on the
image's size has to be computed from its shape by operations that are traced.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from tlx.errors import DataError, MissingExtra, UsageError
from tlx_backends.torch_detection.input_layer import InputLayer
from tlx_backends.torch_detection.networks import Found

# The last that onnxruntime has all operations of: it lacks RoiAlign of opset 22.
OPSET = 17
EXTRA = "export"
INPUT = "image"
OUTPUTS = ("boxes", "scores", "labels")


class TracedInputLayer(nn.Module):
    """`InputLayer` for one image of any size, in operations that a trace keeps."""

    def __init__(self, layer: InputLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        """Normalise and pad; the size stays what the trace sees of the shape."""
        (image,) = images
        layer, multiple = self.layer, self.layer.multiple
        height, width = image.shape[-2], image.shape[-1]
        batch = (image.to(layer.scale.dtype) * layer.scale[0] - layer.shift[0]).unsqueeze(0)
        if multiple > 1:
            batch = nn.functional.pad(batch, (0, multiple - 1, 0, multiple - 1))
            rows = (height + multiple - 1) // multiple * multiple
            columns = (width + multiple - 1) // multiple * multiple
            batch = batch[:, :, :rows, :columns]
        if layer.swap:
            batch = batch.flip(1)
        return ImageList(batch, [(height, width)]), targets

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Detections stay in input pixels."""
        del image_shapes, original_image_sizes
        return result


class _OneImage(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        layer: Any = self.model.transform
        self.model.transform = TracedInputLayer(layer)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        (found,) = self.model([image])
        return tuple(found[name] for name in OUTPUTS)


def write(model: nn.Module, width: int, height: int, path: Path) -> None:
    """Write a detector in evaluation mode, traced at one input size.

    The graph takes ``image``, uint8 [3, height, width], and gives ``boxes`` float32 [n, 4] in its
    pixels, ``scores`` float32 [n] and ``labels`` int64 [n].

    Raises:
        MissingExtra: If onnx or onnxruntime is not installed.
    """
    require("onnx", "onnxruntime")
    free: dict[str, Any] = {INPUT: {1: "height", 2: "width"}}
    free |= {name: {0: "detections"} for name in OUTPUTS}
    image = torch.zeros((3, height, width), dtype=torch.uint8)
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        # It is called deprecated, and warns of the numbers that a trace fixes: their effect is what
        # the comparison of both networks is for.
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(
                _OneImage(model).eval(),
                (image,),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_axes=free,
            )
        finally:
            logging.disable(before)


class OnnxDetector:
    """An exported graph that is called like the network it was made of: images in, detections out.

    Args:
        path: The file.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        MissingExtra: If onnxruntime is not installed.
        UsageError: If the device is not one that this onnxruntime can use.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        require("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        providers = _providers(device, onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its own classes of errors share no base but this
            reason = str(error).splitlines()[0]
            raise DataError(f"is no ONNX that runs: {reason}", place=path) from error

    def __call__(self, images: Sequence[Tensor]) -> list[Found]:
        """Detect in uint8 [3, h, w] images on the CPU, one after the other."""
        found = []
        for image in images:
            pixels = np.ascontiguousarray(image.numpy())
            values = self._session.run(list(OUTPUTS), {INPUT: pixels})
            found.append(dict(zip(OUTPUTS, map(torch.from_numpy, values), strict=True)))
        return found


def _providers(device: str, available: Sequence[str]) -> list[Any]:
    kind, _, number = device.partition(":")
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    if kind == "auto":
        return [name for name in (cuda, cpu) if name in available]
    if kind == "cpu":
        return [cpu]
    if kind != "cuda" or (number and not number.isdecimal()):
        raise UsageError(f"--device must be auto, cpu, cuda or cuda:N, not {device!r}.")
    if cuda not in available:
        raise UsageError(
            f"{device} was asked for, but this onnxruntime has no CUDA.",
            hint="Use --device cpu, or install onnxruntime-gpu in its place.",
        )
    return [(cuda, {"device_id": int(number or 0)}), cpu]


def require(*packages: str) -> None:
    """Refuse to go on without packages.

    Raises:
        MissingExtra: With the command that installs them.
    """
    from importlib.util import find_spec

    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtra("the form onnx", EXTRA, f"{' and '.join(missing)} {verb} not installed")
