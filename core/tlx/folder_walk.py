"""Walking a folder that may hold a million files, in an order that no file system decides."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder below ``root`` with the names of its files, sorted.

    Folders are paths relative to ``root`` with slashes, ``""`` for itself. Symbolic links are
    followed, each folder is visited once; hidden folders are passed over.
    """
    seen: set[tuple[int, int]] = set()
    stack = [""]
    while stack:
        folder = stack.pop()
        path = os.path.join(root, folder)  # noqa: PTH118 - a hundred thousand times
        try:
            status = os.stat(path)  # noqa: PTH116 - the same
            if (status.st_dev, status.st_ino) in seen:  # A symbolic link that leads back.
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                found = sorted((entry.name, entry.is_dir()) for entry in entries)
        except OSError:
            if not folder:
                raise
            continue
        yield folder, [name for name, is_folder in found if not is_folder]
        stack += [
            join(folder, name)
            for name, is_folder in reversed(found)
            if is_folder and not name.startswith(".")
        ]


def join(folder: str, name: str) -> str:
    """A path from two parts of which either may be empty."""
    return f"{folder}/{name}" if folder and name else folder or name


def has_file(folder: str | Path, name: str | Path) -> bool:
    """Whether there is a file of a name that a label file states.

    Any name can be asked for: one that no file system takes (too long, or with a null) is of no
    file, where `pathlib.Path.is_file` raises.
    """
    return os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118 - see above


def has_folder(folder: str | Path, name: str | Path) -> bool:
    """Whether there is a folder of a name that a label file states; see `has_file`."""
    return os.path.isdir(os.path.join(folder, name))  # noqa: PTH112, PTH118 - the same


def is_text(name: str) -> bool:
    """Whether the name of a file is text, so that a record can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
