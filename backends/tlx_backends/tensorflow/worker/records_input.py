"""Batches of the training records, made by the API's own decoder, augmentation and padding.

Only the reading around them is ours. The API reads with 16 calls in parallel whose random numbers
race, so no two of its trainings see the same images. Here each pass over the records has an order
of its own that is a function of the seed, one thread augments, and a training that goes on in the
middle of a pass skips what it has seen: it ends with the weights of an unbroken one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tlx.worker_protocol import WorkerError

_READ_BUFFER = 8 << 20
_SHUFFLED = 256
_DECODED = 16
# More than any training has passes.
_SEED_STEP = 1_000_003


def ordered_records(files: Sequence[str], size: int, seed: int, number: Any) -> Any:
    """Serialized records in an order that is a function of the seed and of the pass.

    Args:
        files: Record files.
        size: How many records are mixed at a time.
        seed: Root of the order.
        number: Variable with the number of the pass.
    """
    import tensorflow as tf

    # The number is read when an iterator starts, so one pipeline serves all passes. Random
    # operations behind it start anew with every iterator.
    passes = tf.data.Dataset.from_tensors(0).map(lambda _: number.read_value())
    return passes.flat_map(
        lambda which: tf.data.TFRecordDataset(files, buffer_size=_READ_BUFFER).shuffle(
            size, seed=which + seed * _SEED_STEP, reshuffle_each_iteration=False
        )
    )


def _reading(seed: int, number: Any, *, parallel: bool) -> Callable[..., Any]:
    """A stand-in for the API's dataset builder, with its arguments."""

    def dataset(
        reader: Any,
        transform_input_data_fn: Any = None,
        batch_size: int = 1,
        **_unused: Any,
    ) -> Any:
        import tensorflow as tf
        from object_detection.builders import decoder_builder

        decoder = decoder_builder.build(reader)
        files = sorted(_expanded(reader.tf_record_input_reader.input_path))
        size = reader.shuffle_buffer_size or _SHUFFLED
        records = ordered_records(files, size, seed, number)
        calls = tf.data.AUTOTUNE if parallel else None
        found = records.map(decoder.decode, num_parallel_calls=calls)
        if transform_input_data_fn is not None:
            # Decoding goes on while an earlier image is transformed; the order stays.
            found = found.prefetch(_DECODED).map(transform_input_data_fn, num_parallel_calls=calls)
        # A pass takes its number of steps from this; the last batch is filled from a second round.
        return found.repeat().batch(batch_size, drop_remainder=True).prefetch(2)

    return dataset


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


class Batches:
    """The training batches of a configuration, pass after pass.

    Args:
        config: The configuration message.
        model: Its network, for preprocessing.
        seed: Root of order and augmentation, not negative.
        parallel: Augment in several threads; the order of random numbers is then not repeatable.
        steps_per_pass: Batches in one pass.
        strategy: Distributes the batches over replicas.
    """

    def __init__(
        self,
        config: Any,
        model: Any,
        *,
        seed: int,
        parallel: bool,
        steps_per_pass: int,
        strategy: Any,
    ) -> None:
        import tensorflow as tf
        from object_detection import inputs

        self._pass = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Operations inside the pipeline take their seeds from here. It must not be 0: TensorFlow
        # compares a pair of zeros with the seeds of the shuffle, of which ours is a tensor.
        tf.random.set_seed(seed + 1)
        builders = inputs.INPUT_BUILDER_UTIL_MAP
        original = builders["dataset_build"]
        builders["dataset_build"] = _reading(seed, self._pass, parallel=parallel)
        try:
            self._dataset = inputs.train_input(
                config.train_config, config.train_input_reader, config.model, model=model
            )
        finally:
            builders["dataset_build"] = original
        self._steps = steps_per_pass
        self._strategy = strategy

    def following(self, step: int) -> Iterator[Any]:
        """Batches from the one after ``step`` on, for ever."""
        number, skipped = divmod(step, self._steps)
        while True:
            self._pass.assign(number)
            yield from self._one_pass(skipped)
            number, skipped = number + 1, 0

    def _one_pass(self, skipped: int) -> Iterator[Any]:
        dataset = self._dataset.take(self._steps)
        if skipped:
            dataset = dataset.skip(skipped)
        if self._strategy.num_replicas_in_sync > 1:
            dataset = self._strategy.experimental_distribute_dataset(dataset)
        yield from dataset
