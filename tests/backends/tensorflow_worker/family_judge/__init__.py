"""Runs in the worker's environment: builds families from their configurations and trains a step.

Started by tlx's launcher in the worker's place; it loads the worker's package by itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import time
from pathlib import Path


def worker(folder):
    """The worker's package, under another name."""
    spec = importlib.util.spec_from_file_location(
        "judged", Path(folder) / "__init__.py", submodule_search_locations=[folder]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["judged"] = module
    spec.loader.exec_module(module)


def run(job, channel):
    """For each family of the job: parse, build, one step, detections; one event each."""
    worker(job["worker"])
    names = ("jobs", "configuring", "pipeline_config", "network", "stepping", "records_input")
    jobs, configuring, pipeline_config, network, stepping, records_input = (
        importlib.import_module(f"judged.{name}") for name in names
    )
    jobs.prepare(job)
    import tensorflow as tf

    for family in job["families"]:
        began = time.monotonic()
        tf.keras.backend.clear_session()
        asked = {**job, **family}
        found = configuring.configure(asked, channel)
        text = pipeline_config.text(found.message)
        path = Path(job["run"]) / f"{family['model']}.config"
        path.write_text(text)
        config = pipeline_config.read(path)
        model = network.build(config)
        strategy = tf.distribute.get_strategy()
        stepper = stepping.Stepper(model, config, strategy, seed=0)
        batches = records_input.Batches(config, model, seed=0, steps_per_pass=2, strategy=strategy)
        before = [v.numpy() for v in model.trainable_variables]
        losses = stepper(next(batches.following(0)))
        after = [v.numpy() for v in model.trainable_variables]
        detector = network.Detector(model, config)
        boxes, scores, classes = detector.detect(*detector.prepare(tf.zeros([40, 64, 3], tf.uint8)))
        channel.emit(
            "family",
            model=family["model"],
            loss=float(losses["Loss/total_loss"]),
            changed=sum(bool((a != b).any()) for a, b in zip(before, after, strict=True)),
            variables=len(before),
            parameters=sum(math.prod(v.shape) for v in model.variables),
            boxes=list(boxes.shape),
            highest=float(scores.max()),
            classes=sorted({int(c) for c in classes.ravel()}),
            seconds=round(time.monotonic() - began, 1),
        )
    return {}
