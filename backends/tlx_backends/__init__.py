"""The training backends that come with tlx, found through the entry point like anybody's."""

from __future__ import annotations

from tlx.api import Backend
from tlx.hooks import hookimpl
from tlx_backends.tensorflow.backend import TfodBackend, TfvisionBackend
from tlx_backends.torch_detection.backend import TorchBackend


@hookimpl
def tlx_backends() -> tuple[Backend, ...]:
    """The built-in backends; nothing heavy is imported before they are used."""
    return (TorchBackend(), TfodBackend(), TfvisionBackend())
