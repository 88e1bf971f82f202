"""Every record survives the Arrow schema exactly: values, types, absence."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.model import (
    Box,
    Detection,
    Keypoint,
    Label,
    Object,
    Origin,
    Prediction,
    Record,
    Segmentation,
    Shape,
)
from tlx.prediction_schema import PREDICTION, batch_to_predictions, predictions_to_batch
from tlx.schema import (
    RECORD,
    batch_to_records,
    records_to_batch,
)

real = st.floats(allow_nan=False, allow_infinity=False, width=64)
text = st.text(max_size=12).filter(lambda t: t < "\ud800" or t == "" or t.isprintable())
name = st.text(min_size=1, max_size=8)
flag = st.none() | st.booleans()
boxes = st.builds(Box, real, real, real, real)
attributes = st.dictionaries(
    name, st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1) | real | st.booleans(), max_size=3
)
segmentations = st.builds(
    Segmentation,
    polygons=st.lists(st.lists(real, min_size=2, max_size=6).map(tuple), max_size=2).map(tuple),
    counts=st.none() | st.binary(max_size=4),
    size=st.none() | st.tuples(st.integers(0, 999), st.integers(0, 999)),
    compressed=flag,
)
shapes = st.builds(
    Shape,
    st.sampled_from(["polyline", "ellipse", "cuboid"]),
    st.lists(real, max_size=4).map(tuple),
)
keypoints = st.builds(Keypoint, real, real, st.none() | st.integers(0, 2), st.none() | name)
objects = st.builds(
    Object,
    category=name,
    box=st.none() | boxes,
    object_id=st.none() | name,
    segmentation=st.none() | segmentations,
    shape=st.none() | shapes,
    rotation=st.none() | real,
    keypoints=st.lists(keypoints, max_size=2).map(tuple),
    track=st.none() | name,
    crowd=flag,
    difficult=flag,
    truncated=flag,
    occluded=flag,
    attributes=attributes,
    line=st.none() | st.integers(1, 10**9),
)
records = st.builds(
    Record,
    image_id=name,
    uri=name,
    width=st.none() | st.integers(0, 9999),
    height=st.none() | st.integers(0, 9999),
    split=st.none() | name,
    group=st.none() | name,
    frame=st.none() | st.integers(-5, 10**9),
    labels=st.lists(st.builds(Label, name, flag), max_size=2).map(tuple),
    objects=st.lists(objects, max_size=3).map(tuple),
    attributes=attributes,
    origin=st.none() | st.builds(Origin, name, st.none() | st.integers(1, 99)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(records, max_size=4))
def test_records_survive(rows: list[Record]) -> None:
    batch = records_to_batch(rows)
    assert batch.schema == RECORD
    batch.validate(full=True)
    assert list(batch_to_records(batch)) == rows
    assert [types(r) for r in batch_to_records(batch)] == [types(r) for r in rows]


def types(record: Record) -> list[Any]:
    """``True == 1 == 1.0``, so equality alone would not see an attribute change its type."""
    every = [record.attributes, *(o.attributes for o in record.objects)]
    return [{k: type(v) for k, v in mapping.items()} for mapping in every]


@settings(max_examples=50, deadline=None)
@given(st.lists(records, min_size=2, max_size=5))
def test_a_slice_of_a_batch_reads_like_the_whole(rows: list[Record]) -> None:
    batch = records_to_batch(rows)
    assert list(batch_to_records(batch.slice(1))) == rows[1:]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.builds(
            Prediction,
            name,
            st.lists(st.builds(Detection, name, boxes, real), max_size=3).map(tuple),
            st.none() | st.integers(0, 10**9),
            st.none() | real,
        ),
        max_size=4,
    )
)
def test_predictions_survive(rows: list[Prediction]) -> None:
    batch = predictions_to_batch(rows)
    assert batch.schema == PREDICTION
    assert list(batch_to_predictions(batch)) == rows
    assert list(batch_to_predictions(batch.slice(1))) == rows[1:]
    older = batch_to_predictions(batch.select(["image_id", "detections"]))
    assert [(p.image_id, p.detections) for p in older] == [(p.image_id, p.detections) for p in rows]


def test_no_cell_holds_json_text() -> None:
    record = Record(image_id="a", uri="a", attributes={"n": 3, "f": 0.5, "t": "x", "b": True})
    column = records_to_batch([record]).column("attributes").to_pylist()[0]
    assert [(a["text"], a["integer"], a["real"], a["flag"]) for a in column] == [
        (None, 3, None, None),
        (None, None, 0.5, None),
        ("x", None, None, None),
        (None, None, None, True),
    ]
    assert pa.types.is_struct(RECORD.field("attributes").type.value_type)
