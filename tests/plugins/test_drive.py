"""The made-up drive: in LISA's layout, with every tag, the same for the same seed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlx.context import Context
from tlx.model import Record
from tlx_plugins.demo.drive import DRIVE, GENERIC, DriveCounts, write_drive
from tlx_plugins.sources.lisa import LisaOptions, LisaSource
from tlx_plugins.sources.lisa_csv import TAGS

FEW = {"frames": 20, "size": (240, 180)}


@pytest.fixture(scope="module")
def drive(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, DriveCounts, list[Record], Context]:
    root = tmp_path_factory.mktemp("drive")
    counts = write_drive(root, frames=40)
    context = Context()
    reading = LisaSource().read(root, LisaOptions(), context)
    return root, counts, list(reading.content), context  # type: ignore[arg-type]


def test_is_read_like_the_archive(
    drive: tuple[Path, DriveCounts, list[Record], Context],
) -> None:
    root, counts, records, context = drive
    assert len(records) == counts.frames == 40 * len(DRIVE)
    assert sum(len(r.objects) for r in records) == counts.lights
    assert 0.1 < counts.negatives / counts.frames < 0.4
    assert sum(not r.objects for r in records) == counts.negatives
    assert context.issues.counts == {"duplicate-row": len(DRIVE), "sample-clip": 2}
    assert context.issues.lost == 0
    assert all((root / r.uri).is_file() for r in records)
    assert {(r.width, r.height) for r in records} == {(480, 360)}
    assert LisaSource().sniff(root).ok


def test_every_tag_is_in_enough_clips(
    drive: tuple[Path, DriveCounts, list[Record], Context],
) -> None:
    clips: dict[str, set[str]] = defaultdict(set)
    for record in drive[2]:
        for thing in record.objects:
            clips[thing.category].add(record.group or "")
    assert set(clips) == set(TAGS)
    assert min(map(len, clips.values())) >= 4


def test_boxes_are_small_and_inside(
    drive: tuple[Path, DriveCounts, list[Record], Context],
) -> None:
    boxes = [o.box for r in drive[2] for o in r.objects if o.box is not None]
    assert all(0 <= b.xmin < b.xmax <= 480 and 0 <= b.ymin < b.ymax <= 360 for b in boxes)
    heights = sorted(box.height for box in boxes)
    assert heights[0] >= 5
    assert heights[len(heights) // 2] < 25


def test_the_lit_lamp_has_the_colour_of_its_tag(
    drive: tuple[Path, DriveCounts, list[Record], Context],
) -> None:
    root, *_ = drive
    reading = LisaSource().read(root, LisaOptions(boxes="bulb"), Context())
    right = total = 0
    for record in reading.content:
        assert isinstance(record, Record)
        with Image.open(root / record.uri) as image:
            pixels = np.asarray(image, dtype=float)
        for thing in record.objects:
            box = thing.box
            assert box is not None
            if box.height < 5:
                continue
            part = pixels[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
            red, green, _ = part.reshape(-1, 3)[part.sum(2).argmax()]
            total += 1
            right += (green > red) == thing.category.startswith("go")
    assert total > 100
    assert right / total > 0.95


def digest(root: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        whole.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


def test_the_seed_decides(tmp_path: Path) -> None:
    clips = ("dayClip6", "nightSequence1")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_drive(tmp_path / name, seed=seed, clips=clips, **FEW)  # type: ignore[arg-type]
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_generic_clips_are_clips_of_the_set() -> None:
    assert len(set(GENERIC)) == len(GENERIC)
