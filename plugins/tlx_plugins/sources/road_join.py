"""From segments and images to records: which image lies on which segment."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, inf, isnan
from statistics import median
from typing import TYPE_CHECKING

from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.issues import Issue
from tlx.media import image_size
from tlx.model import BAG, AttributeValue, Label, Origin, Record
from tlx_plugins.formats.csv_images import Images, clean, is_url
from tlx_plugins.sources.road_gps import GpsIndex, read_position
from tlx_plugins.sources.road_reader import RoadReader, Sight
from tlx_plugins.sources.road_segments import Network, Segment, road_key
from tlx_plugins.sources.road_units import metres

if TYPE_CHECKING:
    from tlx_plugins.sources.road_csv import RoadOptions

_FEW, _MOST = 0.1, 0.5
"""Shares of images on segments that tell a wrong unit from a right one."""
_NEAREST = 0.5
"""Metres between images that no survey goes below."""
_FIELD = re.compile(r"\\\{(road|carriageway|chainage|camera|any)\\\}")
_FORMS = {
    "road": r"(?P<road>.+?)",
    "carriageway": r"(?P<carriageway>[^_\-/]+)",
    "chainage": r"(?P<chainage>[0-9]+(?:[.,+][0-9]+)?)",
    "camera": r"(?P<camera>[^_\-/]+)",
    "any": r".*?",
}


@dataclass(frozen=True, slots=True)
class _Found:
    """An image that is on a segment, or on none."""

    uri: str
    sight: Sight
    segment: Segment | None


class RoadJoin:
    """Gives every image the labels of its segment.

    Args:
        images: The images below the root.
        reader: The tables, read.
        options: The user's choices.
        context: Progress and issues.
    """

    def __init__(
        self, images: Images, reader: RoadReader, options: RoadOptions, context: Context
    ) -> None:
        self.images = images
        self.reader = reader
        self.options = options
        self.context = context
        self.absent = 0
        self.nearby: GpsIndex | None = None

    def records(self) -> Iterator[Record]:
        """All images, sorted by road, carriageway, position and name."""
        segments = list(self.reader.segments.values())
        network = Network(segments)
        network.report(self._report)
        if self.options.gps is not None:
            self.nearby = GpsIndex(segments, self.options.gps)
            if not self.nearby.size:
                raise UsageError(
                    "--gps needs segments with a latitude and a longitude; none has them.",
                    hint="Give a table of images with road and chainage, or --pattern.",
                )
        sights = self._sights()
        if not sights:
            raise DataError(
                f"has {len(segments)} segments and {len(self.images.paths)} images, and nothing "
                "says which image lies on which segment.",
                place=self.reader.root,
                hint="Add a table with the columns image, road and chainage, or say how the names "
                "of the images tell it, such as: --pattern '{road}_{chainage}'",
            )
        self._check_units(sights, network)
        found = list(self._placed(sights, network))
        self._report_unseen(segments, found)
        if self.absent:
            message = f"{self.absent} images are not there, nor any other; sizes stay open."
            self.context.issues.report(
                Issue("missing-image", message, str(self.images.root), None, "kept")
            )
        by_group: dict[str, list[_Found]] = defaultdict(list)
        for entry in sorted(found, key=_order):
            by_group[self._group(entry)].append(entry)
        labels = {id(s): tuple(Label(n, p) for n, p in s.labels.items()) for s in segments}
        for group, entries in by_group.items():
            for frame, entry in enumerate(entries):
                own = tuple(Label(n, p) for n, p in (entry.sight.labels or {}).items())
                if entry.segment is not None:
                    own = labels[id(entry.segment)]
                yield self._record(entry, group or None, frame, own)

    def _sights(self) -> list[Sight]:
        """What the tables say, and the names or EXIF data of the images if that is asked for."""
        if self.options.pattern is not None:
            return [*self.reader.sights, *self._sights_by_name(self.options.pattern)]
        if self.options.gps is not None:
            return [*self.reader.sights, *self._sights_by_gps()]
        return self.reader.sights

    def _sights_by_gps(self) -> Iterator[Sight]:
        """Images that no table names, with the position that their camera wrote."""
        named = {uri for sight in self.reader.sights for uri in self._images_of(sight)}
        paths = sorted(self.images.paths - named)
        for path in self.context.progress.track(paths, "reading positions", len(paths)):
            place = read_position(self.images.root / path)
            if place is None:
                message = "says no position (GPS) in its EXIF data."
                self._issue("no-position", message, path, None, "skipped")
                continue
            yield Sight(path, attributes={"latitude": place[0], "longitude": place[1]})

    def _images_of(self, sight: Sight) -> list[str]:
        return self.images.find(sight.image, sight.file.rpartition("/")[0])

    def _sights_by_name(self, pattern: str) -> Iterator[Sight]:
        form = name_pattern(pattern)
        unit = "m" if self.options.image_units == "auto" else self.options.image_units
        for path in sorted(self.images.paths):
            match = form.fullmatch(path.rpartition(".")[0]) or form.fullmatch(
                path.rpartition("/")[2].rpartition(".")[0]
            )
            if match is None:
                message = "its name does not fit --pattern."
                self._issue("other-image", message, path, None, "skipped")
                continue
            parts = match.groupdict()
            facts: dict[str, AttributeValue] = {}
            if parts.get("camera"):
                facts["camera"] = parts["camera"]
            road = parts.get("road") or ""
            if not road:
                roads = {segment.road for segment in self.reader.segments.values()}
                road = roads.pop() if len(roads) == 1 else ""
            way = parts.get("carriageway") or ""
            position = metres(parts["chainage"], unit)
            yield Sight(path, road, way, position, None, facts)

    def _check_units(self, sights: Sequence[Sight], network: Network) -> None:
        """Refuse positions of images that only fit the segments in another unit.

        Told by images that are nowhere on a segment, or all within centimetres of each other.
        """
        free = [s for s in sights if s.segment is None and s.position is not None][:5000]
        if self.options.image_units != "auto" or not free or not len(network):
            return
        here, more, less = (
            sum(self._at(sight, network, factor) for sight in free) / len(free)
            for factor in (1.0, 1000.0, 0.001)
        )
        place, flag = self.images.root, "--image-units m"
        if more > _MOST and (here < _FEW or _spacing(free) < _NEAREST):
            raise DataError(
                f"the positions of the images look like km: {here:.0%} of the images lie on a "
                f"segment if they are metres, typically {_spacing(free):g} m apart, and {more:.0%} "
                "if they are km.",
                place=place,
                hint=f"Say what they are: --image-units km, or {flag} if that is right.",
            )
        if less > _MOST and here < _FEW:
            raise DataError(
                f"{here:.0%} of the images lie on a segment; if the segments' ends were a thousand "
                f"times larger, {less:.0%} would.",
                place=place,
                hint=f"Say what the segments' ends are: --units km, or {flag} if all is right.",
            )

    @staticmethod
    def _at(sight: Sight, network: Network, factor: float) -> bool:
        position = (sight.position or 0.0) * factor
        ways = network.carriageways(sight.road, sight.carriageway)
        return any(network.at(sight.road, way, position) is not None for way in ways)

    def _placed(self, sights: Iterable[Sight], network: Network) -> Iterator[_Found]:
        """The images that are there, each once, with their segments."""
        taken: dict[str, _Found] = {}
        total = len(sights) if isinstance(sights, list) else None
        for sight in self.context.progress.track(sights, "joining images", total):
            uri = self._uri(sight)
            if uri is None:
                continue
            segment = sight.segment
            if segment is None and sight.labels is None:
                placed = self._place(sight, network)
                if isinstance(placed, str):
                    continue
                segment = placed
            if uri in taken:
                self._again(uri, sight, segment, taken[uri])
                continue
            taken[uri] = _Found(uri, sight, segment)
            yield taken[uri]

    def _again(self, uri: str, sight: Sight, segment: Segment | None, first: _Found) -> None:
        same = segment is first.segment and sight.labels == first.sight.labels
        where = f"line {first.sight.line} of {first.sight.file}" if first.sight.line else "its name"
        message = f"{uri} has a place by {where} already" + (
            "." if same else ", with other labels; the first one is kept."
        )
        self._issue("image-twice", message, sight.file, sight.line, "merged" if same else "skipped")

    def _near(self, sight: Sight) -> Segment | str | None:
        """The segment that is nearest to an image of which only the GPS position is known."""
        if self.nearby is None:
            message = f"{sight.image} has a GPS position only."
            hint = "Join such images to the nearest segment with: --gps 30"
            self._issue("no-position", message, sight.file, sight.line, hint=hint)
            return "unknown"
        place = (float(sight.attributes["latitude"]), float(sight.attributes["longitude"]))
        found = self.nearby.nearest(place)
        if isinstance(found, Segment):
            message = f"{sight.image} is as near to another road or carriageway as to {found.name}."
            self._issue("ambiguous-position", message, sight.file, sight.line, "skipped")
            return "ambiguous"
        if found is not None:
            sight.attributes["distance_m"] = round(found[1], 1)
            return found[0]
        what = f"no segment is within {self.nearby.limit:g} m of its GPS position"
        return self._outside(sight, what)

    def _place(self, sight: Sight, network: Network) -> Segment | str | None:
        """The segment of an image; None if it is on none and kept, a word if it is left out."""
        if sight.position is None:
            return self._near(sight)
        at = sight.position
        ways = network.carriageways(sight.road, sight.carriageway)
        found = [s for way in ways if (s := network.at(sight.road, way, at)) is not None]
        if len(found) > 1:
            message = (
                f"{sight.image} at {at:g} m of {sight.road} may be on {found[0].name} or "
                f"{found[1].name}; no carriageway is stated."
            )
            self._issue("ambiguous-carriageway", message, sight.file, sight.line, "skipped")
            return "ambiguous"
        if found:
            return found[0]
        if not ways and sight.carriageway and network.carriageways(sight.road, ""):
            what = f"{sight.road} has no segments of the carriageway {sight.carriageway!r}"
        elif not ways:
            what = f"no segment is on the road {sight.road!r}"
        else:
            what = f"no segment of {sight.road} is at {at:g} m"
        return self._outside(sight, what)

    def _outside(self, sight: Sight, what: str) -> str | None:
        """Report an image on no segment; None keeps it."""
        keep = self.options.unlabelled == "keep"
        action = {"keep": "kept", "leave-out": "requested"}.get(self.options.unlabelled, "skipped")
        hint = "Choose what happens to such images: --unlabelled keep, or leave-out."
        message = f"{sight.image}: {what}."
        self._issue("outside-segments", message, sight.file, sight.line, action, hint)
        return None if keep else "outside"

    def _uri(self, sight: Sight) -> str | None:
        """The image file, relative to the root; None if it is reported."""
        folder = sight.file.rpartition("/")[0]
        found = self._images_of(sight)
        if len(found) == 1:
            return found[0]
        if found:
            message = f"{sight.image!r} may be {found[0]} or {found[1]}."
            self._issue("ambiguous-image", message, sight.file, sight.line, "skipped")
            return None
        if is_url(sight.image):
            return sight.image  # Nobody has fetched it yet.
        if not clean(sight.image):
            self._issue("no-image", f"{sight.image!r} is no image.", sight.file, sight.line)
            return None
        if self.images.paths:
            message = f"the image {sight.image!r} is not among the {len(self.images.paths)} here."
            hint = "Put it in its place, or go on without it: --on-error skip"
            self._issue("missing-image", message, sight.file, sight.line, hint=hint)
            return None
        self.absent += 1
        return f"{folder}/{clean(sight.image)}" if folder else clean(sight.image)

    def _report_unseen(self, segments: Sequence[Segment], found: Sequence[_Found]) -> None:
        seen = {id(entry.segment) for entry in found}
        for segment in segments:
            if id(segment) not in seen:
                self._report("no-images", f"{segment.name} has no image.", segment, "kept")

    def _group(self, entry: _Found) -> str:
        segment = entry.segment
        if segment is None:
            return entry.sight.road if self.options.group == "road" else ""
        if self.options.group == "road":
            return segment.road or segment.name
        if self.options.group == "stretch" and not isnan(segment.start):
            number = floor(segment.start / self.options.stretch)
            way = f" {segment.carriageway}" if segment.carriageway else ""
            start = number * self.options.stretch
            return f"{segment.road}{way} {start:g}-{start + self.options.stretch:g}"
        return segment.name

    def _record(
        self, entry: _Found, group: str | None, frame: int, labels: tuple[Label, ...]
    ) -> Record:
        sight, segment = entry.sight, entry.segment
        attributes: dict[str, AttributeValue] = {}
        if segment is not None:
            attributes |= segment.attributes
            attributes[BAG] = segment.name
            attributes["labels_from"] = f"{segment.file}:{segment.line}"
            if not isnan(segment.start):
                attributes |= {"segment_from_m": segment.start, "segment_to_m": segment.end}
        attributes |= sight.attributes
        for name, value in (
            ("road", segment.road if segment is not None else sight.road),
            ("carriageway", segment.carriageway if segment is not None else sight.carriageway),
            ("chainage_m", sight.position),
        ):
            if value not in {None, ""}:
                attributes[name] = value
        size = None
        if entry.uri in self.images.paths and self.options.image_sizes:
            size = image_size(f"{self.images.root}/{entry.uri}")
        origin = sight if sight.file else segment
        return Record(
            image_id=entry.uri,
            uri=entry.uri,
            width=size[0] if size else None,
            height=size[1] if size else None,
            split=self.options.split,
            group=group,
            frame=frame if group is not None else None,
            labels=labels,
            attributes=attributes,
            origin=Origin(origin.file, origin.line) if origin is not None else None,
        )

    def _report(self, code: str, message: str, segment: Segment, action: str) -> None:
        self._issue(code, message, segment.file, segment.line, action)

    def _issue(
        self,
        code: str,
        message: str,
        file: str,
        line: int | None,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        place = str((self.reader.root if file in self.reader.files else self.images.root) / file)
        self.context.issues.report(Issue(code, message, place, line, action, hint))


def _order(entry: _Found) -> tuple[object, ...]:
    segment = entry.segment
    road = segment.road if segment is not None else entry.sight.road
    way = segment.carriageway if segment is not None else entry.sight.carriageway
    start = segment.start if segment is not None and not isnan(segment.start) else -1.0
    line = segment.line if segment is not None else 0
    position = entry.sight.position
    return road, way, start, line, position if position is not None else -1.0, entry.uri


def _spacing(sights: Sequence[Sight]) -> float:
    """The median distance of neighbouring images of a road, in metres; infinite for one image."""
    places: dict[str, set[float]] = defaultdict(set)
    for sight in sights:
        places[road_key(sight.road)].add(sight.position or 0.0)
    gaps = [b - a for found in places.values() for a, b in pairwise(sorted(found))]
    return median(gaps) if gaps else inf


def name_pattern(text: str) -> re.Pattern[str]:
    """The pattern of image names that ``{road}_{chainage}`` means; names are without their end.

    Raises:
        UsageError: If it has no chainage, or a part twice.
    """
    form = _FIELD.sub(lambda match: _FORMS[match[1]], re.escape(text))
    try:
        pattern = re.compile(form)
    except re.error as error:
        raise UsageError(f"--pattern {text!r} is none: {error}.") from error
    if "chainage" not in pattern.groupindex:
        raise UsageError(
            f"--pattern {text!r} has no {{chainage}}.",
            hint="Write it like --pattern '{road}_{chainage}'; {carriageway}, {camera} and {any} "
            "may stand in it too.",
        )
    return pattern
