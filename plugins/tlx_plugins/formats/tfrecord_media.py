"""Images that lie inside records: their names, and bringing them out into files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from google_crc32c import value as crc_value

from tlx.errors import TlxError, UsageError
from tlx.media import IMAGE_SUFFIXES

_LONGEST = 120
"""Letters of one part of a path; file systems take 255 bytes, and a letter may have four."""


def image_kind(data: bytes) -> str | None:
    """``jpeg`` or ``png`` by the first bytes, None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    return "png" if data.startswith(b"\x89PNG\r\n\x1a\n") else None


def safe_name(name: str) -> str:
    """A relative POSIX path from whatever a record calls its image; may be empty.

    Nothing in it leads out of a folder: an absolute path, a drive or ``..`` loses that part.
    """
    parts = []
    for part in name.replace("\\", "/").split("/"):
        clean = "".join(letter for letter in part if letter.isprintable()).strip()
        if clean in ("", ".", "..") or clean.endswith(":"):
            continue
        if len(clean) > _LONGEST:
            stem, dot, ending = clean.rpartition(".")
            ending = dot + ending if dot and len(ending) < 8 else ""
            clean = (stem if ending else clean)[: _LONGEST - len(ending)] + ending
        parts.append(clean)
    return "/".join(parts)


class ImageFolder:
    """Takes images out of records into files.

    Args:
        folder: It may exist; a file there is never changed.
        dry_run: Check everything and write nothing.
    """

    def __init__(self, folder: Path, *, dry_run: bool = False) -> None:
        self.folder = folder
        self.dry_run = dry_run
        self.written: dict[str, int] = {}

    def put(self, name: str, data: bytes) -> str:
        """Write an image; returns its path below the folder.

        A name that another image has already gets a number. A name without an ending gets one.

        Raises:
            UsageError: If the folder has another file of this name.
            TlxError: If the file system refuses.
        """
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            name += {"png": ".png"}.get(image_kind(data) or "", ".jpg")
        stem, dot, ending = name.rpartition(".")
        check, number = crc_value(data), 1
        while self.written.get(name, check) != check:
            number += 1
            name = f"{stem}-{number}{dot}{ending}"
        if name not in self.written:
            self._write(self.folder / name, data)
            self.written[name] = check
        return name

    def _write(self, path: Path, data: bytes) -> None:
        partial = path.with_name(f".{path.name}.part")
        try:
            if path.exists():
                if path.read_bytes() == data:
                    return
                raise UsageError(
                    f"{path} exists already and is another image.",
                    hint="Choose another folder with --images; files are never replaced.",
                )
            if self.dry_run:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise TlxError(f"cannot write {path}: {reason}.") from error
