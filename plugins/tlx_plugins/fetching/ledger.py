"""What a folder of fetched images remembers: the index, parts of files, and who works in it."""

from __future__ import annotations

import fcntl
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from tlx.errors import UsageError
from tlx.fetched import INDEX, Settled, identity_of, read_index
from tlx.staging import staged

PARTS = ".tlx-fetch"
"""Folder of what is not whole yet, hidden from readers of images."""


class Validators(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server said of a file, so that the rest of it can be asked for later.

    Attributes:
        etag: Its strong ``ETag``.
        modified: Its ``Last-Modified``.
    """

    etag: str | None = None
    modified: str | None = None

    @property
    def condition(self) -> str | None:
        """The value of ``If-Range``: the rest is sent only of the same file (RFC 9110, 13.1.5)."""
        return self.etag or self.modified


class Part:
    """The beginning of a file, and what the server said of it.

    Args:
        stem: Path without an ending.
    """

    def __init__(self, stem: Path) -> None:
        self.path = stem.with_suffix(".part")
        self.facts = stem.with_suffix(".json")

    def begun(self) -> tuple[int, Validators | None]:
        """Bytes that are there, if the rest can be asked for; else 0."""
        try:
            known = msgspec.json.decode(self.facts.read_bytes(), type=Validators)
            size = self.path.stat().st_size
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return 0, None
        return (size, known) if size and known.condition else (0, None)

    def open(self, known: Validators, *, append: bool) -> IO[bytes]:
        """Go on with the file, or begin it anew."""
        if append:
            return self.path.open("ab")
        # First without facts: a beginning of another file must never be gone on with.
        self.facts.unlink(missing_ok=True)
        file = self.path.open("wb")
        if known.condition:
            self.facts.write_bytes(msgspec.json.encode(known))
        return file

    def remove(self) -> None:
        """Forget what has come."""
        self.facts.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class Ledger:
    """The index of a folder, held by one job at a time.

    Args:
        folder: The folder of the images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, Settled] = {}
        for entry in read_index(folder):
            self.known[identity_of(entry.url)] = entry
        self.settled: set[str] = set()
        """Identities of the addresses that this job has settled."""
        self._encoder = msgspec.json.Encoder()
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None

    @contextmanager
    def opened(self) -> Iterator[Ledger]:
        """Work in the folder; nobody else can.

        Raises:
            UsageError: If another job works there.
        """
        (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
        with (self.folder / PARTS / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"another tlx fetch is at work in {self.folder}.",
                    hint="Wait for it, or choose another --output.",
                ) from error
            self._compact()
            with (self.folder / INDEX).open("ab") as self._file:
                yield self

    def _compact(self) -> None:
        """One line for each address; what a killed job left half-written goes."""
        with staged(self.folder / INDEX, overwrite=True) as target:
            target.write_bytes(b"".join(map(self._line, self.known.values())))

    def _line(self, entry: Settled) -> bytes:
        return self._encoder.encode(entry) + b"\n"

    def present(self, url: str) -> Settled | None:
        """The entry of an address whose image is there, with the size that it had."""
        entry = self.known.get(identity_of(url))
        if entry is None or entry.status != "fetched" or entry.file is None:
            return None
        try:
            size = (self.folder / entry.file).stat().st_size
        except (OSError, ValueError):
            return None
        return entry if size == entry.bytes else None

    def part(self, url: str) -> Part:
        """Where the beginning of an address's file lies."""
        digest = hashlib.sha256(identity_of(url).encode("utf-8", "surrogatepass")).hexdigest()
        return Part(self.folder / PARTS / digest[:40])

    def settle(self, entry: Settled) -> None:
        """Write down what became of an address, at once: the job may be killed."""
        with self._lock:
            key = identity_of(entry.url)
            self.known[key] = entry
            self.settled.add(key)
            if self._file is not None:
                self._file.write(self._line(entry))
                self._file.flush()

    def adopt(self, entry: Settled, part: Part, name: str) -> Settled:
        """Give a whole file its place, never over another one, and write it down.

        The index comes first: a job that is killed between the two fetches the file again, where
        the other order would leave a file that nobody knows.
        """
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() or target.is_symlink():
            other = target.with_name(f"{part.path.stem}-{target.name}")
            return self.adopt(entry, part, other.relative_to(self.folder).as_posix())
        entry = msgspec.structs.replace(entry, file=name)
        self.settle(entry)
        part.path.replace(target)
        part.remove()
        return entry
