"""What a DriveU label says of a light: the digits of version 1.0, the words of version 2.0.

Source of the digits: the class identity table of the DriveU documentation, and
``matlab/parseLabelYml.m`` and ``dtld_parsing`` of github.com/julimueller/dtld_parsing (v1.0, v2.0).
Digits are read from the right, so that a value which lost its leading digits keeps its state. A
digit or word outside the tables is unknown; nothing is inferred from another digit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from tlx.model import AttributeValue

UNKNOWN = "unknown"
DIRECTIONS = ("front", "back", "left", "right")
ORIENTATIONS = ("vertical", "horizontal")
ASPECTS = ("one_aspect", "two_aspects", "three_aspects", "four_aspects")
STATES = ("off", "red", "yellow", "red_yellow", "green", "white")
PICTOGRAMS = (
    "circle",
    "arrow_straight",
    "arrow_left",
    "arrow_straight_left",
    "arrow_right",
    "arrow_straight_right",
    "arrow_left_right_straight",
    "pedestrian",
    "bicycle",
    "pedestrian_bicycle",
    "tram",
)
KNOWN_WORDS: Mapping[str, frozenset[str]] = {
    "direction": frozenset(DIRECTIONS),
    "relevance": frozenset({"relevant", "not_relevant"}),
    "occlusion": frozenset({"occluded", "not_occluded"}),
    "orientation": frozenset(ORIENTATIONS),
    "aspects": frozenset(ASPECTS),
    "state": frozenset(STATES),
    "pictogram": frozenset(PICTOGRAMS),
    "reflection": frozenset({"reflected", "not_reflected"}),
}
"""The words of version 2.0 by attribute; ``white`` and some arrows occur in version 1.0 only."""

_INSTALLATION = {
    "1": "horizontal",
    "2": "vertical",
    "3": "horizontal_without_frame",
    "4": "vertical_without_frame",
    "6": "horizontal_bus_tram",
    "7": "vertical_bus_tram",
    "8": "horizontal_bus_tram_without_frame",
    "9": "vertical_bus_tram_without_frame",
}
_DIRECTION = dict(zip("1234", DIRECTIONS, strict=True))
_ASPECTS = dict(zip("1234", ASPECTS, strict=True))
_STATE = dict(zip("012345", STATES, strict=True))
_PICTOGRAM = {**dict(zip("012345", PICTOGRAMS, strict=False)),
              "7": "arrow_left_right_straight", "8": "pedestrian", "9": "bicycle"}  # fmt: skip
# One digit says relevance or occlusion: what it does not say stays open.
_RELEVANCE = {"0": "not_relevant", "1": "relevant", "2": "not_relevant", "3": "relevant"}
_BEST_SIGHT = {"0": False, "1": False, "2": True, "3": True}
_DIGITS = re.compile(r"[0-9]{1,6}", re.ASCII)


@lru_cache(maxsize=4096)
def from_digits(identity: str) -> Mapping[str, AttributeValue]:
    """Decode a class identity of version 1.0.

    Args:
        identity: One to six decimal digits; from the right: pictogram, state, number of lamps,
            installation, relevance or occlusion, direction. Anything else decodes to unknown.

    Returns:
        ``direction, relevance, occlusion, installation, orientation, aspects, state, pictogram``
        in the words of version 2.0, where it has them, or ``unknown``; ``lamps`` and
        ``best_sight`` where stated; ``class_id`` as it stands. Shared between calls: not to be
        changed.
    """
    digits = identity.rjust(6) if _DIGITS.fullmatch(identity) else " " * 6
    direction, relevance, installation, lamps, state, pictogram = tuple(digits)
    how = _INSTALLATION.get(installation, UNKNOWN)
    values: dict[str, AttributeValue] = {
        "class_id": identity,
        "direction": _DIRECTION.get(direction, UNKNOWN),
        "relevance": _RELEVANCE.get(relevance, UNKNOWN),
        "occlusion": "occluded" if relevance == "4" else UNKNOWN,
        "installation": how,
        "orientation": how.partition("_")[0],
        "aspects": _ASPECTS.get(lamps, UNKNOWN),
        "state": _STATE.get(state, UNKNOWN),
        "pictogram": _PICTOGRAM.get(pictogram, UNKNOWN),
    }
    if lamps in "123456789":
        values["lamps"] = int(lamps)
    if relevance in _BEST_SIGHT:
        values["best_sight"] = _BEST_SIGHT[relevance]
    return values


def strange(attributes: Mapping[str, AttributeValue]) -> list[str]:
    """Attributes whose word is in no table, as ``name=word``; ``unknown`` is no such word."""
    return [
        f"{name}={value}"
        for name, value in attributes.items()
        if name in KNOWN_WORDS and value != UNKNOWN and value not in KNOWN_WORDS[name]
    ]
