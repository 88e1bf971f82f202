"""COCO's panoptic files; pycocotools decodes the masks that are compared with the colours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as judge

from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import IssueLog
from tlx.model import Box, Record
from tlx.schema import batch_to_records
from tlx_plugins.formats.coco import CocoFormat, CocoOptions

# pycocotools' own decoder is behind NumPy's protocol for copies.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROAD, CAR, CROWD = 7, 70_000, 16_000_000
"""Ids of segments that need one, two and three bytes."""
WIDTH, HEIGHT = 40, 30


def numbers() -> Any:
    picture = np.zeros((HEIGHT, WIDTH), np.int64)
    picture[10:, :] = ROAD
    picture[12:20, 5:15] = CAR
    picture[12:20, 20:25] = CAR  # One segment, two islands, one with a hole.
    picture[14:16, 7:9] = 0
    picture[3:6, 30:39] = CROWD
    return picture


def colors(picture: Any) -> Image.Image:
    """The definition, a pixel at a time: red counts once, green 256 times, blue 65536 times."""
    image = Image.new("RGB", (picture.shape[1], picture.shape[0]))
    for y, row in enumerate(picture.tolist()):
        for x, number in enumerate(row):
            image.putpixel((x, y), (number % 256, number // 256 % 256, number // 65536))
    return image


def segments() -> list[dict[str, Any]]:
    return [
        {"id": ROAD, "category_id": 100, "iscrowd": 0, "bbox": [0, 10, 40, 20]},
        {"id": CAR, "category_id": 3, "iscrowd": 0, "bbox": [5, 12, 20, 8]},
        {"id": CROWD, "category_id": 3, "iscrowd": 1, "bbox": [30, 3, 9, 3]},
    ]


def build(root: Path, entries: list[dict[str, Any]] | None = None, pictures: Any = None) -> Path:
    """A folder as COCO hands it out."""
    names = ("a", "b")
    value = {
        "info": {"description": "made"},
        "licenses": [{"id": 1, "name": "none"}],
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT}
            for i, name in enumerate(names)
        ],
        "annotations": entries
        or [
            {"image_id": i, "file_name": f"{name}.png", "segments_info": segments()}
            for i, name in enumerate(names)
        ],
        "categories": [
            {"id": 3, "name": "car", "supercategory": "vehicle", "isthing": 1},
            {"id": 100, "name": "road", "supercategory": "ground", "isthing": 0},
        ],
    }
    masks = root / "annotations/panoptic_val2017"
    masks.mkdir(parents=True)
    for name in names:
        (pictures or colors(numbers())).save(masks / f"{name}.png")
    path = masks.with_suffix(".json")
    path.write_text(json.dumps(value))
    return path


def read(path: Path, policy: str = "fail") -> tuple[list[Record], IssueLog]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = CocoFormat().read(path, CocoOptions(), context)
    records = [record for batch in reading.content for record in batch_to_records(batch)]  # type: ignore[arg-type]
    return records, context.issues


def test_each_segment_has_the_pixels_of_its_colour(tmp_path: Path) -> None:
    records, issues = read(build(tmp_path))
    assert not issues.counts
    assert [record.image_id for record in records] == ["a.jpg", "b.jpg"]
    assert {record.split for record in records} == {"val"}
    for record in records:
        assert [thing.category for thing in record.objects] == ["road", "car", "car"]
        assert [thing.crowd for thing in record.objects] == [False, False, True]
        for thing, number in zip(record.objects, (ROAD, CAR, CROWD), strict=True):
            outline = thing.segmentation
            assert outline is not None
            pixels = judge.decode({"size": list(outline.size or ()), "counts": outline.counts})
            assert np.array_equal(pixels == 1, numbers() == number)
    assert records[0].objects[1].box == Box(5, 12, 25, 20)


def test_a_folder_with_panoptic_files_is_coco_and_comes_back_as_instances(tmp_path: Path) -> None:
    build(tmp_path / "in")
    import tlx

    tlx.convert(tmp_path / "in", "coco", tmp_path / "out.json", from_="coco")
    written = json.loads((tmp_path / "out.json").read_text())
    assert [a["category_id"] for a in written["annotations"]] == [100, 3, 3] * 2
    assert [c.get("isthing") for c in written["categories"]] == [1, 0]
    assert len({a["id"] for a in written["annotations"]}) == 6


def test_without_the_pictures_there_are_boxes(tmp_path: Path) -> None:
    path = build(tmp_path)
    for picture in path.with_suffix("").iterdir():
        picture.unlink()
    records, issues = read(path)
    assert dict(issues.counts) == {"no-masks": 1}
    assert records[0].objects[1].box == Box(5, 12, 25, 20)
    assert records[0].objects[1].segmentation is None


def spoilt_entry(**changes: Any) -> list[dict[str, Any]]:
    good = {"image_id": 1, "file_name": "b.png", "segments_info": segments()}
    return [{"image_id": 0, "file_name": "a.png", "segments_info": segments(), **changes}, good]


@pytest.mark.parametrize(
    ("entries", "code", "lost"),
    [
        (spoilt_entry(file_name="../a.png"), "bad-mask", True),
        (spoilt_entry(file_name="none.png"), "bad-mask", True),
        (spoilt_entry(segments_info=segments()[:2]), "unknown-segment", True),
        (spoilt_entry(segments_info=[*segments(), {**segments()[0], "id": 5}]), "no-pixels", False),
        (spoilt_entry(segments_info=[{**segments()[0], "category_id": 9}, *segments()[1:]]),
         "unknown-category", True),
        (spoilt_entry(image_id=44), "unknown-image", True),
    ],
)  # fmt: skip
def test_faults_have_their_place(
    tmp_path: Path, entries: list[dict[str, Any]], code: str, lost: bool
) -> None:
    path = build(tmp_path, entries)
    _, issues = read(path, "skip")
    assert issues.counts[code] >= 1
    assert "$.annotations[0]" in issues.first(code)[0].message
    assert (issues.lost > 0) == lost
    if lost:
        with pytest.raises(DataError):
            read(path)


@pytest.mark.parametrize("picture", [Image.new("L", (WIDTH, HEIGHT)), colors(numbers()[1:])])
def test_a_picture_of_another_kind_gives_no_masks(tmp_path: Path, picture: Image.Image) -> None:
    records, issues = read(build(tmp_path, pictures=picture), "skip")
    assert dict(issues.counts) == {"bad-mask": 2}
    assert [thing.segmentation for thing in records[0].objects] == [None] * 3


def test_what_is_no_such_document_is_named(tmp_path: Path) -> None:
    path = build(tmp_path, [{"image_id": 0, "segments_info": [{"id": "x", "category_id": 1}]}])
    with pytest.raises(DataError, match=r"at \$\.annotations\[0\]\.segments_info\[0\]\.id"):
        read(path)
    path.write_text(json.dumps({"images": [{"id": 0, "width": "9"}], "annotations": [
        {"image_id": 0, "segments_info": []}]}))  # fmt: skip
    with pytest.raises(DataError, match=r"at \$\.images\[0\]\.width"):
        read(path)
    path.write_text(json.dumps({"segments_info": 1, "images": []})[:-9])
    with pytest.raises(DataError, match="is not JSON"):
        read(path)
