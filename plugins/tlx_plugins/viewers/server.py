"""The process that holds FiftyOne: it loads the dataset and serves the App behind the guard.

Run as ``python -m tlx_plugins.viewers.server`` by the viewer, which writes one line of JSON to its
standard input (`Job`) and then keeps the pipe open: when it closes, the viewer has gone and this
process ends, and the database with it. Answers are JSON lines on standard output with a ``kind``:
``status``, ``ready``, ``error``. Everything that FiftyOne prints goes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from tlx.dataset import Dataset
from tlx.errors import TlxError, UsageError
from tlx_plugins.viewers.children import die_with_parent
from tlx_plugins.viewers.guard import Guard
from tlx_plugins.viewers.loading import Choice, Loaded, known_files, load

_ADDRESS = "127.0.0.1"


class Job(msgspec.Struct, frozen=True):
    """What the viewer asks for.

    Attributes:
        dataset: Path of the dataset.
        predictions: Path of the predictions file.
        choice: What of it is shown.
        view: Name of the view to open on.
        port: Port to listen on; 0 for a free one.
        token: The session's secret.
        ticket: A token that works once.
        mongod: Process id of the database to end when the viewer has gone.
    """

    dataset: str
    predictions: str | None
    choice: Choice
    view: str | None
    port: int
    token: str
    ticket: str
    mongod: int | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A line to the viewer."""

    kind: Literal["status", "ready", "error"]
    text: str = ""
    url: str = ""
    ticket_url: str = ""
    dataset: str = ""
    images: int = 0
    view: str | None = None
    views: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reused: bool = False
    error: str = ""
    place: str | None = None
    hint: str | None = None


def main() -> int:
    """Do the job that standard input holds; returns the exit status."""
    die_with_parent(signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    commands = sys.stdin.buffer
    job = msgspec.json.decode(commands.readline(), type=Job)
    threading.Thread(target=_watch, args=(commands, job.mongod), daemon=True).start()
    encode = msgspec.json.Encoder().encode

    def answer(line: Answer) -> None:
        answers.write(encode(line) + b"\n")

    try:
        listener = _listen(job.port)
        predictions = None if job.predictions is None else Path(job.predictions)
        loaded = load(
            Dataset.open(job.dataset),
            predictions,
            job.choice,
            lambda text: answer(Answer(kind="status", text=text)),
        )
        view = loaded.opening(job.view)
    except TlxError as error:
        answer(
            Answer(
                kind="error",
                error=type(error).__name__,
                text=error.message,
                place=None if error.place is None else str(error.place),
                hint=error.hint,
            )
        )
        return error.exit_code
    asyncio.run(_serve(job, listener, lambda port: answer(_ready(job, loaded, view, port))))
    return 0


def _watch(commands: IO[bytes], mongod: int | None) -> None:
    """End everything when the viewer's end of the pipe closes."""
    while commands.read(1024):
        pass
    if mongod is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(mongod, signal.SIGTERM)
    os._exit(1)


def _listen(port: int) -> socket.socket:
    """Take the port now: nobody else can then answer in our place.

    Raises:
        UsageError: If it is not free.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_ADDRESS, port))
    except OSError as error:
        raise UsageError(
            f"the port {port} cannot be used: {error.strerror}.",
            hint="Choose another --port, or leave it out for a free one.",
        ) from error
    listener.listen(128)
    return listener


def _ready(job: Job, loaded: Loaded, view: str | None, port: int) -> Answer:
    def url(token: str) -> str:
        query = {"token": token} if view is None else {"token": token, "view": view}
        return f"http://{_ADDRESS}:{port}/datasets/{quote(loaded.name)}?{urlencode(query)}"

    return Answer(
        kind="ready",
        url=url(job.token),
        ticket_url=url(job.ticket),
        dataset=loaded.name,
        images=loaded.images,
        view=view,
        views=tuple(loaded.views),
        notes=loaded.notes,
        reused=loaded.reused,
    )


async def _serve(job: Job, listener: socket.socket, ready: Callable[[int], None]) -> None:
    """Serve until SIGTERM."""
    from fiftyone.server.app import app
    from fiftyone.server.events import set_port
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    port = listener.getsockname()[1]
    set_port(port)
    guard = Guard(app, port=port, token=job.token, media=known_files(), tickets=(job.ticket,))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    # The token would be in an access log.
    config.accesslog = None
    config.graceful_timeout = 1
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    announce = asyncio.create_task(_announce(port, ready))
    application: Any = guard
    await serve(application, config, shutdown_trigger=stopping.wait)
    announce.cancel()


async def _announce(port: int, ready: Callable[[int], None]) -> None:
    """Say that the server is ready once it answers."""
    reader, writer = await asyncio.open_connection(_ADDRESS, port)
    writer.write(f"GET / HTTP/1.1\r\nHost: {_ADDRESS}:{port}\r\nConnection: close\r\n\r\n".encode())
    await reader.readline()
    writer.close()
    ready(port)


if __name__ == "__main__":
    # FiftyOne waits for its database when the interpreter ends, half a minute if it has gone.
    status = main()
    sys.stderr.flush()
    os._exit(status)
