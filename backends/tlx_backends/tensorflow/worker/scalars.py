"""Curves for TensorBoard, in the run's ``tensorboard`` folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path


class Scalars:
    """Writes numbers by name and step.

    Args:
        folder: Where the event file goes; made with the first number.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write numbers of one step; None and what is no number are left out."""
        import tensorflow as tf

        with self._writer.as_default():
            for name, value in values.items():
                if value is not None and math.isfinite(value):
                    tf.summary.scalar(name, value, step=step)

    def close(self) -> None:
        """Write everything to disk."""
        self._writer.close()
