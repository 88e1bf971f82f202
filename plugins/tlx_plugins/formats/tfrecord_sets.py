"""Which files of a folder are records, which of them are shards of one set, and their label map."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tlx.errors import UsageError
from tlx.split_names import split_in, usual_split
from tlx_plugins.formats.tfrecord_framing import looks_like_records

SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=$|\.)")
_RECORD_NAME = re.compile(r"\.(tf_?)?records?(\.|-|$)|\.tfrec(\.|-|$)", re.IGNORECASE)
_ENDINGS = re.compile(r"(\.((tf_?)?records?|tfrec|gz|gzip|zlib|z))+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RecordSet:
    """Files that belong together: one file, or the shards of one set.

    Attributes:
        name: The folder below the root and the name, without shard numbers and file endings.
        files: In order.
        missing: Shards that the names promise and that are not there.
        split: The split that the name or the folder says.
        label_map: The file with its classes, if one was found.
    """

    name: str
    files: tuple[Path, ...]
    missing: tuple[str, ...]
    split: str | None
    label_map: Path | None


def candidates(root: Path) -> Iterator[Path]:
    """Files below a folder whose names, and first bytes, are those of records."""
    for path in sorted(root.rglob("*")):
        named = _RECORD_NAME.search(path.name) or SHARD.search(path.name)
        if named and path.is_file() and looks_like_records(path):
            yield path


def find_sets(root: Path, label_map: str | None) -> list[RecordSet]:
    """The sets below a folder, or the one that a file is, in sorted order.

    Args:
        root: Folder or file.
        label_map: The label map for all sets, as a path or relative to the folder.

    Raises:
        UsageError: If the label map is not there, or several could be meant.
    """
    base = root if root.is_dir() else root.parent
    chosen = None if label_map is None else _named_map(base, label_map)
    if root.is_file():
        found = chosen or _nearest_map(root, root.parent)
        return [RecordSet(_stem(root), (root,), (), _split_of(root, base), found)]
    shards: dict[tuple[Path, str], dict[int, Path]] = defaultdict(dict)
    for path in candidates(root):
        match = SHARD.search(path.name)
        number, total = (int(match[1]), match[2]) if match else (0, "")
        whole = SHARD.sub(f"-*-of-{total}", path.name) if match else path.name
        shards[path.parent, whole][number] = path
    sets = []
    for (folder, whole), files in sorted(shards.items()):
        first = files[min(files)]
        name = (folder.relative_to(base) / _stem(first)).as_posix()
        sets.append(
            RecordSet(
                name,
                tuple(files[number] for number in sorted(files)),
                _missing(whole, set(files)),
                _split_of(first, base),
                chosen or _nearest_map(first, base),
            )
        )
    return sets


def _missing(whole: str, there: set[int]) -> tuple[str, ...]:
    match = re.search(r"-\*-of-(\d{5})", whole)
    if match is None:
        return ()
    absent = (number for number in range(int(match[1])) if number not in there)
    return tuple(whole.replace("-*-", f"-{number:05d}-") for number in absent)


def _stem(path: Path) -> str:
    """The name without shard numbers and endings: ``train.record-00000-of-00010`` is ``train``."""
    return _ENDINGS.sub("", SHARD.sub("", path.name)) or path.name


def _split_of(path: Path, base: Path) -> str | None:
    folders = path.parent.relative_to(base).parts
    return split_in(_stem(path)) or next(filter(None, map(usual_split, reversed(folders))), None)


def _named_map(base: Path, name: str) -> Path:
    for path in (Path(name), base / name):
        if path.is_file():
            return path
    raise UsageError(f"the label map {name} is not a file.", hint="Mend --label-map.")


def _nearest_map(path: Path, base: Path) -> Path | None:
    """The label map in the folder of a file, or in one above it, up to ``base``."""
    folder = path.parent
    while True:
        maps = sorted(entry for entry in folder.glob("*.pbtxt") if entry.is_file())
        usual = [entry for entry in maps if entry.name.lower() == "label_map.pbtxt"]
        likely = [entry for entry in maps if "label" in entry.name.lower()]
        for found in (usual, likely, maps):
            if len(found) == 1:
                return found[0]
        if maps:
            names = ", ".join(entry.name for entry in (likely or maps)[:5])
            raise UsageError(
                f"{folder} has several label maps: {names}.",
                hint="Choose one of them with --label-map.",
            )
        if folder == base:
            return None
        folder = folder.parent
