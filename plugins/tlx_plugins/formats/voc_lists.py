"""Text files beside VOC annotations: which image is in which split, and the order of classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from tlx.context import Context
from tlx.folder_walk import join
from tlx.issues import Issue
from tlx.split_names import folder_split
from tlx_plugins.formats.voc_layout import LabelFile, Layout

CLASS_LISTS = ("labels.txt", "classes.txt", "predefined_classes.txt", "labelmap.txt")
"""Files that name the classes in order; CVAT's labelmap.txt has colours behind them."""

SETS = "ImageSets/Main"
MASK_SETS = "ImageSets/Segmentation"
_WORDS = frozenset({"train", "val", "trainval", "test"})
_EVERYTHING = frozenset({"list", "all", "default"})


class Splits:
    """The split of each annotation file, by base folder and key (`LabelFile.key`)."""

    def __init__(self, layout: Layout, context: Context) -> None:
        self.layout = layout
        self.context = context
        self.by_key: dict[tuple[str, str], str] = {}
        self.files: list[Path] = []
        self.listed: dict[str, set[str]] = {}
        known: dict[str, set[str]] = {}
        for file in layout.files:
            known.setdefault(file.base, set()).add(file.key)
        for base in layout.bases():
            self._read_base(base, known[base])

    def of(self, file: LabelFile) -> str | None:
        """The split that a list says, or else a folder named train, valid, test, ..."""
        if self.listed:
            return self.by_key.get((file.base, file.key))
        return folder_split(file.path)

    def of_image(self, base: str, key: str, path: str) -> str | None:
        """The same for an image without a file."""
        return self.by_key.get((base, key)) if self.listed else folder_split(path)

    def _read_base(self, base: str, known: set[str]) -> None:
        # The finer list wins: an image of train is in trainval too.
        names = self._lists(base)
        for split in sorted(names, key=lambda name: name == "trainval"):
            keys = self._keys(names[split], known)
            self.listed.setdefault(base, set()).update(keys)
            for key in keys:
                earlier = self.by_key.setdefault((base, key), split)
                if split not in {earlier, "trainval"}:
                    message = f"{key} is in {earlier} too, which holds."
                    self._report("two-splits", message, names[split], "changed")
        if names:
            absent = sorted(self.listed[base] - known)
            if absent:
                message = f"{len(absent)} listed images have no XML: {', '.join(absent[:3])}."
                self._report("listed-only", message, base or ".", "kept")
            missed = sorted(known - self.listed[base])
            if missed:
                message = f"{len(missed)} labelled images are in no list: {', '.join(missed[:3])}."
                self._report("unlisted", message, base or ".", "kept")

    def _lists(self, base: str) -> dict[str, str]:
        """Split name to list file: of ImageSets/Main, or the usual names beside the labels."""
        folder = join(base, SETS)
        inside = {
            path.rpartition("/")[2][:-4]: path
            for path in self.layout.texts
            if path.rpartition("/")[0] == folder
        }
        if inside:
            # car_train.txt says which images of train show a car; the labels say it better.
            return {
                unquote(name): path
                for name, path in inside.items()
                if name not in _EVERYTHING and name.rpartition("_")[2] not in {*inside} - {name}
            }
        homes = {base, *(file.home for file in self.layout.files if file.base == base)}
        homes |= {home.rpartition("/")[0] for home in homes if "/" in home}
        return {
            name: path
            for path in self.layout.texts
            if (name := path.rpartition("/")[2][:-4]) in _WORDS and path.rpartition("/")[0] in homes
        }

    def _keys(self, path: str, known: set[str]) -> list[str]:
        self.files.append(self.layout.root / path)
        keys = []
        for line in _lines(self.layout.root / path, self.context):
            if line in known:
                keys.append(line)
                continue
            text = line.strip()
            if text and not text.startswith("#"):
                first = text.split()[0]
                keys.append(first if first in known or text not in known else text)
        return keys

    def _report(self, code: str, message: str, path: str, action: str) -> None:
        place = str(self.layout.root / path)
        self.context.issues.report(Issue(code, message, place, action=action))


def class_list(layout: Layout, context: Context) -> tuple[list[str], Path | None]:
    """The classes of the first list that lies at the root or beside the annotations."""
    places = ["", *layout.bases(), *sorted({file.home for file in layout.files})]
    wanted = [join(place, name) for place in dict.fromkeys(places) for name in CLASS_LISTS]
    texts = set(layout.texts)
    path = next((path for path in wanted if path in texts), None)
    if path is None:
        return [], None
    names = []
    for line in _lines(layout.root / path, context):
        # CVAT: "name:color_rgb:parts:actions", with a comment for a header.
        name = line.split(":")[0] if path.endswith("labelmap.txt") else line
        if name.strip() and not (path.endswith("labelmap.txt") and name.startswith("#")):
            names.append(name)
    return list(dict.fromkeys(names)), layout.root / path


def _lines(path: Path, context: Context) -> Iterator[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"this list cannot be read: {error}."
        context.issues.report(Issue("bad-list", message, str(path)))
        return
    yield from re.split(r"\r\n|\n|\r", text)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list, one entry per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
