"""The jobs of the worker, by kind."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
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
    with explained_imports():
        prepare(job)
    channel.emit("ready", versions=versions(), seconds=round(time.monotonic() - started, 2))
    module, function = _KINDS[kind]
    entry = getattr(importlib.import_module(f".{module}", __package__), function)
    try:
        result: Mapping[str, Any] = entry(job, channel)
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


@contextlib.contextmanager
def explained_imports() -> Iterator[None]:
    """Say what is missing in a Python that is not the backend's.

    Raises:
        WorkerError: If a module cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise WorkerError(
            "failed",
            f"{sys.executable} cannot import what the backend needs: {error}.",
            hint="Install the backend's packages there, or let tlx make an environment of its own: "
            "tlx backends install tfod",
        ) from error


def prepare(job: Mapping[str, Any]) -> None:
    """Import TensorFlow and the API, mended, on the devices of the job."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    quiet_warnings()
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


def quiet_warnings() -> None:
    """Leave out of the log what is known and meant: an error should stand there alone."""
    for text in (".*set_learning_phase.* is deprecated", "Seed .* from outer graph might be"):
        warnings.filterwarnings("ignore", text)


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
