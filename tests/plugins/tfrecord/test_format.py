"""TFRecord read and written; a decoder of our own and TensorFlow judge what is written."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from tlx.context import Context
from tlx.dataset import Dataset, Operation, write_dataset
from tlx.errors import DataError, UsageError
from tlx.issues import IssueLog
from tlx.loss import find_loss
from tlx.model import (
    Box,
    Category,
    Keypoint,
    Label,
    Object,
    Record,
    Segmentation,
    Taxonomy,
)
from tlx_plugins.formats import tfrecord_example as codec
from tlx_plugins.formats.coco import CocoFormat, CocoOptions
from tlx_plugins.formats.tfrecord import TfrecordFormat, TfrecordOptions
from tlx_plugins.formats.tfrecord_values import pixels

FORMAT = TfrecordFormat()
Tensorflow = Callable[..., list[dict[str, Any]]]

# Pillow warns of masks made from bytes; pycocotools is behind NumPy's protocol for copies.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def store(folder: Path, records: Iterable[Record], taxonomy: Any, root: Path) -> Dataset:
    return write_dataset(folder, records, taxonomy, root, (Operation(name="test", version="0"),))


def read(
    root: Path, policy: str = "fail", **options: Any
) -> tuple[list[Record], IssueLog, Taxonomy]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = FORMAT.read(root, TfrecordOptions(**options), context)
    records = list(reading.content)
    assert callable(reading.taxonomy)
    return records, context.issues, reading.taxonomy()  # type: ignore[return-value]


def dataset_of(root: Path, folder: Path, policy: str = "fail", **options: Any) -> Dataset:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = FORMAT.read(root, TfrecordOptions(**options), context)
    return store(folder, reading.content, reading.taxonomy, reading.media_root)


def write(dataset: Dataset, dest: Path, policy: str = "fail", workers: int = 0, **o: Any) -> Any:
    issues = IssueLog(policy)  # type: ignore[arg-type]
    report = FORMAT.write(
        dataset, dest, TfrecordOptions(**o), Context(issues=issues, workers=workers)
    )
    return report, issues


def picture(path: Path, width: int = 100, height: int = 80, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (10, 120, 200)).save(path, **options)
    return path


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A folder with images of both kinds, one of them in a sub-folder with an odd name."""
    folder = tmp_path / "street"
    picture(folder / "a.jpg")
    picture(folder / "Straße 7/ünï \U0001f6a6.png")
    picture(folder / "empty.jpg", 64, 48)
    return folder


def records() -> list[Record]:
    """Everything that a record can say."""
    square = (10.0, 20.0, 40.0, 20.0, 40.0, 60.0, 10.0, 60.0)
    return [
        Record(
            image_id="a",
            uri="a.jpg",
            width=100,
            height=80,
            split="train",
            group="drive 1",
            frame=7,
            labels=(Label("rain", True), Label("fog", False), Label("café", None)),
            attributes={"speed": 12.5, "night": False, "route": "A1", "pass": 3},
            objects=(
                Object(
                    category="stop",
                    box=Box(10, 20, 40, 60),
                    object_id="x7",
                    segmentation=Segmentation(polygons=(square,)),
                    rotation=12.5,
                    keypoints=(Keypoint(11, 21, 2, "top"), Keypoint(12, 59.5, 1, "foot")),
                    track="3",
                    crowd=False,
                    difficult=True,
                    attributes={"area": 1200.0, "pole": True, "odd": float("inf")},
                ),
                Object(category="café", box=Box(0.125, 0, 100, 80), crowd=True, occluded=True),
                Object(category="go", box=Box(50.25, 10.5, 60.75, 20), truncated=False),
            ),
        ),
        Record(
            image_id="Straße 7/ünï \U0001f6a6.png",
            uri="Straße 7/ünï \U0001f6a6.png",
            split="val",
            objects=(Object(category="go", box=Box(1, 2, 3, 4)),),
        ),
        Record(image_id="empty.jpg", uri="empty.jpg", width=64, height=48, split="val"),
    ]


CLASSES = Taxonomy.of(["stop", "go", "café", "rain", "fog"])


@pytest.fixture
def whole(tmp_path: Path, street: Path) -> Dataset:
    return store(tmp_path / "whole.tlx", records(), CLASSES, street)


