"""``tlx backends``: which there are, and whether they can run here."""

from __future__ import annotations

from cyclopts import App

from tlx import host
from tlx.cli.common import Flags
from tlx.cli.screen import Screen


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="backends", help="List the backends and whether they can run here.")
    def command(*, flags: Flags | None = None) -> None:
        """List backends."""
        del flags
        result = []
        rows = []
        for entry in host.installed().all("backend"):
            state = entry.value.availability()
            todo = "" if state.ok or state.extra is None else f"; pip install 'tlx[{state.extra}]'"
            rows.append(
                (
                    entry.name,
                    entry.origin,
                    "ready" if state.ok else "not usable",
                    state.detail + todo,
                )
            )
            result.append(
                {"name": entry.name, "origin": entry.origin, "ok": state.ok, "detail": state.detail}
            )
        screen.table("", ("backend", "from", "state", "detail"), rows, left=4)
        screen.result({"backends": result})
