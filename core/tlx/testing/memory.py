"""How much memory something holds while it runs, and whether that grows with its input."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

from tlx.testing.conformance import require

SHORT, LONG = 48, 128
"""Images of a short and of a long input."""

RECORD = 6_000
"""Bytes that it may hold for each more image: a third of what a record with forty boxes weighs."""


def peak_memory(work: Callable[[], Any]) -> int:
    """Bytes that Python objects take at most while ``work`` runs, above what there was."""
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - start


def require_flat(what: str, short: int, long: int) -> None:
    """Refute that something streams, by its peaks for the short and for the long input."""
    each = (long - short) / (LONG - SHORT)
    require(
        each < RECORD,
        f"{what} holds {long / 1e6:.1f} MB at once, {each / 1e3:.0f} kB for each image.",
        "Take one part after the other.",
    )