def test_everything_comes_back_but_the_declared_loss(tmp_path: Path, whole: Dataset) -> None:
    report, issues = write(whole, tmp_path / "out")
    assert report.files == ("label_map.pbtxt", "train.record", "val.record")
    assert (report.images, report.objects, issues.total) == (3, 4, 0)
    found, issues, taxonomy = read(tmp_path / "out", images=str(tmp_path / "media"))
    assert issues.total == 0
    assert taxonomy.names == CLASSES.names
    assert [c.source_id for c in taxonomy.categories] == [1, 2, 3, 4, 5]
    for before, after in zip(records(), found, strict=True):
        size = (100, 80) if before.width is None else (before.width, before.height)
        objects = tuple(
            msgspec.structs.replace(thing, segmentation=None) for thing in before.objects
        )
        assert after == msgspec.structs.replace(
            before, width=size[0], height=size[1], objects=objects, origin=after.origin
        )
    found_loss = find_loss(whole, FORMAT.traits(FORMAT.options()))
    lost = {loss.field for loss in found_loss if loss.kind != "assumed"}
    assert lost == {
        "objects.segmentation", "objects.rotation", "objects.box", "objects.keypoints",
    }  # fmt: skip
    with_masks = find_loss(whole, FORMAT.traits(FORMAT.options(masks=True)))
    assert {loss.field: loss.kind for loss in with_masks}["objects.segmentation"] == "rounded"


def test_image_bytes_are_untouched_both_ways(tmp_path: Path, whole: Dataset, judge: Any) -> None:
    write(whole, tmp_path / "out")
    read(tmp_path / "out", images=str(tmp_path / "media"))
    for name in ("a.jpg", "empty.jpg", "Straße 7/ünï \U0001f6a6.png"):
        before = (whole.media_root / name).read_bytes()
        assert (tmp_path / "media" / name).read_bytes() == before
    first = judge.read(tmp_path / "out" / "train.record")[0]
    data = (whole.media_root / "a.jpg").read_bytes()
    assert first["image/encoded"] == [data]
    assert first["image/key/sha256"] == [hashlib.sha256(data).hexdigest().encode()]


def test_the_keys_are_those_of_the_object_detection_api(
    tmp_path: Path, whole: Dataset, judge: Any
) -> None:
    write(whole, tmp_path / "out")
    (first,) = judge.read(tmp_path / "out" / "train.record")
    second, empty = judge.read(tmp_path / "out" / "val.record")
    single = np.float32
    assert first["image/object/bbox/xmin"] == [single(0.1), single(0.00125), single(0.5025)]
    assert first["image/object/bbox/ymax"] == [0.75, 1.0, 0.25]
    assert first["image/object/class/label"] == [1, 3, 2]
    assert first["image/object/class/text"] == [b"stop", "café".encode(), b"go"]
    assert first["image/object/is_crowd"] == [0, 1, 0]
    assert first["image/object/difficult"] == [1, 0, 0]
    assert first["image/object/occluded"] == [0, 1, 0]
    assert first["image/class/label"] == [4, 5]
    assert first["image/class/confidence"] == [1.0, 0.0]
    assert first["image/object/keypoint/visibility"] == [2, 1, 0, 0, 0, 0]
    assert (first["image/format"], second["image/format"]) == ([b"jpeg"], [b"png"])
    assert (first["image/height"], first["image/width"]) == ([80], [100])
    assert [r["image/source_id"] for r in (first, second, empty)] == [[b"1"], [b"2"], [b"3"]]
    # What nobody stated is not written.
    for key in ("is_crowd", "difficult", "truncated", "occluded", "area", "group_of", "mask"):
        assert f"image/object/{key}" not in second
    assert empty["image/object/bbox/xmin"] == []


