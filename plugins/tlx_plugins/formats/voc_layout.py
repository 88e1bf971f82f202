"""Where the parts of a Pascal VOC or labelImg folder lie.

Known layouts, at any depth below the root and side by side::

    VOC devkit       VOC2012/{Annotations, JPEGImages, ImageSets/Main, SegmentationObject}
    pets             annotations/{xmls, trainval.txt, test.txt}, images
    two folders      annotations, images (other spellings too)
    labelImg         an XML beside each image; train/, valid/, test/ are splits

An XML of ``Annotations/SUB/`` belongs to an image of ``JPEGImages/SUB/``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tlx.folder_walk import is_text, join, walk
from tlx.media import IMAGE_SUFFIXES
from tlx_plugins.formats.voc_masks import FOLDER

ANNOTATION_FOLDERS = ("annotations", "annotation", "xmls", "xml")
IMAGE_FOLDERS = ("jpegimages", "images", "image", "imgs", "img")
MASK_FOLDERS = ("segmentationclass", "segmentationobject", "trimaps")


class LabelFile(NamedTuple):
    """An XML file: its path, the annotation folder it lies in, and what that belongs to.

    All are relative to the layout's root, with slashes; ``""`` is the root itself. ``below`` is
    the path of the file's folder below ``home``. Where no folder is named after annotations,
    ``home`` is ``""`` and the image is looked for beside the file first.
    """

    path: str
    base: str
    home: str
    below: str

    @property
    def stem(self) -> str:
        """The name of the file without its ending."""
        return self.path.rpartition("/")[2][:-4]

    @property
    def key(self) -> str:
        """How a list of images names it: the path below the annotation folder, no ending."""
        return join(self.below, self.stem)


@dataclass(slots=True)
class Images:
    """The images of one folder, found by name, by stem, and by stem in any case."""

    names: set[str] = field(default_factory=set)
    by_stem: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Take in the next image; names come sorted."""
        self.names.add(name)
        stem = name.rpartition(".")[0]
        self.by_stem.setdefault(stem, []).append(name)
        if stem.lower() != stem:
            self.by_stem.setdefault(stem.lower(), []).append(name)


@dataclass(slots=True)
class Layout:
    """What was found below a root.

    Attributes:
        root: The folder that all paths are relative to.
        files: The XML files, sorted.
        passed: Folders with XML files that were passed over, with their number.
        images: Folders with images, by path.
        masks: PNG files of SegmentationObject, by base folder and key (`LabelFile.key`).
        texts: Text files, sorted: lists of images and of classes.
        unnameable: Paths whose names are not text in any encoding.
    """

    root: Path
    files: list[LabelFile] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=dict)
    images: dict[str, Images] = field(default_factory=dict)
    masks: dict[tuple[str, str], str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    unnameable: list[str] = field(default_factory=list)

    def image_folder(self, base: str) -> str | None:
        """The folder beside the annotations that holds the images, if there is one."""
        inner = {
            folder[len(base) :].lstrip("/").partition("/")[0]
            for folder in self.images
            if folder.startswith(base + "/" if base else "") and folder != base
        }
        by_name = {name.lower(): name for name in sorted(inner, reverse=True)}
        found = next((by_name[name] for name in IMAGE_FOLDERS if name in by_name), None)
        return None if found is None else join(base, found)

    def bases(self) -> list[str]:
        """The folders that hold an annotation folder."""
        return sorted({file.base for file in self.files})


def top_of(path: Path) -> tuple[Path, str]:
    """The folder to search for a path that the user gave, and what to restrict XML files to.

    An annotation folder, or one file, is not the whole: its images lie beside it.
    """
    top = path.parent if path.is_file() else path
    restricted = path.is_file()
    while _is_annotation_folder(top.absolute().name):
        top, restricted = top.absolute().parent, True
    if not restricted:
        return top, ""
    return top, path.absolute().relative_to(top.absolute()).as_posix()


def _is_annotation_folder(name: str) -> bool:
    """A folder that the user points at may have a longer name: annotations_2024."""
    return name.lower() in ANNOTATION_FOLDERS or name.lower().startswith("annotation")


def scan(root: Path, annotations: str | None = None) -> Layout:
    """Walk a root once and note XML files, images and lists.

    Args:
        root: The folder, an annotation folder, or one XML file.
        annotations: The annotation folder, relative to the root, where its name does not say so.
    """
    top, only = top_of(root)
    if annotations is not None:
        only = join(only, annotations.strip("/"))
    home = only.rpartition("/")[0] if only.lower().endswith(".xml") else only
    if annotations is None and home.rpartition("/")[2].lower() in ANNOTATION_FOLDERS:
        home = ""
    layout = Layout(top)
    for folder, names in walk(top):
        masks = _mask_folder(folder)
        for name in names:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a hundred thousand times
            path = join(folder, name)
            if not (suffix in IMAGE_SUFFIXES or suffix in {".xml", ".txt"}):
                continue
            if not is_text(path):
                layout.unnameable.append(path)
            elif suffix == ".xml":
                if not only or path == only or path.startswith(only + "/"):
                    layout.files.append(_label_file(path, folder, home))
            elif suffix == ".txt":
                layout.texts.append(path)
            elif masks is not None:
                if masks.rpartition("/")[2].lower() == FOLDER and suffix == ".png":
                    key = path[len(masks) + 1 : -len(suffix)]
                    layout.masks[masks.rpartition("/")[0], key] = path
            else:
                layout.images.setdefault(folder, Images()).add(name)
    _choose(layout)
    return layout


def _mask_folder(folder: str) -> str | None:
    """The folder of masks that a folder is, or lies in."""
    parts = folder.split("/")
    found = next((n for n, part in enumerate(parts) if part.lower() in MASK_FOLDERS), None)
    return None if found is None else "/".join(parts[: found + 1])


def _label_file(path: str, folder: str, home: str) -> LabelFile:
    if home:
        below = folder[len(home) :].strip("/")
        return LabelFile(path, home.rpartition("/")[0], home, below)
    parts = folder.split("/") if folder else []
    for index, part in enumerate(parts):
        if part.lower() in ANNOTATION_FOLDERS:
            end = index + 1
            if end < len(parts) and parts[end].lower() in {"xmls", "xml"}:
                end += 1
            return LabelFile(
                path, "/".join(parts[:index]), "/".join(parts[:end]), "/".join(parts[end:])
            )
    return LabelFile(path, "", "", folder)


def _choose(layout: Layout) -> None:
    """Where an annotation folder says its name, XML files elsewhere need an image beside them.

    A second folder of labels for the same images would make each image appear twice.
    """
    if not any(file.home for file in layout.files):
        return
    kept = []
    for file in layout.files:
        if file.home or file.below in layout.images:
            kept.append(file)
        else:
            layout.passed[file.below] = layout.passed.get(file.below, 0) + 1
    layout.files = kept
