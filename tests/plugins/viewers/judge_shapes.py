"""Loads a dataset of all kinds of labels into FiftyOne and prints what FiftyOne has, as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from judge import _drop, documents

from tlx.dataset import Dataset
from tlx_plugins.viewers import loading
from tlx_plugins.viewers.loading import Choice, load


def main(path: str) -> dict[str, Any]:
    import fiftyone as fo

    loaded = load(Dataset.open(path), None, Choice(), _drop)
    ours = fo.load_dataset(loaded.name)
    sample = ours.first()
    answer = {
        "native": [loading.is_native(ours, document) for document in documents(ours)],
        "notes": list(loaded.notes),
        "outlines": [
            [line.label, line.closed, line.object_index, len(line.points)]
            for line in sample.outlines.polylines
        ],
        "first_outline": sample.outlines.polylines[0].points[0],
        "keypoints": [[k.label, k.points] for k in sample.keypoints.keypoints],
        "masks": [
            [box.object_index, box.bounding_box, box.mask.tolist()]
            for box in sample.ground_truth.detections
            if box.mask is not None
        ],
        "boxes": [box.object_index for box in sample.ground_truth.detections],
    }
    trusted = loading.is_native
    loading.is_native = lambda target, document: False
    fo.delete_dataset(loaded.name)
    again = fo.load_dataset(load(Dataset.open(path), None, Choice(), _drop).name).first()
    loading.is_native = trusted
    answer["same_by_add_samples"] = again.to_dict() | VARYING == sample.to_dict() | VARYING
    return answer


VARYING = {"_id": None, "_dataset_id": None, "created_at": None, "last_modified_at": None}

if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)
    text = json.dumps(main(sys.argv[1]))
    os.write(out, text.encode())
    os._exit(0)