def test_tensorflow_reads_every_field(
    tmp_path: Path, whole: Dataset, tensorflow: Tensorflow
) -> None:
    write(whole, tmp_path / "out", masks=True)
    (first,) = tensorflow(tmp_path / "out" / "train.record")
    second, empty = tensorflow(tmp_path / "out" / "val.record")
    assert first["image/object/bbox/xmax"] == pytest.approx([0.4, 1.0, 0.6075])
    assert first["image/object/class/text"] == ["stop", "café", "go"]
    assert first["image/object/class/label"] == [1, 3, 2]
    assert first["image/object/is_crowd"] == [0, 1, 0]
    assert first["image/object/area"] == [1200.0, pytest.approx(7990), pytest.approx(99.75)]
    assert first["image/object/keypoint/num"] == [2, 0, 0]
    assert first["mask areas"] == [1200, 0, 0]
    assert first["image/object/mask/weight"] == [1, 0, 0]
    assert first["image/class/text"] == ["rain", "fog"]
    assert first["pixels"] == [80, 100, 3]
    assert second["image/filename"] == ["Straße 7/ünï \U0001f6a6.png"]
    assert second["image/source_id"] == ["2"]
    assert "image/object/is_crowd" not in second["keys"]
    assert (empty["pixels"], "image/object/bbox/xmin" in empty) == ([48, 64, 3], False)


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_tensorflow_reads_compressed_files(
    tmp_path: Path, whole: Dataset, tensorflow: Tensorflow, kind: Any
) -> None:
    write(whole, tmp_path / "out", compression=kind)
    (first,) = tensorflow(tmp_path / "out" / "train.record", kind.upper())
    assert first["image/filename"] == ["a.jpg"]
    assert read(tmp_path / "out")[0] == read(tmp_path / "out")[0]


