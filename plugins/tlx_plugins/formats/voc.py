"""Pascal VOC (host.robots.ox.ac.uk/pascal/VOC) as its devkit, labelImg and many tools write it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.bad_input import BadInputOptions
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.media_transfer import Media

if TYPE_CHECKING:
    from tlx.dataset import Dataset

_QUICK_LOOK = 20_000
_HEAD = 4096

_TRAITS = Traits(
    drops={
        "group": "Pascal VOC has no clips",
        "frame": "Pascal VOC has no frame numbers",
        "labels": "Pascal VOC has no image-level labels",
        "objects.keypoints": "Pascal VOC has no keypoints",
        "objects.shape": "Pascal VOC has no lines, ellipses and cuboids",
        "objects.segmentation.counts": "masks are written only with --masks",
    },
    assumes={
        "objects.box": "Pascal VOC needs a box: not stated is taken from the polygons",
        "width": "Pascal VOC needs a size: not stated is read from the image",
        "height": "Pascal VOC needs a size: not stated is read from the image",
    },
    pixel_convention="xmin, ymin, xmax, ymax in pixels; counted from 1 with both ends inclusive, "
    "or with base 0 continuous and half open",
)

_HIDDEN = "a pixel belongs to one object: where they overlap the smaller one is drawn"


@dataclass(frozen=True)
class VocOptions(BadInputOptions):
    """How Pascal VOC and labelImg folders are read and written."""

    annotations: str | None = None
    """Reading: the folder of the XML files, relative to the folder that is read; found by its name
    (Annotations, annotations/xmls) by default, or else every XML counts."""

    images: str | None = None
    """Reading: the folder of the images; found by default (JPEGImages, images, beside the XML)."""

    base: Literal["auto", "0", "1"] = "auto"
    """How corners count. 1: from 1, inclusive, as Pascal VOC says. 0: from 0, half open, as many
    tools write. Reading with auto: what a file states by pixel_base, as tlx writes it; for other
    files 1 unless any corner is 0, and what was decided is said. Writing with auto: 1."""

    split: str | None = None
    """Reading: the split of all images; by default what ImageSets/Main, lists such as trainval.txt
    beside the labels, or else folders named train, valid, test say."""

    size_from: Literal["xml", "image"] = "xml"
    """Reading: where the two differ, believe the size in the XML or that of the image as stored."""

    unlabelled: Literal["leave", "negative"] = "leave"
    """Reading: leave out images without an XML, as nobody has labelled them yet, or take them as
    images without objects."""

    encoding: str | None = None
    """Reading: the encoding of the XML files, overruling what they say."""

    corners: Literal["exact", "integer"] = "exact"
    """Writing: corners with all their decimals, or rounded to whole pixels for programs that read
    nothing else."""

    masks: bool = False
    """Writing: draw polygons and masks into the palette images of SegmentationObject and
    SegmentationClass, and list their images in ImageSets/Segmentation."""

    media: Media = "reference"
    """Writing: leave the images where they are, or bring them to JPEGImages/."""


class VocFormat:
    """Reads XML folders in all known layouts; writes a devkit folder with one XML per image."""

    name = "voc"
    summary = "Pascal VOC and labelImg XML: boxes, flags, polygons"
    options = VocOptions

    def traits(self, options: VocOptions) -> Traits:
        """What the format cannot hold; it depends on how corners and masks are written."""
        drops, rounds = {**_TRAITS.drops}, {**_TRAITS.rounds}
        if options.corners == "integer":
            rounds["objects.box"] = "to whole pixels, never to nothing"
        if options.masks:
            del drops["objects.segmentation.counts"]
            rounds["objects.segmentation.counts"] = _HIDDEN
        return replace(_TRAITS, drops=drops, rounds=rounds)

    def sniff(self, root: Path) -> Match:
        """Look at the first XML files for the root element of Pascal VOC."""
        from tlx.folder_walk import walk

        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        if root.is_file():
            if root.suffix.lower() == ".xml" and _looks_like_voc(root):
                return Match(met=(f"{root.name} has <annotation> as its root",))
            return Match(missing=(f"{root.name} is no XML with the root <annotation>",))
        looked = 0
        for folder, names in islice(walk(root), _QUICK_LOOK):
            for name in names:
                if name.lower().endswith(".xml") and looked < 20:
                    looked += 1
                    if _looks_like_voc(root / folder / name):
                        path = Path(folder, name).as_posix()
                        return Match(met=(f"{path} has <annotation> as its root",))
        return Match(missing=("no XML with the root <annotation>",))

    def read(self, root: Path, options: VocOptions, context: Context) -> Reading:
        """Open a folder, an annotation folder in it, or one XML file.

        The image id is the path of the image below the folder of the images, or below ``root``
        where there are several such folders. The first file is parsed by itself; then some hundred
        are read at a time, and those that are plain (`voc_markup`) are taken apart together. While
        no file states how its corners count, all are looked through once before the first is
        parsed.
        """
        from tlx_plugins.formats.voc_layout import scan
        from tlx_plugins.formats.voc_reader import VocReader

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give the folder of the XML files.")
        for name, value in (("annotations", options.annotations), ("images", options.images)):
            if value is not None and not ((root / value).is_dir() or Path(value).is_dir()):
                raise UsageError(f"the folder {value} does not exist.", hint=f"Mend --{name}.")
        layout = scan(root, options.annotations)
        if not layout.files:
            names = sorted(entry.name for entry in layout.root.iterdir())
            found = f"found {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
            raise DataError(
                f"holds no XML file; {found if names else 'it is empty'}.",
                place=root,
                hint="Give the folder that holds Annotations and JPEGImages, or labelImg's files.",
            )
        reader = VocReader(layout, options, context)
        return Reading(
            reader.media_root,
            reader.content(),
            reader.taxonomy,
            tuple(
                [layout.root / file.path for file in layout.files]
                + reader.splits.files
                + ([reader.class_file] if reader.class_file else [])
            ),
        )

    def write(
        self, dataset: Dataset, dest: Path, options: VocOptions, context: Context
    ) -> WriteReport:
        """Write ``Annotations/*.xml``, ``ImageSets/Main/SPLIT.txt`` and ``labels.txt``.

        Sub-folders of the images are kept below Annotations. Every image gets a file, with or
        without objects; flags and poses are written where they are stated.

        Raises:
            DataError: If the size of an image is neither stated nor readable, or something cannot
                be said in XML, under the policy ``fail``.
        """
        from tlx_plugins.formats.voc_writer import VocWriter

        return VocWriter(dataset, dest, options, context).write()


def _looks_like_voc(path: Path) -> bool:
    """Whether the first element is <annotation>; an empty line may come before it."""
    import re

    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode()
    head = re.sub(rb"<\?.*?\?>|<!--.*?-->", b"", head, flags=re.DOTALL)
    return re.match(rb"[\s\xef\xbb\xbf]*<annotation[\s>/]", head) is not None
