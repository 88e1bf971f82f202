"""One label file of DriveU: indexed block by block, its frames read again when they are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tlx.errors import DataError
from tlx_plugins.sources import driveu_json, driveu_yaml
from tlx_plugins.sources.driveu_entries import (
    Entry,
    Fault,
    Frame,
    Head,
    Unusual,
    last_parts,
    number,
    text_of,
)
from tlx_plugins.sources.driveu_layout import official_split, version_of


class LabelFile:
    """A label file of either version.

    Args:
        path: The file.
        order: Its number among the files that are read.
    """

    def __init__(self, path: Path, order: int) -> None:
        self.path = path
        self.order = order
        self.is_json = version_of(path) == "json"
        self.split = official_split(path)
        self.encoding: str | None = None
        """What the file was found to be written in, if not UTF-8."""
        self._form = driveu_json if self.is_json else driveu_yaml
        self._open: IO[bytes] | None = None

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def is_cut_off(self) -> bool:
        """Whether a file of lines does not end with one."""
        try:
            with self.path.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - 1))
                return not self.is_json and file.read() not in (b"", b"\n")
        except OSError:
            return False

    def stream(self, fault: Fault, *, whatever_comes: bool = False) -> Iterator[Entry]:
        """The frames of the file, in its order, with a few megabytes in memory.

        Args:
            fault: Told of an image that cannot be read or has no usable path.
            whatever_comes: Take what can be read of a file that is broken.

        Raises:
            Unusual: If the file has to be read as a whole.
        """
        with self.path.open("rb") as file:
            for position, block in enumerate(self._form.blocks(file)):
                place = self._form.place(position, block.line)
                try:
                    if not block.data.isascii():
                        block.data.decode()
                    head = self._form.head(block.data)
                except ValueError as error:
                    strange = self.is_json or isinstance(error, UnicodeDecodeError)
                    if strange and not whatever_comes:
                        raise Unusual from error
                    fault(f"{place}: {error}", block.line)
                    continue
                entry = self._entry(head, place, block.line, fault)
                if entry is not None:
                    stop = block.start + len(block.data)
                    yield entry._replace(start=block.start, stop=stop)

    def whole(self, fault: Fault) -> Iterator[Entry]:
        """The frames of the file, read at once.

        Raises:
            DataError: If the file is not what its name says.
        """
        data, self.encoding = text_of(self.path.read_bytes())
        head_of = driveu_json.head if self.is_json else driveu_yaml.packed_head
        for place, content in self._form.whole(data, self.path):
            try:
                head = head_of(content)
            except ValueError as error:
                fault(f"{place}: {error}", None)
                continue
            entry = self._entry(head, place, None, fault)
            if entry is not None:
                yield entry._replace(content=content)

    def text(self, entry: Entry) -> bytes:
        """What an entry was made from.

        Raises:
            DataError: If the file has changed meanwhile.
        """
        if entry.content is not None:
            return entry.content
        if self._open is None:
            self._open = self.path.open("rb")
        self._open.seek(entry.start)
        data = self._open.read(entry.stop - entry.start)
        if len(data) != entry.stop - entry.start:
            raise DataError("became shorter while it was read.", place=self.path)
        return data

    def frame(self, entry: Entry, fault: Fault) -> Frame:
        """The lights and the facts of an entry.

        Raises:
            DataError: If the image has no list of lights.
        """
        is_text = entry.content is None
        text = self.text(entry)
        found: Frame = self._form.frame(text, entry.place, entry.line, fault, is_text=is_text)
        return found

    def _entry(self, head: Head, place: str, line: int | None, fault: Fault) -> Entry | None:
        path = head.path
        parts = last_parts(path) if isinstance(path, str) else None
        if parts is None:
            fault(f"{place}: {path!r} is no path of an image (City/Route/Sequence/file)", line)
            return None
        return Entry(parts, number(head.time), self.order, place, line)
