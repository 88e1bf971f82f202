"""Local images of a Labelbox export: found by name in one listing, never by joining paths."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from tlx.fetched import FetchedImages
from tlx.media import IMAGE_SUFFIXES


class Ambiguous(Exception):
    """Several files fit, and nothing tells which is meant."""

    def __init__(self, name: str, paths: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name = name
        self.paths = paths


def key(name: str) -> str:
    """A name for comparison: POSIX slashes, and one form of accented letters."""
    # macOS writes an accented letter as two characters where others write one.
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")


def url_name(url: str) -> str:
    """The file name at the end of a URL, without its query, decoded; empty if there is none."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return PurePosixPath(unquote(path)).name


class LocalImages:
    """The images below one folder, by path, by file name, and by name without ending.

    Args:
        root: The folder; links to folders are not followed, so a loop of links does no harm.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fetched = FetchedImages(root)
        self.paths: dict[str, str] = {}
        self.by_name: dict[str, list[str]] = {}
        self.by_stem: dict[str, list[str]] = {}
        self.by_folder: dict[str, list[str]] = {}
        for path in _images(root):
            known = key(path)
            self.paths[known] = path
            folder, _, name = known.rpartition("/")
            self.by_name.setdefault(name, []).append(path)
            self.by_stem.setdefault(name.rpartition(".")[0], []).append(path)
            self.by_folder.setdefault(folder.rpartition("/")[2], []).append(path)

    def __len__(self) -> int:
        return len(self.paths)

    def find(self, names: Iterable[str]) -> str | None:
        """The file that the first fitting name means, relative to the folder.

        A name is compared as a path, then by its last part, then by that without ending.

        Raises:
            Ambiguous: If a name fits files in several folders.
        """
        for given in names:
            name = key(given)
            if name in self.paths:
                return self.paths[name]
            last = name.rpartition("/")[2]
            if not last:
                continue
            for found in (self.by_name.get(last), self.by_stem.get(last)):
                if found:
                    return _only(name, found)
        return None

    def find_frame(self, names: Iterable[str], number: int) -> str | None:
        """The image of a video's frame: in the folder named like the video, by its number."""
        for given in names:
            last = key(given).rpartition("/")[2]
            for folder in (last, last.rpartition(".")[0]):
                found = [p for p in self.by_folder.get(folder, ()) if _number(p) == number]
                if folder and found:
                    return _only(f"{folder}/{number}", found)
        return None


def _only(name: str, found: list[str]) -> str:
    fitting = [path for path in found if key(path).endswith("/" + name)] or found
    if len(fitting) > 1:
        raise Ambiguous(name, tuple(sorted(fitting)[:3]))
    return fitting[0]


def _number(path: str) -> int | None:
    """The number that a file's name ends with: 13 for ``clip_000013.jpg``."""
    stem = PurePosixPath(path).stem
    digits = stem[len(stem.rstrip("0123456789")) :]
    return int(digits) if digits.isascii() and 0 < len(digits) < 19 else None


def _images(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else relative + "/"
        for name in sorted(names):
            if name[name.rfind(".") :].lower() in IMAGE_SUFFIXES and _is_text(prefix + name):
                yield prefix + name


def _is_text(path: str) -> bool:
    """Whether a path can be written; others are byte strings that no dataset can hold."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
