"""Which label files of a DriveU folder are read, and where the images lie.

The label files list the same frames again and again: ``DTLD_all`` all of them, ``DTLD_train`` and
``DTLD_test`` each a part, ``<City>`` those of a city; and version 2.0 lists the images of version
1.0. One version is read, and a frame is taken from the first file that has it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from tlx.folder_walk import has_folder

CITIES = (
    "Berlin",
    "Bochum",
    "Bremen",
    "Dortmund",
    "Duesseldorf",
    "Essen",
    "Frankfurt",
    "Fulda",
    "Hannover",
    "Kassel",
    "Koeln",
)
_OWN_NAME = re.compile(r"DTLD_(?:all|train|test)\.(?:json|yml|yaml)")
_NAME = re.compile(r"(?:DTLD_(?:all|train|test)|(?:[A-Z][a-zA-Z]+)(?:_all)?)\.(json|yml|yaml)")
_PATTERNS = ("*", "*/*", "*/*/*")
_HEAD_BYTES = 65536
_MARKS = {
    "json": (b'"images"', b'"image_path"'),
    "yaml": (b"path:", b"objects:"),
}
_OWN_MARKS = (b'"pictogram"', b'"disparity_image_path"', b"disp_path:", b"class_id:")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tiff", ".tif")
"""Endings of a frame, an 8-bit copy that a user made before the 16-bit original."""


def version_of(path: Path) -> str | None:
    """``json`` (2.0) or ``yaml`` (1.0) by the ending of the name."""
    suffix = path.suffix.lower()
    return "json" if suffix == ".json" else "yaml" if suffix in (".yml", ".yaml") else None


def looks_like_labels(path: Path) -> bool:
    """Whether the first 64 KB have the keys of a label file."""
    version = version_of(path)
    if version is None:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).replace(b"\0", b"")
    except OSError:
        return False
    return all(m in head for m in _MARKS[version]) and any(m in head for m in _OWN_MARKS)


def is_labels(path: Path) -> bool:
    """Whether the name says so without doubt, or else the keys do."""
    return bool(_OWN_NAME.fullmatch(path.name)) or looks_like_labels(path)


def find_labels(root: Path) -> list[Path]:
    """All label files of a folder and two levels below it, by name and by their keys, sorted."""
    if root.is_file():
        return [root]
    found = {
        path
        for pattern in _PATTERNS
        for path in root.glob(pattern)
        if _NAME.fullmatch(path.name) and path.is_file() and is_labels(path)
    }
    return sorted(found)


def official_split(path: Path) -> str | None:
    """``train`` or ``test`` for the two files that fix the split of the data set."""
    stem = path.stem.lower()
    return next((name for name in ("train", "test") if stem == f"dtld_{name}"), None)


def reading_order(path: Path) -> tuple[int, str]:
    """The files that know the official split first, then all frames, then cities."""
    rank = 0 if official_split(path) else 1 if path.stem.lower() == "dtld_all" else 2
    return rank, str(path)


@dataclass
class Images:
    """The image files below a folder that holds the cities.

    Attributes:
        root: The folder.
        found: Whether any folder of a frame is there at all.
    """

    root: Path
    found: bool
    _folders: dict[str, dict[str, str] | None] = field(default_factory=dict)

    def folder(self, group: str) -> dict[str, str] | None:
        """File names of a sequence by stem; None where the folder is not there."""
        if group not in self._folders:
            # Frames come sorted by sequence: one listing is enough at a time.
            self._folders = {group: _listing(self.root / group)}
        return self._folders[group]


def _listing(folder: Path) -> dict[str, str] | None:
    best: dict[str, tuple[int, str]] = {}
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are enough, and many
    except (OSError, ValueError):
        return None
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        ending = (dot + suffix).lower()
        if ending in IMAGE_SUFFIXES:
            rank = (IMAGE_SUFFIXES.index(ending), name)
            best[stem] = min(best.get(stem, rank), rank)
    return {stem: name for stem, (_, name) in best.items()}


def find_images(base: Path, given: str | None, groups: list[str]) -> Images:
    """Find the folder that holds City/Route/Sequence: the folder given, above, below or beside it.

    Args:
        base: The folder that was given for reading, or the folder of the label file.
        given: The folder that the user names, absolute or relative to ``base``.
        groups: City/Route/Sequence of frames to look for.
    """
    some = groups[:: max(1, len(groups) // 200)]
    for root in [base / Path(given).expanduser()] if given is not None else _candidates(base):
        if any(has_folder(root, group) for group in some):
            return Images(root, found=True)
    return Images(base / Path(given).expanduser() if given is not None else base, found=False)


def _candidates(base: Path) -> list[Path]:
    base = base.absolute()
    near = [base, base.parent, base.parent.parent]
    below = [p for folder in near[:2] for p in sorted(folder.glob("DTLD*")) if p.is_dir()]
    # A city's archive brings a folder of its own around the city's.
    return [*near[:1], *below, *near[1:], *(base / city for city in CITIES)]
