"""Stretches of road with labels, and which of them a position lies on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tlx.model import AttributeValue
from tlx_plugins.formats.csv_text import normal

TOLERANCE = 1.0
"""Metres that neighbours may overlap or lie apart without a word."""

Report = Callable[[str, str, "Segment", str], None]
"""Takes code, message, the segment that it is about, and what was done."""


@dataclass(slots=True)
class Segment:
    """A row of a table of segments.

    Attributes:
        road: The road as the table writes it.
        carriageway: The carriageway or direction as written; empty where none is stated.
        start: Metres along the road where it begins.
        end: Metres where it ends; the end itself belongs to the next segment.
        labels: For each class whether it is present, absent, or unsure.
        attributes: What else the row says.
        file: The table, relative to the root.
        line: Its line.
        points: Latitude and longitude of its beginning, and of its end where the row says it.
        title: What it is called where its row says no road or no ends, which are NaN then.
    """

    road: str
    carriageway: str
    start: float
    end: float
    labels: dict[str, bool | None] = field(default_factory=dict)
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    file: str = ""
    line: int = 0
    points: tuple[tuple[float, float], ...] = ()
    title: str = ""

    @property
    def name(self) -> str:
        """Road, carriageway and both ends: what a bag of images is called."""
        if self.title:
            return self.title
        way = f" {self.carriageway}" if self.carriageway else ""
        return f"{self.road}{way} {self.start:g}-{self.end:g}"


def road_key(road: str) -> str:
    """A road's name without case, blanks and punctuation: ``A 1`` is ``a1``."""
    return normal(road) or road


class Network:
    """All segments, by road and carriageway.

    Args:
        segments: In any order.
    """

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.ways: dict[str, dict[str, list[Segment]]] = {}
        for segment in segments:
            if segment.title:
                continue  # It has no place along a road.
            ways = self.ways.setdefault(road_key(segment.road), {})
            ways.setdefault(road_key(segment.carriageway), []).append(segment)
        self._starts: dict[tuple[str, str], list[float]] = {}
        self._farthest: dict[tuple[str, str], list[float]] = {}
        for road, ways in self.ways.items():
            for way, found in ways.items():
                found.sort(key=lambda s: (s.start, s.end, s.line))
                self._starts[road, way] = [s.start for s in found]
                ends: list[float] = []
                for segment in found:
                    ends.append(max(segment.end, ends[-1]) if ends else segment.end)
                self._farthest[road, way] = ends

    def __len__(self) -> int:
        return sum(len(found) for ways in self.ways.values() for found in ways.values())

    def carriageways(self, road: str, carriageway: str) -> list[str]:
        """The keys of the carriageways that a position may be on; one where it is clear.

        A position without a carriageway may be on any of the road; a road whose table has none
        takes positions of all.
        """
        ways = self.ways.get(road_key(road), {})
        wanted = road_key(carriageway)
        if wanted in ways:
            return [wanted]
        if not carriageway:
            return list(ways)
        return [""] if "" in ways else []

    def at(self, road: str, way: str, position: float) -> Segment | None:
        """The segment that a position lies on; of overlapping ones that which begins last.

        Args:
            road: The road's name.
            way: A key from `carriageways`.
            position: Metres.
        """
        key = (road_key(road), way)
        found = self.ways.get(key[0], {}).get(way, [])
        index = bisect_right(self._starts.get(key, []), position) - 1
        last = index
        while index >= 0 and self._farthest[key][index] > position:
            if found[index].end > position:
                return found[index]
            index -= 1
        # The very end of a road, where no other segment begins.
        ending = found[last] if last >= 0 else None
        return ending if ending is not None and ending.end == position else None

    def report(self, report: Report) -> None:
        """Report what overlaps and what is missing between segments, road by road."""
        for ways in self.ways.values():
            for found in ways.values():
                self._report_neighbours(found, report)

    @staticmethod
    def _report_neighbours(found: list[Segment], report: Report) -> None:
        before: Segment | None = None
        for segment in found:
            if before is not None and before.end - segment.start > TOLERANCE:
                shared = min(before.end, segment.end) - segment.start
                message = (
                    f"{segment.name} overlaps {before.name} (line {before.line}) by {shared:g} m; "
                    "images there get the labels of the one that begins last."
                )
                report("overlapping-segments", message, segment, "changed")
            elif before is not None and segment.start - before.end > TOLERANCE:
                missing = segment.start - before.end
                message = f"{missing:g} m are missing between {before.name} and {segment.name}."
                report("gap", message, segment, "kept")
            if before is None or segment.end > before.end:
                before = segment
