"""What becomes of labels, answers, geometries, videos and images of today's export."""

from __future__ import annotations

import json
import socket
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tlx.errors import DataError, UsageError
from tlx.model import Box, Keypoint, Label, Shape


@pytest.fixture
def disputed(tmp_path: Path, kit: Any) -> Path:
    """One row with a skipped label and three others, of which the second is the benchmark."""
    scored = {"skipped": False, "benchmark_reference_label": "two"}
    labels = [
        kit.label(kit.box("skip"), name="zero", performance_details={"skipped": True}),
        kit.label(
            kit.box("a"),
            name="one",
            performance_details=scored,
            label_details={"updated_at": "2024-01-03T10:00:00.000+00:00"},
        ),
        kit.label(kit.box("b"), name="two", label_details={"updated_at": "2024-01-02T00:00:00Z"}),
        kit.label(
            kit.box("c"),
            name="three",
            performance_details=scored,
            label_details={"updated_at": "2024-01-01T00:00:00Z"},
        ),
    ]
    return kit.save(tmp_path / "export.ndjson", kit.row(*labels))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("consensus", "classes"),
    [("first", ["a"]), ("newest", ["a"]), ("benchmark", ["b"]), ("all", ["a", "b", "c"])],
)
def test_consensus(disputed: Path, kit: Any, consensus: str, classes: list[str]) -> None:
    (record,), issues, taxonomy = kit.read(disputed, consensus=consensus)
    assert [o.category for o in record.objects] == classes == list(taxonomy.names)
    assert issues.counts == {"several-labels": 1}
    marks = [o.attributes.get("labelbox_label_id") for o in record.objects]
    assert marks == (["one", "two", "three"] if consensus == "all" else [None])


def test_newest_and_missing_benchmark(tmp_path: Path, kit: Any) -> None:
    old = kit.label(kit.box("a"), name="1", label_details={"created_at": "2023-12-31T00:00:00Z"})
    new = kit.label(kit.box("b"), name="2", label_details={"created_at": "2024-01-01T00:00:00Z"})
    path = kit.save(tmp_path / "export.ndjson", kit.row(old, new))
    (record,), _, _ = kit.read(path, consensus="newest")
    assert record.objects[0].category == "b"
    (record,), issues, _ = kit.read(path, consensus="benchmark")
    assert record.objects[0].category == "a"
    assert issues.counts["no-benchmark"] == 1


def test_consensus_of_json_rows(tmp_path: Path, kit: Any) -> None:
    """In the exports before 2023 each annotator's label is a row of its own."""
    marks = {"DataRow ID": "row", "External ID": "a.jpg"}
    one = {"title": "car", "bbox": {"top": 1, "left": 1, "height": 5, "width": 5}}
    rows = [
        kit.old_row({"objects": [one | {"title": t}]}, ID=t, **marks, **{"Updated At": u})
        for t, u in (("a", "2021-01-01"), ("b", "2021-01-03"), ("c", "2021-01-02"))
    ]
    rows[0]["Benchmark ID"] = "c"
    path = kit.save(tmp_path / "export.json", *rows, rows[0])
    for consensus, classes in {"first": "a", "newest": "b", "benchmark": "c", "all": "abc"}.items():
        (record,), issues, _ = kit.read(path, consensus=consensus)
        assert "".join(o.category for o in record.objects) == classes
        assert issues.counts["duplicate-row"] == 1


def test_several_projects(tmp_path: Path, kit: Any) -> None:
    projects = {
        "p1": {"name": "lights", "labels": [kit.label(kit.box("stop"))]},
        "p2": {"name": "signs", "labels": [kit.label(kit.box("yield"))]},
    }
    path = kit.save(tmp_path / "export.ndjson", kit.row(projects=projects))
    (record,), issues, _ = kit.read(path)
    assert [o.category for o in record.objects] == ["stop", "yield"]
    assert record.attributes["labelbox_project"] == "lights, signs"
    assert issues.counts == {"several-projects": 1}
    for name in ("signs", "p2"):
        (record,), _, taxonomy = kit.read(path, project=name)
        assert taxonomy.names == ("yield",)
    with pytest.raises(DataError, match="no project 'cars'; its projects: lights, signs"):
        kit.read(path, project="cars")


