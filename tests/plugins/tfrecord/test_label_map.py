"""label_map.pbtxt, as people and tools really write it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.errors import DataError
from tlx_plugins.formats.tfrecord_classes import Classes, LabelMap
from tlx_plugins.formats.tfrecord_label_map import (
    Item,
    parse_label_map,
    read_label_map,
    write_label_map,
)


@pytest.mark.parametrize(
    "text",
    [
        'item { id: 1 name: "car" }',
        "item { name: 'car' id: 1 }",
        "item: { name: 'car', id: 1; }",
        "item <name: 'car' id: 1>,",
        '# cars\nitem{\n  id:1 # one\n  name:"c" "ar"\n}\n',
        r'item { id: 0x1 name: "\143\x61r" }',
        'item { id: 1 name: "car" frequency: FREQUENT instance_count: -3 ancestor_ids: [2, 3] }',
        'item { id: 1 name: "car" [tlx.extra] { deep { er: 1.5e-3 } } }',
        '\ufeffitem { id: 1 name: "car" }'[1:],
    ],
)
def test_all_ways_to_write_one_class(text: str) -> None:
    assert parse_label_map(text) == (Item(1, "car"),)


def test_display_names_and_keypoints_are_read() -> None:
    text = """item { name: "/m/01g317" id: 1 display_name: "person"
              keypoints { id: 0 label: "nose" } keypoints { id: 1 label: "eye" } }"""
    (item,) = parse_label_map(text)
    assert item == Item(1, "/m/01g317", "person", ("nose", "eye"))
    assert item.shown == "person"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("item {\n id: 1\n name: 'car'\n", 4, "the file ends"),
        ("item { name: 'car' }", 1, "no id"),
        ("\n\nitem { id: 1 }", 3, "no name"),
        ("item { id: one name: 'car' }", 1, "no whole number"),
        ("item { id: -1 name: 'car' }", 1, "out of range"),
        ("item { id: 1.5 name: 'car' }", 1, "no whole number"),
        ("item { id: '1' name: 'car' }", 1, "no whole number"),
        ("item { id: 1 name: 'car }", 1, "cannot be read"),
        ("item 1", 1, "expected : or {"),
        ("item: 1", 1, "not a block"),
        ("model { }", 1, "no item"),
        ("item " + "{ a " * 100, 1, "too deep"),
        ("item { id: 1 name: '\\377' }", 1, "no UTF-8"),
    ],
)
def test_what_is_no_label_map_is_explained_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        parse_label_map(text, "map.pbtxt")
    assert caught.value.place is not None
    assert caught.value.place.line == line


@given(st.lists(st.builds(Item, st.integers(0, 2**31 - 1), st.text(min_size=1))))
@settings(deadline=None)
def test_any_names_come_back(items: list[Item]) -> None:
    assert parse_label_map(write_label_map(items)) == tuple(items)


@given(st.text(alphabet="item {}:<>[]'\"\\#id name1,;\n-", max_size=60))
@settings(max_examples=300, deadline=None)
def test_arbitrary_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_label_map(text)
    except DataError as error:
        assert error.place is not None  # noqa: PT017
    else:
        assert all(item.name for item in found)


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("tfrecord/label_maps/pet_label_map.pbtxt", 37, Item(37, "yorkshire_terrier")),
        ("tfrecord/label_maps/mscoco_label_map.pbtxt", 80, Item(90, "/m/012xff", "toothbrush")),
        ("tfrecord/label_maps/pascal_label_map.pbtxt", 20, Item(20, "tvmonitor")),
        ("tfrecord/label_maps/kitti_label_map.pbtxt", 2, Item(2, "pedestrian")),
        ("seed_peaches/data/label_map.pbtxt", 1, Item(1, "Peach")),
        ("seed_wastebottle/data/label_map.pbtxt", 1, Item(1, "WasteBottle")),
        ("seed_star_wars/object_detection/data/sw_label_map.pbtxt", 2, Item(2, "R2-D2")),
    ],
)
def test_real_files(shared_data: Path, name: str, count: int, last: Item) -> None:
    items = read_label_map(shared_data / name)
    assert (len(items), items[-1]) == (count, last)


def test_real_keypoints(shared_data: Path) -> None:
    path = shared_data / "tfrecord/label_maps/face_person_with_keypoints_label_map.pbtxt"
    face, person = read_label_map(path)
    assert (len(face.keypoints), len(person.keypoints)) == (6, 17)


def find(items: str, text: str, number: int | None) -> tuple[str | None, list[str]]:
    codes: list[str] = []
    label_map = LabelMap(parse_label_map(items), Classes(), lambda code, *_: codes.append(code))
    return label_map.find(text, number, lambda code, *_: codes.append(code)), codes


MAP = """item { id: 1 name: "/m/1" display_name: "car" } item { id: 4 name: "bus" }
         item { id: 7 name: "car" display_name: "toy" }"""


@pytest.mark.parametrize(
    ("text", "number", "expected"),
    [
        ("bus", 4, ("bus", [])),
        ("", 4, ("bus", [])),
        ("/m/1", None, ("car", [])),
        # The decoder takes the larger of a hit among names and one among display names.
        ("car", None, ("toy", [])),
        ("bus", 1, ("bus", ["class-number"])),
        ("tram", 4, ("tram", ["class-not-in-map"])),
        ("", 2, (None, [])),
        ("", None, (None, [])),
        ("", 0, (None, [])),
    ],
)
def test_the_text_goes_before_the_number(
    text: str, number: int | None, expected: tuple[str | None, list[str]]
) -> None:
    assert find(MAP, text, number) == expected


def test_without_a_label_map_the_text_or_the_number_is_the_name() -> None:
    assert find("", "bus", 4) == ("bus", [])
    assert find("", "", 4) == ("4", ["no-label-map"])


def test_the_background_is_no_class_unless_objects_have_it() -> None:
    classes = Classes()
    items = parse_label_map("item { id: 0 name: 'background' } item { id: 3 name: 'car' }")
    label_map = LabelMap(items, classes, lambda *_: None)
    assert classes.taxonomy().names == ("car",)
    assert label_map.find("", 0, lambda *_: None) == "background"
    assert classes.taxonomy().names == ("car", "background")
