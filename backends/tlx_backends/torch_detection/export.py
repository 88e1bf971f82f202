"""Checkpoints in another form: TorchScript, compared with the original before it is handed out."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from tlx.context import Context
from tlx.errors import TlxError, UsageError, nearest
from tlx_backends.torch_detection import checkpoints, networks
from tlx_backends.torch_detection.prediction import LOWEST_SCORE
from tlx_backends.torch_detection.settings import NetworkSettings

KINDS = ("torchscript",)
_MODEL_FILE = "model.torchscript.pt"
_FACTS_FILE = "model.json"
_CHECKED_IMAGES = 3
_SMALLEST_OVERLAP = 0.99
_SCORE_TOLERANCE = 1e-3


def export(checkpoint: Path, kind: str, dest: Path, context: Context) -> tuple[str, ...]:
    """Write a checkpoint as TorchScript.

    ``model.torchscript.pt`` takes a list of uint8 images [3, h, w], RGB, already at the input size
    that ``model.json`` states, and returns torchvision's pair of losses (empty) and detections:
    ``boxes`` in input pixels, ``labels``, ``scores``. ``model.json`` has the class of each label.

    Raises:
        UsageError: For another kind.
        TlxError: If the exported network does not compute what the original does.
    """
    if kind not in KINDS:
        raise UsageError(f"the torch backend cannot export to {kind!r}.", hint=nearest(kind, KINDS))
    content = checkpoints.load(checkpoint)
    model, settings = checkpoints.network(content, checkpoint)
    model.eval()
    networks.set_score_threshold(model, LOWEST_SCORE)
    with warnings.catch_warnings():
        # Scripting is called deprecated since torch 2.9; torch.export fails on these detectors,
        # because suppression makes shapes that depend on the data.
        warnings.simplefilter("ignore")
        scripted: Any = torch.jit.script(model)
        _require_parity(model, scripted, settings)
    dest.mkdir(parents=True, exist_ok=True)
    scripted.save(str(dest / _MODEL_FILE))
    facts: dict[str, Any] = {
        **settings.plain(),
        "labels": {str(settings.first_label + k): c for k, c in enumerate(settings.classes)},
        "lowest_score": LOWEST_SCORE,
    }
    text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
    (dest / _FACTS_FILE).write_text(text, encoding="utf-8")
    context.emit({"kind": "log", "message": f"{_CHECKED_IMAGES} images agree with the original"})
    return (_FACTS_FILE, _MODEL_FILE)


@torch.inference_mode()
def _require_parity(model: nn.Module, scripted: Any, settings: NetworkSettings) -> None:
    """Compare detections as sets: equal scores may swap places.

    Raises:
        TlxError: If an image has other detections.
    """
    random = torch.Generator().manual_seed(0)
    width, height = settings.input_size(settings.longer, settings.shorter)
    for number in range(_CHECKED_IMAGES):
        coarse = torch.rand((1, 3, 4 + number, 6 + number), generator=random)
        smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0]
        image = (smooth.clamp(0, 1) * 255).to(torch.uint8)
        (ours,) = model([image])
        _, (theirs,) = scripted([image])
        if not _same(ours, theirs):
            raise TlxError(
                f"the exported network does not detect what the original does (image {number}); "
                "nothing was written.",
                hint="Use the checkpoint itself, and report this with the versions of torch.",
            )


def _same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    if len(ours["scores"]) != len(theirs["scores"]):
        return False
    if not len(ours["scores"]):
        return True
    near = box_iou(ours["boxes"], theirs["boxes"]) > _SMALLEST_OVERLAP
    near &= ours["labels"][:, None] == theirs["labels"][None]
    near &= (ours["scores"][:, None] - theirs["scores"][None]).abs() < _SCORE_TOLERANCE
    return bool(near.any(1).all() and near.any(0).all())