def test_negatives_skipped_and_unlabelled(tmp_path: Path, kit: Any) -> None:
    rows = [
        kit.row(kit.label(), name="negative.jpg"),
        kit.row(name="unlabelled.jpg"),
        kit.row(name="nowhere.jpg", projects={}),
        kit.row(kit.label(kit.box(), performance_details={"skipped": True}), name="skipped.jpg"),
    ]
    path = kit.save(tmp_path / "export.ndjson", *rows)
    (record,), issues, _ = kit.read(path)
    assert (record.image_id, record.objects) == ("negative.jpg", ())
    assert issues.counts == {"unlabelled-row": 2, "skipped-row": 1}
    records, issues, _ = kit.read(path, unlabelled="keep")
    status = [r.attributes.get("labelbox_status") for r in records]
    assert status == [None, "unlabelled", "unlabelled", "skipped"]
    assert not any(r.objects for r in records)


def test_lines_points_masks_and_relationships(tmp_path: Path, kit: Any) -> None:
    bare = {"classifications": []}
    things = [
        {"feature_id": "l", "name": "lane", "line": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]} | bare,
        {"feature_id": "p", "name": "spot", "point": {"x": 5, "y": 6}} | bare,
        {"feature_id": "m", "name": "road", "mask": {"url": "https://host.test/m.png"}} | bare,
        {"feature_id": "c", "name": "road", "composite_mask": {"url": "https://x.test/c"}} | bare,
        {"feature_id": "t", "name": "word", "annotation_kind": "TextEntity", "location": {}},
        kit.box("car", feature_id="b"),
    ]
    ends = {"source": "b", "target": "l"}
    relation = {"name": "drives on", "unidirectional_relationship": ends}
    row = kit.row(kit.label(*things, annotations={"relationships": [relation, {"name": "?"}]}))
    path = kit.save(tmp_path / "export.ndjson", row)
    (record,), issues, _ = kit.read(path, "skip")
    lane, spot, road, other, car = record.objects
    assert lane.shape == Shape("polyline", (1, 2, 3, 4))
    assert (lane.box, lane.keypoints) == (None, ())
    assert (spot.keypoints, spot.box) == ((Keypoint(5, 6),), None)
    assert road.attributes["labelbox_mask_url"] == "https://host.test/m.png"
    assert other.attributes["labelbox_mask_url"] == "https://x.test/c"
    assert car.attributes == {"labelbox_relationship/drives on": "l"}
    expected = {"mask-by-reference": 2, "unknown-kind": 1, "bad-relationship": 1}
    assert issues.counts == expected
    assert "TextEntity" in issues.first("unknown-kind")[0].message
    with pytest.raises(DataError, match=r"export\.ndjson:1: .*TextEntity"):
        kit.read(path)


def nested_answers() -> list[dict[str, Any]]:
    strong = {"name": "intensity", "radio_answer": {"name": "strong"}}
    wet = {"name": "wet", "classifications": [{"name": "depth", "text_answer": {"content": "2"}}]}
    return [
        {"name": "weather", "radio_answer": {"name": "rain", "classifications": [strong]}},
        {"name": "road", "checklist_answers": [wet, {"name": "dirty"}]},
        {"name": "note", "text_answer": {"content": "hm"}},
    ]


def test_nested_answers(tmp_path: Path, kit: Any) -> None:
    answers = nested_answers()
    expected = {
        "weather": "rain",
        "weather/rain/intensity": "strong",
        "road/wet": True,
        "road/wet/depth": "2",
        "road/dirty": True,
        "note": "hm",
    }
    row = kit.row(kit.label(kit.box(classifications=answers), answers=answers))
    path = kit.save(tmp_path / "export.ndjson", row)
    (record,), issues, taxonomy = kit.read(path)
    assert record.objects[0].attributes == expected
    assert {k: v for k, v in record.attributes.items() if "labelbox" not in k} == expected
    assert (taxonomy.names, record.labels, issues.total) == (("car",), (), 0)
    (record,), _, taxonomy = kit.read(path, answers="labels")
    names = ["weather/rain", "weather/rain/intensity/strong", "road/wet", "road/dirty"]
    assert record.labels == tuple(Label(name, True) for name in names)
    assert {k for k in record.attributes if "labelbox" not in k} == {"note", "road/wet/depth"}
    assert set(taxonomy.names) == {"car", *names}


