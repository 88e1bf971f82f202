"""What a conversion leaves out or changes on the way, whatever the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as judge

from tlx.context import Context
from tlx.dataset import Dataset, Operation, write_dataset
from tlx.errors import DataError, UsageError
from tlx.issues import IssueLog
from tlx.model import Box, Category, Keypoint, Label, Object, Record, Segmentation, Taxonomy
from tlx.pipeline import convert, relabel
from tlx.policies import Policies, apply, most_backgrounds

TAXONOMY = Taxonomy((Category(name="stop"), Category(name="go", color="#00ff00")))
GOOD = Box(1.0, 1.0, 5.0, 5.0)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def stored(tmp_path: Path, *records: Record) -> Dataset:
    lineage = (Operation(name="test", version="0"),)
    return write_dataset(tmp_path / "in.tlx", records, TAXONOMY, tmp_path, lineage, overwrite=True)


def image(name: str, *categories: str, **facts: Any) -> Record:
    objects = tuple(Object(category=category, box=GOOD) for category in categories)
    return Record(image_id=name, uri=name, width=20, height=10, objects=objects, **facts)


def after(
    dataset: Dataset, tmp_path: Path, on_error: str = "fail", seed: int = 0, **given: Any
) -> tuple[Dataset, IssueLog]:
    context = Context(issues=IssueLog(on_error))  # type: ignore[arg-type]
    target = tmp_path / f"out{len(list(tmp_path.iterdir()))}.tlx"
    return apply(dataset, Policies(seed=seed, **given), target, context), context.issues


def test_only_the_splits_that_are_asked_for(tmp_path: Path) -> None:
    dataset = stored(tmp_path, image("a", split="train"), image("b", split="val"), image("c"))
    result, issues = after(dataset, tmp_path, splits="val")
    assert [record.image_id for record in result.records()] == ["b"]
    assert issues.kept[0].message.startswith("2 images of other splits")
    assert issues.lost == 0
    with pytest.raises(UsageError, match="'tst'"):
        after(dataset, tmp_path, splits="tst, val")


def test_a_class_map_renames_merges_and_drops(tmp_path: Path) -> None:
    labels = (Label("go"), Label("stop", present=None))
    dataset = stored(tmp_path, image("a", "stop", "go", "stop", labels=labels), image("b", "stop"))
    result, issues = after(dataset, tmp_path, class_map="stop=,go=light")
    first, second = result.records()
    assert [thing.category for thing in first.objects] == ["light"]
    assert first.labels == (Label("light"),)
    assert second.objects == ()
    assert result.taxonomy.names == ("light",)
    assert issues.kept[0].message.startswith("3 objects of classes")
    with pytest.raises(UsageError, match="Known: go, stop"):
        after(dataset, tmp_path, class_map="stp=x")
    # tlx relabel says the same.
    again = relabel(dataset.path, "stop=,go=light", tmp_path / "relabelled.tlx")
    assert list(again.records()) == [first, second]


def test_backgrounds_are_dropped_counted_or_sampled_by_the_seed(tmp_path: Path) -> None:
    empty = [image(f"e{n:02d}") for n in range(50)]
    tagged = image("tagged", labels=(Label("go"),))
    absent = image("absent", labels=(Label("go", present=False),))
    dataset = stored(tmp_path, *empty, image("a", "go"), tagged, absent, image("b", "stop"))
    result, issues = after(dataset, tmp_path, background="drop")
    assert [record.image_id for record in result.records()] == ["a", "tagged", "b"]
    assert issues.kept[0].message.startswith("51 images without objects")
    chosen = [
        [r.image_id for r in after(dataset, tmp_path, background="4", seed=seed)[0].records()]
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(len(names) == 7 for names in chosen)
    # A class that is left out makes a background of its image.
    result, _ = after(dataset, tmp_path, class_map="stop=", background="drop")
    assert [record.image_id for record in result.records()] == ["a", "tagged"]
    with pytest.raises(UsageError, match="nothing is left"):
        after(stored(tmp_path, *empty), tmp_path, background="drop")


@pytest.mark.parametrize(
    ("text", "number"), [("drop", 0), ("12", 12), ("10%", 10), ("50 %", 90), ("0.5%", 0)]
)
def test_a_share_is_one_of_all_images_that_are_written(text: str, number: int) -> None:
    assert most_backgrounds(text, 90) == number


@pytest.mark.parametrize("text", ["some", "-1", "100%", "1/2", "", "٣"])
def test_odd_backgrounds_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="keep, drop"):
        most_backgrounds(text, 90)


BAD = (GOOD, Box(5.0, 5.0, 5.0, 9.0), Box(-3.0, 2.0, 8.0, 8.0), Box(30.0, 2.0, 40.0, 8.0))


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("keep", BAD),
        ("clip", (GOOD, Box(0.0, 2.0, 8.0, 8.0))),
        ("drop", (GOOD,)),
        ("fail", (GOOD,)),
    ],
)
def test_bad_boxes_of_a_dataset_follow_the_policy(
    tmp_path: Path, policy: str, kept: tuple[Box, ...]
) -> None:
    lines = Object(category="go")
    turned = Object(category="go", box=Box(0.0, 0.0, 25.0, 2.0), rotation=45.0)
    things = (*(Object(category="stop", box=box) for box in BAD), lines, turned)
    record = Record(image_id="a", uri="a", width=20, height=10, objects=things)
    fine = image("b", "go")
    dataset = stored(tmp_path, record, fine)
    result, issues = after(dataset, tmp_path, "skip", bad_boxes=policy)
    first, second = result.records()
    assert [thing.box for thing in first.objects] == [*kept, None, turned.box]
    assert second == fine
    assert issues.total == 3
    if policy == "fail":
        with pytest.raises(DataError, match="in a is empty or inverted"):
            after(dataset, tmp_path, bad_boxes="fail")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_labels_lie_on_what_pillow_shows(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((10, 20), np.uint8)
    pixels[2:5, 3:11] = 255
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    runs = judge.encode(np.asfortranarray((pixels > 0).astype(np.uint8)))
    thing = Object(
        category="go",
        box=Box(3.0, 2.0, 11.0, 5.0),
        segmentation=Segmentation(counts=runs["counts"], size=(10, 20)),
        keypoints=(Keypoint(3.5, 2.5),),
    )
    record = Record(image_id="a", uri="a.png", width=20, height=10, objects=(thing,))
    result, issues = after(stored(tmp_path, record), tmp_path, pixels="upright")
    (again,) = result.records()
    (found,) = again.objects
    shown = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    assert (again.height, again.width) == shown.shape
    rows, columns = np.nonzero(shown)
    assert found.box == Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found.segmentation is not None
    drawn = judge.decode({"size": found.segmentation.size, "counts": found.segmentation.counts})
    assert (drawn == (shown > 0)).all()
    (point,) = found.keypoints
    assert shown[int(point.y), int(point.x)] == 255
    assert issues.counts["turned-labels"] == (orientation != 1)


def test_the_choices_stand_in_the_lineage_and_reach_every_writer(tmp_path: Path) -> None:
    Image.new("L", (20, 10)).save(tmp_path / "a.png")
    Image.new("L", (20, 10)).save(tmp_path / "b.png")
    dataset = stored(tmp_path, image("a.png", "go", "stop"), image("b.png"))
    policies = Policies(class_map="stop=", background="drop")
    for to in ("coco", "csv", "cvat", "parquet", "tfrecord", "voc", "yolo"):
        done = convert(dataset.path, to, tmp_path / to, policies=policies)
        assert (done.images, done.objects) == (1, 1), to
        text = (tmp_path / f"{to}.tlx.json").read_text()
        assert '"background": "drop"' in text
    assert (Policies().idle, policies.idle) == (True, False)


def test_any_number_of_workers_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (20, 10), len(name)).save(tmp_path / name)
    dataset = stored(tmp_path, *(image(f"{n}.png", "go", "stop") for n in "abc"))
    for to in ("coco", "csv", "cvat", "parquet", "tfrecord", "voc", "yolo"):
        trees = []
        for workers in (0, 1, 4):
            out = tmp_path / f"{to}{workers}"
            context = Context(workers=workers)
            convert(dataset.path, to, out, context=context)
            files = [out] if out.is_file() else sorted(p for p in out.rglob("*") if p.is_file())
            trees.append([(p.relative_to(out).as_posix(), p.read_bytes()) for p in files])
        assert trees[0] == trees[1] == trees[2], to
