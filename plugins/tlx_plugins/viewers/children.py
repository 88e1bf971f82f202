"""Child processes that never outlive their parent, and the private folder that they work in."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "tlx-inspect-"
# A Unix socket's path has room for 107 bytes (Linux, sys/un.h); the socket's name takes 20.
_LONGEST_ROOM = 80
_PR_SET_PDEATHSIG = 1

# Loaded before any fork: a child between fork and exec must not load libraries.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(signum: signal.Signals) -> None:
    """Ask the kernel to send ``signum`` to this process when its parent ends, however it ends.

    Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere the server's watch on its standard input
    does the work, only a little later.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum))


def stop(process: subprocess.Popen[bytes], patience: float = 3.0) -> None:
    """End a process that leads its own session: politely first, then with all it started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


@contextlib.contextmanager
def private_room() -> Iterator[Path]:
    """A temporary folder, mode 0700, with a path short enough for a Unix socket.

    It is removed at the end. A room whose owner was killed is removed by the next one that is
    made: its lock is free.
    """
    parent = Path(tempfile.gettempdir())
    if len(os.fsencode(parent)) + len(_PREFIX) + 8 > _LONGEST_ROOM:
        parent = Path("/tmp")  # noqa: S108 - mkdtemp below makes a folder of mode 0700
    _sweep(parent)
    room = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    with (room / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield room
        finally:
            shutil.rmtree(room, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for room in sorted(parent.glob(f"{_PREFIX}*")):
        try:
            if room.lstat().st_uid != os.getuid():
                continue
            with (room / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(room, ignore_errors=True)
        except OSError:
            # It is in use, is being made or is being removed: not ours to clear away.
            continue
