"""Outlines, keypoints and masks in FiftyOne: where they should be, and as it writes them itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tlx.dataset import write_dataset
from tlx.model import Box, Keypoint, Object, Record, Segmentation, Shape, Taxonomy
from tlx_plugins.viewers.children import private_room
from tlx_plugins.viewers.fiftyone_app import _environment
from tlx_plugins.viewers.mongod import running_mongod


def things() -> tuple[Object, ...]:
    pixels = np.zeros((40, 80), np.uint8, order="F")
    pixels[10:12, 20:23] = [[1, 0, 1], [1, 1, 1]]
    mask = Segmentation(counts=coco_mask.encode(pixels)["counts"], size=(40, 80))
    front = (8.0, 8.0, 8.0, 16.0, 24.0, 8.0, 24.0, 16.0)
    return (
        Object(category="a", segmentation=Segmentation(polygons=((8, 4, 16, 4, 16, 8),))),
        Object(category="a", box=Box(10, 10, 20, 20), rotation=45.0),
        Object(category="b", shape=Shape("cuboid", front + front)),
        Object(category="b", keypoints=(Keypoint(40, 20), Keypoint(0, 0, visibility=0))),
        Object(category="b", segmentation=mask),
        Object(category="b"),
    )


@pytest.fixture(scope="module")
def shown(mongod: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("shapes")
    Image.new("RGB", (80, 40)).save(root / "a.png")
    record = Record(image_id="a.png", uri="a.png", width=80, height=40, objects=things())
    data = write_dataset(root / "a.tlx", [record], Taxonomy.of(["a", "b"]), root, ())
    script = Path(__file__).with_name("judge_shapes.py")
    with private_room() as room, running_mongod(mongod, room / "database", room) as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(data.path)],
            env=_environment(server.uri, "fiftyone", room),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_fiftyone_would_have_written_the_same(shown: dict[str, Any]) -> None:
    assert shown["native"] == [True]
    assert shown["same_by_add_samples"]


def test_each_outline_is_where_it_was_drawn(shown: dict[str, Any]) -> None:
    assert shown["outlines"] == [
        ["a", True, 0, 1], ["a", True, 1, 1], ["b", True, 2, 2], ["b", False, 2, 4],
    ]  # fmt: skip
    assert shown["first_outline"] == [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]]
    assert shown["keypoints"] == [["b", [[0.5, 0.5]]]]


def test_a_mask_lies_in_its_box(shown: dict[str, Any]) -> None:
    ((place, box, pixels),) = shown["masks"]
    assert place == 4
    assert box == pytest.approx([0.25, 0.25, 3 / 80, 2 / 40])
    assert pixels == [[True, False, True], [True, True, True]]


def test_only_what_has_no_place_is_not_shown(shown: dict[str, Any]) -> None:
    assert shown["notes"] == ["1 objects have no place and are not shown"]
    assert shown["boxes"] == [1, 4]
