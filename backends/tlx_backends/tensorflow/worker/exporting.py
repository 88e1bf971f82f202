"""The job ``export``: a checkpoint in a form that runs without the API.

Every form is loaded again and compared with the checkpoint on the same images before it counts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlx.worker_protocol import Channel, WorkerError

from . import network, parity, pipeline_config, tflite, trained
from .checkpoints import Pointer
from .exported import FROZEN_GRAPH, SAVED_MODEL, TFLITE

OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
OUTPUT_MEANING = {
    "detection_boxes": "float32 [n, m, 4]: ymin, xmin, ymax, xmax as fractions of the image",
    "detection_scores": "float32 [n, m], 0 to 1, falling",
    "detection_classes": "float32 [n, m]: the id of the class",
    "num_detections": "float32 [n]",
}
IMAGE_INPUT = {
    "tensor": "input_tensor",
    "array": "uint8 [n, height, width, 3], RGB, pixels as stored (no EXIF orientation)",
    "values": "0 to 255; resized and normalised inside",
}
FIRST_ID = 1
_LABEL_MAP = "label_map.pbtxt"
# Lite runs float32 convolutions of its own, and a suppression of its own.
_TOLERANCE = {"savedmodel": 1e-4, "frozen-graph": 1e-4, "tflite": 2e-3}


def export(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """Write a checkpoint in another form, load it, and compare.

    Raises:
        WorkerError: If the network cannot have this form, or what is loaded detects otherwise.
    """
    form, dest = str(job["to"]), Path(job["dest"])
    writers: dict[str, Callable[[Any, Any, Pointer, Path], tuple[str, ...]]] = {
        "savedmodel": _saved_model,
        "frozen-graph": _frozen_graph,
        "tflite": _tflite,
    }
    if form not in writers:
        raise WorkerError("usage", f"{form} is none of {', '.join(writers)}.")
    if form == "tflite":
        tflite.require_possible(trained.config_of(Pointer.read(Path(str(job["checkpoint"])))))
    channel.emit("phase", name="build")
    pointer, model, config = trained.load(str(job["checkpoint"]))
    channel.emit("phase", name=f"write {form}")
    files = [*writers[form](model, config, pointer, dest), *_companions(pointer, config, dest)]
    channel.emit("phase", name="compare")
    arrays = parity.images([str(path) for path in job.get("images") or ()], config)
    expected = parity.of_detector(network.Detector(model, config), arrays)
    found = parity.of_file(form, dest, arrays)
    agreement = parity.compare(expected, found, _TOLERANCE[form])
    if agreement.missed:
        raise WorkerError(
            "failed",
            f"the {form} does not find what the checkpoint finds: {agreement.missed} of "
            f"{agreement.compared} detections differ by more than {_TOLERANCE[form]:g}.",
            hint="Keep the checkpoint, and report this with the run's pipeline.config.",
        )
    channel.emit("log", message=agreement.told(form, len(arrays)))
    return {"files": files, "parity": agreement.plain(), **_described(form, model, config)}


def _described(form: str, model: Any, config: Any) -> dict[str, Any]:
    """How to feed the file and read what it gives."""
    height, width = network.input_shape(config)
    kind = getattr(config.model, config.model.WhichOneof("model")).image_resizer
    stretched = kind.WhichOneof("image_resizer_oneof") == "fixed_shape_resizer"
    size = f"{'stretched' if stretched else 'scaled and padded'} to {width} x {height}"
    if form != "tflite":
        tensor = {"tensor": "image_tensor"} if form == "frozen-graph" else {}
        told = IMAGE_INPUT | tensor | {"size": f"any; {size} (width x height) inside"}
        return {"first_id": FIRST_ID, "input": told, "output": OUTPUT_MEANING}
    return {
        "first_id": 0,
        "input": {
            "array": f"float32 [1, {height}, {width}, 3], RGB, pixels as stored",
            "size": f"{size} (width x height)",
            "resizing": "bilinear",
            **_normalization(model, height, width),
        },
        "output": {
            "output_0": "float32 [1]: the number of detections",
            "output_1": "float32 [1, m]: scores, 0 to 1, falling",
            "output_2": "float32 [1, m]: the id of the class",
            "output_3": "float32 [1, m, 4]: ymin, xmin, ymax, xmax as fractions of the image",
        },
    }


def _normalization(model: Any, height: int, width: int) -> dict[str, Any]:
    """What the API does to the values of an image, measured on a black and a white one."""
    import tensorflow as tf

    ends = [tf.fill([1, height, width, 3], value) for value in (0.0, 255.0)]
    black, white = (model.preprocess(end)[0].numpy()[0, 0, 0].astype(float) for end in ends)
    return {
        "values": "value * scale + shift of 0 to 255, for each of R, G, B",
        "scale": [round(float(w - b) / 255.0, 9) for b, w in zip(black, white, strict=True)],
        "shift": [round(float(b), 6) for b in black],
    }


def _companions(pointer: Pointer, config: Any, dest: Path) -> list[str]:
    """What users of an exported network look for beside it: classes and configuration."""
    names = []
    label_map = Path(config.train_input_reader.label_map_path)
    if not label_map.is_file():
        items = (
            f"item {{\n  id: {number}\n  name: {_quoted(name)}\n}}\n"
            for number, name in enumerate(pointer.classes, start=1)
        )
        (dest / _LABEL_MAP).write_text("".join(items), encoding="utf-8")
    else:
        shutil.copyfile(label_map, dest / _LABEL_MAP)
    names.append(_LABEL_MAP)
    shutil.copyfile(pointer.run / pipeline_config.FILE_NAME, dest / pipeline_config.FILE_NAME)
    return [*names, pipeline_config.FILE_NAME]


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _serving(model: Any, config: Any) -> Any:
    """The network as a module with one function: uint8 images in, detections out.

    The API's exporter fixes the batch at one image; here it is free. Names and meaning of the
    outputs are the API's: boxes are fractions of the image (ymin, xmin, ymax, xmax), classes are
    the label map's ids as floats.
    """
    import tensorflow as tf

    height, width = network.input_shape(config)

    class Serving(tf.Module):  # type: ignore[misc]
        """Holds the variables that the function uses."""

        def __init__(self) -> None:
            super().__init__()
            self.network = model

    def detect(input_tensor: Any) -> Any:
        network.set_training(model, active=False)
        inputs, shapes = model.preprocess(tf.cast(input_tensor, tf.float32))
        inputs = tf.ensure_shape(inputs, [None, height, width, 3])
        found = model.postprocess(model.predict(inputs, shapes), shapes)
        values = {name: tf.cast(found[name], tf.float32) for name in OUTPUTS}
        values["detection_classes"] += 1.0
        return values

    module = Serving()
    spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="input_tensor")
    module.detect = tf.function(detect, input_signature=[spec], autograph=False)
    return module


def _saved_model(model: Any, config: Any, _pointer: Pointer, dest: Path) -> tuple[str, ...]:
    return write_saved_model(model, config, dest)


def write_saved_model(model: Any, config: Any, dest: Path) -> tuple[str, ...]:
    """Write ``saved_model`` with a free batch dimension below a folder."""
    import tensorflow as tf

    module = _serving(model, config)
    signatures = {"serving_default": module.detect.get_concrete_function()}
    tf.saved_model.save(module, str(dest / SAVED_MODEL), signatures=signatures)
    return (SAVED_MODEL,)


def _frozen_graph(model: Any, config: Any, _pointer: Pointer, dest: Path) -> tuple[str, ...]:
    """A TensorFlow 1 graph with the tensor names that its notebooks ask for."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    traced = _serving(model, config).detect.get_concrete_function()
    frozen = convert_to_constants.convert_variables_to_constants_v2(traced)
    (source,) = (tensor.name for tensor in frozen.inputs)
    # A mapping is flattened in the order of its keys.
    outputs = dict(zip(sorted(OUTPUTS), (tensor.name for tensor in frozen.outputs), strict=True))
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.uint8, [None, None, None, 3], "image_tensor")
        tensors = tf.import_graph_def(
            frozen.graph.as_graph_def(),
            input_map={source: images},
            return_elements=[outputs[name] for name in OUTPUTS],
            name="network",
        )
        for name, tensor in zip(OUTPUTS, tensors, strict=True):
            tf.identity(tensor, name)
    (dest / FROZEN_GRAPH).write_bytes(graph.as_graph_def().SerializeToString())
    return (FROZEN_GRAPH,)


def _tflite(_model: Any, config: Any, pointer: Pointer, dest: Path) -> tuple[str, ...]:
    tflite.write(config, pointer.prefix.parent, dest / TFLITE)
    return (TFLITE,)
