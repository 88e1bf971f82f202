"""Checkpoints of a run: whole or absent, named by pointer files.

``checkpoints/step-00000240/`` holds a checkpoint that the API's own tools read; ``last.json`` and
``best.json`` name one each and carry what is needed to go on. A folder is written under another
name and renamed, a pointer is replaced at once, and folders that no pointer names are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.worker_protocol import WorkerError

_FORMAT = "tlx-tensorflow"
_VERSION = 1
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer file says.

    Attributes:
        path: The pointer file.
        prefix: Path of the checkpoint without its suffixes.
        step: Steps that were made.
        model: Name of the network.
        classes: Class names in order.
        state: The host's, opaque.
        settings: What else is needed to go on.
    """

    path: Path
    prefix: Path
    step: int
    model: str
    classes: tuple[str, ...]
    state: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.path.parent.parent

    @classmethod
    def read(cls, path: Path) -> Pointer:
        """Read a pointer file.

        Raises:
            WorkerError: If it is none, or its checkpoint is gone.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            ours = values["format"] == _FORMAT and values["version"] == _VERSION
            found = cls(
                path=path,
                prefix=path.parent / values["prefix"],
                step=int(values["step"]),
                model=str(values["model"]),
                classes=tuple(values["classes"]),
                state=dict(values.get("state") or {}),
                settings=dict(values.get("settings") or {}),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _foreign(path) from error
        if not ours:
            raise _foreign(path)
        if not Path(f"{found.prefix}.index").is_file():
            raise WorkerError(
                "data",
                f"{path} names the checkpoint {found.prefix.name}, which is gone.",
                place=str(path),
                hint="Copy a run with its whole checkpoints folder.",
            )
        return found


def _foreign(path: Path) -> WorkerError:
    return WorkerError("data", f"{path} is no checkpoint of this backend.", place=str(path))


class Checkpoints:
    """Writes the checkpoints of one run.

    Args:
        folder: The run's ``checkpoints`` folder.
        checkpoint: A ``tf.train.Checkpoint`` with step, model and optimizer, as the API's loop
            makes it, so that its exporter and evaluation read ours.
        described: Backend, model, classes and settings for the pointer files.
    """

    def __init__(self, folder: Path, checkpoint: Any, described: Mapping[str, Any]) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._described = dict(described)

    def save(self, step: int, state: Mapping[str, Any], names: Sequence[str]) -> dict[str, Path]:
        """Write a checkpoint and let pointers (``last``, ``best``) name it; returns their paths.

        Raises:
            WorkerError: If it cannot be written; what was there before stays.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = self._folder / f"step-{step:08d}"
        try:
            if not folder.is_dir():
                self._write(folder, step)
            prefix = folder / f"ckpt-{step}"
            values = {
                "format": _FORMAT,
                "version": _VERSION,
                **self._described,
                "prefix": f"{folder.name}/{prefix.name}",
                "step": step,
                "sha256": digest(prefix),
                "state": dict(state),
            }
            for name in names:
                partial = self._folder / f"{name}.json.part"
                partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
                partial.replace(self._folder / f"{name}.json")
        except OSError as error:
            raise WorkerError(
                "failed",
                f"the checkpoint of step {step} cannot be written: {error.strerror or error}.",
                place=str(self._folder),
                hint="Make room on the disk.",
            ) from error
        self._sweep()
        return {name: self._folder / f"{name}.json" for name in names}

    def _write(self, folder: Path, step: int) -> None:
        import tensorflow as tf

        partial = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            manager = tf.train.CheckpointManager(self._checkpoint, str(partial), max_to_keep=1)
            manager.save(checkpoint_number=step)
        except tf.errors.OpError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise OSError(_reason(error)) from error
        partial.rename(folder)

    def _sweep(self) -> None:
        named = set()
        for path in self._folder.glob("*.json"):
            named.add(json.loads(path.read_text(encoding="utf-8"))["prefix"].split("/")[0])
        for folder in self._folder.glob("step-*"):
            if folder.name not in named:
                shutil.rmtree(folder, ignore_errors=True)


def restore_all(checkpoint: Any, prefix: str | None) -> None:
    """Take everything from a checkpoint of the same training; nothing where there is none.

    Raises:
        WorkerError: If it is of another training, or damaged.
    """
    if prefix is None:
        return
    with whole(prefix, "Start a new run with --weights set to this one: it takes the best one."):
        try:
            checkpoint.restore(prefix).assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:
            raise WorkerError(
                "data",
                "the last checkpoint does not fit this training any more.",
                place=prefix,
                hint="Start a new run with --weights set to the old one.",
            ) from error


@contextlib.contextmanager
def whole(prefix: str, hint: str = "Copy or fetch it again: its files belong together."
          ) -> Iterator[None]:  # fmt: skip
    """Say which checkpoint cannot be read to its end.

    Raises:
        WorkerError: If a file ends too early, or its check sum is wrong.
    """
    import tensorflow as tf

    try:
        yield
    except (IndexError, tf.errors.OpError) as error:
        raise WorkerError(
            "data", "the checkpoint is cut off or damaged.", place=prefix, hint=hint
        ) from error


def _reason(error: Exception) -> str:
    """What the system said, without TensorFlow's nodes and names of temporary files."""
    line = str(error).splitlines()[0]
    return re.sub(r"\s*\[Op:\w+\]$", "", line).rpartition("; ")[2]


def digest(prefix: Path) -> str:
    """SHA-256 over the index and data files of a checkpoint, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(prefix.parent.glob(f"{prefix.name}.*")):
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                total.update(block)
    return total.hexdigest()