REAL = {
    "tfrecord/pets_examples.record": (10, 10, {}),
    "seed_peaches/data": (10, 28, {}),
    "seed_wastebottle/data": (4, 9, {}),
    "tfrecord/datumaro/tf_detection_api_dataset": (3, 3, {"unknown-class": 1}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_round_trip(tmp_path: Path, shared_data: Path, name: str) -> None:
    images, objects, issues = REAL[name]
    media = str(tmp_path / "media")
    found, log, _ = read(shared_data / name, "skip", images=media)
    assert (len(found), sum(len(r.objects) for r in found)) == (images, objects)
    assert dict(log.counts) == issues
    first = dataset_of(shared_data / name, tmp_path / "a.tlx", "skip", images=media)
    report, _ = write(first, tmp_path / "out")
    assert (report.images, report.objects) == (images, objects)
    second = dataset_of(tmp_path / "out", tmp_path / "b.tlx", images=media)

    def alike(dataset: Dataset) -> list[Record]:
        kept = [msgspec.structs.replace(r, origin=None) for r in dataset.records()]
        return sorted(kept, key=lambda record: record.image_id)

    assert alike(first) == alike(second)
    assert set(second.taxonomy.names) == set(first.taxonomy.names)
    # A second time nothing changes at all.
    write(second, tmp_path / "again")
    for path in sorted((tmp_path / "out").iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_pets_are_read_as_their_makers_meant_them(shared_data: Path) -> None:
    label_map = str(shared_data / "tfrecord/label_maps/pet_label_map.pbtxt")
    path = shared_data / "tfrecord/pets_examples.record"
    found, issues, taxonomy = read(path, label_map=label_map)
    assert len(taxonomy) == 37
    first = found[0]
    assert (first.width, first.height, first.image_id) == (300, 225, "chihuahua_153.jpg")
    (thing,) = first.objects
    assert (thing.category, thing.box) == ("chihuahua", Box(119, 54, 228, 128))
    assert (thing.difficult, thing.truncated, thing.occluded) == (False, False, None)
    assert thing.attributes == {"view": "Frontal"}
    assert first.origin is not None
    assert (first.origin.path, first.origin.line) == ("pets_examples.record", 1)
    assert dict(issues.counts) == {"images-inside": 1}


def test_records_without_image_bytes_keep_their_labels(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "tfrecord/datumaro/roboflow_dataset"
    found, issues, _ = read(root)
    assert [(r.split, len(r.objects)) for r in found] == [("train", 1), ("train", 1), ("val", 2)]
    assert dict(issues.counts) == {"images-absent": 1}
    with pytest.raises(DataError, match="no image that could be brought out"):
        read(root, images=str(tmp_path / "media"))


def test_sniff(shared_data: Path, tmp_path: Path) -> None:
    for name in REAL:
        assert FORMAT.sniff(shared_data / name).ok
    assert not FORMAT.sniff(shared_data / "coco_val2017_sample").ok
    assert not FORMAT.sniff(tmp_path).ok
    assert not FORMAT.sniff(tmp_path / "nothing").ok


def test_masks_are_pixel_masks(tmp_path: Path, shared_data: Path) -> None:
    root = shared_data / "coco_val2017_sample"
    reading = CocoFormat().read(root / "instances.json", CocoOptions(), Context())
    before = store(tmp_path / "a.tlx", reading.content, reading.taxonomy, reading.media_root)
    if not before.image_path(next(before.records()).uri).is_file():
        pytest.skip("the images of the COCO sample are not here")
    write(before, tmp_path / "out", masks=True)
    after, issues, _ = read(tmp_path / "out", images=str(tmp_path / "media"))
    assert issues.total == 0
    compared = 0
    for old, new in zip(before.records(), after, strict=True):
        assert [t.crowd for t in old.objects] == [t.crowd for t in new.objects]
        assert old.attributes == new.attributes
        for one, two in zip(old.objects, new.objects, strict=True):
            outline, drawn = one.segmentation, two.segmentation
            if outline is None:
                continue
            assert drawn is not None
            size = [old.height, old.width]
            runs = (
                {"size": size, "counts": outline.counts}
                if outline.counts
                else coco_mask.merge(coco_mask.frPyObjects([*map(list, outline.polygons)], *size))
            )
            assert (coco_mask.decode(runs) == coco_mask.decode(
                {"size": size, "counts": drawn.counts}
            )).all()  # fmt: skip
            compared += 1
    assert compared == before.counts.objects > 50


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path, whole: Dataset) -> None:
    for workers in (0, 2, 5):
        write(whole, tmp_path / str(workers), workers=workers, shards=2)
    names = sorted(path.name for path in (tmp_path / "0").iterdir())
    assert names == [
        "label_map.pbtxt",
        *("train.record-00000-of-00002", "train.record-00001-of-00002"),
        *("val.record-00000-of-00002", "val.record-00001-of-00002"),
    ]
    for name in names:
        first = (tmp_path / "0" / name).read_bytes()
        assert first == (tmp_path / "2" / name).read_bytes() == (tmp_path / "5" / name).read_bytes()


def many(tmp_path: Path, count: int) -> Dataset:
    for number in range(count):
        Image.effect_noise((200, 200), number + 1).save(
            tmp_path / f"{number:02}.png", compress_level=0
        )
    return store(
        tmp_path / "many.tlx",
        (Record(image_id=f"{n:02}", uri=f"{n:02}.png") for n in range(count)),
        Taxonomy.of(["car"]),
        tmp_path,
    )


def test_shards_are_bounded_and_read_in_order(tmp_path: Path) -> None:
    dataset = many(tmp_path, 30)
    report, _ = write(dataset, tmp_path / "sized", shard_megabytes=1)
    shards = [name for name in report.files if "data.record" in name]
    assert shards[0] == f"data.record-00000-of-{len(shards):05d}"
    assert len(shards) > 1
    assert all((tmp_path / "sized" / name).stat().st_size <= 1_000_000 for name in shards)
    found, _, _ = read(tmp_path / "sized")
    assert [record.image_id for record in found] == [f"{n:02}" for n in range(30)]
    report, _ = write(dataset, tmp_path / "ten", shards=10)
    sizes = [(tmp_path / "ten" / name).stat().st_size for name in report.files[:10]]
    assert max(sizes) <= 3 * 41_000
    assert min(sizes) >= 3 * 40_000
    assert [r.image_id for r in read(tmp_path / "ten")[0]] == [f"{n:02}" for n in range(30)]


def test_a_missing_shard_is_not_silent(tmp_path: Path) -> None:
    write(many(tmp_path, 4), tmp_path / "out", shards=4)
    (tmp_path / "out" / "data.record-00002-of-00004").unlink()
    with pytest.raises(DataError, match="data.record-00002-of-00004 is not there"):
        read(tmp_path / "out")
    found, issues, _ = read(tmp_path / "out", "skip")
    assert (len(found), issues.counts["missing-shard"]) == (3, 1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"shards": 2, "shard_megabytes": 1}, "exclude each other"),
        ({"shards": -1}, "--shards must be"),
        ({"ids": "source"}, "no distinct ids above 0"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, whole: Dataset, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        write(whole, tmp_path / "out", **options)


def test_ids_of_the_source_are_kept_with_their_gaps(tmp_path: Path, judge: Any) -> None:
    picture(tmp_path / "a.jpg")
    classes = Taxonomy((Category(name="bus", source_id=90), Category(name="car", source_id=3)))
    thing = Object(category="bus", box=Box(1, 2, 3, 4))
    record = Record(image_id="a", uri="a.jpg", objects=(thing,))
    dataset = store(tmp_path / "a.tlx", [record], classes, tmp_path)
    write(dataset, tmp_path / "out", ids="source")
    assert judge.read(tmp_path / "out/data.record")[0]["image/object/class/label"] == [90]
    assert read(tmp_path / "out")[2].names == ("car", "bus")


@pytest.mark.parametrize(
    ("name", "code"), [("gone.jpg", "no-image"), ("http://x/a.jpg", "remote-image"),
                       ("text.jpg", "bad-image"), ("a.bmp", "image-kind"),
                       ("turned.jpg", "size-mismatch")],
)  # fmt: skip
def test_images_that_cannot_go_into_a_record(tmp_path: Path, name: str, code: str) -> None:
    picture(tmp_path / "good.jpg")
    picture(tmp_path / "a.bmp")
    picture(tmp_path / "turned.jpg", 80, 100)
    (tmp_path / "text.jpg").write_text("no image")
    found = [
        Record(image_id="bad", uri=name, width=100, height=80),
        Record(image_id="good", uri="good.jpg"),
    ]
    dataset = store(tmp_path / "a.tlx", found, CLASSES, tmp_path)
    with pytest.raises(DataError) as caught:
        write(dataset, tmp_path / "fail")
    assert name in str(caught.value)
    assert caught.value.hint
    report, issues = write(dataset, tmp_path / "skip", "skip")
    assert (report.images, dict(issues.counts)) == (1, {code: 1})


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_other_kinds_of_images_are_encoded_anew_on_request(
    tmp_path: Path, judge: Any, kind: Any
) -> None:
    picture(tmp_path / "a.bmp")
    picture(tmp_path / "b.jpg")
    found = [Record(image_id=name, uri=name) for name in ("a.bmp", "b.jpg")]
    dataset = store(tmp_path / "a.tlx", found, CLASSES, tmp_path)
    write(dataset, tmp_path / "out", reencode=kind)
    first, second = judge.read(tmp_path / "out/data.record")
    assert first["image/format"] == [kind.encode()]
    assert second["image/encoded"] == [(tmp_path / "b.jpg").read_bytes()]


@pytest.mark.parametrize(
    ("box", "policy", "expected"),
    [
        (Box(-5, 0, 50, 40), None, "box-outside"),
        (Box(-0.5, 0, 50, 40), None, [-0.5]),
        (Box(-5, 0, 50, 40), "clip", [0.0]),
        (Box(-5, 0, 50, 40), "keep", [-5.0]),
        (Box(-5, 0, 50, 40), "drop", []),
        (Box(9, 9, 9, 20), None, "degenerate-box"),
        (Box(9, 9, 9, 20), "keep", [9.0]),
        (Box(float("nan"), 9, 9, 20), "drop", []),
        (Box(float("nan"), 9, 9, 20), "keep", "bad-box"),
        (Box(0, 0, 1e45, 20), "keep", "number-range"),
    ],
)
def test_bad_boxes_are_named_with_their_image(
    tmp_path: Path, box: Box, policy: Any, expected: Any
) -> None:
    picture(tmp_path / "a.jpg")
    record = Record(image_id="a.jpg", uri="a.jpg", objects=(Object(category="go", box=box),))
    dataset = store(tmp_path / "a.tlx", [record], CLASSES, tmp_path)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=r"a\.jpg"):
            write(dataset, tmp_path / "out", bad_boxes=policy)
        _, issues = write(dataset, tmp_path / "skip", "skip", bad_boxes=policy)
        assert issues.counts[expected] == issues.lost == 1
        return
    write(dataset, tmp_path / "out", bad_boxes=policy)
    (found,), _, _ = read(tmp_path / "out", bad_boxes="keep")
    assert [thing.box.xmin for thing in found.objects if thing.box] == expected


def make(path: Path, judge: Any, *examples: dict[str, Any]) -> Path:
    """A record file of foreign make."""
    data = b""
    for features in examples:
        image = features.pop("image/encoded", b"")
        kinds = {bytes: codec.bytes_entry, float: codec.float_entry, int: codec.integer_entry}
        entries = [kinds[type(values[0])](key, values) for key, values in features.items()]
        data += judge.frame(b"".join(codec.example(entries, "image/encoded", image)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def foreign(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "image/filename": [b"a.jpg"],
        "image/height": [80],
        "image/width": [100],
        "image/object/bbox/xmin": [0.5],
        "image/object/bbox/xmax": [0.75],
        "image/object/bbox/ymin": [0.0],
        "image/object/bbox/ymax": [1.0],
        "image/object/class/text": [b"car"],
    }
    return base | {f"image/{k.replace('__', '/')}": v for k, v in changes.items()}


def test_foreign_keys_become_flags_attributes_and_labels(tmp_path: Path, judge: Any) -> None:
    path = make(
        tmp_path / "a.record",
        judge,
        foreign(
            source_id=[b"0042"], object__group_of=[1], object__depiction=[0], object__weight=[0.5],
            object__truncated=[0.3], object__colour=["weiß".encode()], object__track__label=[9],
            object__difficult=[1], timestamp=[1234567], camera=[b"left"],
            class__text=[b"rain", b"fog"], class__confidence=[1.0, 0.0],
        ),
    )  # fmt: skip
    (record,), _, taxonomy = read(path)
    assert record.attributes == {"source_id": "0042", "timestamp": 1234567, "camera": "left"}
    assert record.labels == (Label("rain", True), Label("fog", False))
    (thing,) = record.objects
    assert thing.box == Box(50, 0, 75, 80)
    assert (thing.crowd, thing.difficult, thing.truncated, thing.occluded, thing.track) == (
        True, True, True, None, "9",
    )  # fmt: skip
    assert thing.attributes == {
        "group_of": True, "depiction": False, "weight": 0.5, "colour": "weiß",
    }  # fmt: skip
    assert taxonomy.names == ("car", "rain", "fog")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"object__bbox__xmax": [0.5, 0.6]}, "bad-record"),
        ({"object__class__text": [b"car", b"car"]}, "bad-record"),
        ({"height": [b"80"]}, "bad-record"),
        ({"object__bbox__xmin": [1]}, "bad-record"),
        ({"object__class__text": [b"\xff"]}, "bad-record"),
        ({"object__class__text": [b""]}, "unknown-class"),
        ({"object__is_crowd": [1, 0]}, "bad-list"),
        ({"object__mask": [b"no image"]}, "bad-mask"),
        ({"object__mask": [0.5, 1.0]}, "bad-mask"),
        ({"context_features": [0.5, 1.0]}, "unread-key"),
        ({"object__bbox__xmax": [0.1]}, "degenerate-box"),
        ({"height": [0]}, "no-size"),
        ({"object__keypoint__x": [0.1]}, "bad-list"),
    ],
)
def test_what_is_wrong_in_a_record_is_told_with_its_number(
    tmp_path: Path, judge: Any, changes: dict[str, Any], code: str
) -> None:
    good, bad = foreign(), foreign(**changes)
    good["image/filename"] = [b"good.jpg"]
    path = make(tmp_path / "a.record", judge, good, bad)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    found, issues, _ = read(path, "skip")
    assert issues.counts[code] == 1
    assert found[0].image_id == "good.jpg"


