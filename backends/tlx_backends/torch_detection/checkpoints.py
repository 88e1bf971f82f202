"""Checkpoints: whole or absent, and nothing in them but tensors, lists, texts and numbers."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tlx.errors import DataError, TlxError, UsageError
from tlx_backends.torch_detection import networks, weight_files
from tlx_backends.torch_detection.settings import NetworkSettings

FORMAT = "tlx-torch-detection"
_VERSION = 1


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint beside its place, then rename it over the old one.

    The rename is atomic, so that at every moment either the old or the new file is there, whatever
    kills the process.

    Raises:
        TlxError: If the disk is full or refuses.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": FORMAT, "version": _VERSION, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError of its stream writer.
        raise TlxError(
            f"cannot write the checkpoint {path}: {error}.",
            hint="The last whole checkpoint is kept; free some space and go on with --resume.",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Open a checkpoint of ours on the CPU.

    Raises:
        UsageError: If there is none.
        DataError: If it is broken, or not ours.
    """
    if path.is_dir():
        path = path / "checkpoints" / "best.pt"
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {path}.")
    content = dict(weight_files.read(path).content)
    if not is_ours(content):
        raise DataError(
            "is a weight file, but no checkpoint of the torch backend.",
            place=path,
            hint="Fine-tune from it with: tlx train --weights FILE",
        )
    if content.get("version") != _VERSION:
        raise DataError(
            f"has checkpoint version {content.get('version')}, this tlx reads {_VERSION}.",
            place=path,
        )
    return content


def is_ours(content: Mapping[str, Any]) -> bool:
    """Whether the content of a weight file is a checkpoint of this backend."""
    return content.get("format") == FORMAT


def network(content: Mapping[str, Any], path: Path) -> tuple[nn.Module, NetworkSettings]:
    """Build the network of a checkpoint, with its weights.

    Raises:
        DataError: If the weights do not fit the settings.
    """
    settings = NetworkSettings.from_plain(content["settings"])
    with torch.random.fork_rng(devices=[]):
        model = networks.build(settings)
    try:
        model.load_state_dict(content["model"])
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise DataError(f"does not fit {settings.model}: {error}", place=path) from error
    return model, settings
