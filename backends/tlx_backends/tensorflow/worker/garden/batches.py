"""Batches of the training records, made by the Garden's own decoder and parser."""

from __future__ import annotations

from typing import Any

from ..records_input import Batches as _Batches
from ..records_input import ordered_records

_SHUFFLED = 256


class Batches(_Batches):
    """The training batches of a configuration, pass after pass, as the other backend's.

    Only the reading around decoder and parser is ours: the order of each pass is a function of the
    seed and its number, and a training that goes on skips what it has seen.

    Args:
        task_config: The task's configuration.
        files: Record files.
        seed: Root of order and augmentation.
        parallel: Augment in several threads; the order of random numbers is then not repeatable.
        steps_per_pass: Batches in one pass.
    """

    def __init__(  # The base class reads the API's configuration, which there is none of here.
        self, task_config: Any, files: list[str], *, seed: int, parallel: bool, steps_per_pass: int
    ) -> None:
        import tensorflow as tf

        self._pass = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Not 0: see `records_input.Batches`.
        tf.random.set_seed(seed + 1)
        self._steps = steps_per_pass
        self._strategy = tf.distribute.get_strategy()
        calls = tf.data.AUTOTUNE if parallel else None
        parse = _parser(task_config)
        records = ordered_records(sorted(files), _SHUFFLED, seed, self._pass)
        found = records.map(parse, num_parallel_calls=calls)
        batch_size = int(task_config.train_data.global_batch_size)
        self._dataset = found.repeat().batch(batch_size, drop_remainder=True).prefetch(2)


def _parser(task_config: Any) -> Any:
    """From a serialized example to the network's input and its targets."""
    from official.vision.dataloaders import retinanet_input, tf_example_decoder

    model, data = task_config.model, task_config.train_data
    decoder = tf_example_decoder.TfExampleDecoder()
    parser = retinanet_input.Parser(
        output_size=model.input_size[:2],
        min_level=model.min_level,
        max_level=model.max_level,
        num_scales=model.anchor.num_scales,
        aspect_ratios=model.anchor.aspect_ratios,
        anchor_size=model.anchor.anchor_size,
        dtype=data.dtype,
        match_threshold=data.parser.match_threshold,
        unmatched_threshold=data.parser.unmatched_threshold,
        aug_rand_hflip=data.parser.aug_rand_hflip,
        aug_scale_min=data.parser.aug_scale_min,
        aug_scale_max=data.parser.aug_scale_max,
        skip_crowd_during_training=True,
        max_num_instances=data.parser.max_num_instances,
        # Sides are multiples of what the levels need.
        pad=False,
    ).parse_fn(is_training=True)

    def parse(record: Any) -> tuple[Any, Any]:
        images, labels = parser(decoder.decode(record))
        return images, labels

    return parse
