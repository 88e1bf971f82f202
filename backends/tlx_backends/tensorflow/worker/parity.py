"""Whether an exported network detects what its checkpoint detects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import exported, network
from . import images as image_files
from .exported import Found

# The best of an image are compared, whatever their score; the last ones of the list may swap places
# with those that were cut off.
_COMPARED = 10
_SYNTHETIC = 2
_TIE = 1e-5
_NEAR = 0.3


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two lists of detections agree.

    Attributes:
        compared: Detections of the checkpoint that were looked for.
        missed: Those without a counterpart.
        ties: Those in whose place the other has a neighbour of the same score, where many share it.
        score: Largest difference of a score.
        corner: Largest difference of a corner, as a share of the image's side.
    """

    compared: int
    missed: int
    ties: int
    score: float
    corner: float

    def told(self, form: str, images: int) -> str:
        """A sentence for the user."""
        ties = f" ({self.ties} after ties of equal scores)" if self.ties else ""
        return (
            f"{form}: {self.compared} detections in {images} images agree with the checkpoint"
            f"{ties}, scores to {self.score:.1e}, corners to {self.corner:.1e} of a side"
        )

    def plain(self) -> dict[str, Any]:
        """For a message."""
        return asdict(self)


def images(paths: Sequence[str], config: Any) -> list[Any]:
    """The images to compare on: those that can be read, or noise where there is none."""
    import numpy as np

    found = []
    for path in paths:
        try:
            found.append(image_files.load(path))
        except OSError:
            continue
    if found:
        return found
    dice = np.random.default_rng(0)
    height, width = network.input_shape(config)
    return [dice.integers(0, 256, (height, width, 3), np.uint8) for _ in range(_SYNTHETIC)]


def of_detector(detector: network.Detector, arrays: Sequence[Any]) -> list[Found]:
    """Boxes, scores and classes from 0 of a checkpoint in each image."""
    found = []
    for array in arrays:
        boxes, scores, classes = detector.detect(*detector.prepare(array))
        found.append((boxes[0], scores[0], classes[0]))
    return found


def of_file(form: str, folder: Path, arrays: Sequence[Any]) -> list[Found]:
    """The same of an exported network, loaded from its files as `tlx predict` loads it."""
    detector = exported.load(form, folder)
    # Each image twice: where the batch is free, both share one.
    doubled = [detector.prepare(array) for array in arrays for _ in range(2)]
    return list(detector.detect_each(doubled))[1::2]


def compare(expected: Sequence[Found], found: Sequence[Found], tolerance: float) -> Agreement:
    """Look for every detection of one list in the other.

    Args:
        expected: Per image boxes (n, 4) as fractions, scores (n,), classes (n,).
        found: The same of the other network.
        tolerance: Largest difference of a score, and of a corner as a share of the side.
    """
    import numpy as np

    compared = missed = ties = 0
    score = corner = 0.0
    for (boxes, scores, classes), other in zip(expected, found, strict=True):
        theirs = np.clip(other[0], 0, 1)
        for place in np.argsort(-np.asarray(scores), kind="stable")[:_COMPARED]:
            box, value, kind = np.clip(boxes[place], 0, 1), scores[place], classes[place]
            compared += 1
            apart = np.abs(theirs - box).max(axis=1)
            gaps = np.maximum(apart, np.abs(np.asarray(other[1]) - value))
            gaps = np.where(np.round(other[2]) == round(float(kind)), gaps, np.inf)
            best = int(np.argmin(gaps))
            if gaps[best] > tolerance:
                tied = _shared(scores, classes, value, kind) and _neighbour(box, value, kind, other)
                ties += tied
                missed += not tied
            else:
                score = max(score, float(abs(other[1][best] - value)))
                corner = max(corner, float(apart[best]))
    return Agreement(compared, missed, ties, score, corner)


def _shared(scores: Any, classes: Any, value: float, kind: float) -> bool:
    """Whether other detections of the class have this score: a network that knows nothing yet.

    Suppression then keeps what comes first, and Lite's comes to it in another order.
    """
    import numpy as np

    alike = (np.abs(np.asarray(scores) - value) < _TIE) & (np.round(classes) == round(float(kind)))
    return int(alike.sum()) > 1


def _neighbour(box: Any, value: float, kind: float, other: Found) -> bool:
    """Whether the other has a detection of this class and score that overlaps the box."""
    import numpy as np

    theirs = np.clip(other[0], 0, 1)
    least, most = np.maximum(theirs[:, :2], box[:2]), np.minimum(theirs[:, 2:], box[2:])
    shared = np.prod(np.clip(most - least, 0, None), axis=1)
    areas = np.prod(theirs[:, 2:] - theirs[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    overlap = shared / np.maximum(areas - shared, 1e-12)
    alike = np.abs(np.asarray(other[1]) - value) < _TIE
    alike &= np.round(other[2]) == round(float(kind))
    return bool((alike & (overlap > _NEAR)).any())
