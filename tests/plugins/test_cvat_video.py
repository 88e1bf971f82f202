"""CVAT video 1.1: tracks become frames as CVAT shows them."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx.context import Context
from tlx.dataset import to_batches
from tlx.errors import DataError
from tlx.issues import IssueLog
from tlx.model import Box, Record
from tlx.schema import batch_to_records
from tlx_plugins import spill as spilling
from tlx_plugins.formats.cvat import CvatFormat, CvatOptions
from tlx_plugins.formats.cvat_interpolation import between, turned
from tlx_plugins.spill import Spill

SOURCE = CvatFormat()


def read(root: Path, policy: str = "fail", **options: Any) -> tuple[list[Record], IssueLog]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = SOURCE.read(root, CvatOptions(**options), context)
    batches = to_batches(reading.content)
    return [record for batch in batches for record in batch_to_records(batch)], context.issues


def box(frame: int, *corners: float, outside: int = 0, more: str = "", inside: str = "") -> str:
    sides = zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True)
    values = " ".join(f'{side}="{value}"' for side, value in sides)
    return (
        f'<box frame="{frame}" keyframe="1" outside="{outside}" occluded="0" {values} {more}>'
        f"{inside}</box>"
    )


def track(*shapes: str, number: int = 0, label: str = "car", more: str = "") -> str:
    return f'<track id="{number}" label="{label}" {more}>{"".join(shapes)}</track>'


def video_xml(*tracks: str, start: int = 0, stop: int = 20, step: int = 1, more: str = "") -> str:
    return (
        "<annotations><version>1.1</version><meta><task><id>7</id><name>drive</name>"
        f"<mode>interpolation</mode><start_frame>{start}</start_frame>"
        f"<stop_frame>{stop}</stop_frame><frame_filter>step={step}</frame_filter>{more}"
        "<original_size><width>100</width><height>80</height></original_size>"
        "<labels><label><name>car</name><attributes><attribute><name>a</name>"
        "<input_type>number</input_type></attribute></attributes></label>"
        "<label><name>pose</name></label></labels></task></meta>"
        f"{''.join(tracks)}</annotations>"
    )


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def save(text: str, name: str = "annotations.xml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return save


def boxes(records: list[Record]) -> dict[int | None, list[Box | None]]:
    return {record.frame: [thing.box for thing in record.objects] for record in records}


@pytest.mark.parametrize(
    "name", ["official_doc_examples/video_1.1_example.xml", "datumaro/for_video/annotations.xml"]
)
def test_real_video_files_have_what_etree_counts(shared_data: Path, name: str) -> None:
    path = shared_data / "cvat" / name
    expected: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for element in ET.parse(path).getroot().findall("track"):
        for shape in element:
            points = shape.findall("points")
            outside = shape.get("outside") == "1" or (
                "outside" not in shape.attrib
                and bool(points)
                and all(point.get("outside") == "1" for point in points)
            )
            if shape.tag != "track" and not outside:
                frame, label = int(shape.get("frame", "")), element.get("label", "")
                expected[frame].append((element.get("id", ""), label))
    records, issues = read(path, missing_images="keep")
    assert {
        record.frame: [(thing.track, thing.category) for thing in record.objects]
        for record in records
    } == dict(sorted(expected.items()))
    assert not issues.lost
    assert [record.frame for record in records] == sorted(expected)


def test_nested_tracks_are_the_points_of_their_skeleton(shared_data: Path) -> None:
    path = shared_data / "cvat" / "datumaro" / "for_video" / "annotations.xml"
    records, _ = read(path, missing_images="keep")
    found = {
        record.frame: [(p.name, p.x, p.visibility) for p in thing.keypoints]
        for record in records
        for thing in record.objects
        if thing.category == "skeleton"
    }
    first = [("1", 48.8, 2), ("2", 48.8, 2), ("3", 83.27, 2), ("4", 89.11, 2)]
    later = [*first[:2], ("3", 83.27, 0), first[3]]
    assert found == {10: first, 13: later, 16: later}
    assert [record.uri for record in records[:2]] == [
        "images/frame_000010.png",
        "images/frame_000013.png",
    ]


def test_boxes_move_linearly_until_they_are_outside(put: Any) -> None:
    shapes = [box(2, 0, 0, 10, 10), box(6, 40, 20, 50, 30), box(8, 50, 20, 60, 30, outside=1)]
    records, issues = read(put(video_xml(track(*shapes))))
    assert boxes(records) == {
        2: [Box(0, 0, 10, 10)],
        3: [Box(10, 5, 20, 15)],
        4: [Box(20, 10, 30, 20)],
        5: [Box(30, 15, 40, 25)],
        6: [Box(40, 20, 50, 30)],
        7: [Box(45, 20, 55, 30)],
    }
    assert [o.attributes["keyframe"] for r in records for o in r.objects] == [
        *(True, False, False, False),
        *(True, False),
    ]
    assert records[0].image_id == "frame_000002"
    assert (records[0].group, records[0].width) == ("drive", 100)
    assert {thing.track for record in records for thing in record.objects} == {"0"}
    assert not issues.total - issues.counts["no-images"]
    only = boxes(read(put(video_xml(track(*shapes))), interpolate=False)[0])
    assert sorted(only) == [2, 6]  # type: ignore[type-var]


def test_steps_and_the_start_of_the_task(put: Any) -> None:
    path = put(video_xml(track(box(10, 0, 0, 10, 10), box(19, 30, 0, 40, 10), more='source="auto"'),
                         start=10, stop=25, step=3))  # fmt: skip
    records, issues = read(path)
    assert boxes(records) == {
        10: [Box(0, 0, 10, 10)],
        13: [Box(10, 0, 20, 10)],
        16: [Box(20, 0, 30, 10)],
        19: [Box(30, 0, 40, 10)],
    }
    assert issues.counts["open-track"] == 1
    assert records[0].objects[0].attributes == {"source": "auto", "keyframe": True}
    held, _ = read(path, open_tracks="hold")
    assert sorted(boxes(held)) == [10, 13, 16, 19, 22, 25]  # type: ignore[type-var]
    assert boxes(held)[25] == [Box(30, 0, 40, 10)]


def test_rotation_goes_the_short_way(put: Any) -> None:
    shapes = [box(0, 40, 30, 60, 50, more='rotation="350"'), box(4, 40, 30, 60, 50,
              more='rotation="30"')]  # fmt: skip
    records, _ = read(put(video_xml(track(*shapes))))
    assert [r.objects[0].rotation for r in records] == [350, 0, 10, 20, 30]
    assert turned(10, 350, 0.5) == 0
    assert turned(0, 180, 0.25) == 45


def test_mutable_attributes_hold_until_they_change(put: Any) -> None:
    value = '<attribute name="a">{}</attribute>'.format
    shapes = [
        box(0, 0, 0, 9, 9, inside=value(1)),
        box(2, 0, 0, 9, 9),
        box(3, 0, 0, 9, 9, inside=value(2)),
    ]
    records, _ = read(put(video_xml(track(*shapes))))
    assert [r.objects[0].attributes["a"] for r in records] == [1, 1, 1, 2]


# Computed by CVAT's own TrackManager (cvat/apps/dataset_manager/annotation.py, 4c4f6b5).
POLYGONS = [
    (
        (0, 0, 10, 0, 10, 10, 0, 10),
        (20, 0, 40, 0, 45, 10, 40, 20, 20, 20),
        0.5,
        (10, 0, 25, 0, 27.5, 10, 25, 15, 10, 15),
    ),
    (
        (0, 0, 10, 0, 10, 10, 5, 12, 0, 10),
        (100, 100, 120, 100, 110, 120),
        0.25,
        (25, 25, 37.5, 25, 35, 37.5, 31.25, 39, 27.5, 37.5),
    ),
]


@pytest.mark.parametrize(("left", "right", "share", "expected"), POLYGONS)
def test_polygons_move_as_in_cvat(
    left: tuple[float, ...], right: tuple[float, ...], share: float, expected: tuple[float, ...]
) -> None:
    assert between("polygon", left, right, share) == pytest.approx(expected)


def test_lines_move_as_in_cvat_and_points_stand_still() -> None:
    line = between("polyline", (0, 0, 10, 0, 20, 10), (0, 10, 30, 10), 0.5)
    assert line == pytest.approx((0, 5, 5, 5, 25, 10))
    assert between("points", (1, 1), (3, 5), 0.5) == (2, 3)
    assert between("points", (1, 1, 2, 2), (3, 5, 6, 6), 0.5) == (1, 1, 2, 2)


outlines = st.lists(
    st.floats(-1000, 1000, width=32), min_size=6, max_size=24
).map(lambda numbers: tuple(numbers[: len(numbers) // 2 * 2]))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(outlines, st.floats(0, 1))
def test_an_outline_that_stands_still_stays_itself(
    numbers: tuple[float, ...], share: float
) -> None:
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    assume(all(math.dist(a, b) > 1 for a, b in pairwise([*points, points[0]])))
    for kind in ("polygon", "polyline"):
        assert between(kind, numbers, numbers, share) == pytest.approx(numbers, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(outlines, outlines, st.floats(0, 1))
def test_interpolated_outlines_stay_within_their_keyframes(
    left: tuple[float, ...], right: tuple[float, ...], share: float
) -> None:
    found = between("polygon", left, right, share)
    assert len(found) % 2 == 0
    for axis in (0, 1):
        values = left[axis::2] + right[axis::2]
        low, high = min(values) - 1e-6, max(values) + 1e-6
        assert all(low <= value <= high for value in found[axis::2])


def test_skeletons_move_point_by_point(put: Any) -> None:
    def pose(frame: int, x: int, outside: int = 0) -> str:
        point = f'<points label="head" outside="{outside}" occluded="0" points="{x},5"/>'
        return f'<skeleton frame="{frame}" keyframe="1">{point}</skeleton>'

    tracks = track(pose(0, 0), pose(2, 10), pose(3, 10, outside=1), label="pose")
    records, _ = read(put(video_xml(tracks)))
    assert [[p.x for p in r.objects[0].keypoints] for r in records] == [[0], [5], [10]]


def test_tracks_are_joined_frame_by_frame(put: Any) -> None:
    first = track(box(3, 0, 0, 9, 9), box(5, 0, 0, 9, 9, outside=1))
    second = track(box(1, 1, 0, 9, 9), box(4, 1, 0, 9, 9), number=1)
    found = boxes(read(put(video_xml(first, second)))[0])
    a, b = Box(0, 0, 9, 9), Box(1, 0, 9, 9)
    assert found == {1: [b], 2: [b], 3: [a, b], 4: [a, b]}


def save_frame(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(path)


def test_frames_without_a_shape(put: Any, tmp_path: Path) -> None:
    path = put(video_xml(track(box(2, 0, 0, 9, 9)), stop=5))
    assert [r.frame for r in read(path)[0]] == [2]
    assert [r.frame for r in read(path, empty_frames="all")[0]] == [0, 1, 2, 3, 4, 5]
    for number in (0, 2, 4, 9):
        save_frame(tmp_path / "images" / f"frame_{number:06d}.PNG")
    records, issues = read(path)
    assert [(r.frame, len(r.objects)) for r in records] == [(0, 0), (2, 1), (4, 0)]
    assert records[0].uri == "images/frame_000000.PNG"
    assert not issues.lost
    assert [r.frame for r in read(path, empty_frames="none")[0]] == [2]
    (tmp_path / "images" / "frame_000002.PNG").unlink()
    with pytest.raises(DataError, match="frame_000002 is not beside"):
        read(path)


def test_tasks_of_a_project_keep_their_frames_apart(put: Any) -> None:
    text = (
        "<annotations><meta><project><labels><label><name>car</name></label></labels><tasks>"
        "<task><id>1</id><name>a</name><mode>interpolation</mode><subset>Train</subset></task>"
        "<task><id>2</id><name>b</name><mode>interpolation</mode><subset>Train</subset></task>"
        "<task><id>3</id><name>c</name><mode>interpolation</mode><subset>Test</subset></task>"
        "</tasks></project></meta>"
        + "".join(
            track(box(0, 0, 0, 9, 9), number=n, more=f'task_id="{n}" subset="{subset}"')
            for n, subset in ((1, "Train"), (2, "Train"), (3, "Test"))
        )
        + "</annotations>"
    )
    records, _ = read(put(text))
    assert sorted((r.image_id, r.group, r.split) for r in records) == [
        ("Test/frame_000000", "Test/c", "test"),
        ("Train/1/frame_000000", "Train/a/1", "train"),
        ("Train/2/frame_000000", "Train/b/2", "train"),
    ]


BAD = [
    (track(box(0, 0, 0, 9, 9), box(0, 1, 1, 9, 9)), "duplicate-frame", 1),
    (track('<box frame="-1" outside="0" xtl="0" ytl="0" xbr="9" ybr="9"/>'), "bad-frame", 1),
    (track('<box outside="0" xtl="0" ytl="0" xbr="9" ybr="9"/>'), "bad-frame", 1),
    (track(box(0, 0, 0, 9, 9), label="bus"), "unknown-label", 1),
    (track(box(5, 0, 0, 9, 9), box(1, 0, 0, 9, 9)), "frame-order", 0),
    (track(box(0, 0, 0, 9, 9), box(999999999, 0, 0, 9, 9)), "long-gap", 0),
    (track(box(0, 0, 0, 9, 9), '<points frame="4" outside="0" points="1,2"/>'), "mixed-track", 0),
    (track('<tag label="car"/>'), "bad-frame", 1),
    (track("<tag frame='1'/>"), "bad-shape", 1),
]


@pytest.mark.parametrize(("text", "code", "lost"), BAD)
def test_bad_tracks_are_issues(put: Any, text: str, code: str, lost: int) -> None:
    good = track(box(3, 0, 0, 9, 9), number=8)
    path = put(video_xml(good, text))
    records, issues = read(path, "skip")
    assert any(thing.track == "8" for record in records for thing in record.objects)
    assert len(records) < 5
    assert issues.counts[code] == 1
    assert issues.lost == lost
    if lost:
        with pytest.raises(DataError):
            read(path)


def test_a_cut_off_video_keeps_what_was_read(put: Any) -> None:
    text = video_xml(track(box(0, 0, 0, 9, 9), box(2, 0, 0, 9, 9), box(4, 0, 0, 9, 9)))
    records, issues = read(put(text[: text.rindex("<box")]), "skip")
    assert [record.frame for record in records] == [0, 1, 2]
    assert issues.counts["broken-file"] == 1


def test_spilling_sorts_whatever_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilling, "_FAN_IN", 3)
    dice = random.Random(0)
    items = [(str(dice.randrange(2)), dice.randrange(50), n, b"%d" % n) for n in range(2000)]
    for chunk in (1000, 20_000, 1 << 30):
        with Spill(chunk) as spill:
            for item in items:
                spill.add(*item)
            assert list(spill.sorted()) == sorted(items)
