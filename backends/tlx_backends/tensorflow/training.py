"""A training from the host's side: prepares the job, judges what the worker finds, decides.

The worker trains and saves; this side has the dataset, the evaluator and the user. What is asked
of the worker and what it answers is written down in `tlx_backends.tensorflow.worker`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tlx.options
from tlx import environments
from tlx.api import Environment, TrainRequest, TrainResult
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, TlxError, UsageError
from tlx.runs import WORKER_LOG
from tlx.samples import Sample, Samples, load_samples
from tlx.validation import FoundBoxes, validation_scores
from tlx.worker_process import Worker, WorkerEvent
from tlx_backends.tensorflow import checkpoints, job
from tlx_backends.tensorflow.options import TfvisionOptions
from tlx_backends.tensorflow.prediction import found_boxes, report_unreadable
from tlx_backends.tensorflow.records import broken_image, make_records

_PASSED_ON = ("log", "warning")


@dataclass(slots=True)
class _Best:
    """The best validation so far; epoch 0 is before the first step."""

    epoch: int = 0
    ap: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(slots=True)
class _State:
    """What a resumed training has to know; kept by the worker in its checkpoints.

    Attributes:
        best: The best validation.
        stale: Validations since then.
        step: The step of the last validation; -1 before the first.
    """

    best: _Best = field(default_factory=_Best)
    stale: int = 0
    step: int = -1

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> _State:
        if not plain:
            return cls()
        return cls(_Best(**plain["best"]), int(plain["stale"]), int(plain["step"]))


class Training:
    """One training; use it once.

    Args:
        backend: The backend's name.
        environment: Where the worker runs.
        options: The type of the backend's options.
        request: What to train; see `tlx.api.Backend.train`.
        context: Progress, issues and events. Events: ``start``, ``warning``, ``log``, ``dropped``,
            ``augmentation``, ``phase``, ``model``, ``restored``, ``step``, ``epoch``,
            ``checkpoint``, ``end``.
    """

    def __init__(
        self,
        backend: str,
        environment: Environment,
        options: type[TfvisionOptions],
        request: TrainRequest,
        context: Context,
    ) -> None:
        self.backend = backend
        self.environment = environment
        self.request = request
        self.context = context
        self.options = tlx.options.build(options, request.options, f"the backend {backend!r}")
        self.run_folder = Path(request.run)
        self._training: tuple[Sample, ...] = ()
        self._validation: Samples | None = None
        self._records = Path()
        self._classes: tuple[str, ...] = ()
        self._steps_per_epoch = 1
        self._found: dict[int, FoundBoxes] = {}
        self._unreadable: set[int] = set()
        self._epoch_began = time.monotonic()
        self._last_epoch = 0
        self._state = _State()

    def run(self) -> TrainResult:
        """Train to the end.

        Raises:
            UsageError: If the request names something that is not there or does not fit.
            DataError: If images, records or weights are missing or broken.
            TlxError: If the worker fails, or dies.
        """
        python = environments.require(self.environment, self.backend)
        prepared = self._prepare()
        owner = f"the worker of the backend {self.backend!r}"
        log = self.run_folder / WORKER_LOG
        self._epoch_began = time.monotonic()
        with Worker(python, self.environment.worker, prepared, log=log, owner=owner) as worker:
            try:
                for event in worker.events():
                    self._take(event, worker)
            except (UsageError, DataError):
                raise
            except TlxError as error:
                self._blame_data(error)
                raise
            except KeyboardInterrupt:
                message = "stopping; a checkpoint is saved (Ctrl-C again: at once, without)"
                self.context.emit({"kind": "log", "message": message})
                for event in worker.stop():
                    if event["ev"] == "checkpoint":
                        self._take(event, worker)
                raise
        return self._result()

    def _prepare(self) -> dict[str, Any]:
        """Read the dataset, make the records, and put the job together."""
        request, context = self.request, self.context
        if self.options.validate_every < 1:
            raise UsageError(
                f"--validate-every must be at least 1, not {self.options.validate_every}."
            )
        job.chosen_network(request, self.options)
        dataset = Dataset.open(request.dataset)
        self._classes = dataset.taxonomy.names
        if not self._classes:
            raise UsageError("the dataset has no classes, so there is nothing to detect.")
        training = load_samples(dataset, request.train_split, context)
        if dataset.counts.images_by_split.get(request.val_split):
            self._validation = load_samples(dataset, request.val_split, context)
        splits = (training,) if self._validation is None else (training, self._validation)
        records = make_records(dataset, splits, context)
        self._training, self._records = training.items, records.folder
        last = self.run_folder / "checkpoints" / "last.json"
        resumed = checkpoints.read(last) if request.resume and last.is_file() else None
        if resumed is not None:
            self._require_same(resumed)
            self._state = _State.of(resumed.state)
        self._steps_per_epoch = job.steps_per_epoch(len(training), request.batch_size)
        weights = None if resumed is not None else job.weights(request, self.options, context)
        self._say_start(dataset, training, resumed is not None)
        augmentation, notes = job.augmentation(self.options, dataset.taxonomy)
        context.emit({"kind": "augmentation", **augmentation, "notes": notes})
        return job.train_job(
            self.backend,
            request,
            self.options,
            classes=self._classes,
            splits=splits,
            records=records,
            augmentation=augmentation,
            weights=weights,
            resumed=resumed,
            scored=self._state.step,
        )

    def _blame_data(self, error: TlxError) -> None:
        """TensorFlow does not say which of its inputs it could not read; find out.

        Raises:
            DataError: If an image cannot be decoded, or the records are damaged.
        """
        if "DataLossError" in error.message:
            shutil.rmtree(self._records, ignore_errors=True)
            raise DataError(
                "was damaged and has been deleted; it is only a copy.",
                place=self._records,
                hint="Run it again: the records are made anew from the dataset.",
            ) from error
        if "InvalidArgumentError" not in error.message:
            return
        for item in self._training:
            reason = broken_image(item.path)
            if reason is not None:
                raise DataError(
                    f"{reason}.",
                    place=item.path,
                    hint="Mend the file, or go on without such images: --on-error skip",
                ) from error

    def _require_same(self, resumed: checkpoints.Checkpoint) -> None:
        if (resumed.model, resumed.classes) != (self.request.model, self._classes):
            raise UsageError(
                f"{self.request.run} trains {resumed.model} on the classes "
                f"{', '.join(resumed.classes)}; it cannot be resumed with another model or other "
                "classes.",
                hint="Start a new run with --weights set to this one.",
            )

    def _say_start(self, dataset: Dataset, training: Samples, resumed: bool) -> None:
        request, context = self.request, self.context
        validation = self._validation
        context.emit({
            "kind": "start", "model": request.model, "resume": resumed, "seed": request.seed,
            "batch_size": request.batch_size, "epochs": request.epochs,
            "dataset": dataset.fingerprint, "device": request.device,
            "train_images": len(training), "val_images": len(validation or ()),
            "classes": list(self._classes),
        })  # fmt: skip
        for samples in (training, validation):
            if samples is not None and samples.dropped:
                context.emit({"kind": "dropped", "split": samples.split, **samples.dropped})
        if validation is None:
            text = (
                f"there is no split {request.val_split!r}, so the last checkpoint counts as the "
                "best"
            )
            context.emit({"kind": "warning", "message": text})

    def _take(self, event: WorkerEvent, worker: Worker) -> None:
        """Deal with one event of the worker."""
        kind = event["ev"]
        if kind == "step":
            self._take_step(event)
        elif kind == "detections":
            self._found[int(event["image"])] = found_boxes(event)
        elif kind == "unreadable":
            self._take_unreadable(event)
        elif kind == "validated":
            worker.send(self._judge(int(event["step"]), event.get("loss")))
        elif kind == "checkpoint":
            path = str(event["path"])
            step = int(event["step"])
            self.context.emit({"kind": kind, "which": event["which"], "step": step,
                               "epoch": step // self._steps_per_epoch, "path": path})  # fmt: skip
        elif kind == "phase":
            self.context.emit({"kind": kind, "name": event["name"]})
            self.context.progress.status(str(event["name"]))
        elif kind in ("ready", "model", "restored", *_PASSED_ON):
            if kind == "restored":
                self._epoch_began = time.monotonic()
            facts = {name: value for name, value in event.items() if name != "ev"}
            self.context.emit({"kind": kind, **facts})

    def _take_step(self, event: WorkerEvent) -> None:
        step, per_epoch = int(event["step"]), self._steps_per_epoch
        self.context.emit(
            {
                "kind": "step",
                "epoch": (step - 1) // per_epoch + 1,
                "epochs": self.request.epochs,
                "step": (step - 1) % per_epoch + 1,
                "steps": per_epoch,
                "loss": event.get("loss"),
                "losses": dict(event.get("losses") or {}),
                "learning_rate": event.get("learning_rate"),
                "images_per_second": event.get("images_per_second"),
            }
        )

    def _take_unreadable(self, event: WorkerEvent) -> None:
        number = int(event["image"])
        if number not in self._unreadable and self._validation is not None:
            self._unreadable.add(number)
            report_unreadable(event, self._validation.items[number].path, self.context)

    def _judge(self, step: int, loss: float | None) -> dict[str, Any]:
        """Score what was found, choose the best, and tell the worker what to do.

        Args:
            step: Steps trained.
            loss: Mean over the steps since the last validation.
        """
        metrics: Mapping[str, float | None] = {}
        epoch = step // self._steps_per_epoch
        better = self._validation is None
        if self._validation is not None:
            metrics = validation_scores(self._validation.items, self._found, len(self._classes))
            self._found = {}
            ap, before = metrics.get("ap"), self._state.best.ap
            # Without anything to find there is no score, and the last counts as the best.
            better = ap is None or before is None or ap > before
            self._state.stale = 0 if better else self._state.stale + 1
        self._state.step = step
        if better:
            self._state.best = _Best(epoch, metrics.get("ap"), dict(metrics))
        now = time.monotonic()
        self.context.emit(
            {
                "kind": "epoch",
                "epoch": epoch,
                "epochs": self.request.epochs,
                "loss": loss,
                "metrics": dict(metrics),
                "best": better,
                "seconds": now - self._epoch_began,
            }
        )
        self._epoch_began = now
        self._last_epoch = epoch
        return {
            "cmd": "score",
            "step": step,
            "metrics": dict(metrics),
            "best": better,
            "stop": 0 < self.options.patience <= self._state.stale,
            "state": asdict(self._state),
        }

    def _result(self) -> TrainResult:
        folder = self.run_folder / "checkpoints"
        best = self._state.best
        for which in ("best", "last"):
            if not (folder / f"{which}.json").is_file():
                raise TlxError(f"the worker has not saved a checkpoint {which!r} in {folder}.")
        self.context.emit(
            {
                "kind": "end",
                "best_epoch": best.epoch,
                "metrics": dict(best.metrics),
                "epochs": self._last_epoch,
                "stopped_early": self._last_epoch < self.request.epochs,
            }
        )
        return TrainResult(
            best=str(folder / "best.json"),
            last=str(folder / "last.json"),
            best_epoch=best.epoch,
            metrics=dict(best.metrics),
        )
