"""Real files through every format: what comes back is what went in, but for the declared loss.

Labels whose images are not at hand get empty ones of their size. What no format can hold, such as a
box without an area, is taken out before: what happens to it then is for
``nothing_is_dropped_in_silence`` of the kit.
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlx.dataset import Dataset
from tlx.file_names import output_name
from tlx.host import installed
from tlx.media import IMAGE_SUFFIXES, image_size
from tlx.model import Box, Object, Record
from tlx.model import replace as changed
from tlx.testing import Trial, read, store
from tlx.testing.comparison import differences, undeclared

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLES = {
    "bccd": ("voc", "bccd"),
    "road signs": ("voc", "road_signs"),
    "light states": ("voc", "road_signs/annotations_light_states"),
    "star wars": ("voc", "seed_star_wars"),
    "labelformat's voc": ("voc", "labelformat_fixtures/PascalVOC"),
    "labelformat's coco": ("coco", "labelformat_fixtures/COCO"),
    "labelformat's labelbox": ("labelbox", "labelformat_fixtures/Labelbox"),
    "coco val2017": ("coco", "coco_val2017_sample/instances.json"),
    "coco masks": ("coco", "coco_val2017_sample/rle.json"),
    "peaches": ("coco", "seed_peaches/data/peaches_validation_coco.json"),
    "peach records": ("tfrecord", "seed_peaches/data/coco_val.record"),
    "bottle records": ("tfrecord", "seed_wastebottle/data/coco_train.record"),
    "pets": ("tfrecord", "tfrecord/pets_examples.record"),
    "roboflow records": ("tfrecord", "tfrecord/datumaro/roboflow_dataset"),
    "detection api": ("tfrecord", "tfrecord/datumaro/tf_detection_api_dataset"),
    "cvat manual, images": ("cvat", "cvat/official_doc_examples/images_1.1_example.xml"),
    "cvat manual, video": ("cvat", "cvat/official_doc_examples/video_1.1_example.xml"),
    "cvat points": ("cvat", "cvat/job_points"),
    "cvat polygons": ("cvat", "cvat/job_polygon_empty_images"),
    "cvat project": ("cvat", "cvat/datumaro_project_export"),
    "datumaro's images": ("cvat", "cvat/datumaro/for_images"),
    "datumaro's video": ("cvat", "cvat/datumaro/for_video"),
    "labelbox 2018": ("labelbox", "labelbox/legacy_2018/labelbox_1.json"),
    "labelbox 2018, points": ("labelbox", "labelbox/legacy_2018/labelbox_xy_1.json"),
    "labelbox 2021": ("labelbox", "labelbox/v1_2021/image_export.json"),
    "labelbox 2021, video": ("labelbox", "labelbox/v1_2021/video_export.json"),
    "labelbox 2023": ("labelbox", "labelbox/ndjson_2023/export-result.ndjson"),
    "boxes in a table": ("csv", "csv_conventions/image_csv_det/ann.csv"),
    "vott": ("csv", "csv_conventions/vott_csv_dataset/dataset"),
    "roboflow table": ("csv", "csv_conventions/roboflow_dataset/multiclass"),
}

FORMATS = [entry for entry in installed().all("format") if entry.distribution == "tlx"]
ADDED = ("coco_image_id",)
KEEP = ("bad_boxes", "outside")


@pytest.fixture(scope="module")
def prepared(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """The samples as datasets with an image for each record; each is made when it is asked for."""
    room = tmp_path_factory.mktemp("samples")

    class Made(dict[str, Dataset]):
        def __missing__(self, name: str) -> Dataset:
            source, path = SAMPLES[name]
            plugin = installed().source(source)
            upright = {"origin": "top-left"} if "legacy_2018" in path else {}
            found = read(plugin, shared_data / path, "skip", **kept(plugin), **upright)
            media = room / name / "media"
            records = [local(r, found.media_root, media) for r in found.records]
            self[name] = store(room / name / "sample.tlx", records, found.taxonomy, media)
            return self[name]

    return Made()


def kept(plugin: Any) -> dict[str, str]:
    """Options that keep boxes as they are."""
    hints = typing.get_type_hints(plugin.options)
    return {n: "keep" for n in KEEP if "keep" in typing.get_args(hints.get(n))}


def local(record: Record, before: Path, media: Path) -> Record:
    """The record with an image of its own below ``media``, and what any format can hold."""
    name = output_name(record.image_id) or "odd.png"
    if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        name += ".png"
    path = media / name
    path.parent.mkdir(parents=True, exist_ok=True)
    size = image_size(before / record.uri) if "://" not in record.uri else None
    if size is not None and Path(record.uri).suffix.lower() in {".png", ".jpg", ".jpeg"}:
        path.symlink_to(before / record.uri)
    else:
        size = (record.width or 640, record.height or 480)
        Image.new("1", size).save(path, "PNG")
    things: dict[Any, Object] = {}
    for thing in record.objects:
        if holdable(thing, size):
            things.setdefault((thing.category, thing.box), thing)
    objects = tuple(things.values())
    made: Record = changed(
        record, image_id=name, uri=name, width=size[0], height=size[1], objects=objects
    )
    return made


def holdable(thing: Object, size: tuple[int, int]) -> bool:
    box = thing.box
    return box is not None and Box.clip(box, *size) == box and box.width > 0 and box.height > 0


@pytest.mark.parametrize("entry", FORMATS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_real_sample_comes_back(
    prepared: dict[str, Dataset], tmp_path: Path, sample: str, entry: Any
) -> None:
    dataset = prepared[sample]
    trial = Trial(
        entry.value, tmp_path, read_options=kept(entry.value), write_options=kept(entry.value)
    )
    trial.write(dataset, tmp_path / "out")
    again = trial.read(tmp_path / "out")
    rounding = dict.fromkeys(trial.traits().rounds, 1.0)
    found = differences(dataset.records(), again.records, added_attributes=ADDED, rounding=rounding)
    assert undeclared(found, trial.traits()) == {}
    seen = {name: sum(o.category == name for r in again.records for o in r.objects)
            for name in dataset.taxonomy.names}  # fmt: skip
    assert seen == dataset.counts.objects_by_category
    assert dataset.counts.objects or dataset.counts.negatives
