"""Tables of labels, judged by the csv module and by hand."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx import pipeline
from tlx.context import Context
from tlx.dataset import Dataset, Operation, to_batches, write_dataset
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import IssueLog
from tlx.loss import find_loss
from tlx.model import Box, Label, Object, Record, Segmentation, Taxonomy
from tlx_plugins.formats import csv_reader
from tlx_plugins.formats.csv_format import CsvFormat, CsvOptions
from tlx_plugins.sources.lisa import LisaSource

FORMAT = CsvFormat()
CONVENTIONS = "csv_conventions"


def read(
    path: Path, policy: str = "fail", **options: Any
) -> tuple[list[Record], IssueLog, tuple[str, ...]]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = FORMAT.read(path, CsvOptions(**options), context)
    records = list(reading.content)
    assert callable(reading.taxonomy)
    return records, context.issues, reading.taxonomy().names  # type: ignore[return-value]


def table(folder: Path, text: str | bytes, name: str = "t.csv", *images: str) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for image in images:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 50)).save(folder / image)
    return path


def corners(record: Record) -> list[tuple[float, ...]]:
    return [(o.box.xmin, o.box.ymin, o.box.xmax, o.box.ymax) for o in record.objects if o.box]


def by_hand(path: Path) -> Counter[tuple[Any, ...]]:
    """Image without its end, class and corners of each row with a box, by the csv module."""
    seen: Counter[tuple[Any, ...]] = Counter()
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if "bbox" in row:
                box = [float(v) for v in re.findall(r"[0-9.]+", row["bbox"])]
            elif "w" in row:
                x, y, w, h = (float(row[k]) for k in ("x1", "y1", "w", "h"))
                box = [x, y, x + w, y + h]
            else:
                box = [float(v) for k, v in row.items() if re.fullmatch("[xy](min|max|[12])", k)]
            name = row.get("image_name") or row["image"]
            seen[name, row.get("label_name") or row["label"], *box] += 1
    return seen


@pytest.mark.parametrize(
    "name",
    [
        "image_csv_det/ann.csv",
        "image_csv_det/ann2.csv",
        "image_csv_det/ann3.csv",
        "vott_csv_dataset/dataset/test-export.csv",
        "vott_csv_dataset/dataset/train-export.csv",
    ],
)
def test_real_boxes(shared_data: Path, name: str) -> None:
    path = shared_data / CONVENTIONS / name
    records, _, _ = read(path)
    found = Counter(
        (Path(r.uri).name, o.category, o.box.xmin, o.box.ymin, o.box.xmax, o.box.ymax)
        for r in records
        for o in r.objects
        if o.box
    )
    assert found == by_hand(path)
    lines = path.read_text().splitlines()
    for record in records:
        assert (path.parent / record.uri).is_file()
        for item in record.objects:
            assert item.line is not None
            row = lines[item.line - 1]
            assert Path(record.uri).name in row
            assert item.category in row


@pytest.mark.parametrize("name", ["ann.csv", "ann_wo_ext.csv"])
@pytest.mark.parametrize("folder", ["image_csv", "image_csv_multi_label"])
def test_real_labels(shared_data: Path, folder: str, name: str) -> None:
    path = shared_data / CONVENTIONS / folder / name
    records, issues, _ = read(path)
    assert not issues.counts
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = {}
    for row in rows:
        image = Path(row.pop("image_name")).stem
        expected[image] = (
            {row["label_name"]: True}
            if "label_name" in row
            else {key: value == "1" for key, value in row.items()}
        )
    assert {Path(r.uri).stem: {v.category: v.present for v in r.labels} for r in records} == (
        expected
    )
    assert all((path.parent / r.uri).is_file() and r.width for r in records)


@pytest.mark.parametrize("name", ["ann.txt", "ann_wo_ext.txt"])
def test_real_table_of_blanks_without_a_header(shared_data: Path, name: str) -> None:
    path = shared_data / CONVENTIONS / "image_txt" / name
    records, issues, _ = read(path)
    expected = dict(line.split() for line in path.read_text().splitlines())
    found = {Path(r.uri).stem: r.labels[0].category for r in records}
    assert found == {Path(key).stem: value for key, value in expected.items()}
    assert issues.counts == {"assumed": 1}


def test_real_boxes_without_a_header(shared_data: Path) -> None:
    folder = shared_data / CONVENTIONS / "image_txt_det"
    records, issues, names = read(folder / "ann.txt")
    expected = [line.split(",") for line in (folder / "ann.txt").read_text().splitlines()]
    found = [
        (Path(r.uri).name, o.category, *box)
        for r in records
        for o, box in zip(r.objects, corners(r), strict=True)
    ]
    assert found == [(a, b, *map(float, box)) for a, b, *box in expected]
    assert names == ("dog", "cat")
    assert "image, label, xmin, ymin, xmax, ymax" in issues.kept[0].message
    with pytest.raises(DataError, match="5 cells of its first row.*--columns"):
        read(folder / "ann_single_obj.txt")
    alone, _, _ = read(folder / "ann_single_obj.txt", columns="image,x,y,w,h", category="pet")
    assert [corners(r) for r in alone] == [corners(r) for r in records]


def test_real_roboflow_folder(shared_data: Path) -> None:
    records, issues, names = read(shared_data / CONVENTIONS / "roboflow_dataset")
    assert not issues.counts
    assert names == ("label_0", "label_1")
    assert [(r.split, [v.present for v in r.labels]) for r in records] == [
        ("train", [True, False]),
        ("train", [False, True]),
        ("val", [True, True]),
    ]


def test_real_celeba(shared_data: Path) -> None:
    folder = shared_data / CONVENTIONS / "celeba_dataset/dataset/Anno"
    records, issues, names = read(folder / "list_attr_celeba.txt")
    lines = (folder / "list_attr_celeba.txt").read_text().splitlines()
    assert list(names) == lines[1].split()
    expected = {row.split()[0]: [v == "1" for v in row.split()[1:]] for row in lines[2:]}
    assert {r.uri: [v.present for v in r.labels] for r in records} == expected
    assert issues.counts == {"assumed": 1, "missing-image": 1}
    faces, _, _ = read(folder / "list_bbox_celeba.txt", category="face")
    assert corners(faces[0]) == [(95, 71, 95 + 226, 71 + 313)]
    assert len(faces) == 5
    with pytest.raises(DataError, match=r"no column of classes.*found 'image_id', 'x_1'.*--categ"):
        read(folder / "list_bbox_celeba.txt")
    with pytest.raises(DataError, match="looked for a class column.*found 'image_id', 'lefteye_x'"):
        read(folder / "list_landmarks_celeba.txt")


def test_a_list_of_addresses_is_no_table_of_labels(shared_data: Path) -> None:
    path = shared_data / "seed_peaches/data/peach/image_urls.csv"
    with pytest.raises(DataError, match="list of 100 addresses.*'Image_Urls'.*says no labels"):
        read(path)
    assert not FORMAT.sniff(path).ok


def test_open_images_boxes_are_shares(tmp_path: Path) -> None:
    text = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n"
        "a,xclick,/m/01g317,1,0.1,0.5,0.2,0.8,1,0,-1\n"
    )
    path = table(tmp_path, text, "t.csv", "images/a.jpg")
    (record,), issues, _ = read(path)
    assert record.uri == "images/a.jpg"
    (item,) = record.objects
    assert item.box == Box(10, 10, 50, 40)
    assert (item.occluded, item.truncated, item.crowd, item.line) == (True, False, None, 2)
    assert item.attributes == {"Source": "xclick", "confidence": 1}
    assert "lie in 0..1" in issues.kept[0].message
    (record,), _, _ = read(path, coordinates="pixels")
    assert record.objects[0].box == Box(0.1, 0.2, 0.5, 0.8)
    (tmp_path / "images/a.jpg").unlink()
    with pytest.raises(DataError, match=r"t.csv:2: the box is a share of the size of a, which is"):
        read(path)


def test_open_images_labels(tmp_path: Path) -> None:
    path = table(
        tmp_path, "ImageID,Source,LabelName,Confidence\na,v,car,1\na,v,bus,0\na,m,bike,0.7\n"
    )
    (record,), _, _ = read(path)
    assert [(v.category, v.present) for v in record.labels] == [
        ("car", True),
        ("bus", False),
        ("bike", None),
    ]


def test_raccoon_header_size_and_columns_in_any_spelling(tmp_path: Path) -> None:
    text = (
        "File Name;Width;HEIGHT;Class;X_Min;Y-min;xmax;YMAX;set\n\\d\\a.jpg;9;8;cat;1;2;3;4;valid\n"
    )
    (record,), issues, _ = read(table(tmp_path, text))
    assert (record.uri, record.width, record.height, record.split) == ("a.jpg", 9, 8, "val")
    assert corners(record) == [(1, 2, 3, 4)]
    assert issues.counts == {"missing-image": 1}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "0", "", "?", "NA", "nan"], [True, False, None, None, None, None]),
        (["1", "0", "-1", "yes", "false", "1.0"], [True, False, None, True, False, True]),
        (["1", "-1", "-1", "", "1", "1"], [True, False, False, None, True, True]),
    ],
)
def test_unsure_cells(tmp_path: Path, cells: list[str], expected: list[bool | None]) -> None:
    rows = "\n".join(f"{n}.jpg,{cell},1" for n, cell in enumerate(cells))
    (tmp_path / "x").mkdir()
    records, _, _ = read(table(tmp_path, f"image,wet,any\n{rows}\n"))
    assert [r.labels[0].present for r in records] == expected


def test_minus_one_by_option(tmp_path: Path) -> None:
    path = table(tmp_path, "image,wet\na.jpg,-1\nb.jpg,1\n")
    assert [r.labels[0].present for r in read(path)[0]] == [False, True]
    assert [r.labels[0].present for r in read(path, minus_one="unsure")[0]] == [None, True]


def test_a_box_in_one_cell_as_corners_or_size(tmp_path: Path) -> None:
    head = "image_id,width,height,bbox\n"
    sized = '"[834.0, 222.0, 56.0, 36.0]"', '"[1, 2, 30, 40]"', '"[226.0, 548.0, 130.0, 58.0]"'
    path = table(tmp_path, head + "".join(f"w,1024,1024,{cell}\n" for cell in sized))
    (record,), issues, _ = read(path, category="wheat")
    assert corners(record) == [(834, 222, 890, 258), (1, 2, 31, 42), (226, 548, 356, 606)]
    assert "1 of 3 boxes" in issues.first("assumed")[0].message
    assert (record.width, record.objects[0].category) == (1024, "wheat")
    with pytest.raises(DataError, match="empty or inverted"):
        read(path, category="wheat", box_cell="xyxy")


def test_columns_by_option_must_fit(tmp_path: Path) -> None:
    path = table(tmp_path, "pic,kind,junk\na.jpg,cat,x\n")
    with pytest.raises(DataError, match=r"looked for an image column.*found 'pic', 'kind', 'junk'"):
        read(path)
    with pytest.raises(DataError, match="has 3 columns in its first row where --columns names 2"):
        read(path, columns="image,label")
    (record,), _, _ = read(path, columns="image,label,rest", header="yes")
    assert [v.category for v in record.labels] == ["cat"]
    assert record.attributes == {"rest": "x"}


def test_windows_paths_names_and_links(tmp_path: Path) -> None:
    rows = "C:\\data\\Straße.jpg,a\n..\\up\\b.JPG,b\nq/same.jpg,c\nhttps://x.org/y.jpg?z=1,d\n"
    images = ("img/Straße.jpg", "img/b.JPG", "p/same.jpg", "q/same.jpg")
    path = table(tmp_path, "image,label\n" + rows, "t.csv", *images)
    (tmp_path / "img/loop").symlink_to(tmp_path)
    records, issues, _ = read(path)
    assert not issues.counts
    assert {r.uri: r.labels[0].category for r in records} == {
        "img/Straße.jpg": "a",
        "img/b.JPG": "b",
        "q/same.jpg": "c",
        "https://x.org/y.jpg?z=1": "d",
    }


def test_unsure_class_names(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label\na.jpg,\nb.jpg,?\nc.jpg,None\n")
    records, issues, names = read(path)
    assert [len(r.labels) for r in records] == [0, 0, 1]
    assert names == ("None",)
    assert issues.counts["unsure-label"] == 1
    assert "2 rows" in issues.first("unsure-label")[0].message


def test_several_labels_in_a_cell(tmp_path: Path) -> None:
    path = table(tmp_path, "image,tags\na.jpg,wet | night\nb.jpg,wet\n")
    records, _, names = read(path, separator="|")
    assert [[v.category for v in r.labels] for r in records] == [["wet", "night"], ["wet"]]
    assert names == ("wet", "night")
    assert read(path)[2] == ("wet | night", "wet")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiters_line_ends_and_encodings(
    tmp_path: Path, delimiter: str, end: str, encoding: str
) -> None:
    rows = [["image", "label"], ["a.jpg", "Fußgänger, links; rechts\tda"], ["b.jpg", "x"]]
    text = end.join(delimiter.join(f'"{cell}"' for cell in row) for row in rows) + end
    path = table(tmp_path, text.encode(encoding))
    given_encoding = "cp1252" if encoding == "cp1252" else None
    records, _, _ = read(path, encoding=given_encoding)
    assert [r.labels[0].category for r in records] == [rows[1][1], "x"]
    assert [r.origin.line for r in records if r.origin] == [2, 3]


def test_a_wrong_encoding_names_the_line_and_the_option(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label\na.jpg,b\nc.jpg,Fuß\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"t.csv:3: is not UTF-8 text here. .*--encoding cp1252"):
        read(path)
    with pytest.raises(UsageError, match="no text encoding 'klingon'"):
        read(path, encoding="klingon")
    with pytest.raises(UsageError, match="no text encoding 'hex'"):
        read(path, encoding="hex")


BAD_ROWS = [
    ("a.jpg,cat,1,2,3,4,5", "wrong-columns"),
    ("a.jpg,cat,1,2", "wrong-columns"),
    ("a.jpg,cat,nan,2,3,4", "bad-corner"),
    ("a.jpg,cat,1e999,2,3,4", "bad-corner"),
    ("a.jpg,cat,one,2,3,4", "bad-corner"),
    ("a.jpg,cat,5,2,3,4", "degenerate-box"),
    ("a.jpg,cat,3,2,3,4", "degenerate-box"),
    ("a.jpg,?,1,2,3,4", "unsure-label"),
    ("a.jpg,cat,,,,", "no-box"),
    (",cat,1,2,3,4", "no-image"),
    ("gone.jpg,cat,1,2,3,4", "missing-image"),
    ("same.jpg,cat,1,2,3,4", "ambiguous-image"),
    ('a.jpg,cat,1,2,3,"4"5', "bad-row"),
    ('a.jpg,cat,1,2,3,"4', "bad-row"),
]


@pytest.mark.parametrize(("row", "code"), BAD_ROWS)
def test_bad_rows_have_a_place_and_leave_the_others(tmp_path: Path, row: str, code: str) -> None:
    text = f"image,class,xmin,ymin,xmax,ymax\nb.jpg,dog,1,1,9,9\n{row}\n"
    path = table(tmp_path, text, "t.csv", "a.jpg", "b.jpg", "p/same.jpg", "q/same.jpg")
    with pytest.raises(DataError, match=r"t\.csv:3: "):
        read(path)
    records, issues, _ = read(path, "skip")
    assert issues.counts == {code: 1}
    assert issues.kept[0].line == 3
    assert sum(len(r.objects) for r in records) == 1


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, [(-5, 0, 20, 20), (50, 0, 120, 20)]),
        ("keep", [(-5, 0, 20, 20), (50, 0, 120, 20), (9, 9, 5, 5)]),
        ("clip", [(0, 0, 20, 20), (50, 0, 100, 20)]),
        ("drop", []),
        ("fail", []),
    ],
)
def test_boxes_that_leave_the_image(tmp_path: Path, policy: str, expected: list[Any]) -> None:
    rows = "a.jpg,c,-5,0,20,20\na.jpg,c,50,0,120,20\na.jpg,c,9,9,5,5\n"
    path = table(tmp_path, "image,class,x1,y1,x2,y2\n" + rows, "t.csv", "a.jpg")
    (record,), issues, _ = read(path, "skip", bad_boxes=policy)
    assert corners(record) == expected
    assert issues.total == 3


def test_duplicates_are_merged_and_counted(tmp_path: Path) -> None:
    rows = "a.jpg,c,1,2,3,4\na.jpg,c,1,2,3,4\na.jpg,c,1.0,2,3,4\na.jpg,d,1,2,3,4\n"
    (record,), issues, _ = read(table(tmp_path, "image,class,x1,y1,x2,y2\n" + rows))
    assert [o.category for o in record.objects] == ["c", "d"]
    assert issues.counts == {"duplicate-row": 1, "duplicate-object": 1, "missing-image": 1}


def test_rows_that_contradict_each_other(tmp_path: Path) -> None:
    path = table(tmp_path, "image,wet\na.jpg,1\na.jpg,0\n")
    with pytest.raises(DataError, match="t.csv:3: 'wet' is absent in a.jpg here and present"):
        read(path)


def test_two_tables_about_one_image(tmp_path: Path) -> None:
    table(tmp_path, "image,wet\na.jpg,1\n", "one.csv")
    table(tmp_path, "image,wet\na.jpg,1\n", "two.csv")
    (record,), issues, _ = read(tmp_path)
    assert record.origin is not None
    assert (record.origin.path, issues.counts["duplicate-image"]) == ("one.csv", 1)
    table(tmp_path, "image,wet\na.jpg,0\n", "two.csv")
    with pytest.raises(DataError, match=r"two.csv:2: a.jpg is in one.csv too, with other labels"):
        read(tmp_path)


def test_half_a_box_is_not_taken_for_attributes(tmp_path: Path) -> None:
    path = table(tmp_path, "image,class,xmin,ymin,xmax\na.jpg,c,1,2,3\n")
    with pytest.raises(DataError, match="'xmin', 'ymin', 'xmax' but no whole box; looked for"):
        read(path)


@pytest.mark.parametrize("text", ["", "\n \n", "a\n", "1\n2\n3\n", "x,y\n1,2\n"])
def test_no_table_of_labels(tmp_path: Path, text: str) -> None:
    path = table(tmp_path, text)
    assert not FORMAT.sniff(path).ok
    with pytest.raises(DataError):
        read(path)


def test_a_negative_row(tmp_path: Path) -> None:
    (record,), _, _ = read(table(tmp_path, "image,class,x1,y1,x2,y2\na.jpg,,,,,\n"))
    assert record.objects == ()


def store(folder: Path, records: list[Record], names: tuple[str, ...], root: Path) -> Dataset:
    lineage = (Operation(name="test", version="0"),)
    return write_dataset(folder, records, Taxonomy.of(names), root, lineage)


class TestWriting:
    @pytest.mark.parametrize("name", ["road_signs", "bccd"])
    def test_real_sets_become_a_table_and_come_back(
        self, shared_data: Path, tmp_path: Path, name: str
    ) -> None:
        source = shared_data / name
        options = {"bad_boxes": "drop"}
        first = pipeline.ingest("voc", source, tmp_path / "a.tlx", options=options)
        split = pipeline.split(first.path, tmp_path / "s.tlx", by="image", seed=1)
        pipeline.convert(split.path, "csv", tmp_path / "out", options={"media": "symlink"})
        with (tmp_path / "out/labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        expected = Counter(
            (r.uri, r.split, o.category, *corners(r)[n], o.difficult)
            for r in split.records()
            for n, o in enumerate(r.objects)
        )
        found = Counter(
            (
                row["image"],
                row["split"],
                row["category"],
                *(float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")),
                {"": None, "0": False, "1": True}[row["difficult"]],
            )
            for row in rows
            if row["category"]
        )
        assert found == expected
        records, _, _ = read(tmp_path / "out", "skip")
        before = {r.uri: r for r in split.records()}
        assert len(records) == len(before)
        for record in records:
            want = before[record.uri]
            assert (record.split, record.width, record.height) == (
                want.split, want.width, want.height,
            )  # fmt: skip
            assert {(o.category, o.box, o.difficult, o.truncated) for o in record.objects} == {
                (o.category, o.box, o.difficult, o.truncated) for o in want.objects
            }

    def test_what_is_not_stated_is_blank(self, tmp_path: Path) -> None:
        polygon = Segmentation(polygons=((1.5, 2, 9, 2, 9, 8),))
        records = [
            Record(image_id="a", uri="d/a,1.jpg", group="g", objects=(
                Object(category='say "x"', box=Box(1, 2.25, 3, 4), occluded=True, crowd=False),
                Object(category="y", segmentation=polygon, object_id="7", track="t"),
            )),
            Record(image_id="b", uri="b.jpg"),
        ]  # fmt: skip
        dataset = store(tmp_path / "d.tlx", records, ('say "x"', "y"), tmp_path)
        FORMAT.write(dataset, tmp_path / "t.csv", CsvOptions(), Context())
        assert (tmp_path / "t.csv").read_text() == (
            "image,width,height,split,group,category,xmin,ymin,xmax,ymax,difficult,truncated,"
            "occluded,crowd,object_id,track\n"
            '"d/a,1.jpg",,,,g,"say ""x""",1,2.25,3,4,,,1,0,,\n'
            '"d/a,1.jpg",,,,g,y,1.5,2,9,8,,,,,7,t\n'
            "b.jpg,,,,,,,,,,,,,,,\n"
        )
        again, _, _ = read(tmp_path / "t.csv")
        assert [r.uri for r in again] == ["b.jpg", "d/a,1.jpg"]
        assert again[1].objects[0].occluded is True
        assert again[1].objects[0].crowd is False
        assert again[1].objects[0].difficult is None
        assert (again[1].objects[1].object_id, again[1].objects[1].track) == ("7", "t")
        with pytest.raises(UsageError, match="images cannot go into t.csv"):
            FORMAT.write(dataset, tmp_path / "t.csv", CsvOptions(media="copy"), Context())

    def test_losses_are_declared(self, tmp_path: Path) -> None:
        item = Object(category="x", rotation=5.0, attributes={"k": 1}, box=Box(0, 0, 1, 1))
        record = Record(image_id="a", uri="a.jpg", labels=(Label("x"),), objects=(item,))
        dataset = store(tmp_path / "d.tlx", [record], ("x",), tmp_path)
        lost = {loss.field for loss in find_loss(dataset, FORMAT.traits(FORMAT.options()))}
        assert lost == {"labels", "objects.attributes", "objects.rotation"}

    def test_what_cannot_be_written_is_reported(self, tmp_path: Path) -> None:
        records = [
            Record(image_id="a", uri="a.jpg", objects=(Object(category="x"),)),
            Record(image_id="b", uri="../b.jpg"),
        ]
        dataset = store(tmp_path / "d.tlx", records, ("x",), tmp_path)
        log = IssueLog("skip")
        FORMAT.write(dataset, tmp_path / "t.csv", CsvOptions(), Context(issues=log))
        assert log.counts == {"no-box": 1, "unsafe-name": 1}


