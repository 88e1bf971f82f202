"""Bad exports: each has a defined result, and none ends in anything but a tlx error or an issue."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tlx.pipeline
from tlx.context import Context
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import IssueLog
from tlx.model import Box, Record
from tlx.schema import records_to_batch
from tlx_plugins.sources import labelbox_wkt
from tlx_plugins.sources.labelbox import LabelboxSource

OPTIONS: dict[str, list[Any]] = {
    "consensus": ["first", "newest", "benchmark", "all"],
    "unlabelled": ["leave-out", "keep"],
    "origin": ["auto", "top-left", "bottom-left"],
    "answers": ["attributes", "labels"],
    "class_names": ["name", "value"],
    "frames": ["listed", "keyframes", "filled"],
    "bad_boxes": [None, "keep", "clip", "drop", "fail"],
}


def good(kit: Any, count: int = 3) -> list[bytes]:
    rows = [kit.row(kit.label(kit.box()), name=f"{n}.jpg") for n in range(count)]
    return [json.dumps(row).encode() + b"\n" for row in rows]


def cut(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2][:200]]


def latin(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b"car", b"caf\xe9"), lines[2]]


def number(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b"17\n", lines[2]]


def imported(lines: list[bytes]) -> list[bytes]:
    row = {"uuid": "u", "dataRow": {"id": "r"}, "name": "car", "bbox": {"top": 1}}
    return [lines[0], json.dumps(row).encode() + b"\n", lines[2]]


def mistyped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"top": 10', b'"top": "ten"'), lines[2]]


def older(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b'{"ID": "i", "Labeled Data": "u", "Label": {}}\n', lines[2]]


def sibling(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[1].replace(b"car", b"bus")]


def surrogate(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"1.jpg"', b'"\\ud800"'), lines[2]]


def text(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b"image/jpeg", b"text/plain"), lines[2]]


def deep(lines: list[bytes]) -> list[bytes]:
    nested = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    return [lines[0], b'{"data_row": ' + nested + b"}\n", lines[2]]


@pytest.mark.parametrize(
    ("spoil", "code", "line"),
    [
        (cut, "bad-json", 3),
        (latin, "encoding", 2),
        (number, "bad-row", 2),
        (imported, "import-format", 2),
        (mistyped, "bad-row", 2),
        (older, "bad-row", 2),
        (sibling, "duplicate-row", 3),
        (surrogate, "bad-row", 2),
        (text, "not-an-image", 2),
        (deep, "bad-json", 2),
    ],
)
def test_a_bad_line_is_an_issue_or_an_error_with_its_place(
    tmp_path: Path, kit: Any, spoil: Callable[[list[bytes]], list[bytes]], code: str, line: int
) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"".join(spoil(good(kit))))
    records, issues, _ = kit.read(path, "skip")
    assert len(records) == 2
    assert [(i.code, i.line, i.path) for i in issues.kept] == [(code, line, str(path))]
    with pytest.raises(DataError, match=rf"export\.ndjson:{line}: "):
        kit.read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\n\n  \n"),
        lambda data: data.rstrip(b"\n"),
    ],
    ids=["bom", "utf-16", "crlf", "blank lines", "no last newline"],
)
def test_forms_of_text_that_say_the_same(tmp_path: Path, kit: Any, change: Any) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(change(b"".join(good(kit))))
    records, issues, _ = kit.read(path)
    assert [r.image_id for r in records] == ["0.jpg", "1.jpg", "2.jpg"]
    assert not issues.total
    assert LabelboxSource().sniff(path).ok


def test_the_same_line_twice_is_merged(tmp_path: Path, kit: Any) -> None:
    lines = good(kit)
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"".join([*lines, lines[1]]))
    records, issues, _ = kit.read(path)
    assert len(records) == 3
    assert [(i.code, i.action, i.line) for i in issues.kept] == [("duplicate-row", "merged", 4)]


def test_a_list_that_is_cut_keeps_what_precedes(tmp_path: Path, kit: Any) -> None:
    rows = [kit.old_row({"car": []}, f"{n}.jpg") for n in range(3)]
    whole = json.dumps(rows, indent=1)
    path = tmp_path / "export.json"
    for end, line in ((whole.rindex('"ID"') + 3, 16), (whole.rindex("]"), 22)):
        path.write_text(whole[:end])
        records, issues, _ = kit.read(path, "skip")
        assert len(records) == (2 if line == 16 else 3)
        assert issues.counts["bad-json"] == 1
        with pytest.raises(DataError, match=r"export\.json:\d+: .*cut off"):
            kit.read(path)
    path.write_bytes(whole.encode().replace(b"old", b"\xe9"))
    with pytest.raises(DataError, match=r"export\.json:8: is not UTF-8"):
        kit.read(path, "skip")


BOXES = {
    "nan": ({"top": "NaN"}, "bad-geometry"),
    "missing": ({"top": "null"}, "bad-geometry"),
    "too large": ({"left": "1e308", "width": "1e308"}, "bad-geometry"),
    "inverted": ({"width": "-5"}, "degenerate-box"),
    "empty": ({"height": "0"}, "degenerate-box"),
    "outside": ({"left": "190"}, "box-outside"),
    "negative": ({"top": "-20"}, "box-outside"),
}


@pytest.mark.parametrize("name", BOXES)
def test_bad_boxes(tmp_path: Path, kit: Any, name: str) -> None:
    changes, code = BOXES[name]
    values = {"top": "10", "left": "20", "height": "30", "width": "40"} | changes
    line = json.dumps(kit.row(kit.label(kit.box(), kit.box("bus", 1))))
    for key, value in {"top": "10", "left": "20", "height": "30", "width": "40"}.items():
        line = line.replace(f'"{key}": {value}', f'"{key}": {values[key]}', 1)
    path = tmp_path / "export.ndjson"
    path.write_text(line + "\n")
    counts = {}
    for policy in OPTIONS["bad_boxes"]:
        (record,), issues, _ = kit.read(path, "skip", bad_boxes=policy)
        assert issues.counts == {code: 1}
        counts[policy] = len(record.objects)
    kept = {
        "bad-geometry": (1, 1, 1, 1, 1),
        "degenerate-box": (1, 2, 1, 1, 1),
        "box-outside": (2, 2, 2, 1, 1),
    }
    assert tuple(counts.values()) == kept[code]
    if code == "box-outside":
        (record,), _, _ = kit.read(path, bad_boxes="clip")
        width = 10 if name == "outside" else 40
        assert (record.objects[0].box.width, record.objects[0].box.ymin) == (
            width,
            0 if name == "negative" else 10,
        )
    else:
        with pytest.raises(DataError, match=r"export\.ndjson:1: "):
            kit.read(path)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"car": "POLYGON ((1 2, 3 4"}, "bad-object"),
        ({"car": "POLYGON ((1 2, 3 x, 5 6))"}, "bad-object"),
        ({"car": "POLYGON ((nan 2, 3 4, 5 6))"}, "bad-object"),
        ({"car": [{"geometry": [{"x": 1, "y": "2"}]}]}, "bad-object"),
        ({"car": [17]}, "bad-object"),
        ({"car": [[{"x": 1, "y": 2}]]}, "bad-geometry"),
        ({"car": "POLYGON ((5 5, 5 5, 5 5, 5 5))"}, "degenerate-box"),
        ({"": [[{"x": 1, "y": 2}, {"x": 2, "y": 2}]]}, "no-class"),
        ({"objects": [{"title": "car"}]}, "unknown-kind"),
        ({"objects": [{"title": 5}]}, "bad-object"),
        ({"objects": {"title": 5}}, "bad-object"),
        ({"objects": [], "classifications": [{"title": "a"}]}, "bad-answer"),
        ([{"frameNumber": "1"}, {"frameNumber": 2, "objects": []}], "bad-frame"),
        (17, "bad-label"),
    ],
)
def test_bad_labels_of_older_exports(tmp_path: Path, kit: Any, content: Any, code: str) -> None:
    path = kit.save(tmp_path / "export.json", kit.old_row(content))
    _, issues, _ = kit.read(path, "skip", origin="top-left")
    assert issues.counts == {code: 1}
    with pytest.raises(DataError, match=r"export\.json:2: "):
        kit.read(path, origin="top-left")


@pytest.mark.parametrize("depth", [40, 5000])
def test_answers_nested_beyond_measure(tmp_path: Path, kit: Any, depth: int) -> None:
    nested = '{"name": "q", "radio_answer": {"name": "a", "classifications": ['
    answer = nested * depth + "]}}" * depth
    line = json.dumps(kit.row(kit.label(kit.box()))).replace(
        '"classifications": []', f'"classifications": [{answer}]'
    )
    path = tmp_path / "export.ndjson"
    path.write_text(line)
    _, issues, _ = kit.read(path, "skip")
    assert set(issues.counts) <= {"bad-answer", "bad-row", "bad-json"}
    assert issues.total == 1


def test_segments_without_end_do_not_fill_the_memory(tmp_path: Path, kit: Any) -> None:
    thing = {"name": "car", "point": {"x": 1, "y": 1}}
    video = {"frames": {"1": {"objects": {"f": thing}}}, "segments": {"f": [[1, 900_000]] * 9}}
    row = kit.row({"id": "l", "annotations": video | {"objects": None}}, name="v.mp4")
    row["media_attributes"]["mime_type"] = "video/mp4"
    path = kit.save(tmp_path / "export.ndjson", row)
    records, issues, _ = kit.read(path, "skip", frames="filled")
    assert (len(records), issues.counts["bad-segments"]) == (1, 1)


def test_nothing_to_read(tmp_path: Path, kit: Any) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        kit.read(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds no export of Labelbox.*empty"):
        kit.read(tmp_path)
    (tmp_path / "a.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(DataError, match=r"holds no export.*found a\.json"):
        kit.read(tmp_path)
    with pytest.raises(UsageError, match=r"b\.json is not a file"):
        kit.read(tmp_path, annotations="b.json")
    row = {"uuid": "u", "dataRow": {"id": "r"}, "schemaId": "s"}
    path = kit.save(tmp_path / "i.ndjson", row)
    with pytest.raises(DataError, match=r"i\.ndjson: is no export.*what Labelbox imports"):
        kit.read(path)
    assert not LabelboxSource().sniff(tmp_path).ok
    assert "imports" in LabelboxSource().sniff(path).missing[0]
    assert not LabelboxSource().sniff(tmp_path / "a.jpg").ok


def test_dry_run_counts_and_names_the_problems(tmp_path: Path, kit: Any) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"".join(number(good(kit))))
    context = Context(issues=IssueLog("skip"))
    dataset = tlx.pipeline.ingest("labelbox", path, dry_run=True, context=context)
    assert (dataset.counts.images, dataset.counts.objects_by_category) == (2, {"car": 2})
    assert str(context.issues.kept[0]).startswith(f"{path}:2: is no row of an export")


def test_half_a_surrogate_pair_is_no_text(tmp_path: Path, kit: Any) -> None:
    rows = [kit.old_row({}, ID="\ud800"), kit.old_row({}, "\U0001f600.jpg")]
    path = kit.save(tmp_path / "export.json", *rows)
    records, issues, _ = kit.read(path, "skip")
    assert [r.image_id for r in records] == ["\U0001f600.jpg"]
    assert [(i.code, i.line) for i in issues.kept] == [("bad-text", 2)]


def test_a_huge_whole_number_is_no_attribute(tmp_path: Path, kit: Any) -> None:
    answer = [{"title": "n", "answer": 2**70}, {"title": "m", "answer": 5}]
    path = kit.save(tmp_path / "e.json", kit.old_row({"objects": [], "classifications": answer}))
    (record,), issues, _ = kit.read(path, "skip")
    assert record.attributes["m"] == 5
    assert "n" not in record.attributes
    assert issues.counts == {"bad-answer": 1}


# Whatever a file holds, the outcome is records, issues or one tlx error.

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "Skip", "car", "2018-11", "POLYGON ((1 2, 3 4, 5 6))", "\0", "\ud800"])
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "title", "13", "objects", "frames"]), inner)
    ),
    max_leaves=6,
)


def seeds() -> list[Any]:
    answers = [{"name": "q", "radio_answer": {"name": "a", "classifications": []}}]
    size = {"top": 1.0, "left": 2.0, "height": 3.0, "width": 4.0}
    points = [{"x": 1, "y": 2}, {"x": 3, "y": 2}, {"x": 3, "y": 5}]
    thing = {"feature_id": "f", "name": "car", "bounding_box": size, "classifications": answers}
    outline = {"feature_id": "g", "name": "road", "polygon": points}
    frames = {"1": {"objects": {"f": thing}}, "3": {"objects": {"f": thing}}}
    video = {"frames": frames, "segments": {"f": [[1, 3]]}, "key_frame_feature_map": {"f": [1]}}
    label = {"id": "l", "annotations": {"objects": [thing, outline], "classifications": answers}}
    data = {"id": "d", "external_id": "a.jpg", "row_data": "https://h.test/a.jpg"}
    media = {"height": 100, "width": 200, "mime_type": "image/jpeg"}
    row = {"data_row": data, "media_attributes": media, "projects": {"p": {"labels": [label]}}}
    other = {"data_row": {"id": "v", "external_id": "v.mp4", "row_data": "https://h.test/v.mp4"}}
    other["projects"] = {"p": {"labels": [label, {"id": "m", "annotations": video}]}}
    old = {"ID": "i", "Labeled Data": "https://h.test/b.jpg", "External ID": "b.jpg"}
    item = {"title": "car", "bbox": size, "classifications": [[{"title": "q", "answer": "a"}]]}
    return [
        [row, other],
        [old | {"Label": {"car": [points], "bus": "POLYGON ((1 2, 3 4, 5 6))", "q": "yes"}}],
        [old | {"Label": {"car": [{"geometry": points, "color": "red"}]}, "DataRow ID": "d"}],
        [old | {"Label": {"objects": [item], "classifications": []}}, old | {"Label": "Skip"}],
        [old | {"Label": [{"frameNumber": 1, "objects": [item]}]}],
    ]


def mutate(data: st.DataObject, value: Any) -> Any:
    """Replace, remove or rename something at a random place."""
    if isinstance(value, (list, dict)) and value and data.draw(st.integers(0, 5)):
        place = data.draw(
            st.sampled_from(list(value) if isinstance(value, dict) else range(len(value)))
        )
        changed = value.copy()
        action = data.draw(st.integers(0, 6))
        if action == 0:
            del changed[place]
        elif action == 1 and isinstance(changed, dict):
            changed[data.draw(st.text(max_size=3))] = changed.pop(place)
        else:
            changed[place] = mutate(data, changed[place])
        return changed
    return data.draw(values)


def survives(kit: Any, path: Path, policy: str, options: dict[str, Any]) -> None:
    try:
        records, _, taxonomy = kit.read(path, policy, **options)
    except TlxError:
        return
    # What is handed over can be written, and its classes are in the taxonomy.
    assert records_to_batch(records).num_rows == len(records)
    used = {o.category for r in records for o in r.objects}
    used |= {found.category for r in records for found in r.labels}
    assert used <= set(taxonomy.names)
    assert len({r.image_id for r in records}) == len(records)
    assert all(isinstance(r, Record) for r in records)


@given(
    st.data(),
    st.sampled_from(["fail", "skip"]),
    st.sampled_from(["export.ndjson", "export.json"]),
    st.fixed_dictionaries({name: st.sampled_from(v) for name, v in OPTIONS.items()}),
)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_mutated_rows(
    tmp_path: Path, kit: Any, data: st.DataObject, policy: str, name: str, options: dict[str, Any]
) -> None:
    rows = data.draw(st.sampled_from(seeds()))
    for _ in range(data.draw(st.integers(1, 3))):
        rows = [mutate(data, row) for row in rows]
    survives(kit, kit.save(tmp_path / name, *rows), policy, options)


@given(st.data(), st.sampled_from(["fail", "skip"]))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_mutated_bytes(tmp_path: Path, kit: Any, data: st.DataObject, policy: str) -> None:
    name = data.draw(st.sampled_from(["export.ndjson", "export.json"]))
    path = kit.save(tmp_path / name, *data.draw(st.sampled_from(seeds())))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=4))
        content = content or bytearray(b" ")
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] or content)
    survives(kit, path, policy, {})


@given(st.text("POLYGNMUTI ()0123456789.,-einfa", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_geometry_or_a_value_error(text: str) -> None:
    for candidate in (text, f"POLYGON ({text})"):
        try:
            kind, parts = labelbox_wkt.parse(candidate)
        except ValueError:
            continue
        assert kind in ("POINT", "LINESTRING", "POLYGON")
        assert all(len(vertex) == 2 for part in parts for ring in part for vertex in ring)


_SIDES = st.tuples(*[st.floats(0, 50)] * 2, *[st.floats(0.5, 50)] * 2)


@given(st.lists(_SIDES, max_size=6, unique=True))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_boxes_come_back(
    tmp_path: Path, kit: Any, boxes: list[tuple[float, float, float, float]]
) -> None:
    things = [kit.box("c", top, left, height=h, width=w) for left, top, w, h in boxes]
    path = kit.save(tmp_path / "export.ndjson", kit.row(kit.label(*things)))
    (record,), _, _ = kit.read(path)
    expected = [Box(left, top, left + w, top + h) for left, top, w, h in boxes]
    assert [o.box for o in record.objects] == expected
