"""What is drawn of an object, judged by areas and by pycocotools' masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from tlx.drawing import draw, shown_objects
from tlx.model import Box, Keypoint, Object, Segmentation, Shape, Taxonomy
from tlx.outlines import Line, lines_of, mask_of

# pycocotools' own array does not know NumPy 2's copy keyword yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def area(line: Line) -> float:
    """Shoelace formula."""
    points = np.array(line.points)
    x, y = points[:, 0], points[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


@given(st.floats(-720, 720, allow_nan=False), st.floats(1, 500), st.floats(1, 500))
def test_a_turned_box_keeps_its_area_and_centre(
    degrees: float, width: float, height: float
) -> None:
    box = Box(10, 20, 10 + width, 20 + height)
    lines = lines_of(Object(category="a", box=box, rotation=degrees))
    if degrees == 0:
        assert lines == []
        return
    (line,) = lines
    assert area(line) == pytest.approx(width * height, rel=1e-6)
    assert np.mean(line.points, axis=0) == pytest.approx([10 + width / 2, 20 + height / 2])


def test_rotation_is_clockwise_in_the_image() -> None:
    """A quarter turn brings the upper left corner of a wide box to the upper right."""
    (line,) = lines_of(Object(category="a", box=Box(0, 0, 4, 2), rotation=90.0))
    assert line.points[0] == pytest.approx((3, -1))


def test_an_ellipse_is_one_and_turns() -> None:
    shape = Shape("ellipse", (50.0, 40.0, 30.0, 10.0))
    (upright,) = lines_of(Object(category="a", shape=shape))
    assert area(upright) == pytest.approx(math.pi * 300, rel=0.01)
    (turned,) = lines_of(Object(category="a", shape=shape, rotation=90.0))
    assert max(y for _, y in turned.points) == pytest.approx(70)


def test_a_cuboid_has_two_faces_and_four_edges() -> None:
    front = (0.0, 0.0, 0.0, 10.0, 20.0, 0.0, 20.0, 10.0)
    lines = lines_of(Object(category="a", shape=Shape("cuboid", front + front)))
    assert [line.closed for line in lines] == [True, True, False, False, False, False]
    assert area(lines[0]) == 200


def test_a_polyline_stays_open_and_polygons_close() -> None:
    assert lines_of(Object(category="a", shape=Shape("polyline", (0, 0, 5, 5)))) == [
        Line(((0, 0), (5, 5)), closed=False)
    ]
    holes = Segmentation(polygons=((0, 0, 4, 0, 4, 4), (8, 8, 9, 8, 9, 9)))
    assert [x.closed for x in lines_of(Object(category="a", segmentation=holes))] == [True, True]


def test_a_mask_comes_out_as_it_went_in() -> None:
    pixels = np.asfortranarray(np.random.default_rng(1).random((7, 11)) > 0.5).astype(np.uint8)
    encoded = coco_mask.encode(np.asfortranarray(pixels))
    found = mask_of(Segmentation(counts=encoded["counts"], size=(7, 11)))
    assert found is not None
    assert (found == pixels).all()


def test_a_size_beyond_reason_fills_no_memory() -> None:
    with pytest.raises(ValueError, match="beyond reason"):
        mask_of(Segmentation(counts=b"04", size=(1 << 20, 1 << 20)))


def test_everything_leaves_pixels_where_it_is() -> None:
    """Each kind is drawn alone on black: something is lit near it, and nothing far away."""
    pixels = np.zeros((100, 100), np.uint8, order="F")
    pixels[30:40, 20:40] = 1
    counts = coco_mask.encode(pixels)["counts"]
    kinds = [
        Object(category="a", box=Box(20, 30, 40, 40)),
        Object(category="a", box=Box(40, 40, 20, 30)),
        Object(category="a", segmentation=Segmentation(polygons=((20, 30, 40, 30, 40, 40),))),
        Object(category="a", segmentation=Segmentation(counts=counts, size=(100, 100))),
        Object(category="a", keypoints=(Keypoint(30, 35),)),
        Object(category="a", shape=Shape("polyline", (20, 30, 40, 40))),
        Object(category="a", shape=Shape("ellipse", (30, 35, 9, 4))),
    ]
    for thing in kinds:
        shown = shown_objects([thing], taxonomy=Taxonomy.of(["a"]))
        lit = np.asarray(draw(Image.new("RGB", (100, 100)), shown)).any(axis=2)
        assert lit[26:44, 16:44].any(), thing
        lit[26:44, 16:44] = False
        assert not lit.any(), thing


def test_hidden_keypoints_without_a_place_are_not_drawn() -> None:
    (shown,) = shown_objects([Object(category="a", keypoints=(Keypoint(0, 0, visibility=0),))])
    assert shown.points == ()
