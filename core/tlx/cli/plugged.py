"""Commands that plugins bring."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import Any

from cyclopts import App

from tlx import host
from tlx import options as option_values
from tlx.cli.common import Flags, make_context, plugin_options, values
from tlx.cli.screen import Screen


def register(app: App, entry: host.Entry, screen: Screen) -> None:
    """Add a plugin's command with flags made from its options."""

    def command(*, options: Any = None, flags: Flags | None = None) -> None:
        del flags
        kind = entry.value.options
        chosen = option_values.build(kind, values(options), f"tlx {entry.name}")
        # A command may run others: with --json only its own result belongs on stdout.
        quiet = redirect_stdout(sys.stderr) if screen.json_output else nullcontext()
        with host.guard(entry), quiet:
            result = dict(entry.value.run(chosen, make_context(), screen.say))
        screen.result(result)

    command.__annotations__["options"] = plugin_options(
        entry.value.options, f"Options of {entry.name}"
    )
    app.command(command, name=entry.name, help=entry.value.summary)