def test_a_truncated_file_is_told_with_its_record(tmp_path: Path, judge: Any) -> None:
    path = make(tmp_path / "a.record", judge, foreign(), foreign(filename=[b"b.jpg"]))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"a\.record at record 2: the record says"):
        read(path)
    found, issues, _ = read(path, "skip")
    assert (len(found), issues.counts["damaged-record"]) == (1, 1)


def test_a_sequence_example_ends_the_reading_under_any_policy(tmp_path: Path, judge: Any) -> None:
    path = tmp_path / "a.record"
    path.write_bytes(judge.frame(b"\x0a\x00\x12\x02\x0a\x00"))
    with pytest.raises(DataError, match="record 1: holds a SequenceExample"):
        read(path, "skip")


def test_names_in_records_lead_nowhere_else(tmp_path: Path, judge: Any, street: Path) -> None:
    image = (street / "a.jpg").read_bytes()
    names = [b"../../etc/passwd", b"/abs/b.jpg", b"C:\\dir\\c.jpg", b"x\x00y.jpg", b"", b"d" * 300]
    path = make(
        tmp_path / "in/a.record",
        judge,
        *(foreign(filename=[name], encoded=image) for name in names),
    )
    found, _, _ = read(path, images=str(tmp_path / "media"))
    media = (tmp_path / "media").resolve()
    for record in found:
        file = (media / record.uri).resolve()
        assert file.is_relative_to(media)
        assert file.read_bytes() == image
    assert found[2].uri == "dir/c.jpg"
    assert len({record.image_id for record in found}) == len(names)


