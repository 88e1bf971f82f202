"""Every built-in format keeps the promises of the kit."""

from __future__ import annotations

import pytest

from tlx.testing import FormatChecks
from tlx_plugins.formats.coco import CocoFormat
from tlx_plugins.formats.csv_format import CsvFormat
from tlx_plugins.formats.cvat import CvatFormat
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


class TestYolo(FormatChecks):
    plugin = YoloFormat()


class TestYoloOutlines(FormatChecks):
    plugin = YoloFormat()
    write_options = {"task": "segment"}
    only = LOSSES


class TestYoloRotated(FormatChecks):
    plugin = YoloFormat()
    write_options = {"task": "obb", "outside": "keep"}
    only = LOSSES
    expected_failures = {
        "every_field_survives_or_is_declared": "the rectangle of an outline is another than its box"
    }


class TestVoc(FormatChecks):
    plugin = VocFormat()


class TestVocWholePixels(FormatChecks):
    plugin = VocFormat()
    write_options = {"corners": "integer"}
    only = LOSSES


class TestVocMasks(FormatChecks):
    plugin = VocFormat()
    write_options = {"masks": True}
    only = LOSSES


class TestCoco(FormatChecks):
    plugin = CocoFormat()
    added_attributes = ("coco_image_id",)
    expected_failures = {
        "reading_holds_little_in_memory": "one JSON document is decoded as a whole",
        "images_come_along_unharmed": "the folder of brought images becomes a part of their ids",
    }


class TestCsv(FormatChecks):
    plugin = CsvFormat()
    expected_failures = {
        "classes_and_their_order_survive": "a table lists the classes of its rows, nothing else",
        "reading_holds_little_in_memory": "what a column means is told by all of its cells",
    }


class TestCvat(FormatChecks):
    plugin = CvatFormat()
    added_attributes = ("cvat_image_id",)


class TestParquet(FormatChecks):
    plugin = ParquetFormat()


class TestParquetOfObjects(FormatChecks):
    plugin = ParquetFormat()
    write_options = {"rows": "objects"}


class TestTfrecord(FormatChecks):
    plugin = TfrecordFormat()
    returns_anyway = {"objects.rotation": "TensorFlow does not see the key that tlx adds"}


class TestTfrecordMasks(FormatChecks):
    plugin = TfrecordFormat()
    write_options = {"masks": True}
    returns_anyway = TestTfrecord.returns_anyway
    only = LOSSES
