"""Splits that no clip crosses, balanced, and leaks that are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tlx
from tlx.dataset import Dataset, write_dataset
from tlx.errors import UsageError
from tlx.model import Box, Object, Record, Taxonomy
from tlx.splitting import Unit, assign, audit, parse_ratios

RATIOS = {"train": 0.7, "val": 0.15, "test": 0.15}


def dataset(path: Path, records: list[Record]) -> Dataset:
    names = sorted({o.category for r in records for o in r.objects})
    return write_dataset(path, records, Taxonomy.of(names), path.parent, ())


def record(group: str | None, frame: int, *classes: str, **more: object) -> Record:
    name = f"{group}-{frame}.jpg"
    objects = tuple(Object(category=c, box=Box(0, 0, 9, 9)) for c in classes)
    return Record(image_id=name, uri=name, group=group, frame=frame, objects=objects, **more)  # type: ignore[arg-type]


def clips() -> list[Record]:
    """Twenty clips; the rare class is in three of them, so that each split can have it."""
    rows = []
    for clip in range(20):
        for frame in range(10 + clip):
            rare = ("rare",) if clip in {1, 7, 13} and frame < 3 else ()
            rows.append(record(f"clip{clip:02}", frame, "common", *rare))
    return rows


def test_no_group_is_cut_and_every_class_is_everywhere(tmp_path: Path) -> None:
    made = dataset(tmp_path / "a.tlx", clips())
    tlx.split(made.path, stratify=True)
    where: dict[str, set[str]] = {}
    classes: dict[str, set[str]] = {}
    for row in Dataset.open(made.path).records():
        where.setdefault(row.group or "", set()).add(row.split or "")
        for item in row.objects:
            classes.setdefault(item.category, set()).add(row.split or "")
    assert all(len(splits) == 1 for splits in where.values())
    assert classes == {"common": {*RATIOS}, "rare": {*RATIOS}}
    assert audit(Dataset.open(made.path)) == []


def test_shares_are_met_and_the_seed_decides(tmp_path: Path) -> None:
    made = dataset(tmp_path / "a.tlx", clips())
    names = {"b": 1, "c": 1, "d": 2, "e": 3, "f": 4}
    for name, seed in names.items():
        tlx.split(made.path, tmp_path / f"{name}.tlx", seed=seed)
    by_name = {n: [r.split for r in Dataset.open(tmp_path / f"{n}.tlx").records()] for n in names}
    assert by_name["b"] == by_name["c"]
    assert len({tuple(splits) for splits in by_name.values()}) > 1
    for splits in by_name.values():
        assert abs(splits.count("train") / len(splits) - 0.7) < 0.06
        assert abs(splits.count("val") / len(splits) - 0.15) < 0.06


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=3, max_size=30),
    st.integers(0, 5),
    st.booleans(),
)
def test_every_unit_has_one_split_and_none_is_empty(
    sizes: list[int], seed: int, stratify: bool
) -> None:
    found = {f"g{i}": Unit(f"g{i}", n, {"a": n}) for i, n in enumerate(sizes)}
    chosen = assign(found, RATIOS, stratify=stratify, seed=seed)
    assert set(chosen) == set(found)
    assert set(chosen.values()) == set(RATIOS)


def test_official_splits_are_kept_and_val_is_carved_out_of_train(tmp_path: Path) -> None:
    rows = [
        record(f"c{c}", f, "x", attributes={"official_split": "test" if c > 7 else "train"})
        for c in range(10)
        for f in range(5)
    ]
    made = dataset(tmp_path / "a.tlx", rows)
    tlx.split(made.path, official=True)
    splits = {r.group: r.split for r in Dataset.open(made.path).records()}
    assert {g for g, s in splits.items() if s == "test"} == {"c8", "c9"}
    assert list(splits.values()).count("val") == 1


def test_single_images_are_split_only_when_asked(tmp_path: Path) -> None:
    made = dataset(tmp_path / "a.tlx", [record(None, i, "x") for i in range(30)])
    with pytest.raises(UsageError, match="--by image"):
        tlx.split(made.path)
    assert tlx.split(made.path, by="image").splits()


def test_splits_are_replaced_only_when_asked(tmp_path: Path) -> None:
    made = dataset(tmp_path / "a.tlx", clips())
    tlx.split(made.path)
    with pytest.raises(UsageError, match="is split already"):
        tlx.split(made.path)
    again = tlx.split(made.path, seed=3, overwrite=True)
    assert [o.name for o in again.manifest.lineage] == ["split", "split"]


def test_too_few_sequences_are_refused(tmp_path: Path) -> None:
    made = dataset(tmp_path / "a.tlx", [record("one", i, "x") for i in range(9)])
    with pytest.raises(UsageError, match="cannot fill 3 splits"):
        tlx.split(made.path)


def test_leaks_are_found(tmp_path: Path) -> None:
    (tmp_path / "same1.jpg").write_bytes(b"the same bytes")
    (tmp_path / "same2.jpg").write_bytes(b"the same bytes")
    (tmp_path / "other.jpg").write_bytes(b"other bytes !!")
    rows = [
        record("cut", 1, "x", split="train"),
        record("cut", 2, "x", split="test"),
        Record(image_id="a", uri="same1.jpg", split="train"),
        Record(image_id="b", uri="same2.jpg", split="val"),
        Record(image_id="c", uri="other.jpg", split="test"),
        Record(image_id="d", uri="listed.jpg", split="test"),
        Record(image_id="e", uri="listed.jpg", split="train"),
    ]
    leaks = audit(dataset(tmp_path / "a.tlx", rows))
    assert [(leak.kind, leak.what, leak.splits) for leak in leaks] == [
        ("group", "cut", ("test", "train")),
        ("image", "listed.jpg", ("test", "train")),
        ("content", "same1.jpg = same2.jpg", ("train", "val")),
    ]


@pytest.mark.parametrize(
    "text", ["0.5,0.6", "train=0.5,train=0.5", "a=x", "train=1.5,val=-0.5", ""]
)
def test_bad_ratios_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--ratios"):
        parse_ratios(text)


def test_ratios_are_read() -> None:
    assert parse_ratios("0.8, 0.2") == {"train": 0.8, "val": 0.2}
    assert parse_ratios("a=0.5,b=0.5") == {"a": 0.5, "b": 0.5}
