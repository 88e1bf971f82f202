"""Real exports of every generation; what is read equals what the json module counts."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tlx.pipeline
from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import IssueLog
from tlx.model import Box

OLD = "labelbox/legacy_2018"
NEW = "labelbox/v1_2021"


def rows_of(path: Path) -> list[Any]:
    if path.suffix == ".ndjson":
        return [json.loads(line) for line in path.read_text().splitlines()]
    value = json.loads(path.read_text())
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    "name", ["labelbox/ndjson_2023", "labelformat_fixtures/Labelbox/export-result.ndjson"]
)
def test_ndjson(shared_data: Path, kit: Any, name: str) -> None:
    records, issues, taxonomy = kit.read(shared_data / name)
    path = shared_data / name
    rows = rows_of(path if path.is_file() else path / "export-result.ndjson")
    truth = []
    for row in rows:
        ((project,),) = [list(row["projects"].values())]
        (label,) = project["labels"]
        truth.append((row, label["annotations"]["objects"]))
    assert len(records) == len(rows)
    classes = Counter(thing["name"] for _, things in truth for thing in things)
    assert Counter(o.category for r in records for o in r.objects) == classes
    assert set(taxonomy.names) == set(classes)
    assert sum(not r.objects for r in records) == sum(not things for _, things in truth)
    assert not issues.total
    for record, (row, things) in zip(records, truth, strict=True):
        data, media = row["data_row"], row["media_attributes"]
        assert (record.image_id, record.uri) == (data["external_id"], data["row_data"])
        assert (record.width, record.height) == (media["width"], media["height"])
        for thing, made in zip(things, record.objects, strict=True):
            b = thing["bounding_box"]
            corners = (b["left"], b["top"], b["left"] + b["width"], b["top"] + b["height"])
            assert made.box == Box(*corners)
            assert made.object_id == thing["feature_id"]


def test_ndjson_agrees_with_the_coco_file_of_the_same_images(shared_data: Path, kit: Any) -> None:
    folder = shared_data / "labelformat_fixtures"
    records, _, taxonomy = kit.read(folder / "Labelbox")
    coco = json.loads((folder / "COCO/train.json").read_text())
    names = {c["id"]: c["name"] for c in coco["categories"]}
    files = {i["id"]: i["file_name"] for i in coco["images"]}
    truth = {
        (files[a["image_id"]], names[a["category_id"]], *map(round, a["bbox"]))
        for a in coco["annotations"]
    }
    ours = {
        (r.image_id, o.category, round(b.xmin), round(b.ymin), round(b.width), round(b.height))
        for r in records
        for o in r.objects
        if (b := o.box) is not None
    }
    assert len(truth & ours) == len(truth) == 16
    assert set(taxonomy.names) == {name for _, name, *_ in truth}


@pytest.mark.parametrize(
    "name", ["image_export", "highly_nested_image", "unkown_media_type_export"]
)
def test_json_of_2021(shared_data: Path, kit: Any, name: str) -> None:
    path = shared_data / NEW / f"{name}.json"
    records, issues, taxonomy = kit.read(path)
    rows = [row for row in rows_of(path) if not row["Skipped"]]
    assert issues.counts["skipped-row"] == len(rows_of(path)) - len(rows)
    assert [r.image_id for r in records] == [
        row["External ID"] or row["DataRow ID"] for row in rows
    ]
    colors = {}
    for record, row in zip(records, rows, strict=True):
        for made, thing in zip(record.objects, row["Label"]["objects"], strict=True):
            colors.setdefault(thing["title"], thing["color"].lower())
            assert made.category == thing["title"]
            assert made.object_id == thing["featureId"]
            if "bbox" in thing:
                b = thing["bbox"]
                corners = (b["left"], b["top"], b["left"] + b["width"], b["top"] + b["height"])
                assert made.box == Box(*corners)
            elif "polygon" in thing:
                outline = tuple(v for p in thing["polygon"] for v in (p["x"], p["y"]))
                assert made.segmentation.polygons == (outline,)
                assert made.box == Box(
                    min(outline[::2]), min(outline[1::2]), max(outline[::2]), max(outline[1::2])
                )
            elif "line" in thing or "point" in thing:
                points = thing.get("line") or [thing["point"]]
                drawn = tuple(v for p in points for v in (p["x"], p["y"]))
                point = tuple(v for k in made.keypoints for v in (k.x, k.y))
                assert drawn == (made.shape.coordinates if "line" in thing else point)
                assert made.box is None
            else:
                assert made.box is None
                assert made.attributes["labelbox_mask_url"] == thing["instanceURI"]
    assert {c.name: c.color for c in taxonomy.categories} == colors
    masks = path.read_text().count('"instanceURI"') - len(
        re.findall(r'"(?:bbox|polygon|line|point)": ?[\[{]', path.read_text())
    )
    assert issues.counts["mask-by-reference"] == masks


def test_nested_answers_of_2021(shared_data: Path, kit: Any) -> None:
    (record,), _, _ = kit.read(shared_data / NEW / "highly_nested_image.json")
    kept = {k: v for k, v in record.attributes.items() if not k.startswith("labelbox_")}
    assert kept == {
        "image_description/bright": True,
        "image_description/not_blurry": True,
        "image_description/dark": True,
        "a": "ass",
        "asdsadsad/asdasdsa": True,
        "wee223": "fretre",
        "3223432": "dddd",
        "weeeee": "5354",
        "asdsadsa/asxdsds": True,
    }
    nose = record.objects[2].attributes
    assert (nose["description/wet"], nose["asdasdsadsa"]) == (True, "aasdsadsada")
    (record,), _, taxonomy = kit.read(
        shared_data / NEW / "highly_nested_image.json", answers="labels"
    )
    assert "image_description/bright" in [found.category for found in record.labels]
    assert taxonomy["image_description/bright"].supercategory == "image_description"
    assert record.attributes["wee223"] == "fretre"


def test_video_of_2021(shared_data: Path, kit: Any) -> None:
    path = shared_data / NEW / "video_export.json"
    records, issues, taxonomy = kit.read(path)
    (row,) = rows_of(path)
    frames = row["Label"]
    assert [r.frame for r in records] == [f["frameNumber"] for f in frames]
    assert {r.group for r in records} == {row["External ID"]}
    assert sum(len(r.objects) for r in records) == sum(len(f["objects"]) for f in frames) == 500
    flags = Counter(o.attributes["labelbox_keyframe"] for r in records for o in r.objects)
    assert flags == {True: 477, False: 23}
    assert {o.track for r in records for o in r.objects} == {
        thing["featureId"] for frame in frames for thing in frame["objects"]
    }
    assert (taxonomy.names, issues.total) == (("Jellyfish",), 0)
    by_hand, _, _ = kit.read(path, frames="keyframes")
    assert sum(len(r.objects) for r in by_hand) == 477
    slugs, _, taxonomy = kit.read(path, class_names="value")
    assert taxonomy.names == ("jellyfish",)
    assert slugs[0].objects[0].attributes["labelbox_value"] == "Jellyfish"


def expected_parts(geometry: Any) -> int:
    """Objects that one value of an old label stands for: a count of brackets, or of lists."""
    if isinstance(geometry, str):
        return len(re.findall(r"\(\([^(]", geometry))
    return 1


@pytest.mark.parametrize(
    "name", ["labelbox_1", "labelbox_xy_1", "v2_wkt", "v3_wkt", "v3_wkt_rectangle"]
)
def test_json_of_2018(shared_data: Path, tmp_path: Path, kit: Any, name: str) -> None:
    path = shared_data / OLD / f"{name}.json"
    rows = rows_of(path)
    for row in rows:
        kit.picture(tmp_path / row["Labeled Data"].rpartition("/")[2], 2600, 1500)
    records, issues, _ = kit.read(path, images=str(tmp_path))
    counts: Counter[str] = Counter()
    for row in rows:
        for category, values in row["Label"].items():
            for value in values if isinstance(values, list) else [values]:
                inner = value["geometry"] if isinstance(value, dict) else value
                counts[category] += expected_parts(inner)
    assert len(records) == len(rows)
    assert Counter(o.category for r in records for o in r.objects) == counts
    assert dict(issues.counts) == {"origin-assumed": 1}
    # Y was counted from the bottom, so the same file read without a flip is its mirror image.
    mirrored, _, _ = kit.read(path, images=str(tmp_path), origin="top-left")
    for record, other in zip(records, mirrored, strict=True):
        for made, turned in zip(record.objects, other.objects, strict=True):
            assert made.box.ymin == pytest.approx(1500 - turned.box.ymax)
            assert made.box.ymax == pytest.approx(1500 - turned.box.ymin)
            assert (made.box.xmin, made.box.xmax) == (turned.box.xmin, turned.box.xmax)


def test_a_known_box_of_2018(shared_data: Path, tmp_path: Path, kit: Any) -> None:
    kit.picture(tmp_path / "Red_Bay-1440.jpg", 1440, 600)
    path = shared_data / OLD / "v3_wkt_rectangle.json"
    (record,), _, taxonomy = kit.read(path, images=str(tmp_path))
    assert record.objects[0].box == Box(356, 600 - 420, 1198, 600 - 74)
    assert record.uri == record.image_id == "Red_Bay-1440.jpg"
    assert taxonomy["Car"].color == "#0000ff"


def test_old_exports_need_the_height_of_the_image(shared_data: Path, kit: Any) -> None:
    path = shared_data / OLD / "v3_wkt.json"
    with pytest.raises(DataError, match=r"v3_wkt\.json:1: .*height is not known.*--images"):
        kit.read(path)
    records, issues, _ = kit.read(path, "skip")
    assert (records, issues.counts["no-height"]) == ([], 10)


def test_skipped_and_empty_of_2018(shared_data: Path, kit: Any) -> None:
    path = shared_data / OLD / "empty_skipped.json"
    records, issues, _ = kit.read(path)
    assert [(r.image_id, r.objects) for r in records] == [
        ("2017_tesla_model-s_LIFE1_ot_209175_1280.jpg", ())
    ]
    assert dict(issues.counts) == {"skipped-row": 1}
    kept, _, _ = kit.read(path, unlabelled="keep")
    assert [r.attributes.get("labelbox_status") for r in kept] == ["skipped", None]


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_an_export_like_the_one_behind_the_peaches(
    shared_data: Path, tmp_path: Path, kit: Any, part: str
) -> None:
    """labelbox2coco turned the outlines and left the boxes as they were; both come out right."""
    coco = json.loads((shared_data / f"seed_peaches/data/peaches_{part}_coco.json").read_text())
    rows, truth = [], {}
    for image in coco["images"]:
        height = image["height"]
        of_image = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        outlines = [a["segmentation"][0] for a in of_image]
        label = {
            "Peach": [
                [{"x": x, "y": height - y} for x, y in zip(s[::2], s[1::2], strict=True)]
                for s in outlines
            ]
        }
        name = f"{image['id']}.jpg"
        rows.append(kit.old_row(label, name, **{"External ID": ""}))
        kit.picture(tmp_path / "images" / name, image["width"], height)
        truth[name] = [(a["bbox"], s) for a, s in zip(of_image, outlines, strict=True)]
    path = kit.save(tmp_path / "peaches.json", *rows)
    records, _, _ = kit.read(path, images="images")
    assert sum(len(r.objects) for r in records) == len(coco["annotations"])
    for record in records:
        for made, (bbox, outline) in zip(record.objects, truth[record.image_id], strict=True):
            assert made.segmentation.polygons[0] == pytest.approx(tuple(outline))
            assert made.box.ymin == pytest.approx(min(outline[1::2]))
            # The file's own box starts as far from the bottom as ours ends from the top.
            assert bbox[1] == pytest.approx(record.height - made.box.ymax, abs=1)


def test_ingest_makes_the_same_dataset_twice(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "labelbox/ndjson_2023"
    before = sorted((p, p.stat().st_mtime_ns) for p in root.rglob("*"))
    assert tlx.pipeline.detect(root) == "labelbox"
    assert tlx.pipeline.detect(shared_data / OLD / "v2_wkt.json") == "labelbox"
    first = tlx.pipeline.ingest("labelbox", root, tmp_path / "a.tlx")
    second = tlx.pipeline.ingest("labelbox", root, tmp_path / "b.tlx")
    assert first.manifest == second.manifest
    counts = first.counts
    assert (counts.images, counts.objects, counts.negatives) == (1235, 1096, 660)
    nested = tlx.pipeline.ingest(
        "labelbox",
        shared_data / NEW / "image_export.json",
        tmp_path / "c.tlx",
        context=Context(issues=IssueLog("fail")),
    )
    assert len(next(iter(nested.records())).objects) == 10
    assert before == sorted((p, p.stat().st_mtime_ns) for p in root.rglob("*"))
