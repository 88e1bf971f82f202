"""The code that runs inside the TensorFlow environment.

tlx's launcher (`tlx.worker_protocol`) loads this folder by path with that environment's Python and
calls `run`. Nothing here imports tlx, apart from the launcher's own names: the standard library,
TensorFlow and the Object Detection API with its pinned packages are all there is. tlx's own
process may import the modules that say so (`families`), and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlx.worker_protocol import Channel


def run(job: Mapping[str, Any], channel: Channel) -> Mapping[str, Any]:
    """Do one job and return its result.

    Raises:
        WorkerError: With what is wrong.
        Cancelled: If the host wants it to end.
    """
    from . import jobs

    return jobs.run(job, channel)
