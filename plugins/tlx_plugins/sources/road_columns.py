"""Which column of a road table says what, by its name whatever the case and punctuation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tlx_plugins.formats.csv_columns import NAMES as TABLE_NAMES
from tlx_plugins.formats.csv_text import normal
from tlx_plugins.sources.road_units import Unit, stated_unit

Kind = Literal["segments", "images", "sheet", "pictures", "none"]
"""Rows with both ends; rows of an image with its position; segments that name their images; rows of
an image and nothing of its place."""

NAMES: dict[str, tuple[str, ...]] = {
    "road": (
        "road", "roadname", "roadid", "roadno", "roadnumber", "route", "routeid", "routename",
        "street", "streetname", "link", "linkid", "highway",
    ),
    "section": ("section", "sectionid", "sectionname", "subsection"),
    "carriageway": (
        "carriageway", "carriagewaylabel", "carriagewayid", "direction", "dir", "lane", "side",
    ),
    "from": (
        "from", "start", "begin", "fromchainage", "startchainage", "chainagefrom",
        "chainagestart", "fromposition", "startposition", "fromdistance", "startdistance",
        "distancefrom", "distancestart", "frommeasure", "startmeasure", "beginmeasure",
    ),
    "to": (
        "to", "end", "stop", "until", "tochainage", "endchainage", "chainageto", "chainageend",
        "toposition", "endposition", "todistance", "enddistance", "distanceto", "distanceend",
        "tomeasure", "endmeasure",
    ),
    "distance": ("chainage", "distance", "station", "stationing", "position", "measure", "post"),
    "length": ("length", "segmentlength"),
    "latitude": ("latitude", "lat", "latitudestart", "startlatitude", "gpslatitude"),
    "longitude": ("longitude", "lon", "lng", "long", "longitudestart", "startlongitude",
                  "gpslongitude"),
    "latitude_end": ("latitudeend", "endlatitude"),
    "longitude_end": ("longitudeend", "endlongitude"),
    "camera": ("camera", "view", "cameraid"),
    "image": (*TABLE_NAMES["image"], "imagereference", "imagereferences", "imageurl", "images"),
    "label": TABLE_NAMES["label"],
    "split": TABLE_NAMES["split"],
}  # fmt: skip
"""The names of each part, without case, blanks, punctuation and unit."""

KNOWN = frozenset(name for names in NAMES.values() for name in names)
_UNIT_END = re.compile(r"(?i)[\s_(\[.-]+(km|m|kilomet\w+|met(?:er|re)s?|mi|miles?)[\s_)\].-]*$")
_UNIT_BEGIN = re.compile(r"(?i)^(km|m|mi)[\s_.-]+")
_BARE = {"km": "chainage", "m": "chainage", "miles": "chainage", "kmpost": "chainage"}
_CAMERA = re.compile(r"(?i)\s*([a-z][a-z ]*?)\s*-\s*([0-9]{1,4})(?:\.[0-9])?\s*")


@dataclass(frozen=True, slots=True)
class RoadColumns:
    """What the columns of a table are.

    Attributes:
        titles: As written.
        where: Position of each part of `NAMES` that is there.
        cameras: Positions of the columns that name an image each, with camera and metres from the
            segment's start, as in iRAP's image reference sheet (``left - 10``).
        rest: Positions of all other columns.
        units: The unit that each column of positions states.
    """

    titles: tuple[str, ...]
    where: dict[str, int]
    cameras: tuple[tuple[int, str, int], ...]
    rest: tuple[int, ...]
    units: dict[str, Unit | None]

    @property
    def kind(self) -> Kind:
        """What a row of the table is."""
        named = "road" in self.where or "section" in self.where
        if named and "from" in self.where and "to" in self.where:
            return "segments"
        if named and "distance" in self.where and "length" in self.where:
            return "sheet" if self.cameras else "segments"
        if self.cameras:
            return "sheet"
        placed = {"latitude", "longitude"} <= self.where.keys()
        if "image" in self.where and ("distance" in self.where or placed):
            return "images"
        return "pictures" if "image" in self.where else "none"


def find_columns(titles: Sequence[str]) -> RoadColumns:
    """Find the parts by their names; nothing is said of what is missing."""
    positions: dict[str, int] = {}
    for position, title in enumerate(titles):
        positions.setdefault(_plain(title), position)
    where = {
        part: next(positions[name] for name in names if name in positions)
        for part, names in NAMES.items()
        if any(name in positions for name in names)
    }
    cameras = tuple(
        (position, match[1].lower(), int(match[2]))
        for position, title in enumerate(titles)
        if (match := _CAMERA.fullmatch(title)) is not None
    )
    used = {*where.values(), *(position for position, _, _ in cameras)}
    units: dict[str, Unit | None] = {
        part: stated_unit(titles[where[part]])
        for part in ("from", "to", "distance", "length")
        if part in where
    }
    rest = tuple(p for p, title in enumerate(titles) if p not in used and title)
    return RoadColumns(tuple(titles), where, cameras, rest, units)


def _plain(title: str) -> str:
    name = normal(_UNIT_BEGIN.sub("", _UNIT_END.sub("", title)))
    return _BARE.get(normal(title), name)
