"""Which CVAT files a path holds, and where their images lie.

A path is an XML file, an exported zip, or a folder with any number of either (several jobs, each
in a folder of its own). CVAT's export is ``annotations.xml`` beside ``images/``, of a project
``images/SUBSET/``.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from tlx.errors import DataError, UsageError
from tlx.fetched import FetchedImages
from tlx.folder_walk import has_file
from tlx.media import IMAGE_SUFFIXES
from tlx_plugins import safe_zip

_HEAD = 1 << 15
_ROOT = re.compile(r"<annotations[\s>]")
_INSIDE = re.compile(r"<(?:version|meta|image|track)[\s>/]")
_FRAME = re.compile(r"frame_(\d{1,9})(?:\.\w+)?", re.IGNORECASE)
_QUICK_LOOK = 2000


@dataclass(frozen=True, slots=True)
class LabelFile:
    """One CVAT XML.

    Attributes:
        path: The XML file, or the zip file that it is in.
        member: Its name in the zip file; None for a plain file.
        shown: Its place for messages.
        origin: Its place relative to what is read.
        prefix: What its image ids begin with: the folder that it is in, or nothing.
        folder: What the images lie below.
        base: The folder of what is read, or the one that the zip file is extracted to.
    """

    path: Path
    member: str | None
    shown: str
    origin: str
    prefix: str
    folder: Path
    base: Path

    @property
    def stem(self) -> str:
        """The name of the XML without its ending."""
        return PurePosixPath(self.member or self.path.name).stem

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """Its bytes.

        Raises:
            DataError: If it cannot be read.
        """
        try:
            if self.member is None:
                with self.path.open("rb") as file:
                    yield file
                return
            with safe_zip.opened(self.path) as archive:
                info = dict(safe_zip.members(archive))[self.member]
                with safe_zip.open_member(archive, info) as packed:
                    yield cast("BinaryIO", packed)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}.", place=self.shown) from error


@dataclass(slots=True)
class Found:
    """What a path holds.

    Attributes:
        files: CVAT files, sorted.
        others: XML and zip files that are something else.
        repeated: Zip files whose extracted folder is read in their place.
        entries: How many files were looked at.
    """

    files: list[LabelFile] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    entries: int = 0


def find(root: Path, extract: Path | None = None, limit: int | None = None) -> Found:
    """Look for CVAT files.

    Args:
        root: An XML file, a zip file, or a folder.
        extract: Where images of zip files are extracted to, if they are.
        limit: Look at no more files than that.
    """
    found = Found()
    if root.is_file():
        _look(root, root.parent, found, extract, alone=True)
        return found
    for path in _walk(root):
        found.entries += 1
        if limit is not None and found.entries > limit:
            break
        if path.suffix.lower() in {".xml", ".zip"}:
            _look(path, root, found, extract, alone=False)
    return found


def _walk(root: Path) -> Iterator[Path]:
    """Files below a folder in sorted order; links to folders are not followed."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)


def _look(path: Path, root: Path, found: Found, extract: Path | None, *, alone: bool) -> None:
    relative = path.relative_to(root)
    if path.suffix.lower() != ".zip" and not _is_zip(path):
        if not path.is_file() or not _is_cvat(_head(path)):
            found.others.append(str(path))
            return
        prefix = "" if alone else _prefix(relative.parent)
        origin = relative.as_posix()
        found.files.append(LabelFile(path, None, str(path), origin, prefix, path.parent, root))
        return
    inside = _inside_zip(path)
    folder = path.with_suffix("")
    if not inside:
        found.others.append(str(path))
    elif all(has_file(folder, name) for name in inside) and not alone:
        found.repeated.append(str(path))
    else:
        base = Path() if alone else relative.with_suffix("")
        target = folder if extract is None else extract / base
        for name in inside:
            inner = PurePosixPath(name).parent
            found.files.append(
                LabelFile(
                    path=path,
                    member=name,
                    shown=f"{path}/{name}",
                    origin=f"{relative.as_posix()}/{name}",
                    prefix=_prefix(Path(base, inner)),
                    folder=Path(target, inner),
                    base=target,
                )
            )


def _prefix(folder: Path) -> str:
    return "" if folder == Path() else folder.as_posix() + "/"


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() != ".xml" and _head(path).startswith(b"PK\x03\x04")


