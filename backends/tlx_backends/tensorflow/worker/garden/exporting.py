"""The job ``export``: a SavedModel that needs TensorFlow only, compared with its checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlx.worker_protocol import Channel, WorkerError

from .. import images as image_files
from .. import parity
from ..exported import SAVED_MODEL
from ..exporting import FIRST_ID, IMAGE_INPUT, OUTPUT_MEANING, OUTPUTS
from . import experiment, network, trained

_TOLERANCE = 1e-4
_SYNTHETIC = 2


def export(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """Write a checkpoint as SavedModel, load it, and compare.

    Raises:
        WorkerError: If another form is asked for, or what is loaded detects otherwise.
    """
    form, dest = str(job["to"]), Path(job["dest"])
    if form != "savedmodel":
        raise WorkerError("usage", f"tfvision exports savedmodel, not {form}.", place="--to",
                          hint="Frozen graphs and TFLite are for --backend tfod.")  # fmt: skip
    channel.emit("phase", name="build")
    pointer, model, task_config = trained.load(str(job["checkpoint"]))
    detector: Any = network.Detector(model, task_config)
    channel.emit("phase", name=f"write {form}")
    write_saved_model(model, detector, dest)
    channel.emit("phase", name="compare")
    arrays = _images([str(path) for path in job.get("images") or ()], task_config)
    expected = parity.of_detector(detector, arrays)
    found = parity.of_file(form, dest, arrays)
    agreement = parity.compare(expected, found, _TOLERANCE)
    if agreement.missed:
        raise WorkerError(
            "failed",
            f"the {form} does not find what the checkpoint finds: {agreement.missed} of "
            f"{agreement.compared} detections differ by more than {_TOLERANCE:g}.",
            hint="Keep the checkpoint, and report this with the run's params.yaml.",
        )
    channel.emit("log", message=agreement.told(form, len(arrays)))
    names = "".join(f"{name}\n" for name in pointer.classes)
    (dest / "classes.txt").write_text(names, encoding="utf-8")
    shutil.copyfile(pointer.run / experiment.FILE_NAME, dest / experiment.FILE_NAME)
    height, width = detector.size
    return {
        "files": [SAVED_MODEL, "classes.txt", experiment.FILE_NAME],
        "parity": agreement.plain(),
        "first_id": FIRST_ID,
        "input": IMAGE_INPUT
        | {"size": f"any; scaled and padded to {width} x {height} (width x height) inside"},
        "output": OUTPUT_MEANING,
    }


def _images(paths: list[str], task_config: Any) -> list[Any]:
    """The images to compare on: those that can be read, or noise where there is none."""
    import numpy as np

    found = []
    for path in paths:
        try:
            found.append(image_files.load(path))
        except OSError:
            continue
    dice = np.random.default_rng(0)
    shape = tuple(task_config.model.input_size)
    return found or [dice.integers(0, 256, shape, np.uint8) for _ in range(_SYNTHETIC)]


def write_saved_model(model: Any, detector: network.Detector, dest: Path) -> None:
    """Write ``saved_model`` with a free batch dimension below a folder.

    Input and outputs are called as in the Object Detection API's: uint8 images of one size; boxes
    as fractions of the image (ymin, xmin, ymax, xmax), classes from 1 as floats.
    """
    import tensorflow as tf

    class Serving(tf.Module):  # type: ignore[misc]
        """Holds the variables that the function uses."""

        def __init__(self) -> None:
            super().__init__()
            self.network = model

    def detect(input_tensor: Any) -> Any:
        inputs, shapes = tf.map_fn(
            detector.prepared, input_tensor, fn_output_signature=(tf.float32, tf.float32)
        )
        inputs = tf.ensure_shape(inputs, [None, *detector.size, 3])
        boxes, scores, classes = detector.detected(inputs, shapes)
        count = tf.reduce_sum(tf.cast(scores > 0, tf.float32), axis=1)
        return dict(zip(OUTPUTS, (boxes, scores, classes + 1.0, count), strict=True))

    module = Serving()
    spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="input_tensor")
    module.detect = tf.function(detect, input_signature=[spec])
    signatures = {"serving_default": module.detect.get_concrete_function()}
    tf.saved_model.save(module, str(dest / SAVED_MODEL), signatures=signatures)
