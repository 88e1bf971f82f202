"""A MongoDB server of our own, on a Unix socket only.

FiftyOne would start one by itself, but attaches to any database of the same user that it finds
running, whatever folder it was told; and it listens on TCP without a password. On a socket in a
folder of mode 0700 nobody else can reach it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tlx.errors import PluginError, UsageError
from tlx_plugins.viewers.children import die_with_parent, stop

# Part of the socket's file name only: nothing listens on TCP.
_PORT = 27017
_START_SECONDS = 30.0


def find_mongod() -> Path | None:
    """The MongoDB server that came with FiftyOne, else the one on PATH; imports nothing."""
    spec = importlib.util.find_spec("fiftyone")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "db" / "bin" / "mongod"
        if os.access(bundled, os.X_OK):
            return bundled
    found = shutil.which("mongod")
    return None if found is None else Path(found)


def mongod_version(mongod: Path) -> str:
    """The version such as ``6.0.5``, or ``unknown``."""
    answer = subprocess.run(  # noqa: S603 - the program that `find_mongod` found
        [str(mongod), "--version"], capture_output=True, text=True, check=False, timeout=20
    )
    found = re.search(r"v(\d+\.\d+\.\d+)", answer.stdout)
    return found.group(1) if found else "unknown"


@dataclass(frozen=True, slots=True)
class Mongod:
    """A running server.

    Attributes:
        uri: What clients connect to.
        process: The process; it ends with this one.
    """

    uri: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_mongod(mongod: Path, data: Path, room: Path) -> Iterator[Mongod]:
    """Start a server on a data folder and stop it at the end.

    Args:
        mongod: The program.
        data: Folder of the database files; made if it is not there.
        room: A private folder with a short path, for the socket.

    Raises:
        UsageError: If another process works on the data folder.
        PluginError: If the server does not start; says why.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data.parent / f"{data.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another viewer has the database {data} open.",
                hint="Close it, or leave the option database out for a temporary one.",
            ) from None
        path = room / f"mongodb-{_PORT}.sock"
        process = _start(mongod, data, path, room / "mongod.log")
        try:
            _wait(process, path, room / "mongod.log")
            yield Mongod("mongodb://" + urllib.parse.quote(str(path), safe=""), process)
        finally:
            stop(process, patience=10.0)


def _start(mongod: Path, data: Path, path: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [
        str(mongod),
        *("--dbpath", str(data)),
        *("--port", str(_PORT)),
        *("--bind_ip", str(path)),
        *("--filePermissions", "0600"),
        *("--logpath", str(log)),
        *("--wiredTigerCacheSizeGB", "1"),
        # An empty database takes 11 MB on disk this way instead of 301 MB.
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"),
    ]
    return subprocess.Popen(  # noqa: S603 - the program that `find_mongod` found
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # One system call through a library that is loaded already, so safe after a fork.
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),  # noqa: PLW1509
    )


def _wait(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    """Wait until the socket answers."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise PluginError(
                f"MongoDB ended at once with code {process.returncode}: {_last_error(log)}"
            )
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    raise PluginError(f"MongoDB did not answer within {_START_SECONDS:g} s: {_last_error(log)}")


def _last_error(log: Path) -> str:
    """The last error of MongoDB's log, which is JSON lines with a severity in ``s``."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "it wrote no log."
    serious = [line for line in lines if '"s":"E"' in line or '"s":"F"' in line]
    return (serious or lines or ["its log is empty."])[-1][:600]
