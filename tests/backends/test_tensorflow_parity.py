"""The comparison of an exported TensorFlow network with its checkpoint, on made-up detections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlx_backends.tensorflow.worker.parity import compare

TOLERANCE = 1e-3
BOXES = np.array([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.8, 0.7], [0.2, 0.6, 0.4, 0.9]], np.float32)
SCORES = np.array([0.9, 0.6, 0.3], np.float32)
CLASSES = np.array([0.0, 1.0, 0.0], np.float32)
NOTHING = np.full(3, 0.01, np.float32)


def found(boxes: Any = BOXES, scores: Any = SCORES, classes: Any = CLASSES) -> list[Any]:
    return [(boxes, scores, classes)]


def test_the_same_in_another_order() -> None:
    turned = found(BOXES[::-1], SCORES[::-1], CLASSES[::-1])
    agreement = compare(found(), turned, TOLERANCE)
    assert (agreement.compared, agreement.missed, agreement.ties) == (3, 0, 0)


@pytest.mark.parametrize(
    ("other", "missed"),
    [
        (found(BOXES + 0.05), 3),
        (found(scores=SCORES - 0.01), 3),
        (found(classes=1 - CLASSES), 3),
        (found(BOXES[1:], SCORES[1:], CLASSES[1:]), 1),
    ],
)
def test_what_differs_is_missed(other: list[Any], missed: int) -> None:
    agreement = compare(found(), other, TOLERANCE)
    assert (agreement.missed, agreement.ties) == (missed, 0)


def test_where_all_scores_are_equal_a_neighbour_is_a_tie() -> None:
    """As in a network that has learned nothing: which box stays is the suppression's order."""
    near, far = BOXES + 0.05, BOXES[:, [1, 0, 3, 2]] * 0.1
    ours = found(scores=NOTHING, classes=np.zeros(3))
    agreement = compare(ours, found(near, NOTHING, np.zeros(3)), TOLERANCE)
    assert (agreement.missed, agreement.ties) == (0, 3)
    assert "3 after ties of equal scores" in agreement.told("tflite", 1)
    assert compare(ours, found(far, NOTHING, np.zeros(3)), TOLERANCE).missed == 3
    assert compare(ours, found(near, NOTHING + 0.01, np.zeros(3)), TOLERANCE).missed == 3
