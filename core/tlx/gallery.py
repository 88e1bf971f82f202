"""A sheet of pictures: what was labelled and what was seen, on images that tell something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.drawing import draw, sheet, shown_detections, shown_objects
from tlx.model import Box, Prediction, Record
from tlx.pixels import open_rgb
from tlx.predictions import open_predictions

if TYPE_CHECKING:
    from tlx.dataset import Dataset


def choose(records: Iterable[Record], count: int) -> list[Record]:
    """Images with objects, from each group in turn; within a group those with tall objects first.

    Neighbouring frames look alike, so frames near a chosen one come last.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if any(item.box is not None for item in record.objects):
            groups.setdefault(record.group or "", []).append(record)
    queues = [_apart(group) for group in groups.values()]
    chosen: list[Record] = []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop(0) for queue in queues if queue][: count - len(chosen)]
    return chosen


def _apart(records: list[Record]) -> list[Record]:
    """Tall objects first, with the neighbours of an earlier frame put off to the end."""
    place = {record.image_id: number for number, record in enumerate(records)}
    ranked = sorted(records, key=lambda r: -max(o.box.height for o in r.objects if o.box))
    near = max(2, len(records) // 6)
    first: list[Record] = []
    later: list[Record] = []
    for record in ranked:
        mine = place[record.image_id]
        alike = any(abs(mine - place[other.image_id]) < near for other in first)
        (later if alike else first).append(record)
    return first + later


def _window(record: Record, width: int, height: int) -> Box:
    """A cut-out of the image's shape around its objects, at least half of the image wide."""
    boxes = [item.box for item in record.objects if item.box is not None]
    x = (min(b.xmin for b in boxes) + max(b.xmax for b in boxes)) / 2
    y = (min(b.ymin for b in boxes) + max(b.ymax for b in boxes)) / 2
    span = max(
        0.5,
        (max(b.xmax for b in boxes) - min(b.xmin for b in boxes) + 40) / width,
        (max(b.ymax for b in boxes) - min(b.ymin for b in boxes) + 40) / height,
    )
    wide, high = min(1.0, span) * width, min(1.0, span) * height
    left = min(max(0.0, x - wide / 2), width - wide)
    top = min(max(0.0, y - high / 2), height - high)
    return Box(round(left), round(top), round(left) + round(wide), round(top) + round(high))


def picture_sheet(
    dataset: Dataset,
    predictions: Path,
    split: str,
    thresholds: Mapping[str, float] | float,
    output: Path,
    *,
    count: int = 9,
    columns: int = 3,
    width: int = 1500,
) -> Path:
    """Write one picture with labels (white, dashed) and detections (in the colour of the class).

    Args:
        dataset: The dataset.
        predictions: A predictions file of the split.
        split: Where the images come from.
        thresholds: Score from which a detection is drawn, one or per class.
        output: PNG or JPEG to write.
        count: How many images.
        columns: How many beside each other.
        width: Of the sheet in pixels.
    """
    chosen = choose(dataset.records(split), count)
    wanted = {record.image_id for record in chosen}
    seen: dict[str, Prediction] = {
        p.image_id: p for p in open_predictions(predictions) if p.image_id in wanted
    }
    pictures = []
    for record in chosen:
        image = open_rgb(dataset.image_path(record.uri))
        found = seen.get(record.image_id, Prediction(record.image_id))
        shown = [
            *shown_objects(record.objects),
            *shown_detections(found.detections, thresholds, dataset.taxonomy),
        ]
        window = _window(record, image.width, image.height)
        moved = [item.moved(window.xmin, window.ymin) for item in shown]
        part = image.crop((window.xmin, window.ymin, window.xmax, window.ymax))
        pictures.append(draw(part, moved, scale=max(1.0, 900 / part.width)))
    sheet(pictures, columns, width).save(output)
    return output
