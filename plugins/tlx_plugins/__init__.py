"""The built-in sources, formats, viewers and commands of tlx, found like anybody's plugin."""

from __future__ import annotations

from tlx.api import Command, Decoder, Format, Source, Viewer
from tlx.hooks import hookimpl
from tlx_plugins.demo.command import DemoCommand
from tlx_plugins.fetching.command import FetchCommand
from tlx_plugins.formats.coco import CocoFormat
from tlx_plugins.formats.coco_results import CocoResultsCommand
from tlx_plugins.formats.csv_format import CsvFormat
from tlx_plugins.formats.cvat import CvatFormat
from tlx_plugins.formats.parquet import ParquetFormat
from tlx_plugins.formats.tfrecord import TfrecordFormat
from tlx_plugins.formats.voc import VocFormat
from tlx_plugins.formats.yolo import YoloFormat
from tlx_plugins.sources.driveu import DriveuSource
from tlx_plugins.sources.driveu_decoder import DriveuDecoder
from tlx_plugins.sources.labelbox import LabelboxSource
from tlx_plugins.sources.lisa import LisaSource
from tlx_plugins.sources.lisa_signs import LisaSignSource
from tlx_plugins.sources.road_csv import RoadCsvSource
from tlx_plugins.viewers.fiftyone_app import FiftyOneViewer


@hookimpl
def tlx_sources() -> list[Source]:
    """Readers of published datasets and of labelling tools' exports."""
    return [
        DriveuSource(),
        LabelboxSource(),
        LisaSource(),
        LisaSignSource(),
        RoadCsvSource(),
    ]


@hookimpl
def tlx_formats() -> list[Format]:
    """Formats that are read and written."""
    return [
        CocoFormat(),
        CsvFormat(),
        CvatFormat(),
        ParquetFormat(),
        TfrecordFormat(),
        VocFormat(),
        YoloFormat(),
    ]


@hookimpl
def tlx_viewers() -> list[Viewer]:
    """Viewers of datasets and mistakes."""
    return [FiftyOneViewer()]


@hookimpl
def tlx_decoders() -> list[Decoder]:
    """Decoders of raw images."""
    return [DriveuDecoder()]


@hookimpl
def tlx_commands() -> list[Command]:
    """Commands of their own."""
    return [CocoResultsCommand(), DemoCommand(), FetchCommand()]
