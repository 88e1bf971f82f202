"""The worker's half of a job in another Python environment: a launcher and a channel.

This file needs the standard library only (Python 3.10 or later) and is started by path, so that
tlx need not be installed where the work is done::

    PYTHON -I worker_protocol.py FOLDER

It takes standard output for itself, reads one JSON line (the job) from standard input, imports the
package in ``FOLDER`` under the name ``tlx_worker``, calls its ``run(job, channel)`` and sends what
that returns. A worker may import `Cancelled`, `Channel` and `WorkerError` from
``tlx.worker_protocol``; the launcher stands in for that module.

Events go out as JSON lines, each an object with an ``ev``: ``done``, ``cancelled``, ``error``, and
whatever host and worker agree upon. Later lines of the input are JSON objects with a ``cmd``:
``cancel``, or the reply to a question of the worker. The end of the input means that the host is
dead, which is a cancellation too. File descriptor 1 leads to standard error while the worker
runs, because libraries print at will.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import queue
import signal
import sys
import threading
import traceback
import types
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

CANCELLED = 143
"""Exit code after a cancellation: what a shell reports of a process that SIGTERM ended."""

_SECONDS_TO_SAVE = 60.0
_NAME = "tlx_worker"


class Cancelled(BaseException):
    """The host wants the job to end, or is gone.

    Like KeyboardInterrupt it is no `Exception`, so that nothing swallows it.

    Args:
        step: The step up to which everything is saved; None when nothing is.
    """

    def __init__(self, step: int | None = None) -> None:
        super().__init__("cancelled")
        self.step = step


class WorkerError(Exception):
    """What the worker explains by itself.

    Args:
        kind: ``usage`` (the user asked for something wrong), ``data`` (a file is wrong) or
            ``failed`` (anything else).
        message: One sentence: what is wrong.
        place: The file or option that is wrong.
        hint: One sentence: what to do next.
    """

    def __init__(
        self, kind: str, message: str, *, place: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.place = place
        self.hint = hint


class Channel:
    """The line to the host: events out, questions, and whether to stop.

    Args:
        out: Where events go; one JSON object per line.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._writing = threading.Lock()
        self._replies: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._stop = threading.Event()
        self._graceful = False

    @property
    def stopping(self) -> bool:
        """The job was cancelled."""
        return self._stop.is_set()

    def emit(self, event: str, **fields: Any) -> None:
        """Send one event; numbers that JSON does not have (NaN, infinity) are sent as null."""
        line = json.dumps({"ev": event, **{name: _plain(v) for name, v in fields.items()}})
        with self._writing:
            self._write(line)

    def _write(self, line: str) -> None:
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except OSError:
            # The host is gone; the end of the input says so too, and ends the job.
            self._stop.set()

    def ask(self, event: str, **fields: Any) -> dict[str, Any]:
        """Send an event and wait for the host's reply.

        Raises:
            Cancelled: If the job is cancelled instead.
        """
        self.emit(event, **fields)
        reply = self._replies.get()
        if reply is None:
            raise Cancelled
        return reply

    def check(self) -> None:
        """Call it between two steps, inside `graceful`.

        Raises:
            Cancelled: If the job was cancelled.
        """
        if self._stop.is_set():
            raise Cancelled

    @contextlib.contextmanager
    def graceful(self) -> Iterator[None]:
        """While the body runs, a cancellation waits for the next `check` or `ask`.

        Outside, it ends the process at once: there is nothing to be saved.

        Raises:
            Cancelled: If the job was cancelled before the body began.
        """
        self.check()
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False

    def cancel(self) -> None:
        """Stop the job: between two steps where the worker can save, else at once."""
        self._stop.set()
        self._replies.put(None)
        if not self._graceful:
            self._leave()
        # A step that hangs must not make an orphan.
        timer = threading.Timer(_SECONDS_TO_SAVE, self._leave)
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        # Another thread may be held up in a write to a host that does not read any more.
        if self._writing.acquire(timeout=1.0):
            self._write(json.dumps({"ev": "cancelled", "step": None}))
        os._exit(CANCELLED)

    def listen(self, lines: TextIO) -> None:
        """Take the host's lines until they end."""
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if not isinstance(said, dict) or said.get("cmd") == "cancel":
                break
            self._replies.put(said)
        self.cancel()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _worker(folder: str) -> types.ModuleType:
    """Import the worker's package by its folder."""
    file = os.path.join(folder, "__init__.py")  # noqa: PTH118 - paths cost time at every start
    spec = importlib.util.spec_from_file_location(_NAME, file, submodule_search_locations=[folder])
    if spec is None or spec.loader is None:
        raise WorkerError("failed", f"there is no worker in {folder}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    return module


def _stand_in() -> None:
    """Let the worker import this module by its name although tlx is not installed here."""
    package = types.ModuleType("tlx")
    package.__path__ = []
    sys.modules["tlx"] = package
    sys.modules["tlx.worker_protocol"] = sys.modules[__name__]


def _run(folder: str, job: Mapping[str, Any], channel: Channel) -> int:
    """Run the job and send how it ended; returns the exit code."""
    try:
        result = _worker(folder).run(job, channel)
        channel.emit("done", result=result)
    except Cancelled as stop:
        channel.emit("cancelled", step=stop.step)
        return CANCELLED
    except WorkerError as error:
        channel.emit(
            "error", kind=error.kind, message=error.message, place=error.place, hint=error.hint
        )
        return 1
    except KeyboardInterrupt:
        channel.emit("cancelled", step=None)
        return CANCELLED
    except Exception as error:  # noqa: BLE001 - whatever a library raises has to reach the host
        traceback.print_exc(file=sys.stderr)
        text = str(error).strip() or type(error).__name__
        channel.emit("error", kind="exception", type=type(error).__name__, message=text[:4000])
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Serve one job; does not return before everything is sent."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    _stand_in()
    channel = Channel(out)
    line = sys.stdin.readline()
    if not line:
        return CANCELLED
    # The terminal's Ctrl-C is the host's business, which then cancels.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # In a thread, because the interrupted code may be in the middle of a line of its own.
    signal.signal(
        signal.SIGTERM, lambda *_: threading.Thread(target=channel.cancel, daemon=True).start()
    )
    threading.Thread(target=channel.listen, args=[sys.stdin], daemon=True).start()
    return _run(arguments[1], json.loads(line), channel)


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stderr.flush()
    # Threads of libraries would hold a normal end up by many seconds.
    os._exit(code)
