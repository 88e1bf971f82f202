"""Checkpoints as the worker writes them: a small pointer file, and TensorFlow's files beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.errors import DataError, UsageError

FORMAT = "tlx-tensorflow"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a pointer file says.

    Attributes:
        path: The pointer file.
        backend: Name of the backend that wrote it.
        model: Name of the network.
        prefix: Path of TensorFlow's files without their endings.
        step: Steps trained.
        sha256: Of TensorFlow's files.
        classes: Class names; the position is the class index.
        state: What the host kept with it: the best validation so far.
    """

    path: Path
    backend: str
    model: str
    prefix: Path
    step: int
    sha256: str | None
    classes: tuple[str, ...]
    state: Mapping[str, Any]


def read(path: Path) -> Checkpoint:
    """Open a pointer file, ``best.json`` or ``last.json`` of a run, or the run's folder (its best).

    Raises:
        UsageError: If there is none, or another backend wrote it.
        DataError: If it is broken, or TensorFlow's files are gone.
    """
    file = path / "checkpoints" / "best.json" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"there is no checkpoint {file}.")
    try:
        value = json.loads(file.read_bytes())
        if value.get("format") != FORMAT:
            raise UsageError(f"{file} is no checkpoint of a TensorFlow backend.")
        if value["version"] != VERSION:
            raise DataError(
                f"has checkpoint version {value['version']}, this tlx reads {VERSION}.", place=file
            )
        found = Checkpoint(
            path=file,
            backend=str(value["backend"]),
            model=str(value["model"]),
            prefix=file.parent / value["prefix"],
            step=int(value["step"]),
            sha256=value.get("sha256"),
            classes=tuple(value["classes"]),
            state=dict(value.get("state") or {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"is not a checkpoint that tlx wrote: {error!r}", place=file) from error
    index = found.prefix.with_name(found.prefix.name + ".index")
    if not index.is_file():
        raise DataError(f"points at {index}, which is gone.", place=file)
    return found
