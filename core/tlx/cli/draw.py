"""``tlx draw DATASET -o FOLDER``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tlx.cli.common import Flags, make_context, show_issues
from tlx.cli.screen import Screen
from tlx.picturing import draw_labels


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="draw", help="Draw labels into their images, to look before training.")
    def command(
        dataset: Path,
        *,
        output: Annotated[Path, Parameter(name=("--output", "-o"))],
        split: str | None = None,
        image: Annotated[tuple[str, ...], Parameter(negative=())] = (),
        limit: int = 20,
        overwrite: Annotated[bool, Parameter(negative=())] = False,
        flags: Flags | None = None,
    ) -> None:
        """Draw.

        Args:
            dataset: Dataset folder.
            output: Folder to make; it gets one JPEG per image.
            split: Only images of this split.
            image: Id of an image to draw; repeat it for more.
            limit: How many images, evenly spread over those with labels; 0 for all.
            overwrite: Replace what lies at the output.
        """
        del flags
        context = make_context(on_error="skip", workers=0)
        names = draw_labels(
            dataset,
            output,
            split=split,
            images=image,
            limit=limit,
            overwrite=overwrite,
            context=context,
        )
        screen.say(f"{len(names)} pictures written to {output}")
        show_issues(screen, context.issues)
        screen.result({"output": str(output), "pictures": list(names)})
