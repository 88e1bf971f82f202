"""A sheet of pictures: what was labelled and what was seen, on images that tell something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.drawing import draw, open_rgb, sheet, shown_detections, shown_objects
from tlx.model import Prediction, Record
from tlx.predictions import open_predictions

if TYPE_CHECKING:
    from tlx.dataset import Dataset


def choose(records: Iterable[Record], count: int) -> list[Record]:
    """Images with objects, spread over the groups: from each in turn, its middle first."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.objects:
            groups.setdefault(record.group or "", []).append(record)
    queues = [_from_the_middle(group) for group in groups.values()]
    chosen: list[Record] = []
    while queues and len(chosen) < count:
        for queue in list(queues):
            if not queue:
                queues.remove(queue)
            elif len(chosen) < count:
                chosen.append(queue.pop(0))
    return chosen


def _from_the_middle(records: list[Record]) -> list[Record]:
    """Every record once, alternating outwards in steps, so that neighbours come late."""
    step = max(1, len(records) // 4)
    order = [i for start in range(step) for i in range(start, len(records), step)]
    middle = len(records) // 2
    return [records[(i + middle) % len(records)] for i in order]


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
        pictures.append(draw(image, shown, scale=max(1.0, 900 / image.width)))
    sheet(pictures, columns, width).save(output)
    return output
