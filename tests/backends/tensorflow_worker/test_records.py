"""Our records as the API's own decoder reads them, field by field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

import tlx
from tlx.model import Record

HERE = Path(__file__).parent
WORKER = HERE.parents[2] / "backends" / "tlx_backends" / "tensorflow" / "worker"


def flagged(records: list[Record]) -> list[Record]:
    """Every second object is difficult, every third a crowd."""
    changed, number = [], 0
    for record in records:
        objects = []
        for item in record.objects:
            objects.append(
                msgspec.structs.replace(item, difficult=number % 2 == 0, crowd=number % 3 == 0)
            )
            number += 1
        changed.append(msgspec.structs.replace(record, objects=tuple(objects)))
    return changed


def test_the_apis_decoder_reads_what_the_dataset_holds(
    scene: Any, run_worker: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    dataset = scene.dataset(change=flagged, splits={"train": 5})
    tlx.convert(dataset.path, "tfrecord", tmp_path / "records")
    events = run_worker(
        {"worker": str(WORKER), "label_map": str(tmp_path / "records" / "label_map.pbtxt"),
         "records": [str(tmp_path / "records" / "train.record")]},
        folder=HERE / "decoder_judge",
    )  # fmt: skip
    read = [event for event in events if event["ev"] == "record"]
    records = list(dataset.records("train"))
    assert len(read) == len(records) == 5
    assert len({event["source_id"] for event in read}) == 5
    names = dataset.taxonomy.names
    for event, record in zip(read, records, strict=True):
        image = np.asarray(Image.open(dataset.image_path(record.uri)).convert("RGB"))
        assert event["filename"] == record.uri
        assert event["shape"] == list(image.shape)
        assert event["pixels"] == int(image.sum(dtype=np.int64))
        assert event["original"] == list(image.shape[:2])
        boxes = [o.box for o in record.objects if o.box is not None]
        height, width = image.shape[:2]
        expected = [[b.ymin / height, b.xmin / width, b.ymax / height, b.xmax / width]
                    for b in boxes]  # fmt: skip
        assert np.allclose(event["boxes"], expected, atol=1e-6)
        # The label map's ids count from 1.
        assert event["classes"] == [names.index(o.category) + 1 for o in record.objects]
        assert event["crowd"] == [bool(o.crowd) for o in record.objects]
        assert list(map(bool, event["difficult"])) == [bool(o.difficult) for o in record.objects]
        assert event["weights"] == pytest.approx([1.0] * len(boxes))
