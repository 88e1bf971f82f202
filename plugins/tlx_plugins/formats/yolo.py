"""YOLO text labels (docs.ultralytics.com/datasets/detect and /segment; pjreddie.com/darknet)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.bad_input import BadInputOptions
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.media_transfer import Media

if TYPE_CHECKING:
    from tlx.dataset import Dataset

_NO = "YOLO has classes and boxes or outlines, nothing else"
_TRAITS = Traits(
    drops={
        "group": "YOLO has no clips",
        "frame": "YOLO has no frame numbers",
        "labels": "YOLO has no image-level labels here",
        "attributes": "YOLO has no attributes",
        "objects.attributes": "YOLO has no attributes",
        "objects.object_id": "YOLO has no ids",
        "objects.rotation": "the box is written without its rotation",
        "objects.keypoints": "keypoints are not written",
        "objects.shape": "YOLO has no lines, ellipses and cuboids",
        "objects.track": "YOLO has no tracks",
        "objects.crowd": _NO,
        "objects.difficult": _NO,
        "objects.truncated": _NO,
        "objects.occluded": _NO,
        "objects.segmentation.counts": "masks are not written",
        "objects.segmentation.polygons": "kept only by --task segment, one outline for an object",
    },
    assumes={
        "objects.box": "not stated is taken from the polygons",
        "width": "YOLO divides by the size: not stated is read from the image",
        "height": "YOLO divides by the size: not stated is read from the image",
    },
    pixel_convention="centre x, centre y, width, height, or outline points, each divided by the "
    "width or height of the image; ten decimals, which tell a millionth of a pixel",
)


@dataclass(frozen=True)
class YoloOptions(BadInputOptions):
    """How YOLO folders are read and written."""

    split: str | None = None
    """Reading: the split of all images; by default what data.yaml, or else folders named train,
    valid, test say."""

    unlabelled: Literal["negative", "leave"] = "negative"
    """Reading: an image without a text file is one without objects, as trainers take it, or is left
    out, as nobody has labelled it yet."""

    task: Literal["detect", "segment", "obb"] = "detect"
    """Writing: boxes; or one outline for each object: several polygons of an object are joined, and
    an object without any is outlined by its box; or rotated boxes (obb): the smallest one around
    the polygons of an object that states no rotation. Reading: with obb four points are a rotated
    box and not an outline, as they are where data.yaml says so, which tlx writes."""

    outside: Literal["clip", "keep", "drop"] = "clip"
    """Writing: what to do with a box or outline that leaves the image; trainers refuse images with
    such a label. Whatever is done is counted."""

    media: Media = "symlink"
    """Writing: bring the images to images/, where trainers look for them and without which the
    labels have no size; or leave them where they are."""


class YoloFormat:
    """Reads folders with or without ``data.yaml``; writes ``images``, ``labels``, ``data.yaml``.

    Sizes are those of the images as stored.
    """

    name = "yolo"
    summary = "YOLO text labels: boxes, outlines or rotated boxes, with data.yaml"
    options = YoloOptions

    def traits(self, options: YoloOptions) -> Traits:
        """What the text files cannot hold; it depends on the task."""
        if options.task == "obb":
            turned = ("objects.rotation", "objects.segmentation.polygons")
            drops = {k: why for k, why in _TRAITS.drops.items() if k not in turned}
            drops["objects.box"] = "the smallest rectangle around the polygons takes its place"
            rounds = {
                "objects.rotation": "degrees come back from 0 to 360, with six decimals",
                "objects.segmentation.polygons": "only the rectangle around them is written",
            }
            assumes = {
                **_TRAITS.assumes,
                "objects.rotation": "not stated is that of the rectangle around the polygons",
            }
            beside = {**_TRAITS.beside, "objects.box": "objects.segmentation.polygons"}
            return replace(_TRAITS, drops=drops, rounds=rounds, assumes=assumes, beside=beside)
        if options.task == "detect":
            return _TRAITS
        name = "objects.segmentation.polygons"
        drops = {k: why for k, why in _TRAITS.drops.items() if k != name}
        return replace(_TRAITS, drops=drops, rounds={name: "one outline for an object"})

    def sniff(self, root: Path) -> Match:
        """Look for data.yaml, a list of classes, or labels/ beside images/."""
        from tlx_plugins.formats.yolo_layout import find_configuration, find_names

        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        found = find_configuration(root)
        if found is not None:
            return Match(met=(f"{found.name} names classes and folders",))
        if root.is_dir():
            names = find_names(root)
            if names is not None and any(
                path.with_suffix(".jpg").exists() or path.with_suffix(".png").exists()
                for path in list(root.glob("*.txt"))[:200] + list(root.glob("*/*.txt"))[:200]
                if path != names
            ):
                return Match(met=(f"{names.name} and text files beside images",))
            if (root / "labels").is_dir() and (root / "images").is_dir():
                return Match(met=("labels/ beside images/",))
        return Match(missing=("no data.yaml with names, no labels/ beside images/",))

    def read(self, root: Path, options: YoloOptions, context: Context) -> Reading:
        """Open a folder, or its ``data.yaml``.

        The image id is the path of the image below its split's folder, or below the whole where
        two splits have an image of the same name.
        """
        from tlx_plugins.formats.yolo_layout import scan
        from tlx_plugins.formats.yolo_reader import YoloReader

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give a YOLO folder or data.yaml.")
        layout = scan(root, context)
        if not layout.images:
            raise DataError(
                "holds no images; YOLO labels are fractions of an image's size.",
                place=layout.root,
                hint="Give the folder that holds both images and labels.",
            )
        reader = YoloReader(layout, options, context)
        return Reading(layout.root, reader.records(), reader.taxonomy, layout.files)

    def write(
        self, dataset: Dataset, dest: Path, options: YoloOptions, context: Context
    ) -> WriteReport:
        """Write ``labels/SPLIT/*.txt``, ``images/SPLIT/*`` and ``data.yaml``.

        Every image gets a text file; it is empty without objects. Classes are numbered from 0 in
        the order of the taxonomy.
        """
        from tlx_plugins.formats.yolo_writer import YoloWriter

        return YoloWriter(dataset, dest, options, context).write()
