"""The job ``predict``: detections of a checkpoint, or of what was exported of one, in images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlx.worker_protocol import Channel

from . import exported, image_paths, images, network, trained


def predict(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """Detect in the job's images; one event for each, in order.

    Raises:
        WorkerError: If the network cannot be loaded.
    """
    channel.emit("phase", name="build")
    detector: images.Detector | None = exported.of_job(job)
    if detector is None:
        _, model, config = trained.load(str(job["checkpoint"]))
        detector = network.Detector(model, config)
    channel.emit("phase", name="detect")
    found = images.detections(
        detector,
        image_paths.paths(job, channel),
        channel,
        batch_size=int(job.get("batch_size") or 8),
        score_threshold=float(job.get("score_threshold") or network.KEPT_SCORE),
    )
    seen = 0
    for index, values in found:
        seen = index + 1
        if values is not None:
            channel.emit("detections", image=index, **values)
    return {"images": seen}
