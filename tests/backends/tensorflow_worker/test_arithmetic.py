"""Numbers of the worker that need no TensorFlow: pixels, class rows, agreement, differences."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tlx_backends.tensorflow.worker import images, parity, restoring, user_config
from tlx_backends.tensorflow.worker.loop import _Pace


def test_boxes_come_back_in_pixels_of_the_stored_image() -> None:
    boxes = np.array([[0.25, 0.1, 0.75, 0.5], [-0.2, 0.9, 0.5, 1.3], [0.1, 1.2, 0.2, 1.3]])
    found = images.in_pixels(boxes, np.array([0.3, 0.8, 0.9]), np.array([0, 2, 1]), (100, 200), 0.2)
    # By falling score; the last box lies outside of the image and is none.
    assert found["boxes"] == [[180.0, 0.0, 200.0, 50.0], [20.0, 25.0, 100.0, 75.0]]
    assert found["scores"] == [0.8, 0.3]
    assert found["classes"] == [2, 0]
    assert images.in_pixels(boxes, np.zeros(3), np.zeros(3), (9, 9), 0.01)["boxes"] == []


class Variable:
    """What a variable of TensorFlow is to the mover."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self.shape = SimpleNamespace(as_list=lambda: list(value.shape))

    def numpy(self) -> Any:
        return self._value.copy()


def test_class_rows_move_with_background_and_anchors() -> None:
    # Two anchors, background and one class before; background and three classes now.
    old = np.array([[10.0, 11.0, 20.0, 21.0]])
    new = Variable(np.zeros((1, 8)))
    classes, before = ("red", "blue", "green"), ("light",)
    origins = {"red": "light", "blue": None, "green": "light"}
    moved = restoring._moved(new, old, classes, origins, before)
    assert moved.tolist() == [[10.0, 11.0, 0.0, 11.0, 20.0, 21.0, 0.0, 21.0]]


def test_class_rows_that_do_not_fit_stay_new() -> None:
    origins = {"a": "a", "b": None}
    wide = Variable(np.zeros((5, 6)))
    assert restoring._moved(wide, np.zeros((4, 2)), ("a", "b"), origins, ("a",)) is None
    # Three anchors now, two before.
    more = Variable(np.zeros((5, 9)))
    assert restoring._moved(more, np.zeros((5, 4)), ("a", "b"), origins, ("a",)) is None
    hidden = np.ones((5, 7))
    kept = restoring._moved(Variable(np.zeros((5, 7))), hidden, ("a", "b"), origins, ("a",))
    assert kept is hidden


@pytest.mark.parametrize(("shift", "missed"), [(0.0, 0), (1e-5, 0), (0.01, 2)])
def test_the_gate_of_an_export_sees_what_differs(shift: float, missed: int) -> None:
    boxes = np.array([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.8]])
    scores, classes = np.array([0.9, 0.01]), np.array([0, 1])
    swapped = (boxes[::-1] + shift, scores[::-1], classes[::-1])
    agreement = parity.compare([(boxes, scores, classes)], [swapped], 1e-4)
    assert (agreement.compared, agreement.missed) == (2, missed)


def test_the_gate_sees_another_class() -> None:
    one = (np.array([[0.1, 0.1, 0.4, 0.4]]), np.array([0.9]), np.array([0]))
    other = (one[0], one[1], np.array([1]))
    assert parity.compare([one], [other], 1e-4).missed == 1


def test_differences_of_configurations_name_key_and_values() -> None:
    said = user_config.differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "4", "d": "5"})
    assert said == ["b: 2 -> 4", "c: 3 -> not set", "d: not set -> 5"]


def test_the_first_and_the_last_step_are_told() -> None:
    pace = _Pace(8, 0)
    assert [step for step in range(1, 101) if pace.due(step, first=0, last=100)] == [1, 100]
