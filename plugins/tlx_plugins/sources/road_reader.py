"""From road tables to segments with labels and images with positions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tlx.context import Context
from tlx.errors import DataError, Place, UsageError
from tlx.folder_walk import is_text
from tlx.issues import Issue
from tlx.model import AttributeValue
from tlx_plugins.formats.csv_text import Row
from tlx_plugins.sources.road_codes import CodeBook
from tlx_plugins.sources.road_labels import LabelReader, Labels, merge
from tlx_plugins.sources.road_segments import Segment, road_key
from tlx_plugins.sources.road_tables import RoadTable
from tlx_plugins.sources.road_units import Unit, degrees, metres

if TYPE_CHECKING:
    from tlx_plugins.sources.road_csv import RoadOptions

_SHORTEST, _LONGEST = 1.0, 20_000.0
"""Metres of a usual segment; a table whose median lies outside is in another unit."""
_PARTED = re.compile(r"\s*[;|]\s*")


@dataclass(slots=True)
class Sight:
    """An image and where it was taken.

    Attributes:
        image: As the table writes it.
        road: The road, as written.
        carriageway: The carriageway as written; empty where none is stated.
        position: Metres along the road; None where only the segment is known.
        segment: The segment whose row names the image.
        labels: What is said of this very image, where there are no segments.
        attributes: What else is known of it.
        file: The table, relative to the root; empty for a name that speaks for itself.
        line: Its line.
    """

    image: str
    road: str = ""
    carriageway: str = ""
    position: float | None = None
    segment: Segment | None = None
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    file: str = ""
    line: int | None = None
    labels: Labels | None = None


class RoadReader:
    """Reads all tables of a root.

    Args:
        root: The folder.
        tables: All tables but the code book.
        book: What codes mean.
        options: The user's choices.
        context: Progress and issues.
    """

    def __init__(
        self,
        root: Path,
        tables: Sequence[RoadTable],
        book: CodeBook | None,
        options: RoadOptions,
        context: Context,
    ) -> None:
        self.root = root
        self.options = options
        self.context = context
        self.book = book
        self.unsure = frozenset({"", *options.unsure.casefold().split()})
        self.chosen = [name.strip() for name in (options.labels or "").split(",") if name.strip()]
        self.classes: dict[str, None] = {}
        self.segments: dict[tuple[str, str, float, float, str], Segment] = {}
        self.sights: list[Sight] = []
        self.file = ""
        self.files = frozenset(table.name for table in tables)
        missing: list[list[str]] = []
        roads = any(table.columns.kind in {"segments", "sheet"} for table in tables)
        for table in tables:
            self.file = table.name
            for bad in table.bad:
                self.report("bad-row", bad.message, bad.line)
            if table.columns.kind in {"segments", "sheet"}:
                missing.append(self._read_segments(table))
            elif "image" in table.columns.where and not roads:
                missing.append(self._read_pictures(table))
            elif table.columns.kind == "images":
                self._read_images(table)
            else:
                self.report(
                    "other-table",
                    "is no table of segments, or of images with their places.",
                    None,
                    "kept",
                )
        if missing and all(missing):
            raise UsageError(f"no table has the column {missing[0][0]!r}.", hint="Mend --labels.")

    def report(
        self,
        code: str,
        message: str,
        line: int | None,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        """Report an issue of the table that is being read."""
        place = str(self.root / self.file)
        self.context.issues.report(Issue(code, message, place, line, action, hint))

    # Segments.

    def _read_segments(self, table: RoadTable) -> list[str]:
        """Read a table of segments; returns the label columns that it lacks."""
        reader = self._label_reader(table)
        unit = self._unit(table)
        found: list[Segment] = []
        seen: dict[tuple[str, ...], int] = {}
        track = self.context.progress.track
        for row in track(table.rows, f"reading {table.name}", len(table.rows)):
            if not self._usable(row, table, seen):
                continue
            ends = self._ends(row, table, unit)
            if ends is None:
                continue
            segment = self._segment(row, table, ends)
            if not isnan(segment.start):
                found.append(segment)
            segment.points = segment.points or self._points(row, table)
            labels = reader.labels(row)
            self.classes |= dict.fromkeys(labels)
            merge(segment.labels, labels, lambda name, r=row, s=segment: self._conflict(name, s, r))  # type: ignore[misc]
            for name, value in reader.attributes(row).items():
                segment.attributes.setdefault(name, value)
            self._own_images(row, table, segment)
        self._check_lengths(table, found)
        return reader.missing

    def _label_reader(self, table: RoadTable) -> LabelReader:
        """What reads the labels of a table; what it decided is reported."""
        reader = LabelReader(
            table, self.book, self.chosen, self.options.separator, self.unsure, self.report
        )
        for position in reader.suspects:
            title = table.columns.titles[position]
            message = (
                f"the column {title!r} only holds 1 beside columns of codes; taken as a code, not "
                "as a label."
            )
            self.report("not-a-label", message, 1, "kept", "Name it in --labels if it is one.")
        if reader.passed:
            message = f"{len(reader.passed)} other columns of labels are not read (--labels)."
            self.report("other-labels", message, 1, "requested")
        self.classes |= dict.fromkeys(reader.classes())
        return reader

    def _usable(self, row: Row, table: RoadTable, seen: dict[tuple[str, ...], int]) -> bool:
        key = tuple(row.cells)
        if len(row.cells) > len(table.columns.titles) or (
            len(row.cells) < len(table.columns.titles) and not table.columns.cameras
        ):
            message = f"has {len(row.cells)} cells for {len(table.columns.titles)} columns."
            self.report("wrong-columns", message, row.line)
            return False
        if not all(map(is_text, row.cells)):
            self.report("bad-row", "holds characters that are no text.", row.line)
            return False
        if key in seen:
            message = f"repeats line {seen[key]} word by word; counted once."
            self.report("duplicate-row", message, row.line, "merged")
            return False
        seen[key] = row.line
        return True

    def _unit(self, table: RoadTable) -> str:
        """The unit of the positions of a table of segments."""
        if self.options.units != "auto":
            return self.options.units
        units = table.columns.units
        stated = {u for p in ("from", "to", "distance", "length") if (u := units.get(p))}
        if len(stated) > 1:
            raise DataError(
                f"states two units for its positions: {' and '.join(sorted(stated))}.",
                place=Place(str(self.root / table.name), 1),
                hint="Say which one holds: --units m, km or mile",
            )
        # iRAP's upload file counts Distance and Length in kilometres.
        usual = "m" if "from" in table.columns.where else "km"
        return str(next(iter(stated), usual))

    def _ends(self, row: Row, table: RoadTable, unit: str) -> tuple[float, float] | None:
        """Both ends in metres, NaN where the row says none of them; None if it is reported."""
        if "from" in table.columns.where and "to" in table.columns.where:
            names = ("from", "to")
        else:
            names = ("distance", "length")
        words = [table.cell(row, name) for name in names]
        road = table.cell(row, "road") or table.cell(row, "section")
        if table.columns.kind == "sheet" and (not road or not all(words)):
            return nan, nan
        if not road:
            self.report("no-road", "names no road.", row.line)
            return None
        values = [metres(word, unit) for word in words]
        if values[0] is None or values[1] is None:
            message = f"its ends {words[0]!r} and {words[1]!r} are not two numbers."
            self.report("bad-position", message, row.line)
            return None
        start, end = values[0], values[1]
        if names[1] == "length":
            end = round(start + end, 3)
        if start == end:
            self.report("empty-segment", f"begins and ends at {start:g} m.", row.line)
            return None
        if end < start:
            message = f"runs from {start:g} back to {end:g} m; taken as {end:g} to {start:g}."
            self.report("reversed-segment", message, row.line, "kept")
            start, end = end, start
        return start, end

    def _segment(self, row: Row, table: RoadTable, ends: tuple[float, float]) -> Segment:
        """The segment of a row, which other rows may have begun."""
        road, section = table.cell(row, "road"), table.cell(row, "section")
        named = " / ".join(part for part in (road, section) if part)
        way = table.cell(row, "carriageway")
        title = f"{table.name}:{row.line}" if isnan(ends[0]) else ""
        # NaN is not equal to itself: the title tells such segments apart.
        place = (0.0, 0.0) if title else ends
        key = (road_key(named), road_key(way), *place, title)
        if key not in self.segments:
            self.segments[key] = Segment(
                named, way, *ends, file=table.name, line=row.line, title=title
            )
        return self.segments[key]

    def _points(self, row: Row, table: RoadTable) -> tuple[tuple[float, float], ...]:
        pairs = (("latitude", "longitude"), ("latitude_end", "longitude_end"))
        ends = [tuple(degrees(table.cell(row, part)) for part in pair) for pair in pairs]
        return tuple((a, b) for a, b in ends if a is not None and b is not None)

    def _conflict(self, name: str, segment: Segment, row: Row) -> None:
        message = (
            f"says of {name!r} on {segment.name} the opposite of line {segment.line}, which is "
            "kept."
        )
        self.report("conflicting-label", message, row.line)

    def _own_images(self, row: Row, table: RoadTable, segment: Segment) -> None:
        """Images that the row itself names: in columns of cameras, or in one cell."""
        facts = self._place_facts(row, table)
        named: set[str] = set()
        for position, camera, offset in table.columns.cameras:
            cell = row.cells[position] if position < len(row.cells) else ""
            if not cell or cell.casefold() in self.unsure:
                continue
            if cell in named:
                message = f"names {cell!r} twice; the first one is taken."
                self.report("repeated-image", message, row.line, "merged")
                continue
            named.add(cell)
            at = None if isnan(segment.start) else round(segment.start + offset, 3)
            more: dict[str, AttributeValue] = {**facts, "camera": camera, "offset_m": offset}
            self._add(cell, segment, at, more, row)
        for cell in _PARTED.split(table.cell(row, "image")):
            if cell and cell.casefold() not in self.unsure and cell not in named:
                named.add(cell)
                self._add(cell, segment, None, facts, row)

    def _add(
        self,
        image: str,
        segment: Segment,
        position: float | None,
        facts: dict[str, AttributeValue],
        row: Row,
    ) -> None:
        way = segment.carriageway
        sight = Sight(image, segment.road, way, position, segment, facts, self.file, row.line)
        self.sights.append(sight)

    def _check_lengths(self, table: RoadTable, found: Sequence[Segment]) -> None:
        """Refuse a table whose segments are a thousand times too short or too long."""
        if self.options.units != "auto" or not found:
            return
        usual = median(segment.end - segment.start for segment in found)
        if _SHORTEST <= usual <= _LONGEST:
            return
        unit = self._unit(table)
        likely = "km" if usual < _SHORTEST else "m"
        raise DataError(
            f"has segments of {usual:g} m if its positions are {unit}, as it seems to say; they "
            f"look like {likely}.",
            place=Place(str(self.root / table.name), found[0].line),
            hint=f"Say what they are: --units {likely}, or --units {unit} if that is right.",
        )

    # Images.

    def _read_images(self, table: RoadTable) -> None:
        unit: Unit | str = self.options.image_units
        if unit == "auto":
            unit = table.columns.units.get("distance") or "m"
        seen: dict[tuple[str, ...], int] = {}
        track = self.context.progress.track
        for row in track(table.rows, f"reading {table.name}", len(table.rows)):
            if not self._usable(row, table, seen):
                continue
            image, word = table.cell(row, "image"), table.cell(row, "distance")
            facts = self._place_facts(row, table)
            if not image:
                self.report("no-image", "names no image.", row.line)
                continue
            position = metres(word, str(unit))
            located = "latitude" in facts and "longitude" in facts
            if position is None and (word or not located):
                self.report("bad-position", f"the position {word!r} is no number.", row.line)
                continue
            road, section = table.cell(row, "road"), table.cell(row, "section")
            named = " / ".join(part for part in (road, section) if part)
            for title_at in table.columns.rest:
                if cell := row.cells[title_at]:
                    facts.setdefault(table.columns.titles[title_at], cell)
            way = table.cell(row, "carriageway")
            self.sights.append(Sight(image, named, way, position, None, facts, self.file, row.line))

    def _read_pictures(self, table: RoadTable) -> list[str]:
        """Read a table of images with labels of their own; returns the label columns it lacks."""
        reader = self._label_reader(table)
        seen: dict[tuple[str, ...], int] = {}
        known: dict[str, Labels] = {}
        track = self.context.progress.track
        for row in track(table.rows, f"reading {table.name}", len(table.rows)):
            image = table.cell(row, "image") if self._usable(row, table, seen) else None
            if image is None:
                continue
            if not image:
                self.report("no-image", "names no image.", row.line)
                continue
            if image not in known:
                facts = self._place_facts(row, table) | reader.attributes(row)
                road = table.cell(row, "road")
                sight = Sight(image, road, "", None, None, facts, self.file, row.line, {})
                self.sights.append(sight)
                known[image] = sight.labels = {}
            labels = reader.labels(row)
            self.classes |= dict.fromkeys(labels)
            merge(known[image], labels, lambda name, r=row: self._opposed(name, r))  # type: ignore[misc]
        return reader.missing

    def _opposed(self, name: str, row: Row) -> None:
        message = f"says of {name!r} the opposite of a line before, which is kept."
        self.report("conflicting-label", message, row.line)

    def _place_facts(self, row: Row, table: RoadTable) -> dict[str, AttributeValue]:
        facts: dict[str, AttributeValue] = {}
        for part in ("latitude", "longitude"):
            value = degrees(table.cell(row, part))
            if value is not None:
                facts[part] = value
        if camera := table.cell(row, "camera"):
            facts["camera"] = camera
        return facts
