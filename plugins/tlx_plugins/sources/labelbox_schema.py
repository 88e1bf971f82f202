"""The export of Labelbox as types: one JSON object per data row, as it is written since 2023.

Facts are from docs.labelbox.com/reference/export-glossary and from real files. Everything but
``data_row`` is optional, since an export holds only the parts that were ticked. Older generations
(`tlx_plugins.sources.labelbox_legacy`) are brought to these types, so one reader serves all.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

_ABSENT = Raw()
"""A part that the file does not have."""

Number = float | None
"""A coordinate in pixels; None where the file has null, or NaN, which JSON forbids."""

_POINTER = re.compile(r"^(.*?)(?: - at `(\$[^`]*)`)?$", re.DOTALL)


class Rectangle(Struct, gc=False):
    """``bounding_box``: pixels, origin top left."""

    top: Number = None
    left: Number = None
    height: Number = None
    width: Number = None


class Point(Struct, gc=False):
    """A vertex in pixels, origin top left."""

    x: Number = None
    y: Number = None


class Mask(Struct, gc=False):
    """A mask lies behind a URL that needs the project's key.

    ``color_rgb`` is the object's colour, red, green and blue, in a mask of several objects.
    """

    url: str | None = None
    color_rgb: Any = None


class Choice(Struct, gc=False):
    """A chosen option, with the questions that only this option asks."""

    name: str | None = None
    value: str | None = None
    classifications: list[Answer] | None = None


class Text(Struct, gc=False):
    """An answer in the annotator's words."""

    content: str | int | float | bool | None = None


class Answer(Struct, gc=False):
    """A question of the ontology with its answer, which is one of three kinds."""

    name: str | None = None
    value: str | None = None
    radio_answer: Choice | None = None
    checklist_answers: list[Choice] | None = None
    text_answer: Text | None = None


class Thing(Struct, gc=False):
    """An entry of ``objects``: a name and one of the geometries."""

    feature_id: str | None = None
    name: str | None = None
    value: str | None = None
    annotation_kind: str | None = None
    bounding_box: Rectangle | None = None
    classifications: list[Answer] | None = None
    polygon: list[Point] | None = None
    line: list[Point] | None = None
    point: Point | None = None
    mask: Mask | None = None
    composite_mask: Mask | None = None
    color: str | None = None
    keyframe: bool | None = None


class Frame(Struct, gc=False):
    """What a label says of one frame of a video; objects by their feature id."""

    objects: dict[str, Thing] | None = None
    classifications: list[Answer] | None = None


class Annotations(Struct, gc=False):
    """What a label says of an image, or of a video: ``frames`` by their number, from 1."""

    objects: list[Thing] | None = None
    classifications: list[Answer] | None = None
    relationships: list[Any] | None = None
    frames: dict[str, Frame] | None = None
    segments: Raw = _ABSENT
    key_frame_feature_map: Raw = _ABSENT


class LabelDetails(Struct, gc=False):
    """When a label was made and last changed: ISO 8601, always of one time zone."""

    created_at: str | None = None
    updated_at: str | None = None


class Performance(Struct, gc=False):
    """Whether the annotator skipped the row, and the benchmark that the label is compared to."""

    skipped: bool | None = None
    benchmark_reference_label: str | None = None


class LabelSet(Struct, gc=False):
    """One annotator's label of one data row: an entry of ``labels``."""

    id: str | None = None
    annotations: Annotations | None = None
    label_details: LabelDetails | None = None
    performance_details: Performance | None = None

    @property
    def skipped(self) -> bool:
        """The annotator passed it over, perhaps after drawing something."""
        return self.performance_details is not None and bool(self.performance_details.skipped)

    @property
    def changed_at(self) -> str:
        """When it was last changed, as text that sorts by time; empty when not stated."""
        details = self.label_details
        stamp = "" if details is None else details.updated_at or details.created_at or ""
        # Fractions of seconds and the way to write UTC differ between generations.
        return stamp[:19].replace(" ", "T")

    @property
    def reference(self) -> str | None:
        """The benchmark label that this one is compared to."""
        details = self.performance_details
        return None if details is None else details.benchmark_reference_label


class Project(Struct, gc=False):
    """What one project says of a data row."""

    name: str | None = None
    labels: list[LabelSet] | None = None


class DataRow(Struct, gc=False):
    """The image, video or text that was labelled."""

    id: str | None = None
    external_id: str | None = None
    global_key: str | None = None
    row_data: str | None = None


class Media(Struct, gc=False):
    """``media_attributes``; a size of a wrong type counts as not stated."""

    height: Any = None
    width: Any = None
    mime_type: str | None = None
    asset_type: str | None = None
    exif_rotation: Any = None

    @property
    def kind(self) -> str | None:
        """What the data row is, in lower case: ``image/jpeg``, ``video``."""
        kind = self.mime_type or self.asset_type
        return kind.lower() if kind else None

    @property
    def is_video(self) -> bool:
        """The data row is stated to be a video."""
        return (self.kind or "").startswith("video")

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, if both are stated and make sense."""
        width, height = self.width, self.height
        if type(width) is int and type(height) is int and 0 < width < 2**31 > height > 0:
            return width, height
        sides = (_side(width), _side(height))
        return None if sides[0] is None or sides[1] is None else (sides[0], sides[1])


class ExportRow(Struct, gc=False):
    """One line of an export."""

    data_row: DataRow
    media_attributes: Media | None = None
    projects: dict[str, Project] | None = None
    metadata_fields: list[Any] | None = None
    experiments: Raw = _ABSENT
    data_split: str | None = None


def _side(value: object) -> int | None:
    """A side that is written as 640.0 or "640"."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() and 0 < number < 2**31 else None


_decoder = msgspec.json.Decoder(ExportRow)
decode_row = _decoder.decode
"""Decode one line of an export; raises `msgspec.DecodeError`."""
decode_rows = _decoder.decode_lines
"""Decode many lines of an export; empty ones are passed over. Raises `msgspec.DecodeError`."""


def explain(error: Exception) -> str:
    """The text of a validation error with the place in the row at the start."""
    match = _POINTER.match(str(error))
    if match is None or match[2] is None:
        return f"{error}."
    return f"{match[2]} {match[1]}."
