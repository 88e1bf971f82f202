"""The host's half of a job in another Python environment (`tlx.worker_protocol` is the other).

::

    with Worker(python, folder, {"kind": "predict", ...}) as worker:
        for event in worker.events():
            ...

Whatever ends the body, the worker is told to end, given time to save, and killed when it does
not; when this process is killed, the end of its pipe tells the worker the same.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from tlx import worker_protocol
from tlx.errors import DataError, TlxError, UsageError

WorkerEvent = Mapping[str, Any]
"""One line of a worker: an ``ev`` and plain JSON values."""

LONGEST_LINE = 64 << 20
"""Bytes of one event; a worker that sends more is broken."""

# Longer than what the worker gives itself, so that it usually ends by its own hand.
_GRACE_SECONDS = 75.0
_KEPT_LINES = 200
_SHOWN_LINES = 3
_LONGEST_SHOWN = 300
_LOG_BYTES = 10 << 20
# Routine lines of Google's logging libraries ("I0000 00:00:17...", "2026-01-01 10:00:00.1: W ...").
_ROUTINE = re.compile(r"^([IW]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IW] |WARNING: All log messages)")


class Worker:
    """A job that runs in a process of its own; a context manager.

    Args:
        python: The interpreter of the environment.
        folder: The package folder with ``run(job, channel)``.
        job: What to do, as plain JSON values.
        log: A file to which everything that the worker prints is added, 10 MB at most.
        owner: Who works, for messages ("the backend 'tfod'").
    """

    def __init__(
        self,
        python: Path,
        folder: Path,
        job: Mapping[str, Any],
        *,
        log: Path | None = None,
        owner: str = "the worker",
    ) -> None:
        self.owner = owner
        self.log = log
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self._ended = False
        # The interpreter runs isolated: neither the user's PYTHONPATH nor this tlx is seen there.
        command = [str(python), "-I", worker_protocol.__file__, str(folder)]
        try:
            # A session of its own, so that the terminal's Ctrl-C reaches the host only.
            self._process = subprocess.Popen(  # noqa: S603 - an interpreter that the user installed
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise TlxError(
                f"{owner} cannot start {python}: {error.strerror or error}.",
                hint="See what is wrong with: tlx backends doctor",
            ) from error
        self._listener = threading.Thread(target=self._keep_log, daemon=True)
        self._listener.start()
        self.send(job)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _ in self.stop():
            pass

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def send(self, value: Mapping[str, Any]) -> None:
        """Send a line: a reply to a question, or ``{"cmd": "cancel"}``."""
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            return
        # When the worker is dead, its output ends too, which explains more than a broken pipe.
        with suppress(BrokenPipeError):
            pipe.write(json.dumps(value).encode() + b"\n")
            pipe.flush()

    def events(self) -> Iterator[WorkerEvent]:
        """The events as they come; ends after ``done``, which is the last one.

        Raises:
            UsageError, DataError, TlxError: What the worker explained, or how it died.
        """
        for event in self._lines():
            kind = event["ev"]
            if kind == "error":
                raise self._explained(event)
            if kind == "cancelled":
                raise TlxError(
                    f"{self.owner} was ended from outside.",
                    hint="What was saved is kept; run it again to go on.",
                )
            yield event
            if kind == "done":
                return
        self._process.wait()
        raise self._death()

    def stop(self) -> Iterator[WorkerEvent]:
        """End the worker, with time to save; yields what it still sends.

        A second Ctrl-C while it saves kills it at once.
        """
        if self._ended:
            return
        self._ended = True
        timer = threading.Timer(_GRACE_SECONDS, self._kill)
        timer.start()
        try:
            if self._process.poll() is None:
                self.send({"cmd": "cancel"})
            self._close_input()
            yield from self._lines()
            self._process.wait()
        finally:
            timer.cancel()
            self._kill()
            self._process.wait()
            self._listener.join(timeout=5)
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def _kill(self) -> None:
        """Kill whatever is left of the worker's process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _lines(self) -> Iterator[WorkerEvent]:
        output = self._process.stdout
        if output is None or output.closed:
            return
        while line := output.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                raise TlxError(f"{self.owner} sent a line of more than {LONGEST_LINE >> 20} MB.")
            event = _decoded(line)
            if event is None:
                self._tail.append(line.decode(errors="replace").rstrip())
            else:
                yield event

    def _keep_log(self) -> None:
        """Take what the worker prints: the last lines here, everything in the log file."""
        pipe = self._process.stderr
        if pipe is None:
            return
        file: BinaryIO | None = None
        if self.log is not None:
            with suppress(OSError):
                file = self.log.open("ab")
        try:
            # A limit per read: a line may be endless.
            while line := pipe.readline(1 << 16):
                self._tail.append(line.decode(errors="replace").rstrip())
                if file is not None and file.tell() < _LOG_BYTES:
                    try:
                        file.write(line)
                        file.flush()
                    except OSError:
                        file = None
        except ValueError:
            # The pipe was closed under us, at the very end.
            pass
        finally:
            if file is not None:
                file.close()

    def last_lines(self) -> str:
        """The last lines of what the worker printed that are no routine, for a message."""
        useful = [t.strip() for t in self._tail if t.strip() and not _ROUTINE.match(t)]
        return " | ".join(line[:_LONGEST_SHOWN] for line in useful[-_SHOWN_LINES:])

    def _explained(self, event: WorkerEvent) -> TlxError:
        kind, place = event.get("kind"), event.get("place")
        message, hint = str(event.get("message", "")), event.get("hint")
        if kind == "usage":
            return UsageError(message, place=place, hint=hint)
        if kind == "data":
            return DataError(message, place=place, hint=hint)
        if kind == "failed":
            return TlxError(message, place=place, hint=hint)
        first = message.splitlines()[0][:_LONGEST_SHOWN] if message else "no reason given"
        if "No space left on device" in message or "Disk quota exceeded" in message:
            return TlxError(
                f"{self.owner} found no space left on the disk.",
                hint="Make room on the disk.",
            )
        return TlxError(
            f"{self.owner} failed: {event.get('type', 'Exception')}: {first}", hint=self._where()
        )

    def _death(self) -> TlxError:
        code = self._process.returncode
        self._listener.join(timeout=5)
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            how = f"was killed by the signal {name}"
            if -code == signal.SIGKILL:
                how += ", most likely because memory ran out"
        else:
            how = f"ended without a result (exit code {code})"
        # Who is killed from outside has not said why.
        last = "" if code == -signal.SIGKILL else self.last_lines()
        said = f" It said last: {last}" if last else ""
        return TlxError(f"{self.owner} {how}.{said}", hint=self._where())

    def _where(self) -> str | None:
        return None if self.log is None else f"Everything it printed: {self.log}"


def _decoded(line: bytes) -> dict[str, Any] | None:
    """An event, or None for a line that is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("ev"), str) else None
