"""A network as a run has left it: its configuration with the weights of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlx.worker_protocol import WorkerError

from ..checkpoints import Pointer, whole
from . import experiment, network


def load(path: str) -> tuple[Pointer, Any, Any]:
    """A pointer file's checkpoint in its network.

    Returns:
        The pointer, the network and its configuration.

    Raises:
        WorkerError: If files are missing, or do not belong together.
    """
    import tensorflow as tf

    pointer = Pointer.read(Path(path))
    task_config = experiment.read(pointer.run)
    _, model = network.build(task_config)
    try:
        with whole(str(pointer.prefix)):
            status = tf.train.Checkpoint(model=model).restore(str(pointer.prefix)).expect_partial()
            status.assert_existing_objects_matched()
    except (AssertionError, ValueError) as error:
        raise WorkerError(
            "data",
            f"the checkpoint of step {pointer.step} does not belong to its params.yaml.",
            place=str(pointer.prefix),
            hint="Copy a run as a whole, and do not edit its params.yaml.",
        ) from error
    return pointer, model, task_config
