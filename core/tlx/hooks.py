"""The pluggy hook specifications: how anything reaches tlx, built-in or not.

A plugin is a module named by an entry point of the group ``tlx``. It implements any of these
functions; each returns objects that satisfy the protocol of `tlx.api`, needs no argument, does no
I/O and imports nothing heavy. The host calls every implementation by itself, so hook wrappers do
not apply.

Example::

    from tlx.hooks import hookimpl

    @hookimpl
    def tlx_sources():
        return [MySource()]
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from tlx.api import Backend, Command, Decoder, Format, Source, Viewer

GROUP = "tlx"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def tlx_sources() -> Iterable[Source]:  # type: ignore[empty-body]
    """Readers of labelled images, for ``tlx ingest NAME``."""


@hookspec
def tlx_formats() -> Iterable[Format]:  # type: ignore[empty-body]
    """Readers that can also write, for ``tlx convert``."""


@hookspec
def tlx_backends() -> Iterable[Backend]:  # type: ignore[empty-body]
    """Trainers, for ``tlx train --backend NAME``."""


@hookspec
def tlx_viewers() -> Iterable[Viewer]:  # type: ignore[empty-body]
    """Viewers, for ``tlx inspect --viewer NAME``."""


@hookspec
def tlx_decoders() -> Iterable[Decoder]:  # type: ignore[empty-body]
    """Decoders of images that usual programs show wrongly."""


@hookspec
def tlx_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Commands of their own, ``tlx NAME``."""
