"""One training step of the Garden's task, and the rate that it learns with."""

from __future__ import annotations

import math
from typing import Any

from ..stepping import Rounds


class _Last:
    """Takes the place of a metric in `task.train_step`: keeps the value of this step itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._value: Any = None

    def update_state(self, value: Any) -> None:
        """Keep a value."""
        self._value = value

    def result(self) -> Any:
        """The value."""
        return self._value


class Stepper:
    """The network, its optimizer and the number of steps made; used like `tlx_worker.stepping`'s.

    Args:
        task: The Garden's task.
        model: Its network; what is frozen is frozen already.
        optimizer: ``adam`` or ``momentum``.
        learning_rate: The highest rate.
        steps: Steps in all: the rate falls along a cosine to zero.
        warmup_steps: Steps in which it rises.
        gradient_norm: Gradients are cut to this norm; 0 does not cut.
    """

    def __init__(
        self,
        task: Any,
        model: Any,
        *,
        optimizer: str,
        learning_rate: float,
        steps: int,
        warmup_steps: int,
        gradient_norm: float,
    ) -> None:
        import tensorflow as tf

        self._task = task
        self._model = model
        self._peak, self._steps, self._warmup = learning_rate, steps, max(1, warmup_steps)
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name="global_step")
        # A variable that is set in each step, so that the optimizer's own counter does not
        # matter to a training that goes on.
        self._rate = tf.Variable(0.0, trainable=False, dtype=tf.float32)
        clip = {"global_clipnorm": gradient_norm} if gradient_norm > 0 else {}
        kinds = tf.keras.optimizers.legacy
        self.optimizer = (
            kinds.Adam(lambda: self._rate, epsilon=1e-7, **clip)
            if optimizer == "adam"
            else kinds.SGD(lambda: self._rate, momentum=0.9, **clip)
        )
        # The slots of a checkpoint need variables to go to.
        self.optimizer._create_all_weights(model.trainable_variables)
        self._function = tf.function(self._one)

    @property
    def steps_made(self) -> int:
        """Steps since the beginning of the training."""
        return int(self.step.numpy())

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._rate_of(self.step + 1))

    def _rate_of(self, step: Any) -> Any:
        """The rate of a step, counted from 1: a line up, and half a cosine down to zero."""
        import tensorflow as tf

        place = tf.cast(step, tf.float32)
        done = (place - self._warmup) / max(1, self._steps - self._warmup)
        falling = 0.5 * (1.0 + tf.cos(math.pi * tf.minimum(1.0, done)))
        return self._peak * tf.where(place <= self._warmup, place / self._warmup, falling)

    def over(self, batches: Any) -> Rounds:
        """Steps over the batches of an iterator; compiles them."""
        return Rounds(self._function, batches)

    def __call__(self, batch: Any) -> Any:
        """Make one step; returns the losses by name, as tensors."""
        return self._function(*batch)

    def _one(self, images: Any, labels: Any) -> Any:
        self._rate.assign(self._rate_of(self.step + 1))
        names = ("total_loss", "cls_loss", "box_loss")
        metrics = [_Last(name) for name in names]
        logs = self._task.train_step((images, labels), self._model, self.optimizer, metrics)
        self.step.assign_add(1)
        return {f"Loss/{name}": logs[name] for name in names}
