"""The score of a network on a split while it is trained, by the evaluator that judges runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlx.evaluation import Detections, GroundTruth, average_precision
from tlx.samples import Sample


@dataclass(frozen=True, slots=True)
class FoundBoxes:
    """Detections in one image, by falling score.

    Attributes:
        boxes: float64 [n, 4], xmin, ymin, xmax, ymax in stored pixels, within the image.
        classes: int64 [n], class indices.
        scores: float64 [n].
    """

    boxes: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]


def validation_scores(
    items: Sequence[Sample], found: Mapping[int, FoundBoxes], class_count: int
) -> Mapping[str, float | None]:
    """COCO average precision and recall by name; empty when no image could be judged.

    Args:
        items: The images of the split with their boxes.
        found: Detections by position in ``items``; an image without an entry could not be read
            and is not judged.
        class_count: Number of classes.
    """
    if not found:
        return {}
    # The evaluator ranks equal scores by image index and asks for sorted ids.
    order = sorted(found, key=lambda k: items[k].image_id)
    truth = [items[k] for k in order]
    results = [found[k] for k in order]
    judged = average_precision(
        GroundTruth(
            image=_repeated([len(item.boxes) for item in truth]),
            category=np.concatenate([item.classes for item in truth]),
            box=np.concatenate([item.boxes for item in truth]).astype(np.float64),
            crowd=np.concatenate([item.crowd for item in truth]),
        ),
        Detections(
            image=_repeated([len(result.scores) for result in results]),
            category=np.concatenate([result.classes for result in results]),
            box=np.concatenate([result.boxes for result in results]),
            score=np.concatenate([result.scores for result in results]),
        ),
        image_count=len(order),
        category_count=class_count,
    )
    return judged.summary()


def _repeated(counts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Each position as often as its count says."""
    return np.repeat(np.arange(len(counts), dtype=np.int64), counts)