def test_answers_that_differ(tmp_path: Path, kit: Any) -> None:
    answers = [{"name": "state", "radio_answer": {"name": n}} for n in ("on", "off", "on")]
    row = kit.row(kit.label(kit.box(classifications=answers)))
    path = kit.save(tmp_path / "export.ndjson", row)
    (record,), issues, _ = kit.read(path, "skip")
    assert record.objects[0].attributes == {"state": "on"}
    assert issues.counts == {"answer-conflict": 1}


def video_row(kit: Any, **annotations: Any) -> Any:
    def at(left: float) -> dict[str, Any]:
        thing = kit.box("car", 10, left)
        del thing["feature_id"]
        return {"f": thing | {"annotation_kind": "VideoBoundingBox"}}

    frames = {
        "13": {"objects": at(0), "classifications": nested_answers()[2:]},
        "17": {"objects": at(40), "classifications": []},
        "9": {"objects": {}, "classifications": []},
    }
    content = {"frames": frames, "segments": {"f": [[13, 17]]}} | annotations
    media = {"width": 200, "height": 100, "mime_type": "video/mp4"}
    label = {"id": "l", "label_kind": "Video", "annotations": content}
    return kit.row(label, name="clip.mp4", media_attributes=media)


@pytest.mark.parametrize(
    "keyframes", [{"f": [13]}, {"f": {"13": True, "17": False}}], ids=["list", "flags"]
)
def test_video_frames(tmp_path: Path, kit: Any, keyframes: Any) -> None:
    row = video_row(kit, key_frame_feature_map=keyframes)
    path = kit.save(tmp_path / "export.ndjson", row)
    records, issues, _ = kit.read(path)
    assert [(r.image_id, r.frame, len(r.objects)) for r in records] == [
        ("clip.mp4/000009", 9, 0),
        ("clip.mp4/000013", 13, 1),
        ("clip.mp4/000017", 17, 1),
    ]
    assert {r.group for r in records} == {"clip.mp4"}
    assert records[1].uri == "https://host.test/clip.mp4#frame=13"
    assert records[1].attributes["note"] == "hm"
    assert "note" not in records[2].attributes
    assert [o.attributes["labelbox_keyframe"] for r in records for o in r.objects] == [True, False]
    assert records[1].objects[0].track == "f"
    assert issues.counts == {"frames-not-listed": 1}
    records, _, _ = kit.read(path, frames="keyframes")
    assert [r.frame for r in records] == [13]
    records, issues, _ = kit.read(path, frames="filled")
    assert [r.frame for r in records] == [9, 13, 14, 15, 16, 17]
    assert [r.objects[0].box.xmin for r in records[1:]] == [0, 10, 20, 30, 40]
    assert not issues.total


def test_frames_are_found_in_the_folder_of_their_video(tmp_path: Path, kit: Any) -> None:
    for number in (9, 13, 17):
        kit.picture(tmp_path / f"frames/clip/clip_{number:05d}.png")
    path = kit.save(tmp_path / "export.ndjson", video_row(kit))
    records, _, _ = kit.read(path, images="frames")
    assert [r.uri for r in records] == [f"clip/clip_{n:05d}.png" for n in (9, 13, 17)]
    (tmp_path / "frames/clip/clip_00013.png").unlink()
    records, issues, _ = kit.read(path, "skip", images="frames")
    assert ([r.frame for r in records], issues.counts["missing-image"]) == ([9, 17], 1)