def _inside_zip(path: Path) -> list[str]:
    """The CVAT files in a zip file; none for what cannot be opened."""
    names = []
    try:
        with safe_zip.opened(path) as archive:
            for name, info in safe_zip.members(archive):
                if name.lower().endswith(".xml"):
                    with safe_zip.open_member(archive, info) as stream:
                        if _is_cvat(stream.read(_HEAD)):
                            names.append(name)
    except OSError:
        return []
    return names


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _is_cvat(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a CVAT XML, in whichever Unicode."""
    encoding = "utf-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    text = head.decode(encoding, "replace")
    root = _ROOT.search(text)
    return root is not None and _INSIDE.search(text, root.end()) is not None


class ImageFinder:
    """Finds the images of one CVAT file.

    Args:
        file: The CVAT file.
        media_root: What the uri of a record is relative to.
        images: The folder that the user named, if any.
    """

    def __init__(self, file: LabelFile, media_root: Path, images: Path | None) -> None:
        self.file = file
        self.media_root = media_root
        self.base = file.folder if images is None else images
        self.named = images is not None
        self._folders: dict[str, bool] = {}
        self._stems: dict[str, dict[str, str]] = {}
        self._prefix = _relative(self.base, media_root)
        self._fetched = FetchedImages(self.base)
        self._root = self.base.as_posix() + "/"
        self.any = _has_image(self.base)
        """Whether there is any image at all; without, nothing is looked for."""

    def find(self, subset: str, name: str) -> str | None:
        """The uri of an image, None if it is not there."""
        if "://" in name:
            brought = self._fetched.find(name)
            return None if brought is None else self._prefix + brought
        if not self.any:
            return None
        for folder in self._places(subset):
            relative = folder + name
            parent, _, last = relative.rpartition("/")
            if not self._is_folder(parent):
                continue
            if os.path.isfile(self._root + relative):  # noqa: PTH113 - called for each image
                return self._prefix + relative
            if "." not in last:
                with_ending = self._by_stem(parent).get(last)
                if with_ending is not None:
                    return self._prefix + (f"{parent}/{with_ending}" if parent else with_ending)
        return None

    def expected(self, subset: str, name: str) -> str:
        """The uri that an image would have in CVAT's export with images."""
        if "://" in name:
            return name
        inner = "" if self.named else "images/"
        return f"{self._prefix}{inner}{subset + '/' if subset else ''}{name}"

    def frames(self, subset: str) -> dict[int, str]:
        """Frames of a video, extracted as CVAT names them: number and uri."""
        found: dict[int, str] = {}
        if not self.any:
            return found
        for folder in self._places(subset):
            parent = folder.removesuffix("/")
            if not self._is_folder(parent):
                continue
            for name in sorted(_names(self.base / parent)):
                match = _FRAME.fullmatch(name)
                if match and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    found.setdefault(int(match[1]), self._prefix + folder + name)
        return found

    def _places(self, subset: str) -> tuple[str, ...]:
        plain = ("images/", "")
        return (f"images/{subset}/", f"{subset}/", *plain) if subset else plain

    def _is_folder(self, relative: str) -> bool:
        known = self._folders.get(relative)
        if known is None:
            if len(self._folders) > 10_000:
                self._folders.clear()
            known = self._folders[relative] = (self.base / relative).is_dir()
        return known

    def _by_stem(self, relative: str) -> dict[str, str]:
        """Images of a folder by their name without ending."""
        known = self._stems.get(relative)
        if known is None:
            names = sorted(_names(self.base / relative), reverse=True)
            known = {
                name.rpartition(".")[0]: name
                for name in names
                if Path(name).suffix.lower() in IMAGE_SUFFIXES
            }
            self._stems = {relative: known}
        return known


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is needed
    except OSError:
        return []


def _relative(folder: Path, media_root: Path) -> str:
    relative = folder.absolute().relative_to(media_root.absolute()).as_posix()
    return "" if relative == "." else relative + "/"


def _has_image(folder: Path) -> bool:
    """Whether an image lies in a folder or its ``images``, among the first few thousand files."""
    seen = 0
    for place in (folder / "images", folder):
        for _, folders, names in os.walk(place):
            folders.sort()
            for name in names:
                if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    return True
                seen += 1
            if seen > _QUICK_LOOK:
                break
    return False


def images_in_zip(file: LabelFile) -> int:
    """How many images lie in the zip file of a CVAT file."""
    if file.member is None:
        return 0
    with safe_zip.opened(file.path) as archive:
        return sum(_is_image(name) for name, _ in safe_zip.members(archive))


def extract_images(file: LabelFile) -> int:
    """Write the images of a zip file below its base, a new folder.

    Raises:
        UsageError: If the folder exists.
        DataError: If the zip file is broken or a bomb.
    """
    with safe_zip.opened(file.path) as archive:
        chosen = [pair for pair in safe_zip.members(archive) if _is_image(pair[0])]
        return safe_zip.extract(archive, chosen, file.base)


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def nothing_found(root: Path, found: Found) -> DataError | UsageError:
    """The error for a path without any CVAT file."""
    if root.is_file():
        return DataError(
            "is no CVAT XML 1.1: looked for <annotations> with <meta>, <image> or <track>.",
            place=root,
            hint="Give the annotations.xml or the zip that CVAT exports as 'CVAT for images 1.1' "
            "or 'CVAT for video 1.1'.",
        )
    others = f"; {len(found.others)} XML or zip files are something else" if found.others else ""
    return DataError(
        f"holds no CVAT XML or zip file among its {found.entries} files{others}.",
        place=root,
        hint="Give the folder with annotations.xml, or the exported zip.",
    )
