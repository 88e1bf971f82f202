"""The JSON exports of Labelbox from 2018 to 2022, brought to the types of today's.

Four shapes of ``Label`` are known, from test files of Labelbox's own repositories:

====================  ===========================================================================
March 2018            ``{"Car": "MULTIPOLYGON (((x y, ...)))"}`` or ``{"Car": [[{x, y}, ...]]}``
August 2018, 2019     ``{"Car": [{"geometry": "POLYGON (...)" or [{x, y}, ...], "color"}]}``
2020 to 2022          ``{"objects": [...], "classifications": [...]}``
video, 2020 to 2022   a list of frames, or ``{"frames": URL}``
====================  ===========================================================================

``"Skip"`` stands for a skipped row. One row is one annotator's label, so an image may have several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from tlx_plugins.sources import labelbox_wkt
from tlx_plugins.sources.labelbox_answers import MAXIMUM_DEPTH
from tlx_plugins.sources.labelbox_schema import (
    Annotations,
    Answer,
    Choice,
    DataRow,
    Frame,
    LabelDetails,
    LabelSet,
    Mask,
    Media,
    Performance,
    Point,
    Rectangle,
    Text,
    Thing,
    explain,
)

Report = Callable[[str, str, str], None]
"""Takes a code, a sentence and what is done (see `tlx.issues.Issue.action`)."""

NEW_ORIGIN = "2018-10"
"""From this month on y counts from the top; Labelbox's own converters of before use H - y."""

_NEW_KEYS = ("DataRow ID", "Updated At", "Benchmark Agreement", "Media Attributes", "Skipped")
_SECTIONS = frozenset({"objects", "classifications", "relationships"})


