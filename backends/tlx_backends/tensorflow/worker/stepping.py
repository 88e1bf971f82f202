"""Training steps: one over the API's losses, on one device or several; and many in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TOTAL = "Loss/total_loss"


class Rounds:
    """Makes several steps in one call of the graph, which takes the batches by itself.

    A call from Python costs a few milliseconds: for the tensors of a batch to come and go.

    Args:
        step: From the parts of a batch to scalar losses by name.
        batches: An iterator of TensorFlow's that does not end.
    """

    def __init__(self, step: Callable[..., Any], batches: Any) -> None:
        import tensorflow as tf

        self._step = step
        self._batches = batches
        self._names: list[str] = []
        self._function = tf.function(self._several, autograph=False).get_concrete_function(
            tf.TensorSpec((), tf.int32)
        )

    def __call__(self, count: int) -> tuple[dict[str, Any], Any]:
        """Make ``count`` steps.

        Returns:
            The losses of the last one by name, and the sum of the total losses; as tensors.
        """
        import tensorflow as tf

        values, total = self._function(tf.constant(count, tf.int32))
        return dict(zip(self._names, tf.unstack(values), strict=True)), total

    def _several(self, count: Any) -> Any:
        import tensorflow as tf

        def one(done: Any, _: Any, total: Any) -> Any:
            losses = self._step(*next(self._batches))
            self._names = sorted(losses)
            values = tf.stack([tf.cast(losses[name], tf.float32) for name in self._names])
            return done + 1, values, total + tf.cast(losses[TOTAL], tf.float32)

        _, values, total = tf.while_loop(
            lambda done, *_: done < count,
            one,
            (tf.constant(0), tf.zeros((0,)), tf.constant(0.0)),
            # How many losses there are is known when the first step was traced.
            shape_invariants=(tf.TensorShape(()), tf.TensorShape((None,)), tf.TensorShape(())),
            parallel_iterations=1,
        )
        return tf.ensure_shape(values, (len(self._names),)), total


class Stepper:
    """The network, its optimizer and the number of steps made.

    Args:
        model: The network, built; what is frozen is frozen already.
        config: Its configuration.
        strategy: Where it runs; the constructor is called in its scope.
        seed: Root of what is left to chance in a step: the examples that Faster R-CNN learns from.
    """

    def __init__(self, model: Any, config: Any, strategy: Any, *, seed: int) -> None:
        import tensorflow as tf
        from object_detection.builders import optimizer_builder

        self._model = model
        self._config = config.train_config
        self._strategy = strategy
        self._seed = seed
        self.step = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            name="global_step",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        # The API builds Keras' legacy optimizers, which ask a callable rate at every step.
        self.optimizer, (rate,) = optimizer_builder.build(
            self._config.optimizer, global_step=self.step
        )
        self._rate = rate if callable(rate) else lambda: rate
        self._variables = list(model.trainable_variables)
        # See `network.Detector` for the reason.
        self._function = tf.function(self._all_replicas, autograph=False)

    @property
    def steps_made(self) -> int:
        """Steps since the beginning of the training."""
        return int(self.step.numpy())

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._rate())

    def over(self, batches: Any) -> Rounds:
        """Steps over the batches of an iterator; compiles them."""
        return Rounds(self._function, batches)

    def __call__(self, batch: Any) -> Any:
        """Make one step; returns the losses by name, as tensors."""
        return self._function(*batch)

    def _all_replicas(self, features: Any, labels: Any) -> Any:
        import tensorflow as tf

        if self._strategy.num_replicas_in_sync == 1:
            losses = self._one_replica(features, labels)
        else:
            each = self._strategy.run(self._one_replica, args=(features, labels))
            losses = {
                name: self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
                for name, value in each.items()
            }
        self.step.assign_add(1)
        return losses

    def _one_replica(self, features: Any, labels: Any) -> Any:
        import tensorflow as tf
        from object_detection import model_lib, model_lib_v2

        from . import chance
        from .network import set_training

        set_training(self._model, active=True)
        unstacked = model_lib.unstack_batch(
            labels, unpad_groundtruth_tensors=self._config.unpad_groundtruth_tensors
        )
        with chance.drawn_from(self._seed, "step", self.step), tf.GradientTape() as tape:
            losses, _ = model_lib_v2._compute_losses_and_predictions_dicts(
                self._model,
                features,
                unstacked,
                training_step=self.step,
                add_regularization_loss=self._config.add_regularization_loss,
            )
            # Every replica sees its part of the batch; their gradients are summed.
            copies = float(self._strategy.num_replicas_in_sync)
            losses = {name: value / copies for name, value in losses.items()}
        gradients = tape.gradient(losses[TOTAL], self._variables)
        limit = self._config.gradient_clipping_by_norm
        if limit > 0:
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
        self.optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        return losses
