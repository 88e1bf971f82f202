"""CVAT (cvat.ai) as a source: "CVAT for images 1.1" and "CVAT for video 1.1"."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlx.api import Match, Reading
from tlx.bad_input import BadInputOptions, duplicate_action, duplicate_hint
from tlx.context import Context
from tlx.errors import UsageError
from tlx.issues import Issue

_QUICK_LOOK = 5000


@dataclass(frozen=True)
class CvatOptions(BadInputOptions):
    """How CVAT files are read."""

    images: str | None = None
    """The folder of the images; found beside the XML by default (images/, images/SUBSET/, or the
    XML's own folder)."""

    extract: str | None = None
    """Extract the images of a zip file to this new folder; without it nothing is extracted, and
    the zip has to be unpacked before training."""

    split: str | None = None
    """The split of all images; by default the subset that CVAT states."""

    interpolate: bool = True
    """Fill the frames between two keyframes of a track as CVAT does; without, a track stands only
    in the frames that the file states."""

    open_tracks: Literal["end", "hold"] = "end"
    """What becomes of a track that is still visible in the last shape that the file states for it:
    it ends there, or it stands still until the last frame of the task, as CVAT shows files that
    state keyframes only."""

    empty_frames: Literal["found", "all", "none"] = "found"
    """Frames of a video without any shape, which are images without objects: those whose image is
    there; all that the file counts; or none."""

    outline_boxes: bool = True
    """Give polygons, masks, ellipses and cuboids the box around them, for training detectors;
    without, only boxes that were drawn are boxes."""

    missing_images: Literal["report", "keep"] = "report"
    """An image that is not there while others are: a bad record (see --on-error), or kept and
    noted. Where there is no image at all, all records are kept."""

    image_sizes: bool = True
    """Compare the size of each image with the one in the file."""


class CvatSource:
    """Reads an XML file, an exported zip, or a folder of several jobs."""

    name = "cvat"
    summary = "CVAT for images 1.1 and for video 1.1: XML, exported zip, or a folder of jobs"
    options = CvatOptions

    def sniff(self, root: Path) -> Match:
        """Look at the beginnings of XML files, plain and in zip files."""
        from tlx.errors import DataError
        from tlx_plugins.sources import cvat_files

        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        try:
            files = cvat_files.find(root, limit=_QUICK_LOOK).files
        except DataError as error:
            return Match(missing=(str(error),))
        if not files:
            return Match(missing=("no XML with CVAT's <annotations>, plain or in a zip file",))
        names = ", ".join(file.origin for file in files[:3])
        return Match(met=(f"{len(files)} CVAT file{'s' * (len(files) > 1)}: {names}",))

    def read(self, root: Path, options: CvatOptions, context: Context) -> Reading:
        """Find the CVAT files; each is streamed when its turn comes.

        The image id is the name in the file, after the subset and the folder of the job; frames of
        a video are ``frame_000012``. One image, or the open tracks at one frame, is in memory.
        """
        from tlx_plugins.sources import cvat_files
        from tlx_plugins.sources.cvat_reader import CvatReader

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give CVAT's XML, zip or a folder.")
        extract = None
        if options.extract is not None and not context.dry_run:
            extract = Path(options.extract)
        found = cvat_files.find(root, extract)
        if not found.files:
            raise cvat_files.nothing_found(root, found)
        for path in found.others:
            message = "is no CVAT file; passed over."
            context.issues.report(Issue("other-file", message, path, action="kept"))
        for path in found.repeated:
            message = "is extracted beside it; the extracted files are read."
            action = duplicate_action(options.duplicates, same=True)
            hint = duplicate_hint(options.duplicates)
            context.issues.report(Issue("duplicate-file", message, path, None, action, hint))
        if extract is not None:
            for zipped in {file.path: file for file in found.files if file.member}.values():
                cvat_files.extract_images(zipped)
        images = _image_folder(root, options.images)
        folders = [images] if images is not None else [file.base for file in found.files]
        if root.is_dir() and images is None and extract is None:
            folders = [root]
        media_root = Path(os.path.commonpath([folder.absolute() for folder in folders]))
        reader = CvatReader(found.files, media_root, images, options, context)
        files = tuple(dict.fromkeys(file.path for file in found.files))
        return Reading(media_root, reader.records(), reader.taxonomy, files)


def _image_folder(root: Path, images: str | None) -> Path | None:
    if images is None:
        return None
    base = root if root.is_dir() else root.parent
    for chosen in (Path(images), base / images):
        if chosen.is_dir():
            return chosen
    raise UsageError(f"the folder of images {images} does not exist.", hint="Mend --images.")