class _Object(Struct, rename="camel", gc=False):
    """An object of 2020 to 2022."""

    feature_id: str | None = None
    title: str | None = None
    value: str | None = None
    color: str | None = None
    keyframe: bool | None = None
    bbox: Rectangle | None = None
    polygon: list[Point] | None = None
    line: list[Point] | None = None
    point: Point | None = None
    # Not by the rule of names: the file writes instanceURI.
    mask_url: str | None = msgspec.field(default=None, name="instanceURI")
    classifications: list[Any] | None = None


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether a mapping is a row of these exports."""
    return "Label" in row and ("Labeled Data" in row or "ID" in row)


def is_new_origin(row: Mapping[str, Any]) -> bool:
    """Whether a row proves that its file counts y from the top: made after September 2018."""
    label = row.get("Label")
    if any(name in row for name in _NEW_KEYS) or isinstance(label, list):
        return True
    if isinstance(label, dict) and _SECTIONS.issuperset(label) and "objects" in label:
        return True
    created = row.get("Created At")
    return isinstance(created, str) and created[:7] >= NEW_ORIGIN


def data_row(row: Mapping[str, Any]) -> DataRow:
    """The image, video or text that a row is about; before 2019 it had no id of its own."""
    return DataRow(
        id=_text(row, "DataRow ID"),
        external_id=_text(row, "External ID"),
        global_key=_text(row, "Global Key"),
        row_data=_text(row, "Labeled Data"),
    )


def identity(row: Mapping[str, Any]) -> str:
    """What rows about the same image have in common."""
    known = data_row(row)
    if known.id is not None:
        return "id\0" + known.id
    return f"{known.row_data}\0{known.external_id}"


def project_name(row: Mapping[str, Any]) -> str:
    """The project that the label belongs to; empty when not stated."""
    return _text(row, "Project Name") or ""


def media(row: Mapping[str, Any]) -> Media:
    """Size and kind, as far as they are stated: the key exists since 2021 and is often empty."""
    stated = row.get("Media Attributes")
    known = stated if isinstance(stated, dict) else {}
    return Media(
        height=known.get("height"),
        width=known.get("width"),
        mime_type=_text(known, "mimeType") or _text(known, "mime_type"),
        asset_type=(
            _text(known, "assetType") or _text(known, "asset_type") or _text(row, "media_type")
        ),
        exif_rotation=known.get("exifRotation") or known.get("exif_rotation"),
    )


def data_split(row: Mapping[str, Any]) -> str | None:
    """The split of a model run."""
    return _text(row, "Data Split")


def label_set(row: Mapping[str, Any], report: Report) -> LabelSet | None:
    """The label of a row; None if nothing can be made of it, which is reported."""
    label = row.get("Label")
    skipped = row.get("Skipped") is True or label == "Skip"
    annotations = Annotations() if label == "Skip" or label is None else _annotations(label, report)
    if annotations is None:
        return None
    reference = _text(row, "Benchmark Reference ID") or _text(row, "Benchmark ID")
    return LabelSet(
        id=_text(row, "ID"),
        annotations=annotations,
        label_details=LabelDetails(_text(row, "Created At"), _text(row, "Updated At")),
        performance_details=Performance(
            skipped, None if reference == _text(row, "ID") else reference
        ),
    )


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def _annotations(label: Any, report: Report) -> Annotations | None:
    if isinstance(label, list):
        return _video(label, report)
    if not isinstance(label, dict):
        kind = type(label).__name__
        report("bad-label", f"has a Label that is neither an object nor a list: {kind}.", "skipped")
        return None
    if isinstance(label.get("frames"), str):
        message = "has its frames behind a URL, which is not fetched."
        report("frames-by-reference", message, "skipped")
        return None
    if label and _SECTIONS.issuperset(label):
        relationships = label.get("relationships")
        return Annotations(
            objects=_objects(label.get("objects"), "$.Label.objects", report),
            classifications=_answers(label.get("classifications"), report),
            relationships=relationships if isinstance(relationships, list) else None,
        )
    return _by_class(label, report)


def _video(frames: list[Any], report: Report) -> Annotations:
    found: dict[str, Frame] = {}
    for index, frame in enumerate(frames):
        number = frame.get("frameNumber") if isinstance(frame, dict) else None
        place = f"$.Label[{index}]"
        if type(number) is not int:
            report("bad-frame", f"{place} has no frameNumber.", "skipped")
            continue
        if str(number) in found:
            report("bad-frame", f"{place} repeats the frame {number}.", "skipped")
            continue
        things = _objects(frame.get("objects"), f"{place}.objects", report)
        # An id is unique in a frame; a number stands in for one that is missing or repeated.
        objects: dict[str, Thing] = {}
        for position, thing in enumerate(things):
            name = thing.feature_id
            objects[str(position) if name is None or name in objects else name] = thing
        answers = _answers(frame.get("classifications"), report)
        found[str(number)] = Frame(objects, answers)
    return Annotations(frames=found)


def _objects(values: Any, place: str, report: Report) -> list[Thing]:
    if not isinstance(values, list):
        if values is not None:
            report("bad-object", f"{place} is no list.", "skipped")
        return []
    things = []
    for index, value in enumerate(values):
        try:
            known = msgspec.convert(value, _Object)
        except msgspec.ValidationError as error:
            inner = explain(error).removeprefix("$")
            report("bad-object", f"{place}[{index}]{inner}", "skipped")
            continue
        bare = not (known.bbox or known.polygon or known.line or known.point)
        things.append(
            Thing(
                feature_id=known.feature_id,
                name=known.title,
                value=known.value,
                bounding_box=known.bbox,
                classifications=_answers(known.classifications, report),
                polygon=known.polygon,
                line=known.line,
                point=known.point,
                # Every object has a picture of itself; it says something new only where it is all.
                mask=Mask(known.mask_url) if bare and known.mask_url else None,
                color=known.color,
                keyframe=known.keyframe,
            )
        )
    return things


def _answers(values: Any, report: Report, depth: int = 0) -> list[Answer]:
    """Questions with their answers; a list of lists is laid flat."""
    if values is None:
        return []
    if not isinstance(values, list) or depth > MAXIMUM_DEPTH:
        report("bad-answer", "has classifications that cannot be read.", "changed")
        return []
    found = []
    for value in values:
        if isinstance(value, list):
            found += _answers(value, report, depth + 1)
        elif isinstance(value, dict):
            found.append(_answer(value, report, depth))
        else:
            report("bad-answer", "has a classification that is no object.", "changed")
    return found


def _answer(value: dict[str, Any], report: Report, depth: int) -> Answer:
    answer = value.get("answer", value.get("answers"))
    known = Answer(name=_text(value, "title"), value=_text(value, "value"))
    if isinstance(answer, dict):
        known.radio_answer = _choice(answer, report, depth)
    elif isinstance(answer, list):
        chosen = [_choice(item, report, depth) for item in answer if isinstance(item, dict)]
        known.checklist_answers = chosen
        if len(chosen) < len(answer):
            report("bad-answer", "has an option that is no object.", "changed")
    elif isinstance(answer, (str, int, float)):
        known.text_answer = Text(answer)
    return known


def _choice(value: dict[str, Any], report: Report, depth: int) -> Choice:
    return Choice(
        name=_text(value, "title"),
        value=_text(value, "value"),
        classifications=_answers(value.get("classifications"), report, depth + 1),
    )


def _by_class(label: dict[str, Any], report: Report) -> Annotations:
    """A label of 2018 or 2019: geometries under their class, answers under their question."""
    things: list[Thing] = []
    answers: list[Answer] = []
    for name, value in label.items():
        items = value if isinstance(value, list) else [value]
        texts = [item for item in items if isinstance(item, str)]
        if items and len(texts) == len(items) and not any(map(labelbox_wkt.looks_like_wkt, texts)):
            if isinstance(value, list):
                options = [Choice(name=text) for text in texts]
                answers.append(Answer(name=name, checklist_answers=options))
            else:
                answers.append(Answer(name=name, text_answer=Text(texts[0])))
            continue
        for index, item in enumerate(items):
            try:
                things += _geometries(name, item, report)
            except (ValueError, msgspec.ValidationError) as error:
                message = f"$.Label[{name!r}][{index}] {_sentence(error)}"
                report("bad-object", message, "skipped")
    return Annotations(objects=things, classifications=answers)


def _sentence(error: Exception) -> str:
    return explain(error).removeprefix("$").strip()


def _geometries(name: str, item: Any, report: Report) -> list[Thing]:
    """The objects of one entry: the parts of a MULTIPOLYGON are several."""
    color = None
    geometry = item
    if isinstance(item, dict) and "geometry" in item:
        geometry = item["geometry"]
        color = _text(item, "color")
    if isinstance(geometry, str):
        kind, parts = labelbox_wkt.parse(geometry)
        if any(len(rings) > 1 for rings in parts):
            report("polygon-hole", f"a {name!r} has holes, which are left out.", "changed")
        return [_wkt_thing(name, color, kind, rings[0]) for rings in parts if rings]
    if isinstance(geometry, dict):
        return [Thing(name=name, color=color, point=msgspec.convert(geometry, Point))]
    points = msgspec.convert(geometry, list[Point])
    # Two vertices are a line; three or more are an outline, for nothing else says what they are.
    if len(points) == 2:
        return [Thing(name=name, color=color, line=points)]
    return [Thing(name=name, color=color, polygon=points)]


def _wkt_thing(name: str, color: str | None, kind: str, ring: labelbox_wkt.Ring) -> Thing:
    points = [Point(x, y) for x, y in ring]
    if kind == "POINT":
        return Thing(name=name, color=color, point=points[0])
    if kind == "LINESTRING":
        return Thing(name=name, color=color, line=points)
    return Thing(name=name, color=color, polygon=points)


def flipped(thing: Thing, height: int) -> Thing:
    """The same object with y counted from the top of an image of this height in pixels."""
    box = thing.bounding_box
    if box is not None and box.top is not None and box.height is not None:
        box = Rectangle(height - box.top - box.height, box.left, box.height, box.width)
    return msgspec.structs.replace(
        thing,
        bounding_box=box,
        polygon=_turned(thing.polygon, height),
        line=_turned(thing.line, height),
        point=None if thing.point is None else _turned([thing.point], height)[0],
    )


def _turned(points: list[Point] | None, height: int) -> Any:
    if points is None:
        return None
    return [Point(p.x, None if p.y is None else height - p.y) for p in points]
