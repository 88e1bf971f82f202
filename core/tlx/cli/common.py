"""What every command shares: the global flags, and how a plugin's options become flags."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

from tlx.cli.screen import BarProgress, Screen
from tlx.context import Context, Event
from tlx.errors import UsageError
from tlx.issues import Issue, IssueLog, Policy
from tlx.options import Purpose, documentation, names_of, purpose_of


@Parameter(name="*")
@dataclass(frozen=True)
class Flags:
    """Flags of every command."""

    json: Annotated[
        bool, Parameter(negative=(), help="Print the result as JSON on stdout, all talk on stderr.")
    ] = False
    verbose: Annotated[
        bool,
        Parameter(name=("--verbose", "-v"), negative=(), help="Show the traceback of an error."),
    ] = False


def plugin_options(
    kind: type[Any],
    title: str,
    without: Collection[str] = (),
    purpose: Purpose | None = None,
) -> Any:
    """The annotation that makes flags out of a plugin's options dataclass.

    Args:
        kind: The options dataclass.
        title: Of the group of flags in the help.
        without: Fields that become no flag, because the command has one of that name.
        purpose: Take only the fields that matter for reading or for writing (`tlx.options`).
    """
    hints = get_type_hints(kind, include_extras=True)
    texts = documentation(kind)
    shown = [f for f in fields(kind) if f.name in names_of(kind, purpose) and f.name not in without]
    if not shown:
        return Annotated[None, Parameter(parse=False)]
    made = make_dataclass(
        kind.__name__,
        [
            (
                f.name,
                Annotated[
                    hints[f.name],
                    # With one purpose the title says it, or the command.
                    _flag(f.name, hints[f.name], texts.get(f.name, ""), prefixed=purpose is None),
                ],
                field(default=f.default)
                if f.default_factory is _MISSING_FACTORY
                else field(default_factory=f.default_factory),
            )
            for f in shown
        ],
        frozen=True,
    )
    # cyclopts takes a class of the module "types", where make_dataclass puts it, for a builtin.
    made.__module__ = kind.__module__
    group = Parameter(name="*", group=title)
    # The default has to stay absent: cyclopts would otherwise need a value for a required field.
    return Annotated[made | None, group]


def _flag(name: str, kind: Any, text: str, *, prefixed: bool) -> Parameter:
    """The flag of a field; the names that mean the same in every command look the same too."""
    names = {"output": ("--output", "-o")}.get(name)
    # --no-overwrite would only repeat the default.
    negative = () if kind is bool and name == "overwrite" else None
    shown = text if prefixed else purpose_of(text)[1]
    # Line breaks of the source would be line breaks of the help.
    return Parameter(name=names, help=" ".join(shown.split()), negative=negative)


@dataclass
class _Probe:
    nothing: int = 0


_MISSING_FACTORY = fields(_Probe)[0].default_factory


def values(options: Any) -> dict[str, Any]:
    """The flags of a plugin as a mapping, for `tlx.options.build`."""
    return {} if options is None else {f.name: getattr(options, f.name) for f in fields(options)}


def peek(arguments: Sequence[str], flag: str, default: str | None = None) -> str | None:
    """The value of a flag before the arguments are parsed: it decides which other flags exist."""
    for place, argument in enumerate(arguments):
        if argument == flag and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return default


def make_context(*, on_error: Policy = "fail", seed: int = 0, workers: int = 0) -> Context:
    """The context of a command on a terminal."""
    return Context(progress=BarProgress(), issues=IssueLog(on_error), seed=seed, workers=workers)


def notes_on(screen: Screen) -> Callable[[Event], None]:
    """Where what a plugin says by the way goes: its events ``log`` and ``warning``."""

    def told(event: Event) -> None:
        if event.get("kind") in ("log", "warning"):
            screen.note(str(event["message"]))

    return told


def _told(first: Sequence[Issue], root: str) -> str:
    """The first issue of a kind, and where the next ones are."""
    places = [issue.place for issue in first[1:]]
    also = [f"{PurePath(place.path).name}:{place.line}" for place in places if place and place.line]
    told = str(first[0]).removeprefix(root)
    return f"{told} Also at {', '.join(also)}." if also else told


def show_issues(
    screen: Screen, issues: IssueLog, journal: Path | None = None, root: Path | None = None
) -> None:
    """Sum up what was skipped, changed or noticed: per kind a count and the first places.

    Args:
        screen: Where to.
        issues: All of them.
        journal: The file that has every one.
        root: What was read; places below it are shown without it.
    """
    if not issues.total:
        return
    below = f"{root}/" if root is not None and root.is_dir() else ""
    rows = []
    for code, count in issues.counts.most_common():
        first = issues.first(code)
        rows.append((code, f"{count:,}", first[0].action, _told(first, below)))
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = f"Issues in {root}" if root is not None else "Issues"
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.pad_edge = False
    for name in ("issue", "count", "action", "first"):
        table.add_column(name, overflow="fold", justify="right" if name == "count" else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    screen.err.print(table)
    if journal is not None:
        screen.note(f"All of them: {journal}")


def require_one_of(value: str, allowed: Sequence[str], flag: str) -> None:
    """Refuse a value that is not in a list.

    Raises:
        UsageError: Names what is allowed.
    """
    if value not in allowed:
        raise UsageError(f"{flag} must be one of {', '.join(allowed)}, not {value!r}.")
