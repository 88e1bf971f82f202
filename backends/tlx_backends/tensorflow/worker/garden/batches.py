"""Batches of the training records, made by the Garden's own decoder and parser."""

from __future__ import annotations

from typing import Any

from ..records_input import Passes


class Batches(Passes):
    """The training batches of a configuration; order and random numbers as the other backend's.

    Args:
        task_config: The task's configuration.
        files: Record files.
        seed: Root of order and augmentation.
        steps_per_pass: Batches in one pass.
    """

    def __init__(
        self, task_config: Any, files: list[str], *, seed: int, steps_per_pass: int
    ) -> None:
        import tensorflow as tf

        super().__init__(
            files,
            _parser(task_config),
            batch_size=int(task_config.train_data.global_batch_size),
            steps_per_pass=steps_per_pass,
            seed=seed,
            strategy=tf.distribute.get_strategy(),
        )


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
