"""The DriveU source on made data.

No label file or image of DriveU is public without registration: everything here is generated from
the description of the data set (its documentation and the official reader), none of it is real.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tlx.context import Context
from tlx.dataset import Operation, write_dataset
from tlx.errors import DataError, UsageError
from tlx.issues import IssueLog
from tlx.model import Box, Record
from tlx.pipeline import detect
from tlx_plugins.sources.driveu import DriveuOptions, DriveuSource
from tlx_plugins.sources.driveu_reader import SIZE

WORDS = {
    "direction": "front",
    "relevance": "relevant",
    "occlusion": "not_occluded",
    "orientation": "vertical",
    "aspects": "three_aspects",
    "state": "red",
    "pictogram": "circle",
    "reflection": "not_reflected",
}


def light(x: int = 100, y: int = 50, w: int = 10, h: int = 30, **words: str) -> dict[str, Any]:
    return {"x": x, "y": y, "w": w, "h": h, "attributes": {**WORDS, **words},
            "unique_id": 7, "track_id": "TrafficLight_1"}  # fmt: skip


def name(second: int, city: str = "Berlin", route: int = 1) -> str:
    day = "2015-04-17_10-50-05"
    return f"{city}/{city}{route}/{day}/DE_BBBR667_2015-04-17_10-50-{second:02d}-000001_k0.tiff"


def image(second: int, *labels: Any, city: str = "Berlin", **more: Any) -> dict[str, Any]:
    path = name(second, city)
    return {
        "image_path": f"./{path}",
        "disparity_image_path": f"./{path.replace('_k0.', '_nativeV2.')}",
        "time_stamp": 1429260605.5 + second,
        "velocity": 9.5,
        "yaw_rate": -0.01,
        "longitude": 13.37,
        "latitude": 52.5,
        "labels": list(labels),
        **more,
    }


def labels(root: Path, *images: Any, file: str = "DTLD_all.json") -> Path:
    path = root / "DTLD_labels_v2.0" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": list(images)}, indent=1))
    return path


def old(second: int, *objects: dict[str, Any], city: str = "Berlin") -> dict[str, Any]:
    prefix = ("/scratch/fs2/DTLD_final/", "/scr/cmtcde8u013/fs2/DTLD_final/")[second % 2]
    path = prefix + name(second, city)
    return {"disp_path": path.replace("_k0.", "_nativeV2."), "latitude": 52.5, "longitude": 13.37,
            "objects": list(objects), "path": path, "time_stamp": 1429260605.5 + second,
            "velocity": 9.5, "yaw_rate": -0.01}  # fmt: skip


def old_light(identity: int = 112310, x: int = 100) -> dict[str, Any]:
    return {"x": x, "y": 50, "width": 10, "height": 30, "class_id": identity, "unique_id": 7,
            "track_id": "TrafficLight_1"}  # fmt: skip


def old_labels(root: Path, *images: Any, file: str = "DTLD_all.yml", **style: Any) -> Path:
    path = root / "DTLD_labels" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(list(images), **{"default_flow_style": None, **style}))
    return path


def picture(root: Path, second: int, suffix: str = ".png", size: tuple[int, int] = SIZE) -> Path:
    path = (root / name(second)).with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)
    return path


def read(root: Path, policy: str = "fail", **options: Any) -> tuple[list[Record], IssueLog]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = DriveuSource().read(root, DriveuOptions(**options), context)
    return list(reading.content), context.issues  # type: ignore[arg-type]


def test_version_2(tmp_path: Path) -> None:
    labels(tmp_path, image(3), image(1, light(), light(200, state="green", track_id="x")))
    records, issues = read(tmp_path)
    assert [r.image_id for r in records] == [name(1), name(3)]
    first = records[0]
    assert (first.group, first.frame) == ("Berlin/Berlin1/2015-04-17_10-50-05", 0)
    assert (first.width, first.height, first.split) == (2048, 1024, None)
    assert first.attributes == {
        "velocity": 9.5,
        "yaw_rate": -0.01,
        "longitude": 13.37,
        "latitude": 52.5,
        "time_stamp": 1429260606.5,
        "disparity_path": name(1).replace("_k0.", "_nativeV2."),
        "city": "Berlin",
        "route": "Berlin1",
        "sequence": "2015-04-17_10-50-05",
    }
    found = first.objects[0]
    assert (found.category, found.box) == ("red", Box(100, 50, 110, 80))
    assert (found.track, found.object_id, found.occluded) == ("TrafficLight_1", "7", False)
    assert found.attributes == WORDS
    assert records[1].objects == ()
    assert dict(issues.counts) == {"no-images": 1}
    assert "--images" in str(issues.kept[0].hint)


def test_version_1(tmp_path: Path) -> None:
    old_labels(tmp_path, old(2), old(1, old_light(143352), old_light(12340, 5)))
    records, issues = read(tmp_path, classes="state+pictogram")
    assert [r.image_id for r in records] == [name(1), name(2)]
    assert records[0].attributes["velocity"] == 9.5
    assert records[0].origin is not None
    assert records[0].origin.line == 9
    assert records[0].objects[0].attributes == {
        "class_id": "143352", "direction": "front", "relevance": "unknown",
        "occlusion": "occluded", "installation": "horizontal_without_frame",
        "orientation": "horizontal", "aspects": "three_aspects", "lamps": 3, "state": "white",
        "pictogram": "arrow_left",
    }  # fmt: skip
    assert records[0].objects[0].occluded is True
    assert records[0].objects[1].attributes["direction"] == "unknown"
    assert [o.category for o in records[0].objects] == ["white-arrow_left", "green-circle"]
    assert issues.lost == 0


def test_both_versions_say_the_same(tmp_path: Path) -> None:
    new, past = tmp_path / "new", tmp_path / "old"
    labels(new, image(1, light()), image(2, light(state="green", pictogram="arrow_left")))
    old_labels(past, old(1, old_light(112310)), old(2, old_light(112342)))
    for detail in ("state", "state+pictogram", "full"):
        (one, _), (two, _) = read(new, classes=detail), read(past, classes=detail)
        assert [r.image_id for r in one] == [r.image_id for r in two]
        assert [r.group for r in one] == [r.group for r in two]
        for a, b in zip(one, two, strict=True):
            assert [(o.category, o.box, o.track) for o in a.objects] == [
                (o.category, o.box, o.track) for o in b.objects
            ]


def test_both_versions_in_one_folder(tmp_path: Path) -> None:
    labels(tmp_path, image(1, light()))
    old_labels(tmp_path, old(1, old_light()), old(2))
    records, issues = read(tmp_path)
    assert len(records) == 1
    assert issues.counts["other-version"] == 1
    assert len(read(tmp_path, labels="DTLD_labels/DTLD_all.yml")[0]) == 2


def test_files_that_repeat_frames(tmp_path: Path) -> None:
    frames = [image(n, light(n)) for n in range(4)]
    labels(tmp_path, *frames)
    labels(tmp_path, *frames[:3], file="DTLD_train.json")
    labels(tmp_path, frames[3], file="DTLD_test.json")
    labels(tmp_path, *frames, file="Berlin.json")
    records, issues = read(tmp_path)
    assert [r.attributes["official_split"] for r in records] == ["train"] * 3 + ["test"]
    assert issues.counts["duplicate-frame"] == 2
    assert issues.lost == 0
    assert sum(len(r.objects) for r in records) == 4


def test_files_that_contradict_each_other(tmp_path: Path) -> None:
    labels(tmp_path, image(1, light()), file="DTLD_train.json")
    labels(tmp_path, image(1, light(state="green")))
    with pytest.raises(DataError, match="other lights than in DTLD_train"):
        read(tmp_path)
    records, issues = read(tmp_path, "skip")
    assert [o.category for o in records[0].objects] == ["red"]
    assert issues.counts["conflicting-frame"] == 1


@pytest.mark.parametrize("prefix", ["./", "/scratch/fs2/DTLD_final/", "C:\\DTLD\\", ""])
def test_paths_are_taken_from_their_end(tmp_path: Path, prefix: str) -> None:
    path = prefix + (name(1).replace("/", "\\") if "\\" in prefix else name(1))
    labels(tmp_path, image(1, light(), image_path=path))
    picture(tmp_path, 1)
    records, issues = read(tmp_path)
    assert records[0].image_id == name(1)
    assert records[0].uri == name(1).replace(".tiff", ".png")
    assert issues.total == 0


@pytest.mark.parametrize("place", [".", "images", "../elsewhere"])
def test_images_are_found(tmp_path: Path, place: str) -> None:
    root = tmp_path / "DTLD"
    root.mkdir()
    labels(root, image(1, light()))
    picture(root / place, 1, ".jpg", (512, 256))
    context = Context()
    reading = DriveuSource().read(root, DriveuOptions(images=place), context)
    (record,) = reading.content
    assert isinstance(record, Record)
    assert (record.width, record.height) == (512, 256)
    assert (reading.media_root / record.uri).is_file()


def test_a_label_file_finds_images_beside_its_folder(tmp_path: Path) -> None:
    file = labels(tmp_path, image(1, light()))
    picture(tmp_path, 1)
    reading = DriveuSource().read(file, DriveuOptions(), Context())
    (record,) = reading.content
    assert isinstance(record, Record)
    assert (reading.media_root / record.uri).is_file()


def test_an_eight_bit_copy_goes_before_the_mosaic(tmp_path: Path) -> None:
    labels(tmp_path, image(1), image(2))
    picture(tmp_path, 1, ".tiff")
    picture(tmp_path, 1, ".png")
    picture(tmp_path, 2, ".tiff")
    records, issues = read(tmp_path)
    assert [r.uri[-4:] for r in records] == [".png", "tiff"]
    assert issues.total == 0


def test_missing_images(tmp_path: Path) -> None:
    labels(tmp_path, image(1), image(2), image(1, city="Fulda"))
    picture(tmp_path, 1)
    with pytest.raises(DataError, match="is not among those"):
        read(tmp_path)
    records, issues = read(tmp_path, "skip")
    assert [r.image_id for r in records] == [name(1), name(1, "Fulda")]
    assert issues.counts == {"missing-image": 1, "no-images": 1}
    assert "1 frames of Fulda" in issues.first("no-images")[0].message


@pytest.mark.parametrize(
    ("options", "code", "left"),
    [
        ({"reflections": "drop"}, "reflection", ["a", "c", "d", "e"]),
        ({"relevance": "relevant"}, "relevance", ["a", "b", "d", "e"]),
        ({"direction": "front"}, "direction", ["a", "b", "c", "e"]),
        ({"unknown_states": "drop"}, "unknown-state", ["a", "b", "c", "d"]),
    ],
)
def test_filters_are_counted(
    tmp_path: Path, options: dict[str, str], code: str, left: list[str]
) -> None:
    lights = [
        light(),
        light(reflection="reflected"),
        light(relevance="not_relevant"),
        light(direction="back"),
        light(state="unknown"),
    ]
    for letter, values in zip("abcde", lights, strict=True):
        values["track_id"] = letter
    labels(tmp_path, image(1, *lights))
    records, issues = read(tmp_path, **options)
    assert [o.track for o in records[0].objects] == left
    assert issues.counts[code] == 1
    assert issues.actions["requested"] == 1


def test_the_taxonomy(tmp_path: Path) -> None:
    labels(
        tmp_path,
        image(
            1,
            light(pictogram="arrow_left"),
            light(pictogram="arrow_right"),
            light(state="green", pictogram="arrow_left"),
            light(state="off"),
            light(state="violet"),
        ),
    )
    context = Context()
    reading = DriveuSource().read(tmp_path, DriveuOptions(classes="state+pictogram"), context)
    list(reading.content)
    assert callable(reading.taxonomy)
    taxonomy = reading.taxonomy()
    assert taxonomy.names == (
        "red-arrow_left",
        "red-arrow_right",
        "green-arrow_left",
        "off-circle",
        "unknown-circle",
    )
    assert taxonomy["red-arrow_left"].mirror == "red-arrow_right"
    assert not taxonomy["red-arrow_left"].mirrorable
    assert taxonomy["green-arrow_left"].mirror is None
    assert not taxonomy["green-arrow_left"].mirrorable
    assert taxonomy["off-circle"].mirrorable
    assert taxonomy["red-arrow_left"].color_defined
    assert not taxonomy["off-circle"].color_defined
    assert context.issues.counts["unknown-value"] == 1


def test_boxes(tmp_path: Path) -> None:
    labels(tmp_path, image(1, light(-5), light(w=0), light(2040, w=20)))
    with pytest.raises(DataError, match="is empty or inverted"):
        read(tmp_path)
    records, issues = read(tmp_path, bad_boxes="clip")
    assert [o.box for o in records[0].objects] == [Box(0, 50, 5, 80), Box(2040, 50, 2048, 80)]
    assert issues.counts["box-outside"] == 2
    records, _ = read(tmp_path, "skip")
    assert [o.box for o in records[0].objects] == [Box(-5, 50, 5, 80), Box(2040, 50, 2060, 80)]


def test_it_becomes_a_dataset(tmp_path: Path) -> None:
    frames = [image(n, light(), light(state="green")) for n in range(5)]
    labels(tmp_path, *frames)
    context = Context()
    reading = DriveuSource().read(tmp_path, DriveuOptions(), context)
    dataset = write_dataset(
        tmp_path / "x.tlx",
        reading.content,
        reading.taxonomy,
        reading.media_root,
        (Operation(name="ingest", plugin="driveu", version="0"),),
        issues=context.issues,
    )
    judged = Counter(o["attributes"]["state"] for f in frames for o in f["labels"])
    assert {k: v for k, v in dataset.counts.objects_by_category.items() if v} == judged
    assert [r.frame for r in dataset.records()] == list(range(5))


def test_it_is_detected(tmp_path: Path) -> None:
    new, past = tmp_path / "new", tmp_path / "old"
    assert detect(labels(new, image(1, light()))) == "driveu"
    assert detect(new) == "driveu"
    assert detect(old_labels(past, old(1, old_light()))) == "driveu"
    assert detect(past) == "driveu"
    (tmp_path / "none").mkdir()
    assert not DriveuSource().sniff(tmp_path / "none").ok


def test_wrong_paths_are_explained(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"found a\.txt"):
        read(tmp_path)
    labels(tmp_path, image(1))
    with pytest.raises(UsageError, match="there is no label file DTLD_al.json"):
        read(tmp_path, labels="DTLD_al.json")
    with pytest.raises(UsageError, match="folder of images nowhere"):
        read(tmp_path, images="nowhere")
