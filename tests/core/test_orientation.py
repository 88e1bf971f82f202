"""Labels of upright images in stored pixels, judged by Pillow's own way of turning images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from tlx.media import encoded_image_header, image_header
from tlx.model import Box, Keypoint, Object, Segmentation, Shape
from tlx.orientation import ground_of, turned

SIZE = (12, 7)


def stored(orientation: int, path: Path, kind: str = "PNG") -> Image.Image:
    """An image with one white pixel block, whose EXIF asks for a turn."""
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    pixels[1:3, 4:9] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, kind, exif=exif)
    with Image.open(path) as saved:
        saved.load()
        return saved


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_tells_the_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    path = tmp_path / "image"
    stored(orientation, path, kind)
    header = image_header(path)
    assert header == encoded_image_header(path.read_bytes()) == (*SIZE, orientation)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("orientation", range(2, 9))
def test_labels_of_the_upright_image_find_their_stored_pixels(
    tmp_path: Path, orientation: int
) -> None:
    image = stored(orientation, tmp_path / "image.png")
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image)) > 0
    ys, xs = np.nonzero(upright)
    x0, y0, x1, y1 = map(float, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
    encoded = coco_mask.encode(np.asfortranarray(upright.astype(np.uint8)))
    thing = Object(
        category="a",
        box=Box(x0, y0, x1, y1),
        segmentation=Segmentation(
            polygons=((x0, y0, x1, y0, x1, y1),), counts=encoded["counts"], size=upright.shape
        ),
        shape=Shape("ellipse", ((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2)),
        keypoints=(Keypoint(x0, y0), Keypoint(x1, y1)),
        rotation=10.0,
    )
    back = turned(thing, orientation, SIZE)
    assert back.box == Box(4, 1, 9, 3)
    assert back.shape == Shape("ellipse", (6.5, 2, 2.5, 1))
    assert {(p.x, p.y) for p in back.keypoints} <= {(4, 1), (9, 3), (4, 3), (9, 1)}
    assert back.segmentation is not None
    size = back.segmentation.size
    assert size == (7, 12)
    pixels = coco_mask.decode({"size": list(size), "counts": back.segmentation.counts})
    assert np.array_equal(pixels > 0, np.asarray(image) > 0)
    assert set(back.segmentation.polygons[0]) == {4, 1, 9, 3}
    mirrored = np.linalg.det(_matrix(orientation)) < 0
    assert back.rotation == (-10.0 if mirrored else 10.0)


def _matrix(orientation: int) -> np.ndarray:
    corners = [turned(Object(category="a", keypoints=(Keypoint(x, y),)), orientation, SIZE)
               .keypoints[0] for x, y in ((0, 0), (1, 0), (0, 1))]  # fmt: skip
    origin, right, down = ((point.x, point.y) for point in corners)
    return np.array([np.subtract(right, origin), np.subtract(down, origin)])


@pytest.mark.parametrize(
    ("policy", "stated", "upright_tool", "outcome"),
    [
        (None, None, False, "kept"),
        (None, (7, 12), False, "skipped"),
        (None, (12, 7), True, "kept"),
        (None, None, True, "skipped"),
        ("keep", (7, 12), True, "kept"),
        ("turn", (7, 12), False, "requested"),
        ("turn", (12, 7), False, "kept"),
        ("drop", None, False, "requested"),
        ("fail", (12, 7), False, "skipped"),
    ],
)
def test_policies(
    tmp_path: Path, policy: str | None, stated: object, upright_tool: bool, outcome: str
) -> None:
    stored(6, tmp_path / "image.png")
    told: list[str] = []
    ground = ground_of(
        image_header(tmp_path / "image.png"),
        stated,  # type: ignore[arg-type]
        policy,  # type: ignore[arg-type]
        "image.png",
        lambda code, message, action, hint: told.append(action),
        drawn_upright=upright_tool,
    )
    assert told == [outcome]
    assert (ground is None) == (outcome == "skipped" or policy == "drop")
    if policy == "turn" and outcome == "requested":
        assert ground is not None
        assert ground.size == (7, 12)
        assert ground.stored == SIZE