class TestSniff:
    def test_real_folders(self, shared_data: Path) -> None:
        for name in ("image_csv", "image_csv_det", "roboflow_dataset", "vott_csv_dataset"):
            assert pipeline.detect(shared_data / CONVENTIONS / name) == "csv"
        for name in ("road_signs", "bccd", "cvat", "labelbox", "coco_val2017_sample", "tfrecord"):
            assert not FORMAT.sniff(shared_data / name).ok, name

    def test_lisa_is_lisa(self, tmp_path: Path) -> None:
        head = (
            "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
            "Lower right corner Y;Origin file;Origin frame number;Origin track;"
            "Origin track frame number\n"
        )
        path = table(tmp_path, head, "frameAnnotationsBOX.csv")
        other = table(tmp_path, head + "a--00000.jpg;go;1;2;3;4;v;0;v;0\n", "lisa.csv")
        for place in (path, tmp_path):
            assert LisaSource().sniff(place).ok
            assert not FORMAT.sniff(place).ok
            assert pipeline.detect(place) == "lisa"
        assert not FORMAT.sniff(other).ok
        with pytest.raises(DataError, match="LISA traffic lights.*tlx ingest lisa"):
            read(other)

    def test_csv_is_not_lisa(self, tmp_path: Path) -> None:
        table(tmp_path, "image,class,x1,y1,x2,y2\na.jpg,c,1,2,3,4\n")
        assert not LisaSource().sniff(tmp_path).ok
        assert pipeline.detect(tmp_path) == "csv"

    def test_a_table_made_from_xml_makes_no_tie(self, tmp_path: Path) -> None:
        table(tmp_path, "filename,class,xmin,ymin,xmax,ymax\na.jpg,c,1,2,3,4\n")
        (tmp_path / "a.xml").write_text("<annotation><filename>a.jpg</filename></annotation>")
        assert pipeline.detect(tmp_path) == "voc"


