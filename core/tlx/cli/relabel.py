"""``tlx relabel DATASET MAP``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tlx.cli.common import Flags
from tlx.cli.datasets import describe, show_dataset
from tlx.cli.screen import Screen
from tlx.pipeline import relabel


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="relabel", help="Rename, merge or drop classes.")
    def command(
        dataset: Path,
        classes: str,
        *,
        output: Annotated[Path, Parameter(name=("--output", "-o"))],
        overwrite: Annotated[bool, Parameter(negative=())] = False,
        flags: Flags | None = None,
    ) -> None:
        """Relabel.

        Args:
            dataset: Dataset folder.
            classes: Pairs OLD=NEW, separated by commas; OLD= drops the class.
            output: Dataset folder to make.
            overwrite: Replace what lies at the output.
        """
        del flags
        made = relabel(dataset, classes, output, overwrite=overwrite)
        show_dataset(screen, made, f"written to {made.path}")
        screen.result({"dataset": str(made.path), **describe(made)})
