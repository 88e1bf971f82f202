"""Rows without a surprise go through columns: the same comes out, at the same place, in order."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlx.dataset import PART_ROWS
from tlx_plugins.sources import labelbox_columns, labelbox_file
from tlx_plugins.sources.labelbox_file import Block

Row = dict[str, Any]


def label_of(row: Row) -> Row:
    found: Row = row["projects"]["p1"]["labels"][0]
    return found


def thing_of(row: Row) -> Row:
    found: Row = label_of(row)["annotations"]["objects"][0]
    return found


def change(path: str, value: Any) -> Callable[[Row], None]:
    """Set what a path of a row leads to; ``label`` and ``thing`` begin at the first of them."""

    def applied(row: Row) -> None:
        first, *between, last = path.split(".")
        place: Any = {"row": row, "label": label_of(row), "thing": thing_of(row)}[first]
        for step in between:
            place = place[step]
        place[last] = value

    return applied


def radio(name: str, answer: str) -> Row:
    return {"name": name, "radio_answer": {"name": answer}}


SURPRISES: dict[str, Callable[[Row], None]] = {
    "no project": change("row.projects", {}),
    "no name of the project": change("row.projects.p1.name", None),
    "two projects": lambda row: row["projects"].update(p2=row["projects"]["p1"] | {"name": "b"}),
    "two labels": lambda row: row["projects"]["p1"]["labels"].append(label_of(row) | {"id": "2"}),
    "skipped": change("label.performance_details", {"skipped": True}),
    "no id of the label": change("label.id", None),
    "nothing labelled": change("label.annotations.objects", []),
    "no annotations": change("label.annotations", None),
    "an answer": change("label.annotations.classifications", [radio("weather", "rain")]),
    "a relation": change("label.annotations.relationships", [{"source": "a", "target": "b"}]),
    "a video": change(
        "label.annotations",
        {"frames": {str(n): {"objects": {"x": {"name": "tram"} | box}} for n, box in
                    [(n, {"bounding_box": {"top": 1, "left": n, "height": 5, "width": 5}})
                     for n in range(1, 30)]}},
    ),
    "another kind": change("row.media_attributes.mime_type", "image/tiff"),
    "no image": change("row.media_attributes.mime_type", "text/plain"),
    "no media": change("row.media_attributes", None),
    "a side as text": change("row.media_attributes.width", "200"),
    "no side": change("row.media_attributes.height", None),
    "a side of nothing": change("row.media_attributes.height", 0),
    "metadata": change("row.metadata_fields", [{"schema_name": "night", "value": True}]),
    "a split": change("row.data_split", "Training"),
    "no external id": change("row.data_row.external_id", None),
    "only an address": change(
        "row.data_row", {"row_data": "https://host.test/only%20an%20address.jpg"}
    ),
    "nothing to call it by": change("row.data_row", {"row_data": "https://host.test/"}),
    "no address": change("row.data_row.row_data", None),
    "a path": change("row.data_row.row_data", "folder/a.jpg"),
    "a global key": change("row.data_row.global_key", "key"),
    "the same key": lambda row: row["data_row"].update(global_key=row["data_row"]["external_id"]),
    "no id": change("row.data_row.id", None),
    "the id of another": change("row.data_row.external_id", "0003.jpg"),
    "a new class": change("thing.name", "truck"),
    "blanks around a class": change("thing.name", " car "),
    "no class": change("thing.name", None),
    "a colour": change("thing.color", "#ff0000"),
    "a slug": change("thing.value", "the_car"),
    "an answer of an object": change("thing.classifications", [radio("state", " green ")]),
    "two answers": change("thing.classifications", [radio("a", "b"), radio("a", "c")]),
    "free text": change("thing.classifications", [{"name": "a", "text_answer": {"content": "b"}}]),
    "no id of an object": change("thing.feature_id", None),
    "a side of a box": change("thing.bounding_box.width", None),
    "an empty box": change("thing.bounding_box.width", 0),
    "a thin box": change("thing.bounding_box.width", 1e-18),
    "less than a pixel outside": change("thing.bounding_box.left", -0.75),
    "outside": change("thing.bounding_box.left", -30),
    "far to the right": change("thing.bounding_box.left", 180),
    "an outline": change("thing.polygon", [{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}]),
    "no geometry": change("thing.bounding_box", None),
    "twice": lambda row: label_of(row)["annotations"]["objects"].append(thing_of(row)),
    "one box for two": lambda row: label_of(row)["annotations"]["objects"].append(
        thing_of(row) | {"name": "sign"}
    ),
}  # fmt: skip


def plain(kit: Any, number: int) -> Row:
    things = [kit.box("car", 10, number % 100), kit.box("sign", 20, number % 90)][: number % 3]
    things = things or ([kit.box("car", 5, 5)] if number % 2 else [])
    row: Row = kit.row(kit.label(*things, name=f"label {number}"), name=f"{number:04d}.jpg")
    return row


def both_ways(path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """What is read with columns and without."""
    found = kit.read(path, "skip")
    with monkeypatch.context() as patch:
        patch.setattr(Block, "at_once", lambda _: None)
        return found, kit.read(path, "skip")


def assert_same(first: Any, second: Any) -> None:
    for one, other in zip(first[0], second[0], strict=True):
        assert one == other
    assert first[1].kept == second[1].kept
    assert first[2] == second[2]


@pytest.mark.parametrize("surprise", SURPRISES)
def test_a_row_with_a_surprise_among_others(
    tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch, surprise: str
) -> None:
    rows = [plain(kit, number) for number in range(9)]
    for number in (5, 7):
        SURPRISES[surprise](rows[number])
    path = kit.save(tmp_path / "export.ndjson", *rows)
    found, expected = both_ways(path, kit, monkeypatch)
    assert_same(found, expected)
    lines = [record.origin.line for record in found[0]]
    assert lines == sorted(lines)
    assert len({*lines}) >= 7


def test_plain_rows_are_never_made_into_records(
    tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kit.save(tmp_path / "export.ndjson", *(plain(kit, n) for n in range(3000)))
    made: list[int] = []
    general = labelbox_columns.Columns.put
    monkeypatch.setattr(
        labelbox_columns.Columns, "put", lambda *given: (made.append(1), general(*given))
    )
    records, issues, _ = kit.read(path)
    assert len(records) == 3000
    assert not issues.total
    # Only in the first block, where the classes are not known yet.
    assert 0 < len(made) < 300


def test_batches_are_whole_whatever_is_in_them(
    tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelbox_columns, "PART_ROWS", 64)
    dice = random.Random(1)
    rows = [plain(kit, number) for number in range(1000)]
    for number, row in enumerate(rows):
        if label_of(row)["annotations"]["objects"] and dice.random() < 0.1:
            SURPRISES[dice.choice(sorted(SURPRISES))](rows[number])
    path = kit.save(tmp_path / "export.ndjson", *rows)
    found, expected = both_ways(path, kit, monkeypatch)
    assert_same(found, expected)
    assert found[1].total > 20
    sizes = kit.sizes(path)
    assert {*sizes[:-1]} == {64}
    assert 0 < sizes[-1] <= 64
    assert PART_ROWS == 4096


def test_a_line_is_a_row(tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps(plain(kit, number)) for number in range(12)]
    # As many rows as lines, while two stand in one line, and one in two.
    lines[3] += json.dumps(plain(kit, 33))
    lines[4] = lines[4].replace('{"data_row": ', '{"data_row":\n')
    lines[6] += json.dumps(plain(kit, 66))
    lines[8] = ""
    lines[9] += "\r"
    for end in ("\n", ""):
        path = tmp_path / "export.ndjson"
        path.write_text("\n".join(lines) + end)
        found, expected = both_ways(path, kit, monkeypatch)
        assert_same(found, expected)
        assert [(i.code, i.line) for i in found[1].kept] == [
            ("bad-json", 4), ("bad-json", 5), ("bad-json", 6), ("bad-json", 8)
        ]  # fmt: skip
        assert [r.origin.line for r in found[0]] == [1, 2, 3, 7, 9, 11, 12, 13]


def test_a_row_that_was_read_long_before_is_read_again(
    tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelbox_file, "_BLOCK", 2000)
    rows = [plain(kit, number) for number in range(400)]
    rows.append(rows[2])
    rows.append(rows[300] | {"media_attributes": None})
    path = kit.save(tmp_path / "export.ndjson", *rows)
    records, issues, _ = kit.read(path, "skip")
    assert len(records) == 400
    assert [(issue.line, issue.action) for issue in issues.kept] == [
        (401, "merged"),
        (402, "skipped"),
    ]
    assert "differs; the first one is kept" in issues.kept[1].message
