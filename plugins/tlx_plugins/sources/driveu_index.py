"""The frames of all label files of DriveU in order, each once.

The files list the same frames again and again, in any order. Their entries are sorted by sequence
and name on disk (`tlx_plugins.spill`), so that only one sequence is in memory at a time.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

import msgspec

from tlx.bad_input import Duplicates, duplicate_action, duplicate_hint
from tlx.errors import DataError
from tlx.issues import Issue, IssueLog
from tlx_plugins.sources.driveu_entries import Entry, Unusual
from tlx_plugins.sources.driveu_file import LabelFile
from tlx_plugins.spill import Item, Spill

_ORDER_BITS = 40
"""A place in the order is the number of the file and that of the entry in it."""
_CHUNK = 32 << 20
"""Bytes of all entries that are sorted in memory."""
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Entry)


class Found(NamedTuple):
    """A frame, its position in its sequence, and the official split that it belongs to."""

    entry: Entry
    position: int
    split: str | None


class FrameIndex:
    """Reads where the frames are; they are sorted when they are asked for, once.

    Args:
        files: The label files; of a frame that several have, the first one counts.
        duplicates: What happens to a frame that is there twice.
        issues: Where bad files and frames go.
    """

    def __init__(
        self, files: list[LabelFile], duplicates: Duplicates | None, issues: IssueLog
    ) -> None:
        self.files = files
        self.duplicates = duplicates
        self.issues = issues
        self.count = 0
        self.groups: set[str] = set()
        self._repeated: Counter[int] = Counter()
        self._overlapping: Counter[int] = Counter()
        self._spills: list[Spill] = []
        try:
            for file in files:
                self._take(file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove what lies on disk, and let go of the label files."""
        for spill in self._spills:
            spill.close()
        for file in self.files:
            file.close()

    def frames(self) -> Iterator[Found]:
        """All frames, by sequence and time stamp."""
        items = heapq.merge(*(spill.sorted() for spill in self._spills), key=_place)
        for _, of_group in groupby(items, key=_group):
            entries = []
            for _, same in groupby(of_group, key=_name):
                entries.append(self._one([_unpacked(item[3]) for item in same]))
            if all(entry.time is not None for entry, _ in entries):
                entries.sort(key=lambda found: (found[0].time or 0.0, found[0].stem))
            # Else by name: it begins with date and time.
            for position, (entry, split) in enumerate(entries):
                yield Found(entry, position, split)

    def report_sums(self) -> None:
        """Say what the files repeat, when all frames were read."""
        for file in self.files:
            repeated, overlapping = self._repeated[file.order], self._overlapping[file.order]
            if repeated:
                message = f"repeats {repeated} frames that were read already; counted once."
                action = duplicate_action(self.duplicates, same=True)
                self._report(
                    file, "duplicate-frame", message, action, duplicate_hint(self.duplicates)
                )
            if overlapping:
                message = f"has {overlapping} frames of the other official split too."
                self._report(file, "split-overlap", message, "kept")

    def _take(self, file: LabelFile) -> None:
        """Sort in the entries of a file: block by block, or as a whole if it is unusual."""
        faults: list[tuple[str, int | None]] = []

        def fault(sentence: str, line: int | None) -> None:
            faults.append((sentence, line))

        try:
            try:
                self._sort_in(file, file.stream(fault))
            except Unusual:
                faults.clear()
                self._sort_in(file, file.whole(fault))
        except OSError as error:
            self._report(file, "bad-file", f"cannot be read: {error.strerror}.")
        except DataError as error:
            if self.issues.policy == "fail":
                raise
            line = error.place.line if error.place is not None else None
            self._report(file, "bad-file", error.message, hint=error.hint, line=line)
            faults.clear()
            with suppress(Unusual):
                self._sort_in(file, file.stream(fault, whatever_comes=True), partly=True)
        if file.encoding is not None:
            message = f"is written in {file.encoding}, not in UTF-8; read as such."
            self._report(file, "encoding", message, "kept")
        if file.is_cut_off():
            message = "does not end with a line end: it may be cut off, its last image too."
            self._report(file, "cut-off", message, "kept")
        for sentence, number in faults:
            self._report(file, "bad-image", f"{sentence}.", line=number)

    def _sort_in(self, file: LabelFile, entries: Iterator[Entry], *, partly: bool = False) -> None:
        """Sort in all entries, or none if they cannot be told apart, unless a part will do."""
        spill = Spill(_CHUNK // len(self.files))
        groups: set[str] = set()
        count = 0
        try:
            for entry in entries:
                order = file.order << _ORDER_BITS | count
                spill.add(f"{entry.group}\0{entry.stem}", 0, order, _ENCODER.encode(entry))
                groups.add(entry.group)
                count += 1
        except Unusual:
            if not partly:
                spill.close()
                raise
        self._spills.append(spill)
        self.groups |= groups
        self.count += count

    def _one(self, entries: list[Entry]) -> tuple[Entry, str | None]:
        """The entry that counts of those of one frame, and the official split of the frame."""
        first, split = entries[0], None
        for entry in entries:
            official = self.files[entry.file].split
            split = split or official
            if official not in (None, split):
                self._overlapping[entry.file] += 1
            if entry is not first and self._is_repetition(first, entry):
                self._repeated[entry.file] += 1
        return first, split

    def _is_repetition(self, first: Entry, entry: Entry) -> bool:
        """Whether two entries of one frame say the same; if not, the later one is left out."""
        earlier, file = self.files[first.file], self.files[entry.file]
        if earlier.text(first) == file.text(entry):
            return True
        try:
            same = earlier.frame(first, _ignore).lights == file.frame(entry, _ignore).lights
        except DataError:
            same = False
        if not same:
            message = (
                f"{entry.place}: {entry.key} has other lights than in {earlier.path.name} "
                f"({first.place}); the first is taken."
            )
            action = duplicate_action(self.duplicates, same=False)
            hint = "Read one label file with --labels FILE, or take the first: --on-error skip"
            self._report(file, "conflicting-frame", message, action, hint, line=entry.line)
        return same

    def _report(
        self,
        file: LabelFile,
        code: str,
        message: str,
        action: str = "skipped",
        hint: str | None = None,
        *,
        line: int | None = None,
    ) -> None:
        self.issues.report(Issue(code, message, str(file.path), line, action, hint))


def _ignore(sentence: str, line: int | None) -> None:
    """Faults of a repetition are told when the frame is read."""
    del sentence, line


def _place(item: Item) -> tuple[str, int]:
    return item[0], item[2]


def _group(item: Item) -> str:
    return item[0].partition("\0")[0]


def _name(item: Item) -> str:
    return item[0]


def _unpacked(payload: bytes) -> Entry:
    return _DECODER.decode(payload)
