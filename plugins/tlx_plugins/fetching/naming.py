"""File names for what comes from addresses: inside the folder, different, and readable."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tlx.fetched import identity_of
from tlx.media import IMAGE_SUFFIXES
from tlx_plugins.fetching.check import KINDS

_LONGEST = 120
"""Bytes of one part of a path; most file systems take 255."""
_DEEPEST = 12
"""Parts of a path; more become one."""
_FORBIDDEN = re.compile(r'[<>:"|?*\\/]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


class Names:
    """Gives every address a path of its own below the folder.

    Two paths that a file system without case would take for one count as the same.

    Args:
        folder: Where the images go; files that lie there already keep their names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: set[str] = set()
        self.folders: set[str] = set()

    def keep(self, path: str) -> None:
        """Reserve a path, with any ending where it has none yet."""
        self.files |= _keys(path)
        self.folders |= _parents(_folded(path))

    def give(self, url: str, wanted: str | None = None) -> str:
        """A free path for an address; it has an image's ending only if its name has one.

        Args:
            url: The address.
            wanted: The name or path that the user's list wants for it.
        """
        path = safe_path(wanted) if wanted else _name_of(url)
        if self._taken(path):
            stem, end = split_suffix(path)
            path = f"{stem}-{_mark(url)}{end}"
        if self._taken(path):
            path = path.replace("/", "_")
        self.keep(path)
        return path

    def _taken(self, path: str) -> bool:
        folded = _folded(path)
        return (
            not self.files.isdisjoint(_keys(path) | _parents(folded))
            or not self.folders.isdisjoint(_keys(path))
            or any((self.folder / name).exists() for name in _with_endings(path))
            or any((self.folder / parent).is_file() for parent in _parents(path))
        )


def split_suffix(name: str) -> tuple[str, str]:
    """A name and its ending, which is empty if it is not that of an image file."""
    dot = name.rfind(".")
    return (name[:dot], name[dot:]) if name[dot:].lower() in IMAGE_SUFFIXES else (name, "")


def safe_path(text: str) -> str:
    """A relative path that stays in its folder, whatever the text.

    >>> safe_path("../../etc/passwd"), safe_path("a/b c.jpg"), safe_path("")
    ('etc/passwd', 'a/b c.jpg', 'image')
    """
    parts = [part for part in re.split(r"[\\/]", text) if part.strip(". ")]
    parts = [_safe_part(part) for part in parts] or ["image"]
    if len(parts) > _DEEPEST:
        parts = [_safe_part("_".join(parts))]
    return "/".join(parts)


def _name_of(url: str) -> str:
    """The last part of an address's path; what a query asks for makes another name."""
    try:
        parts = urlsplit(identity_of(url))
    except ValueError:
        return "image"
    last = unquote(parts.path).rstrip("/").rpartition("/")[2]
    name = _safe_part(last) if last.strip(". ") else "image"
    if not parts.query:
        return name
    stem, end = split_suffix(name)
    return f"{stem}-{_mark(url)}{end}"


def _mark(url: str) -> str:
    text = identity_of(url).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:12]


def _safe_part(part: str) -> str:
    """One part of a path that every usual file system takes, and that nothing hides behind."""
    text = unicodedata.normalize("NFC", part)
    # Controls, ends of lines, marks that turn the reading direction, halves of characters.
    text = "".join(char if char.isprintable() else "_" for char in text)
    text = _FORBIDDEN.sub("_", text).strip(" ").rstrip(". ")
    if text.startswith(".") or _RESERVED.fullmatch(text):
        text = "_" + text.lstrip(".")
    stem, end = split_suffix(text)
    stem = stem.encode()[:_LONGEST].decode(errors="ignore").rstrip(" ") or "image"
    return stem + end


def _with_endings(path: str) -> list[str]:
    """The paths that a file may get: the path itself, or with any ending where it has none."""
    return [path] if split_suffix(path)[1] else [path + end for end in {*KINDS.values()}]


def _keys(path: str) -> set[str]:
    return {_folded(name) for name in _with_endings(path)}


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def _parents(path: str) -> set[str]:
    parts = path.split("/")[:-1]
    return {"/".join(parts[: count + 1]) for count in range(len(parts))}
