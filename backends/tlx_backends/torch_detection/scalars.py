"""Scalars for TensorBoard, where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Scalars:
    """Writes numbers by name and step into a folder; without TensorBoard it writes nothing."""

    def __init__(self, folder: Path, *, enabled: bool, first_step: int) -> None:
        self._writer: Any = None
        if enabled and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def write(self, values: Mapping[str, float | None], step: int) -> None:
        """Write all that are numbers."""
        if self._writer is not None:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()
