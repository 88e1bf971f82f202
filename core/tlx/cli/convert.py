"""``tlx convert PATH --to FORMAT -o PATH``: the loss is printed before anything is written."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from tlx import host
from tlx.cli.common import Flags, make_context, notes_on, peek, plugin_options, show_issues, values
from tlx.cli.screen import Screen
from tlx.loss import Loss
from tlx.options import NoOptions
from tlx.pipeline import convert
from tlx.policies import Policies
from tlx.sidecar import describe_loss

_OWN = frozenset({"bad_boxes"})
"""Options of readers that the command has for all of them."""


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command, with the flags of the format that ``--to`` names."""
    plugins = host.installed()
    target = peek(arguments, "--to")
    source = peek(arguments, "--from")
    writer = plugins.entry("format", target).value.options if target is not None else NoOptions
    reader = plugins.entry("source", source).value.options if source is not None else NoOptions

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
        options: Any = None,
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
            workers: Images that a writer may read at a time; it writes the same bytes.
        """
        del flags
        wanted = Policies(**values(policies))
        context = make_context(on_error=on_error, seed=wanted.seed, workers=workers)
        context = replace(context, emit=notes_on(screen))
        given = values(options)
        if wanted.bad_boxes is not None:
            given["bad_boxes"] = wanted.bad_boxes
        if "bad_boxes" in _fields(reader):
            # The reader sees the labels as they are written: it can name file and line.
            wanted = replace(wanted, bad_boxes=None)
        # A reader and a writer may share a name of an option (both are "coco"): it goes to both.
        mine = {f: v for f, v in given.items() if f in _fields(writer)}
        defaults = {f.name: f.default for f in fields(writer)}
        # A shared name shows the writer's default, which says nothing about what to read.
        theirs = {
            f: v
            for f, v in given.items()
            if f in _fields(reader) and (f not in defaults or v != defaults[f])
        }
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
        show_issues(screen, context.issues)
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
    command.__annotations__["options"] = plugin_options(
        _merged(writer, reader), "Options of the formats", without=_OWN
    )
    app.command(
        command, name="convert", help="Write a dataset, or a foreign folder, in another format."
    )


def _fields(kind: type[Any]) -> set[str]:
    return set(kind.__dataclass_fields__)


def _merged(writer: type[Any], reader: type[Any]) -> type[Any]:
    if writer is reader or not _fields(reader):
        return writer
    if not _fields(writer):
        return reader
    from dataclasses import dataclass

    # The writer's fields win where both have one of the same name.
    return dataclass(frozen=True)(type("ConvertOptions", (writer, reader), {}))


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
