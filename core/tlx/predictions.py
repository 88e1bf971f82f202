"""Predictions on disk: one Parquet file, one row per image (`tlx.prediction_schema.PREDICTION`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.errors import DataError, UsageError
from tlx.model import Prediction

_META = b"tlx"
_ROWS = 4096


@dataclass(frozen=True, slots=True)
class PredictionsFile:
    """An opened predictions file: where it is and what made it.

    Attributes:
        path: The Parquet file.
        meta: Plain values such as the dataset's fingerprint, split, checkpoint and classes.
    """

    path: Path
    meta: Mapping[str, Any]

    def __iter__(self) -> Iterator[Prediction]:
        import pyarrow.parquet as pq

        from tlx.prediction_schema import batch_to_predictions

        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_ROWS):
                yield from batch_to_predictions(batch)


def open_predictions(path: Path) -> PredictionsFile:
    """Open a predictions file.

    Raises:
        UsageError: If there is no such file.
        DataError: If it is not a predictions file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UsageError(f"there is no predictions file {path}.", hint="Make one with: tlx predict")
    try:
        schema = pq.read_schema(path)
        meta = json.loads((schema.metadata or {})[_META])
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise DataError("is not a tlx predictions file.", place=path) from error
    return PredictionsFile(path, meta)


def write_predictions(
    path: Path,
    predictions: Iterable[Prediction],
    meta: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> PredictionsFile:
    """Write predictions, whole or not at all, as they come."""
    import pyarrow.parquet as pq

    from tlx.prediction_schema import PREDICTION, predictions_to_batch
    from tlx.staging import staged

    schema = PREDICTION.with_metadata({_META: json.dumps(dict(meta), sort_keys=True).encode()})
    with (
        staged(path, overwrite=overwrite) as target,
        pq.ParquetWriter(target, schema, compression="zstd") as file,
    ):
        part: list[Prediction] = []
        for prediction in predictions:
            part.append(prediction)
            if len(part) == _ROWS:
                file.write_batch(predictions_to_batch(part))
                part = []
        if part:
            file.write_batch(predictions_to_batch(part))
    return PredictionsFile(path, meta)