@settings(max_examples=150, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=120).map(lambda tail: b"image,class,x1,y1,x2,y2\n" + tail),
        st.binary(max_size=120).map(lambda tail: b"image,wet\na.jpg,1\n" + tail),
        st.text(alphabet='a.jpg01-,;\t "\n?x', max_size=120).map(
            lambda tail: ("image,label,bbox\n" + tail).encode()
        ),
    ),
    policy=st.sampled_from(["fail", "skip"]),
)
def test_any_bytes_end_in_records_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, policy: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any" / "t.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    FORMAT.sniff(path)
    try:
        records, _, names = read(path, policy)
    except TlxError as error:
        assert error.message  # noqa: PT017
        return
    assert all(o.category in names for r in records for o in r.objects)
    assert sum(batch.num_rows for batch in to_batches(records)) == len(records)


def test_rows_that_wait_on_disk_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        f"img{number * 7 % 30}.jpg,640,480,class {(number + 1) * 3 % 5},{number},1,{number + 9.5},8"
        for number in range(300)
    ]
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\n" + "\n".join(rows)
    path = table(tmp_path, text)
    expected: dict[str, list[tuple[str, float, int]]] = {}
    for line, cells in enumerate(csv.reader(rows), start=2):
        expected.setdefault(cells[0], []).append((cells[3], float(cells[4]), line))
    for chunk in (csv_reader._CHUNK, 1000):
        monkeypatch.setattr(csv_reader, "_CHUNK", chunk)
        records, issues, classes = read(path)
        found = {
            r.uri: [(o.category, o.box.xmin, o.line) for o in r.objects if o.box] for r in records
        }
        assert found == expected
        assert list(found) == sorted(expected)
        assert classes == ("class 3", "class 1", "class 4", "class 2", "class 0")
        assert issues.counts == {"missing-image": 1}
