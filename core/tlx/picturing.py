"""Labels drawn into their images, so that one can look before one trains: ``tlx draw``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tlx.context import Context
from tlx.dataset import Dataset
from tlx.drawing import draw, shown_objects
from tlx.errors import DataError, UsageError, nearest
from tlx.issues import Issue
from tlx.model import Record
from tlx.pipeline import PathLike, require_path
from tlx.pixels import open_rgb
from tlx.staging import check_free, staged

_SMALLEST_SIDE = 900
"""Smaller images are enlarged to it, so that texts can be read."""


def draw_labels(
    dataset: PathLike,
    output: PathLike,
    *,
    split: str | None = None,
    images: Sequence[str] = (),
    limit: int = 20,
    overwrite: bool = False,
    context: Context | None = None,
) -> tuple[str, ...]:
    """Write one JPEG per image with all its labels drawn in the colours of their classes.

    Boxes, rotated boxes, polygons, masks, keypoints, polylines, ellipses and cuboids are drawn.
    Images without a label say nothing about labels, so they are drawn only when they are named.

    Args:
        dataset: A dataset folder.
        output: The folder to write.
        split: Only images of this split.
        images: Ids of images to draw; evenly spread ones with labels by default.
        limit: How many of those; 0 for all.
        overwrite: Replace what lies at the output.
        context: Progress and issues.

    Returns:
        The names of the files below ``output``.

    Raises:
        UsageError: For an image or split that the dataset does not have.
        DataError: If no image file could be opened.
    """
    context = context or Context()
    data = Dataset.open(require_path(dataset, "The dataset"))
    if split is not None:
        data.require_split(split)
    check_free(Path(output), overwrite)
    chosen = list(_named(data, images)) if images else _spread(data, split, limit, context)
    if not chosen:
        raise DataError("has no image with a label.", place=data.path)
    names: list[str] = []
    with staged(Path(output), overwrite=overwrite) as folder:
        folder.mkdir()
        for record in context.progress.track(chosen, "drawing", len(chosen)):
            _draw(data, record, folder, names, context)
        if not names:
            raise DataError(
                f"none of {len(chosen)} image files could be opened.",
                place=data.image_path(chosen[0].uri),
                hint="Look at one of them in another program.",
            )
    return tuple(names)


def _named(data: Dataset, images: Sequence[str]) -> Iterator[Record]:
    wanted = set(images)
    known: list[str] = []
    for record in data.records():
        known.append(record.image_id)
        if record.image_id in wanted:
            wanted.discard(record.image_id)
            yield record
    for name in sorted(wanted):
        raise UsageError(f"{data.path} has no image {name!r}.", hint=nearest(name, known))


def _spread(data: Dataset, split: str | None, limit: int, context: Context) -> list[Record]:
    """Images with labels at even distances, from the first to the last whose file is there."""
    found: list[tuple[int, str]] = []
    absent: list[tuple[int, str]] = []
    for number, record in enumerate(data.records(split)):
        if record.objects or record.labels:
            there = data.image_path(record.uri).is_file()
            (found if there else absent).append((number, record.uri))
    if absent:
        path = data.image_path(absent[0][1])
        message = f"{len(absent)} images with labels are not there and are passed over."
        context.issues.report(Issue("missing-image", message, str(path), action="kept"))
    if absent and not found:
        raise DataError(
            f"none of {len(absent)} images with labels is there.",
            place=data.image_path(absent[0][1]),
            hint="Put the images there, or make the dataset again where they are.",
        )
    wanted = len(found) if limit <= 0 else min(limit, len(found))
    places = {found[number * len(found) // wanted][0] for number in range(wanted)}
    return [record for number, record in enumerate(data.records(split)) if number in places]


def _draw(data: Dataset, record: Record, folder: Path, names: list[str], context: Context) -> None:
    path = data.image_path(record.uri)
    try:
        image = open_rgb(path)
    except (OSError, ValueError) as error:
        message = f"{record.image_id} could not be drawn: {error}"
        context.issues.report(Issue("unreadable-image", message, str(path), action="kept"))
        return
    shown = shown_objects(record.objects, text=True, taxonomy=data.taxonomy)
    picture = draw(image, shown, scale=max(1.0, _SMALLEST_SIDE / max(image.size)))
    flat = record.image_id.strip("/").replace("/", "__").replace("\\", "__")
    name = f"{flat.removesuffix('.jpg')}.jpg"
    if name in names:
        name = f"{len(names)}_{name}"
    picture.save(folder / name, quality=90)
    names.append(name)
