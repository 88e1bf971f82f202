"""What lies below a folder, to see whether anything has touched it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

Tree = Mapping[str, str]
"""Path below the folder with slashes, to what lies there."""


def contents(folder: Path) -> Tree:
    """Every entry below a folder by what it holds: the same for a copy of the folder."""
    return {
        path.relative_to(folder).as_posix(): _content(path) for path in sorted(folder.rglob("*"))
    }


def state(folder: Path) -> Tree:
    """Every entry below a folder with its content, mode and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        facts = f"mode {status.st_mode:o}, changed {status.st_mtime_ns}"
        found[path.relative_to(folder).as_posix()] = f"{_content(path)}, {facts}"
    return found


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return "folder"
    if not path.is_file():
        return "neither file nor folder"
    return f"{path.stat().st_size} bytes {hashlib.sha256(path.read_bytes()).hexdigest()}"


def difference(before: Tree, after: Tree, most: int = 3) -> str:
    """The first entries that are new, gone or other, as words; empty for equal trees."""
    words = [
        f"{name} is {'new' if name not in before else 'gone' if name not in after else 'changed'}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
