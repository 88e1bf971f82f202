"""``tlx ingest NAME PATH``: a sub-command for every source, and detection without a name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from tlx import host
from tlx.cli.common import Flags, make_context, notes_on, plugin_options, show_issues, values
from tlx.cli.datasets import describe, show_dataset
from tlx.cli.screen import Screen
from tlx.errors import DataError
from tlx.issues import IssueLog
from tlx.pipeline import detect, ingest

OnError = Literal["fail", "skip"]
Output = Annotated[
    Path | None,
    Parameter(name=("--output", "-o"), help="Dataset folder to make; SOURCE.tlx by default."),
]
Overwrite = Annotated[bool, Parameter(negative=(), help="Replace what lies at the output.")]
DryRun = Annotated[bool, Parameter(negative=(), help="Read everything, report, and keep nothing.")]
OnErrorFlag = Annotated[
    OnError, Parameter(help="What a bad record does: end the command, or be skipped and counted.")
]


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command.

    Raises:
        UsageError: For a first word that is neither a source nor a path, with the nearest source.
    """
    first = next(
        (a for a in arguments[arguments.index("ingest") + 1 :] if not a.startswith("-")), None
    )
    if first is not None and not Path(first).exists():
        # A word that is no path is more likely a misspelt source than a misspelt path.
        host.installed().entry("source", first)
    group = App(name="ingest", help="Read labelled images from where they are into a dataset.")
    for entry in host.installed().all("source"):
        group.command(_command(entry, screen), name=entry.name, help=entry.value.summary)

    @group.default
    def detected(
        path: Path,
        *,
        output: Output = None,
        overwrite: Overwrite = False,
        dry_run: DryRun = False,
        on_error: OnErrorFlag = "fail",
        flags: Flags | None = None,
    ) -> None:
        """Without a source name the path says what it is.

        Args:
            path: Folder or file to read.
        """
        del flags
        name = detect(path)
        screen.note(f"{path} is {name}.")
        _run(name, path, output, None, overwrite, dry_run, on_error, screen)

    app.command(group)


def _command(entry: host.Entry, screen: Screen) -> Any:
    def command(
        path: Path,
        *,
        output: Output = None,
        overwrite: Overwrite = False,
        dry_run: DryRun = False,
        on_error: OnErrorFlag = "fail",
        options: Any = None,
        flags: Flags | None = None,
    ) -> None:
        """Read a folder or file.

        Args:
            path: Folder or file to read; it is not touched.
        """
        del flags
        _run(entry.name, path, output, values(options), overwrite, dry_run, on_error, screen)

    command.__annotations__["options"] = plugin_options(
        entry.value.options, f"Options of {entry.name}", purpose="reading"
    )
    return command


def _run(
    name: str,
    path: Path,
    output: Path | None,
    options: Any,
    overwrite: bool,
    dry_run: bool,
    on_error: OnError,
    screen: Screen,
) -> None:
    # A dry run is there to see all that is wrong, not only the first.
    context = make_context(on_error="skip" if dry_run else on_error)
    context = replace(context, emit=notes_on(screen))
    dataset = ingest(
        name, path, output, options=options, overwrite=overwrite, dry_run=dry_run, context=context
    )
    show_dataset(screen, dataset, "would be read" if dry_run else f"written to {dataset.path}")
    show_issues(screen, context.issues, None if dry_run else dataset.issues_path, path)
    screen.result(
        {
            "dataset": None if dry_run else str(dataset.path),
            "source": name,
            **describe(dataset),
            "issues": dict(context.issues.counts),
            "first_issues": [str(i) for i in context.issues.kept[:10]],
        }
    )
    if dry_run and on_error == "fail":
        _refuse_losses(context.issues)


def _refuse_losses(issues: IssueLog) -> None:
    """End as the command itself would.

    Raises:
        DataError: If a record would be lost; names the first.
    """
    first = issues.first_lost
    if first is not None:
        raise DataError(
            f"{first.message} The command itself would end here ({issues.lost} bad in all).",
            place=first.place,
            hint="Mend the input, or go on without such records: --on-error skip",
        )
