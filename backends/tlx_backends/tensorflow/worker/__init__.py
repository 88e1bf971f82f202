"""The code that runs inside the TensorFlow environment.

tlx's launcher (`tlx.worker_protocol`) loads this folder by path with that environment's Python and
calls `run`. Nothing here imports tlx, apart from the launcher's own names: the standard library,
TensorFlow and the Object Detection API with its pinned packages are all there is. tlx's own
process may import the modules that say so (`families`), and no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from tlx.worker_protocol import Channel


def run(job: Mapping[str, Any], channel: Channel) -> Mapping[str, Any]:
    """Do one job and return its result.

    Raises:
        WorkerError: With what is wrong.
        Cancelled: If the host wants it to end.
    """
    # The backend `tfvision` has its own loop, over TensorFlow's Model Garden.
    name = ".garden" if job.get("backend") == "tfvision" else ".jobs"
    result: Mapping[str, Any] = importlib.import_module(name, __package__).run(job, channel)
    return result
