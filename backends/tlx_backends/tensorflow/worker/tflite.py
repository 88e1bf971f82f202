"""TensorFlow Lite, by the API's own converter and for the networks that it can convert."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tlx.worker_protocol import WorkerError

_DETECTIONS = 100


def require_possible(config: Any) -> None:
    """Refuse the networks that the API has no Lite form of.

    Raises:
        WorkerError: With those that have one.
    """
    kind = config.model.WhichOneof("model")
    resizer = getattr(config.model, kind).image_resizer.WhichOneof("image_resizer_oneof")
    if kind == "ssd" and resizer == "fixed_shape_resizer":
        return
    raise WorkerError(
        "usage",
        "the API converts SSD networks with a stretched input only (ssd_mobilenet_v2, "
        "ssd_mobilenet_v2_fpnlite, ssd_resnet*_v1_fpn) to TensorFlow Lite.",
        place="--to tflite",
        hint="Export it as savedmodel.",
    )


def write(config: Any, folder: Path, dest: Path) -> None:
    """Convert the only checkpoint of a folder.

    The file takes one float32 image of the input's size, normalised as the network wants it, and
    gives boxes, classes from 0, scores and their number.
    """
    import tensorflow as tf
    from object_detection import export_tflite_graph_lib_tf2 as lite

    from .network import set_training

    with tempfile.TemporaryDirectory() as temporary:
        set_training(tf.Module(), active=False)
        # A copy: the API's exporter changes the message.
        copied = type(config).FromString(config.SerializeToString())
        lite.export_tflite_model(copied, str(folder), temporary, _DETECTIONS, use_regular_nms=True)
        converter = tf.lite.TFLiteConverter.from_saved_model(f"{temporary}/saved_model")
        # The detection's last layer is a custom operation that Lite carries.
        converter.allow_custom_ops = True
        dest.write_bytes(converter.convert())
