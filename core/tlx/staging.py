"""Outputs are whole or absent: everything is written beside its place and then renamed."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlx.errors import TlxError, UsageError

_PART = ".part"
_FORMER = ".former"
_BEGINNING = 10.0
"""Seconds that a new room has to be locked by who made it."""


class OutputExists(UsageError):
    """Something already lies where the output should go."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} exists already.",
            hint="Choose another --output, or replace it with --overwrite.",
        )


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse early when an output would cover something.

    Raises:
        OutputExists: If the path exists and may not be replaced.
    """
    if not overwrite and (path.exists() or path.is_symlink()):
        raise OutputExists(path)


@contextmanager
def staged(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a free path beside ``path`` to write to; on success it is renamed to ``path``.

    What a killed process has left of the same output is removed first. What the body writes may be
    a file or a folder. When the body raises (a full disk, Ctrl-C), the staged path is removed and
    ``path`` is as it was. With ``overwrite`` the old output is replaced only after the new one is
    whole.

    Raises:
        OutputExists: If ``path`` exists and ``overwrite`` is false.
        TlxError: If the file system refuses (disk full, no permission), with its reason.
    """
    _sweep(path)
    check_free(path, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent))
        held = _hold(room)
    except OSError as error:
        raise _explained(error, path) from error
    target = room / path.name
    try:
        yield target
        if not target.exists():
            raise TlxError(f"nothing was written for {path}")
        if path.exists() or path.is_symlink():
            check_free(path, overwrite)
            if path.is_dir() or target.is_dir():
                # A folder cannot be replaced in one step: the old one makes room first.
                _swap(target, path, room / f"{path.name}{_FORMER}")
                return
        target.replace(path)
    except OSError as error:
        if error.filename is not None and not _below(str(error.filename), room, path):
            raise
        raise _explained(error, path) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
        os.close(held)


def _hold(room: Path) -> int:
    """Lock a room for as long as this process lives, however it ends; the descriptor to close."""
    held = os.open(room, os.O_RDONLY)
    # On a file system without locks nobody can take one, and nothing is swept.
    with suppress(OSError):
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return held


def _sweep(path: Path) -> None:
    """Remove what a killed process has left of the same output, or finish what it was at.

    One that was killed while it put a folder in the place of another has the former one aside.
    """
    for room in path.parent.glob(f".{glob.escape(path.name)}.*{_PART}"):
        try:
            held = os.open(room, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(held)
            # A room of somebody else's, in a folder that all may write to, is not ours to judge.
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _BEGINNING:
                continue
            former = room / f"{path.name}{_FORMER}"
            if former.exists() and not path.exists():
                former.replace(path)
            shutil.rmtree(room, ignore_errors=True)
        except OSError:
            continue  # Somebody is at work there.
        finally:
            os.close(held)


def _swap(new: Path, path: Path, aside: Path) -> None:
    """Put a folder in the place of another; whatever stops it half way, the old one is back."""
    path.replace(aside)
    try:
        new.replace(path)
    except BaseException:
        if not path.exists():
            aside.replace(path)
        raise


def require_apart(source: Path, output: Path) -> None:
    """Refuse an output that would replace what is read, or a folder that holds it.

    Raises:
        UsageError: Names both.
    """
    read, written = source.resolve(), output.resolve()
    if written == read or written in read.parents:
        raise UsageError(
            f"the output {output} would replace the input {source}, which is never touched.",
            hint="Choose another --output.",
        )


def _below(name: str, *places: Path) -> bool:
    return any(name.startswith(str(place)) for place in places)


def _explained(error: OSError, path: Path) -> TlxError:
    # Arrow's own text is long-winded; the number says the same in the system's words.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return TlxError(
        f"cannot write {path}: {reason}.",
        hint="Nothing was left behind. Free some space or choose another --output, and run again.",
    )


def write_text(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a small file whole or not at all."""
    with staged(path, overwrite=overwrite) as target:
        target.write_text(text, encoding="utf-8")
