"""A detector as TorchScript, which torch runs without this package."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tlx.errors import DataError
from tlx_backends.torch_detection.networks import Found, Network


def write(model: nn.Module, path: Path) -> None:
    """Write a detector in evaluation mode: a list of images in, torchvision's pair out."""
    with warnings.catch_warnings():
        # Scripting is called deprecated since torch 2.9; torch.export fails on these detectors,
        # because suppression makes shapes that depend on the data.
        warnings.simplefilter("ignore")
        scripted: Any = torch.jit.script(model)
    scripted.save(str(path))


def load(path: Path, device: torch.device) -> Network:
    """The network of a file, called like the one that it was made of.

    Raises:
        DataError: If it is broken.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scripted: Any = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"is no TorchScript that loads: {reason}", place=path) from error

    def detect(images: list[Tensor]) -> list[Found]:
        with warnings.catch_warnings():
            # FCOS says at every call that it returns a pair.
            warnings.simplefilter("ignore")
            _, found = scripted(images)
        return list(found)

    return detect
