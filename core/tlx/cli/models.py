"""``tlx models``: the networks of the backends."""

from __future__ import annotations

from cyclopts import App

from tlx import host
from tlx.cli.common import Flags
from tlx.cli.screen import Screen


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="models", help="List the networks of the backends.")
    def command(*, backend: str | None = None, flags: Flags | None = None) -> None:
        """List models.

        Args:
            backend: Only those of one backend.
        """
        del flags
        plugins = host.installed()
        entries = [plugins.entry("backend", backend)] if backend else plugins.all("backend")
        result = []
        for entry in entries:
            models = entry.value.models()
            screen.table(
                f"Backend {entry.name}",
                ("model and published weights", "M weights", "input"),
                [
                    (
                        f"{m.name} ({', '.join(m.weights) or 'no weights'})"
                        + (f"\n  {m.note}" if m.note else ""),
                        f"{m.parameters:.1f}",
                        "x".join(str(side) for side in m.input_size),
                    )
                    for m in models
                ],
            )
            result += [
                {
                    "backend": entry.name,
                    "name": m.name,
                    "parameters_millions": m.parameters,
                    "input_size": list(m.input_size),
                    "weights": list(m.weights),
                    "note": m.note,
                }
                for m in models
            ]
        screen.result({"models": result})
