"""Makes a Python environment from a list of packages: by uv where it is installed, else by pip."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tlx import environments
from tlx.api import Environment
from tlx.context import Context
from tlx.environments import Stamp
from tlx.errors import TlxError, UsageError
from tlx.staging import staged

_LAST_LINES = 3
# pip's settings and the variables by which uv is told the same.
_UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
}


def install(environment: Environment, context: Context) -> Stamp:
    """Make the environment, test it, and only then put it in its place.

    Whatever stops it, an older environment stays usable, and it can be run again; what pip or uv
    has fetched by then is in their caches.

    Raises:
        UsageError: If no suitable Python is here, or another installation is running.
        TlxError: If the disk is too small, a package cannot be had, or the self-test fails.
    """
    base = base_python(environment)
    folder = environments.folder_of(environment)
    with _alone(environment):
        for rest in environments.leftovers(environment):
            shutil.rmtree(rest, ignore_errors=True)
        _require_space(environment, folder.parent)
        with staged(folder, overwrite=True) as target:
            _fill(environment, base, target, context)
            python = target / "bin" / "python"
            checks, versions = environments.self_test(environment, python, context)
            environments.require_passed(checks, python)
            size = environments.megabytes(target)
        stamp = Stamp(
            python=str(folder / "bin" / "python"),
            owned=True,
            requirements=environments.requirements_digest(environment),
            versions=versions,
            megabytes=size,
        )
        environments.write_stamp(environment, stamp)
    return stamp


def base_python(environment: Environment) -> str:
    """A Python whose version the environment can have: this one, or one on the PATH.

    Raises:
        UsageError: If there is none.
    """
    first, last = (_version(text) for text in environment.python)
    if first <= sys.version_info[:2] <= last:
        return sys.executable
    for minor in range(last[1], first[1] - 1, -1):
        found = shutil.which(f"python{last[0]}.{minor}")
        if found:
            return found
    raise UsageError(
        f"{environment.summary} needs Python {environment.python[0]} to {environment.python[1]}; "
        f"this is {sys.version_info[0]}.{sys.version_info[1]} and the PATH has no other.",
        hint=f"Install Python {environment.python[1]}, or name an environment with --python.",
    )


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _require_space(environment: Environment, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < environment.disk_mb:
        raise TlxError(
            f"{environment.summary} takes {environment.disk_mb:,} MB, and {folder} has "
            f"{free:,} MB free.",
            hint="Free some space, or name another data folder with TLX_DATA_DIR.",
        )


@contextmanager
def _alone(environment: Environment) -> Iterator[None]:
    """Keep a second installation of the same environment out."""
    folder = environments.environments_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{environment.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{environment.summary} is being installed by another process.",
                hint="Wait until it is done.",
            ) from error
        yield


def _fill(environment: Environment, base: str, target: Path, context: Context) -> None:
    """Make the environment at a path; it works from any other path too, by its interpreter."""
    wanted = ["--no-deps", "--requirement", str(environment.requirements)]
    python = str(target / "bin" / "python")
    uv = shutil.which("uv")
    variables = dict(os.environ)
    if uv is None:
        context.progress.status("making the environment")
        _run([base, "-m", "venv", str(target)], variables, context)
        # Bytecode would be a tenth more; what is used gets its bytecode at the first import.
        _run(
            [python, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check",
             "--progress-bar", "off", *wanted],
            variables,
            context,
        )  # fmt: skip
        return
    variables = uv_variables(_pip_settings(base), os.environ)
    _run([uv, "venv", "--python", base, "--no-project", str(target)], variables, context)
    _run([uv, "pip", "install", "--python", python, *wanted], variables, context)


def _pip_settings(base: str) -> dict[str, str]:
    """What the user has told pip, from its files and variables; empty where there is no pip."""
    asked = [base, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    settings = {}
    # Lines such as global.find-links='/wheels' or :env:.find-links='/wheels'; the environment
    # comes first there but counts last.
    order = {"global": 0, "user": 1, "site": 2, "install": 3, ":env:": 4}
    found = []
    for line in done.stdout.splitlines():
        match = re.match(r"^(:env:|[a-z-]+)\.([a-z-]+)='(.*)'$", line)
        if match:
            found.append((order.get(match[1], 0), match[2], match[3]))
    for _, name, value in sorted(found, key=lambda item: item[0]):
        settings[name] = value.replace("\\n", " ").strip()
    return settings


def uv_variables(settings: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The environment variables for uv, which does not read pip's settings.

    What the user has set for uv is kept.

    Args:
        settings: pip's settings by name, several values divided by blanks.
        variables: The variables of this process.
    """
    result = dict(variables)
    for name, variable in _UV_VARIABLES.items():
        if settings.get(name):
            value = ",".join(settings[name].split()) if name == "find-links" else settings[name]
            result.setdefault(variable, value)
    # As pip does: every index is asked, and the best version counts.
    if settings.get("extra-index-url"):
        result.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return result


def _run(command: list[str], variables: Mapping[str, str], context: Context) -> None:
    """Run a command and show its lines as they come; it dies with an interruption.

    Raises:
        TlxError: If it fails, with its last lines.
    """
    last: deque[str] = deque(maxlen=200)
    process = subprocess.Popen(  # noqa: S603 - pip or uv
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(variables),
        start_new_session=True,
    )
    try:
        for line in process.stdout or ():
            if line.strip():
                last.append(line.strip())
                context.progress.status(line.strip()[:76])
        process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode:
        told = [text for text in last if re.search("error", text, re.IGNORECASE)] or list(last)
        name = "uv" if Path(command[0]).name == "uv" else command[2]
        raise TlxError(
            f"{name} failed: {' | '.join(told[-_LAST_LINES:])}",
            hint="Nothing was left behind. Check the network and pip's index settings, then run "
            "it again.",
        )
