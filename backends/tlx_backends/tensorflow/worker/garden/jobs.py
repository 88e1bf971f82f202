"""The jobs of the backend ``tfvision``, by kind."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from tlx.worker_protocol import Channel, WorkerError

from .. import chance, devices, jobs, shims
from . import stand_ins

_GARDEN = "tf-models-official"
_KINDS = {
    "train": ("training", "train"),
    "predict": ("predicting", "predict"),
    "export": ("exporting", "export"),
}


def run(job: Mapping[str, Any], channel: Channel) -> Mapping[str, Any]:
    """Prepare this process, say that it is ready, and do the job.

    Raises:
        WorkerError: If the kind of job is unknown, or whatever the job raises.
    """
    kind = str(job.get("kind"))
    if kind not in _KINDS:
        raise WorkerError("failed", f"the backend tfvision has no job {kind!r}.")
    started = time.monotonic()
    with jobs.explained_imports():
        prepare(job)
    found = jobs.versions() | {"tf-models-official": importlib.metadata.version(_GARDEN)}
    channel.emit("ready", versions=found, seconds=round(time.monotonic() - started, 2))
    module, function = _KINDS[kind]
    entry = getattr(importlib.import_module(f".{module}", __package__), function)
    result: Mapping[str, Any] = entry(job, channel)
    return result


def prepare(job: Mapping[str, Any]) -> None:
    """Import TensorFlow and the Garden on the devices of the job.

    The Garden imports data sets, pictures and plots at the top of modules that detectors need;
    empty stand-ins do where those packages are not installed. They must be there before
    `official.core` is imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    jobs.quiet_warnings()
    stand_ins.install()
    shims.apply()
    devices.choose(str(job.get("device") or "auto"), job.get("threads"), 1)
    importlib.import_module("official.vision.tasks.retinanet")
    chance.install()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
