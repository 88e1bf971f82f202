"""The loop of a training: steps, scores, checkpoints, and the way out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from tlx.worker_protocol import Cancelled, Channel, WorkerError

from . import images as image_files
from .checkpoints import Checkpoints
from .network import Detector
from .records_input import Passes
from .scalars import Scalars
from .stepping import TOTAL, Rounds, Stepper

# Seconds between two `step` events.
_QUIET = 0.5
# Seconds and steps between two looks for a message of the host, at most.
_UNHEARD, _ROUND = 0.5, 10


@dataclass(slots=True, kw_only=True)
class Loop:
    """A training that is ready to run.

    Attributes:
        stepper: Makes steps.
        detector: Detects with the same weights.
        batches: What to learn from.
        checkpoints: Keeps what was learned.
        scalars: TensorBoard.
        channel: The host.
        images: Paths of the validation images.
        batch_size: Images per step.
        steps: Steps in all.
        steps_to_score: Steps between two scores.
        state: The host's state of the last score; it travels with checkpoints.
        score_first: Whether the checkpoint that this goes on from was never scored.
    """

    stepper: Stepper
    detector: Detector
    batches: Passes
    checkpoints: Checkpoints
    scalars: Scalars
    channel: Channel
    images: list[str]
    batch_size: int
    steps: int
    steps_to_score: int
    state: dict[str, Any] = field(default_factory=dict)
    score_first: bool = False
    _losses: list[Any] = field(default_factory=list)
    _counted: int = 0

    def run(self) -> dict[str, Any]:
        """Train to the last step, or until the host has seen enough.

        Raises:
            Cancelled: With the step that was kept.
            WorkerError: If the loss is no number any more; the last checkpoint stays.
        """
        first = step = self.stepper.steps_made
        stopped = False
        self.channel.emit("phase", name="trace")
        rounds: Rounds | None = None
        if step < self.steps:
            rounds = self.stepper.over(self.batches.following(step))
        saved = step
        with self.channel.graceful():
            try:
                if step == 0 or self.score_first:
                    stopped = self._score(step)
                self.channel.emit("phase", name="train")
                pace = _Pace(self.batch_size, step)
                while rounds is not None and step < self.steps and not stopped:
                    self.channel.check()
                    count = min(pace.round(), self.steps - step, self._until_score(step))
                    losses, total = rounds(count)
                    self._losses.append(total)
                    self._counted += count
                    step += count
                    if pace.due(step, first=first, last=self.steps):
                        self._tell(step, losses, pace.images_per_second(step))
                    if step % self.steps_to_score == 0 or step == self.steps:
                        self._require_numbers(step, losses)
                        stopped = self._score(step)
                        saved = step
                        pace.restart(step)
            except Cancelled as cancelled:
                done = self.stepper.steps_made
                if done > saved:
                    self._save(done, ["last"])
                raise Cancelled(done or None) from cancelled
            finally:
                self.scalars.close()
        return {"step": step, "stopped": stopped}

    def _until_score(self, step: int) -> int:
        """Steps until the next score."""
        return self.steps_to_score - step % self.steps_to_score

    def _tell(self, step: int, losses: Any, speed: float | None) -> None:
        values = {name.removeprefix("Loss/"): float(v) for name, v in losses.items()}
        total = float(losses[TOTAL])
        self._require_numbers(step, losses)
        rate = self.stepper.learning_rate
        self.channel.emit(
            "step",
            step=step,
            loss=total,
            losses={name: value for name, value in values.items() if name != "total_loss"},
            learning_rate=rate,
            images_per_second=speed,
        )
        curves = {f"loss/{name}": value for name, value in values.items()}
        self.scalars.write(step, curves | {"learning_rate": rate, "images_per_second": speed})

    def _require_numbers(self, step: int, losses: Any) -> None:
        if math.isfinite(float(losses[TOTAL])):
            return
        raise WorkerError(
            "failed",
            f"the loss is no longer a number at step {step}.",
            hint="Lower --learning-rate, or look at the boxes with tlx inspect.",
        )

    def _score(self, step: int) -> bool:
        """Detect in the validation images, let the host judge; whether to stop."""
        self.channel.emit("phase", name="validate")
        found = image_files.detections(
            self.detector, self.images, self.channel, batch_size=self.batch_size, stop=True
        )
        for index, values in found:
            if values is not None:
                self.channel.emit("detections", image=index, **values)
        # Read only here: to ask for a number at every step would make a GPU wait.
        loss = math.fsum(map(float, self._losses)) / self._counted if self._losses else None
        self._losses.clear()
        self._counted = 0
        reply = self.channel.ask("validated", step=step, loss=loss)
        self.state = dict(reply.get("state") or {})
        metrics = {f"val/{k}": v for k, v in (reply.get("metrics") or {}).items()}
        self.scalars.write(step, {k: v for k, v in metrics.items() if isinstance(v, float)})
        # In this order: a last checkpoint that knows of a best one comes after it.
        self._save(step, ["best", "last"] if reply.get("best") else ["last"])
        self.channel.emit("phase", name="train")
        return bool(reply.get("stop"))

    def _save(self, step: int, names: list[str]) -> None:
        paths = self.checkpoints.save(step, self.state, names)
        for name, path in paths.items():
            self.channel.emit("checkpoint", which=name, step=step, path=str(path))


class _Pace:
    """When to tell of a step, and how fast the steps are.

    Args:
        batch_size: Images per step.
        step: Where it begins.
    """

    def __init__(self, batch_size: int, step: int) -> None:
        self._batch_size = batch_size
        self._told = 0.0
        self._speed: float | None = None
        self.restart(step)

    def restart(self, step: int) -> None:
        """Leave out the time since the last step."""
        self._since, self._from = time.monotonic(), step

    def due(self, step: int, *, first: int, last: int) -> bool:
        """Whether to tell of this step: the first, the last, and two per second."""
        now = time.monotonic()
        if step not in {first + 1, last} and now - self._told < _QUIET:
            return False
        self._told = now
        return True

    def round(self) -> int:
        """Steps to make without a look at the host: one until it is known how long they take."""
        if self._speed is None:
            return 1
        return max(1, min(_ROUND, int(_UNHEARD * self._speed / self._batch_size)))

    def images_per_second(self, step: int) -> float | None:
        """Images per second since it was asked before; the last figure right after a restart."""
        elapsed = time.monotonic() - self._since
        if step > self._from and elapsed > 0:
            self._speed = round((step - self._from) * self._batch_size / elapsed, 2)
            self.restart(step)
        return self._speed
