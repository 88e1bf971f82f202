"""The score from which a detection counts: one number, or one per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FALLBACK_THRESHOLD = 0.5
"""For a class that no threshold was tuned for."""

Thresholds = Mapping[str, float] | float


def threshold_array(names: Sequence[str], thresholds: Thresholds) -> list[float]:
    """One threshold per class, in order."""
    if isinstance(thresholds, Mapping):
        return [float(thresholds.get(name, FALLBACK_THRESHOLD)) for name in names]
    return [float(thresholds)] * len(names)
