"""Every built-in format keeps the promises of the kit; new ones are found by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from tlx.host import installed
from tlx.testing import FormatChecks
from tlx_plugins.formats.parquet import ParquetFormat
from tlx_plugins.formats.tfrecord import TfrecordFormat
from tlx_plugins.formats.voc import VocFormat
from tlx_plugins.formats.yolo import YoloFormat

# pycocotools on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LOSSES = (
    "every_field_survives_or_is_declared",
    "what_is_declared_lost_is_lost",
    "what_is_not_stated_stays_so",
)
ROTATION = {"objects.rotation": "TensorFlow does not see the key that tlx adds"}

SETTINGS: dict[str, dict[str, Any]] = {
    "coco": {"added_attributes": ("coco_image_id",)},
    "csv": {
        "expected_failures": {
            "classes_and_their_order_survive": "a table has no place for a class without a row, "
            "and no order but that of its rows",
        },
    },
    "cvat": {"added_attributes": ("cvat_image_id",)},
    "tfrecord": {"returns_anyway": ROTATION},
}

for entry in installed().all("format"):
    if entry.distribution == "tlx":
        name = f"Test{entry.name.title().replace('-', '')}"
        members = {"plugin": entry.value, **SETTINGS.get(entry.name, {})}
        globals()[name] = type(name, (FormatChecks,), members)


class TestYoloOutlines(FormatChecks):
    plugin = YoloFormat()
    write_options = {"task": "segment"}
    only = LOSSES


class TestYoloRotated(FormatChecks):
    plugin = YoloFormat()
    write_options = {"task": "obb", "outside": "keep"}
    only = LOSSES


class TestVocWholePixels(FormatChecks):
    plugin = VocFormat()
    write_options = {"corners": "integer"}
    only = LOSSES


class TestVocMasks(FormatChecks):
    plugin = VocFormat()
    write_options = {"masks": True}
    only = LOSSES


class TestParquetOfObjects(FormatChecks):
    plugin = ParquetFormat()
    write_options = {"rows": "objects"}
    only = LOSSES


class TestTfrecordMasks(FormatChecks):
    plugin = TfrecordFormat()
    write_options = {"masks": True}
    returns_anyway = ROTATION
    only = LOSSES
