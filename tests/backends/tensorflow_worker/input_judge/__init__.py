"""Runs in the worker's environment: what random operations draw, and what batches hold."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import itertools
import sys
from pathlib import Path

TAKEN = 12


def run(job, channel):
    """Draw from each operation at many positions; hash the batches from several steps on."""
    spec = importlib.util.spec_from_file_location(
        "judged", Path(job["worker"]) / "__init__.py", submodule_search_locations=[job["worker"]]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["judged"] = module
    spec.loader.exec_module(module)
    names = ("jobs", "chance", "configuring", "network", "records_input")
    jobs, chance, configuring, network, records_input = (
        importlib.import_module(f"judged.{name}") for name in names
    )
    jobs.prepare(job)
    import tensorflow as tf

    for name, draw in operations(tf).items():

        def drawn(position, draw=draw):
            with chance.drawn_from(3, "image", position):
                return draw()

        def values(first, function):
            found = tf.data.Dataset.range(first, 400)
            found = found.map(function, num_parallel_calls=8)
            return [value.numpy().ravel().tolist() for value in found]

        channel.emit(
            "drawn",
            name=name,
            all=values(0, drawn),
            later=values(150, drawn),
            free=[values(0, lambda _, draw=draw: draw()) for _ in range(2)],
        )

    config = configuring.configure(job, channel).message
    model = network.build(config)

    def batches(step, seed):
        made = records_input.Batches(
            config,
            model,
            seed=seed,
            steps_per_pass=job["steps_per_epoch"],
            strategy=tf.distribute.get_strategy(),
        )
        return [
            hashlib.sha256(features["image"].numpy().tobytes()).hexdigest()
            for features, _ in itertools.islice(made.following(step), TAKEN)
        ]

    for step, seed in ((0, 0), (3, 0), (4, 0), (9, 0), (0, 1)):
        channel.emit("batches", step=step, seed=seed, hashes=batches(step, seed))
    return {}


def operations(tf):
    """One draw by each operation that is made stateless, and by one in a loop, which is not."""

    def crop():
        begin, _, _ = tf.image.sample_distorted_bounding_box(
            [1000, 1000, 3], tf.constant([[[0.4, 0.4, 0.6, 0.6]]]), min_object_covered=0.1
        )
        return begin[:2]

    def old_crop():
        begin, _, _ = tf.compat.v1.image.sample_distorted_bounding_box(
            [1000, 1000, 3], tf.constant([[[0.4, 0.4, 0.6, 0.6]]]), min_object_covered=0.1
        )
        return begin[:2]

    def loop():
        return tf.map_fn(lambda _: tf.random.uniform([]), tf.zeros([3]))

    return {
        "uniform": lambda: tf.random.uniform([2], 2.0, 4.0),
        "integer": lambda: tf.random.uniform([2], 5, 1000, dtype=tf.int32),
        "normal": lambda: tf.random.normal([2], 3.0, 0.5),
        "truncated": lambda: tf.random.truncated_normal([2], 3.0, 0.5),
        "shuffle": lambda: tf.random.shuffle(tf.range(7)),
        "crop": crop,
        "old crop": old_crop,
        "loop": loop,
    }
