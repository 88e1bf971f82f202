"""Zip files of strangers: what is in them, read and extracted without harm.

A name may not lead out of the target folder, a link is not followed, and what unpacks to far more
than any honest file is refused before a byte of it is read.
"""

from __future__ import annotations

import errno
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from tlx.errors import DataError, UsageError

_DRIVE = re.compile("[A-Za-z]:")
_PLAIN = re.compile(r"\w[\w .()+-]*(?:/\w[\w .()+-]*)*")
"""Most names, told without taking them apart."""
_RATIO = 300
"""How many times its packed size an honest file may have; XML of repeated rows reaches 100."""
_UNSUSPICIOUS = 64 << 20
"""Bytes that any file may unpack to, whatever the ratio."""


def clean_name(name: str) -> str | None:
    """A relative POSIX path that stays where it is put; None for a name that does not."""
    if _PLAIN.fullmatch(name):
        return name
    name = name.replace("\\", "/").removeprefix("./")
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or _DRIVE.match(name):
        return None
    # Control characters, and halves of characters that no file system takes.
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        return None
    return path.as_posix()


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file for reading.

    Raises:
        DataError: If it is none, or broken, here or while it is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        # A directory that points before the start of the file ends in this error of the system;
        # any other (a full disk) is not about the zip file.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise DataError(
            f"is no zip file that can be read: {error}.", place=path, hint="Download it again."
        ) from error


def members(archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """Files with a harmless name, sorted by it; folders, links and other names are left out."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = clean_name(info.filename)
        link = stat.S_ISLNK(info.external_attr >> 16)
        if name is not None and not info.is_dir() and not link:
            found.setdefault(name, info)
    return sorted(found.items())


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """A member as a stream of bytes.

    Raises:
        DataError: If it would unpack to far more than its packed size, is encrypted, or packed in
            a way that Python does not know.
    """
    allowed = max(_UNSUSPICIOUS, _RATIO * info.compress_size)
    if info.file_size > allowed:
        raise DataError(
            f"holds {info.filename!r}, {info.compress_size} bytes that unpack to "
            f"{info.file_size}: a zip bomb.",
            place=archive.filename,
            hint="Do not use this file.",
        )
    try:
        # zipfile itself ends a member at its stated size and compares the checksum.
        return archive.open(info)
    except (NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"is packed in a way that cannot be read: {error}.",
            place=archive.filename,
            hint="Extract it with another tool and give the folder.",
        ) from error


def extract(
    archive: zipfile.ZipFile, chosen: Iterable[tuple[str, zipfile.ZipInfo]], folder: Path
) -> int:
    """Write members below a folder that is not there yet, all of them or none.

    Args:
        archive: The open zip file.
        chosen: From `members`.
        folder: Where they go.

    Returns:
        How many files were written.

    Raises:
        UsageError: If the folder exists.
        DataError: For a member that is a bomb or broken.
    """
    from tlx.staging import staged

    if folder.exists():
        raise UsageError(
            f"{folder} exists already; images are extracted to a new folder only.",
            hint="Remove it, or name another one.",
        )
    number = 0
    with staged(folder) as room:
        room.mkdir(parents=True, exist_ok=True)
        for name, info in chosen:
            target = room / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member(archive, info) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            number += 1
    return number
