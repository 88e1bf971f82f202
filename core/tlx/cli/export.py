"""``tlx export RUN --to KIND``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from tlx.cli.common import Flags, make_context
from tlx.cli.screen import Screen
from tlx.learning import export


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="export", help="Write a checkpoint in another form.")
    def command(
        run: Path,
        *,
        to: str,
        output: Annotated[Path, Parameter(name=("--output", "-o"))],
        checkpoint: Literal["best", "last"] = "best",
        overwrite: Annotated[bool, Parameter(negative=())] = False,
        flags: Flags | None = None,
    ) -> None:
        """Export.

        Args:
            run: Run folder.
            to: The form, as the run's backend can.
            output: Folder to write.
            checkpoint: Which checkpoint.
            overwrite: Replace what lies at the output.
        """
        del flags
        files = export(
            run, to, output, checkpoint=checkpoint, overwrite=overwrite, context=make_context()
        )
        screen.say(f"written: {', '.join(str(f) for f in files)}")
        screen.result({"files": [str(f) for f in files]})
