"""Which class a DriveU light belongs to, and the taxonomy of the classes that occur."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from tlx.model import AttributeValue, Category, Taxonomy
from tlx_plugins.sources.driveu_identity import (
    ASPECTS,
    DIRECTIONS,
    KNOWN_WORDS,
    ORIENTATIONS,
    PICTOGRAMS,
    STATES,
    UNKNOWN,
)

Detail = Literal["state", "state+pictogram", "full"]

PARTS: Mapping[Detail, tuple[str, ...]] = {
    "state": ("state",),
    "state+pictogram": ("state", "pictogram"),
    "full": ("direction", "orientation", "aspects", "state", "pictogram"),
}
"""The attributes that make up the name of a class."""

_COLORS = {
    "red": "#d50000",
    "yellow": "#ffab00",
    "red_yellow": "#ff6d00",
    "green": "#00c853",
    "white": "#eceff1",
    "off": "#607d8b",
    UNKNOWN: "#9e9e9e",
}
_COLORLESS = frozenset({"off", UNKNOWN})
_ORDER = {
    name: {word: place for place, word in enumerate((*words, UNKNOWN))}
    for name, words in (
        ("direction", DIRECTIONS),
        ("orientation", ORIENTATIONS),
        ("aspects", ASPECTS),
        ("state", ("red", "yellow", "red_yellow", "green", "white", "off")),
        ("pictogram", PICTOGRAMS),
    )
}
_MIRRORED = {
    "arrow_left": "arrow_right",
    "arrow_right": "arrow_left",
    "arrow_straight_left": "arrow_straight_right",
    "arrow_straight_right": "arrow_straight_left",
    "left": "right",
    "right": "left",
}


class Classes:
    """Names classes and remembers which occurred.

    Args:
        detail: Which attributes tell classes apart.
    """

    def __init__(self, detail: Detail) -> None:
        self.detail = detail
        self._parts = PARTS[detail]
        self._words = [(name, KNOWN_WORDS[name]) for name in self._parts]
        self._met: dict[str, tuple[str, ...]] = {}
        if detail == "state":
            self._met = {state: (state,) for state in (*STATES, UNKNOWN)}

    def name(self, attributes: Mapping[str, AttributeValue]) -> str:
        """The class of a light, its words joined with ``-``; a strange word counts as unknown."""
        words = tuple(
            str(word) if (word := attributes.get(part)) in known else UNKNOWN
            for part, known in self._words
        )
        name = "-".join(words)
        self._met[name] = words
        return name

    def taxonomy(self) -> Taxonomy:
        """All states, or else the classes that occurred, in the order of the tables."""
        orders = [_ORDER[part] for part in self._parts]
        met = sorted(
            self._met.items(),
            key=lambda item: [order[w] for order, w in zip(orders, item[1], strict=True)],
        )
        return Taxonomy(tuple(self._category(name, words) for name, words in met))

    def _category(self, name: str, words: Iterable[str]) -> Category:
        words = tuple(words)
        state = words[self._parts.index("state")]
        partner = "-".join(_MIRRORED.get(word, word) for word in words)
        sided = partner != name
        return Category(
            name=name,
            color=_COLORS[state],
            mirror=partner if sided and partner in self._met else None,
            mirrorable=not sided,
            color_defined=state not in _COLORLESS,
            supercategory=None if self.detail == "state" else state,
        )
