"""TFRecord files of the TF Object Detection API, read and written without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.bad_input import BadInputOptions
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.issues import Issue

if TYPE_CHECKING:
    from tlx.dataset import Dataset

_FLAG = "where another object of the image states it, not stated is written as 0"
_TRAITS = Traits(
    drops={
        "objects.segmentation": "written only with --masks",
        "objects.shape": "the API has no lines, ellipses and cuboids",
        "objects.rotation": "TensorFlow has no rotated boxes and sees the upright one; the angle "
        "comes back only to tlx",
        "objects.line": "the place of an object in its former file is not kept",
    },
    rounds={
        "objects.box": "written as fractions of the image's sides in 32 bits: pixels with up to "
        "three decimals come back the same, others to 7 digits",
        "objects.keypoints": "as boxes",
    },
    pixel_convention="fractions of width and height, 32-bit float, ymin, xmin, ymax, xmax, origin "
    "top left, half open",
    assumes={
        "objects.crowd": _FLAG,
        "objects.difficult": _FLAG,
        "objects.truncated": _FLAG,
        "objects.occluded": _FLAG,
        "objects.keypoints.visibility": "not stated is written as 2, visible",
        "width": "a record needs a size: not stated is read from the image",
        "height": "a record needs a size: not stated is read from the image",
    },
)


@dataclass(frozen=True)
class TfrecordOptions(BadInputOptions):
    """How TFRecord files are read and written."""

    images: str | None = None
    """Reading: a folder to write the images to that lie inside the records, which training and
    viewers need. Files there are never replaced. Without it the dataset has the labels only, and
    looks for the images, by their names in the records, beside the records."""

    label_map: str | None = None
    """Reading: the label map (.pbtxt); by default the one in the folder of the records, or in one
    above it."""

    split: str | None = None
    """Reading: the split of all images; by default what the record says, if tlx wrote it, or the
    name of the file or folder (train.record, valid/images.tfrecord)."""

    masks: bool = False
    """Writing: draw polygons and masks as PNG masks into the records, which Mask R-CNN needs and
    others need not."""

    shards: int = 0
    """Writing: divide each split evenly into this number of files NAME-00000-of-00010."""

    shard_megabytes: int = 0
    """Writing: divide each split into files of at most this many million bytes, before
    compression."""

    compression: Literal["none", "gzip", "zlib"] = "none"
    """Writing: compress the files; TensorFlow must be told so when it reads them, and images gain
    next to nothing."""

    ids: Literal["new", "source"] = "new"
    """Writing: number the classes from 1 in their order, or keep the source's numbers, with their
    gaps (a network then needs as many classes as the largest says)."""

    reencode: Literal["refuse", "png", "jpeg"] = "refuse"
    """Writing: what to do with images that are neither JPEG nor PNG, which TensorFlow does not
    decode. JPEG and PNG files always go into the records byte by byte as they are."""


class TfrecordFormat:
    """Reads a file or a folder; writes ``SPLIT.record`` and ``label_map.pbtxt``."""

    name = "tfrecord"
    summary = "TFRecord of the TF Object Detection API: boxes, flags, keypoints, masks, images"
    options = TfrecordOptions

    def traits(self, options: TfrecordOptions) -> Traits:
        """What the records cannot hold; outlines are drawn into them only with ``masks``."""
        if not options.masks:
            return _TRAITS
        drops = {k: why for k, why in _TRAITS.drops.items() if k != "objects.segmentation"}
        rounds = {**_TRAITS.rounds, "objects.segmentation": "drawn as a mask of whole pixels"}
        return replace(_TRAITS, drops=drops, rounds=rounds)

    def sniff(self, root: Path) -> Match:
        """Look for a file that begins with a record's length and its checksum."""
        from tlx_plugins.formats.tfrecord_framing import looks_like_records
        from tlx_plugins.formats.tfrecord_sets import candidates

        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        if root.is_file():
            if root.stat().st_size and looks_like_records(root):
                return Match(met=(f"{root.name} begins with a record and its checksum",))
            return Match(missing=(f"{root.name} does not begin with a record",))
        first = next(candidates(root), None)
        if first is None:
            return Match(missing=("no *.record or *.tfrecord file",))
        return Match(met=(f"{first.relative_to(root)} begins with a record and its checksum",))

    def read(self, root: Path, options: TfrecordOptions, context: Context) -> Reading:
        """Open a file or folder; one record is in memory at a time.

        The image id is the file name that the record says, below the name of its set where there
        are several sets. An origin's line is the number of the record in its file, from 1.

        Raises:
            DataError: If there are no records, or a file is damaged and the policy is to fail.
            UsageError: If images should go into the folder that is read.
        """
        from tlx_plugins.formats.tfrecord_reader import TfrecordReader
        from tlx_plugins.formats.tfrecord_sets import SHARD, find_sets

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give a TFRecord file or its folder.")
        sets = find_sets(root, options.label_map)
        if not sets:
            raise _nothing_found(root)
        shard = SHARD.search(root.name) if root.is_file() else None
        if shard is not None and int(shard[2]) > 1:
            message = f"is one of {int(shard[2])} shards; only it is read."
            hint = "Give the folder to read all of them."
            context.issues.report(Issue("one-shard", message, str(root), action="kept", hint=hint))
        base = root if root.is_dir() else root.parent
        media_root = base
        if options.images is not None:
            media_root = Path(options.images).expanduser().absolute()
            if root.is_dir() and media_root.resolve().is_relative_to(root.resolve()):
                raise UsageError(
                    f"{media_root} lies in the folder that is read, which is never changed.",
                    hint="Choose another folder with --images.",
                )
        reader = TfrecordReader(base, media_root, sets, options, context)
        files = [file for chosen in sets for file in chosen.files]
        maps = dict.fromkeys(chosen.label_map for chosen in sets if chosen.label_map is not None)
        return Reading(media_root, reader.records(), reader.classes.taxonomy, (*files, *maps))

    def write(
        self, dataset: Dataset, dest: Path, options: TfrecordOptions, context: Context
    ) -> WriteReport:
        """Write one set per split, ``dest/SPLIT.record``, and ``dest/label_map.pbtxt``.

        Without splits it is ``data.record``. The bytes do not depend on the number of workers.

        Raises:
            UsageError: For options that exclude each other, or ids that cannot be kept.
            DataError: If an image is missing or is neither JPEG nor PNG, and the policy is to
                fail.
        """
        from tlx_plugins.formats.tfrecord_writer import TfrecordWriter

        return TfrecordWriter(dataset, dest, options, context).write()


def _nothing_found(root: Path) -> DataError:
    names = sorted(entry.name for entry in root.iterdir())
    found = f"found {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names else "empty"
    return DataError(
        f"holds no TFRecord file: looked for *.record, *.tfrecord and *-00000-of-00010; {found}.",
        place=root,
        hint="Name the file itself, or the folder that holds it.",
    )
