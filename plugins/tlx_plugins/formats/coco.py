"""COCO (cocodataset.org/#format-data): detection, instance outlines, masks, crowds, keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.bad_input import BadInputOptions
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.folder_walk import has_file
from tlx.issues import Issue
from tlx_plugins.fetching.reading import RemoteOptions

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx_plugins.formats.coco_file import AnnotationFile

_TRAITS = Traits(
    drops={
        "group": "COCO has no clips",
        "frame": "COCO has no frame numbers",
        "labels": "COCO has no image-level labels",
        "objects.shape": "COCO has no lines, ellipses and cuboids",
    },
    assumes={
        "objects.crowd": "COCO's evaluation needs iscrowd: not stated is written as 0",
        "objects.keypoints.visibility": "not stated is written as 2, visible",
        "objects.object_id": "COCO needs an id: not stated is written as a number from 1",
        "width": "COCO needs a size: not stated is read from the image",
        "height": "COCO needs a size: not stated is read from the image",
    },
    pixel_convention="absolute pixels, x, y, width, height, float, origin top left, continuous",
)


@dataclass(frozen=True)
class CocoOptions(BadInputOptions, RemoteOptions):
    """How COCO files are read and written."""

    annotations: str | None = None
    """Reading: the annotation file, relative to the folder that is read."""

    images: str | None = None
    """Reading: the folder of the images; found beside the annotation file by default.
    Images that the file names by a URL are found in a folder that tlx fetch has made."""

    split: str | None = None
    """Reading: the split of all images; by default what the file's name says
    (instances_val2017.json, valid/_annotations.coco.json)."""

    box_from: Literal["bbox", "outline"] = "bbox"
    """Reading: where the two differ, believe the bbox or the bounds of the polygons."""

    ids: Literal["source", "new"] = "source"
    """Writing: keep the ids of categories, images and annotations where all of a kind are known,
    whole numbers and unique; or count from 1."""

    media: Literal["reference", "copy", "hardlink", "symlink"] = "reference"
    """Writing: leave the images where they are, with file names relative to the dataset's media
    root, or bring them to images/ beside the annotations."""


class CocoFormat:
    """Reads a JSON file or a folder with such files; writes ``annotations/instances*.json``."""

    name = "coco"
    summary = "COCO JSON: boxes, polygons, masks, crowds, keypoints"
    options = CocoOptions

    def traits(self, options: CocoOptions) -> Traits:
        """What the format cannot hold, whatever the options."""
        del options
        return _TRAITS

    def sniff(self, root: Path) -> Match:
        """Look for JSON files that name COCO's sections near their start or end."""
        from tlx_plugins.formats.coco_file import find_files, looks_like_coco

        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        if root.is_file():
            if root.suffix.lower() == ".json" and looks_like_coco(root):
                return Match(met=(f"{root.name} has images, annotations and categories",))
            return Match(missing=(f"{root.name} is no JSON with images and annotations",))
        files, _ = find_files(root, None)
        if not files:
            return Match(missing=("no JSON with images and annotations",))
        names = ", ".join(file.path.relative_to(root).as_posix() for file in files[:3])
        return Match(met=(f"{len(files)} COCO file{'s' * (len(files) > 1)}: {names}",))

    def read(self, root: Path, options: CocoOptions, context: Context) -> Reading:
        """Open a file or folder; each file is decoded when its turn comes.

        The image id is the file name, relative to the folder of the images; the numeric id stays
        in the attribute ``coco_image_id``. One file is held in memory at a time.
        """
        from tlx_plugins.formats.coco_file import find_files
        from tlx_plugins.formats.coco_reader import CocoReader

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give a COCO file or its folder.")
        files, passed = find_files(root, options.annotations)
        if not files:
            raise _nothing_found(root, options.annotations)
        for path in passed:
            message = "passed over beside the instances files; read it by giving the file itself."
            context.issues.report(Issue("other-file", message, str(path), action="kept"))
        base = root if root.is_dir() else root.parent
        brought = _brought(root, files, options, context)
        images = options.images if brought is None else str(brought)
        folders = [_image_folder(file, base, images).absolute() for file in files]
        one_folder = images or root.is_file() or len({*folders}) == 1
        media_root = _common(folders) if one_folder else base.absolute()
        if any(not folder.is_relative_to(media_root) for folder in folders):
            media_root = _common([*folders, media_root])
        reader = CocoReader(
            root=base,
            media_root=media_root,
            files=list(zip(files, folders, strict=True)),
            options=options,
            context=context,
            fetching=brought is not None,
        )
        return Reading(
            media_root,
            reader.batches(),
            reader.classes.taxonomy,
            tuple(file.path for file in files),
            reader.notes,
        )

    def write(
        self, dataset: Dataset, dest: Path, options: CocoOptions, context: Context
    ) -> WriteReport:
        """Write one file per split: ``dest/annotations/instances_SPLIT.json``.

        Without splits it is ``instances.json``. A ``dest`` that ends in ``.json`` is one file.

        Raises:
            UsageError: If several splits should go into one file.
            DataError: If the size of an image is neither stated nor readable.
        """
        from tlx_plugins.formats.coco_writer import CocoWriter

        return CocoWriter(dataset, dest, options, context).write()


