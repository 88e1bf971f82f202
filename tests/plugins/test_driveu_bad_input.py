"""Broken DriveU label files, and the digits of its identities; all data is made, none is real."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlx.context import Context
from tlx.errors import DataError, TlxError
from tlx.issues import IssueLog
from tlx.model import Record
from tlx_plugins.sources import driveu_yaml
from tlx_plugins.sources.driveu import DriveuOptions, DriveuSource
from tlx_plugins.sources.driveu_entries import Unusual, last_parts
from tlx_plugins.sources.driveu_file import LabelFile
from tlx_plugins.sources.driveu_identity import from_digits

PATH = "Fulda/Fulda1/2015-01-01_00-00-00/DE_1_k0.tiff"
LIGHT = {"x": 1, "y": 2, "w": 3, "h": 4, "attributes": {"state": "red"}, "unique_id": 1,
         "track_id": "a"}  # fmt: skip
IMAGE = {"image_path": PATH, "time_stamp": 1.5, "labels": [LIGHT]}
OLD = f"""\
- disp_path: /a/{PATH}
  objects:
  - {{x: 1, y: 2, width: 3, height: 4, class_id: 112310, unique_id: 1, track_id: T_1}}
  path: /a/{PATH}
  time_stamp: 1.5
"""
# The table of the data set's documentation, from the left.
TABLE: tuple[tuple[str, dict[str, str]], ...] = (
    ("direction", {"1": "front", "2": "back", "3": "left", "4": "right"}),
    ("relevance", {"0": "not_relevant", "1": "relevant", "2": "not_relevant", "3": "relevant"}),
    ("orientation", {"1": "horizontal", "2": "vertical", "3": "horizontal", "4": "vertical",
                     "6": "horizontal", "7": "vertical", "8": "horizontal", "9": "vertical"}),
    ("aspects", {"1": "one_aspect", "2": "two_aspects", "3": "three_aspects",
                 "4": "four_aspects"}),
    ("state", {"0": "off", "1": "red", "2": "yellow", "3": "red_yellow", "4": "green",
               "5": "white"}),
    ("pictogram", {"0": "circle", "1": "arrow_straight", "2": "arrow_left",
                   "3": "arrow_straight_left", "4": "arrow_right", "5": "arrow_straight_right",
                   "7": "arrow_left_right_straight", "8": "pedestrian", "9": "bicycle"}),
)  # fmt: skip


def read(root: Path, policy: str = "skip", **options: Any) -> tuple[list[Record], IssueLog]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = DriveuSource().read(root, DriveuOptions(**options), context)
    return list(reading.content), context.issues  # type: ignore[arg-type]


def put(folder: Path, text: str | bytes, file: str = "DTLD_all.json") -> Path:
    path = folder / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@given(st.integers(0, 999_999), st.integers(1, 6))
def test_every_digit_is_read_by_itself_from_the_right(value: int, length: int) -> None:
    digits = str(value).zfill(6)[-length:]
    found = from_digits(digits)
    for digit, (name, words) in zip(digits.rjust(6), TABLE, strict=True):
        assert found[name] == words.get(digit, "unknown"), name
    assert found["class_id"] == digits
    assert (found["occlusion"] == "occluded") == (digits.rjust(6)[1] == "4")


@given(st.text(max_size=9).filter(lambda t: not (t.isascii() and t.isdigit() and len(t) <= 6)))
def test_what_is_no_identity_is_unknown_throughout(text: str) -> None:
    found = from_digits(text)
    assert {found[name] for name, _ in TABLE} == {"unknown"}


def test_the_examples_of_the_official_reader() -> None:
    assert from_digits("2340")["state"] == "green"
    triple = from_digits("2314")
    assert (triple["orientation"], triple["aspects"]) == ("vertical", "three_aspects")
    assert (triple["state"], triple["pictogram"]) == ("red", "arrow_right")
    assert triple["direction"] == triple["relevance"] == "unknown"


plain_text = st.text("abcXYZ012-_./", min_size=1, max_size=60)
old_objects = st.fixed_dictionaries(
    {
        "x": st.integers(-50, 3000),
        "y": st.integers(-50, 3000),
        "width": st.integers(-3, 900),
        "height": st.integers(-3, 900),
        "class_id": st.integers(0, 999_999),
        "unique_id": st.integers(0, 10**9),
        "track_id": st.text("abc_XY:,'{}# 01", max_size=20),
    }
)
old_images = st.fixed_dictionaries(
    {
        "disp_path": plain_text,
        "objects": st.lists(old_objects, max_size=4),
        "path": plain_text.map(lambda t: f"/a/b/c/d/{t}/e.tiff"),
        "time_stamp": st.floats(0, 1e10, allow_nan=False),
        "velocity": st.floats(-50, 50),
        "note": st.text(max_size=30),
    }
)


@given(st.lists(old_images, min_size=1, max_size=4), st.sampled_from([None, True, False]))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_line_reader_agrees_with_pyyaml(
    tmp_path: Path, images: list[Any], style: bool | None
) -> None:
    text = yaml.safe_dump(images, default_flow_style=style)
    judged = yaml.load(text, Loader=yaml.BaseLoader)
    faults: list[str] = []

    def fault(sentence: str, line: int | None) -> None:
        faults.append(sentence)

    path = put(tmp_path, text, "x.yml")
    file = LabelFile(path, 0)
    try:
        entries = list(file.stream(fault))
    except Unusual:
        entries = list(file.whole(fault))
    wanted = [i for i in judged if last_parts(i["path"]) is not None]
    assert len(entries) == len(wanted)
    for entry, image in zip(entries, wanted, strict=True):
        assert entry.parts == last_parts(image["path"])
        frame = file.frame(entry, fault)
        assert [
            (light.x, light.y, light.width, light.height, light.track_id or "")
            for light in frame.lights
        ] == [
            (*(float(o[k]) for k in ("x", "y", "width", "height")), o["track_id"])
            for o in image["objects"]
        ]
        assert [light.attributes["class_id"] for light in frame.lights] == [
            o["class_id"] for o in image["objects"]
        ]
        assert frame.attributes["velocity"] == float(image["velocity"])
    file.close()


def test_the_usual_form_takes_the_fast_path() -> None:
    values = driveu_yaml.read_usual(OLD.encode())
    assert values is not None
    assert values == driveu_yaml.read_plain(OLD.encode())
    assert values["objects"][0]["track_id"] == "T_1"
    assert values == yaml.load(OLD, Loader=yaml.BaseLoader)[0]


@pytest.mark.parametrize("cut", [10, 60, 120, -3])
def test_a_truncated_json_file(tmp_path: Path, cut: int) -> None:
    put(tmp_path, json.dumps({"images": [IMAGE] * 2}, indent=1)[:cut])
    with pytest.raises(DataError):
        read(tmp_path / "DTLD_all.json", "fail")
    if cut > 0:
        with pytest.raises(DataError, match="no frame could be read"):
            read(tmp_path / "DTLD_all.json")
    else:
        records, issues = read(tmp_path / "DTLD_all.json")
        assert [len(record.objects) for record in records] == [1]
        assert issues.counts == {"bad-file": 1, "bad-image": 1, "no-images": 1}


def test_a_bad_label_costs_itself_only(tmp_path: Path) -> None:
    bad = [{**LIGHT, "x": "left"}, {**LIGHT, "w": None}, {"x": 1}, 7, {**LIGHT, "attributes": []}]
    put(tmp_path, json.dumps({"images": [{**IMAGE, "labels": [LIGHT, *bad]}]}))
    records, issues = read(tmp_path)
    assert len(records[0].objects) == 1
    assert issues.counts["bad-label"] == len(bad)
    with pytest.raises(DataError, match=r"images\[0\].labels\[1\]"):
        read(tmp_path, "fail")


@pytest.mark.parametrize(
    "image",
    [
        {"labels": []},
        {"image_path": "x.tiff", "labels": []},
        {"image_path": "a/../../b/x.tiff", "labels": []},
        {"image_path": 3, "labels": []},
        {"image_path": "a/b\0/c/x.tiff", "labels": []},
        {"image_path": PATH.replace("Fulda", "Essen")},
        {"image_path": PATH.replace("Fulda", "Essen"), "labels": {}},
        [],
        None,
    ],
)
def test_a_bad_image_costs_itself_only(tmp_path: Path, image: Any) -> None:
    put(tmp_path, json.dumps({"images": [IMAGE, image]}))
    records, issues = read(tmp_path)
    assert [r.image_id for r in records] == [PATH]
    assert issues.counts["bad-image"] == 1
    with pytest.raises(DataError):
        read(tmp_path, "fail")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("version", [1, 2])
def test_encodings(tmp_path: Path, encoding: str, version: int) -> None:
    old, file = (OLD, "DTLD_all.yml") if version == 1 else ("", "DTLD_all.json")
    text = old or json.dumps({"images": [IMAGE]}, ensure_ascii=False)
    put(tmp_path, text.replace("Fulda", "Köln").replace("\n", "\r\n").encode(encoding), file)
    records, issues = read(tmp_path / file, "fail")
    assert records[0].image_id == PATH.replace("Fulda", "Köln")
    assert len(records[0].objects) == 1
    assert ("encoding" in issues.counts) == (encoding != "utf-8-sig")


def test_a_truncated_yaml_file(tmp_path: Path) -> None:
    text = OLD.replace("DE_1", "DE_0") + OLD
    put(tmp_path, text[: text.rindex("class_id")], "DTLD_all.yml")
    records, issues = read(tmp_path)
    assert [r.image_id for r in records] == [PATH.replace("DE_1", "DE_0")]
    assert issues.counts["cut-off"] == issues.counts["bad-image"] == 1


def test_old_objects_without_numbers(tmp_path: Path) -> None:
    put(tmp_path, OLD.replace("x: 1", "x: .nan") + OLD.replace("DE_1", "DE_2"), "DTLD_all.yml")
    records, issues = read(tmp_path)
    assert [len(r.objects) for r in records] == [0, 1]
    assert issues.counts["bad-label"] == 1


def test_an_old_image_in_broken_yaml(tmp_path: Path) -> None:
    broken = f"- path: /a/{PATH.replace('DE_1', 'DE_0')}\n  objects: [}}\n"
    put(tmp_path, OLD + broken + OLD.replace("DE_1", "DE_2"), "DTLD_all.yml")
    records, issues = read(tmp_path)
    assert len(records) == 2
    assert issues.lost >= 1
    with pytest.raises(DataError):
        read(tmp_path, "fail")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "- " * 50_000, "- {a: " * 20_000, '{"a":' * 50_000]
)
@pytest.mark.parametrize("file", ["DTLD_all.json", "DTLD_all.yml"])
def test_depth_is_an_error_of_ours(tmp_path: Path, text: str, file: str) -> None:
    with pytest.raises(TlxError):
        read(put(tmp_path, text, file))


@given(st.binary(max_size=300))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_arbitrary_bytes(tmp_path: Path, data: bytes) -> None:
    for name in ("x.json", "x.yml"):
        with contextlib.suppress(TlxError):
            read(put(tmp_path, data, name))


@given(
    st.sampled_from([OLD.encode() * 2, json.dumps({"images": [IMAGE] * 2}).encode()]),
    st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=3)), min_size=1, max_size=4),
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_files(tmp_path: Path, data: bytes, damage: list[tuple[int, bytes]]) -> None:
    for place, bytes_ in damage:
        data = data[:place] + bytes_ + data[place + len(bytes_) :]
    file = "DTLD_all.yml" if data.startswith(b"-") else "DTLD_all.json"
    with contextlib.suppress(TlxError):
        for record in read(put(tmp_path, data, file))[0]:
            record.image_id.encode()
