"""The jobs of the worker, by kind."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Mapping
from typing import Any

from tlx.worker_protocol import Channel, WorkerError

_KINDS = {
    "train": ("training", "train"),
    "config": ("configuring", "write_config"),
    "predict": ("predicting", "predict"),
    "export": ("exporting", "export"),
    "evaluate": ("api_evaluation", "evaluate"),
    "selftest": ("selftest", "selftest"),
}
_PACKAGES = (
    ("tensorflow", ("tensorflow", "tensorflow-cpu")),
    ("object_detection", ("tf-models-research-object-detection",)),
    ("tf_keras", ("tf-keras",)),
    ("numpy", ("numpy",)),
    ("protobuf", ("protobuf",)),
)


def run(job: Mapping[str, Any], channel: Channel) -> Mapping[str, Any]:
    """Prepare this process, say that it is ready, and do the job.

    Raises:
        WorkerError: If the kind of job is unknown, or whatever the job raises.
    """
    kind = str(job.get("kind"))
    if kind not in _KINDS:
        raise WorkerError("failed", f"the worker knows no job {kind!r}.")
    started = time.monotonic()
    prepare(job)
    channel.emit("ready", versions=versions(), seconds=round(time.monotonic() - started, 2))
    module, function = _KINDS[kind]
    entry = getattr(importlib.import_module(f".{module}", __package__), function)
    from tensorflow.errors import DataLossError

    try:
        result: Mapping[str, Any] = entry(job, channel)
    except DataLossError as error:
        raise WorkerError(
            "data",
            f"a record or a checkpoint is damaged: {str(error).splitlines()[0]}.",
            hint="Run it again: tlx writes records that are damaged anew.",
        ) from error
    except ValueError as error:
        # What the modules that know no channel explain by themselves (sizes, names, keys); other
        # libraries' keep their traceback.
        if type(error) is not ValueError or not _is_ours(error):
            raise
        raise WorkerError("usage", f"{error}.") from error
    return result


def _is_ours(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__


def prepare(job: Mapping[str, Any]) -> None:
    """Import TensorFlow and the API, mended, on the devices of the job."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from . import chance, devices, shims

    shims.apply()
    devices.choose(
        str(job.get("device") or "auto"),
        job.get("threads"),
        int((job.get("settings") or {}).get("logical_devices") or 1),
    )
    importlib.import_module("object_detection.model_lib_v2")
    from . import patches

    patches.apply()
    chance.install()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter."""
    found = {"python": platform.python_version()}
    for name, distributions in _PACKAGES:
        for distribution in distributions:
            try:
                found[name] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                continue
            break
    return found
