"""Loads a drive into FiftyOne and lets FiftyOne itself judge the result; prints JSON.

A program of its own, because FiftyOne takes its settings when it is imported and keeps its
database until the interpreter ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tlx.dataset import Dataset
from tlx.model import Detection, Prediction
from tlx.predictions import write_predictions
from tlx_plugins.viewers import loading
from tlx_plugins.viewers.loading import Choice, load


def main(path: str, predictions: str) -> dict[str, Any]:
    import fiftyone as fo

    dataset, file = Dataset.open(path), Path(predictions)
    whole = load(dataset, file, Choice(score_threshold=0.0), _drop)
    chosen = load(dataset, file, Choice(), _drop)
    begin = time.perf_counter()
    again = load(dataset, file, Choice(), _drop)
    reuse_seconds = time.perf_counter() - begin
    ours = fo.load_dataset(chosen.name)
    answer = {
        "class_wise": compare_runs(fo.load_dataset(whole.name), 0.0, "eval", classwise=True),
        "agnostic": compare_runs(fo.load_dataset(whole.name), 0.0, "confusion", classwise=False),
        "chosen": compare_runs(ours, 0.3, "eval", classwise=True),
        "native": [loading.is_native(ours, document) for document in documents(ours)],
        "views": view_counts(ours),
        "reused": again.reused and not chosen.reused and again.name == chosen.name,
        "reuse_seconds": reuse_seconds,
        "other_name": whole.name != chosen.name,
        "colors": ours.app_config.color_scheme.fields[0]["valueColors"],
        "types": {n: type(f).__name__ for n, f in ours.get_field_schema(flat=True).items()},
        "track": ours.match(fo.ViewField("objects") > 1).first().ground_truth.detections[1].track,
        "filepaths": len(loading.known_files()),
    }
    interrupt(ours)
    answer["mended"] = not load(dataset, file, Choice(), _drop).reused
    answer["views_by_add_samples"] = by_add_samples(dataset, file, chosen.name)
    plain = load(dataset, None, Choice(limit=7), _drop)
    answer["plain"] = [plain.images, list(plain.views), plain.opening(None)]
    perfect = load(dataset, perfect_predictions(dataset, file), Choice(), _drop)
    answer["perfect"] = [perfect.opening(None), perfect.opening("mistakes"), list(perfect.notes)]
    worst = load(dataset, file, Choice(limit=5), _drop)
    answer["worst"] = fo.load_dataset(worst.name).values("image_id")
    answer["classes_from_disk"] = reopened_report(chosen.name)
    return answer


def _drop(text: str) -> None:
    del text


def perfect_predictions(dataset: Dataset, beside: Path) -> Path:
    found = (
        Prediction(r.image_id, tuple(Detection(o.category, o.box, 1.0) for o in r.objects if o.box))
        for r in dataset.records()
    )
    return write_predictions(beside.with_name("perfect.parquet"), found, {}, overwrite=True).path


def documents(ours: Any) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in document.items() if value is not None}
        for document in ours._sample_collection.find({})
    ]


def compare_runs(ours: Any, threshold: float, key: str, *, classwise: bool) -> dict[str, Any]:
    """FiftyOne evaluates the same boxes: do both runs say the same?"""
    from fiftyone import ViewField as F

    judged = ours.exists("predictions").filter_labels(
        "predictions", F("confidence") >= threshold, only_matches=False
    )
    theirs = judged.clone(f"{ours.name}-{key}-theirs", persistent=True)
    settings = {"gt_field": "ground_truth", "iou": 0.5, "classwise": classwise}
    results = theirs.evaluate_detections(
        "predictions", eval_key="theirs", compute_mAP=classwise, progress=False, **settings
    )
    mine = ours.load_evaluation_results(key)
    classes = sorted({*results.classes} - {"(none)"})
    answer: dict[str, Any] = {
        "labels": 0,
        "differences": [],
        "same_report": results.report(classes=classes) == mine.report(classes=classes),
        "same_confusion": bool(
            np.array_equal(
                results.confusion_matrix(classes=classes), mine.confusion_matrix(classes=classes)
            )
        ),
    }
    if classwise:
        answer["map"] = [results.mAP(), mine.mAP()]
        answer["mar"] = [results.mAR(), mine.mAR()]
    for sample in theirs:
        for box in (*sample.ground_truth.detections, *sample.predictions.detections):
            answer["labels"] += 1
            told, judged_as = verdict(box, key), verdict(box, "theirs")
            if told != judged_as:
                answer["differences"].append([sample.image_id, told, judged_as])
        told = [sample[f"{key}_{c}"] for c in ("tp", "fp", "fn")]
        if told != [sample[f"theirs_{c}"] for c in ("tp", "fp", "fn")]:
            answer["differences"].append([sample.image_id, told])
    return answer


def verdict(box: Any, key: str) -> list[Any]:
    """Right or wrong, partner and overlap; the fields of an unmatched box may be absent."""
    values = [box.get_attribute_value(f"{key}{end}", None) for end in ("", "_id", "_iou")]
    return [values[0], values[1] or "", round(values[2] or 0, 9)]


def view_counts(ours: Any) -> dict[str, list[Any]]:
    """For each saved view: images, objects and detections that it shows."""
    counts = {}
    for name in ours.list_saved_views():
        view = ours.load_saved_view(name)
        if name == "one per group":
            counts[name] = [len(view)]
            continue
        objects = view.count("ground_truth.detections")
        counts[name] = [len(view), objects, view.count("predictions.detections")]
    return counts


def interrupt(ours: Any) -> None:
    """Make a dataset look like one whose loading was killed."""
    del ours.info["tlx"]
    ours.save()


def by_add_samples(dataset: Dataset, file: Path, name: str) -> dict[str, list[Any]]:
    """What the views count when our documents are not trusted."""
    import fiftyone as fo

    fo.delete_dataset(name)
    trusted = loading.is_native
    loading.is_native = lambda target, document: False
    load(dataset, file, Choice(), _drop)
    loading.is_native = trusted
    return view_counts(fo.load_dataset(name))


def reopened_report(name: str) -> list[str]:
    import fiftyone as fo

    results = fo.load_dataset(name).load_evaluation_results("eval", cache=False)
    return [str(value) for value in results.classes]


if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)
    text = json.dumps(main(sys.argv[1], sys.argv[2]))
    os.write(out, text.encode())
    # The interpreter would wait for a database that has gone.
    os._exit(0)
