"""The forms in which the TensorFlow backends write a checkpoint."""

from __future__ import annotations

from tlx.api import ExportForm

SAVED_MODEL = ExportForm("savedmodel", "TensorFlow 2, TensorFlow Serving", predicts=True)
FORMS = (
    SAVED_MODEL,
    ExportForm("frozen-graph", "TensorFlow 1 and its notebooks", predicts=True),
    ExportForm("tflite", "TensorFlow Lite; of SSD networks", predicts=True),
)
