"""The columns of tlx's Parquet tables, and what their files say about them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tlx.errors import DataError
from tlx.model import Taxonomy
from tlx.schema import BOX, OBJECT, RECORD

KEY = b"tlx"
"""Under which the metadata of a file hold a `Statement`, as JSON."""

HUGGING_FACE = b"huggingface"
IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
"""An image as Hugging Face datasets have it (``datasets.Image``)."""

Rows = Literal["images", "objects"]

_IMAGE_COLUMNS = [field for field in RECORD if field.name != "objects"]
_OBJECT_COLUMNS = [field for field in OBJECT if field.name not in {"category", "box"}]
OBJECT_ROWS = pa.schema(
    [
        *(
            field.with_name("image_attributes") if field.name == "attributes" else field
            for field in _IMAGE_COLUMNS
        ),
        pa.field("category", pa.string()),
        pa.field("category_id", pa.int32()),
        *(pa.field(field.name, field.type) for field in BOX),
        *(field.with_nullable(True) for field in _OBJECT_COLUMNS),
    ]
)
"""One row for each object; the columns of its image are repeated."""

DESCRIPTIONS = {
    "image_id": "unique in the dataset",
    "uri": "the image file, relative to the media root, or a URL",
    "width": "of the image as stored, pixels",
    "height": "of the image as stored, pixels",
    "split": "train, val, test or another name; null before splitting",
    "group": "clip, drive or road: what a split must not cut",
    "frame": "position within the group",
    "labels": "image-level labels; present is true, false, or null for unsure",
    "objects": "one entry for each labelled thing; empty for a real negative",
    "attributes": "typed: one of text, integer, real, flag is set",
    "image_attributes": "of the image, typed as attributes",
    "origin": "file and line where the image was described",
    "image": "bytes of the image file, and its path",
    "category": "name of the class; null in the one row of an image without objects",
    "category_id": "position of the class in the classes of the dataset, from 0",
    "box": "xmin, ymin, xmax, ymax in absolute pixels",
    "segmentation": "polygons as x0, y0, x1, y1, ... in pixels; or counts, COCO's compressed "
    "column-major run lengths, for a mask of height x width",
    "shape": "polyline, ellipse (centre, radii) or cuboid (two faces), in pixels",
    "rotation": "degrees, clockwise, around the centre of the box",
    "keypoints": "pixels; visibility as in COCO: 0 absent, 1 hidden, 2 visible",
    "track": "identity across the frames of a group",
    "crowd": "the box stands for a group of things",
    "difficult": "hard to recognise",
    "truncated": "extends beyond the image",
    "occluded": "something stands in front of it",
}
_CONVENTION = (
    "absolute pixels, float, origin at the top left corner, x to the right, y down; boxes are half "
    "open, so that width = xmax - xmin; null means not stated"
)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a table says about itself."""

    rows: Rows
    taxonomy: Taxonomy
    media_root: str | None = None
    coordinates: str = _CONVENTION
    columns: dict[str, str] = {}


def with_statement(schema: pa.Schema, statement: Statement) -> pa.Schema:
    """A schema with the statement in its metadata."""
    metadata = {KEY: msgspec.json.encode(statement)}
    if "image" in schema.names:
        # Without it the column would be a struct of bytes and path there.
        metadata[HUGGING_FACE] = b'{"info":{"features":{"image":{"_type":"Image"}}}}'
    return schema.with_metadata(metadata)


def statement_of(schema: pa.Schema) -> Statement | None:
    """What a table says about itself, None if nothing that can be understood.

    Programs that filter a table and write it again leave this out.
    """
    text = (schema.metadata or {}).get(KEY)
    try:
        return None if text is None else msgspec.json.decode(text, type=Statement)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def rows_of(path: Path) -> Rows:
    """Whether a table has one row for each image or for each object.

    Raises:
        DataError: If it is no such table; says what was looked for and found.
    """
    schema = read_schema(path)
    names = set(schema.names)
    if {"image_id", "uri", "objects"} <= names:
        return "images"
    if {"image_id", "uri", "category"} <= names:
        return "objects"
    found = ", ".join(schema.names[:12]) or "no column"
    raise DataError(
        "is no table of labels: looked for the columns image_id, uri and objects, or image_id, uri "
        f"and category; found {found}.",
        place=path,
        hint="Tables of one row for each box, with other names, are read from CSV: tlx ingest csv",
    )


def read_schema(path: Path) -> pa.Schema:
    """The schema of a Parquet file.

    Raises:
        DataError: If it is none.
    """
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition(". ")[0]
        raise DataError(f"is no Parquet file that can be read: {reason}.", place=path) from error
