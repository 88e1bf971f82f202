"""``tlx backends``: which there are, whether they can run here, and their environments."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from tlx import environments, host
from tlx.api import Environment, Isolated
from tlx.cli.common import Flags, make_context
from tlx.cli.screen import Screen
from tlx.errors import Interrupted, MissingEnvironment, UsageError
from tlx.predictors import listed_forms


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command with its subcommands."""
    del arguments
    backends = App(name="backends", help="List the backends and whether they can run here.")
    app.command(backends)

    @backends.default
    def listing(*, flags: Flags | None = None) -> None:
        """List the backends and whether they can run here.

        Backends with an environment of their own are installed with: tlx backends install NAME
        """
        del flags
        _show_list(screen)

    @backends.command(name="install")
    def install(
        name: str,
        *,
        python: Path | None = None,
        yes: Annotated[bool, Parameter(name=("--yes", "-y"), negative=())] = False,
        flags: Flags | None = None,
    ) -> None:
        """Install the environment of a backend, and test it.

        Args:
            name: The backend.
            python: Use this interpreter's environment instead, as it is.
            yes: Do not ask.
        """
        del flags
        _install(screen, name, python, yes=yes)

    @backends.command(name="doctor")
    def doctor(name: str | None = None, *, flags: Flags | None = None) -> None:
        """Test the environments: imports, one training step, one export.

        Args:
            name: The backend; all that have an environment by default.
        """
        del flags
        _doctor(screen, name)

    @backends.command(name="remove")
    def remove(name: str, *, flags: Flags | None = None) -> None:
        """Delete the environment that tlx has made for a backend.

        Args:
            name: The backend.
        """
        del flags
        _remove(screen, name)


def _show_list(screen: Screen) -> None:
    result: list[dict[str, Any]] = []
    rows = []
    exports = []
    users: dict[str, list[str]] = {}
    places: dict[str, dict[str, Any]] = {}
    for entry in host.installed().all("backend"):
        found = host.availability(entry)
        if found.ok:
            todo = ""
        elif found.extra is not None:
            todo = f"; pip install 'tlx[{found.extra}]'"
        else:
            todo = "" if found.hint is None else f". {found.hint}"
        word = "ready" if found.ok else "not usable"
        rows.append((entry.name, entry.origin, word, found.detail + todo))
        line = {"name": entry.name, "origin": entry.origin, "ok": found.ok, "detail": found.detail}
        if isinstance(entry.value, Isolated):
            facts = _facts(entry.value.environment)
            line["environment"] = facts
            users.setdefault(facts["name"], []).append(entry.name)
            places[facts["name"]] = facts
        forms = listed_forms(entry)
        line["forms"] = [asdict(form) for form in forms]
        if forms:
            exports.append(f"{entry.name} exports to {', '.join(form.name for form in forms)}")
        result.append(line)
    screen.table("", ("backend", "from", "state", "detail"), rows, left=4)
    for said in exports:
        screen.say(said)
    for name, facts in places.items():
        if facts["python"] is not None:
            screen.say(_place(users[name], facts))
    screen.result({"backends": result})


def _facts(environment: Environment) -> dict[str, Any]:
    state = environments.state(environment)
    stamp = state.stamp
    return {
        "name": environment.name,
        "state": state.kind,
        "python": None if stamp is None else stamp.python,
        "versions": {} if stamp is None else stamp.versions,
        "megabytes": None if stamp is None else stamp.megabytes,
        "made_by_tlx": stamp is not None and stamp.owned,
    }


def _place(backends: list[str], facts: dict[str, Any]) -> str:
    """Where an environment lies, how large it is, and how to get rid of it."""
    names, remove = ", ".join(backends), f"tlx backends remove {backends[0]}"
    if not facts["made_by_tlx"]:
        return f"{names}: your own environment {facts['python']}; forget it with: {remove}"
    folder = Path(facts["python"]).parent.parent
    size = f"{facts['megabytes']:,} MB" if facts["megabytes"] is not None else "of unknown size"
    return f"{names}: {folder} ({size}); remove it with: {remove}"


def _environment(name: str) -> Environment:
    entry = host.installed().entry("backend", name)
    if isinstance(entry.value, Isolated):
        return entry.value.environment
    found = host.availability(entry)
    hint = None if found.extra is None else f"It comes with: pip install 'tlx[{found.extra}]'"
    raise UsageError(
        f"the backend {name!r} runs in tlx's own Python and has no environment.", hint=hint
    )


