"""Checkpoints in TensorFlow's other forms, compared with the original by the worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tlx import environments
from tlx.api import Environment, ExportForm, ExportReport
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import TlxError, UsageError, nearest
from tlx.runs import Run
from tlx.worker_process import Worker
from tlx_backends.tensorflow import checkpoints

_COMPARED_IMAGES = 4


def export(
    backend: str,
    environment: Environment,
    forms: Sequence[ExportForm],
    checkpoint: Path,
    kind: str,
    dest: Path,
    context: Context,
) -> ExportReport:
    """Write a checkpoint in another form; the worker compares the detections of both.

    Args:
        backend: The backend's name.
        environment: Where the worker runs.
        forms: Those that the backend has.
        checkpoint: A pointer file.
        kind: The name of one of the forms.
        dest: The folder to write into.
        context: Events.

    Raises:
        UsageError: For another form, or one that the network cannot have.
        TlxError: If what was written does not detect what the checkpoint does.
    """
    names = [form.name for form in forms]
    if kind not in names:
        raise UsageError(
            f"the backend {backend!r} cannot export to {kind!r}.", hint=nearest(kind, names)
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
    result: Mapping[str, Any] = {"files": ()}
    with Worker(python, environment.worker, job, owner=owner) as worker:
        for event in worker.events():
            if event["ev"] in ("log", "warning"):
                context.emit({"kind": event["ev"], "message": str(event["message"])})
            elif event["ev"] == "phase":
                context.progress.status(str(event["name"]))
            elif event["ev"] == "done":
                result = event["result"]
    files = tuple(str(name) for name in result["files"])
    missing = [name for name in files if not (dest / name).exists()]
    if missing or not files:
        raise TlxError(f"{owner} has not written {', '.join(missing) or 'anything'}.")
    first = int(result["first_id"])
    return ExportReport(
        files=files,
        class_ids={name: first + k for k, name in enumerate(found.classes)},
        input=dict(result["input"]),
        output=dict(result["output"]),
    )


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
