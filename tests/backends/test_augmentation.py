"""Augmentation: stateless, boxes stay on their objects, nothing vanishes unseen."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.model import Category, Taxonomy
from tlx_backends.torch_detection import random_numbers
from tlx_backends.torch_detection.augmentation import Augmentation
from tlx_backends.torch_detection.options import TorchOptions

PLAIN = {"brightness": 0.0, "contrast": 0.0, "hue": 0.0}


def augmentation(*categories: Category, **options) -> Augmentation:
    return Augmentation.of(TorchOptions(**options), Taxonomy(categories or (Category(name="a"),)))


def scene(boxes):
    """A black image with white boxes at whole pixels."""
    pixels = torch.zeros(3, 60, 100, dtype=torch.uint8)
    for xmin, ymin, xmax, ymax in boxes:
        pixels[:, ymin:ymax, xmin:xmax] = 255
    return pixels, np.array(boxes, dtype=np.float32), np.arange(len(boxes), dtype=np.int64)


box = st.tuples(st.integers(0, 80), st.integers(0, 40), st.integers(8, 20), st.integers(8, 20)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=60, deadline=None)
@given(box, st.integers(0, 1000))
def test_the_box_stays_on_its_object_and_never_vanishes(one, index):
    chosen = augmentation(**PLAIN, scale_jitter=0.5)
    pixels, boxes, _ = chosen.apply(*scene([one]), random_numbers.for_image(0, 1, index))
    assert len(boxes) == 1
    xmin, ymin, xmax, ymax = boxes[0]
    height, width = pixels.shape[-2:]
    assert 0 <= xmin < xmax <= width
    assert 0 <= ymin < ymax <= height
    ys, xs = np.nonzero(pixels[0].numpy() > 127)
    np.testing.assert_allclose(
        [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], boxes[0], atol=1.01
    )


def test_the_same_key_gives_the_same_image_and_another_does_not():
    chosen = augmentation()
    before, *rest = scene([(10, 10, 30, 30)])
    results = [
        chosen.apply(before, *rest, random_numbers.for_image(*key))
        for key in ((0, 1, 2), (0, 1, 2), (0, 2, 2), (0, 1, 3), (1, 1, 2))
    ]
    assert torch.equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
    for other in results[2:]:
        assert not np.array_equal(results[0][1], other[1])
    assert torch.equal(before, scene([(10, 10, 30, 30)])[0]), "the input was changed"


def test_mirror_pairs_swap_their_classes():
    pair = (
        Category(name="goLeft", mirror="goRight"),
        Category(name="stop"),
        Category(name="goRight", mirror="goLeft"),
    )
    chosen = augmentation(*pair, **PLAIN, scale_jitter=0.0)
    seen = set()
    for index in range(20):
        inputs = scene([(10, 10, 20, 20), (40, 10, 50, 20), (70, 10, 80, 20)])
        _, boxes, classes = chosen.apply(*inputs, random_numbers.for_image(0, 1, index))
        if boxes[0][0] == 10:
            assert classes.tolist() == [0, 1, 2]
        else:
            assert boxes[0].tolist() == [80, 10, 90, 20]
            assert classes.tolist() == [2, 1, 0]
        seen.add(boxes[0][0] == 10)
    assert seen == {True, False}


def test_flip_guard():
    arrow = Category(name="goLeft", mirrorable=False)
    assert augmentation(Category(name="stop")).flip
    assert not augmentation(Category(name="stop"), arrow).flip
    assert not augmentation(Category(name="goLeft", mirror="goRight")).flip
    assert not augmentation(Category(name="stop"), flip=False).flip


def test_hue_stays_where_a_class_is_told_by_its_colour():
    assert augmentation(Category(name="car"), hue=0.1).hue == 0.1
    guarded = augmentation(Category(name="stop", color_defined=True), hue=0.1)
    assert guarded.hue == 0.0
    assert "stop are told by their colour" in guarded.notes[-1]


def test_hue_turns_colour_and_keeps_grey():
    chosen = augmentation(hue=0.5, brightness=0.0, contrast=0.0, scale_jitter=0.0, flip=False)
    red = torch.zeros(3, 4, 4, dtype=torch.uint8)
    red[0] = 200
    grey = torch.full((3, 4, 4), 120, dtype=torch.uint8)
    nothing = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)
    turned = chosen.apply(red, *nothing, random_numbers.for_image(0, 1, 0))[0]
    assert not torch.equal(turned, red)
    same = chosen.apply(grey, *nothing, random_numbers.for_image(0, 1, 0))[0]
    assert (same.int() - grey.int()).abs().max() <= 1


def test_every_epoch_is_a_new_permutation():
    first = random_numbers.order(3, 1, 50)
    assert sorted(first.tolist()) == list(range(50))
    assert np.array_equal(first, random_numbers.order(3, 1, 50))
    assert not np.array_equal(first, random_numbers.order(3, 2, 50))
    assert not np.array_equal(first, random_numbers.order(4, 1, 50))
