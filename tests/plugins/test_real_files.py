"""Every real file is counted a second time by another parser, or it is said why it is no input.

Classes and objects are counted here with `json`, `xml.etree` and a decoder of records that knows
nothing of tlx; files whose meaning needs more than that have a test of their own, which is named.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tlx import host, testing

TESTS = Path(__file__).parent
Count = tuple[int, Counter[str]]


def count_coco(path: Path) -> Count:
    value = json.loads(path.read_text())
    names = {category["id"]: category["name"] for category in value["categories"]}
    found = Counter(names[annotation["category_id"]] for annotation in value["annotations"])
    return len(value["images"]), found


def count_segments(path: Path) -> Count:
    value = json.loads(path.read_text())
    names = {category["id"]: category["name"] for category in value["categories"]}
    segments = [segment for entry in value["annotations"] for segment in entry["segments_info"]]
    return len(value["images"]), Counter(names[segment["category_id"]] for segment in segments)


def count_voc(path: Path) -> Count:
    files = sorted(path.glob("*.xml"))
    found: Counter[str] = Counter()
    for file in files:
        root = ET.fromstring(file.read_bytes().strip())
        found.update(name.text or "" for name in root.iterfind("object/name"))
    return len(files), found


def count_cvat(path: Path) -> Count:
    root = ET.parse(path).getroot()
    images = root.findall("image")
    declared = {name.text for name in root.iterfind(".//label/name")}
    # Of tags only the ones of a label that the file does not declare: they are lost.
    return len(images), Counter(
        shape.get("label", "")
        for image in images
        for shape in image
        if shape.tag != "tag" or shape.get("label") not in declared
    )


def count_records(path: Path) -> Count:
    place = TESTS / "tfrecord" / "record_decoder.py"
    spec = importlib.util.spec_from_file_location("record_decoder", place)
    assert spec is not None
    assert spec.loader is not None
    decoder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(decoder)
    examples = decoder.read(path)
    found: Counter[str] = Counter()
    for example in examples:
        numbers = example.get("image/object/class/label", [])
        texts = example.get("image/object/class/text", [])
        found.update(text.decode() for text in texts)
        if not texts:
            found.update(dict(enumerate(_label_map(path), 1))[number] for number in numbers)
    return len(examples), found


def _label_map(path: Path) -> list[str]:
    """The names of a label map that numbers them from 1."""
    return re.findall(r"name: *['\"](.*?)['\"]", (path.parent / "label_map.pbtxt").read_text())


# Pattern: source, its options, what counts, and objects of the file that a policy leaves out.
COUNTED: dict[str, tuple[str, dict[str, Any], Callable[[Path], Count], Counter[str]]] = {
    "coco_val2017_sample/instances.json": ("coco", {}, count_coco, Counter()),
    "coco_val2017_sample/rle.json": ("coco", {}, count_coco, Counter()),
    "coco_val2017_sample/panoptic.json": ("coco", {}, count_segments, Counter()),
    "labelformat_fixtures/COCO/train.json": ("coco", {}, count_coco, Counter()),
    "seed_peaches/data/peaches_*_coco.json": ("coco", {}, count_coco, Counter()),
    "seed_wastebottle/data/coco_labels.json": ("coco", {}, count_coco, Counter()),
    "bccd/Annotations/*.xml": ("voc", {}, count_voc, Counter()),
    "road_signs/annotations/*.xml": ("voc", {}, count_voc, Counter()),
    "road_signs/annotations_light_states/*.xml": ("voc", {}, count_voc, Counter()),
    "seed_star_wars/annotations/xmls/*.xml": ("voc", {}, count_voc, Counter()),
    "labelformat_fixtures/PascalVOC/*.xml": ("voc", {}, count_voc, Counter()),
    "cvat/datumaro/for_images/train.xml": ("cvat", {}, count_cvat, Counter({"": 2})),
    "cvat/datumaro_project_export/annotations.xml": ("cvat", {}, count_cvat, Counter()),
    "cvat/job_points/annotations.xml": ("cvat", {}, count_cvat, Counter()),
    "cvat/job_polygon_empty_images/annotations.xml": ("cvat", {}, count_cvat, Counter()),
    "cvat/official_doc_examples/images_1.1_example.xml": (
        "cvat", {}, count_cvat, Counter({"good_frame": 1})),
    "seed_*/data/coco_*.record": ("tfrecord", {}, count_records, Counter()),
    "tfrecord/pets_examples.record": ("tfrecord", {}, count_records, Counter()),
    "tfrecord/datumaro/tf_detection_api_dataset/*.tfrecord": (
        "tfrecord", {}, count_records, Counter({"": 1})),
    "tfrecord/datumaro/roboflow_dataset/*/*/*.tfrecord": (
        "tfrecord", {}, count_records, Counter()),
}  # fmt: skip

# Pattern: the test that counts the files.
ELSEWHERE = {
    "cvat/*/for_video/annotations.xml": "test_cvat_video.py::test_real_video_files_have",
    "cvat/*/video_1.1_example.xml": "test_cvat_video.py::test_real_video_files_have",
    "labelbox/ndjson_2023/*.ndjson": "labelbox/test_real_files.py::test_ndjson",
    "labelformat_fixtures/Labelbox/*.ndjson": "labelbox/test_real_files.py::test_ndjson",
    "labelbox/v1_2021/highly_nested_image.json": "labelbox/test_real_files.py::test_nested",
    "labelbox/v1_2021/video_export.json": "labelbox/test_real_files.py::test_video_of_2021",
    "labelbox/v1_2021/*.json": "labelbox/test_real_files.py::test_json_of_2021",
    "labelbox/legacy_2018/empty_skipped.json": "labelbox/test_real_files.py::test_skipped",
    "labelbox/legacy_2018/*.json": "labelbox/test_real_files.py::test_json_of_2018",
    "csv_conventions/image_csv_det/*.csv": "test_csv.py::test_real_boxes",
    "csv_conventions/vott_csv_dataset/dataset/*.csv": "test_csv.py::test_real_boxes",
    "csv_conventions/image_csv*/*.csv": "test_csv.py::test_real_labels",
    "csv_conventions/image_txt/*.txt": "test_csv.py::test_real_table_of_blanks",
    "csv_conventions/image_txt_det/*.txt": "test_csv.py::test_real_boxes_without_a_header",
    "csv_conventions/roboflow_dataset/*.csv": "test_csv.py::test_real_roboflow_folder",
    "csv_conventions/celeba_dataset/dataset/Anno/*.txt": "test_csv.py::test_real_celeba",
    "seed_peaches/data/peach/image_urls.csv": "test_csv.py::test_a_list_of_addresses",
    "seed_star_wars/annotations/trainval.txt": "test_voc.py::test_the_lists_of_the_star_wars",
    "tfrecord/label_maps/*.pbtxt": "tfrecord/test_label_map.py::test_real_files",
}

NO_INPUTS = {
    "*/ORIGIN.md": "says where the files are from",
    "*.jpg": "an image, read with its labels",
    "*.png": "an image, read with its labels",
    "checkpoint_*/*.pth": "weights of a network",
    "seed_*/*.config": "the configuration of a training",
    "*/label_map.pbtxt": "read with the records beside it",
    "seed_star_wars/*/sw_label_map.pbtxt": "names no class of the labels beside it",
    "road_irap/*.xlsx": "spreadsheets; exported as CSV they are road-csv's",
}


def test_every_real_file_is_accounted_for(shared_data: Path) -> None:
    patterns = [*COUNTED, *ELSEWHERE, *NO_INPUTS]
    used: set[str] = set()
    files = [path.relative_to(shared_data).as_posix() for path in shared_data.rglob("*")
             if path.is_file()]  # fmt: skip
    for file in files:
        fitting = [pattern for pattern in patterns if fnmatch.fnmatch(file, pattern)]
        assert fitting, f"{file} is neither counted nor named as no input"
        used.update(fitting)
    assert not set(patterns) - used


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_the_tests_that_are_named_exist(place: str) -> None:
    file, _, name = place.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert any(function.startswith(name) for function in functions)


@pytest.mark.parametrize("pattern", COUNTED)
def test_another_parser_counts_the_same(shared_data: Path, pattern: str) -> None:
    source, options, count, left_out = COUNTED[pattern]
    found = sorted(shared_data.glob(pattern))
    assert found
    roots = sorted({path.parent for path in found}) if source == "voc" else found
    all_out: Counter[str] = Counter()
    for root in roots:
        images, objects = count(root)
        plugin = host.installed().source(source)
        found_there = testing.read(plugin, root, "skip", **options)
        records = found_there.records
        assert len(records) == images, root
        here = Counter(thing.category for record in records for thing in record.objects)
        assert not here - objects, root
        all_out += objects - here
        # What is left out is an issue, and nothing else is.
        assert found_there.issues.lost == sum((objects - here).values()), root
    assert all_out == left_out
