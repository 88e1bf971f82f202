"""``tlx export RUN --to KIND``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from tlx import host
from tlx.cli.common import Flags, make_context
from tlx.cli.screen import Screen
from tlx.context import Event
from tlx.learning import export
from tlx.predictors import listed_forms


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="export", help="Write a checkpoint in another form.")
    def command(
        run: Path,
        *,
        to: Annotated[str, Parameter(help=_forms())],
        output: Annotated[Path, Parameter(name=("--output", "-o"))],
        checkpoint: Literal["best", "last"] = "best",
        overwrite: Annotated[bool, Parameter(negative=())] = False,
        flags: Flags | None = None,
    ) -> None:
        """Export.

        Args:
            run: Run folder.
            output: Folder to write.
            checkpoint: Which checkpoint.
            overwrite: Replace what lies at the output.
        """
        del flags
        told = {"log": screen.note, "warning": screen.warn}

        def emit(event: Event) -> None:
            if event["kind"] in told:
                told[event["kind"]](str(event["message"]))

        context = replace(make_context(), emit=emit)
        files = export(run, to, output, checkpoint=checkpoint, overwrite=overwrite, context=context)
        screen.say(f"written: {', '.join(str(f) for f in files)}")
        screen.note(f"Try it: tlx predict {output} IMAGES -o seen/")
        screen.result({"files": [str(f) for f in files]})


def _forms() -> str:
    """The help of ``--to``: what each backend can write."""
    named = {entry.name: listed_forms(entry) for entry in host.installed().all("backend")}
    listed = [
        f"{name}: {', '.join(form.name for form in forms)}"
        for name, forms in named.items()
        if forms
    ]
    return f"The form, as the run's backend can ({'; '.join(listed)})."
