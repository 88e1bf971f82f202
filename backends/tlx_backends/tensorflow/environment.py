"""The environment that the TensorFlow backends share."""

from __future__ import annotations

from pathlib import Path

from tlx.api import Environment

_HERE = Path(__file__).parent

TENSORFLOW = Environment(
    name="tensorflow",
    summary="TensorFlow 2.21 with its Object Detection API and Model Garden",
    requirements=_HERE / "requirements.txt",
    worker=_HERE / "worker",
    python=("3.11", "3.13"),
    download_mb=330,
    disk_mb=1600,
)
