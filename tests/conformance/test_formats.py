"""Every built-in format keeps the promises of the kit."""

from __future__ import annotations

from tlx.testing import FormatChecks
from tlx_plugins.formats.coco import CocoFormat
from tlx_plugins.formats.csv_format import CsvFormat
from tlx_plugins.formats.tfrecord import TfrecordFormat
from tlx_plugins.formats.voc import VocFormat
from tlx_plugins.formats.yolo import YoloFormat


class TestYolo(FormatChecks):
    plugin = YoloFormat()


class TestVoc(FormatChecks):
    plugin = VocFormat()


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


class TestTfrecord(FormatChecks):
    plugin = TfrecordFormat()
    returns_anyway = {"objects.rotation": "TensorFlow does not see the key that tlx adds"}
