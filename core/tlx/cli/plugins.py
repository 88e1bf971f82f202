"""``tlx plugins``: everything that is installed, with its origin and state."""

from __future__ import annotations

from cyclopts import App

from tlx import host
from tlx.cli.common import Flags
from tlx.cli.screen import Screen


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="plugins", help="List what is installed, with its origin and state.")
    def command(*, flags: Flags | None = None) -> None:
        """List plugins."""
        del flags
        plugins = host.installed()
        rows = []
        result = []
        for kind in host.KINDS:
            for entry in [e for e in plugins.all(kind) if e.kind == kind]:
                state = "ok"
                if kind in ("backend", "viewer"):
                    found = entry.value.availability()
                    state = found.detail if found.ok else f"not usable: {found.detail}"
                rows.append((kind, entry.name, entry.origin, f"{entry.value.summary} [{state}]"))
                result.append(
                    {
                        "kind": kind,
                        "name": entry.name,
                        "origin": entry.origin,
                        "summary": entry.value.summary,
                        "state": state,
                    }
                )
        screen.table("", ("kind", "name", "from", "summary and state"), rows, left=4)
        for broken in plugins.broken:
            screen.warn(f"plugin {broken.plugin} of {broken.origin} is broken: {broken.reason}")
        screen.result(
            {
                "plugins": result,
                "broken": [
                    {"plugin": b.plugin, "origin": b.origin, "reason": b.reason}
                    for b in plugins.broken
                ],
            }
        )
