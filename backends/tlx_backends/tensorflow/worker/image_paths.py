"""The images of a prediction: all at once, or portion by portion while the host makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlx.worker_protocol import Channel

_PORTION = 32


def paths(job: Mapping[str, Any], channel: Channel) -> Iterator[str]:
    """Paths of the images of a job, in order.

    Frames of a video are decoded while the network works and removed afterwards. For such a job
    ``images`` is null, and the host is asked for the next ones until it has no more.

    Raises:
        Cancelled: If the job is cancelled instead of answered.
    """
    if job.get("images") is not None:
        yield from (str(path) for path in job["images"])
        return
    while portion := channel.ask("images", count=_PORTION).get("paths"):
        yield from (str(path) for path in portion)
