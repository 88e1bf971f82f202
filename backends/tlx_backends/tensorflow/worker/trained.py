"""A network as a run has left it: its configuration with the weights of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlx.worker_protocol import WorkerError

from . import network, pipeline_config
from .checkpoints import Pointer, whole


def config_of(pointer: Pointer) -> Any:
    """The configuration of the run that a checkpoint belongs to.

    Raises:
        WorkerError: If it is gone or broken.
    """
    path = pointer.run / pipeline_config.FILE_NAME
    try:
        return pipeline_config.read(path)
    except ValueError as error:
        raise WorkerError(
            "data",
            f"the configuration of the run cannot be read: {error}.",
            place=str(path),
            hint="Copy a run with its pipeline.config.",
        ) from error


def load(path: str) -> tuple[Pointer, Any, Any]:
    """A pointer file's checkpoint in its network.

    Returns:
        The pointer, the network and its configuration.

    Raises:
        WorkerError: If files are missing, or do not belong together.
    """
    import tensorflow as tf

    pointer = Pointer.read(Path(path))
    config = config_of(pointer)
    model = network.build(config)
    try:
        with whole(str(pointer.prefix)):
            status = tf.train.Checkpoint(model=model).restore(str(pointer.prefix)).expect_partial()
            status.assert_existing_objects_matched()
    except (AssertionError, ValueError) as error:
        raise WorkerError(
            "data",
            f"the checkpoint of step {pointer.step} does not belong to its pipeline.config.",
            place=str(pointer.prefix),
            hint="Copy a run as a whole, and do not edit its pipeline.config.",
        ) from error
    return pointer, model, config
