"""The built-in sources, formats, viewers and commands of tlx, found like anybody's plugin."""

from __future__ import annotations

from tlx.api import Format, Source
from tlx.hooks import hookimpl
from tlx_plugins.formats.coco import CocoFormat
from tlx_plugins.sources.lisa import LisaSource


@hookimpl
def tlx_sources() -> list[Source]:
    """Readers of published datasets."""
    return [LisaSource()]


@hookimpl
def tlx_formats() -> list[Format]:
    """Formats that are read and written."""
    return [CocoFormat()]
