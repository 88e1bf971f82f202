"""Frames of a labelled video.

Labelbox counts frames from 1, and its export lists every frame of a segment: those between two
keyframes it has interpolated itself (linearly, between the keyframes before and after). So frames
are taken as they are listed. An export that names a segment but not all of its frames can be
filled in here by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

from tlx_plugins.sources.labelbox_schema import Annotations, Answer, Frame, Point, Rectangle, Thing

Frames = Literal["listed", "keyframes", "filled"]
Report = Callable[[str, str, str], None]

MAXIMUM_FRAMES = 1_000_000
"""Four hours of 60 frames per second; a larger number is a mistake that would fill the memory."""

_segments = msgspec.json.Decoder(dict[str, list[list[int]]] | None)
_keyframes = msgspec.json.Decoder(dict[str, dict[str, bool] | list[int | str]] | None)


class VideoFrame(msgspec.Struct, gc=False):
    """One labelled frame: objects by feature id, and answers about the frame."""

    number: int
    objects: list[Thing]
    answers: list[Answer]


def frames(annotations: Annotations, rule: Frames, report: Report) -> Iterator[VideoFrame]:
    """The labelled frames of one label in order.

    Each object has its feature id, which is the same in every frame, and `Thing.keyframe` where
    the export says which frames were drawn by hand.
    """
    listed = _numbered(annotations, report)
    tracks = _tracks(listed, _keyframe_map(annotations, report))
    missing = _missing(annotations, tracks, report)
    if missing and rule == "filled":
        for name, numbers in missing.items():
            _fill(tracks[name], numbers)
    elif missing:
        count = sum(map(len, missing.values()))
        message = f"names segments with {count} places of objects that it does not list."
        report("frames-not-listed", message, "kept")
    by_frame: dict[int, list[Thing]] = {number: [] for number in listed}
    for track in tracks.values():
        for number, thing in track.items():
            if rule != "keyframes" or thing.keyframe is not False:
                by_frame.setdefault(number, []).append(thing)
    for number in sorted(by_frame):
        listed_frame = listed.get(number)
        answers = (listed_frame.classifications if listed_frame else None) or []
        if by_frame[number] or answers or rule != "keyframes":
            yield VideoFrame(number, by_frame[number], answers)


def _tracks(
    listed: dict[int, Frame], keyframes: dict[str, set[int]]
) -> dict[str, dict[int, Thing]]:
    """Every object by its feature id and the frame, marked where it was drawn by hand."""
    tracks: dict[str, dict[int, Thing]] = {}
    for number, frame in listed.items():
        for name, thing in (frame.objects or {}).items():
            if thing.feature_id is None:
                thing.feature_id = name
            known = keyframes.get(name)
            if known is not None:
                thing.keyframe = number in known
            tracks.setdefault(name, {})[number] = thing
    return tracks


def _numbered(annotations: Annotations, report: Report) -> dict[int, Frame]:
    found: dict[int, Frame] = {}
    for key, frame in (annotations.frames or {}).items():
        number = int(key) if key.isascii() and key.isdigit() and len(key) < 9 else 0
        if not 0 < number <= MAXIMUM_FRAMES or number in found:
            report("bad-frame", f"has a frame {key[:20]!r}, which is no number from 1.", "skipped")
            continue
        found[number] = frame
    return dict(sorted(found.items()))


def _keyframe_map(annotations: Annotations, report: Report) -> dict[str, set[int]]:
    """Frames that were drawn by hand, by feature id: a list, or a mapping of frame to flag."""
    data = bytes(annotations.key_frame_feature_map)
    try:
        known = _keyframes.decode(data) if data else None
        return {
            name: {int(number) for number in (value if isinstance(value, list) else _true(value))}
            for name, value in (known or {}).items()
        }
    except (msgspec.DecodeError, ValueError) as error:
        report("bad-keyframes", f"has keyframes that cannot be read: {error}.", "changed")
        return {}


def _true(flags: dict[str, bool]) -> list[str]:
    return [number for number, flag in flags.items() if flag]


def _missing(
    annotations: Annotations, tracks: dict[str, dict[int, Thing]], report: Report
) -> dict[str, list[int]]:
    """Frames inside the segments of an object that are not listed for it."""
    data = bytes(annotations.segments)
    try:
        segments = (_segments.decode(data) if data else None) or {}
    except msgspec.DecodeError as error:
        report("bad-segments", f"has segments that cannot be read: {error}.", "changed")
        return {}
    missing: dict[str, list[int]] = {}
    room = MAXIMUM_FRAMES
    for name, ranges in segments.items():
        track = tracks.get(name)
        if not track:
            continue  # Segments of answers have no place in the image.
        numbers: set[int] = set()
        for pair in ranges:
            if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= MAXIMUM_FRAMES:
                report("bad-segments", f"has a segment {pair} of no frames.", "changed")
            elif (room := room - (pair[1] - pair[0] + 1)) < 0:
                message = f"has segments of more than {MAXIMUM_FRAMES} frames together."
                report("bad-segments", message, "changed")
                return missing
            else:
                numbers.update(range(pair[0], pair[1] + 1))
        if lacking := sorted(numbers - track.keys()):
            missing[name] = lacking
    return missing


def _fill(track: dict[int, Thing], numbers: Sequence[int]) -> None:
    """Put an object where it must be between the listed places before and after."""
    import bisect

    known = sorted(track)
    for number in numbers:
        place = bisect.bisect(known, number)
        before = track[known[place - 1]] if place else track[known[0]]
        after = track[known[place]] if place < len(known) else before
        share = 0.0
        if 0 < place < len(known):
            share = (number - known[place - 1]) / (known[place] - known[place - 1])
        track[number] = _between(before, after, share)


def _between(before: Thing, after: Thing, share: float) -> Thing:
    """Boxes and points move linearly; anything else stays as it was."""
    box, point = before.bounding_box, before.point
    if box is not None and after.bounding_box is not None:
        other = after.bounding_box
        box = Rectangle(
            _mix(box.top, other.top, share),
            _mix(box.left, other.left, share),
            _mix(box.height, other.height, share),
            _mix(box.width, other.width, share),
        )
    elif point is not None and after.point is not None:
        point = Point(_mix(point.x, after.point.x, share), _mix(point.y, after.point.y, share))
    return msgspec.structs.replace(before, bounding_box=box, point=point, keyframe=False)


def _mix(first: float | None, second: float | None, share: float) -> float | None:
    if first is None or second is None:
        return None
    return first + (second - first) * share
