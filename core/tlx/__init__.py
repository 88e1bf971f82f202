"""tlx: from labelled road images to a fine-tuned detector and its mistakes.

The functions here do what the commands of the same name do::

    import tlx

    tlx.ingest("lisa", "~/LISA", "lights.tlx")
    tlx.split("lights.tlx", by="sequence", stratify=True)
    run = tlx.train("lights.tlx", model="fcos_shufflenet_v2_x0_5_fpn", weights="none")
    print(tlx.evaluate(run.path).metrics["ap50"])

Importing this package imports nothing heavy; names are looked up when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlx.context import Context as Context
    from tlx.dataset import Dataset as Dataset
    from tlx.errors import DataError as DataError
    from tlx.errors import MissingExtra as MissingExtra
    from tlx.errors import PluginError as PluginError
    from tlx.errors import TlxError as TlxError
    from tlx.errors import UsageError as UsageError
    from tlx.issues import Issue as Issue
    from tlx.issues import IssueLog as IssueLog
    from tlx.learning import evaluate as evaluate
    from tlx.learning import export as export
    from tlx.learning import inspect as inspect
    from tlx.learning import train as train
    from tlx.model import Box as Box
    from tlx.model import Category as Category
    from tlx.model import Detection as Detection
    from tlx.model import Label as Label
    from tlx.model import Object as Object
    from tlx.model import Prediction as Prediction
    from tlx.model import Record as Record
    from tlx.model import Taxonomy as Taxonomy
    from tlx.picturing import draw_labels as draw_labels
    from tlx.pipeline import convert as convert
    from tlx.pipeline import detect as detect
    from tlx.pipeline import ingest as ingest
    from tlx.pipeline import relabel as relabel
    from tlx.pipeline import split as split
    from tlx.predicting import predict as predict
    from tlx.runs import Run as Run

_HOMES = {
    "Context": "context",
    "Dataset": "dataset",
    "DataError": "errors",
    "MissingExtra": "errors",
    "PluginError": "errors",
    "TlxError": "errors",
    "UsageError": "errors",
    "Issue": "issues",
    "IssueLog": "issues",
    "Box": "model",
    "Category": "model",
    "Detection": "model",
    "Label": "model",
    "Object": "model",
    "Prediction": "model",
    "Record": "model",
    "Taxonomy": "model",
    "Run": "runs",
    "convert": "pipeline",
    "detect": "pipeline",
    "draw_labels": "picturing",
    "ingest": "pipeline",
    "relabel": "pipeline",
    "split": "pipeline",
    "evaluate": "learning",
    "export": "learning",
    "inspect": "learning",
    "predict": "predicting",
    "train": "learning",
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605 - the names are listed once, above


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tlx")
    if name in _HOMES:
        return getattr(importlib.import_module(f"tlx.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tlx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
