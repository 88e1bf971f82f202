"""The one boundary between exceptions and people."""

from __future__ import annotations

import errno
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tlx.cli.screen import Screen
from tlx.errors import TlxError

INTERRUPTED = 130


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a command like Ctrl-C: what it was writing is cleaned up.

    Python's default would end the process on the spot.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:  # noqa: PLR0911 - one exit per kind of trouble
    """Run a command and explain what goes wrong; returns the exit code."""
    import cyclopts

    from tlx.cli.commands import build

    verbose = any(a in ("-v", "--verbose") for a in arguments)
    screen = Screen(json_output="--json" in arguments)
    try:
        app, rest = build(arguments, screen)
        with _terminable():
            app(rest, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        command = " ".join(["tlx", *_command_names(error)])
        return _explain(screen, _sentence(str(error)), f"See: {command} --help", 2)
    except TlxError as error:
        if verbose:
            traceback.print_exc(file=sys.stderr)
        message = error.message if error.place is None else f"{error.place}: {error.message}"
        return _explain(screen, message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        return _explain(screen, "interrupted; nothing half-written was left.", None, INTERRUPTED)
    except BrokenPipeError:
        return 0
    except MemoryError:
        return _explain(
            screen,
            "there is not enough memory.",
            "Try a smaller --batch-size or fewer --workers.",
            1,
        )
    except OSError as error:
        reason = _system_reason(error)
        if reason is None:
            raise
        if verbose:
            traceback.print_exc(file=sys.stderr)
        return _explain(screen, *reason, 1)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def _command_names(error: Exception) -> list[str]:
    chain = getattr(error, "command_chain", None) or ()
    return [name for name in chain if name != "tlx"]


def _sentence(text: str) -> str:
    flat = " ".join(text.split())
    return flat if flat.endswith((".", "?", "!")) else f"{flat}."


def _system_reason(error: OSError) -> tuple[str, str] | None:
    """A sentence and a next step for what the operating system refuses."""
    where = f" {error.filename}" if error.filename else ""
    known = {
        errno.ENOSPC: ("no space is left on the disk for", "Free some space and run it again."),
        errno.EDQUOT: ("the disk quota is used up for", "Free some space and run it again."),
        errno.EACCES: ("there is no permission for", "Check the owner and mode of the path."),
        errno.EROFS: ("the file system is read-only for", "Choose another --output."),
        errno.EMFILE: ("too many files are open for", "Raise the limit with: ulimit -n 4096"),
        errno.EIO: ("the disk reports a defect at", "Copy the data to another disk."),
    }
    if error.errno not in known:
        return None
    what, hint = known[error.errno]
    return f"{what}{where or ' the output'}.", hint


def _explain(screen: Screen, message: str, hint: str | None, code: int) -> int:
    screen.error(message, hint, code)
    return code