def test_local_images_by_id_key_and_url(tmp_path: Path, kit: Any) -> None:
    folder = tmp_path / "images"
    accented = unicodedata.normalize("NFD", "Straße é.jpg")
    for name in ("by id.jpg", "deep/key.png", "url.jpg", "win/dows.jpg", accented):
        kit.picture(folder / name)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    rows = [
        kit.row(kit.label(), name="by id.jpg"),
        kit.row(kit.label(), name="?", data_row={"external_id": None, "global_key": "key"}),
        kit.row(kit.label(), name="u", data_row={"row_data": "https://h.test/a%2Furl.jpg?x=1"}),
        kit.row(kit.label(), name="C:\\win\\dows.jpg"),
        kit.row(kit.label(), name="Straße é.jpg"),
    ]
    path = kit.save(tmp_path / "export.ndjson", *rows)
    records, issues, _ = kit.read(path, images="images")
    assert [r.uri for r in records] == [
        "by id.jpg",
        "deep/key.png",
        "url.jpg",
        "win/dows.jpg",
        accented,
    ]
    assert [r.image_id for r in records][1:4] == ["key", "u", "C:\\win\\dows.jpg"]
    assert not issues.total
    with pytest.raises(UsageError, match="the folder of images nowhere does not exist"):
        kit.read(path, images="nowhere")


def test_local_images_that_do_not_fit(tmp_path: Path, kit: Any) -> None:
    folder = tmp_path / "images"
    for name in ("x/twice.jpg", "y/twice.jpg"):
        kit.picture(folder / name)
    kit.picture(folder / "turned.jpg", 100, 200)
    (folder / "broken.jpg").write_bytes(b"no image")
    kit.picture(tmp_path / "secret.jpg")
    names = ("twice.jpg", "y/twice.jpg", "turned.jpg", "broken.jpg", "../secret.jpg", "gone.jpg")
    rows = [kit.row(kit.label(kit.box()), name=name) for name in names]
    rows[2]["media_attributes"]["exif_rotation"] = "6"
    path = kit.save(tmp_path / "export.ndjson", *rows)
    records, issues, _ = kit.read(path, "skip", images="images")
    assert [r.uri for r in records] == ["y/twice.jpg", "turned.jpg", "broken.jpg"]
    assert (records[1].width, records[1].height) == (100, 200)
    assert issues.counts == {
        "ambiguous-image": 1,
        "size-mismatch": 1,
        "unreadable-image": 1,
        "missing-image": 2,
    }
    assert "EXIF" in issues.first("size-mismatch")[0].message
    with pytest.raises(DataError, match=r"'twice.jpg' fits several images: x/twice.jpg, y/twice"):
        kit.read(path, images="images")


def test_without_a_url_only_a_safe_name_is_a_path(tmp_path: Path, kit: Any) -> None:
    names = ("in/side.jpg", "../out.jpg", "/etc/out.jpg", "C:\\out.jpg", "text")
    rows = [kit.row(kit.label(), name=name, data_row={"row_data": None}) for name in names]
    path = kit.save(tmp_path / "export.ndjson", *rows)
    records, issues, _ = kit.read(path, "skip")
    assert [r.uri for r in records] == ["in/side.jpg"]
    assert issues.counts == {"no-image": 4}


def test_shared_external_ids(tmp_path: Path, kit: Any) -> None:
    rows = [kit.row(kit.label(), name="a.jpg", data_row={"id": str(number)}) for number in range(3)]
    path = kit.save(tmp_path / "export.ndjson", *rows)
    records, issues, _ = kit.read(path)
    assert [r.image_id for r in records] == ["a.jpg", "a.jpg#1", "a.jpg#2"]
    assert issues.counts == {"shared-id": 2}


def test_metadata_and_split(tmp_path: Path, kit: Any) -> None:
    fields = [
        {"schema_name": "split", "value": "valid"},
        {"schema_name": "speed", "value": 42.5},
        {"schema_name": "tag", "value": "night"},
        {"schema_name": "odd", "value": [1]},
    ]
    path = kit.save(tmp_path / "e.ndjson", kit.row(kit.label(), metadata_fields=fields))
    (record,), issues, _ = kit.read(path, "skip")
    assert record.split == "val"
    assert (record.attributes["speed"], record.attributes["tag"]) == (42.5, "night")
    assert issues.counts == {"bad-metadata": 1}


