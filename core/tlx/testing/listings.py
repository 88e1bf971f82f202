"""The order in which the file system names the entries of a folder, turned round."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self


class _Entries:
    """What `os.scandir` gives, backwards."""

    def __init__(self, entries: Any) -> None:
        with entries:
            self._entries = sorted(entries, key=lambda entry: entry.name, reverse=True)
        self._rest = iter(self._entries)

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> Any:
        return next(self._rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the rest."""
        self._rest = iter(())


@contextmanager
def reversed_listings() -> Iterator[None]:
    """While it lasts, Python lists every folder from the last name to the first."""
    scan, names = os.scandir, os.listdir

    def scandir(path: Any = ".") -> Any:
        return _Entries(scan(path))

    def listdir(path: Any = ".") -> Any:
        return sorted(names(path), reverse=True)

    os.scandir, os.listdir = scandir, listdir
    try:
        yield
    finally:
        os.scandir, os.listdir = scan, names
