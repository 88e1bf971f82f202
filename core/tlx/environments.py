"""Python environments of backends: which there are, and whether they work.

Below tlx's data folder, ``environments/NAME/`` is an environment and ``environments/NAME.json``
says what it is, written last: without that file there is no environment. An environment of the
user's own has such a file too, and is never changed or removed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tlx.api import Environment
from tlx.context import Context
from tlx.data_folder import data_folder
from tlx.errors import MissingEnvironment, TlxError
from tlx.staging import staged
from tlx.worker_process import Worker


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an environment that has passed its self-test.

    Attributes:
        python: Path of the interpreter.
        owned: tlx has made it, and may remove it.
        requirements: SHA-256 of the requirements file that it was made from.
        versions: Versions of what matters in it.
        megabytes: What it takes on the disk; None for the user's own.
    """

    python: str
    owned: bool
    requirements: str
    versions: dict[str, str]
    megabytes: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Whether an environment can be used.

    Attributes:
        kind: ``ready``; ``missing``: never installed; ``gone``: its files were removed;
            ``outdated``: made from another list of packages than this tlx has.
        detail: A clause for people, without a full stop.
        stamp: None where it was never installed.
    """

    kind: Literal["ready", "missing", "gone", "outdated"]
    detail: str
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a self-test: its name, whether it passed, and a line on it."""

    name: str
    ok: bool
    detail: str
    seconds: float | None = None


def environments_folder() -> Path:
    """The folder of all environments."""
    return data_folder() / "environments"


def folder_of(environment: Environment) -> Path:
    """Where tlx makes the environment."""
    return environments_folder() / environment.name


def _stamp_file(environment: Environment) -> Path:
    return environments_folder() / f"{environment.name}.json"


def requirements_digest(environment: Environment) -> str:
    """SHA-256 of the list of packages."""
    return hashlib.sha256(environment.requirements.read_bytes()).hexdigest()


def state(environment: Environment) -> State:
    """How the environment is; looks at two files and starts nothing."""
    file = _stamp_file(environment)
    try:
        stamp = msgspec.json.decode(file.read_bytes(), type=Stamp)
    except FileNotFoundError:
        return State("missing", f"{environment.summary}: not installed")
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return State("gone", f"{file} cannot be read: {error}")
    if not Path(stamp.python).is_file():
        return State("gone", f"its environment is gone: there is no {stamp.python}", stamp)
    listing = ", ".join(f"{name} {version}" for name, version in stamp.versions.items())
    if stamp.owned and stamp.requirements != requirements_digest(environment):
        return State("outdated", f"{listing}, but this tlx asks for other versions", stamp)
    return State("ready", listing, stamp)


def install_command(backend: str) -> str:
    """The command that installs a backend's environment, as a sentence."""
    return f"Install it with: tlx backends install {backend}"


def require(environment: Environment, backend: str) -> Path:
    """The interpreter of an environment that is there.

    Raises:
        MissingEnvironment: With the command that installs it.
    """
    found = state(environment)
    if found.kind != "ready" or found.stamp is None:
        raise MissingEnvironment(
            f"the backend {backend!r} cannot run here: {found.detail}.",
            hint=install_command(backend),
        )
    return Path(found.stamp.python)


def self_test(
    environment: Environment, python: Path, context: Context
) -> tuple[tuple[Check, ...], dict[str, str]]:
    """Run the environment's self-test; returns the checks and the versions found.

    A worker that dies is a check too, which failed.
    """
    checks: list[Check] = []
    versions: dict[str, str] = {}
    owner = f"the environment {environment.name!r}"
    try:
        with Worker(python, environment.worker, {"kind": "selftest"}, owner=owner) as worker:
            for event in worker.events():
                if event["ev"] == "check":
                    check = msgspec.convert(
                        {k: v for k, v in event.items() if k != "ev"}, Check, strict=False
                    )
                    checks.append(check)
                    context.progress.status(f"self-test: {check.name}")
                elif event["ev"] == "done":
                    versions = msgspec.convert(event["result"].get("versions", {}), dict[str, str])
    except (TlxError, msgspec.ValidationError) as error:
        checks.append(Check("worker", ok=False, detail=str(error)))
    return tuple(checks), versions


def require_passed(checks: tuple[Check, ...], python: Path) -> None:
    """Refuse an environment that has failed its self-test.

    Raises:
        TlxError: Names the first check that failed.
    """
    failed = next((check for check in checks if not check.ok), None)
    if failed is not None or not checks:
        what = "it checked nothing" if failed is None else f"{failed.name}: {failed.detail}"
        raise TlxError(f"{python} did not pass the self-test: {what}")


def write_stamp(environment: Environment, stamp: Stamp) -> None:
    """Declare the environment usable."""
    with staged(_stamp_file(environment), overwrite=True) as target:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(stamp)) + b"\n")


def adopt(environment: Environment, python: Path, context: Context) -> Stamp:
    """Use an environment of the user's own, when it passes the self-test.

    Raises:
        TlxError: If it does not pass; what was used before is used on.
    """
    checks, versions = self_test(environment, python, context)
    require_passed(checks, python)
    stamp = Stamp(
        # Not resolved: the interpreter of a virtual environment is a link out of it.
        python=str(python.absolute()),
        owned=False,
        requirements=requirements_digest(environment),
        versions=versions,
    )
    write_stamp(environment, stamp)
    return stamp


def remove(environment: Environment) -> Path | None:
    """Forget an environment, and delete it when tlx has made it; returns what was deleted."""
    _stamp_file(environment).unlink(missing_ok=True)
    for rest in leftovers(environment):
        shutil.rmtree(rest, ignore_errors=True)
    folder = folder_of(environment)
    if not folder.is_dir():
        return None
    shutil.rmtree(folder)
    return folder


def leftovers(environment: Environment) -> Iterator[Path]:
    """What an installation left that was killed."""
    yield from environments_folder().glob(f".{environment.name}.*.part")


def megabytes(folder: Path) -> int:
    """Size of a folder's files."""
    total = sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
    return round(total / 1e6)
