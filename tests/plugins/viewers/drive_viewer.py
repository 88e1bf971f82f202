"""Opens the viewer as a program of its own; its events are JSON lines on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tlx.context import Context
from tlx.dataset import Dataset
from tlx.options import build
from tlx_plugins.viewers.fiftyone_app import FiftyOneOptions, FiftyOneViewer

if __name__ == "__main__":
    path, predictions, options = json.loads(sys.argv[1])
    FiftyOneViewer().open(
        Dataset.open(path),
        None if predictions is None else Path(predictions),
        build(FiftyOneOptions, {"browser": False, **options}, "the viewer"),
        Context(emit=lambda event: print(json.dumps(dict(event)), flush=True)),
    )
