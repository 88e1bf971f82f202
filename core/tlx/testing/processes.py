"""A second Python with another hash seed, another clock and other listings of folders."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from tlx.testing.conformance import broken

TIMEOUT = 120
"""Seconds after which a child that hangs is given up."""


def in_child(plugin: Any, job: str, room: Path, /, *, seed: int = 1, **arguments: Any) -> Any:
    """Run a job of `tlx.testing.child` with a plugin in a process of its own.

    Args:
        plugin: The plugin; its class is at the top level of a module.
        job: Name of a function of `tlx.testing.child`.
        room: Folder for what is handed over.
        seed: Of the hashes of text, which decide the order of sets.
        arguments: For the job, values that can be pickled.

    Returns:
        What the job returns, as plain JSON values.

    Raises:
        ConformanceError: If the plugin cannot be handed over, or the process fails.
    """
    modules = {
        name: getattr(sys.modules[name], "__file__", None)
        for name in (type(plugin).__module__, getattr(plugin, "options", object).__module__)
        if name in sys.modules
    }
    try:
        pickled = pickle.dumps(plugin)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        broken(
            f"{type(plugin).__name__} cannot be handed to another process: {error}.",
            "Define it at the top level of a module.",
        )
    file = room / f"{job}.pickle"
    file.write_bytes(pickle.dumps((sys.path, modules, pickled, job, arguments)))
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "TZ": "Pacific/Kiritimati"}
    done = subprocess.run(  # noqa: S603 - this Python and our own module
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("child.py")), str(file)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=TIMEOUT,
    )
    if done.returncode:
        last = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        broken(f"{plugin.name!r} fails in a process of its own: {last}")
    return json.loads(done.stdout.splitlines()[-1])
