"""``tlx split DATASET``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from tlx.cli.common import Flags
from tlx.cli.datasets import describe, show_splits
from tlx.cli.screen import Screen
from tlx.pipeline import split


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="split", help="Give every image a split that no clip crosses.")
    def command(
        dataset: Path,
        *,
        output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
        by: Literal["sequence", "image"] = "sequence",
        ratios: str | None = None,
        stratify: Annotated[bool, Parameter(negative=())] = False,
        official: Annotated[bool, Parameter(negative=())] = False,
        seed: int = 0,
        overwrite: Annotated[bool, Parameter(negative=())] = False,
        flags: Flags | None = None,
    ) -> None:
        """Split.

        Args:
            dataset: Dataset folder.
            output: Write another dataset; the given one is replaced as a whole by default.
            by: Keep sequences (clips, drives, roads) whole, or deal out single images.
            ratios: Shares, as train=0.7,val=0.15,test=0.15.
            stratify: Balance the classes between the splits too.
            official: Keep the splits that the publishers fixed; val is carved out of their train.
            seed: Decides ties.
            overwrite: Replace splits that exist, or what lies at the output.
        """
        del flags
        made = split(
            dataset,
            output,
            by=by,
            ratios=ratios,
            stratify=stratify,
            official=official,
            seed=seed,
            overwrite=overwrite,
        )
        screen.say(f"{made.counts.images:,} images split in {made.path}")
        show_splits(screen, made)
        screen.result({"dataset": str(made.path), **describe(made)})
