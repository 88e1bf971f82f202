"""The many small files of an output folder: labels that are written, images that come along."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tlx.media_transfer import Media, bring

if TYPE_CHECKING:
    from tlx.dataset import Dataset

_AT_ONCE = 256
"""Files that a thread takes at a time."""


class OutputFiles:
    """Writes files below a folder, with several threads behind the back of the caller.

    Used as a context: at its end all files are there. What goes wrong in a thread is raised by a
    later call, or at the end. Threads and not processes, as most of the time is the system's.

    Args:
        dest: The folder, which exists.
        media: How images come along.
        threads: How many work at a time; with fewer than two every call does its work itself.

    Attributes:
        names: What was written and brought, below the folder, in the order of the calls.
    """

    def __init__(self, dest: Path, media: Media = "reference", threads: int = 0) -> None:
        self.dest = dest
        self.media = media
        self.names: list[str] = []
        self._folders: set[str] = set()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "tlx-files") if threads > 1 else None
        self._held: list[Callable[[], None]] = []
        self._running: deque[Future[None]] = deque()
        # The pool does not know of a thread whose start Ctrl-C has cut in two; this count does.
        self._idle = Condition()
        self._active = 0
        self._given_up = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is None:
            return
        try:
            if error is None:
                self._hand_over(self._pool)
                while self._running:
                    self._running.popleft().result()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            with self._idle:
                self._given_up = True
                self._idle.wait_for(lambda: not self._active)
            self._pool.shutdown()

    def write(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet.

        Args:
            name: Path below the folder, with slashes; folders are made.
            data: The content.
        """
        self.names.append(name)
        if self._pool is None:
            self._write(name, data)
        else:
            self._hold(partial(self._write, name, data), self._pool)

    def bring(self, dataset: Dataset, uri: str, folder: str, name: str | None = None) -> None:
        """Bring an image along, unless it is only referred to or at an address.

        Args:
            dataset: Whose image it is.
            uri: Of the image.
            folder: Where images go, below the output's folder; "" for itself.
            name: Path below that folder, with slashes; the uri by default.
        """
        if self.media == "reference" or "://" in uri:
            return
        name = uri if name is None else name
        self.names.append(f"{folder}/{name}" if folder else name)
        job = partial(bring, dataset.image_path(uri), self.dest / folder, name, self.media)
        if self._pool is None:
            job()
        else:
            self._hold(job, self._pool)

    def _write(self, name: str, data: bytes) -> None:
        folder = name.rpartition("/")[0]
        if folder not in self._folders:
            (self.dest / folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        file = os.open(f"{self.dest}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            done = os.write(file, data)
            while done < len(data):  # A disk that gets full takes a part.
                done += os.write(file, data[done:])
        finally:
            os.close(file)

    def _hold(self, job: Callable[[], None], pool: ThreadPoolExecutor) -> None:
        self._held.append(job)
        if len(self._held) >= _AT_ONCE:
            self._hand_over(pool)

    def _hand_over(self, pool: ThreadPoolExecutor) -> None:
        """Give what is held to a thread, and wait where they are far behind."""
        jobs, self._held = self._held, []
        self._running.append(pool.submit(self._all_of, jobs))
        while len(self._running) > 2 * self._threads:
            self._running.popleft().result()

    def _all_of(self, jobs: list[Callable[[], None]]) -> None:
        with self._idle:
            self._active += 1
        try:
            for job in jobs:
                if self._given_up:
                    return
                job()
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()
