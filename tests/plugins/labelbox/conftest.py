"""Rows of Labelbox exports for tests, and the way to read them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tlx.context import Context
from tlx.dataset import to_batches
from tlx.issues import IssueLog
from tlx.model import Record, Taxonomy
from tlx.schema import batch_to_records
from tlx_plugins.sources.labelbox import LabelboxOptions, LabelboxSource


def box(name: str = "car", top: float = 10, left: float = 20, **more: Any) -> dict[str, Any]:
    size = {"height": more.pop("height", 30), "width": more.pop("width", 40)}
    return {
        "feature_id": f"{name}-{top}-{left}",
        "name": name,
        "annotation_kind": "ImageBoundingBox",
        "bounding_box": {"top": top, "left": left, **size},
        **more,
    }


def label(*things: dict[str, Any], name: str = "label", **more: Any) -> dict[str, Any]:
    annotations = {"objects": list(things), "classifications": more.pop("answers", [])}
    annotations |= more.pop("annotations", {})
    return {"id": name, "label_kind": "Default", "annotations": annotations, **more}


def row(*labels: dict[str, Any], name: str = "a.jpg", **more: Any) -> dict[str, Any]:
    data = {"id": f"row {name}", "external_id": name, "row_data": f"https://host.test/{name}"}
    value = {
        "data_row": data | more.pop("data_row", {}),
        "media_attributes": {"height": 100, "width": 200, "mime_type": "image/jpeg"},
        "projects": {"p1": {"name": "lights", "labels": list(labels)}},
    }
    return value | more


def old_row(content: Any, name: str = "a.jpg", **more: Any) -> dict[str, Any]:
    value = {"ID": f"label {name}", "Labeled Data": f"https://host.test/{name}", "Label": content}
    return value | {"Project Name": "old", "External ID": None} | more


def save(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".ndjson":
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    else:
        path.write_text(json.dumps(list(rows), indent=1))
    return path


def read(
    root: Path, policy: str = "fail", **options: Any
) -> tuple[list[Record], IssueLog, Taxonomy]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = LabelboxSource().read(root, LabelboxOptions(**options), context)
    batches = to_batches(reading.content)
    records = [record for batch in batches for record in batch_to_records(batch)]
    assert callable(reading.taxonomy)
    return records, context.issues, reading.taxonomy()


def sizes(path: Path) -> list[int]:
    """How many images each batch has."""
    context = Context(issues=IssueLog("skip"))
    reading = LabelboxSource().read(path, LabelboxOptions(), context)
    return [batch.num_rows for batch in to_batches(reading.content)]


def picture(path: Path, width: int = 200, height: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", (width, height)).save(path)
    return path


@pytest.fixture
def kit() -> SimpleNamespace:
    """The functions above: test modules cannot import each other."""
    return SimpleNamespace(
        box=box,
        label=label,
        row=row,
        old_row=old_row,
        save=save,
        read=read,
        sizes=sizes,
        picture=picture,
    )
