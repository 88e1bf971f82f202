"""Batches of the training records, made by the API's own decoder, augmentation and padding.

Only the reading around them is ours. The API's order and its random numbers depend on who comes
first among its threads, so no two of its trainings see the same images. Here the order of each pass
over the records is a function of the seed, and what is done to an image a function of the seed and
of its place in that order: a training that goes on in the middle of a pass begins to read there,
and ends with the weights of an unbroken one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tlx.worker_protocol import WorkerError

from . import chance

_READ_BUFFER = 8 << 20
_SHUFFLED = 256
_READY = 2
# More than any training has passes.
_SEED_STEP = 1_000_003


class Passes:
    """Training batches, pass after pass, for ever.

    Args:
        files: Record files.
        example: From a serialized record to what the network learns from.
        batch_size: Images per batch.
        steps_per_pass: Batches in one pass; what the files lack for the last one comes from a
            second round over them.
        seed: Root of order and augmentation, not negative.
        strategy: Distributes the batches over replicas.
        shuffled: How many records are mixed at a time.
    """

    def __init__(
        self,
        files: Sequence[str],
        example: Callable[[Any], Any],
        *,
        batch_size: int,
        steps_per_pass: int,
        seed: int,
        strategy: Any,
        shuffled: int = _SHUFFLED,
    ) -> None:
        import tensorflow as tf

        # Not 0: TensorFlow compares a pair of zeros with the seeds of the shuffle, and one of them
        # is a tensor here.
        tf.random.set_seed(seed + 1)
        self._files = sorted(files)
        self._example = example
        self._batch_size = batch_size
        self._steps = steps_per_pass
        self._seed = seed
        self._strategy = strategy
        self._shuffled = shuffled

    def following(self, step: int) -> Any:
        """An iterator of TensorFlow's over the batches from the one after ``step`` on."""
        import tensorflow as tf

        first, seen = divmod(step, self._steps)

        # Both libraries are written for graphs, so autograph has nothing to rewrite in them;
        # without it the pipeline is there in a tenth of the time.
        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def remaining(number: Any) -> Any:
            begun = tf.where(number == first, tf.constant(seen, tf.int64), 0)
            return self._one_pass(number, begun)

        # One pipeline for all passes: to start another takes as long as several steps, and this
        # one begins to read the next pass while the last batches of a pass are learned from.
        passes = tf.data.Dataset.range(first, tf.int64.max)
        dataset = passes.flat_map(remaining).prefetch(_READY)
        if self._strategy.num_replicas_in_sync > 1:
            dataset = self._strategy.experimental_distribute_dataset(dataset)
        return iter(dataset)

    def _one_pass(self, number: Any, begun: Any) -> Any:
        """The batches of a pass but for the first ``begun``; both are scalar int64 tensors."""
        import tensorflow as tf

        images = self._steps * self._batch_size
        read = tf.data.TFRecordDataset(self._files, buffer_size=_READ_BUFFER)
        ordered = read.shuffle(
            self._shuffled, seed=number + self._seed * _SEED_STEP, reshuffle_each_iteration=False
        )
        # Counted from the first pass on, so that no two passes do the same to an image.
        positions = tf.data.Dataset.range(number * images, (number + 1) * images)
        numbered = tf.data.Dataset.zip((positions, ordered.repeat()))

        def made(position: Any, record: Any) -> Any:
            with chance.drawn_from(self._seed, "image", position):
                return self._example(record)

        return (
            numbered.skip(begun * self._batch_size)
            .map(made, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(self._batch_size, drop_remainder=True)
        )


class Batches(Passes):
    """The training batches of a configuration.

    Args:
        config: The configuration message.
        model: Its network, for preprocessing.
        seed: Root of order and augmentation, not negative.
        steps_per_pass: Batches in one pass.
        strategy: Distributes the batches over replicas.
    """

    def __init__(
        self, config: Any, model: Any, *, seed: int, steps_per_pass: int, strategy: Any
    ) -> None:
        reader = config.train_input_reader
        super().__init__(
            _expanded(reader.tf_record_input_reader.input_path),
            _example(config, model),
            batch_size=config.train_config.batch_size,
            steps_per_pass=steps_per_pass,
            seed=seed,
            strategy=strategy,
            shuffled=reader.shuffle_buffer_size or _SHUFFLED,
        )


def _example(config: Any, model: Any) -> Callable[[Any], Any]:
    """What the API does to one record before it makes batches: decode, augment, resize, pad."""
    from object_detection import inputs
    from object_detection.builders import decoder_builder

    decoder = decoder_builder.build(config.train_input_reader)
    builders = inputs.INPUT_BUILDER_UTIL_MAP
    original = builders["dataset_build"]
    # The API hands its transformation to this function and to nobody else.
    builders["dataset_build"] = _transformation
    try:
        transform = inputs.train_input(
            config.train_config, config.train_input_reader, config.model, model=model
        )
    finally:
        builders["dataset_build"] = original
    return lambda record: transform(decoder.decode(record))


def _transformation(_reader: Any, transform_input_data_fn: Any, **_others: Any) -> Any:
    return transform_input_data_fn


def _expanded(patterns: Sequence[str]) -> list[str]:
    import tensorflow as tf

    found = [name for pattern in patterns for name in tf.io.gfile.glob(pattern)]
    if not found:
        raise WorkerError(
            "data",
            f"there is no record file {', '.join(patterns)}.",
            hint="Run the training again: tlx writes records that are missing.",
        )
    return found
