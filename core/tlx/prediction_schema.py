"""Predictions as Arrow batches: one row per image, with nested detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import pyarrow as pa

from tlx.model import Box, Detection, Prediction
from tlx.schema import BOX

_CORNERS = ("xmin", "ymin", "xmax", "ymax")

DETECTION = pa.struct(
    [
        pa.field("category", pa.string(), nullable=False),
        pa.field("box", BOX, nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
PREDICTION = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("detections", pa.list_(DETECTION), nullable=False),
        pa.field("frame", pa.int64()),
        pa.field("seconds", pa.float64()),
    ]
)


def predictions_to_batch(predictions: Sequence[Prediction]) -> pa.RecordBatch:
    """One Arrow batch of `PREDICTION` from predictions."""
    flat = [detection for p in predictions for detection in p.detections]
    boxes = pa.StructArray.from_arrays(
        [pa.array([getattr(d.box, name) for d in flat], pa.float64()) for name in _CORNERS],
        fields=list(BOX),
    )
    detections = pa.StructArray.from_arrays(
        [
            pa.array([d.category for d in flat], pa.string()),
            boxes,
            pa.array([d.score for d in flat], pa.float64()),
        ],
        fields=list(DETECTION),
    )
    ends = accumulate((len(p.detections) for p in predictions), initial=0)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([p.image_id for p in predictions], pa.string()),
            pa.ListArray.from_arrays(
                pa.array(list(ends), pa.int32()), detections, type=pa.list_(DETECTION)
            ),
            pa.array([p.frame for p in predictions], pa.int64()),
            pa.array([p.seconds for p in predictions], pa.float64()),
        ],
        schema=PREDICTION,
    )


def batch_to_predictions(batch: pa.RecordBatch) -> Iterator[Prediction]:
    """The predictions of an Arrow batch of `PREDICTION`, in order.

    Files that were written before tlx predicted on videos lack the last two columns.
    """
    nothing = [None] * batch.num_rows
    frames, times = (
        batch.column(name).to_pylist() if name in batch.schema.names else nothing
        for name in ("frame", "seconds")
    )
    column = batch.column("detections")
    ends = column.offsets.to_pylist()
    # A slice of a longer array keeps the offsets of the whole.
    flat = column.values.slice(ends[0], ends[-1] - ends[0])
    corners = (flat.field("box").field(name).to_pylist() for name in _CORNERS)
    detections = [
        Detection(category, Box(*box), score)
        for category, box, score in zip(
            flat.field("category").to_pylist(),
            zip(*corners, strict=True),
            flat.field("score").to_pylist(),
            strict=True,
        )
    ]
    for row, image_id in enumerate(batch.column("image_id").to_pylist()):
        found = detections[ends[row] - ends[0] : ends[row + 1] - ends[0]]
        yield Prediction(image_id, tuple(found), frames[row], times[row])
