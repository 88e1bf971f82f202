"""Checkpoints in TensorFlow's other forms, compared with the original by the worker."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from tlx import environments
from tlx.api import Environment
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import TlxError, UsageError, nearest
from tlx.runs import Run
from tlx.worker_process import Worker
from tlx_backends.tensorflow import checkpoints

KINDS = ("savedmodel", "frozen-graph", "tflite")
_SHORT = {"frozen": "frozen-graph"}
_COMPARED_IMAGES = 4


def export(
    backend: str,
    environment: Environment,
    checkpoint: Path,
    kind: str,
    dest: Path,
    context: Context,
) -> tuple[str, ...]:
    """Write a checkpoint in another form; the worker compares the detections of both.

    Args:
        backend: The backend's name.
        environment: Where the worker runs.
        checkpoint: A pointer file.
        kind: ``savedmodel``, ``frozen-graph`` or ``tflite``.
        dest: The folder to write into.
        context: Events.

    Raises:
        UsageError: For another form, or one that the network cannot have.
        TlxError: If what was written does not detect what the checkpoint does.
    """
    kind = _SHORT.get(kind, kind)
    if kind not in KINDS:
        raise UsageError(
            f"the backend {backend!r} cannot export to {kind!r}.", hint=nearest(kind, KINDS)
        )
    found = checkpoints.read(checkpoint)
    python = environments.require(environment, backend)
    dest.mkdir(parents=True, exist_ok=True)
    job = {
        "kind": "export",
        "backend": found.backend,
        "checkpoint": str(found.path),
        "to": kind,
        "dest": str(dest),
        "images": _images(found.path.parent.parent),
        "device": "cpu",
        "threads": None,
        "seed": 0,
    }
    owner = f"the worker of the backend {backend!r}"
    files: tuple[str, ...] = ()
    with Worker(python, environment.worker, job, owner=owner) as worker:
        for event in worker.events():
            if event["ev"] in ("log", "warning"):
                context.emit({"kind": event["ev"], "message": str(event["message"])})
            elif event["ev"] == "phase":
                context.progress.status(str(event["name"]))
            elif event["ev"] == "done":
                files = tuple(str(name) for name in event["result"]["files"])
    missing = [name for name in files if not (dest / name).exists()]
    if missing or not files:
        raise TlxError(f"{owner} has not written {', '.join(missing) or 'anything'}.")
    return files


def _images(run: Path) -> list[str]:
    """Some images of the run's own data to compare on; none where it is no longer here."""
    try:
        request = Run.open(run).info.request
        data = Dataset.open(request.dataset)
    except TlxError:
        return []
    split = request.val_split if data.counts.images_by_split.get(request.val_split) else None
    paths = (data.image_path(record.uri) for record in data.records(split))
    return [str(path) for path in islice((p for p in paths if p.is_file()), _COMPARED_IMAGES)]
