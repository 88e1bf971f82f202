"""CVAT (cvat.ai): "CVAT for images 1.1" and "CVAT for video 1.1".

Source of the format: CVAT's manual, "XML annotation format", and
``cvat/apps/dataset_manager/formats/cvat.py`` (cvat-ai/cvat, MIT).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.bad_input import BadInputOptions, duplicate_action, duplicate_hint
from tlx.context import Context
from tlx.errors import UsageError
from tlx.issues import Issue
from tlx.media_transfer import Media

if TYPE_CHECKING:
    from tlx.dataset import Dataset

_QUICK_LOOK = 5000

_TRAITS = Traits(
    drops={
        "group": "CVAT for images has no clips",
        "frame": "CVAT for images has no frame numbers",
        "attributes": "only tags and objects have attributes",
        "labels.present": "CVAT has only labels that are present",
        "objects.object_id": "CVAT makes its own ids",
        "objects.track": "CVAT for images has no tracks",
    },
    rounds={"objects.segmentation.compressed": "masks come back from CVAT's own run lengths"},
    assumes={
        "objects.box": "an outline comes back with the box around it",
        "width": "CVAT has the size of each image: not stated is read from the image",
        "height": "CVAT has the size of each image: not stated is read from the image",
        "objects.occluded": "CVAT fails without it: not stated is written as 0",
        "objects.keypoints.visibility": "of named points not stated is written as visible",
        "objects.keypoints.name": "points with visibility and without names are named 1, 2, ...",
    },
    beside={
        "objects.box": "objects.segmentation",
        "objects.keypoints.visibility": "objects.keypoints.name",
        "objects.keypoints.name": "objects.keypoints.visibility",
    },
    keeps={"attributes": ("cvat_image_id", "cvat_task_id"), "labels.present": (True,)},
    pixel_convention="absolute pixels, float, origin top left, half open; masks in whole pixels",
)
_DRAWN = "one shape for an object, chosen by --draw"
_UNDRAWN = {
    # Draw: what is lost of which objects, namely those that state the other field too.
    "outline": {"objects.keypoints": "objects.box"},
    "box": {
        "objects.segmentation": "objects.box",
        "objects.shape": "objects.box",
        "objects.keypoints": "objects.box",
    },
    "keypoints": {
        "objects.box": "objects.keypoints",
        "objects.segmentation": "objects.keypoints",
        "objects.shape": "objects.keypoints",
    },
}


@dataclass(frozen=True)
class CvatOptions(BadInputOptions):
    """How CVAT files are read and written."""

    images: str | None = None
    """Reading: the folder of the images; found beside the XML by default (images/, images/SUBSET/,
    or the XML's own folder)."""

    extract: str | None = None
    """Reading: extract the images of a zip file to this new folder; without it nothing is
    extracted, and the zip has to be unpacked before training."""

    split: str | None = None
    """Reading: the split of all images; by default the subset that CVAT states."""

    interpolate: bool = True
    """Reading: fill the frames between two keyframes of a track as CVAT does; without, a track
    stands only in the frames that the file states."""

    open_tracks: Literal["end", "hold"] = "end"
    """Reading: what becomes of a track that is still visible in the last shape that the file
    states for it: it ends there, or it stands still until the last frame of the task, as CVAT
    shows files that state keyframes only."""

    empty_frames: Literal["found", "all", "none"] = "found"
    """Reading: frames of a video without any shape, which are images without objects: those whose
    image is there; all that the file counts; or none."""

    outline_boxes: bool = True
    """Reading: give polygons, masks, ellipses and cuboids the box around them, for training
    detectors; without, only boxes that were drawn are boxes."""

    missing_images: Literal["report", "keep"] = "report"
    """Reading: an image that is not there while others are: a bad record (see --on-error), or kept
    and noted. Where there is no image at all, all records are kept."""

    image_sizes: bool = True
    """Reading: compare the size of each image with the one in the file."""

    groups: Literal["keep", "join"] = "keep"
    """Reading: polygons of one label in one group are objects of their own, or the parts of one
    object, as CVAT's own export to COCO takes them."""

    draw: Literal["outline", "box", "keypoints"] = "outline"
    """Writing: what an object is drawn as that has several of these, as CVAT has one shape for an
    object; those that are drawn as another than their box or outline are counted."""

    images_per_task: int = 0
    """Writing: cut the images of a split into tasks of at most that many, each with an XML of its
    own; 0 makes one task of each split."""

    media: Media = "reference"
    """Writing: leave the images where they are, or bring them to images/, to upload them to
    CVAT."""


class CvatFormat:
    """Reads an XML file, an exported zip, or a folder of several jobs; writes an XML per task."""

    name = "cvat"
    summary = "CVAT for images 1.1 and for video 1.1: XML, exported zip, or a folder of jobs"
    options = CvatOptions

    def traits(self, options: CvatOptions) -> Traits:
        """What CVAT cannot hold; an object is drawn as one shape, which the options choose."""
        undrawn = _UNDRAWN[options.draw]
        return replace(
            _TRAITS,
            drops={**_TRAITS.drops, **dict.fromkeys(undrawn, _DRAWN)},
            assumes={name: why for name, why in _TRAITS.assumes.items() if name not in undrawn},
            beside={**_TRAITS.beside, **undrawn},
        )

    def sniff(self, root: Path) -> Match:
        """Look at the beginnings of XML files, plain and in zip files."""
        from tlx.errors import DataError
        from tlx_plugins.formats import cvat_files

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
        a video are ``frame_000012``. What is written as CVAT writes it goes through columns, a
        few megabytes of the file at a time, anything else image by image, or by the open tracks
        at one frame, with the same result.
        """
        from tlx_plugins.formats import cvat_files
        from tlx_plugins.formats.cvat_reader import CvatReader

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
        return Reading(media_root, reader.batches(), reader.taxonomy, files)

    def write(
        self, dataset: Dataset, dest: Path, options: CvatOptions, context: Context
    ) -> WriteReport:
        """Write ``annotations.xml``, or ``SPLIT.xml`` for each split, and ``images/``.

        Each file is one task with the split as its subset, and declares all labels with the
        attributes that the dataset states. The dataset is read twice.
        """
        from tlx_plugins.formats.cvat_writer import CvatWriter

        return CvatWriter(dataset, dest, options, context).write()


def _image_folder(root: Path, images: str | None) -> Path | None:
    if images is None:
        return None
    base = root if root.is_dir() else root.parent
    for chosen in (Path(images), base / images):
        if chosen.is_dir():
            return chosen
    raise UsageError(f"the folder of images {images} does not exist.", hint="Mend --images.")
