"""Detection in images, by the worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from tlx import environments, exported
from tlx.api import Environment, ImageTask
from tlx.context import Context
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import Issue
from tlx.model import Box, Detection, Prediction
from tlx.pixels import shown_path
from tlx.validation import FoundBoxes
from tlx.worker_process import Worker
from tlx_backends.tensorflow import checkpoints

# The validation of a training and the predictions of a run keep the same detections.
LOWEST_SCORE = 0.01


def predict(
    backend: str,
    environment: Environment,
    checkpoint: Path,
    images: Iterable[ImageTask],
    context: Context,
    *,
    batch_size: int,
    device: str,
    score_threshold: float,
) -> Iterator[Prediction]:
    """See `TfodBackend.predict`; the network is looked for before the first image is."""
    if batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, not {batch_size}.")
    network, classes = _network(backend, checkpoint)
    python = environments.require(environment, backend)
    job = {
        "kind": "predict",
        **network,
        # The worker asks for them: frames of a video exist for a short time only.
        "images": None,
        "batch_size": batch_size,
        "score_threshold": max(LOWEST_SCORE, score_threshold),
        "device": device,
        "threads": None,
        "seed": 0,
    }
    return _predictions(backend, environment, python, job, iter(images), classes, context)


def _network(backend: str, checkpoint: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the worker has to load, and the classes by their index."""
    if exported.is_exported(checkpoint):
        model = exported.read(checkpoint)
        if model.backend != backend:
            raise DataError(
                f"was exported by the backend {model.backend!r}, not {backend!r}.",
                place=checkpoint / exported.FILE_NAME,
            )
        named = {"form": model.form, "folder": str(checkpoint.absolute())}
        return {"backend": backend, "exported": named}, tuple(c.name for c in model.classes)
    found = checkpoints.read(checkpoint)
    return {"backend": found.backend, "checkpoint": str(found.path)}, found.classes


def _predictions(
    backend: str,
    environment: Environment,
    python: Path,
    job: Mapping[str, Any],
    images: Iterator[ImageTask],
    classes: tuple[str, ...],
    context: Context,
) -> Iterator[Prediction]:
    first = next(images, None)
    if first is None:
        return
    images = chain((first,), images)
    owner = f"the worker of the backend {backend!r}"
    waiting: dict[int, ImageTask] = {}
    asked = 0
    with Worker(python, environment.worker, job, owner=owner) as worker:
        for event in worker.events():
            kind = event["ev"]
            if kind == "images":
                portion = list(islice(images, int(event["count"])))
                waiting.update(enumerate(portion, asked))
                asked += len(portion)
                paths = [shown_path(task.path) for task in portion]
                worker.send({"cmd": "images", "paths": paths})
            elif kind == "unreadable":
                # It is told before the images of its batch that come before it.
                task = _take(waiting, int(event["image"]), owner)
                report_unreadable(event, task.path, context)
            elif kind == "detections":
                number = int(event["image"])
                if number != next(iter(waiting), None):
                    raise TlxError(f"{owner} sent image {number} before those that come first.")
                task = _take(waiting, number, owner)
                yield Prediction(task.image_id, _detections(found_boxes(event), classes))
            elif kind in ("log", "warning"):
                context.emit({"kind": kind, "message": str(event["message"])})
            elif kind == "phase":
                context.progress.status(str(event["name"]))
    if waiting:
        raise TlxError(f"{owner} has said nothing about {len(waiting):,} of {asked:,} images.")


def _take(waiting: dict[int, ImageTask], number: int, owner: str) -> ImageTask:
    if number not in waiting:
        raise TlxError(f"{owner} sent image {number}, which it was not given.")
    return waiting.pop(number)


def report_unreadable(event: Mapping[str, Any], path: str, context: Context) -> None:
    """An image that the worker cannot read is an issue, fatal or not."""
    context.issues.report(Issue("unreadable-image", str(event["message"]), path=path))


def found_boxes(event: Mapping[str, Any]) -> FoundBoxes:
    """The detections of an event, by falling score."""
    scores = np.asarray(event["scores"], dtype=np.float64).reshape(-1)
    order = np.argsort(-scores, kind="stable")
    boxes = np.asarray(event["boxes"], dtype=np.float64).reshape(-1, 4)
    classes = np.asarray(event["classes"], dtype=np.int64).reshape(-1)
    return FoundBoxes(boxes[order], classes[order], scores[order])


def _detections(found: FoundBoxes, classes: tuple[str, ...]) -> tuple[Detection, ...]:
    rows = zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True)
    return tuple(Detection(classes[k], Box(*box), score) for box, k, score in rows)
