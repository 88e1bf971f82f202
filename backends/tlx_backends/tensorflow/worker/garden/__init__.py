"""The worker of the backend ``tfvision``: TensorFlow's Model Garden behind the same messages.

The Garden (`official.vision`) is what its authors go on with after the Object Detection API. It
shares the environment and what the host does; here are its networks, its input and its step. What
is not about a library (the loop, checkpoints, curves, detections in pixels) is the other backend's.
"""

from __future__ import annotations

from .jobs import run

__all__ = ["run"]
