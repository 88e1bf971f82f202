"""Names that were met before, in little memory and without a mistake."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from tlx import identities
from tlx.dataset import write_dataset
from tlx.errors import DataError
from tlx.identities import Identities
from tlx.model import Record, Taxonomy


@pytest.mark.parametrize("recent", [7, 1 << 16])
def test_it_says_what_a_dictionary_says(monkeypatch: pytest.MonkeyPatch, recent: int) -> None:
    monkeypatch.setattr(identities, "_RECENT", recent)
    dice = random.Random(3)
    known: dict[str, int] = {}
    seen = Identities()
    position = 0
    for _ in range(400):
        names = [f"image {dice.randrange(3000)}" for _ in range(dice.choice([1, 1, 2, 5]))]
        new = len({*names}) == len(names) and not known.keys() & {*names}
        assert seen.are_new(names) == new
        if dice.random() < 0.5:
            assert seen.add(names, position) == new
            known |= {n: position + i for i, n in enumerate(names)} if new else {}
        else:
            for place, name in enumerate(names, start=position):
                assert seen.claim(name, place) == known.setdefault(name, place)
        position += len(names)
    for name, place in known.items():
        assert seen.claim(name, -1) == place


def test_a_million_names_take_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "_RECENT", 1 << 12)
    count, piece = 200_000, 500
    tracemalloc.start()
    try:
        seen = Identities()
        before, _ = tracemalloc.get_traced_memory()
        for first in range(0, count, piece):
            assert seen.add([f"{n:040d}" for n in range(first, first + piece)], first)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 24 * count + (1 << 20)


def test_two_images_of_one_hash_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "hash", lambda name: int(name[0]), raising=False)

    def store(*names: str) -> int:
        records = [Record(image_id=name, uri=name) for name in names]
        dataset = write_dataset(
            tmp_path / "x.tlx", records, Taxonomy(), tmp_path, (), overwrite=True
        )
        return dataset.counts.images

    monkeypatch.setattr("tlx.schema.chunked", lambda records, _: ([r] for r in records))
    assert store("1a", "2a", "1b", "1c") == 4
    for names in (("1a", "1b", "1a"), ("1a", "1b", "2a", "1b"), ("2a", "2a")):
        with pytest.raises(DataError, match=f"the image id '{names[-1]}' appears twice"):
            store(*names)
