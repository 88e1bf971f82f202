"""A network of the Object Detection API in this process: built, capped, frozen, detecting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from . import pipeline_config

# Detections below this score are not sent: they change no metric, and are most of what is found.
KEPT_SCORE = 0.01


def input_shape(config: Any) -> tuple[int, int]:
    """Height and width of the network's input in pixels.

    Raises:
        ValueError: If the configuration leaves them to each image: those cannot share a batch.
    """
    resizer = getattr(config.model, config.model.WhichOneof("model")).image_resizer
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        return int(resizer.fixed_shape_resizer.height), int(resizer.fixed_shape_resizer.width)
    if (
        kind == "keep_aspect_ratio_resizer"
        and resizer.keep_aspect_ratio_resizer.pad_to_max_dimension
    ):
        side = int(resizer.keep_aspect_ratio_resizer.max_dimension)
        return side, side
    raise ValueError(f"image_resizer: tlx trains with a fixed or a padded input, not {kind}")


def class_count(config: Any) -> int:
    """Number of classes of a configuration."""
    return int(getattr(config.model, config.model.WhichOneof("model")).num_classes)


def build(config: Any) -> Any:
    """The network of a configuration, with all its variables, for training.

    The API creates variables at the first call. One eager call with an empty image does it in two
    seconds; the API's own way traces the loss as well and takes ten times as long.

    Raises:
        ValueError: If the API refuses the configuration.
    """
    import tensorflow as tf
    from object_detection.builders import model_builder

    pipeline_config.require_sound(config)
    model = model_builder.build(config.model, is_training=True, add_summaries=False)
    set_training(model, active=False)
    height, width = input_shape(config)
    image, shape = model.preprocess(tf.zeros([1, height, width, 3]))
    model.postprocess(model.predict(image, shape), shape)
    return model


def set_training(model: Any, *, active: bool) -> None:
    """Switch batch norms, samplers and proposals between training and inference.

    It is read when a function is traced, as the API's own loops do it.
    """
    import tensorflow as tf

    model._is_training = active
    tf.keras.backend.set_learning_phase(active)


def modules(model: Any) -> Iterator[Any]:
    """Every Keras layer and model below a network, itself left out."""
    import tensorflow as tf

    yield from (m for m in model.submodules if isinstance(m, tf.Module))


def cap_norm_momentum(model: Any, steps: int) -> int:
    """Let moving averages of batch norms follow a short training; returns how many were changed.

    Published configurations keep 0.99 to 0.9997 of a moving average per step. After a few hundred
    steps the averages are still the initial ones, and the exported network finds nothing: an mAP of
    0.000 against 0.786 was measured for 800 steps. ``1 - 10 / steps`` leaves exp(-10) of them.
    Two families have the number in code, so it is set on the layers and not in the configuration.
    """
    limit = max(0.9, 1.0 - 10.0 / max(1, steps))
    changed = 0
    # Several classes of batch norm occur, v1 ones too: what they share are these attributes.
    for layer in modules(model):
        if hasattr(layer, "moving_variance") and getattr(layer, "momentum", 0.0) > limit:
            layer.momentum = limit
            changed += 1
    return changed


def backbone(model: Any) -> list[Any]:
    """The layers that hold the backbone: one Keras model, or both stages of Faster R-CNN."""
    two_stage = [
        part
        for name in (
            "_feature_extractor_for_proposal_features",
            "_feature_extractor_for_box_classifier_features",
        )
        if (part := getattr(model, name, None)) is not None and hasattr(part, "variables")
    ]
    if two_stage:
        return two_stage
    found = getattr(model._feature_extractor, "classification_backbone", None)
    if found is None:
        raise ValueError("the feature extractor of this network has no backbone of its own")
    return [found]


def freeze_backbone(model: Any) -> int:
    """Hold the backbone's weights and the averages of its batch norms; returns the variables held.

    The API's `freeze_variables` is read by its TensorFlow 1 code only.
    """
    held = backbone(model)
    for part in held:
        part.trainable = False
    return sum(len(part.variables) for part in held)


class Batched(ABC):
    """What detectors of networks that are built here share."""

    @abstractmethod
    def detect(self, inputs: Any, shapes: Any) -> tuple[Any, Any, Any]:
        """Boxes, scores and classes of a batch of prepared images."""

    def detect_each(self, prepared: Sequence[Any]) -> Iterator[tuple[Any, Any, Any]]:
        """Detections of each of some prepared images, which share a batch."""
        import tensorflow as tf

        inputs = tf.concat([inputs for inputs, _ in prepared], axis=0)
        shapes = tf.concat([shape for _, shape in prepared], axis=0)
        return zip(*self.detect(inputs, shapes), strict=True)


class Detector(Batched):
    """Detections of a network, traced once.

    Args:
        model: From `build`.
        config: Its configuration.
    """

    def __init__(self, model: Any, config: Any) -> None:
        import tensorflow as tf

        self._model = model
        self.classes = class_count(config)
        image = tf.TensorSpec([None, None, None, 3], tf.uint8)
        # The API is written for graphs of TensorFlow 1, so autograph has nothing to rewrite;
        # without it a function is traced in a third of the time.
        self._prepare = tf.function(self._prepared, input_signature=[image], autograph=False)
        # Anchors are laid out while tracing, so height and width have to be known then.
        inputs = tf.TensorSpec([None, *input_shape(config), 3], tf.float32)
        shapes = tf.TensorSpec([None, 3], tf.int32)
        self._detect = tf.function(
            self._detected, input_signature=[inputs, shapes], autograph=False
        )

    def _prepared(self, images: Any) -> Any:
        import tensorflow as tf

        set_training(self._model, active=False)
        return self._model.preprocess(tf.cast(images, tf.float32))

    def _detected(self, inputs: Any, shapes: Any) -> Any:
        set_training(self._model, active=False)
        found = self._model.postprocess(self._model.predict(inputs, shapes), shapes)
        names = ("detection_boxes", "detection_scores", "detection_classes")
        return tuple(found[name] for name in names)

    def prepare(self, image: Any) -> tuple[Any, Any]:
        """One image resized and normalised for the network.

        Args:
            image: uint8 array (height, width, 3), RGB.

        Returns:
            float32 tensor (1, height, width, 3), and its int32 shape (1, 3) without padding.
        """
        inputs, shape = self._prepare(image[None])
        return inputs, shape

    def detect(self, inputs: Any, shapes: Any) -> tuple[Any, Any, Any]:
        """Boxes, scores and classes of a batch of prepared images.

        Returns:
            Arrays (images, boxes, 4) of ymin, xmin, ymax, xmax as fractions of the image without
            its padding; (images, boxes) of scores; (images, boxes) of class indices from 0.
        """
        boxes, scores, classes = self._detect(inputs, shapes)
        return boxes.numpy(), scores.numpy(), classes.numpy()
