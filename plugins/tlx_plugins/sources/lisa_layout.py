"""Where the parts of the LISA traffic light set lie on disk.

The Kaggle archive doubles every folder name and keeps labels and frames apart::

    Annotations/Annotations/dayTrain/dayClip1/frameAnnotationsBOX.csv
    dayTrain/dayTrain/dayClip1/frames/dayClip1--00000.jpg
    Annotations/Annotations/daySequence1/frameAnnotationsBOX.csv
    daySequence1/daySequence1/frames/daySequence1--00000.jpg
    sample-dayClip6/sample-dayClip6/{frames/dayClip6--00000.jpg,frameAnnotationsBOX.csv}

People extract all of it or a part, and move parts around. So nothing here relies on a folder's
place: a label file belongs to the clip that its folder is named after, a frame to the clip that
its own name begins with, and only the two ``sample-`` folders, which carry frames named like
those of a whole clip, are told apart by a folder's name.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from tlx.media import IMAGE_SUFFIXES

BOX_FILE = "frameAnnotationsBOX.csv"
BULB_FILE = "frameAnnotationsBULB.csv"
KINDS = {BOX_FILE.lower(): "box", BULB_FILE.lower(): "bulb"}
SAMPLE = "sample-"

_CLIP = re.compile(r"(day|night)(Clip|Sequence)(\d+)")
_SAMPLE_FOLDER = re.compile(r"sample-(?:day|night)Clip\d+")
_FRAME = re.compile(r"(.+)--(\d{1,12})")


@dataclass(frozen=True, slots=True)
class ClipName:
    """What the name of a clip says.

    Attributes:
        key: The name, with ``sample-`` before it for the two sample folders.
        group: The clip that the frames were taken from; a sample has that of its clip.
        sequence: The part of the set: ``dayTrain``, ``nightSequence1``, ``sample-dayClip6``;
            None for a clip with another name.
        illumination: ``day`` or ``night``.
        official_split: The set's own protocol: its training clips and its test sequences.
    """

    key: str
    group: str
    sequence: str | None = None
    illumination: str | None = None
    official_split: str | None = None

    @classmethod
    def parse(cls, key: str) -> ClipName:
        """Read the name of a clip; a strange name is a clip of which nothing is known."""
        group = key.removeprefix(SAMPLE)
        match = _CLIP.fullmatch(group)
        if match is None:
            return cls(key, key)
        light, kind, _ = match.groups()
        if kind == "Sequence":
            return cls(key, group, group, light, "test")
        sequence = key if key != group else f"{light}Train"
        return cls(key, group, sequence, light, "train")

    @property
    def prefix(self) -> str:
        """What the image ids of this clip begin with, such as ``dayTrain/dayClip1/``."""
        return "/".join(dict.fromkeys(p for p in (self.sequence, self.key) if p)) + "/"

    @property
    def archive_folder(self) -> str:
        """Where the archive keeps this clip's frames, relative to its root."""
        if self.sequence is None:
            return self.prefix
        inner = f"{self.key}/" if self.sequence not in (self.key, self.group) else ""
        return f"{self.sequence}/{self.sequence}/{inner}frames/"

    @property
    def order(self) -> tuple[str, int, str]:
        """Sorts clip 2 before clip 10, within a part of the set."""
        number = re.search(r"(\d+)$", self.key)
        return (self.sequence or "", int(number[1][:12]) if number else 0, self.key)


@dataclass(slots=True)
class Layout:
    """What was found below a root.

    Attributes:
        media_root: The folder that all paths are relative to.
        labels: For each kind (``box``, ``bulb``) the label files of each clip key.
        frames: For each clip key the frames, by base name; the path is relative.
        doubled: Frames whose name was seen before in the same clip: path and earlier path.
        other_images: How many images are no frames of a clip.
        unnameable: Paths whose names are not text in any encoding.
        entries: How many files and folders were seen.
    """

    media_root: Path
    labels: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {"box": {}, "bulb": {}})
    frames: dict[str, dict[str, str]] = field(default_factory=dict)
    doubled: list[tuple[str, str]] = field(default_factory=list)
    other_images: int = 0
    unnameable: list[str] = field(default_factory=list)
    entries: int = 0


