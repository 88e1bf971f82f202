"""YOLO read and written; judged by a reader of a few lines and PyYAML."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx import pipeline
from tlx import testing as kit
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, TlxError
from tlx.issues import IssueLog
from tlx.loss import find_loss
from tlx.model import Box, Object, Record, Segmentation, Taxonomy
from tlx.schema import flat_objects, records_to_batch
from tlx_plugins.formats.text_columns import corners_of
from tlx_plugins.formats.voc import VocFormat, VocOptions
from tlx_plugins.formats.yolo import YoloFormat, YoloOptions
from tlx_plugins.formats.yolo_obb import quadrilaterals, rotated_box, smallest_rectangle

FORMAT = YoloFormat()
ROW = "0 0.5 0.5 0.2 0.25\n"
IMAGE = (100, 80)


@pytest.fixture
def put(put_files: Any) -> Any:
    """Write files below a fresh root; a text is one of UTF-8, a size is an image."""
    return put_files


def read(
    root: Path, policy: str = "fail", **options: Any
) -> tuple[list[Record], IssueLog, Taxonomy]:
    found = kit.read(FORMAT, root, policy, **options)  # type: ignore[arg-type]
    return found.records, found.issues, found.taxonomy


def write(dataset: Dataset, dest: Path, policy: str = "fail", **options: Any) -> IssueLog:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    FORMAT.write(dataset, dest, YoloOptions(**options), context)
    return context.issues


def boxes(record: Record) -> list[tuple[float, ...]]:
    return [(o.box.xmin, o.box.ymin, o.box.xmax, o.box.ymax) for o in record.objects if o.box]


def by_hand(root: Path) -> Counter[Any]:
    """What a trainer sees: class name and box in pixels, by image, read as Ultralytics does."""
    settings_of = yaml.safe_load((root / "data.yaml").read_text("utf-8"))
    names = settings_of.pop("names")
    seen: Counter[Any] = Counter()
    for folder in settings_of.values():
        for path in (root / folder).rglob("*.*"):
            if path.suffix == ".txt":
                continue
            before, after = str(path).rsplit("/images/", 1)
            with Image.open(path) as image:
                width, height = image.size
            for line in Path(before, "labels", after).with_suffix(".txt").read_text().splitlines():
                number, x, y, w, h = map(float, line.split())
                corners = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
                seen[path.name, names[int(number)], *(round(v, 4) for v in corners)] += 1
    return seen


@pytest.mark.parametrize("name", ["road_signs", "bccd"])
def test_real_voc_sets_become_yolo_and_come_back(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    reading = VocFormat().read(shared_data / name, VocOptions(), Context())
    first = kit.store(tmp_path / "a.tlx", reading.content, reading.taxonomy, reading.media_root)
    split = pipeline.split(first.path, tmp_path / "s.tlx", by="image", seed=1)
    write(split, tmp_path / "out")
    expected: Counter[Any] = Counter()
    for r in split.records():
        for o in r.objects:
            assert o.box is not None
            corners = (o.box.xmin, o.box.ymin, o.box.width, o.box.height)
            expected[r.image_id, o.category, *(round(v, 4) for v in corners)] += 1
    assert by_hand(tmp_path / "out") == expected
    records, issues, taxonomy = read(tmp_path / "out")
    assert not issues.counts
    assert taxonomy.names == split.taxonomy.names
    want = {r.image_id: r for r in split.records()}
    assert {r.image_id for r in records} == set(want)
    for record in records:
        source = want[record.image_id]
        assert (record.split, record.width, record.height) == (
            source.split, source.width, source.height,
        )  # fmt: skip
        assert boxes(record) == boxes(source)
        assert [o.category for o in record.objects] == [o.category for o in source.objects]


LAYOUTS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "Ultralytics": (
        {
            "data.yaml": "path: .\ntrain: images/train\nval: images/val\nnames: {0: car, 1: bus}\n",
            "images/train/a.jpg": IMAGE, "labels/train/a.txt": ROW,
        },
        "a.jpg", "train",
    ),
    "Roboflow": (
        {
            "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['car']\n",
            "valid/images/a.jpg": IMAGE, "valid/labels/a.txt": ROW,
        },
        "a.jpg", "val",
    ),
    "a list of images": (
        {
            "data.yaml": "train: train.txt\nnames: [car]\n", "train.txt": "./images/s/a.jpg\r\n",
            "images/s/a.jpg": IMAGE, "labels/s/a.txt": ROW,
        },
        "s/a.jpg", "train",
    ),
    "CVAT": (
        {
            "obj.names": "car\n", "obj.data": "classes = 1\n", "train.txt": "data/x/a.jpg\n",
            "obj_train_data/a.jpg": IMAGE, "obj_train_data/a.txt": ROW,
        },
        "obj_train_data/a.jpg", None,
    ),
    "labelImg": ({"classes.txt": "car\n", "a.jpg": IMAGE, "a.txt": ROW}, "a.jpg", None),
    "two folders": (
        {"labels/classes.txt": "car\n", "images/a.jpg": IMAGE, "labels/a.txt": ROW}, "a.jpg", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_read_and_recognised(put: Any, name: str) -> None:
    files, image_id, split = LAYOUTS[name]
    root = put(files)
    assert FORMAT.sniff(root).ok
    records, issues, taxonomy = read(root)
    assert [(r.image_id, r.split) for r in records] == [(image_id, split)]
    assert records[0].objects[0].category == taxonomy.names[0] == "car"
    assert boxes(records[0]) == [(40, 30, 60, 50)]
    assert (root / records[0].uri).is_file()
    assert not issues.lost


def test_a_class_may_be_named_no_and_numbers_may_have_gaps(put: Any) -> None:
    files = {
        "data.yaml": "names:\n  0: no\n  7: 1\n",
        "a.jpg": IMAGE,
        "a.txt": ROW + ROW.replace("0 ", "7 ", 1),
    }
    records, _, taxonomy = read(put(files))
    assert [o.category for o in records[0].objects] == ["no", "1"]
    assert [c.source_id for c in taxonomy.categories] == [0, 7]


def test_an_image_without_a_text_file_is_a_negative_and_is_counted(put: Any) -> None:
    """Complaints 18 to 23."""
    root = put(
        {"classes.txt": "car\n", "a.jpg": IMAGE, "a.txt": ROW, "b.jpg": IMAGE, "c.jpg": IMAGE}
    )
    put({"c.txt": ""})
    records, issues, _ = read(root)
    assert [(r.image_id, len(r.objects)) for r in records] == [
        ("a.jpg", 1), ("b.jpg", 0), ("c.jpg", 0),
    ]  # fmt: skip
    assert "1 images" in issues.first("unlabelled")[0].message
    assert len(read(root, unlabelled="leave")[0]) == 2


def test_outlines_are_read_with_their_bounds(put: Any) -> None:
    root = put({"classes.txt": "car\n", "a.jpg": IMAGE, "a.txt": "0 0.1 0.1 0.5 0.1 0.5 0.5\n"})
    thing = read(root)[0][0].objects[0]
    assert thing.segmentation == Segmentation(polygons=((10, 8, 50, 8, 50, 40),))
    assert thing.box == Box(10, 8, 50, 40)


BAD_ROWS = {
    "0 0.5 0.5 0.2\n": r"a\.txt:2: has 4 numbers",
    "0 0.5 0.5 0.2 0.2 0.9\n": r"a\.txt:2: has 6 numbers.*prediction",
    "0 nan 0.5 0.2 0.2\n": r"a\.txt:2: .*finite",
    "0.5 0.5 0.5 0.2 0.2\n": r"a\.txt:2: .*class number",
    "-1 0.5 0.5 0.2 0.2\n": r"a\.txt:2: .*class number",
    "car 0.5 0.5 0.2 0.2\n": r"a\.txt:2: .*class number",
    "9 0.5 0.5 0.2 0.2\n": r"a\.txt:2: the class number 9 has no name",
    "0 0.5 0.5 0 0.2\n": r"a\.txt:2: the box .* empty or inverted",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_bad_rows_are_errors_with_a_line_or_issues(put: Any, row: str) -> None:
    root = put({"classes.txt": "car\n", "a.jpg": IMAGE, "a.txt": ROW + row})
    with pytest.raises(DataError, match=BAD_ROWS[row]):
        read(root)
    records, issues, _ = read(root, "skip")
    assert len(records[0].objects) == 1
    assert issues.total == 1


def test_other_bad_input_has_a_defined_result(put: Any) -> None:
    root = put(
        {
            "classes.txt": b"\xef\xbb\xbfcar\r\n", "a.jpg": IMAGE, "a.txt": ROW + "\r\n" + ROW,
            "b.jpg": b"no image", "b.txt": ROW, "c.txt": ROW, "d.jpg": IMAGE,
            "d.txt": ROW.encode("utf-16"), "e.jpg": IMAGE, "e.txt": "0 1.5 0.5 0.2 0.2\n",
        }
    )  # fmt: skip
    records, issues, _ = read(root, "skip")
    assert [r.image_id for r in records] == ["a.jpg", "e.jpg"]
    assert issues.counts == {
        "duplicate-object": 1, "unreadable-image": 1, "missing-image": 1, "unreadable-file": 1,
        "box-outside": 1,
    }  # fmt: skip


YAML = {
    "names: [car\n": "is not YAML",
    "names: 3\n": "names is no list",
    "names: {a: car}\n": "names is no list",
    "names: &a [*a]\n": "recursive",
    "train: nowhere\nnames: [car]\n": "none of its folders",
}


@pytest.mark.parametrize("text", YAML)
def test_a_broken_data_yaml_is_one_error(put: Any, text: str) -> None:
    root = put({"data.yaml": text, "a.jpg": IMAGE})
    with pytest.raises(DataError, match=YAML[text]):
        read(root)


def test_tags_of_python_objects_are_text(put: Any) -> None:
    text = "names: !!python/object/apply:os.system [touch x]\n"
    root = put({"data.yaml": text, "a.jpg": IMAGE, "a.txt": ROW})
    assert read(root)[2].names == ("touch x",)


def test_splits_that_share_a_name_stay_apart(put: Any, tmp_path: Path) -> None:
    files: dict[str, Any] = {"data.yaml": "train: images/train\nval: images/val\nnames: [car]\n"}
    for split in ("train", "val"):
        files |= {f"images/{split}/1.jpg": IMAGE, f"labels/{split}/1.txt": ROW}
    records, _, _ = read(put(files))
    assert [r.image_id for r in records] == ["images/train/1.jpg", "images/val/1.jpg"]


def test_images_of_the_same_stem_keep_their_own_labels(tmp_path: Path) -> None:
    names = ["images/a.jpg", "images/a.png", "b/a.jpg", "B/a.jpg"]
    records = []
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", IMAGE).save(tmp_path / name)
        thing = Object(category="car", box=Box(number, 0, 50, 50))
        records.append(Record(image_id=name, uri=name, split="train", objects=(thing,)))
    dataset = kit.store(tmp_path / "a.tlx", records, ["car"], tmp_path)
    issues = write(dataset, tmp_path / "out", media="copy")
    assert issues.counts == {"renamed-image": 2}
    again, _, _ = read(tmp_path / "out")
    assert sorted(b[0][0] for b in map(boxes, again)) == [0, 1, 2, 3]
    assert len(by_hand(tmp_path / "out")) == 4


def test_outlines_are_written_on_request_and_joined_or_made_from_boxes(tmp_path: Path) -> None:
    Image.new("RGB", IMAGE).save(tmp_path / "a.jpg")
    triangle = (10.0, 8.0, 50.0, 8.0, 50.0, 40.0)
    things = (
        Object(category="bus", segmentation=Segmentation(polygons=(triangle,))),
        Object(category="car", box=Box(0, 0, 50, 40)),
        Object(category="car", segmentation=Segmentation(polygons=(triangle, triangle))),
    )
    record = Record(image_id="a.jpg", uri="a.jpg", split="train", objects=things)
    dataset = kit.store(tmp_path / "a.tlx", [record], ["car", "bus"], tmp_path)
    issues = write(dataset, tmp_path / "out", task="segment")
    assert issues.counts == {"joined-outline": 1, "outlined-box": 1}
    assert (tmp_path / "out/labels/train/a.txt").read_text().splitlines() == [
        "1 0.1 0.1 0.5 0.1 0.5 0.5",
        "0 0 0 0.5 0 0.5 0.5 0 0.5",
        "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.1 0.5 0.1 0.5 0.5",
    ]
    thing = read(tmp_path / "out")[0][0].objects[0]
    assert thing.segmentation == Segmentation(polygons=(triangle,))


def test_boxes_that_leave_the_image_follow_the_option(tmp_path: Path) -> None:
    Image.new("RGB", IMAGE).save(tmp_path / "a.jpg")
    things = (
        Object(category="car", box=Box(-10, 0, 50, 40)),
        Object(category="car", box=Box(200, 0, 250, 40)),
        Object(category="car", box=Box(0, 0, 100, 80)),
    )
    record = Record(image_id="a.jpg", uri="a.jpg", objects=things)
    dataset = kit.store(tmp_path / "a.tlx", [record], ["car"], tmp_path)
    for outside, expected in (("clip", 2), ("keep", 3), ("drop", 1)):
        issues = write(dataset, tmp_path / outside, outside=outside)
        assert "2 objects" in issues.first("box-outside")[0].message
        rows = (tmp_path / outside / "labels/a.txt").read_text().splitlines()
        assert len(rows) == expected
    assert rows == ["0 0.5 0.5 1 1"]


@pytest.mark.parametrize(
    ("thing", "code"),
    [
        (Object(category="car"), "no-box"),
        (Object(category="car", box=Box(5, 5, 5, 9)), "degenerate-box"),
    ],
)
def test_what_has_no_box_cannot_be_written(tmp_path: Path, thing: Object, code: str) -> None:
    record = Record(image_id="a.jpg", uri="a.jpg", width=100, height=80, objects=(thing,))
    dataset = kit.store(tmp_path / "a.tlx", [record], ["car"], tmp_path)
    with pytest.raises(DataError, match=r"an object of a\.jpg has"):
        write(dataset, tmp_path / "out", media="reference")
    issues = write(dataset, tmp_path / "out2", "skip", media="reference")
    assert issues.counts == {code: 1}
    assert (tmp_path / "out2/labels/a.txt").read_bytes() == b""


def test_what_is_lost_is_declared_and_bytes_repeat(tmp_path: Path) -> None:
    thing = Object(
        category="Straße: 1", box=Box(1, 2, 3, 4), track="t", difficult=True, occluded=False,
        truncated=True, crowd=True, rotation=3.0, object_id="1", attributes={"a": 1},
    )  # fmt: skip
    record = Record(
        image_id="a.jpg", uri="a.jpg", width=9, height=9, group="g", frame=1, objects=(thing,),
        attributes={"b": 2},
    )  # fmt: skip
    dataset = kit.store(tmp_path / "a.tlx", [record], ["yes", "Straße: 1"], tmp_path)
    assert {loss.field for loss in find_loss(dataset, FORMAT.traits(FORMAT.options()))} == {
        "group", "frame", "attributes", "objects.attributes", "objects.object_id",
        "objects.rotation", "objects.track", "objects.crowd", "objects.difficult",
        "objects.truncated", "objects.occluded",
    }  # fmt: skip
    for out in ("one", "two"):
        write(dataset, tmp_path / out, media="reference")
    for name in ("data.yaml", "labels/a.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    names = yaml.safe_load((tmp_path / "one/data.yaml").read_text("utf-8"))["names"]
    assert names == {0: "yes", 1: "Straße: 1"}


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(
        st.tuples(*(st.integers(*b) for b in ((0, 399), (0, 299), (1, 400), (1, 300)))),
        min_size=1, max_size=5, unique=True,
    ),
    cents=st.integers(0, 99),
    size=st.sampled_from([(4000, 3000), (1366, 777), (403, 307)]),
)  # fmt: skip
def test_boxes_with_decimals_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    corners: list[tuple[int, int, int, int]],
    cents: int,
    size: tuple[int, int],
) -> None:
    tmp_path = tmp_path_factory.mktemp("exact")
    Image.new("1", size).save(tmp_path / "a.png")
    things = tuple(
        Object(
            category="car",
            box=Box(
                round(x + cents / 100, 2), float(y), min(x + w + 1.0, size[0]), min(y + h, size[1])
            ),
        )
        for x, y, w, h in corners
    )
    record = Record(image_id="a.png", uri="a.png", objects=things)
    dataset = kit.store(tmp_path / "a.tlx", [record], ["car"], tmp_path)
    write(dataset, tmp_path / "out")
    want = list(dict.fromkeys(boxes(record)))
    assert boxes(read(tmp_path / "out")[0][0]) == want


@settings(max_examples=200, deadline=None)
@given(
    labels=st.one_of(st.binary(max_size=80), st.text("0123456789.-+eEnaif \n\t", max_size=80)),
    names=st.one_of(st.just("names: [car]\n"), st.text(max_size=40).map("names: ".__add__)),
)
def test_any_bytes_end_in_records_or_in_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, labels: bytes | str, names: str
) -> None:
    root = tmp_path_factory.getbasetemp() / f"yolo-fuzz-{os.getpid()}"
    root.mkdir(exist_ok=True)
    if not (root / "a.png").exists():
        Image.new("1", (9, 9)).save(root / "a.png")
    (root / "a.txt").write_bytes(labels if isinstance(labels, bytes) else labels.encode())
    (root / "data.yaml").write_text(names, encoding="utf-8")
    FORMAT.sniff(root)
    for policy in ("fail", "skip"):
        try:
            records, _, taxonomy = read(root, policy)
        except TlxError:
            continue
        assert {o.category for r in records for o in r.objects} <= set(taxonomy.names)


def test_foreign_to_foreign_through_the_pipeline(put: Any, tmp_path: Path) -> None:
    root = put(LAYOUTS["Ultralytics"][0])
    assert pipeline.detect(root) == "yolo"
    pipeline.convert(root, "voc", tmp_path / "voc", from_="yolo", options={"media": "copy"})
    done = pipeline.convert(tmp_path / "voc", "yolo", tmp_path / "yolo", from_="voc")
    assert (done.images, done.objects) == (1, 1)
    assert (tmp_path / "yolo/labels/train/images/train/a.txt").exists() or (
        tmp_path / "yolo/images/train/labels/train/a.txt"
    ).read_text() == "0 0.5 0.5 0.2 0.25\n"


# -- rotated boxes ---------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(
        *(st.floats(20.0, 60.0) for _ in range(2)), *(st.floats(2.0, 30.0) for _ in range(2))
    ),
    st.floats(0.0, 359.9),
)
def test_rotated_boxes_come_back(numbers: tuple[float, ...], angle: float) -> None:
    x, y, width, height = numbers
    box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    batch = records_to_batch(
        [Record(image_id="a", uri="a", objects=(Object(category="c", box=box, rotation=angle),))]
    )
    _, flat = flat_objects(batch)
    points = [values[0].as_py() for values in quadrilaterals(flat, corners_of(flat))]
    # The middle of the first side is where the middle of the box's top was turned to: clockwise
    # with y downwards.
    middle = ((points[0] + points[2]) / 2, (points[1] + points[3]) / 2)
    turned = math.radians(angle)
    assert middle[0] == pytest.approx(x + math.sin(turned) * height / 2, abs=1e-6)
    assert middle[1] == pytest.approx(y - math.cos(turned) * height / 2, abs=1e-6)
    found = rotated_box(list(zip(points[0::2], points[1::2], strict=True)))
    assert found is not None
    again, rotation = found
    assert (again.xmin, again.ymin, again.xmax, again.ymax) == pytest.approx(
        (box.xmin, box.ymin, box.xmax, box.ymax), abs=1e-5
    )
    assert abs(math.remainder((rotation or 0.0) - angle, 360)) < 1e-4


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=3, max_size=12))
def test_the_smallest_rectangle_holds_all_points_and_is_no_larger(
    points: list[tuple[int, int]],
) -> None:
    given = [(float(x), float(y)) for x, y in points]
    corners = np.array(smallest_rectangle(given))
    sides = corners[1] - corners[0], corners[3] - corners[0]
    area = float(np.prod([np.hypot(*side) for side in sides]))
    assert abs(float(np.dot(*sides))) < 1e-6
    for side in sides:
        if np.hypot(*side) > 1e-9:
            along = (np.array(given) - corners[0]) @ side / np.hypot(*side)
            assert along.min() > -1e-6
            assert along.max() < np.hypot(*side) + 1e-6
    # No other angle does better.
    for angle in np.linspace(0, np.pi / 2, 91):
        u = np.array(given) @ [np.cos(angle), np.sin(angle)]
        v = np.array(given) @ [-np.sin(angle), np.cos(angle)]
        assert area <= (np.ptp(u) * np.ptp(v)) + 1e-6


def test_rotated_boxes_are_files_that_say_so(tmp_path: Path) -> None:
    Image.new("L", (100, 80)).save(tmp_path / "a.png")
    outline = Segmentation(polygons=((10.0, 10.0, 20.0, 20.0, 15.0, 25.0, 5.0, 15.0),))
    things = (
        Object(category="c", box=Box(30.0, 30.0, 50.0, 40.0), rotation=30.0),
        Object(category="c", box=Box(60.0, 50.0, 70.0, 60.0)),
        Object(category="c", segmentation=outline),
    )
    record = Record(image_id="a.png", uri="a.png", width=100, height=80, objects=things)
    dataset = kit.store(tmp_path / "d.tlx", [record], ["c"], tmp_path)
    YoloFormat().write(dataset, tmp_path / "out", YoloOptions(task="obb"), Context())
    rows = (tmp_path / "out/labels/a.txt").read_text().splitlines()
    assert [len(row.split()) for row in rows] == [9, 9, 9]
    assert "task: obb" in (tmp_path / "out/data.yaml").read_text()
    (again,) = YoloFormat().read(tmp_path / "out", YoloOptions(), Context()).content
    first, second, third = again.objects  # type: ignore[union-attr]
    assert (first.box, first.rotation) == (things[0].box, 30.0)
    assert (second.box, second.rotation) == (things[1].box, None)
    # Sides of 14.14 and 7.07 pixels, turned by 45 degrees or by as much plus quarter turns.
    assert third.rotation % 90 == pytest.approx(45)
    assert third.box.area == pytest.approx(100)
    # Without the word they are outlines, as for every other reader.
    (tmp_path / "out/data.yaml").write_text("names: [c]\nval: images\n")
    (plain,) = YoloFormat().read(tmp_path / "out", YoloOptions(), Context()).content
    assert all(thing.segmentation for thing in plain.objects)  # type: ignore[union-attr]
    (asked,) = YoloFormat().read(tmp_path / "out", YoloOptions(task="obb"), Context()).content
    assert asked.objects == again.objects  # type: ignore[union-attr]
