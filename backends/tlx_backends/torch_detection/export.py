"""Checkpoints in other forms, compared with the original before they are handed out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from tlx.api import ExportReport
from tlx.context import Context
from tlx.errors import UsageError, nearest
from tlx_backends.torch_detection import (
    checkpoints,
    networks,
    onnx_graph,
    parity,
    script_graph,
)
from tlx_backends.torch_detection.forms import FORMS, ONNX_FILE, TORCHSCRIPT_FILE
from tlx_backends.torch_detection.networks import Network
from tlx_backends.torch_detection.prediction import LOWEST_SCORE
from tlx_backends.torch_detection.settings import NetworkSettings

_OUTPUT = {
    "boxes": "float32 [n, 4]: xmin, ymin, xmax, ymax in pixels of the input, half open",
    "scores": "float32 [n], 0 to 1, none below lowest_score",
    "labels": "int64 [n]: the id of the class",
}


def export(checkpoint: Path, kind: str, dest: Path, context: Context) -> ExportReport:
    """Write a checkpoint as TorchScript or ONNX.

    Both take uint8 RGB images that are already at the input's size; the report says how to get
    there. ``model.torchscript.pt`` takes a list of them, [3, h, w] each, and returns torchvision's
    pair of losses (empty) and a list of detections; ``model.onnx`` takes one and returns the
    detections' arrays.

    Raises:
        UsageError: For another kind.
        MissingExtra: If packages for it are not installed.
        TlxError: If the exported network does not compute what the original does.
    """
    writers = {
        "torchscript": (_torchscript, TORCHSCRIPT_FILE),
        "onnx": (_onnx, ONNX_FILE),
    }
    if kind not in writers:
        raise UsageError(
            f"the backend 'torch' cannot export to {kind!r}.",
            hint=nearest(kind, [form.name for form in FORMS]),
        )
    if kind == "onnx":
        onnx_graph.require("onnx", "onnxruntime")
    content = checkpoints.load(checkpoint)
    model, settings = checkpoints.network(content, checkpoint)
    model.eval()
    networks.set_score_threshold(model, LOWEST_SCORE)
    dest.mkdir(parents=True, exist_ok=True)
    context.progress.status(f"writing {kind}")
    write, file = writers[kind]
    exported = write(model, settings, dest / file)
    context.progress.status("comparing")
    images = parity.images_to_compare(checkpoint, settings)
    try:
        found = parity.require(model, exported, images, kind)
    except BaseException:
        (dest / file).unlink()
        raise
    ties = f", {found.ties} of them after ties in the order of scores" if found.ties else ""
    message = (
        f"{kind}: {found.compared} detections in {found.images} images agree with the checkpoint"
        f"{ties}, scores to {found.score:.1e}"
    )
    context.emit({"kind": "log", "message": message})
    first = settings.first_label
    return ExportReport(
        files=(file,),
        class_ids={name: first + k for k, name in enumerate(settings.classes)},
        input=_input(settings),
        output={**_OUTPUT, "lowest_score": LOWEST_SCORE},
    )


def _input(settings: NetworkSettings) -> dict[str, Any]:
    if settings.architecture.stretch:
        size = f"stretched to {settings.longer} x {settings.shorter} (width x height)"
    else:
        size = (
            f"scaled, keeping its proportions, so that the shorter side has {settings.shorter} "
            f"pixels, or fewer so that the longer has at most {settings.longer}; sides rounded"
        )
    return {
        "array": "uint8 [3, height, width], RGB, pixels as stored (no EXIF orientation)",
        "size": size,
        "resizing": "bilinear with antialiasing, on uint8",
        "values": "0 to 255; normalised and padded inside",
        "network": settings.plain(),
    }


def _torchscript(model: nn.Module, _settings: NetworkSettings, path: Path) -> Network:
    script_graph.write(model, path)
    return script_graph.load(path, torch.device("cpu"))


def _onnx(model: nn.Module, settings: NetworkSettings, path: Path) -> Network:
    width, height = settings.input_size(settings.longer, settings.shorter)
    onnx_graph.write(model, width, height, path)
    return onnx_graph.OnnxDetector(path)
