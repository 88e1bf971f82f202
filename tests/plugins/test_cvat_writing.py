"""CVAT images 1.1 written; xml.etree and pycocotools judge what is in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as judge

from tlx.context import Context
from tlx.dataset import Dataset, Operation, to_batches, write_dataset
from tlx.issues import IssueLog
from tlx.loss import find_loss
from tlx.model import (
    Box,
    Category,
    Keypoint,
    Label,
    Object,
    Record,
    Segmentation,
    Shape,
    Taxonomy,
)
from tlx.model import replace as changed
from tlx.pipeline import ingest
from tlx.schema import batch_to_records
from tlx_plugins.formats.cvat import CvatFormat, CvatOptions
from tlx_plugins.formats.cvat_mask import whole_image, within_box

FORMAT = CvatFormat()
TAXONOMY = Taxonomy((Category(name="car", color="#ff0000"), Category(name="pose")))
BOX = Box(1.0, 2.0, 11.5, 12.25)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def stored(tmp_path: Path, *records: Record, taxonomy: Taxonomy = TAXONOMY) -> Dataset:
    lineage = (Operation(name="test", version="0"),)
    return write_dataset(tmp_path / "in.tlx", records, taxonomy, tmp_path, lineage, overwrite=True)


def write(dataset: Dataset, dest: Path, **options: Any) -> IssueLog:
    context = Context(issues=IssueLog("fail"))
    FORMAT.write(dataset, dest, CvatOptions(**options), context)
    return context.issues


def back(root: Path, **options: Any) -> list[Record]:
    context = Context(issues=IssueLog("fail"))
    batches = to_batches(FORMAT.read(root, CvatOptions(**options), context).content)
    return [record for batch in batches for record in batch_to_records(batch)]


def image(*objects: Object, name: str = "a.png", **facts: Any) -> Record:
    given = {"width": 40, "height": 30, **facts}
    return Record(image_id=name, uri=name, objects=objects, **given)


def runs(pixels: np.ndarray[Any, Any]) -> Segmentation:
    encoded = judge.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return Segmentation(counts=encoded["counts"], size=pixels.shape, compressed=False)


SQUARE = (1.0, 2.0, 11.5, 2.0, 11.5, 12.25, 1.0, 12.25)
CORNERS = range(16)
DISK = np.hypot(*np.mgrid[-15:15, -20:20]) < 9
SHAPES = {
    "box": Object(category="car", box=BOX, rotation=30.0, occluded=True),
    "polygon": Object(category="car", box=BOX, segmentation=Segmentation(polygons=(SQUARE,))),
    "mask": Object(category="car", box=Box(11.0, 6.0, 29.0, 24.0), segmentation=runs(DISK)),
    "polyline": Object(category="car", shape=Shape("polyline", (0.0, 0.5, 3.25, 4.0))),
    "ellipse": Object(
        category="car",
        box=Box(5.0, 8.0, 15.0, 12.0),
        shape=Shape("ellipse", (10.0, 10.0, 5.0, 2.0)),
        rotation=10.5,
    ),
    "cuboid": Object(
        category="car",
        box=Box(0.0, 0.0, 7.0, 1.0),
        shape=Shape(
            "cuboid", tuple(float(i // 2 if i % 2 == 0 else i // 2 % 2) for i in range(16))
        ),
    ),
    "points": Object(category="car", keypoints=(Keypoint(1.0, 2.0), Keypoint(3.5, 4.25))),
    "skeleton": Object(
        category="pose",
        keypoints=(Keypoint(1.0, 2.0, 2, "head"), Keypoint(0.0, 0.0, 0, "foot")),
    ),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_every_kind_of_shape_is_written_and_comes_back(tmp_path: Path, kind: str) -> None:
    thing = replace_object(SHAPES[kind], occluded=bool(SHAPES[kind].occluded))
    write(stored(tmp_path, image(thing)), tmp_path / "out")
    element = ET.parse(tmp_path / "out/annotations.xml").find("image")
    assert element is not None
    assert [child.tag for child in element] == [kind]
    (record,) = back(tmp_path / "out")
    (again,) = record.objects
    assert replace_object(again, line=None) == thing


def replace_object(thing: Object, **changes: Any) -> Object:
    result: Object = changed(thing, **changes)
    return result


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_masks_are_what_pycocotools_decodes(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    flat = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    pixels = np.array(flat).reshape(height, width)
    if not pixels.any():
        with pytest.raises(ValueError, match="without a pixel"):
            within_box(runs(pixels), None, (width, height))
        return
    left, top, wide, high, lengths = within_box(runs(pixels), None, (width, height))
    # As CVAT reads it: row by row, beginning with background.
    inside = np.repeat(np.arange(len(lengths)) % 2, lengths).reshape(high, wide)
    drawn = np.zeros((height, width), int)
    drawn[top : top + high, left : left + wide] = inside
    assert (drawn == pixels).all()
    assert (
        whole_image((left, top, wide, high, *lengths), (width, height)).counts
        == runs(pixels).counts
    )


def test_labels_are_declared_with_the_inputs_of_their_attributes(tmp_path: Path) -> None:
    first = Object(
        category="car", box=BOX, difficult=True,
        attributes={"parked": False, "seats": 4, "speed": 2.5, "make": "a", "plate": "0017"},
    )  # fmt: skip
    second = Object(category="car", box=BOX, attributes={"parked": True, "seats": 2, "speed": 1.0})
    write(stored(tmp_path, image(first, second)), tmp_path / "out")
    labels = ET.parse(tmp_path / "out/annotations.xml").findall(".//label")
    assert [label.findtext("name") for label in labels] == ["car", "pose"]
    assert labels[0].findtext("color") == "#ff0000"
    declared = {
        attribute.findtext("name"): (
            attribute.findtext("input_type"),
            (attribute.findtext("values") or "").split("\n"),
        )
        for attribute in labels[0].iter("attribute")
    }
    assert declared == {
        "parked": ("checkbox", ["false"]),
        "seats": ("number", ["2", "4", "1"]),
        "speed": ("number", ["1", "3", "1"]),
        "make": ("select", ["__undefined__", "a"]),
        "plate": ("text", [""]),
        "difficult": ("checkbox", ["false"]),
    }
    (record,) = back(tmp_path / "out")
    assert [thing.attributes for thing in record.objects] == [first.attributes, second.attributes]
    assert [thing.difficult for thing in record.objects] == [True, None]


def test_what_cvat_says_of_a_shape_stands_where_cvat_has_it(tmp_path: Path) -> None:
    own = {"source": "manual", "z_order": 3, "group_id": 7}
    clash = {"source": "camera 1", "cvat_source": "auto"}
    things = [Object(category="car", box=BOX, attributes=facts, occluded=False)
              for facts in (own, clash)]  # fmt: skip
    write(stored(tmp_path, image(*things)), tmp_path / "out")
    boxes = ET.parse(tmp_path / "out/annotations.xml").findall("image/box")
    assert (boxes[0].get("source"), boxes[0].get("z_order"), boxes[0].get("group_id")) == (
        "manual", "3", "7",
    )  # fmt: skip
    assert list(boxes[0]) == []
    assert boxes[1].get("source") == "auto"
    (record,) = back(tmp_path / "out")
    assert [thing.attributes for thing in record.objects] == [own, clash]


def test_polygons_of_one_object_are_a_group_that_comes_back_as_one(tmp_path: Path) -> None:
    parts = Segmentation(polygons=(SQUARE, (20.0, 20.0, 30.0, 20.0, 30.0, 25.0)))
    whole = Object(category="car", box=Box(0.0, 0.0, 35.0, 29.0), segmentation=parts)
    alone = Object(category="car", box=BOX, segmentation=Segmentation(polygons=(SQUARE,)))
    issues = write(stored(tmp_path, image(whole, alone)), tmp_path / "out")
    polygons = ET.parse(tmp_path / "out/annotations.xml").findall("image/polygon")
    assert [polygon.get("group_id") for polygon in polygons] == ["1", "1", None]
    assert issues.counts == {"grouped-polygons": 1}
    (record,) = back(tmp_path / "out")
    assert [thing.segmentation for thing in record.objects] == [parts, alone.segmentation]
    assert [thing.box for thing in record.objects] == [whole.box, BOX]
    assert [thing.attributes for thing in record.objects] == [{}, {}]
    # CVAT keeps the group and nothing of tlx's own.
    file = tmp_path / "out/annotations.xml"
    text = file.read_text().replace(' part_of="1"', "")
    for corner in ("xtl", "ytl", "xbr", "ybr"):
        text = text.replace(f" {corner}=", f" was_{corner}=")
    file.write_text(text)
    assert len(back(tmp_path / "out")[0].objects) == 3
    (joined,) = back(tmp_path / "out", groups="join")
    assert [thing.segmentation for thing in joined.objects] == [parts, alone.segmentation]
    assert joined.objects[0].box == Box(1.0, 2.0, 30.0, 25.0)


def test_each_split_is_a_task_and_tasks_are_cut_to_size(tmp_path: Path) -> None:
    records = [image(name=f"{n}.png", split="train" if n < 5 else "val") for n in range(7)]
    write(stored(tmp_path, *records), tmp_path / "out", images_per_task=2)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["train_0001.xml", "train_0002.xml", "train_0003.xml", "val_0001.xml"]
    sizes = [
        (ET.parse(tmp_path / "out" / name).findtext(".//size"),
         len(ET.parse(tmp_path / "out" / name).findall("image")))
        for name in names
    ]  # fmt: skip
    assert sizes == [("2", 2), ("2", 2), ("1", 1), ("2", 2)]
    again = back(tmp_path / "out")
    assert {(r.image_id, r.split) for r in again} == {(r.image_id, r.split) for r in records}


def test_tags_are_written_and_absent_labels_are_a_declared_loss(tmp_path: Path) -> None:
    labels = (Label("car"), Label("pose", present=False))
    attributes = {"car.side": "left", "weather": "rain", "cvat_image_id": 5}
    dataset = stored(tmp_path, image(labels=labels, attributes=attributes))
    write(dataset, tmp_path / "out")
    (record,) = back(tmp_path / "out")
    assert record.labels == (Label("car"),)
    assert record.attributes == {"car.side": "left", "cvat_image_id": 5}
    losses = {loss.field: loss.count for loss in find_loss(dataset, FORMAT.traits(CvatOptions()))}
    assert losses == {"attributes": 1, "labels.present": 1}


def test_only_what_cannot_be_drawn_counts_as_lost(tmp_path: Path) -> None:
    both = Object(category="car", box=BOX, keypoints=(Keypoint(1.0, 2.0),), occluded=False)
    alone = Object(category="car", keypoints=(Keypoint(1.0, 2.0),), occluded=False)
    other = changed(alone, keypoints=(Keypoint(3.0, 4.0),))
    dataset = stored(tmp_path, image(both, alone, other))
    fields = [loss.field for loss in find_loss(dataset, FORMAT.traits(CvatOptions()))]
    assert fields == ["objects.keypoints"]
    (loss,) = find_loss(dataset, FORMAT.traits(CvatOptions()))
    assert loss.count == 1
    keypoints = CvatOptions(draw="keypoints")
    assert [(x.field, x.count) for x in find_loss(dataset, FORMAT.traits(keypoints))] == [
        ("objects.box", 1)
    ]
    write(dataset, tmp_path / "out", draw="keypoints")
    assert [len(thing.keypoints) for thing in back(tmp_path / "out")[0].objects] == [1, 1, 1]


def test_text_that_xml_would_change_comes_back(tmp_path: Path) -> None:
    text = 'a<b>&"c"\r\nd\te '
    taxonomy = Taxonomy.of(['sign "<50>" & more'])
    thing = Object(category=taxonomy.names[0], box=BOX, attributes={"no<te": text}, occluded=False)
    record = image(thing, name="a & b/<c>.png")
    write(stored(tmp_path, record, taxonomy=taxonomy), tmp_path / "out")
    (again,) = back(tmp_path / "out")
    assert again.image_id == record.image_id
    assert again.objects[0].category == thing.category
    assert again.objects[0].attributes == thing.attributes


@pytest.mark.parametrize(
    "path", ["coco_val2017_sample/rle.json", "coco_val2017_sample/instances.json"]
)
def test_real_coco_goes_to_cvat_and_back(shared_data: Path, tmp_path: Path, path: str) -> None:
    before = ingest("coco", shared_data / path, tmp_path / "before.tlx")
    write(before, tmp_path / "out", media="copy")
    after = ingest("cvat", tmp_path / "out", tmp_path / "after.tlx")
    for first, second in zip(before.records(), after.records(), strict=True):
        assert first.image_id == second.image_id
        for one, two in zip(first.objects, second.objects, strict=True):
            assert (one.category, one.crowd) == (two.category, two.crowd)
            assert one.box == two.box
            if one.segmentation and two.segmentation:
                assert one.segmentation.polygons == two.segmentation.polygons
                assert one.segmentation.counts == two.segmentation.counts
        assert after.image_path(second.uri).is_file()
