"""How fast a Labelbox export of 100,000 rows is read, beside msgspec alone, and in how much memory.

Makes NDJSON as it is exported with every part ticked: details, workflow history, performance, six
boxes per image of which two have answers; every twelfth row is labelled with nothing. ``minimal``
has the parts that are always there, and one box. Each reader runs in a process of its own that has
imported what it needs and nothing else, and the fastest of some runs counts, by CPU time; the runs
of all readers take turns.

    msgspec        every line decoded into plain dicts, by msgspec alone
    msgspec typed  the same into the reader's own types, which skips what is not asked for
    reader         the reader: Arrow batches of records with boxes, answers, ids, checked
    ingest         the same written as a dataset in Parquet

    python tests/benchmarks/labelbox.py [--rows 100000] [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CHILD = """
import json, resource, sys, time
from pathlib import Path
what, path = sys.argv[1], Path(sys.argv[2])
if what.startswith("msgspec"):
    import msgspec
    decoder = msgspec.json.Decoder()
    if "typed" in what:
        from tlx_plugins.sources.labelbox_schema import ExportRow
        decoder = msgspec.json.Decoder(ExportRow)
else:
    import pyarrow
    import pyarrow.compute, pyarrow.parquet
    from tlx.context import Context
    from tlx.dataset import Operation, write_dataset
    from tlx_plugins.sources import labelbox_reader
    from tlx_plugins.sources.labelbox import LabelboxOptions, LabelboxSource
    pyarrow.array([1])  # Where pandas is installed, the first array imports it.
start = time.process_time()
rows = objects = 0
if what.startswith("msgspec"):
    with path.open("rb") as file:
        for line in file:
            decoder.decode(line)
            rows += 1
elif what == "reader":
    for batch in LabelboxSource().read(path, LabelboxOptions(), Context()).content:
        rows += batch.num_rows
        objects += len(batch.column("objects").flatten())
else:
    context = Context()
    reading = LabelboxSource().read(path, LabelboxOptions(), context)
    lineage = (Operation(name="ingest", plugin="labelbox", version="0"),)
    dataset = write_dataset(path.with_suffix(".tlx"), reading.content, reading.taxonomy,
                            reading.media_root, lineage, issues=context.issues, overwrite=True)
    rows, objects = dataset.counts.images, dataset.counts.objects
seconds = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"rows": rows, "objects": objects, "seconds": seconds, "peak_mb": peak}))
"""
READERS = ("msgspec", "msgspec typed", "reader", "ingest")


def make_row(number: int, dice: random.Random, *, whole: bool) -> dict[str, Any]:
    """One line of an export; ``whole`` with every optional part."""
    stamp = f"2024-04-08T16:{number % 60:02d}:26.000+00:00"
    things = []
    count = 0 if number % 12 == 0 else 6 if whole else 1
    for place in range(count):
        thing: dict[str, Any] = {
            "feature_id": f"clfeat{number:012d}{place:07d}",
            "feature_schema_id": f"clschema{place % 3:017d}",
            "name": ("traffic light", "sign", "car")[place % 3],
            "annotation_kind": "ImageBoundingBox",
            "classifications": [],
            "bounding_box": {
                "top": float(dice.randrange(900)),
                "left": float(dice.randrange(1700)),
                "height": float(dice.randrange(8, 100)),
                "width": float(dice.randrange(5, 100)),
            },
        }
        if whole:
            thing["value"] = thing["name"]
        if whole and place % 3 == 0:
            thing["classifications"] = [
                {
                    "feature_id": f"clans{number:013d}{place:07d}",
                    "feature_schema_id": "clquestion000000000000000",
                    "name": "state",
                    "value": "state",
                    "radio_answer": {
                        "feature_id": f"clopt{number:013d}{place:07d}",
                        "feature_schema_id": "clgreen000000000000000000",
                        "name": "green",
                        "value": "green",
                        "classifications": [],
                    },
                }
            ]
        things.append(thing)
    label: dict[str, Any] = {
        "label_kind": "Default",
        "version": "1.0.0",
        "id": f"cllab{number:020d}",
    }
    row: dict[str, Any] = {
        "data_row": {
            "id": f"clrow{number:020d}",
            "external_id": f"drive {number // 1000:03d}/{number:07d}.jpg",
            "row_data": f"https://storage.labelbox.com/clorg%2F{number:032x}-{number:07d}.jpg"
            "?Expires=1685972322541&KeyName=labelbox-assets-key-3&Signature=taJyTOu-bZ2jV5cW",
        },
        "media_attributes": {"height": 1080, "width": 1920, "mime_type": "image/jpeg"},
    }
    project: dict[str, Any] = {"name": "lights", "labels": [label]}
    if whole:
        user = "annotator@example.com"
        row["data_row"]["global_key"] = f"lights-{number:07d}"
        row["data_row"]["details"] = {
            "dataset_id": "clset00000000000000000000",
            "dataset_name": "drives",
            "created_at": stamp,
            "updated_at": stamp,
            "last_activity_at": stamp,
            "created_by": user,
        }
        row["media_attributes"] |= {"asset_type": "image", "exif_rotation": "1"}
        row |= {"attachments": [], "metadata_fields": [], "embeddings": []}
        steps = [("Move", "Review"), ("Approve", "Done"), ("Rework", "Rework")]
        project["project_details"] = {
            "ontology_id": "clont00000000000000000000",
            "task_name": "Done",
            "batch_name": "first",
            "priority": 5,
            "workflow_status": "DONE",
            "workflow_history": [
                {"action": a, "created_at": stamp, "created_by": user, "next_task_name": t}
                for a, t in steps
            ],
        }
        label["label_details"] = {"created_at": stamp, "updated_at": stamp, "created_by": user}
        label["label_details"]["reviews"] = []
        label["performance_details"] = {
            "seconds_to_create": 31,
            "seconds_to_review": 4,
            "skipped": False,
        }
    label["annotations"] = {"objects": things, "classifications": [], "relationships": []}
    row["projects"] = {"clproject0000000000000000": project}
    return row


def make_file(path: Path, rows: int, *, whole: bool) -> None:
    """Write an export."""
    dice = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            file.write(json.dumps(make_row(number, dice, whole=whole)) + "\n")


def measure(path: Path, repeat: int) -> dict[str, dict[str, Any]]:
    """The fastest run of each reader, each run in a process of its own."""
    results: dict[str, list[dict[str, Any]]] = {reader: [] for reader in READERS}
    for _ in range(repeat):
        for reader, done in results.items():
            command = [sys.executable, "-c", CHILD, reader, str(path)]
            child = subprocess.run(command, check=True, capture_output=True, text=True)
            done.append(json.loads(child.stdout))
    return {
        reader: min(done, key=lambda result: result["seconds"]) for reader, done in results.items()
    }


def main() -> None:
    """Make the files, read them, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("whole", "minimal"):
            for rows in (arguments.rows // 10, arguments.rows):
                path = Path(folder) / f"{kind}{rows}.ndjson"
                make_file(path, rows, whole=kind == "whole")
                best = measure(path, arguments.repeat)
                for figures in best.values():
                    for peer in ("msgspec", "msgspec typed"):
                        share = best[peer]["seconds"] / figures["seconds"]
                        figures[f"speed of {peer}"] = round(share, 2)
                for reader, figures in best.items():
                    figures |= {"reader": reader, "kind": kind}
                    figures["seconds"] = round(figures["seconds"], 3)
                    figures["file_mb"] = round(path.stat().st_size / 1e6, 1)
                    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
