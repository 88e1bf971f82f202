"""``tlx convert PATH --to FORMAT -o PATH``: the loss is printed before anything is written."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from tlx import host
from tlx.cli.common import (
    Flags,
    make_context,
    notes_on,
    peek,
    plugin_options,
    show_issues,
    values,
)
from tlx.cli.screen import Screen
from tlx.loss import Loss
from tlx.options import NoOptions, names_of
from tlx.pipeline import convert
from tlx.policies import Policies
from tlx.sidecar import describe_loss, journal

_OWN = frozenset({"bad_boxes"})
"""Options of readers that the command has for all of them."""


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command, with the flags of the format that ``--to`` names."""
    plugins = host.installed()
    target = peek(arguments, "--to")
    source = peek(arguments, "--from")
    writer = plugins.entry("format", target).value.options if target is not None else NoOptions
    reader = plugins.entry("source", source).value.options if source is not None else NoOptions
    # A reader and a writer may share the name of an option; it is one flag, and goes to both.
    shared = {*names_of(reader, "reading")} & {*names_of(writer, "writing")}
    defaults = {f.name: f.default for f in fields(writer)}

    def command(
        path: Path,
        *,
        to: str,
        output: Annotated[Path, Parameter(name=("--output", "-o"))],
        from_: Annotated[str | None, Parameter(name="--from")] = None,
        strict: Annotated[bool, Parameter(negative=())] = False,
        dry_run: Annotated[bool, Parameter(negative=())] = False,
        overwrite: Annotated[bool, Parameter(negative=())] = False,
        on_error: Literal["fail", "skip"] = "fail",
        workers: int = 0,
        policies: Any = None,
        writing: Any = None,
        reading: Any = None,
        flags: Flags | None = None,
    ) -> None:
        """Convert.

        Args:
            path: Dataset folder, or with --from what that format reads.
            to: Format to write; its own options are listed when it is given.
            output: Folder or file to write.
            from_: Source to read PATH with, when it is no dataset.
            strict: Refuse when anything would be dropped; what is rounded is only said.
            dry_run: Only say what would be lost.
            overwrite: Replace what lies at the output.
            on_error: What a bad record does: end the command, or be skipped and counted.
            workers: Threads that a writer may use for files and images; it writes the same bytes.
        """
        del flags
        wanted = Policies(**values(policies))
        context = make_context(on_error=on_error, seed=wanted.seed, workers=workers)
        context = replace(context, emit=notes_on(screen))
        mine, theirs = values(writing), values(reading)
        # The flag has the writer's default, which says nothing about what to read.
        theirs |= {n: v for n, v in mine.items() if n in shared and v != defaults[n]}
        if wanted.bad_boxes is not None:
            for kind, chosen in ((writer, mine), (reader, theirs)):
                if "bad_boxes" in kind.__dataclass_fields__:
                    chosen["bad_boxes"] = wanted.bad_boxes
        if "bad_boxes" in reader.__dataclass_fields__:
            # The reader sees the labels as they are written: it can name file and line.
            wanted = replace(wanted, bad_boxes=None)
        done = convert(
            path,
            to,
            output,
            from_=from_,
            options=mine,
            source_options=theirs,
            strict=strict,
            dry_run=dry_run,
            overwrite=overwrite,
            on_loss=lambda losses: show_loss(screen, to, losses),
            policies=wanted,
            context=context,
        )
        verb = "would be written" if dry_run else "written"
        screen.say(f"{done.images:,} images, {done.objects:,} objects {verb} to {done.output}")
        show_issues(screen, context.issues, None if dry_run else journal(done.output), path)
        screen.result(
            {
                "output": None if dry_run else str(done.output),
                "images": done.images,
                "objects": done.objects,
                "files": list(done.files),
                "loss": describe_loss(done.losses),
                "issues": dict(context.issues.counts),
            }
        )

    command.__annotations__["policies"] = plugin_options(Policies, "Policies, for every format")
    command.__annotations__["writing"] = plugin_options(
        writer, f"Writing {target}", without=_OWN, purpose="writing"
    )
    command.__annotations__["reading"] = plugin_options(
        reader, f"Reading {source}", without=_OWN | shared, purpose="reading"
    )
    app.command(
        command, name="convert", help="Write a dataset, or a foreign folder, in another format."
    )


def show_loss(screen: Screen, to: str, losses: tuple[Loss, ...]) -> None:
    """Print what a conversion loses, before it is written."""
    lost = [loss for loss in losses if loss.kind != "assumed"]
    if not lost:
        screen.note(f"Nothing is lost in {to}.")
    else:
        screen.note(f"{to} cannot hold all of it:")
        for loss in lost:
            screen.note(f"  {loss.kind} {loss.field} ({loss.count:,}): {loss.reason}")
            screen.note(f"    first in {loss.places[0]}")
    assumed = [loss for loss in losses if loss.kind == "assumed"]
    if assumed:
        screen.note(f"{to} has to state what the labels do not:")
        for loss in assumed:
            screen.note(f"  {loss.field} (up to {loss.count:,}): {loss.reason}")