def test_names_that_repeat(tmp_path: Path, judge: Any, street: Path) -> None:
    one, two = (street / "a.jpg").read_bytes(), (street / "empty.jpg").read_bytes()
    first, second = foreign(encoded=one), foreign(encoded=two, height=[48], width=[64])
    path = make(tmp_path / "in/a.record", judge, dict(first), dict(second), dict(first))
    with pytest.raises(DataError, match=r"a\.jpg is there twice"):
        read(path, images=str(tmp_path / "media"))
    found, issues, _ = read(path, "skip", images=str(tmp_path / "media"))
    assert [(r.image_id, r.uri) for r in found] == [("a.jpg", "a.jpg"), ("a-2.jpg", "a-2.jpg")]
    assert (tmp_path / "media/a-2.jpg").read_bytes() == two
    assert set(issues.counts) == {"renamed-image", "duplicate-image"}


def test_images_are_never_written_over_others_nor_into_the_input(
    tmp_path: Path, judge: Any, street: Path
) -> None:
    image = (street / "a.jpg").read_bytes()
    path = make(tmp_path / "in/a.record", judge, foreign(encoded=image))
    (tmp_path / "media").mkdir()
    (tmp_path / "media/a.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match="another image"):
        read(path, images=str(tmp_path / "media"))
    assert (tmp_path / "media/a.jpg").read_bytes() == b"mine"
    with pytest.raises(UsageError, match="never changed"):
        read(tmp_path / "in", images=str(tmp_path / "in/media"))


def test_images_beside_the_records_are_found(tmp_path: Path, judge: Any, street: Path) -> None:
    image = (street / "a.jpg").read_bytes()
    make(tmp_path / "in/a.record", judge, foreign(encoded=image))
    assert dict(read(tmp_path / "in")[1].counts) == {"images-inside": 1}
    shutil.copyfile(street / "a.jpg", tmp_path / "in/a.jpg")
    (record,), issues, _ = read(tmp_path / "in")
    assert (record.uri, issues.total) == ("a.jpg", 0)


def test_several_label_maps_have_to_be_chosen_from(tmp_path: Path, judge: Any) -> None:
    make(tmp_path / "a.record", judge, foreign(object__class__label=[4]))
    for name in ("old_labels.pbtxt", "new_labels.pbtxt"):
        (tmp_path / name).write_text(f"item {{ id: 4 name: '{name[:3]}' display_name: 'car' }}")
    with pytest.raises(UsageError, match="several label maps"):
        read(tmp_path)
    assert read(tmp_path, label_map="new_labels.pbtxt")[2].categories[0].source_id == 4


@given(
    st.integers(1, 8000), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**7)), min_size=1)
)
@settings(deadline=None)
def test_pixels_with_few_decimals_survive_32_bits(
    side: int, numbers: list[tuple[int, int]]
) -> None:
    wanted = []
    for digits, number in numbers:
        # Seven digits are what 32 bits hold.
        scale = 10 ** min(digits, 6 - len(str(side)))
        wanted.append(number % (side * scale) / scale)
    fractions = [float(np.float32(value / side)) for value in wanted]
    assert pixels(fractions, side) == wanted


@given(st.integers(1, 10_000), st.lists(st.floats(width=32)))
@settings(deadline=None)
def test_pixels_give_the_same_32_bits_again(side: int, fractions: list[float]) -> None:
    with np.errstate(over="ignore"):
        again = [np.float32(value / side) for value in pixels(fractions, side)]
    assert np.array(again, np.float32).tobytes() == np.array(fractions, np.float32).tobytes()
