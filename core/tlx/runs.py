"""A run folder: everything that one training is, in files that other tools can read.

runs/1/
  request.json        the resolved request (`tlx.api.TrainRequest`) and the backend's name
  environment.json    versions, threads, device, dataset fingerprint
  events.jsonl        what happened, one JSON object per line
  tensorboard/        scalars
  checkpoints/        best.* and last.*, each whole or absent
  predictions/        one Parquet file per split or input
  thresholds.json     per-class score thresholds, tuned on the validation split
  metrics.json        the last evaluation
  MODEL_CARD.md       what it is, for people
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from tlx.api import TrainRequest, TrainResult
from tlx.context import Event
from tlx.errors import DataError, TlxError, UsageError
from tlx.staging import OutputExists, write_text

_REPORTED_PACKAGES = ("tlx", "torch", "torchvision", "tensorflow", "numpy", "pyarrow", "pillow")

# What a backend's own process prints.
WORKER_LOG = "worker.log"


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What ``request.json`` holds."""

    backend: str
    request: TrainRequest
    dataset_fingerprint: str
    leaks: list[str] = []


class Run:
    """A run folder on disk."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        self.path = path
        self.info = info

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open a run folder.

        Raises:
            UsageError: If there is none; names the runs beside it.
            DataError: If its request file is broken.
        """
        folder = Path(path)
        file = folder / "request.json"
        if not file.is_file():
            raise UsageError(
                f"{folder} is not a run folder: it has no request.json.", hint=runs_near(folder)
            )
        try:
            return cls(folder, msgspec.json.decode(file.read_bytes(), type=RunInfo))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"is not a tlx run: {error}", place=file) from error

    @classmethod
    @contextmanager
    def beginning(cls, path: Path, info: RunInfo, *, overwrite: bool = False) -> Iterator[Run]:
        """A new run folder for as long as a training begins.

        When the body raises before there is a checkpoint, the folder is removed again and a run
        that it was to replace is back: nobody could go on with it, and nothing is lost.

        Raises:
            OutputExists: If something lies at the path and may not be replaced.
            UsageError: If what lies there is no run, which is never removed.
        """
        if path.exists() and not overwrite:
            raise OutputExists(path)
        old = _set_aside(path) if path.exists() else None
        checkpoints = path / "checkpoints"
        try:
            checkpoints.mkdir(parents=True)
            run = cls(path, info)
            run.write_json("request.json", msgspec.to_builtins(info))
            run.write_json("environment.json", environment())
            yield run
        except TlxError as error:
            if not any(checkpoints.iterdir()):
                _keep_log(path, error)
            raise
        finally:
            if checkpoints.is_dir() and any(checkpoints.iterdir()):
                if old is not None:
                    shutil.rmtree(old)
            else:
                shutil.rmtree(path, ignore_errors=True)
                if old is not None:
                    old.rename(path)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the run, whole or not at all."""
        write_text(self.path / name, json.dumps(value, indent=2, sort_keys=True) + "\n")

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the run, None where it is absent."""
        file = self.path / name
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def recorder(self, then: Callable[[Event], None]) -> Callable[[Event], None]:
        """A function that appends events to ``events.jsonl`` and passes them on."""
        file = self.path / "events.jsonl"

        def record(event: Event) -> None:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(dict(event)) + "\n")
            then(event)

        return record

    def checkpoint(self, which: str = "best") -> Path:
        """The checkpoint file ``best`` or ``last``.

        Raises:
            UsageError: If the training has not written it.
        """
        found = sorted((self.path / "checkpoints").glob(f"{which}.*"))
        if not found:
            raise UsageError(
                f"{self.path} has no checkpoint {which!r}; the training did not get that far.",
                hint=f"Go on with it: tlx train --resume {self.path}",
            )
        return found[0]

    def predictions_path(self, name: str) -> Path:
        """Where predictions called ``name`` (a split, usually) lie."""
        return self.path / "predictions" / f"{name}.parquet"

    def result(self) -> TrainResult | None:
        """What the training ended with, None while it has not ended."""
        value = self.read_json("result.json")
        return None if value is None else msgspec.convert(value, TrainResult)


def next_run(root: Path) -> Path:
    """The next free numbered folder below ``root``: runs/1, runs/2, ..."""
    taken = (
        [int(p.name) for p in root.glob("*") if re.fullmatch(r"\d+", p.name)]
        if root.is_dir()
        else []
    )
    return root / str(max(taken, default=0) + 1)


def environment() -> Mapping[str, Any]:
    """Versions and machine facts that a result depends on."""
    versions = {}
    for package in _REPORTED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
    }


def runs_near(folder: Path) -> str:
    """The runs beside a folder that is none, or how to make one: a sentence for a hint."""
    parent = folder.parent
    near = sorted(p.parent.name for p in parent.glob("*/request.json")) if parent.is_dir() else []
    if near:
        return f"Runs in {parent}: {', '.join(near[:10])}."
    return "Make one with: tlx train DATASET"


def _keep_log(run: Path, error: TlxError) -> None:
    """Keep a log that the error refers to beside a run that will be removed."""
    log = run / WORKER_LOG
    if error.hint is not None and str(log) in error.hint and log.is_file():
        kept = run.with_name(f"{run.name}.log")
        log.replace(kept)
        error.hint = error.hint.replace(str(log), str(kept))


def _set_aside(path: Path) -> Path:
    """Move an old run out of the way; anything that is not one is left alone."""
    if not (path / "request.json").is_file():
        raise UsageError(f"{path} exists and is not a run folder, so --overwrite leaves it alone.")
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".replaced", dir=path.parent))
    aside.rmdir()
    path.rename(aside)
    return aside
