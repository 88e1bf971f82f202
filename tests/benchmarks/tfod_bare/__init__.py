"""Runs in the worker's environment: the API's own loops on a configuration of ours, timed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from pathlib import Path


def load(folder):
    """The worker's package, for its shims."""
    spec = importlib.util.spec_from_file_location(
        "tlx_worker_shims", Path(folder) / "__init__.py", submodule_search_locations=[folder]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["tlx_worker_shims"] = module
    spec.loader.exec_module(module)
    return importlib.import_module("tlx_worker_shims.jobs")


def run(job, channel):
    """Train with `train_loop`, evaluate with `eval_continuously`; when what happened."""
    load(job["worker"]).prepare(job)
    import tensorflow as tf
    from object_detection import model_lib_v2

    channel.emit("ready")
    scalar = tf.compat.v2.summary.scalar

    def told(name, *arguments, **keywords):
        if name == "steps_per_sec":
            channel.emit("iteration", steps=job["per_iteration"])
        return scalar(name, *arguments, **keywords)

    tf.compat.v2.summary.scalar = told
    model_lib_v2.train_loop(
        job["config"],
        job["run"],
        train_steps=job["steps"],
        checkpoint_every_n=job["steps"],
        num_steps_per_iteration=job["per_iteration"],
    )
    tf.compat.v2.summary.scalar = scalar
    channel.emit("trained")
    evaluate = model_lib_v2.eager_eval_loop

    def timed(*arguments, **keywords):
        began = time.monotonic()
        found = evaluate(*arguments, **keywords)
        channel.emit("evaluated", seconds=time.monotonic() - began)
        return found

    model_lib_v2.eager_eval_loop = timed
    # It evaluates the newest checkpoint and gives up when no other comes.
    model_lib_v2.eval_continuously(
        job["config"], model_dir=job["run"], checkpoint_dir=job["run"], wait_interval=1, timeout=1
    )
    return {}