def scan(root: Path, kind: str, limit: int | None = None) -> Layout:
    """Walk a root once and note label files and frames.

    Args:
        root: A folder, or one label file.
        kind: What a single label file with a strange name holds, ``box`` or ``bulb``.
        limit: Stop after so many entries, for a quick look.
    """
    if root.is_file():
        layout = scan(root.parent, kind, limit)
        named = KINDS.get(root.name.lower(), kind)
        layout.labels = {"box": {}, "bulb": {}}
        layout.labels[named][_folder_key(_parts(root.parent))] = [root.name]
        return layout
    layout = Layout(root)
    seen: set[tuple[int, int]] = set()
    # Folders still to do, the next one last; each with its path relative to the root.
    stack = [(root, "")]
    while stack and (limit is None or layout.entries < limit):
        folder, relative = stack.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:  # A symbolic link that leads back.
            continue
        seen.add((status.st_dev, status.st_ino))
        below = _scan_folder(layout, folder, relative)
        stack.extend((folder / name, f"{relative}{name}/") for name in sorted(below, reverse=True))
    return layout


def _scan_folder(layout: Layout, folder: Path, relative: str) -> list[str]:
    """Note the files of one folder, and return the names of those below it."""
    folders: list[str] = []
    images: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            layout.entries += 1
            if name.startswith("."):
                continue
            if not name.isascii() and not _is_text(name):
                layout.unnameable.append(relative + os.fsencode(name).decode("utf-8", "replace"))
            elif (suffix := _suffix(name)) in IMAGE_SUFFIXES:
                images.append(name)
            elif suffix == ".csv" and name.lower() in KINDS:
                key = _folder_key((*_parts(layout.media_root), *relative.split("/")))
                layout.labels[KINDS[name.lower()]].setdefault(key, []).append(relative + name)
            elif _is_folder(entry):
                folders.append(name)
    if images:
        _note_frames(layout, folder, relative, sorted(images))
    return folders


def _note_frames(layout: Layout, folder: Path, relative: str, names: list[str]) -> None:
    parts = (*_parts(layout.media_root), *relative.split("/"))
    sample = SAMPLE if _sample_of(parts) else ""
    in_frames = folder.name.lower() == "frames"
    for name in names:
        match = _FRAME.match(name)
        if match is None and not in_frames:
            layout.other_images += 1
            continue
        key = sample + match[1] if match else _folder_key(parts)
        known = layout.frames.setdefault(key, {})
        if name in known:
            layout.doubled.append((relative + name, known[name]))
        else:
            known[name] = relative + name


def frame_number(name: str) -> int | None:
    """The number after ``--`` in the name of a frame."""
    match = _FRAME.match(name)
    return int(match[2]) if match else None


def clip_of(name: str) -> str | None:
    """The clip that the name of a frame begins with."""
    match = _FRAME.match(name)
    return match[1] if match else None


def _parts(folder: Path) -> tuple[str, ...]:
    # Two levels above the root are enough to know a sample folder or a clip given as the root.
    return Path(os.path.abspath(folder)).parts[1:][-3:]  # noqa: PTH100 - links keep their names


def _folder_key(parts: tuple[str, ...]) -> str:
    """The clip that a folder belongs to: the innermost name that is not ``frames``."""
    sample = _sample_of(parts)
    if sample:
        return sample
    named = [part for part in parts if part and part.lower() != "frames"]
    return named[-1] if named and _is_text(named[-1]) else "clip"


def _sample_of(parts: tuple[str, ...]) -> str | None:
    for part in reversed(parts):
        if _SAMPLE_FOLDER.fullmatch(part):
            return part
    return None


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower() if "." in name else ""


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself.
        return False