def _brought(
    root: Path, files: list[AnnotationFile], options: CocoOptions, context: Context
) -> Path | None:
    """The folder of the images that the user wants fetched, after they were; None if there is none.

    Raises:
        UsageError: If the images are said to be elsewhere too.
    """
    if options.fetch is None:
        return None
    if options.images is not None:
        raise UsageError(
            "--images and --fetch both say where the images are.",
            hint="Name the folder of images with --fetch alone.",
        )
    from tlx_plugins.fetching.exports import of_coco
    from tlx_plugins.fetching.reading import bring

    folder = Path(options.fetch).expanduser()
    return folder if bring(of_coco(files), root, folder, options, context) else None


def _nothing_found(root: Path, annotations: str | None) -> DataError | UsageError:
    if annotations is not None:
        return UsageError(f"{root / annotations} is not a file.", hint="Mend --annotations.")
    names = sorted(entry.name for entry in root.iterdir())
    found = f"found {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names else "empty"
    return DataError(
        "holds no COCO annotations: looked for annotations/*.json, _annotations.coco.json and "
        f"*.json with the keys images and annotations; {found}.",
        place=root,
        hint="Name the file itself, or the folder that holds it.",
    )


def _image_folder(file: AnnotationFile, base: Path, images: str | None) -> Path:
    """The folder that a file's names are relative to: the first where an image lies."""
    folder = file.path.parent
    if images is not None:
        for chosen in (Path(images), base / images):
            if chosen.is_dir():
                return chosen
        raise UsageError(f"the folder of images {images} does not exist.", hint="Mend --images.")
    name = _first_name(file.path)
    if name is None:
        return folder
    year = file.path.stem.removeprefix("instances_")
    above = folder.parent if folder.name.lower() == "annotations" else folder
    places = [folder, above, above / "images", above / "images" / year, above / year]
    places += [above / "data", above / "train2017", above / "val2017"]
    if file.split:
        places += [above / file.split, above / "images" / file.split]
    return next((place for place in places if has_file(place, name)), above)


def _first_name(path: Path) -> str | None:
    """The first ``file_name`` in a JSON file, without decoding all of it."""
    import json
    import re

    with path.open("rb") as file:
        match = re.search(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")', file.read(1 << 20))
    if match is None:
        return None
    try:
        name = str(json.loads(match[1]))
    except ValueError:
        return None
    return None if "\0" in name or len(name) > 1000 else name


def _common(folders: list[Path]) -> Path:
    import os

    return Path(os.path.commonpath([folder.absolute() for folder in folders]))
