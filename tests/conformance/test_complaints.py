"""What users of other tools have complained about: each number of `complaints.md` has an answer.

Numbers and sources are in ``tests/complaints.md``. The tests here are those that no test of a
format or of the kit makes; the last ones read the table.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlx import pipeline
from tlx.dataset import Dataset
from tlx.loss import find_loss
from tlx.model import Box, Object, Record
from tlx.testing import Trial, checks_for, read, store
from tlx_plugins.formats.coco import CocoFormat
from tlx_plugins.formats.csv_format import CsvFormat
from tlx_plugins.formats.voc import VocFormat
from tlx_plugins.formats.yolo import YoloFormat

TESTS = Path(__file__).parents[1]
TABLE = TESTS / "complaints.md"
SIZE = (100, 80)


def dataset(folder: Path, **more: Any) -> Dataset:
    """One image with a car, which is not on the disk."""
    thing = Object(category="car", box=Box(10, 20, 30, 60), **more)
    record = Record(image_id="a.jpg", uri="a.jpg", width=SIZE[0], height=SIZE[1], objects=(thing,))
    return store(folder / "a.tlx", [record], ["bus", "car"], folder / "media")


def coco_file(folder: Path, categories: list[dict[str, Any]], **more: Any) -> Path:
    """One image with an object of each category."""
    things = [
        {"id": 10 + n, "image_id": 5, "category_id": c["id"], "bbox": [n, 2, 30, 40], **more}
        for n, c in enumerate(categories)
    ]
    image = {"id": 5, "file_name": "a.jpg", "width": SIZE[0], "height": SIZE[1]}
    value = {"images": [image], "annotations": things, "categories": categories}
    folder.mkdir(exist_ok=True)
    (folder / "labels.json").write_text(json.dumps(value))
    return folder / "labels.json"


def written(folder: Path) -> dict[str, Any]:
    (file,) = folder.rglob("*.json")
    return json.loads(file.read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("plugin", [CocoFormat(), VocFormat(), CsvFormat(), YoloFormat()])
def test_annotations_are_complete_when_images_are_absent(plugin: Any, tmp_path: Path) -> None:
    """Complaint 3."""
    trial = Trial(plugin, tmp_path)
    report, _ = trial.write(dataset(tmp_path), tmp_path / "out", media="reference")
    assert (report.images, report.objects) == (1, 1)
    text = "".join(p.read_text() for p in (tmp_path / "out").rglob("*.*") if p.is_file())
    assert "car" in text
    assert re.search(r"0\.2 0\.5 0\.2 0\.5|10(\.0)?,20|<xmin>11|\[10(\.0)?, ?20", text)


def test_a_rotated_box_is_written_to_yolo_and_its_angle_named_as_lost(tmp_path: Path) -> None:
    """Complaint 8."""
    sample = dataset(tmp_path, rotation=30.0)
    trial = Trial(YoloFormat(), tmp_path)
    losses = find_loss(sample, trial.traits())
    assert [(x.field, x.count) for x in losses if x.kind == "dropped"] == [("objects.rotation", 1)]
    trial.write(sample, tmp_path / "out", media="reference")
    assert (tmp_path / "out/labels/a.txt").read_text() == "1 0.2 0.5 0.2 0.5\n"


@pytest.mark.parametrize("to", ["coco", "voc", "csv", "yolo"])
def test_crowds_are_converted_like_other_objects(to: str, tmp_path: Path) -> None:
    """Complaint 10."""
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}]
    source = coco_file(tmp_path / "in", categories, iscrowd=1)
    Image.new("RGB", SIZE).save(tmp_path / "in/a.jpg")
    done = pipeline.convert(source, to, tmp_path / "out", from_="coco")
    assert done.objects == 2
    said = {x.field for x in done.losses}
    back = pipeline.ingest(to, tmp_path / "out", tmp_path / "back.tlx").records()
    crowds = [o.crowd for r in back for o in r.objects]
    assert crowds == ([None, None] if "objects.crowd" in said else [True, True])


def test_ids_that_tlx_makes_count_from_one(tmp_path: Path) -> None:
    """Complaints 24 to 26."""
    Trial(CocoFormat(), tmp_path).write(dataset(tmp_path), tmp_path / "out")
    value = written(tmp_path / "out")
    assert [c["id"] for c in value["categories"]] == [1, 2]
    assert [(a["id"], a["image_id"]) for a in value["annotations"]] == [(1, 1)]
    assert [i["id"] for i in value["images"]] == [1]


@pytest.mark.parametrize("ids", [(0, 1), (1, 2), (7, 90)])
def test_ids_of_a_file_come_back_as_they_were(ids: tuple[int, int], tmp_path: Path) -> None:
    """Complaints 27, 28 and 30."""
    categories = [{"id": n, "name": f"class {n}"} for n in ids]
    source = coco_file(tmp_path / "in", categories)
    pipeline.convert(source, "coco", tmp_path / "out", from_="coco")
    value = written(tmp_path / "out" / "annotations")
    assert [(c["id"], c["name"]) for c in value["categories"]] == [(n, f"class {n}") for n in ids]
    assert [(a["id"], a["category_id"]) for a in value["annotations"]] == [*enumerate(ids, 10)]


def test_every_part_of_a_dataset_has_the_same_classes_in_the_same_order(tmp_path: Path) -> None:
    """Complaint 33."""
    records = [
        Record(image_id=f"{n}.jpg", uri=f"{n}.jpg", width=9, height=9, split=split,
               objects=(Object(category=name, box=Box(1, 1, 5, 5)),))
        for n, (split, name) in enumerate([("train", "van"), ("val", "car"), ("test", "bus")])
    ]  # fmt: skip
    sample = store(tmp_path / "a.tlx", records, ["van", "bus", "car"], tmp_path)
    Trial(CocoFormat(), tmp_path).write(sample, tmp_path / "out")
    files = sorted((tmp_path / "out").rglob("*.json"))
    assert len(files) == 3
    orders = [
        [(c["id"], c["name"]) for c in json.loads(f.read_text())["categories"]] for f in files
    ]
    assert orders == [[(1, "van"), (2, "bus"), (3, "car")]] * 3


def test_a_category_that_is_named_twice_is_one_class(tmp_path: Path) -> None:
    """Complaint 34: Roboflow repeats the name of the supercategory."""
    categories = [
        {"id": 0, "name": "lights", "supercategory": "none"},
        {"id": 1, "name": "go", "supercategory": "lights"},
        {"id": 2, "name": "lights", "supercategory": "lights"},
    ]
    found = read(CocoFormat(), coco_file(tmp_path / "in", categories), "skip")
    assert sorted(o.category for o in found.records[0].objects) == ["go", "lights", "lights"]
    assert sorted(found.taxonomy.names) == ["go", "lights"]


# The table itself.

ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
ANSWER = re.compile(r"`([^`]+)`")


def rows() -> list[tuple[int, str, str, str]]:
    return [(int(n), who, what, where) for n, who, what, where in ROW.findall(TABLE.read_text())]


def test_every_complaint_has_a_line() -> None:
    assert [number for number, *_ in rows()] == list(range(1, 66))
    assert all(re.search(r"[\w.-]+/[\w.-]+#\d+", who) for _, who, _, _ in rows())


def test_every_answer_is_a_test_or_says_why_there_is_none() -> None:
    checks = {check.name for check in checks_for("format")}
    wrong = []
    for number, _, _, where in rows():
        named = ANSWER.findall(where)
        if not named and not where.startswith(("does not apply: ", "open: ", "measured: ")):
            wrong.append(f"{number} has no test and no reason")
        for answer in named:
            place, _, name = answer.rpartition("::")
            if place == "kit":
                known = name in checks
            elif not name or "::" not in answer:
                known = (TESTS.parent / answer).is_file()
            else:
                known = (TESTS / place).is_file() and name in functions(TESTS / place)
            if not known:
                wrong.append(f"{number}: there is no {answer}")
    assert wrong == []


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