def test_class_names_and_colours(tmp_path: Path, kit: Any) -> None:
    rows = [
        kit.old_row({"car ": [{"geometry": square(), "color": "red"}]}, "a.jpg"),
        kit.old_row({"car": [{"geometry": square(), "color": "#00FF00"}]}, "b.jpg"),
    ]
    for row in rows:
        row["Created At"] = "2018-11-01T00:00:00.000Z"
    path = kit.save(tmp_path / "export.json", *rows)
    records, issues, taxonomy = kit.read(path)
    assert [o.category for r in records for o in r.objects] == ["car", "car"]
    assert taxonomy["car"].color == "#ff0000"
    assert issues.counts == {"class-blanks": 1, "class-color": 1}


def square() -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in ((1, 2), (5, 2), (5, 9), (1, 9))]


@pytest.mark.parametrize(
    ("mark", "flipped"),
    [
        ({}, True),
        ({"Created At": "2018-09-30T00:00:00Z"}, True),
        ({"Created At": "2018-10-01T00:00:00Z"}, False),
        ({"DataRow ID": "d"}, False),
    ],
)
def test_where_y_starts(tmp_path: Path, kit: Any, mark: dict[str, str], flipped: bool) -> None:
    kit.picture(tmp_path / "a.jpg")
    path = kit.save(tmp_path / "export.json", kit.old_row({"car": [square()]}, **mark))
    top, bottom = Box(1, 2, 5, 9), Box(1, 91, 5, 98)
    for origin, expected in {
        "auto": bottom if flipped else top,
        "top-left": top,
        "bottom-left": bottom,
    }.items():
        (record,), _, _ = kit.read(path, images=str(tmp_path), origin=origin)
        assert record.objects[0].box == expected


def test_answers_beside_geometries(tmp_path: Path, kit: Any) -> None:
    content = {
        "car": "MULTIPOLYGON (((1 2, 5 2, 5 9, 1 2)), ((0 0, 9 0, 9 9), (1 1, 2 1, 2 2)))",
        "spot": "POINT (3 4)",
        "lane": "LINESTRING (0 0, 5 5)",
        "weather": "sunny",
        "seen": ["dog", "cat"],
        "corner": [{"geometry": {"x": 7, "y": 8}}],
    }
    path = kit.save(tmp_path / "export.json", kit.old_row(content))
    (record,), issues, taxonomy = kit.read(path, "skip", origin="top-left")
    assert [o.category for o in record.objects] == ["car", "car", "spot", "lane", "corner"]
    assert record.objects[0].segmentation.polygons == ((1, 2, 5, 2, 5, 9),)
    assert record.objects[4].keypoints == (Keypoint(7, 8),)
    assert record.attributes["weather"] == "sunny"
    assert record.attributes["seen/cat"] is True
    assert taxonomy.names == ("car", "spot", "lane", "corner")
    assert issues.counts == {"polygon-hole": 1}


def test_nothing_touches_the_network(
    tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    mask = {"name": "m", "mask": {"url": "https://host.test/m.png"}}
    rows = [
        kit.row(kit.label(mask)),
        video_row(kit),
    ]
    records, _, _ = kit.read(kit.save(tmp_path / "export.ndjson", *rows))
    assert len(records) == 4
    old = kit.old_row({"frames": "https://host.test/frames"}, "v.mp4")
    with pytest.raises(DataError, match="behind a URL, which is not fetched"):
        kit.read(kit.save(tmp_path / "old.json", old))


@pytest.mark.parametrize("suffix", ["json", "ndjson"])
def test_containers_hold_the_same(tmp_path: Path, kit: Any, suffix: str) -> None:
    rows = [kit.row(kit.label(kit.box()), name=f"{n}.jpg") for n in range(3)]
    path = kit.save(tmp_path / f"export.{suffix}", *rows)
    records, _, _ = kit.read(path)
    assert [r.image_id for r in records] == ["0.jpg", "1.jpg", "2.jpg"]
    lines = path.read_text().split("\n")
    assert all(
        lines[r.origin.line - 1].lstrip().startswith("{") and r.origin.path == path.name
        for r in records
    )
    pretty = tmp_path / "pretty.json"
    pretty.write_text("\n".join(json.dumps(row, indent=2) for row in rows))
    assert [r.image_id for r in kit.read(pretty)[0]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [r.image_id for r in kit.read(tmp_path, "skip")[0]] == ["0.jpg", "1.jpg", "2.jpg"]
