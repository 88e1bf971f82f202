"""Commands that plugins bring."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from tlx import host
from tlx import options as option_values
from tlx.cli.common import Flags, make_context, plugin_options, values
from tlx.cli.screen import Screen
from tlx.options import documentation


def register(app: App, entry: host.Entry, screen: Screen) -> None:
    """Add a plugin's command with flags made from its options.

    An option ``path`` is given without a flag.
    """
    kind = entry.value.options

    def command(*, options: Any = None, flags: Flags | None = None) -> None:
        del flags
        _run(entry, values(options), screen)

    def command_on(path: Path, *, options: Any = None, flags: Flags | None = None) -> None:
        del flags
        _run(entry, {**values(options), "path": path}, screen)

    named = any(field.name == "path" for field in fields(kind))
    chosen: Any = command_on if named else command
    chosen.__annotations__["options"] = plugin_options(
        kind, f"Options of {entry.name}", without={"path"}
    )
    if named:
        text = " ".join(documentation(kind).get("path", "").split())
        chosen.__annotations__["path"] = Annotated[Path, Parameter(help=text)]
    app.command(chosen, name=entry.name, help=entry.value.summary)


def _run(entry: host.Entry, given: dict[str, Any], screen: Screen) -> None:
    options = option_values.build(entry.value.options, given, f"tlx {entry.name}")
    # A command may run others: with --json only its own result belongs on stdout.
    quiet = redirect_stdout(sys.stderr) if screen.json_output else nullcontext()
    with host.guard(entry), quiet:
        result = dict(entry.value.run(options, make_context(), screen.say))
    screen.result(result)
    if result.get("exit_code"):
        raise SystemExit(int(result["exit_code"]))
