"""Which image a VOC file labels, and where it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.folder_walk import join
from tlx_plugins.formats import voc_layout
from tlx_plugins.formats.voc_layout import Images, LabelFile, Layout
from tlx_plugins.formats.voc_xml import VocImage

if TYPE_CHECKING:
    from tlx_plugins.formats.voc import VocOptions

Report = Callable[[str, str, int | None, str, str | None], None]
"""Takes code, message, line, action and hint of an issue about the file at hand."""


class ImageFinder:
    """Finds the images of a layout.

    Args:
        layout: Where everything lies.
        options: The user's choices.
        report: Takes issues.

    Attributes:
        media_root: What the images are named relative to.
        prefix: Its path below the layout's root.
        images: The images by folder, relative to it.
    """

    def __init__(self, layout: Layout, options: VocOptions, report: Report) -> None:
        self.layout = layout
        self.options = options
        self._report = report
        self.media_root, self.prefix, self.images = self._media()
        self.folders: dict[str, list[str]] = {}

    def find(self, file: LabelFile, image: VocImage, *, verbatim: bool) -> str | None:
        """The image of a file, relative to the media root; None if there should be one."""
        if image.path is not None and "://" in image.path:
            return image.path
        name = image.filename or ""
        if not verbatim:
            name = name.replace("\\", "/")
        name = name.rpartition("/")[2]
        found = self._find(file, image, name)
        if found is not None:
            return found
        if self.images:
            message = f"the image {name or file.stem!r} is not here."
            hint = "Put it in its place, or go on without it: --on-error skip"
            self._report("missing-image", message, image.line, "skipped", hint)
            return None
        if not name:
            message = "names no image; it is taken to be named like this file."
            self._report("no-filename", message, image.line, "kept", None)
        inner = join(file.home, file.below) if file.home and not self.prefix else file.below
        if self.options.images is not None:
            inner = file.below
        return join(inner, name or file.stem)

    def _find(self, file: LabelFile, image: VocImage, name: str) -> str | None:
        """Look where the layouts put images: first for the stated name, then for the file's own."""
        if not self.images:
            return None
        folders = self._folders(file)
        if image.folder is not None:
            folders = [*folders, join(file.base, image.folder.strip("/"))]
        for folder in folders:
            if name in self.images[folder].names if folder in self.images else False:
                return join(folder, name)
        for folder in folders:
            images = self.images.get(folder)
            if images is None:
                continue
            stem = file.stem
            near = images.by_stem.get(stem) or images.by_stem.get(stem.lower())
            if near:
                exact = [one for one in near if one.rpartition(".")[0] == stem]
                found = (exact or near)[0]
                if name:
                    message = f"the image {name} is not here; {found} is, and is taken."
                    self._report("other-name", message, image.line, "kept", None)
                return join(folder, found)
        return None

    def _folders(self, file: LabelFile) -> list[str]:
        """Where the image of a file may lie, relative to the media root, likely places first."""
        key = join(file.home, file.below)
        known = self.folders.get(key)
        if known is None:
            if self.prefix or self.options.images is not None:
                known = [file.below, ""]
            else:
                inner = self.layout.image_folder(file.base)
                known = [key]
                if inner is not None:
                    known += [join(inner, file.below), inner]
                known += [join(file.base, file.below), file.base]
            known = self.folders[key] = list(dict.fromkeys(known))
        return known

    def _media(self) -> tuple[Path, str, dict[str, Images]]:
        """The media root, its path below the layout's root, and the images by folder."""
        layout, option = self.layout, self.options.images
        if option is not None:
            inside = layout.root / option
            root = inside if inside.is_dir() else Path(option)
            return root, "", voc_layout.scan(root).images
        homes = {file.home for file in layout.files}
        bases = layout.bases()
        if "" in homes or len(bases) != 1 or any(home in layout.images for home in homes):
            return layout.root, "", layout.images
        base = bases[0]
        folder = layout.image_folder(base)
        if folder is None and base not in layout.images and not layout.images:
            usual = "images" if next(iter(homes)).rpartition("/")[2].islower() else "JPEGImages"
            folder = join(base, usual)
        if folder is None:
            return layout.root, "", layout.images
        start = folder + "/"
        inner = {
            name[len(start) :]: images
            for name, images in layout.images.items()
            if name == folder or name.startswith(start)
        }
        return layout.root / folder, folder, inner
