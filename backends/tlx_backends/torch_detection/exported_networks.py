"""Exported networks, loaded to be called like the one that they were made of."""

from __future__ import annotations

from pathlib import Path

import torch

from tlx import exported
from tlx.errors import DataError
from tlx_backends.torch_detection import devices, onnx_graph, script_graph
from tlx_backends.torch_detection.forms import ONNX_FILE, TORCHSCRIPT_FILE
from tlx_backends.torch_detection.networks import Network
from tlx_backends.torch_detection.settings import NetworkSettings


def load(folder: Path, device: str) -> tuple[Network, NetworkSettings, torch.device]:
    """The network of an exported folder, what it needs to be fed, and where its images go.

    Raises:
        DataError: If it was not exported by this backend, or is broken.
        MissingExtra: If packages that run its form are not installed.
        UsageError: If the device is not here.
    """
    found = exported.read(folder)
    place = folder / exported.FILE_NAME
    if found.backend != "torch":
        raise DataError(f"was exported by the backend {found.backend!r}, not 'torch'.", place=place)
    try:
        settings = NetworkSettings.from_plain(found.input["network"])
    except (KeyError, TypeError) as error:
        raise DataError("lacks the settings of its network.", place=place) from error
    if found.form == "onnx":
        # onnxruntime moves images to its device by itself.
        return onnx_graph.OnnxDetector(folder / ONNX_FILE, device), settings, torch.device("cpu")
    if found.form != "torchscript":
        raise DataError(f"has the form {found.form!r}, which this tlx does not know.", place=place)
    chosen = devices.choose(device)
    return script_graph.load(folder / TORCHSCRIPT_FILE, chosen), settings, chosen
