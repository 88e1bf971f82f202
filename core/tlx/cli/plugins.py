"""``tlx plugins``: everything that is installed, with its origin and state; ``new`` makes one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tlx import host
from tlx.cli.common import Flags
from tlx.cli.screen import Screen
from tlx.scaffolding import Kind, scaffold


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command and its sub-command."""
    del arguments
    group = App(
        name="plugins",
        help="List what is installed, with its origin and state, or make a new one.",
        result_action="return_value",
    )

    @group.default
    def listing(*, flags: Flags | None = None) -> None:
        """List plugins."""
        del flags
        _list(screen)

    @group.command(name="new", help="Make a package for a plugin of your own.")
    def new(
        name: str,
        *,
        kind: Kind = "source",
        output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
        flags: Flags | None = None,
    ) -> None:
        """Make a package.

        Args:
            name: Name of the plugin: lower case letters, digits, hyphens.
            kind: What it is.
            output: Folder to make; tlx-NAME by default.
        """
        del flags
        folder = scaffold(name, kind, output)
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        screen.say(f"{folder} holds a {kind} that works. Next:")
        screen.say(f"  cd {folder}")
        screen.say("  pip install -e . --group dev")
        screen.say("  pytest")
        screen.result({"folder": str(folder), "kind": kind, "files": files})

    app.command(group)


def _list(screen: Screen) -> None:
    plugins = host.installed()
    rows = []
    result = []
    for kind in host.KINDS:
        for entry in [e for e in plugins.all(kind) if e.kind == kind]:
            state = _state(entry)
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
                {"plugin": b.plugin, "origin": b.origin, "reason": b.reason} for b in plugins.broken
            ],
        }
    )


def _state(entry: host.Entry) -> str:
    """Whether an entry can be used; a stranger's fault is his state and nobody else's."""
    owners = host.installed().owners(entry.kind, entry.name)
    if len(owners) > 1:
        others = ", ".join(o.origin for o in owners if o is not entry)
        return f"not usable: {others} claims the same name"
    if entry.kind not in ("backend", "viewer"):
        return "ok"
    found = host.availability(entry)
    return found.detail if found.ok else f"not usable: {found.detail}"
