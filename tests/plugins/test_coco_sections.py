"""COCO files taken a piece at a time, and run lengths by the array."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as judge

from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import IssueLog
from tlx.schema import batch_to_records
from tlx_plugins.formats import coco_rle, coco_sections
from tlx_plugins.formats.coco import CocoFormat, CocoOptions
from tlx_plugins.formats.coco_positions import Outlines, Positions

# pycocotools' own decoder is behind NumPy's protocol for copies.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HARD = 'a "b" \\ [}], {"annotations": ['
words = st.sampled_from(["plain", "Ümlaut", HARD, "], [", "\\\\", '"'])
nested = st.recursive(
    words | st.integers(-5, 5) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
annotations = st.fixed_dictionaries(
    {
        "id": st.integers(1, 10**6),
        "image_id": st.sampled_from([1, 2, 3]),
        "category_id": st.sampled_from([4, 5]),
        "bbox": st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 20)] * 2).map(list),
    },
    optional={
        "iscrowd": st.sampled_from([0, 1]),
        "area": st.floats(1, 99),
        "segmentation": st.sampled_from([[], [[1, 1, 5, 1, 5, 5]]]),
        "extra": nested,
    },
)


def document(things: list[dict[str, Any]]) -> dict[str, Any]:
    images = [
        {"id": number, "file_name": f"{number} {HARD}.jpg", "width": 40, "height": 50}
        for number in (3, 1, 2)
    ]
    categories = [{"id": 5, "name": "car"}, {"id": 4, "name": HARD}]
    return {
        "info": {"description": HARD, "deep": [[{"x": "]}"}]]},
        "licenses": [],
        "images": images,
        "annotations": things,
        "categories": categories,
    }


def read(path: Path) -> tuple[list[Any], dict[str, int]]:
    context = Context(issues=IssueLog("skip"))
    reading = CocoFormat().read(path, CocoOptions(), context)
    records = [r for batch in reading.content for r in batch_to_records(batch)]  # type: ignore[arg-type]
    return records, dict(context.issues.counts)


@given(
    st.lists(annotations, max_size=8, unique_by=lambda a: a["id"]),
    st.permutations(["info", "licenses", "images", "annotations", "categories"]),
    st.sampled_from([1, 60, 300, 1 << 22]),
    st.sampled_from([None, 1]),
)
@settings(max_examples=150, deadline=None)
def test_the_order_of_sections_and_the_size_of_pieces_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    things: list[dict[str, Any]],
    order: list[str],
    piece: int,
    indent: int | None,
) -> None:
    value = document(things)
    folder = tmp_path_factory.mktemp("sections")
    path, whole = folder / "labels.json", folder / "whole" / "labels.json"
    whole.parent.mkdir()
    path.write_text(json.dumps({key: value[key] for key in order}, indent=indent))
    whole.write_text(path.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_sections, "PIECE", piece)
        found = coco_sections.CocoSections(path)
        taken: dict[str, list[Any]] = {"images": [], "annotations": []}
        for kind, entries in found.pieces():
            taken[kind] += entries
        by_pieces = read(path)
    assert [a.id for a in taken["annotations"]] == [a["id"] for a in things]
    assert [i.file_name for i in taken["images"]] == [i["file_name"] for i in value["images"]]
    assert [c.name for c in found.categories] == ["car", HARD]
    assert found.info == value["info"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_sections.CocoSections, "pieces", coco_sections.CocoSections.whole)
        assert read(whole) == by_pieces


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [], "annotations": [{"image_id": 1, "category_id": 2},]}',
        '{"images": [], "annotations": [], "categories": []',
        '{"images": [], "annotations": [], "categories": []} x',
        '{"images": [}], "annotations": [], "categories": []}',
        '{"images": [,], "annotations": []}',
        '{"images": [], "annotations": [], "other": [1, }',
    ],
)
@pytest.mark.parametrize("piece", [1, 1 << 22])
def test_text_that_is_no_json_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, piece: int
) -> None:
    monkeypatch.setattr(coco_sections, "PIECE", piece)
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(DataError, match="is not JSON"):
        read(path)


def test_a_comma_at_the_end_of_many_annotations_is_refused(tmp_path: Path) -> None:
    things = [
        {"id": n + 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, n % 40 + 1]}
        for n in range(4000)
    ]
    text = json.dumps(document(things))
    path = tmp_path / "labels.json"
    path.write_text(text)
    assert sum(len(record.objects) for record in read(path)[0]) == 4000
    path.write_text(text.replace('], "categories"', ', ], "categories"'))
    with pytest.raises(DataError, match="is not JSON"):
        read(path)


@given(
    st.lists(st.sampled_from([-3, 0, 7, 8, 10**6, 10**12]), max_size=9),
    st.lists(st.sampled_from([-4, -3, 0, 7, 8, 9, 10**6, 10**12, 2**62]), max_size=9),
)
def test_an_id_means_the_first_entry_that_has_it(known: list[int], asked: list[int]) -> None:
    expected = [known.index(number) if number in known else -1 for number in asked]
    for ids in (np.array(known, np.int64), list(known)):
        positions = Positions(ids)
        assert positions.unique == (len(set(known)) == len(known))
        for query in (np.array(asked, np.int64), list(asked)):
            assert positions.find(query).tolist() == expected


@given(st.lists(st.lists(st.sampled_from([None, 0, 1]), max_size=4), max_size=6), st.data())
def test_polygons_in_parts_are_those_that_were_added(
    parts: list[list[int | None]], data: st.DataObject
) -> None:
    import pyarrow as pa

    from tlx.schema import SEGMENTATION

    kind = SEGMENTATION.field("polygons").type
    outlines, expected = Outlines(), list[Any]()
    for part in parts:
        values = [None if v is None else [[float(len(expected) + n)] * 6] * v
                  for n, v in enumerate(part)]  # fmt: skip
        outlines.add(pa.array(values, kind) if any(v for v in values) else None, len(values))
        expected += values
    numbers = data.draw(st.permutations(range(len(expected))))
    found = outlines.take(np.array(numbers, np.int64))
    given_back = [None] * len(numbers) if found is None else found.to_pylist()
    assert [v or None for v in given_back] == [expected[n] or None for n in numbers]


@given(st.integers(0, 2**32 - 1), st.integers(40, 400), st.sampled_from([0.0, 0.02, 0.5, 0.98]))
@settings(max_examples=60, deadline=None)
def test_long_run_lengths_agree_with_pycocotools(seed: int, height: int, share: float) -> None:
    mask = (np.random.default_rng(seed).random((height, 60)) < share).astype(np.uint8)
    expected = judge.encode(np.asfortranarray(mask))
    counts = coco_rle.decompress(expected["counts"])
    assert coco_rle.compress(counts) == expected["counts"]
    x, y, wide, high = judge.toBbox(expected)
    found = coco_rle.bounds(counts, height)
    assert found == (None if not mask.any() else (x, y, x + wide, y + high))


@given(st.lists(st.integers(0, 2**62), min_size=33, max_size=60), st.integers(0, 62))
def test_long_lists_of_any_numbers_come_back(counts: list[int], bits: int) -> None:
    small = [count >> bits for count in counts]
    assert coco_rle.decompress(coco_rle.compress(small)) == small


@given(st.binary(min_size=33, max_size=80))
def test_letters_of_no_alphabet_are_refused(letters: bytes) -> None:
    proper = all(48 <= letter < 112 for letter in letters) and not (letters[-1] - 48) & 0x20
    if not proper:
        with pytest.raises(ValueError, match="run lengths"):
            coco_rle.decompress(letters)


def test_masks_are_found_beside_polygons_of_a_piece(tmp_path: Path) -> None:
    shape = {"size": [50, 40], "counts": [3, 5, 1992]}
    things = [
        {"id": n, "image_id": 1, "category_id": 5, "bbox": [1, 1, 4, 4], "area": 8.0, "iscrowd": 0,
         "segmentation": shape if n == 2 else [[1, 1, 5, 1, 5, 5]]}
        for n in (1, 2, 3)
    ]  # fmt: skip
    path = tmp_path / "labels.json"
    path.write_bytes(msgspec.json.encode(document(things)))
    records, counts = read(path)
    found = {t.object_id: t.segmentation for r in records for t in r.objects}
    assert found["2"] is not None
    assert found["2"].counts == coco_rle.compress([3, 5, 1992])
    assert all(found[n] is not None and found[n].polygons for n in ("1", "3"))
    assert counts in ({}, {"duplicate-object": 1})