def _install(screen: Screen, name: str, python: Path | None, *, yes: bool) -> None:
    from tlx.environment_install import install

    environment = _environment(name)
    context = make_context()
    if python is not None:
        if not (python.is_file() and os.access(python, os.X_OK)):
            raise UsageError(
                f"{python} is no Python interpreter.",
                hint="Give the path of one, such as ENVIRONMENT/bin/python.",
            )
        screen.note(f"testing {python}")
        stamp = environments.adopt(environment, python, context)
        screen.say(f"{name} uses {python}: {_versions(stamp)}")
        screen.result(_facts(environment))
        return
    state = environments.state(environment)
    if state.kind == "ready" and state.stamp is not None and state.stamp.owned:
        screen.say(f"{name} is installed already: {state.detail}")
        screen.note(f"Test it with: tlx backends doctor {name}")
        screen.result(_facts(environment))
        return
    folder = environments.folder_of(environment)
    screen.note(
        f"{environment.summary}: fetches about {environment.download_mb:,} MB and takes "
        f"{environment.disk_mb:,} MB in {folder}, by {'uv' if shutil.which('uv') else 'pip'}."
    )
    if not yes and not _agreed(screen):
        raise Interrupted("nothing was installed.")
    try:
        stamp = install(environment, context)
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; nothing half-installed was left.",
            hint=f"What was fetched is kept by pip or uv: tlx backends install {name}",
        ) from None
    screen.say(f"{name} is ready: {_versions(stamp)}; {stamp.megabytes:,} MB in {folder}")
    screen.result(_facts(environment))


def _agreed(screen: Screen) -> bool:
    """Ask on a terminal; a script that calls the command has decided."""
    if not (sys.stdin.isatty() and screen.err.is_terminal):
        return True
    answer = screen.err.input("Go on? [Y/n] ")
    return answer.strip().lower() in ("", "y", "yes")


def _versions(stamp: environments.Stamp) -> str:
    return ", ".join(f"{name} {version}" for name, version in stamp.versions.items())


def _doctor(screen: Screen, name: str | None) -> None:
    plugins = host.installed()
    entries = [plugins.entry("backend", name)] if name else plugins.all("backend")
    found = {e.name: _environment(e.name) for e in entries if name or isinstance(e.value, Isolated)}
    context = make_context()
    result: dict[str, Any] = {}
    seen: dict[str, str] = {}
    failed = []
    for backend, environment in found.items():
        if environment.name in seen:
            screen.say(f"{backend}: the same environment as {seen[environment.name]}")
            continue
        seen[environment.name] = backend
        state = environments.state(environment)
        if state.stamp is None or state.kind == "gone":
            screen.say(f"{backend}: {state.detail}. {environments.install_command(backend)}")
            result[backend] = {"state": state.kind, "checks": []}
            failed += [backend] if name or state.kind == "gone" else []
            continue
        if state.kind == "outdated":
            screen.warn(f"{backend}: {state.detail}. {environments.install_command(backend)}")
        python = Path(state.stamp.python)
        checks, _ = environments.self_test(environment, python, context)
        for check in checks:
            seconds = "" if check.seconds is None else f" ({check.seconds:.1f} s)"
            word = "ok" if check.ok else "FAILED"
            screen.say(f"{backend}  {check.name:<14} {word:<7}{check.detail}{seconds}")
        result[backend] = {
            "state": state.kind,
            "checks": [
                {"name": c.name, "ok": c.ok, "detail": c.detail, "seconds": c.seconds}
                for c in checks
            ],
        }
        failed += [] if all(check.ok for check in checks) and checks else [backend]
    screen.result(result)
    if failed:
        first = failed[0]
        again = f"tlx backends remove {first} && tlx backends install {first}"
        hint = f"Make it anew with: {again}" if result[first]["checks"] else None
        raise MissingEnvironment(f"not usable: {', '.join(failed)}.", hint=hint)


def _remove(screen: Screen, name: str) -> None:
    environment = _environment(name)
    state = environments.state(environment)
    if state.kind == "missing" and not environments.folder_of(environment).exists():
        raise UsageError(f"the environment of {name} is not installed.")
    deleted = environments.remove(environment)
    if deleted is None:
        screen.say(f"{name} no longer uses {state.stamp.python if state.stamp else 'anything'}")
    else:
        screen.say(f"deleted: {deleted}")
    screen.result({"deleted": None if deleted is None else str(deleted)})
