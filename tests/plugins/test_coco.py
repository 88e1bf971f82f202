"""COCO read and written; pycocotools judges what is written."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as judge
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import tlx
from tlx.context import Context
from tlx.dataset import Dataset, Operation, write_dataset
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import IssueLog
from tlx.model import Box, Category, Keypoint, Object, Record, Segmentation, Shape, Taxonomy
from tlx.schema import batch_to_records
from tlx_plugins.formats import coco_rle, coco_sections
from tlx_plugins.formats.coco import CocoFormat, CocoOptions
from tlx_plugins.formats.coco_results import CocoResultsCommand, CocoResultsOptions

DATA = Path(__file__).parents[2].parent / "shared" / "data"
FORMAT = CocoFormat()

# pycocotools' own decoder is behind NumPy's protocol for copies.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def store(folder: Path, records: Iterable[Record], taxonomy: Any, root: Path) -> Dataset:
    lineage = (Operation(name="test", version="0"),)
    return write_dataset(folder, records, taxonomy, root, lineage)


def read(
    root: Path, policy: str = "fail", **options: Any
) -> tuple[list[Record], IssueLog, Taxonomy]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = FORMAT.read(root, CocoOptions(**options), context)
    records = [record for batch in reading.content for record in batch_to_records(batch)]  # type: ignore[arg-type]
    assert callable(reading.taxonomy)
    return records, context.issues, reading.taxonomy()  # type: ignore[return-value]


def dataset_of(root: Path, folder: Path, **options: Any) -> Dataset:
    reading = FORMAT.read(root, CocoOptions(**options), Context())
    return store(folder, reading.content, reading.taxonomy, reading.media_root)


def write(dataset: Dataset, dest: Path, policy: str = "fail", **options: Any) -> Any:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    return FORMAT.write(dataset, dest, CocoOptions(**options), context)


def document(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 80}],
        "annotations": [{"id": 3, "image_id": 7, "category_id": 5, "bbox": [10, 20, 30, 40]}],
        "categories": [{"id": 5, "name": "car"}, {"id": 2, "name": "bus"}],
    }
    return value | changes


def annotated(**changes: Any) -> dict[str, Any]:
    base = {"id": 3, "image_id": 7, "category_id": 5, "bbox": [10, 20, 30, 40]}
    return document(annotations=[base | changes])


def load_judge(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def save(value: Any, name: str = "labels.json") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return save


def alike(record: Record) -> Record:
    """What must survive: all but where the label file and the image folder lie."""
    name = record.image_id.rpartition("/")[2]
    return msgspec.structs.replace(record, origin=None, split=None, image_id=name, uri=name)


REAL = [
    "coco_val2017_sample/instances.json",
    "coco_val2017_sample/rle.json",
    "labelformat_fixtures/COCO/train.json",
    "seed_peaches/data/peaches_training_coco.json",
    "seed_peaches/data/peaches_test_coco.json",
]


@pytest.mark.parametrize("name", REAL)
def test_real_files_round_trip_and_open_in_pycocotools(tmp_path: Path, name: str) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no folder {DATA}")
    first = dataset_of(DATA / name, tmp_path / "a.tlx")
    source = json.loads((DATA / name).read_text())
    assert first.counts.images == len(source["images"])
    assert first.counts.objects == len(source["annotations"])
    report = write(first, tmp_path / "out")
    assert (report.images, report.objects) == (first.counts.images, first.counts.objects)
    second = dataset_of(tmp_path / "out", tmp_path / "b.tlx")
    assert [alike(r) for r in first.records()] == [alike(r) for r in second.records()]
    assert first.taxonomy == second.taxonomy
    opened = load_judge(tmp_path / "out" / report.files[0])
    assert min(opened.anns) >= 1
    assert min(opened.imgs) >= 1
    source_ids = {c["id"] for c in source["categories"]}
    assert set(opened.cats) == source_ids
    for annotation in opened.anns.values():
        if annotation.get("segmentation"):
            assert opened.annToMask(annotation).any()


@pytest.mark.parametrize("name", REAL[:2])
def test_perfect_predictions_score_one(tmp_path: Path, name: str) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no folder {DATA}")
    write(dataset_of(DATA / name, tmp_path / "a.tlx"), tmp_path / "labels.json")
    truth, written = load_judge(DATA / name), load_judge(tmp_path / "labels.json")
    results = [
        {k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 1.0}
        for a in truth.anns.values()
        if not a["iscrowd"]
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(written, written.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0, abs=1e-12)
    # The pixels of every mask are those of the source.
    for number, annotation in truth.anns.items():
        assert np.array_equal(truth.annToMask(annotation), written.annToMask(written.anns[number]))
        assert written.anns[number]["area"] == pytest.approx(annotation["area"], rel=1e-9)
        assert written.anns[number]["iscrowd"] == annotation["iscrowd"]


@pytest.mark.parametrize(
    ("folder", "boxes"), [("seed_peaches/data", 28), ("seed_wastebottle/data", 9)]
)
def test_boxes_counted_from_the_bottom_are_found(folder: str, boxes: int) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no folder {DATA}")
    _, issues, _ = read(DATA / folder)
    assert issues.counts == {"box-outline-mismatch": boxes}
    assert all("counted from the bottom" in issue.message for issue in issues.kept)
    records, issues, _ = read(DATA / folder, box_from="outline")
    assert issues.actions == {"requested": boxes}
    for record in records:
        for thing in record.objects:
            assert thing.segmentation is not None
            assert thing.box is not None
            assert thing.box.ymax == max(max(p[1::2]) for p in thing.segmentation.polygons)


def test_splits_of_the_seed(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no folder {DATA}")
    dataset = dataset_of(DATA / "seed_peaches" / "data", tmp_path / "a.tlx")
    assert dataset.counts.images_by_split == {"test": 2, "train": 6, "val": 2}
    report = write(dataset, tmp_path / "out")
    assert report.files == tuple(
        f"annotations/instances_{s}.json" for s in ("test", "train", "val")
    )
    again = dataset_of(tmp_path / "out", tmp_path / "b.tlx")
    assert again.counts.images_by_split == dataset.counts.images_by_split
    with pytest.raises(UsageError, match="3 splits"):
        write(dataset, tmp_path / "one.json")


class TestReading:
    def test_fields(self, put: Any) -> None:
        value = annotated(
            iscrowd=1,
            attributes={"occluded": True, "track_id": 4, "color": "red", "n": 3, "none": None},
        )
        (record,), issues, taxonomy = read(put(value))
        (thing,) = record.objects
        assert (thing.box, thing.object_id, thing.category) == (Box(10, 20, 40, 60), "3", "car")
        assert (thing.crowd, thing.occluded, thing.difficult) == (True, True, None)
        assert (thing.track, thing.attributes) == ("4", {"color": "red", "n": 3})
        assert record.attributes == {"coco_image_id": 7}
        assert (record.width, record.height, record.split) == (100, 80, None)
        assert taxonomy.categories == (
            Category(name="car", source_id=5),
            Category(name="bus", source_id=2),
        )
        assert issues.total == 0

    def test_ids_as_text_and_urls(self, put: Any) -> None:
        image = {"id": "x1", "file_name": "https://host/a%20b.jpg?x=1", "width": 9, "height": 9}
        thing = {"id": "q", "image_id": "x1", "category_id": 5, "bbox": [1, 1, 2, 2]}
        (record,), _, _ = read(put(document(images=[image], annotations=[thing])))
        assert record.uri == "https://host/a%20b.jpg?x=1"
        assert record.objects[0].object_id == "q"

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (annotated(image_id=8), "unknown-image"),
            (annotated(category_id=6), "unknown-category"),
            (annotated(bbox=None), "no-box"),
            (annotated(bbox=[1, 2, float("nan"), 4]), "bad-box"),
            (annotated(bbox=[1, 2, float("inf"), 4]), "bad-box"),
            (annotated(bbox=[1, 2, 3]), "bad-box"),
            (annotated(bbox=[1, 2, -3, 4]), "degenerate-box"),
            (annotated(bbox=[1, 2, 0, 4]), "degenerate-box"),
            (annotated(segmentation=[[1, 2, 3, 4, 5]]), "bad-outline"),
            (annotated(segmentation=[1, 2, 3, 4, 5, 6]), "bad-outline"),
            (annotated(segmentation={"size": [4, 4], "counts": [3]}), "bad-outline"),
            (annotated(segmentation={"size": [4, 4], "counts": "\u00e9"}), "bad-outline"),
            (annotated(keypoints=[1, 2]), "bad-keypoints"),
            (annotated(attributes={"a": [1]}), "bad-attribute"),
            (document(images=[*document()["images"]] * 2), "duplicate-image-id"),
            (
                document(images=[document()["images"][0], document()["images"][0] | {"id": 8}]),
                "duplicate-image",
            ),
            (document(images=[{"id": 7, "width": 5, "height": 5}]), "no-file-name"),
            (document(images=[document()["images"][0] | {"width": -5}]), "bad-size"),
            (
                document(categories=[{"id": 5, "name": "a"}, {"id": 5, "name": "b"}]),
                "duplicate-category",
            ),
        ],
    )
    def test_bad_records(self, put: Any, value: Any, code: str) -> None:
        path = put(value)
        _, issues, _ = read(path, "skip")
        assert issues.counts == {code: 1}
        assert issues.lost == 1
        with pytest.raises(DataError, match=r"labels\.json: \$\."):
            read(path)

    def test_box_from_an_outline(self, put: Any) -> None:
        value = annotated(bbox=None, segmentation=[[10, 10, 20, 12, 15, 30]])
        (record,), issues, _ = read(put(value))
        assert record.objects[0].box == Box(10, 10, 20, 30)
        assert issues.actions == {"kept": 1}

    def test_box_outside(self, put: Any) -> None:
        path = put(annotated(bbox=[90, 20, 30, 40]))
        assert read(path)[0][0].objects[0].box == Box(90, 20, 120, 60)
        assert read(path, bad_boxes="clip")[0][0].objects[0].box == Box(90, 20, 100, 60)
        assert read(path, bad_boxes="drop")[0][0].objects == ()

    def test_one_name_with_two_ids_is_one_class(self, put: Any) -> None:
        value = document(categories=[{"id": 5, "name": "car"}, {"id": 0, "name": "car"}])
        _, issues, taxonomy = read(put(value))
        assert taxonomy.names == ("car",)
        assert issues.actions == {"merged": 1}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "is not JSON"),
            ('{"images": [', r"labels\.json:1: is not JSON"),
            ('{"annotations": []}', "missing required field `images`"),
            (json.dumps(document(images=[{"id": 1, "width": "9"}])), r"at \$\.images\[0\]\.width"),
            ('[{"image_id": 1, "score": 0.5}]', "results"),
        ],
    )
    def test_no_coco(self, put: Any, text: str, said: str) -> None:
        with pytest.raises(DataError, match=said):
            read(put(text))

    def test_numbers_beyond_all_measure_are_bad_numbers(self, put: Any) -> None:
        huge = 10**400
        thing = {"id": 3, "image_id": 7, "category_id": 5, "bbox": [10, 20, 30, 40]}
        things = [
            {**thing, "bbox": [10, 20, huge, 40]},
            {**thing, "id": 4, "area": huge},
            {**thing, "id": 5, "bbox": [1, 2, 3, 4], "keypoints": [huge, 5, 2]},
        ]
        records, issues, _ = read(put(json.dumps(document(annotations=things))), "skip")
        assert dict(issues.counts) == {"bad-box": 1, "bad-area": 1, "bad-keypoints": 1}
        assert [o.box for o in records[0].objects] == [Box(10, 20, 40, 60), Box(1, 2, 4, 6)]

    def test_wrong_places(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="does not exist"):
            read(tmp_path / "none")
        with pytest.raises(DataError, match=r"looked for annotations/\*\.json.*empty"):
            read(tmp_path)
        with pytest.raises(UsageError, match=r"x\.json is not a file"):
            read(tmp_path, annotations="x.json")

    def test_the_layout_of_the_original(self, put: Any, tmp_path: Path) -> None:
        put(document(), "annotations/instances_val2017.json")
        other = document(images=[document()["images"][0] | {"file_name": "b.jpg"}])
        put(other, "annotations/instances_train2017.json")
        put(document(), "annotations/captions_val2017.json")
        for folder, name in (("val2017", "a.jpg"), ("train2017", "b.jpg")):
            (tmp_path / folder).mkdir()
            Image.new("RGB", (100, 80)).save(tmp_path / folder / name)
        records, issues, _ = read(tmp_path)
        assert [(r.split, r.uri) for r in records] == [
            ("train", "train2017/b.jpg"),
            ("val", "val2017/a.jpg"),
        ]
        assert issues.counts == {"other-file": 1}

    def test_the_layout_of_roboflow(self, put: Any) -> None:
        path = None
        for folder in ("train", "valid"):
            path = put(document(), f"{folder}/_annotations.coco.json")
            (path.parent / "a.jpg").touch()
        assert path is not None
        records, issues, _ = read(path.parent.parent)
        assert [(r.image_id, r.split) for r in records] == [
            ("train/a.jpg", "train"),
            ("valid/a.jpg", "val"),
        ]
        assert issues.total == 0
        assert FORMAT.sniff(path.parent.parent).ok


def rich() -> tuple[list[Record], Taxonomy]:
    taxonomy = Taxonomy((Category(name="a"), Category(name="b", supercategory="s")))
    things = (
        Object(
            category="b",
            box=Box(372.03, 0.5, 767.96, 9.25),
            object_id="uuid-1",
            rotation=12.5,
            track="t9",
            crowd=False,
            difficult=True,
            truncated=False,
            occluded=True,
            attributes={"color": "red", "n": 3, "x": 0.25, "yes": True},
            keypoints=(Keypoint(1.0, 2.0, 2, "nose"), Keypoint(0.0, 0.0, 0, "eye")),
        ),
        Object(category="a", box=Box(1, 2, 3, 4), crowd=False, object_id="uuid-2"),
    )
    records = [
        Record(
            image_id="x/1.jpg",
            uri="x/1.jpg",
            width=800,
            height=600,
            split="train",
            objects=things,
            attributes={"coco_image_id": 40, "weather": "rain"},
        ),
        Record(
            image_id="2.jpg",
            uri="2.jpg",
            width=800,
            height=600,
            split="a/b",
            attributes={"coco_image_id": 41},
        ),
    ]
    return records, taxonomy


class TestWriting:
    def test_everything_comes_back(self, tmp_path: Path) -> None:
        records, taxonomy = rich()
        report = write(store(tmp_path / "a.tlx", records, taxonomy, tmp_path), tmp_path / "out")
        assert report.files == (
            "annotations/instances_a%2Fb.json",
            "annotations/instances_train.json",
        )
        again, _, classes = read(tmp_path / "out")
        plain = {r.image_id: msgspec.structs.replace(r, origin=None) for r in again}
        assert plain == {r.image_id: r for r in records}
        assert classes.names == taxonomy.names

    def test_numbers_and_ids(self, tmp_path: Path) -> None:
        records, taxonomy = rich()
        write(store(tmp_path / "a.tlx", records, taxonomy, tmp_path), tmp_path / "out")
        text = (tmp_path / "out/annotations/instances_train.json").read_text()
        value = json.loads(text)
        assert value["annotations"][0]["bbox"] == [372.03, 0.5, 395.93, 8.75]
        assert [a["id"] for a in value["annotations"]] == [1, 2]
        assert value["images"][0]["id"] == 40
        assert [c["id"] for c in value["categories"]] == [1, 2]
        assert value["categories"][1]["keypoints"] == ["nose", "eye"]
        assert "date" not in text
        assert value["licenses"] == []
        assert "segmentation" not in value["annotations"][0]

    def test_same_input_same_bytes_and_untouched(self, tmp_path: Path) -> None:
        records, taxonomy = rich()
        dataset = store(tmp_path / "a.tlx", records, taxonomy, tmp_path)
        before = dataset.fingerprint
        outputs = []
        for name in ("one", "two"):
            report = write(dataset, tmp_path / name)
            outputs.append([(tmp_path / name / f).read_bytes() for f in report.files])
        assert outputs[0] == outputs[1]
        assert Dataset.open(tmp_path / "a.tlx").fingerprint == before

    def test_new_ids(self, tmp_path: Path, put: Any) -> None:
        dataset = dataset_of(put(document()), tmp_path / "a.tlx")
        write(dataset, tmp_path / "kept.json")
        write(dataset, tmp_path / "new.json", ids="new")
        kept, new = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("kept", "new"))
        assert kept["images"][0]["id"] == 7
        assert kept["annotations"][0]["id"] == 3
        assert [c["id"] for c in kept["categories"]] == [5, 2]
        assert (new["images"][0]["id"], new["annotations"][0]["id"]) == (1, 1)
        assert [c["id"] for c in new["categories"]] == [1, 2]
        assert new["annotations"][0]["category_id"] == 1

    def test_size_from_the_image_or_a_word(self, tmp_path: Path) -> None:
        Image.new("RGB", (64, 48)).save(tmp_path / "here.png")
        records = [Record(image_id=n, uri=n) for n in ("here.png", "gone.png")]
        dataset = store(tmp_path / "a.tlx", records, Taxonomy.of(["a"]), tmp_path)
        with pytest.raises(DataError, match=r"size of gone\.png is not known"):
            write(dataset, tmp_path / "out")
        report = write(dataset, tmp_path / "skipped.json", "skip")
        assert report.images == 1
        image = load_judge(tmp_path / "skipped.json").imgs[1]
        assert (image["width"], image["height"]) == (64, 48)

    @pytest.mark.parametrize("media", ["copy", "hardlink", "symlink"])
    def test_images_come_along(self, tmp_path: Path, media: str) -> None:
        source = tmp_path / "in"
        (source / "deep").mkdir(parents=True)
        Image.new("RGB", (64, 48)).save(source / "deep/a.png")
        records = [Record(image_id="a", uri="deep/a.png")]
        dataset = store(tmp_path / "a.tlx", records, Taxonomy.of(["a"]), source)
        report = write(dataset, tmp_path / "out", media=media)
        assert "images/deep/a.png" in report.files
        assert (tmp_path / "out/images/deep/a.png").read_bytes() == (
            source / "deep/a.png"
        ).read_bytes()
        again, _, _ = read(tmp_path / "out")
        assert again[0].uri == "deep/a.png"

    def test_images_do_not_leave_the_folder(self, tmp_path: Path) -> None:
        records = [Record(image_id="a", uri="../a.png", width=5, height=5)]
        dataset = store(tmp_path / "a.tlx", records, Taxonomy.of(["a"]), tmp_path / "in")
        with pytest.raises(DataError, match="outside the media root"):
            write(dataset, tmp_path / "out", media="copy")


masks = st.integers(1, 12).flatmap(
    lambda height: st.integers(1, 12).flatmap(
        lambda width: st.lists(st.booleans(), min_size=height * width, max_size=height * width).map(
            lambda bits: np.array(bits, dtype=np.uint8).reshape(height, width)
        )
    )
)


@given(masks)
def test_run_lengths_agree_with_pycocotools(mask: np.ndarray) -> None:
    expected = judge.encode(np.asfortranarray(mask))
    counts = coco_rle.decompress(expected["counts"])
    assert sum(counts) == mask.size
    assert coco_rle.compress(counts) == expected["counts"]
    assert coco_rle.area(counts) == int(judge.area(expected))
    x, y, width, height = judge.toBbox(expected)
    found = coco_rle.bounds(counts, mask.shape[0])
    assert found == (None if not mask.any() else (x, y, x + width, y + height))


@given(st.lists(st.integers(0, 2**31), max_size=9))
def test_run_lengths_come_back(counts: list[int]) -> None:
    assert coco_rle.decompress(coco_rle.compress(counts)) == counts


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = ["id", "image_id", "category_id", "bbox", "segmentation", "iscrowd", "area", "keypoints",
        "attributes"]  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3),
    st.dictionaries(
        st.sampled_from(["id", "file_name", "width", "height"]), json_values, max_size=2
    ),
    st.sampled_from(["fail", "skip"]),
)
@settings(max_examples=300, deadline=None)
def test_any_values_give_records_or_a_tlx_error(
    tmp_path_factory: pytest.TempPathFactory,
    thing: dict[str, Any],
    image: dict[str, Any],
    policy: str,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / "labels.json"
    value = annotated(**thing)
    value["images"][0] |= image
    path.write_text(json.dumps(value))
    with contextlib.suppress(TlxError):
        records, _, taxonomy = read(path, policy)
        dataset = store(folder / "a.tlx", records, taxonomy, folder)
        assert list(dataset.records()) == records


def test_segmentation_keeps_its_kind(tmp_path: Path) -> None:
    letters = coco_rle.compress([2, 3, 7])
    things = tuple(
        Object(category="a", segmentation=s)
        for s in (
            Segmentation(counts=letters, size=(3, 4), compressed=True),
            Segmentation(counts=letters, size=(3, 4), compressed=False),
            Segmentation(polygons=((0.0, 0.0, 2.0, 0.0, 2.0, 2.0),)),
        )
    )
    record = Record(image_id="a", uri="a", width=4, height=3, objects=things)
    dataset = store(tmp_path / "a.tlx", [record], Taxonomy.of(["a"]), tmp_path)
    write(dataset, tmp_path / "out.json")
    value = json.loads((tmp_path / "out.json").read_text())
    kinds = [a["segmentation"] for a in value["annotations"]]
    assert kinds[0] == {"size": [3, 4], "counts": letters.decode()}
    assert kinds[1] == {"size": [3, 4], "counts": [2, 3, 7]}
    assert [a["area"] for a in value["annotations"]] == [3.0, 3.0, 2.0]
    again, _, _ = read(tmp_path / "out.json")
    assert [o.segmentation for o in again[0].objects] == [o.segmentation for o in things]


@pytest.mark.parametrize(
    ("encoding", "fine"), [("utf-16", True), ("utf-8-sig", True), ("latin-1", False)]
)
def test_encodings_are_told_apart(tmp_path: Path, encoding: str, fine: bool) -> None:
    text = (
        '{"images": [{"id": 1, "file_name": "Stra\u00dfe.jpg", "width": 9, "height": 9}],\n'
        '"annotations": [], "categories": []}'
    )
    file = tmp_path / "a.json"
    file.write_bytes(text.encode(encoding))

    def names() -> list[str]:
        return [record.uri for record in read(file)[0]]

    if fine:
        assert [name.rsplit("/", 1)[-1] for name in names()] == ["Stra\u00dfe.jpg"]
    else:
        with pytest.raises(DataError, match="a.json:1: is not JSON text: it is not in UTF-8"):
            names()


def test_an_object_that_coco_has_no_place_for(tmp_path: Path) -> None:
    line = Object(category="lane", shape=Shape("polyline", (1.0, 2.0, 3.0, 4.0)))
    box = Object(category="lane", box=Box(1, 2, 3, 4))
    record = Record(image_id="a", uri="a.jpg", width=9, height=9, objects=(line, box))
    dataset = store(tmp_path / "a.tlx", [record], Taxonomy.of(["lane"]), tmp_path)
    with pytest.raises(DataError, match="no box and no outline"):
        write(dataset, tmp_path / "failed")
    assert write(dataset, tmp_path / "out", "skip").objects == 1


def test_what_only_coco_knows_comes_back(tmp_path: Path, put: Any) -> None:
    value = annotated(
        segmentation=[[10, 20, 40, 20, 40, 60]], area=600, score_of_mine=0.5, tags=[1]
    )
    value["images"][0] |= {
        "license": 3,
        "flickr_url": "http://x",
        "date_captured": "2013",
        "odd": {"a": 1},
    }
    value["images"].append({"id": 9, "file_name": "b.jpg", "width": 5, "height": 5, "license": 1})
    value["categories"][0] |= {"skeleton": [[1, 2]], "frequency": "f"}
    value |= {"info": {"year": 2017}, "licenses": [{"id": 3, "name": "BY", "url": "u"}]}
    write(ingested(put(value), tmp_path / "a.tlx"), tmp_path / "out.json")
    again = json.loads((tmp_path / "out.json").read_text())
    for section in ("info", "licenses", "images", "categories"):
        assert again[section] == value[section]
    assert again["annotations"] == [value["annotations"][0] | {"iscrowd": 0}]


def ingested(path: Path, dest: Path) -> Dataset:
    return tlx.ingest("coco", path, dest)


numbers = st.floats(-20, 130, width=16) | st.integers(-20, 130)
polygon = st.lists(numbers, min_size=4, max_size=9)
plain_things = st.fixed_dictionaries(
    {
        "image_id": st.sampled_from([7, 7, 7, 8, "7", 99]),
        "category_id": st.sampled_from([5, 5, 2, "2", 4]),
        "bbox": st.lists(numbers, min_size=4, max_size=4),
    },
    optional={
        "id": st.integers(1, 9) | st.sampled_from(["a", None]),
        "area": st.none() | numbers | st.just(0),
        "iscrowd": st.sampled_from([0, 1, True, None]),
        "segmentation": st.lists(polygon, max_size=2)
        | st.sampled_from([None, {"size": [2, 2], "counts": [1, 3]}, [[[]]], [1], "x"]),
        "attributes": st.sampled_from([None, {"color": "red"}]),
        "keypoints": st.sampled_from([None, [1, 2, 2]]),
        "more": st.sampled_from([None, 1]),
    },
)


def plainly(value: dict[str, Any]) -> tuple[dict[str, list[Any]], list[str]]:
    """The rules once more, without columns: objects by image, and issue codes in their order."""
    names = {str(c["id"]): c["name"] for c in value["categories"]}
    codes: list[str] = []
    found: dict[str, list[Any]] = {}
    for image in value["images"]:
        things = [a for a in value["annotations"] if str(a["image_id"]) == str(image["id"])]
        objects = [plain_object(a, names, image, codes) for a in things]
        found[image["file_name"]] = kept = []
        boxes = [thing[1] for thing in objects if thing]
        for thing in objects:
            if len(set(boxes)) < len(boxes) and repr(thing) in map(repr, kept):
                codes += ["duplicate-object"] * (thing is not None)
            elif thing:
                kept.append(thing)
    ids = {str(i["id"]) for i in value["images"]}
    codes += ["unknown-image" for a in value["annotations"] if str(a["image_id"]) not in ids]
    return found, codes


def plain_outline(outline: Any, codes: list[str]) -> Any:
    polygons: list[list[float]] = []
    mask = None
    if isinstance(outline, list):
        fits = all(
            isinstance(p, list) and all(isinstance(n, int | float) for n in p) for p in outline
        )
        if fits and all(len(p) >= 6 and len(p) % 2 == 0 for p in outline):
            polygons = [[float(n) for n in p] for p in outline]
        else:
            codes.append("bad-outline")
    elif isinstance(outline, dict):
        mask = judge.frPyObjects(outline, *outline["size"])
    elif outline is not None:
        codes.append("bad-outline")
    return polygons, mask


def plain_object(
    a: dict[str, Any], names: dict[str, str], image: dict[str, Any], codes: list[str]
) -> Any:
    if str(a["category_id"]) not in names:
        codes.append("unknown-category")
        return None
    polygons, mask = plain_outline(a.get("segmentation"), codes)
    x, y, width, height = map(float, a["bbox"])
    box = (x, y, x + width, y + height)
    if polygons:
        xs, ys = [n for p in polygons for n in p[0::2]], [n for p in polygons for n in p[1::2]]
        spans = (min(xs), min(ys), max(xs), max(ys))
        if max(abs(p - q) for p, q in zip(box, spans, strict=True)) >= 1:
            codes.append("box-outline-mismatch")
    if box[2] <= box[0] or box[3] <= box[1]:
        codes.append("degenerate-box")
        return None
    over = max(-box[0], -box[1], box[2] - image["width"], box[3] - image["height"])
    if over > 1:
        codes.append("box-outside")
    computed = (box[2] - box[0]) * (box[3] - box[1])
    if polygons:
        computed = sum(abs(shoelace(p)) for p in polygons)
    elif mask is not None:
        computed = float(judge.area(mask))
    attributes = dict(a.get("attributes") or {})
    if a.get("more") is not None:
        attributes["coco.more"] = a["more"]
    area = a.get("area")
    if area is not None and abs(area - computed) > 1e-6 * abs(area):
        attributes["area"] = float(area)
    crowd = a.get("iscrowd")
    identity = a.get("id")
    return (
        names[str(a["category_id"])], box, polygons, None if mask is None else mask["counts"],
        None if identity is None else str(identity), None if crowd is None else bool(crowd),
        attributes, bool(a.get("keypoints")),
    )  # fmt: skip


def shoelace(p: list[float]) -> float:
    points = list(zip(p[0::2], p[1::2], strict=True))
    pairs = zip(points, points[1:] + points[:1], strict=True)
    return math.fsum(x * v - u * y for (x, y), (u, v) in pairs) / 2


def seen_in(thing: Object) -> Any:
    outline = thing.segmentation
    box = thing.box
    assert box is not None
    return (
        thing.category, (box.xmin, box.ymin, box.xmax, box.ymax),
        [list(p) for p in outline.polygons] if outline else [], outline.counts if outline else None,
        thing.object_id, thing.crowd, dict(thing.attributes), bool(thing.keypoints),
    )  # fmt: skip


@given(st.lists(plain_things, max_size=6), st.sampled_from([1 << 24, 1]))
@settings(max_examples=120, deadline=None)
def test_columns_say_what_a_plain_reading_says(
    tmp_path_factory: pytest.TempPathFactory, things: list[dict[str, Any]], piece: int
) -> None:
    second = {"id": "8", "file_name": "b.jpg", "width": 60, "height": 90}
    value = document(images=[*document()["images"], second], annotations=things)
    path = tmp_path_factory.mktemp("plain") / "labels.json"
    path.write_text(json.dumps(value))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_sections, "PIECE", piece)
        records, issues, _ = read(path, "skip")
    expected, codes = plainly(value)
    found = {r.image_id: [seen_in(thing) for thing in r.objects] for r in records}
    # An area of nothing but rounding noise may count as stated or not.
    assert found == expected or any(a.get("area") == 0 for a in things)
    assert [issue.code for issue in issues.kept] == codes


def test_results_become_predictions_and_come_back(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no folder {DATA}")
    source = DATA / REAL[0]
    dataset = ingested(source, tmp_path / "a.tlx")
    truth = load_judge(source)
    results = [
        {k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.25 + a["id"] % 7 / 10}
        for a in truth.anns.values()
        if not a["iscrowd"]
    ]
    given = tmp_path / "results.json"
    given.write_text(json.dumps(results))
    options = CocoResultsOptions(given, dataset.path)
    metrics = CocoResultsCommand().run(options, Context(), lambda line: None)
    assert metrics["ap"] == pytest.approx(1.0)
    back = CocoResultsOptions(tmp_path / "results.parquet", dataset.path, tmp_path / "b.json")
    CocoResultsCommand().run(back, Context(), lambda line: None)
    found = json.loads((tmp_path / "b.json").read_text())
    key = msgspec.json.Encoder(order="sorted").encode
    assert sorted(map(key, found)) == sorted(
        key(r | {"bbox": [float(n) for n in r["bbox"]]}) for r in results
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[{}]", "is not a COCO results file"),
        ('[{"image_id": 8, "category_id": 5, "bbox": [1, 2, 3, 4], "score": 1}]', "image id 8"),
        ('[{"image_id": 7, "category_id": 9, "bbox": [1, 2, 3, 4], "score": 1}]', "category id 9"),
        ('[{"image_id": 7, "category_id": 5, "bbox": [1, 2, 3], "score": 1}]', "no bbox of four"),
    ],
)
def test_bad_results_are_named(put: Any, tmp_path: Path, text: str, said: str) -> None:
    dataset = ingested(put(document()), tmp_path / "a.tlx")
    options = CocoResultsOptions(put(text, "results.json"), dataset.path)
    with pytest.raises(DataError, match=said):
        CocoResultsCommand().run(options, Context(), lambda line: None)
    assert not (tmp_path / "results.parquet").exists()
