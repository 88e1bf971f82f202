"""Pascal VOC read and written; the standard library's XML parser is the judge."""

from __future__ import annotations

import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as judge

from tlx import pipeline
from tlx import testing as kit
from tlx.api import Reading
from tlx.context import Context
from tlx.dataset import Dataset, to_batches
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import IssueLog
from tlx.loss import find_loss
from tlx.model import Box, Keypoint, Label, Object, Record, Segmentation, Taxonomy
from tlx.safe_xml import SafeParser
from tlx.schema import batch_to_records
from tlx_plugins.formats.coco_rle import compress, decompress
from tlx_plugins.formats.voc import VocFormat, VocOptions
from tlx_plugins.formats.voc_xml import number

FORMAT = VocFormat()
BOX = (10, 20, 30, 40)


def xml(
    filename: str = "a.jpg",
    boxes: Iterable[tuple[Any, ...]] = (BOX,),
    size: tuple[Any, Any] | None = (100, 80),
    inner: str = "",
    head: str = "",
) -> str:
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = "\n".join(
        "<object>\n<name>car</name>\n"
        + inner
        + "<bndbox>"
        + "".join(f"<{c}>{v}</{c}>" for c, v in zip(corners, box, strict=True))
        + "</bndbox>\n</object>"
        for box in boxes
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    name = f"<filename>{filename}</filename>" if filename else ""
    return f"<annotation>\n{name}{sides}{head}\n{objects}\n</annotation>\n"


@pytest.fixture
def put(put_files: Any) -> Any:
    """Write files below a fresh root; a text is one of UTF-8, a size is an image."""
    return put_files


def read(
    root: Path, policy: str = "fail", **options: Any
) -> tuple[list[Record], IssueLog, Taxonomy]:
    found = kit.read(FORMAT, root, policy, **options)  # type: ignore[arg-type]
    return found.records, found.issues, found.taxonomy


def records_of(reading: Reading) -> list[Record]:
    return [record for batch in to_batches(reading.content) for record in batch_to_records(batch)]


def dataset_of(root: Path, folder: Path, **options: Any) -> Dataset:
    reading = FORMAT.read(root, VocOptions(**options), Context(issues=IssueLog("skip")))
    return kit.store(folder, reading.content, reading.taxonomy, reading.media_root)


def write(dataset: Dataset, dest: Path, policy: str = "fail", **options: Any) -> Any:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    return FORMAT.write(dataset, dest, VocOptions(**options), context)


def back(dataset: Dataset, tmp_path: Path, **options: Any) -> Dataset:
    write(dataset, tmp_path / "out", **options)
    return dataset_of(tmp_path / "out", tmp_path / "back.tlx")


def alike(records: Iterable[Record]) -> list[Record]:
    """Everything but where the labels lie."""
    return [
        msgspec.structs.replace(
            record,
            origin=None,
            objects=tuple(msgspec.structs.replace(o, line=None) for o in record.objects),
        )
        for record in records
    ]


def box_of(record: Record) -> tuple[float, ...]:
    box = record.objects[0].box
    assert box is not None
    return (box.xmin, box.ymin, box.xmax, box.ymax)


# Real files, counted by another parser.

REAL = {
    "road_signs": ("annotations/*.xml", {}),
    "bccd": ("Annotations/*.xml", {}),
    "seed_star_wars": ("annotations/xmls/*.xml", {}),
    "labelformat_fixtures/PascalVOC": ("*.xml", {}),
    "road_signs@states": (
        "annotations_light_states/*.xml",
        {"annotations": "annotations_light_states"},
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_counted_alike_and_survive(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    pattern, options = REAL[name]
    root = shared_data / name.partition("@")[0]
    trees = [ET.parse(path).getroot() for path in sorted(root.glob(pattern))]
    records, issues, taxonomy = read(root, **options)
    assert len(records) == len(trees) > 1
    names = Counter(e.text for t in trees for e in t.iterfind("object/name"))
    assert Counter(o.category for r in records for o in r.objects) == names
    assert set(taxonomy.names) == set(names)
    for tag in ("truncated", "difficult", "occluded"):
        stated = Counter(e.text == "1" for t in trees for e in t.iterfind(f"object/{tag}"))
        found = Counter(getattr(o, tag) for r in records for o in r.objects)
        del found[None]
        assert found == stated, tag
    sizes = [tuple(int(t.findtext(f"size/{s}") or 0) for s in ("width", "height")) for t in trees]
    assert Counter((r.width, r.height) for r in records) == Counter(sizes)
    zero = any(e.text == "0" for t in trees for s in ("xmin", "ymin") for e in t.iter(s))
    shift = 0 if zero else 1
    boxes = Counter(
        tuple(float(o.findtext(f"bndbox/{c}") or 0) for c in ("xmin", "ymin", "xmax", "ymax"))
        for t in trees
        for o in t.iterfind("object")
    )
    got = Counter(
        (o.box.xmin + shift, o.box.ymin + shift, o.box.xmax, o.box.ymax)
        for r in records
        for o in r.objects
        if o.box is not None
    )
    assert got == boxes
    assert issues.counts["pixel-convention"] == 1
    first = dataset_of(root, tmp_path / "a.tlx", **options)
    assert find_loss(first, FORMAT.traits(FORMAT.options())) == []
    second = back(first, tmp_path)
    assert alike(first.records()) == alike(second.records())
    assert first.taxonomy == second.taxonomy


def test_the_light_states_are_not_mixed_with_the_plain_labels(shared_data: Path) -> None:
    _, issues, _ = read(shared_data / "road_signs")
    passed = issues.first("other-folder")[0]
    assert "annotations_light_states" in str(passed.path)
    assert passed.hint is not None
    assert "--annotations annotations_light_states" in passed.hint


def test_bccd_boxes_of_one_pixel_are_noted(shared_data: Path) -> None:
    _, issues, _ = read(shared_data / "bccd")
    noted = {Path(str(i.path)).stem for i in issues.first("one-pixel-box", 99)}
    assert noted == {"BloodImage_00338", "BloodImage_00343"}


def test_the_lists_of_the_star_wars_set_miss_one_image(shared_data: Path) -> None:
    records, issues, _ = read(shared_data / "seed_star_wars")
    assert Counter(r.split for r in records) == {"trainval": 202, None: 1}
    assert "R2-D2_102" in issues.first("unlisted")[0].message
    assert {r.image_id for r in records} >= {"BB-8_1.jpg", "R2-D2_102.jpg"}


# How corners count (complaints 35 and 36).


def test_without_a_zero_corners_count_from_one_and_that_is_said(put: Any) -> None:
    records, issues, _ = read(put({"a.xml": xml()}))
    assert box_of(records[0]) == (9, 19, 30, 40)
    assert "from 1" in issues.first("pixel-convention")[0].message


@pytest.mark.parametrize("zero", ["0", "0.0", " 0 ", "0.5"])
def test_one_zero_anywhere_means_from_zero_and_the_place_is_said(put: Any, zero: str) -> None:
    files = {f"{n}.xml": xml(f"{n}.jpg") for n in "abc"}
    files["c.xml"] = xml("c.jpg", [BOX, (5, zero, 6, 9)])
    records, issues, _ = read(put(files))
    assert [box_of(r) for r in records] == [BOX] * 3
    said = issues.first("pixel-convention")[0]
    assert (Path(str(said.path)).name, said.line) == ("c.xml", 9)


def test_the_option_overrules_and_a_contradiction_is_said(put: Any) -> None:
    root = put({"a.xml": xml(boxes=[(0, 20, 30, 40)])})
    records, issues, _ = read(root, base="1")
    assert box_of(records[0]) == (-1, 19, 30, 40)
    assert "--base 1" in issues.first("pixel-convention")[0].message
    assert box_of(read(root, base="0")[0][0]) == (0, 20, 30, 40)


def test_inclusive_corners_cover_the_image_exactly(put: Any) -> None:
    records, issues, _ = read(put({"a.xml": xml(boxes=[(1, 1, 100, 80)])}))
    assert box_of(records[0]) == (0, 0, 100, 80)
    assert not issues.counts["box-outside"]


CORNER = st.one_of(
    st.integers(-5, 4000).map(float),
    st.floats(-50, 5000, allow_nan=False).map(lambda v: v if abs(v) > 1e-30 else 0.0),
    st.decimals(0, 4000, places=3).map(float),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    boxes=st.lists(st.tuples(CORNER, CORNER, CORNER, CORNER), min_size=1, max_size=6),
    base=st.sampled_from(["0", "1"]),
    polygon=st.lists(CORNER, min_size=6, max_size=6),
)
def test_boxes_and_polygons_come_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, boxes: Any, base: str, polygon: list[float]
) -> None:
    tmp_path = tmp_path_factory.mktemp("exact")
    outline = Segmentation(polygons=(tuple(polygon),))
    boxes = list(dict.fromkeys(boxes))
    things = tuple(Object(category="car", box=Box(*b), segmentation=outline) for b in boxes)
    record = Record(image_id="a.jpg", uri="a.jpg", width=9000, height=9000, objects=things)
    dataset = kit.store(tmp_path / "a.tlx", [record], Taxonomy.of(["car"]), tmp_path)
    write(dataset, tmp_path / "out", base=base)
    records, _, _ = read(tmp_path / "out", bad_boxes="keep")
    assert len(records[0].objects) == len(boxes)
    assert alike(records) == alike([record])


def test_an_external_reader_sees_one_based_inclusive_integers(tmp_path: Path) -> None:
    thing = Object(category="car", box=Box(0, 0, 100, 80))
    record = Record(image_id="a.jpg", uri="a.jpg", width=100, height=80, objects=(thing,))
    dataset = kit.store(tmp_path / "a.tlx", [record], Taxonomy.of(["car"]), tmp_path)
    write(dataset, tmp_path / "out")
    tree = ET.parse(tmp_path / "out" / "Annotations" / "a.xml")
    box = tree.find("object/bndbox")
    assert box is not None
    assert [(e.tag, e.text) for e in box] == [
        ("xmin", "1"), ("ymin", "1"), ("xmax", "100"), ("ymax", "80"),
    ]  # fmt: skip


def test_integer_corners_are_rounded_counted_and_never_empty(tmp_path: Path) -> None:
    boxes = [Box(10.4, 5.6, 20.5, 9.0), Box(7.6, 7.6, 7.9, 7.9), Box(1, 2, 3, 4)]
    things = tuple(Object(category="car", box=box) for box in boxes)
    record = Record(image_id="a.jpg", uri="a.jpg", width=100, height=80, objects=things)
    dataset = kit.store(tmp_path / "a.tlx", [record], Taxonomy.of(["car"]), tmp_path)
    log = IssueLog()
    FORMAT.write(dataset, tmp_path / "out", VocOptions(corners="integer"), Context(issues=log))
    assert "2 boxes" in log.first("rounded-box")[0].message
    text = (tmp_path / "out/Annotations/a.xml").read_text()
    assert [int(v) for v in re.findall(r"m(?:in|ax)>(\d+)<", text)] == [
        11, 7, 21, 9, 9, 9, 9, 9, 2, 3, 3, 4,
    ]  # fmt: skip


# Flags (complaints 4 and 14).


def test_flags_are_kept_and_never_invented(put: Any, tmp_path: Path) -> None:
    stated = "<pose>Left</pose><truncated>1</truncated><occluded>0</occluded>"
    root = put({"a.xml": xml(), "b.xml": xml("b.jpg", inner=stated)})
    dataset = dataset_of(root, tmp_path / "a.tlx")
    bare, full = (r.objects[0] for r in dataset.records())
    assert (bare.difficult, bare.truncated, bare.occluded, dict(bare.attributes)) == (
        None, None, None, {},
    )  # fmt: skip
    assert (full.difficult, full.truncated, full.occluded) == (None, True, False)
    assert full.attributes == {"pose": "Left"}
    write(dataset, tmp_path / "out")
    tags = [
        [e.tag for e in ET.parse(tmp_path / f"out/Annotations/{n}.xml").iterfind("object/*")]
        for n in "ab"
    ]
    assert tags == [["name", "bndbox"], ["name", "pose", "truncated", "bndbox", "occluded"]]
    head = [e.tag for e in ET.parse(tmp_path / "out/Annotations/a.xml").getroot()]
    assert head == ["folder", "filename", "size", "object"]


def test_a_flag_that_is_no_flag_is_an_issue(put: Any) -> None:
    root = put({"a.xml": xml(inner="<difficult>maybe</difficult>\n")})
    with pytest.raises(DataError, match=r"a\.xml:5: difficult is 'maybe'"):
        read(root)
    records, issues, _ = read(root, "skip")
    assert records[0].objects[0].difficult is None
    assert issues.counts["bad-flag"] == 1


# Everything that the format can hold, and what it cannot.


def full_record() -> Record:
    return Record(
        image_id="sub folder/bild ä & <1>.png",
        uri="sub folder/bild ä & <1>.png",
        width=640,
        height=480,
        split="train",
        attributes={"depth": 3, "segmented": 0, "database": "X & Y", "verified": True,
                    "coco_image_id": 7, "sunny": False, "gain": 0.1, "note": " a\r\n\tb "},
        objects=(
            Object(
                category="it's <a> \"car\" & more",
                box=Box(1.25, 2, 3.7, 4),
                object_id="17",
                segmentation=Segmentation(
                    polygons=((1.5, 2, 3, 4, 5, 6), (0, 0, 9, 0, 9, 9.1, 1, 1))
                ),
                rotation=-12.5,
                track="t 1",
                crowd=False,
                difficult=True,
                truncated=False,
                occluded=True,
                attributes={"pose": "Rear", "n": 2, "x": 1e-9, "y": -2.0, "ok": True, "s": ""},
            ),
            Object(category="Straße", box=Box(5, 6, 7, 8)),
        ),
    )  # fmt: skip


def test_all_fields_come_back(tmp_path: Path) -> None:
    record = full_record()
    empty = Record(image_id="b.jpg", uri="b.jpg", width=4, height=3, split="val")
    names = ["never used", *(o.category for o in record.objects)]
    dataset = kit.store(tmp_path / "a.tlx", [record, empty], Taxonomy.of(names), tmp_path)
    assert find_loss(dataset, FORMAT.traits(FORMAT.options())) == []
    again = back(dataset, tmp_path)
    assert sorted(alike(again.records()), key=lambda r: r.image_id, reverse=True) == alike(
        [record, empty]
    )
    assert again.taxonomy.names == tuple(names)
    assert (tmp_path / "out/Annotations/b.xml").is_file()
    assert (tmp_path / "out/ImageSets/Main/val.txt").read_text() == "b\n"


def test_what_is_lost_is_declared(tmp_path: Path) -> None:
    mask = Segmentation(counts=b"04", size=(2, 2), compressed=True)
    thing = Object(
        category="car", box=Box(0, 0, 2, 2), segmentation=mask, keypoints=(Keypoint(1, 1),)
    )
    record = Record(
        image_id="a.jpg", uri="a.jpg", width=2, height=2, group="g", frame=1,
        labels=(Label("car"),), objects=(thing,),
    )  # fmt: skip
    dataset = kit.store(tmp_path / "a.tlx", [record], Taxonomy.of(["car"]), tmp_path)
    assert {loss.field for loss in find_loss(dataset, FORMAT.traits(FORMAT.options()))} == {
        "group", "frame", "labels", "objects.keypoints", "objects.segmentation.counts",
    }  # fmt: skip


def test_a_box_is_taken_from_polygons_and_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    outline = Segmentation(polygons=((1, 2, 9, 2, 5, 8),))
    things = (Object(category="car", segmentation=outline), Object(category="car"))
    for number_of, expected in ((1, 1), (2, None)):
        folder = tmp_path / str(number_of)
        record = Record(
            image_id="a.jpg", uri="a.jpg", width=9, height=9, objects=things[:number_of]
        )
        dataset = kit.store(folder / "a.tlx", [record], Taxonomy.of(["car"]), tmp_path)
        if expected is None:
            with pytest.raises(DataError, match=r"no box and no polygon"):
                write(dataset, folder / "out")
            assert write(dataset, folder / "out2", "skip").objects == 1
        else:
            again = back(dataset, folder)
            assert box_of(next(again.records())) == (1, 2, 9, 8)


# Layouts.


LAYOUTS = {
    "labelImg": ({"a.xml": xml(), "a.jpg": (100, 80)}, "a.jpg"),
    "sub-folders": ({"x/a.xml": xml(), "x/a.jpg": (100, 80)}, "x/a.jpg"),
    "two folders": ({"annotations/a.xml": xml(), "images/a.jpg": (100, 80)}, "a.jpg"),
    "devkit": ({"Annotations/a.xml": xml(), "JPEGImages/a.jpg": (100, 80)}, "a.jpg"),
    "devkit with sub-folders": (
        {"Annotations/s/a.xml": xml(), "JPEGImages/s/a.jpg": (100, 80)}, "s/a.jpg",
    ),
    "VOCdevkit": (
        {
            "VOC2007/Annotations/a.xml": xml(), "VOC2007/JPEGImages/a.jpg": (100, 80),
            "VOC2012/Annotations/a.xml": xml(), "VOC2012/JPEGImages/a.jpg": (100, 80),
        },
        "VOC2007/JPEGImages/a.jpg",
    ),
    "pets": ({"annotations/xmls/a.xml": xml(), "images/a.jpg": (100, 80)}, "a.jpg"),
    "folder element": (
        {"annotations/a.xml": xml(head="<folder>film</folder>"), "film/a.jpg": (100, 80)},
        "film/a.jpg",
    ),
    "images at the root": ({"Annotations/a.xml": xml(), "a.jpg": (100, 80)}, "a.jpg"),
    "another ending": ({"a.xml": xml("a.jpg"), "a.png": (100, 80)}, "a.png"),
    "another case": ({"a.xml": xml("a.jpg"), "A.JPG": (100, 80)}, "A.JPG"),
    "no ending": ({"a.xml": xml("a"), "a.png": (100, 80)}, "a.png"),
    "no file name": ({"a.xml": xml(""), "a.png": (100, 80)}, "a.png"),
    "stale file name": ({"b.xml": xml("a.jpg"), "b.jpg": (100, 80)}, "b.jpg"),
    "Windows path as a name": ({"a.xml": xml(r"C:\me\a.jpg"), "a.jpg": (100, 80)}, "a.jpg"),
    "Windows path": (
        {"a.xml": xml(head=r"<path>D:\Python_projects\a.jpg</path>"), "a.jpg": (100, 80)}, "a.jpg",
    ),
    "climbing name": ({"d/a.xml": xml("../../../a.jpg"), "d/a.jpg": (100, 80)}, "d/a.jpg"),
    "several dots": ({"a b.c.xml": xml("a b.c.jpg"), "a b.c.jpg": (100, 80)}, "a b.c.jpg"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_images_are_found_in_every_layout(put: Any, name: str) -> None:
    files, expected = LAYOUTS[name]
    root = put(files)
    context = Context()
    reading = FORMAT.read(root, VocOptions(), context)
    records = records_of(reading)
    assert records[0].uri == expected
    assert len(records) == sum(n.endswith(".xml") for n in files)
    assert all((reading.media_root / r.uri).is_file() for r in records)
    assert not context.issues.lost
    assert FORMAT.sniff(root).ok


def test_an_annotation_folder_or_a_file_finds_its_images_beside_it(put: Any) -> None:
    root = put(
        {f"annotations/xmls/{n}.xml": xml(f"{n}.jpg") for n in "ab"}
        | {f"images/{n}.jpg": (100, 80) for n in "ab"}
    )
    (root / "annotations_2").mkdir()
    (root / "annotations_2/b.xml").write_text(xml("b.jpg"))
    for name, number_of in (
        ("annotations/xmls", 2),
        ("annotations/xmls/b.xml", 1),
        ("annotations_2", 1),
        ("annotations_2/b.xml", 1),
    ):
        start = root / name
        records, issues, _ = read(start)
        assert len(records) == number_of
        assert not issues.counts["no-images"]


def test_images_elsewhere_are_named_by_an_option(put: Any, tmp_path: Path) -> None:
    root = put({"labels/s/a.xml": xml()})
    other = tmp_path / "pictures"
    (other / "s").mkdir(parents=True)
    Image.new("RGB", (100, 80)).save(other / "s" / "a.jpg")
    reading = FORMAT.read(root, VocOptions(images=str(other), annotations="labels"), Context())
    assert [r.uri for r in records_of(reading)] == ["s/a.jpg"]
    assert reading.media_root == other


def test_splits_come_from_lists_then_from_folders(put: Any) -> None:
    files: dict[str, Any] = {f"Annotations/{n}.xml": xml(f"{n}.jpg") for n in "abcd"}
    files |= {
        "ImageSets/Main/train.txt": "a\r\n",
        "ImageSets/Main/val.txt": "b\n",
        "ImageSets/Main/trainval.txt": "a\nb\nc\n",
        "ImageSets/Main/car_train.txt": "d -1\n",
        "ImageSets/Main/test.txt": "gone\n",
    }
    records, issues, _ = read(put(files))
    assert [r.split for r in records] == ["train", "val", "trainval", None]
    assert "gone" in issues.first("listed-only")[0].message
    folders = put({"../two/train/a.xml": xml(), "../two/valid/b.xml": xml("b.jpg")})
    assert [r.split for r in read(folders.parent / "two")[0]] == ["train", "val"]


def test_an_image_in_two_lists_is_an_issue(put: Any) -> None:
    root = put(
        {
            "Annotations/a.xml": xml(),
            "ImageSets/Main/train.txt": "a\n",
            "ImageSets/Main/test.txt": "a\n",
        }
    )
    with pytest.raises(DataError, match="a is in test too"):
        read(root)


def test_pets_lists_have_more_columns(put: Any) -> None:
    root = put(
        {
            "annotations/xmls/Abyssinian_1.xml": xml("Abyssinian_1.jpg"),
            "annotations/xmls/pug 2.xml": xml("pug 2.jpg"),
            "annotations/list.txt": "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_1 1 1 1\n",
            "annotations/trainval.txt": "Abyssinian_1 1 1 1\n",
            "annotations/test.txt": "pug 2\n",
        }
    )
    assert [r.split for r in read(root)[0]] == ["trainval", "test"]


def test_images_without_labels_are_left_or_negative_as_asked(put: Any) -> None:
    root = put({"a.xml": xml(), "a.jpg": (100, 80), "b.jpg": (30, 20)})
    records, issues, _ = read(root)
    assert len(records) == 1
    assert "1 images" in issues.first("unlabelled")[0].message
    records, _, _ = read(root, unlabelled="negative")
    assert [(r.uri, r.width, r.height, r.objects) for r in records[1:]] == [("b.jpg", 30, 20, ())]


def test_the_same_file_name_in_two_folders_stays_apart(tmp_path: Path) -> None:
    """Complaints 40 and 41, and a stem that two images share."""
    names = ["a/1.jpg", "b/1.jpg", "1.jpg", "1.png", "1.png.jpg", "A/1.jpg", "b/1.jpg.jpg"]
    records = [Record(image_id=n, uri=n, width=9, height=9, split="s") for n in names]
    dataset = kit.store(tmp_path / "a.tlx", records, Taxonomy.of(["car"]), tmp_path)
    again = back(dataset, tmp_path)
    assert {r.image_id for r in again.records()} == set(names)
    assert {r.split for r in again.records()} == {"s"}
    written = {p.as_posix().casefold() for p in (tmp_path / "out").rglob("*.xml")}
    assert len(written) == len(names)


def test_urls_stay_urls(tmp_path: Path) -> None:
    uri = "https://host/a/../b%20c.jpg?x=1&y=2"
    record = Record(image_id=uri, uri=uri, width=9, height=9)
    dataset = kit.store(tmp_path / "a.tlx", [record], Taxonomy.of(["car"]), tmp_path)
    assert [r.uri for r in back(dataset, tmp_path).records()] == [uri]


@pytest.mark.parametrize("uri", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "a\nb.jpg", "\x01.jpg"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, uri: str) -> None:
    record = Record(image_id="a", uri=uri, width=9, height=9)
    dataset = kit.store(tmp_path / "a.tlx", [record], Taxonomy.of(["car"]), tmp_path)
    with pytest.raises(DataError, match="cannot become the name of a file"):
        write(dataset, tmp_path / "out")
    assert write(dataset, tmp_path / "out2", "skip").images == 0
    assert not list(tmp_path.rglob("*.xml"))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_instance_masks_of_the_devkit_are_read(put: Any) -> None:
    root = put(
        {
            "Annotations/a.xml": xml(boxes=[("x", 1, 2, 3), BOX, BOX], size=(6, 4)),
            "JPEGImages/a.jpg": (6, 4),
        }
    )
    pixels = np.zeros((4, 6), np.uint8)
    pixels[1:3, 2:5] = 2
    pixels[0, 0] = 3
    pixels[3] = 255
    (root / "SegmentationObject").mkdir()
    palette = Image.fromarray(pixels)
    palette.putpalette(range(256 * 3 - 512))
    palette.save(root / "SegmentationObject/a.png")
    records, issues, _ = read(root, "skip", bad_boxes="keep")
    assert issues.counts["bad-box"] == 1
    masks = [o.segmentation for o in records[0].objects]
    for value, mask in zip((2, 3), masks, strict=True):
        assert mask is not None
        decoded = judge.decode({"size": mask.size, "counts": mask.counts})
        assert (decoded.astype(bool) == (pixels == value)).all()
    Image.new("RGB", (6, 4)).save(root / "SegmentationObject/a.png")
    assert read(root, "skip", bad_boxes="keep")[1].counts["bad-mask"] == 1


# Bad input.


BROKEN: dict[str, tuple[bytes, str]] = {
    "truncated": (xml().encode()[:90], r"a\.xml:\d+: is not well-formed"),
    "empty": (b"", r"a\.xml:1: is not well-formed.*empty"),
    "cp1252": (xml("ä.jpg").encode("cp1252"), r"a\.xml:2: is not well-formed.*--encoding cp1252"),
    "billion laughs": (
        b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>',
        "entities",
    ),
    "external entity": (
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
        "entities",
    ),
    "undeclared entity": (b"<annotation>\n<filename>&x;</filename></annotation>", r"a\.xml:2: "),
    "two roots": (xml().encode() * 2, r"a\.xml:8: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_xml_is_one_error_with_a_place_or_an_issue(put: Any, name: str) -> None:
    data, pattern = BROKEN[name]
    root = put({"a.xml": data, "b.xml": xml("b.jpg")})
    with pytest.raises(DataError, match=pattern):
        read(root)
    records, issues, _ = read(root, "skip")
    assert [r.uri for r in records] == ["b.jpg"]
    assert issues.counts["bad-xml"] == 1


def test_encodings_and_an_empty_line_before_the_root(put: Any) -> None:
    text = xml("ä.jpg")
    declared = '<?xml version="1.0" encoding="{}"?>'
    root = put(
        {
            "a.xml": b"\n \r\n" + text.encode(),
            "b.xml": b"\n" + (declared.format("utf-8") + text.replace("ä", "ö")).encode(),
            "c.xml": b"\xef\xbb\xbf" + text.replace("ä", "é").encode(),
            "d.xml": (declared.format("utf-16") + text.replace("ä", "û")).encode("utf-16"),
            "e.xml": (declared.format("cp1252") + text.replace("ä", "ñ")).encode("cp1252"),
        }
    )
    assert [r.uri for r in read(root)[0]] == ["ä.jpg", "ö.jpg", "é.jpg", "û.jpg", "ñ.jpg"]
    other = put({"../one/a.xml": text.encode("cp1252")}).parent / "one"
    assert [r.uri for r in read(other, encoding="cp1252")[0]] == ["ä.jpg"]
    with pytest.raises(UsageError, match="no encoding"):
        read(other, encoding="klingon")


BOXES: dict[str, tuple[Any, str]] = {
    "degenerate-box": ((30, 20, 10, 40), "empty or inverted"),
    "box-outside": ((-30, 20, 30, 40), "leaves the image of 100 x 80"),
}


@pytest.mark.parametrize("code", BOXES)
@pytest.mark.parametrize("policy", [None, "keep", "clip", "drop", "fail"])
def test_bad_boxes_follow_the_policy(put: Any, code: str, policy: str | None) -> None:
    box, words = BOXES[code]
    root = put({"a.xml": xml(boxes=[box])})
    if policy is None and code == "degenerate-box":
        with pytest.raises(DataError, match=rf"a\.xml:3: the box .*{words}"):
            read(root)
    records, issues, _ = read(root, "skip", bad_boxes=policy)
    assert issues.counts[code] == 1
    kept = policy == "keep" or (code == "box-outside" and policy in {None, "clip"})
    assert len(records[0].objects) == kept
    if policy == "clip" and kept:
        assert box_of(records[0])[0] == 0


@pytest.mark.parametrize("corner", ["nan", "inf", "1e999", "", "x", "1_0", "9" * 400, "\u0661"])
def test_a_corner_that_is_no_number_is_an_issue_with_its_line(put: Any, corner: str) -> None:
    root = put({"a.xml": xml(boxes=[BOX, (corner, 20, 30, 40)])})
    with pytest.raises(DataError, match=r"a\.xml:9: the box has a corner"):
        read(root)
    records, issues, _ = read(root, "skip")
    assert len(records[0].objects) == 1
    assert issues.counts["bad-box"] == 1


def test_sizes_missing_zero_and_contradicted(put: Any) -> None:
    files: dict[str, Any] = {
        "a.xml": xml(size=None), "b.xml": xml("b.jpg", size=(0, 0)),
        "c.xml": xml("c.jpg", size=(80, 100)), "d.xml": xml("d.jpg"),
    }  # fmt: skip
    files |= {f"{n}.jpg": (100, 80) for n in "abcd"}
    root = put(files)
    records, issues, _ = read(root)
    assert [(r.width, r.height) for r in records] == [(100, 80), (100, 80), (80, 100), (100, 80)]
    assert issues.counts == {"pixel-convention": 1, "bad-size": 1, "size-mismatch": 1}
    assert "turned" in issues.first("size-mismatch")[0].message
    records, _, _ = read(root, size_from="image")
    assert {(r.width, r.height) for r in records} == {(100, 80)}


def test_images_absent_or_unreadable(put: Any) -> None:
    files = {f"{n}.xml": xml(f"{n}.jpg") for n in "abc"}
    root = put({**files, "a.jpg": (100, 80), "b.jpg": b"no image"})
    with pytest.raises(DataError, match=r"c\.xml:1: the image 'c\.jpg' is not here"):
        read(root)
    records, issues, _ = read(root, "skip")
    assert [r.uri for r in records] == ["a.jpg", "b.jpg"]
    assert issues.counts["unreadable-image"] == issues.counts["missing-image"] == 1


def test_two_files_for_one_image_and_one_object_twice(put: Any) -> None:
    root = put({"a.xml": xml(boxes=[BOX, BOX]), "b/a.xml": xml(), "a.jpg": (100, 80)})
    records, issues, _ = read(root, "skip", images=".", annotations=None)
    assert len(records) == 1
    assert len(records[0].objects) == 1
    assert issues.counts["duplicate-object"] == issues.counts["duplicate-image"] == 1


def test_other_xml_is_passed_over_and_a_folder_without_any_is_an_error(put: Any) -> None:
    root = put({"a.xml": xml(), "b.xml": "<annotations><image/></annotations>"})
    records, issues, _ = read(root)
    assert len(records) == 1
    assert issues.counts["other-file"] == 1
    empty = root / "nothing"
    empty.mkdir()
    with pytest.raises(DataError, match="no XML"):
        FORMAT.read(empty, VocOptions(), Context())
    assert not FORMAT.sniff(empty).ok
    (empty / "x.xml").write_text("\n\n<annotations>")
    assert not FORMAT.sniff(empty).ok


def test_links_that_lead_back_end(put: Any) -> None:
    root = put({"Annotations/a.xml": xml(), "JPEGImages/a.jpg": (100, 80)})
    (root / "JPEGImages" / "loop").symlink_to(root, target_is_directory=True)
    (root / "Annotations" / "self").symlink_to(root / "Annotations", target_is_directory=True)
    assert len(read(root)[0]) == 1


def test_a_rotated_box_of_rolabelimg_keeps_its_angle(put: Any) -> None:
    rotated = "<robndbox><cx>50</cx><cy>40</cy><w>20</w><h>10</h><angle>1.5</angle></robndbox>"
    text = re.sub(r"<bndbox>.*</bndbox>", rotated, xml())
    thing = read(put({"a.xml": text}))[0][0].objects[0]
    assert thing.box == Box(40, 35, 60, 45)
    assert thing.rotation == pytest.approx(85.94, abs=0.01)


def test_the_rotation_of_cvat_is_one(put: Any) -> None:
    cvat = (
        "<attributes><attribute><name>rotation</name><value>30.0</value></attribute></attributes>"
    )
    assert read(put({"a.xml": xml(inner=cvat)}))[0][0].objects[0].rotation == 30.0


PIECES = st.sampled_from(
    [
        b"<annotation>", b"</annotation>", b"<object>", b"</object>", b"<name>car</name>",
        b"<bndbox>", b"</bndbox>", b"<xmin>1</xmin>", b"<ymin>-2.5e3</ymin>", b"<xmax>7</xmax>",
        b"<ymax>NaN</ymax>", b"<size><width>1e9</width><height>3</height></size>", b"<polygon>",
        b"<x1>1</x1><y1>2</y1>", b"</polygon>", b"<filename>../a</filename>", b"\n", b"\x00",
        b"<attributes><attribute><name>a</name><value type='integer'>x</value></attribute>",
        b"</attributes>", b"<!-- -->", b"<?pi?>", b"<![CDATA[x]]>", b"&amp;", b"&x;",
        b"<difficult>2</difficult>", b"<robndbox><cx>1</cx></robndbox>", b"<path>http://x/y</path>",
        b"<track/>", b"<x:y/>", b"<rotation>1</rotation>",
    ]
)  # fmt: skip


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.lists(PIECES, max_size=20).map(b"".join),
        st.lists(PIECES, max_size=20).map(
            lambda p: b"<annotation>" + b"".join(p) + b"</annotation>"
        ),
        st.tuples(st.integers(0, 300), st.binary(max_size=3)).map(
            lambda cut: xml().encode()[: cut[0]] + cut[1] + xml().encode()[cut[0] + len(cut[1]) :]
        ),
    )
)
def test_any_bytes_end_in_records_or_in_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tmp_path_factory.getbasetemp() / f"fuzz-{os.getpid()}"
    root.mkdir(exist_ok=True)
    (root / "a.xml").write_bytes(data)
    FORMAT.sniff(root)
    for policy in ("fail", "skip"):
        try:
            records, _, taxonomy = read(root, policy)
        except TlxError:
            assert policy == "fail"
            continue
        assert {o.category for r in records for o in r.objects} <= set(taxonomy.names)
        kit.store(root.parent / f"{root.name}.tlx", records, taxonomy, root)
        shutil.rmtree(root.parent / f"{root.name}.tlx")


@given(st.text(max_size=30))
def test_numbers_are_finite_or_none(text: str) -> None:
    value = number(text, 1)
    assert value is None or abs(value) < float("inf")


def test_deep_nesting_is_an_error_of_ours() -> None:
    data = b"<a>" * 100_000
    with pytest.raises(DataError):
        SafeParser().parse(data, "a.xml")


# Media, bytes, and the commands.


@pytest.mark.parametrize("media", ["copy", "hardlink", "symlink"])
def test_images_are_brought_along_and_sources_stay(put: Any, tmp_path: Path, media: str) -> None:
    root = put({"s/a.xml": xml(), "s/a.jpg": (100, 80), "b.xml": xml("b.jpg"), "b.jpg": (100, 80)})
    before = {p: p.read_bytes() for p in root.rglob("*.jpg")}
    dataset = dataset_of(root, tmp_path / "a.tlx")
    report = write(dataset, tmp_path / "out", media=media)
    brought = tmp_path / "out/JPEGImages/s/a.jpg"
    assert brought.read_bytes() == before[root / "s/a.jpg"]
    assert brought.is_symlink() == (media == "symlink")
    assert brought.samefile(root / "s/a.jpg") == (media != "copy")
    assert {p: p.read_bytes() for p in root.rglob("*.jpg")} == before
    assert set(report.files) >= {"JPEGImages/b.jpg", "Annotations/s/a.xml", "labels.txt"}
    records, issues, _ = read(tmp_path / "out")
    assert alike(records) == alike(dataset.records())
    assert not issues.counts


def test_an_image_that_is_not_there_cannot_be_copied(put: Any, tmp_path: Path) -> None:
    dataset = dataset_of(put({"a.xml": xml()}), tmp_path / "a.tlx")
    with pytest.raises(DataError, match="not there"):
        write(dataset, tmp_path / "out", media="copy")


def test_a_size_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    record = Record(image_id="a.jpg", uri="a.jpg")
    dataset = kit.store(tmp_path / "a.tlx", [record], Taxonomy.of(["car"]), tmp_path)
    with pytest.raises(DataError, match="size of a.jpg is not known"):
        write(dataset, tmp_path / "out")
    Image.new("RGB", (7, 5)).save(tmp_path / "a.jpg")
    write(dataset, tmp_path / "out2")
    text = (tmp_path / "out2/Annotations/a.xml").read_text()
    assert "<width>7</width>" in text


def test_foreign_to_foreign_through_the_pipeline(put: Any, tmp_path: Path) -> None:
    root = put({"annotations/a.xml": xml(), "images/a.jpg": (100, 80)})
    assert pipeline.detect(root) == "voc"
    done = pipeline.convert(root, "coco", tmp_path / "coco", from_="voc")
    again = pipeline.convert(tmp_path / "coco", "voc", tmp_path / "voc", from_="coco")
    assert (done.images, again.objects, again.losses) == (1, 1, ())
    corners = re.findall(r"m(?:in|ax)>(\d+)<", (tmp_path / "voc/Annotations/a.xml").read_text())
    assert [int(c) for c in corners] == list(BOX)


# -- masks -----------------------------------------------------------------------------------------


def test_masks_are_pictures_in_the_devkit_s_colours(tmp_path: Path) -> None:
    square = Segmentation(polygons=((1.0, 1.0, 9.0, 1.0, 9.0, 7.0, 1.0, 7.0),))
    runs = Segmentation(counts=compress([0, 80]), size=(8, 10), compressed=True)
    box = Box(1.0, 1.0, 9.0, 7.0)
    things = (
        Object(category="b", box=Box(0.0, 0.0, 10.0, 8.0), segmentation=runs),
        Object(category="a", box=box, segmentation=square),
        Object(category="a", box=box),
    )
    record = Record(
        image_id="x/y.png", uri="x/y.png", width=10, height=8, objects=things, split="train"
    )
    bare = Record(image_id="z.png", uri="z.png", width=10, height=8, objects=things[2:])
    dataset = kit.store(tmp_path / "d.tlx", [record, bare], ["a", "b"], tmp_path)
    issues = IssueLog("fail")
    VocFormat().write(dataset, tmp_path / "out", VocOptions(masks=True), Context(issues=issues))
    objects = Image.open(tmp_path / "out/SegmentationObject/x/y.png")
    classes = Image.open(tmp_path / "out/SegmentationClass/x/y.png")
    numbers = np.asarray(objects)
    assert objects.mode == classes.mode == "P"
    # The large mask lies below the small one.
    assert (numbers[1:7, 1:9] == 2).all()
    assert (numbers[0] == 1).all()
    assert (np.asarray(classes)[1:7, 1:9] == 1).all()
    assert (np.asarray(classes)[0] == 2).all()
    # VOClabelcolormap: aeroplane, bicycle and the border.
    palette = np.array(objects.getpalette()).reshape(-1, 3)
    assert palette[[0, 1, 2, 15, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192],
    ]  # fmt: skip
    assert issues.counts == {"hidden-mask": 1}
    assert (tmp_path / "out/ImageSets/Segmentation/train.txt").read_text() == "x/y\n"
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2
    reading = VocFormat().read(tmp_path / "out", VocOptions(), Context())
    again = {r.image_id: r for r in records_of(reading)}
    first, second, third = again["x/y.png"].objects
    assert second.segmentation == square
    assert first.segmentation is not None
    assert first.segmentation.counts is not None
    assert sum(decompress(first.segmentation.counts)[1::2]) == 80 - 48
    assert third.segmentation is None


def test_more_classes_than_a_byte_tells_apart_are_refused(tmp_path: Path) -> None:
    record = Record(image_id="a.png", uri="a.png", width=9, height=9)
    taxonomy = Taxonomy.of([f"c{n}" for n in range(255)])
    dataset = kit.store(tmp_path / "d.tlx", [record], taxonomy, tmp_path)
    with pytest.raises(UsageError, match="254 classes"):
        VocFormat().write(dataset, tmp_path / "out", VocOptions(masks=True), Context())
