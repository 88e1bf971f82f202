"""Parquet tables; pyarrow, and pandas where it is installed, read them as anybody would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tlx.context import Context
from tlx.dataset import Dataset, Operation, write_dataset
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import IssueLog
from tlx.model import Box, Object, Record, Taxonomy
from tlx.pipeline import ingest
from tlx_plugins.formats.parquet import ParquetFormat, ParquetOptions

FORMAT = ParquetFormat()
REAL = [
    ("coco", "coco_val2017_sample/rle.json"),
    ("voc", "road_signs"),
    ("csv", "csv_conventions"),
    ("cvat", "cvat/official_doc_examples/images_1.1_example.xml"),
    ("cvat", "cvat/official_doc_examples/video_1.1_example.xml"),
    ("labelbox", "labelbox/v1_2021"),
]


def write(dataset: Dataset, dest: Path, **options: Any) -> IssueLog:
    context = Context(issues=IssueLog("skip"))
    FORMAT.write(dataset, dest, ParquetOptions(**options), context)
    return context.issues


def back(root: Path, target: Path, policy: str = "fail", **options: Any) -> Dataset:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    return ingest("parquet", root, target, options=options, context=context)


def sample(tmp_path: Path) -> Dataset:
    things = (
        Object(category="go", box=Box(1.0, 2.0, 3.5, 4.0), attributes={"lit": True, "lamps": 3}),
        Object(category="stop", track="7"),
    )
    for name in ("a.png", "b.png"):
        Image.new("L", (20, 10)).save(tmp_path / name)
    records = (
        Record(image_id="a", uri="a.png", width=20, height=10, split="train", objects=things),
        Record(image_id="b", uri="b.png", width=20, height=10, split="val"),
        Record(image_id="c", uri="c.png", attributes={"rain": False}),
    )
    lineage = (Operation(name="test", version="0"),)
    taxonomy = Taxonomy.of(["stop", "go", "unused"])
    return write_dataset(tmp_path / "in.tlx", records, taxonomy, tmp_path, lineage)


@pytest.mark.parametrize("rows", ["images", "objects"])
@pytest.mark.parametrize(("source", "path"), REAL)
def test_real_data_comes_back_equal(
    shared_data: Path, tmp_path: Path, source: str, path: str, rows: str
) -> None:
    context = Context(issues=IssueLog("skip"))
    before = ingest(source, shared_data / path, tmp_path / "before.tlx", context=context)
    write(before, tmp_path / "out", rows=rows)
    after = back(tmp_path / "out", tmp_path / "after.tlx")
    assert after.taxonomy == before.taxonomy
    assert after.media_root == before.media_root
    # Splits are files, in the order of their names.
    assert sorted(after.records(), key=lambda r: r.image_id) == sorted(
        before.records(), key=lambda r: r.image_id
    )


def test_a_row_for_each_object_and_one_for_each_image_without(tmp_path: Path) -> None:
    write(sample(tmp_path), tmp_path / "out", rows="objects")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "data.parquet", "train.parquet", "val.parquet",
    ]  # fmt: skip
    table = pq.read_table(tmp_path / "out/train.parquet")
    assert table.select(["image_id", "category", "category_id", "xmin", "ymax"]).to_pylist() == [
        {"image_id": "a", "category": "go", "category_id": 1, "xmin": 1.0, "ymax": 4.0},
        {"image_id": "a", "category": "stop", "category_id": 0, "xmin": None, "ymax": None},
    ]
    assert pq.read_table(tmp_path / "out/val.parquet")["category"].to_pylist() == [None]


@pytest.mark.parametrize("rows", ["images", "objects"])
def test_the_file_says_what_its_columns_mean(tmp_path: Path, rows: str) -> None:
    write(sample(tmp_path), tmp_path / "out", rows=rows)
    schema = pq.read_schema(tmp_path / "out/train.parquet")
    said = json.loads(schema.metadata[b"tlx"])
    assert said["rows"] == rows
    assert "absolute pixels" in said["coordinates"]
    assert [category["name"] for category in said["taxonomy"]["categories"]] == [
        "stop", "go", "unused",
    ]  # fmt: skip
    plain = {"xmin", "ymin", "xmax", "ymax", "object_id", "line"}
    assert set(schema.names) - set(said["columns"]) <= plain


def foreign(table: pa.Table) -> pa.Table:
    """A table as other programs write it again: large types, nothing required, no metadata."""

    def wide(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_list(kind):
            return pa.large_list(wide(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(f.name, wide(f.type)) for f in kind])
        if pa.types.is_string(kind):
            return pa.large_string()
        return pa.int64() if pa.types.is_int32(kind) else kind

    fields = [pa.field(f.name, wide(f.type)) for f in reversed(table.schema)]
    return table.select([f.name for f in fields]).cast(pa.schema(fields))


@pytest.mark.parametrize("rows", ["images", "objects"])
def test_what_another_program_has_filtered_is_read(
    shared_data: Path, tmp_path: Path, rows: str
) -> None:
    before = ingest("coco", shared_data / "coco_val2017_sample/rle.json", tmp_path / "before.tlx")
    write(before, tmp_path / "out", rows=rows)
    table = foreign(pq.read_table(tmp_path / "out/data.parquet"))
    if rows == "objects":
        table = table.filter(pc.equal(table["category"], "person")).drop_columns(["origin"])
    else:
        table = table.slice(2, 5).drop_columns(["frame", "group"])
    table = table.append_column("mine", pa.array(range(len(table))))
    pq.write_table(table, tmp_path / "filtered.parquet", row_group_size=3)
    after = back(tmp_path / "filtered.parquet", tmp_path / "after.tlx")
    known = {record.image_id: record for record in before.records()}
    for record in after.records():
        wanted = known[record.image_id].objects
        if rows == "objects":
            wanted = tuple(thing for thing in wanted if thing.category == "person")
            assert after.taxonomy.names == ("person",)
        assert record.objects == wanted
    assert len(after) == (len(set(table["image_id"].to_pylist())))


def test_images_inside_the_table_are_the_files_themselves(tmp_path: Path) -> None:
    dataset = sample(tmp_path)
    issues = write(dataset, tmp_path / "out", embed=True)
    assert issues.counts == {"no-image": 1}
    schema = pq.read_schema(tmp_path / "out/train.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}}
    row = pq.read_table(tmp_path / "out/train.parquet")["image"].to_pylist()[0]
    assert row == {"bytes": (tmp_path / "a.png").read_bytes(), "path": "a.png"}
    noted = back(tmp_path / "out", tmp_path / "noted.tlx", "skip")
    assert list(noted.records())
    after = back(tmp_path / "out", tmp_path / "after.tlx", extract=str(tmp_path / "pictures"))
    for record in after.records():
        assert after.image_path(record.uri).is_file() == (record.image_id != "c")
    with pytest.raises(UsageError, match="exists already"):
        back(tmp_path / "out", tmp_path / "again.tlx", extract=str(tmp_path / "pictures"))
    with pytest.raises(UsageError, match="each of its objects"):
        write(dataset, tmp_path / "other", embed=True, rows="objects")


def test_a_name_that_leads_away_is_not_extracted(tmp_path: Path) -> None:
    image = pa.array([{"bytes": b"x", "path": "x"}])
    table = pa.table({"image_id": ["a"], "uri": ["../a.png"], "objects": [[]], "image": image})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/t.parquet")
    back(tmp_path / "in", tmp_path / "x.tlx", "skip", extract=str(tmp_path / "in/pictures"))
    assert not (tmp_path / "in/a.png").exists()


BROKEN = {
    "no columns": pa.table({"picture": ["a"]}),
    "empty id": pa.table({"image_id": [None], "uri": ["a"], "objects": [[]]}),
    "no class": pa.table({"image_id": ["a"], "uri": ["a"], "objects": [[{"track": "1"}]]}),
    "empty object": pa.table(
        {"image_id": ["a"], "uri": ["a"], "objects": [[None, {"category": "go"}]]}
    ),
    "half a box": pa.table(
        {"image_id": ["a"], "uri": ["a"],
         "objects": [[{"category": "go",
                       "box": {"xmin": 1.0, "ymin": None, "xmax": 2.0, "ymax": 3.0}}]]}
    ),
    "another type": pa.table({"image_id": ["a"], "uri": ["a"], "objects": ["go"]}),
    "twice": pa.table({"image_id": ["a", "a"], "uri": ["a", "b"], "objects": [[], []]}),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_one_error_that_names_it(tmp_path: Path, name: str) -> None:
    pq.write_table(BROKEN[name], tmp_path / "t.parquet")
    with pytest.raises(DataError):
        back(tmp_path / "t.parquet", tmp_path / "x.tlx")


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
def test_a_file_that_is_cut_off_is_one_error(tmp_path: Path, cut: int) -> None:
    write(sample(tmp_path), tmp_path / "out")
    file = tmp_path / "out/train.parquet"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(TlxError):
        back(file, tmp_path / "x.tlx")


def test_text_that_is_no_utf_8_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    texts = pa.StringArray.from_buffers(
        1, pa.array([0, 6], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff.jpg")
    )
    columns = {"image_id": texts, "uri": texts, "category": pa.array(["go"])}
    corners = {name: pa.array([1.0]) for name in ("xmin", "ymin", "xmax", "ymax")}
    pq.write_table(pa.table({**columns, **corners}), tmp_path / "a.parquet")
    for policy in ("fail", "skip"):
        with pytest.raises(DataError, match="a.parquet: cannot be read as a table of labels"):
            back(tmp_path / "a.parquet", tmp_path / "b.tlx", policy)


def test_pandas_opens_both_forms(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    dataset = sample(tmp_path)
    for rows in ("images", "objects"):
        write(dataset, tmp_path / rows, rows=rows)
        frame = pandas.read_parquet(tmp_path / rows / "train.parquet")
        assert list(frame["image_id"]) == ["a"] * (2 if rows == "objects" else 1)
