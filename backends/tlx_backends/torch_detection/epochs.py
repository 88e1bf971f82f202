"""The epochs of a training: steps, validation, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tlx.api import TrainRequest, TrainResult
from tlx.context import Context
from tlx.errors import DataError, TlxError
from tlx.issues import Issue
from tlx_backends.torch_detection import checkpoints, networks, optimization, random_numbers
from tlx_backends.torch_detection.loading import Batch, TrainingBatches
from tlx_backends.torch_detection.options import TorchOptions
from tlx_backends.torch_detection.scalars import Scalars
from tlx_backends.torch_detection.settings import NetworkSettings
from tlx_backends.torch_detection.validation import Validation

_SECONDS_BETWEEN_EVENTS = 0.5


@dataclass(slots=True)
class _Best:
    """The best validation so far; epoch 0 is before the first step."""

    epoch: int = 0
    ap: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Sums:
    """Loss parts of an epoch, summed over images."""

    images: int = 0
    losses: dict[str, float] = field(default_factory=dict)

    def add(self, parts: Mapping[str, float], images: int) -> None:
        self.images += images
        for name, value in parts.items():
            self.losses[name] = self.losses.get(name, 0.0) + value * images

    def mean(self) -> float | None:
        return sum(self.losses.values()) / self.images if self.images else None


@dataclass(slots=True, kw_only=True)
class Trainer:
    """A training that is ready to run; see `training.train` for what its parts are."""

    request: TrainRequest
    options: TorchOptions
    context: Context
    device: torch.device
    model: nn.Module
    settings: NetworkSettings
    batches: TrainingBatches
    smallest_batch: int
    validation: Validation | None
    optimizer: torch.optim.Optimizer
    rate: optimization.LearningRate
    bfloat16: bool
    scalars: Scalars
    facts: Mapping[str, Any]
    source: Mapping[str, Any]
    resumed: Mapping[str, Any] | None
    _epoch: int = 0
    _step: int = 0
    _stale: int = 0
    _best: _Best = field(default_factory=_Best)
    _reported: set[str] = field(default_factory=set)
    _last_event: float = 0.0

    def run(self) -> TrainResult:
        """Validate the start, then train and validate epoch by epoch."""
        if self.resumed is None:
            self._finish_epoch(None, time.monotonic())
        else:
            self._take_over(self.resumed)
        while self._epoch < self.request.epochs and not self._out_of_patience():
            began = time.monotonic()
            self._epoch += 1
            sums = self._train_epoch()
            self._finish_epoch(sums, began)
        result = TrainResult(
            best=str(self._path("best")),
            last=str(self._path("last")),
            best_epoch=self._best.epoch,
            metrics=dict(self._best.metrics),
        )
        self.context.emit(
            {
                "kind": "end",
                "best_epoch": result.best_epoch,
                "metrics": result.metrics,
                "epochs": self._epoch,
                "stopped_early": self._epoch < self.request.epochs,
            }
        )
        return result

    def _out_of_patience(self) -> bool:
        return 0 < self.options.patience <= self._stale

    def _train_epoch(self) -> _Sums:
        networks.train_mode(self.model, self.settings)
        sums = _Sums()
        batches = self.batches.epoch(self._epoch)
        # Samplers inside a network draw from torch's generator; this makes them stateless too.
        torch.manual_seed(random_numbers.epoch_seed(self.request.seed, self._epoch))
        description = f"epoch {self._epoch}/{self.request.epochs}"
        steps = len(self.batches)
        began = time.monotonic()
        tracked = self.context.progress.track(batches, description, total=steps)
        for number, batch in enumerate(tracked, start=1):
            self._report(batch)
            rate = self.rate.at(self._step)
            if len(batch.images) >= self.smallest_batch:
                parts = self._train_step(batch, rate)
                sums.add(parts, len(batch.images))
                speed = sums.images / max(1e-9, time.monotonic() - began)
                self._emit_step(number, steps, parts, rate, speed)
            self._step += 1
        if not sums.images:
            raise DataError(
                "no image of the training split could be read.", place=self.request.dataset
            )
        return sums

    def _report(self, batch: Batch) -> None:
        for item in batch.unreadable:
            if item.path not in self._reported:
                self._reported.add(item.path)
                issue = Issue("unreadable-image", f"{item.reason}.", path=item.path)
                self.context.issues.report(issue)

    def _train_step(self, batch: Batch, rate: float) -> dict[str, float]:
        images = [image.to(self.device, non_blocking=True) for image in batch.images]
        targets = [
            {name: value.to(self.device, non_blocking=True) for name, value in target.items()}
            for target in batch.targets
        ]
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            losses: dict[str, Tensor] = self.model(images, targets)
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        parts = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(sum(parts.values())):
            self._refuse(parts, rate)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.gradient_norm)
        if not math.isfinite(float(norm)):
            self._refuse({"gradient": float(norm)}, rate)
        optimization.set_rate(self.optimizer, rate)
        self.optimizer.step()
        return parts

    def _refuse(self, parts: Mapping[str, float], rate: float) -> None:
        """Stop before a bad number gets into the weights."""
        bad = ", ".join(f"{k} = {v}" for k, v in parts.items() if not math.isfinite(v))
        raise TlxError(
            f"the training broke down in epoch {self._epoch}, step {self._step}: "
            f"{bad or 'the loss'} is not a finite number at a learning rate of {rate:.2g}.",
            hint="Lower --learning-rate; the checkpoints of the epochs before are whole.",
        )

    def _emit_step(
        self, number: int, steps: int, parts: Mapping[str, float], rate: float, speed: float
    ) -> None:
        now = time.monotonic()
        if number < steps and now - self._last_event < _SECONDS_BETWEEN_EVENTS:
            return
        self._last_event = now
        loss = sum(parts.values())
        self.context.emit(
            {
                "kind": "step",
                "epoch": self._epoch,
                "epochs": self.request.epochs,
                "step": number,
                "steps": steps,
                "loss": loss,
                "losses": dict(parts),
                "learning_rate": rate,
                "images_per_second": speed,
            }
        )
        scalars = {f"train/{name}": value for name, value in parts.items()}
        self.scalars.write({"train/loss": loss, "train/learning_rate": rate, **scalars}, self._step)

    def _finish_epoch(self, sums: _Sums | None, began: float) -> None:
        """Validate, choose the best, write the checkpoints."""
        last = self._epoch == self.request.epochs
        due = last or self._epoch % self.options.validate_every == 0
        metrics: Mapping[str, float | None] = {}
        better = self.validation is None
        if self.validation is not None and due:
            description = f"validation {self._epoch}/{self.request.epochs}"
            metrics = self.validation.score(self.model, self.device, self.context, description)
            ap = metrics.get("ap")
            # Without anything to find there is no score, and the last counts as the best.
            better = ap is None or self._best.ap is None or ap > self._best.ap
            self._stale = 0 if better else self._stale + 1
        if better:
            self._best = _Best(self._epoch, metrics.get("ap"), dict(metrics))
        loss = None if sums is None else sums.mean()
        self.context.emit(
            {
                "kind": "epoch",
                "epoch": self._epoch,
                "epochs": self.request.epochs,
                "loss": loss,
                "metrics": dict(metrics),
                "best": better,
                "seconds": time.monotonic() - began,
            }
        )
        values = {f"val/{name}": value for name, value in metrics.items()}
        self.scalars.write({"train/epoch_loss": loss, **values}, self._step)
        self._save(better)

    def _path(self, which: str) -> Path:
        return Path(self.request.run) / "checkpoints" / f"{which}.pt"

    def _save(self, better: bool) -> None:
        state = self.model.state_dict()
        common = {
            "settings": self.settings.plain(),
            "model": state,
            "epoch": self._epoch,
            "step": self._step,
            "metrics": dict(self._best.metrics),
            "facts": dict(self.facts),
            "source": dict(self.source),
        }
        if better:
            self._write("best", common)
        self._write(
            "last",
            {
                **common,
                "optimizer": self.optimizer.state_dict(),
                "torch_random": torch.get_rng_state(),
                "stale": self._stale,
                "best": {
                    "epoch": self._best.epoch,
                    "ap": self._best.ap,
                    "metrics": dict(self._best.metrics),
                },
            },
        )

    def _write(self, which: str, content: Mapping[str, Any]) -> None:
        path = self._path(which)
        checkpoints.save(path, content)
        self.context.emit(
            {"kind": "checkpoint", "which": which, "epoch": self._epoch, "path": str(path)}
        )

    def _take_over(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self._epoch = int(state["epoch"])
        self._step = int(state["step"])
        self._stale = int(state["stale"])
        self._best = _Best(**state["best"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_random"])
