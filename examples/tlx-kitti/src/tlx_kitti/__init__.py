"""Kitti as a format of tlx: a plugin of tlx."""

from __future__ import annotations

from tlx.api import Format
from tlx.hooks import hookimpl
from tlx_kitti.format import KittiFormat


@hookimpl
def tlx_formats() -> list[Format]:
    """What this package brings; the host calls it by its name."""
    return [KittiFormat()]
