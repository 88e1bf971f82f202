"""The forms in which the torch backend writes a checkpoint. Imports no torch."""

from __future__ import annotations

from tlx.api import ExportForm

TORCHSCRIPT_FILE = "model.torchscript.pt"
ONNX_FILE = "model.onnx"

FORMS = (
    ExportForm("torchscript", "torch and torchvision without tlx, in Python or C++", predicts=True),
    ExportForm("onnx", "ONNX Runtime, with the suppression in the graph", predicts=True),
)
