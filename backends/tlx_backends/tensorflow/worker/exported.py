"""Exported networks: loaded from their files, detecting like the checkpoint that they come from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlx.worker_protocol import WorkerError

from . import pipeline_config

SAVED_MODEL = "saved_model"
FROZEN_GRAPH = "frozen_inference_graph.pb"
TFLITE = "model.tflite"

Found = tuple[Any, Any, Any]
"""Boxes (n, 4) as fractions of the image (ymin, xmin, ymax, xmax), scores (n,), classes from 0."""

_Run = Callable[[Any], Found]


class ExportedDetector:
    """Used like `tlx_worker.network.Detector`: the network itself resizes and normalises.

    Args:
        run: Detects in uint8 images (n, height, width, 3); all that it gives has that n too.
        batches: Whether it takes more than one image at a time.
    """

    def __init__(self, run: _Run, *, batches: bool) -> None:
        self._run = run
        self._batches = batches

    def prepare(self, image: Any) -> Any:
        """One uint8 image (height, width, 3), RGB, as it is."""
        return image

    def detect_each(self, prepared: Sequence[Any]) -> Iterator[Found]:
        """Detections of images in their order; neighbours of one size share a batch."""
        import numpy as np

        for _, group in itertools.groupby(prepared, key=lambda image: image.shape):
            images = list(group)
            together = len(images) if self._batches else 1
            for start in range(0, len(images), together):
                found = self._run(np.stack(images[start : start + together]))
                yield from zip(*found, strict=True)


def load(form: str, folder: Path) -> ExportedDetector:
    """The network of a folder that an export wrote.

    Raises:
        WorkerError: If its files are broken.
    """
    loaders = {"savedmodel": _saved_model, "frozen-graph": _frozen_graph, "tflite": _tflite}
    try:
        return loaders[form](folder)
    except WorkerError:
        raise
    except Exception as error:
        # TensorFlow raises whatever its layers raise: OSError, ValueError, DecodeError.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WorkerError(
            "data",
            f"the {form} cannot be loaded: {first}",
            place=str(folder),
            hint="Export it again: tlx export RUN",
        ) from error


def of_job(job: Mapping[str, Any]) -> ExportedDetector | None:
    """The exported network that a job names, None where it names a checkpoint."""
    named = job.get("exported")
    return None if named is None else load(str(named["form"]), Path(str(named["folder"])))


def _saved_model(folder: Path) -> ExportedDetector:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / SAVED_MODEL))
    detect = loaded.signatures["serving_default"]

    def run(images: Any) -> Found:
        values = detect(input_tensor=tf.constant(images))
        return (
            values["detection_boxes"].numpy(),
            values["detection_scores"].numpy(),
            values["detection_classes"].numpy() - 1,
        )

    # The signature does not keep the variables that it reads.
    run.owner = loaded  # type: ignore[attr-defined]
    return ExportedDetector(run, batches=True)


def _frozen_graph(folder: Path) -> ExportedDetector:
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef.FromString((folder / FROZEN_GRAPH).read_bytes())
    names = ["detection_boxes:0", "detection_scores:0", "detection_classes:0"]
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
    session = tf.compat.v1.Session(graph=graph)

    def run(images: Any) -> Found:
        boxes, scores, classes = session.run(names, {"image_tensor:0": images})
        return boxes, scores, classes - 1

    return ExportedDetector(run, batches=True)


def _tflite(folder: Path) -> ExportedDetector:
    import tensorflow as tf
    from object_detection.builders import model_builder

    interpreter = tf.lite.Interpreter(model_path=str(folder / TFLITE))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    # The file takes what the network is trained on; the way from an image to it is the API's.
    config = pipeline_config.read(folder / pipeline_config.FILE_NAME)
    model = model_builder.build(config.model, is_training=False)

    def run(images: Any) -> Found:
        inputs, _ = model.preprocess(tf.cast(images, tf.float32))
        values = runner(**{name: inputs.numpy()})
        # The signature's outputs are numbered from the last: number, scores, classes, boxes.
        _, scores, classes, boxes = (values[key] for key in sorted(values))
        return boxes, scores, classes

    return ExportedDetector(run, batches=False)
