"""A RetinaNet of the Garden in this process: built, and detecting."""

from __future__ import annotations

from typing import Any

from ..network import Batched


def build(task_config: Any) -> tuple[Any, Any]:
    """The task of a configuration and its network, with all its variables."""
    import tensorflow as tf
    from official.core import task_factory

    task = task_factory.get_task(task_config)
    model = task.build_model()
    height, width, channels = task_config.model.input_size
    model(tf.zeros([1, height, width, channels]), image_shape=tf.constant([[height, width]]),
          training=False)  # fmt: skip
    return task, model


class Detector(Batched):
    """Detections of a network, traced once; used like `tlx_worker.network.Detector`.

    Args:
        model: From `build`.
        task_config: Its configuration.

    Attributes:
        size: Height and width of the input in pixels.
    """

    def __init__(self, model: Any, task_config: Any) -> None:
        import tensorflow as tf

        self._model = model
        self.size = [int(side) for side in task_config.model.input_size[:2]]
        image = tf.TensorSpec([None, None, 3], tf.uint8)
        self._prepare = tf.function(self.prepared, input_signature=[image])
        inputs = tf.TensorSpec([None, *self.size, 3], tf.float32)
        shapes = tf.TensorSpec([None, 2], tf.float32)
        self._detect = tf.function(self.detected, input_signature=[inputs, shapes])

    def prepared(self, image: Any) -> tuple[Any, Any]:
        """One uint8 image resized, padded and normalised, as the Garden's parser does it."""
        import tensorflow as tf
        from official.vision.ops import preprocess_ops

        image = preprocess_ops.normalize_image(image)
        image, info = preprocess_ops.resize_and_crop_image(image, self.size, self.size)
        # Rows of the information: original size, wanted size, scale, offset.
        return tf.ensure_shape(image, [*self.size, 3]), info[0] * info[2]

    def detected(self, inputs: Any, shapes: Any) -> tuple[Any, Any, Any]:
        """Boxes as fractions of the image without its padding, scores, classes from 0."""
        import tensorflow as tf

        found = self._model(inputs, image_shape=shapes, training=False)
        height, width = shapes[:, 0], shapes[:, 1]
        sides = tf.stack([height, width, height, width], axis=1)[:, None, :]
        classes = tf.cast(found["detection_classes"], tf.float32) - 1.0
        return found["detection_boxes"] / sides, found["detection_scores"], classes

    def prepare(self, image: Any) -> tuple[Any, Any]:
        """One image for the network.

        Args:
            image: uint8 array (height, width, 3), RGB.

        Returns:
            float32 tensor (1, height, width, 3), and the float32 height and width (1, 2) that the
            image takes of it.
        """
        inputs, shape = self._prepare(image)
        return inputs[None], shape[None]

    def detect(self, inputs: Any, shapes: Any) -> tuple[Any, Any, Any]:
        """Boxes, scores and classes of a batch of prepared images.

        Returns:
            Arrays (images, boxes, 4) of ymin, xmin, ymax, xmax as fractions of the image without
            its padding; (images, boxes) of scores; (images, boxes) of class indices from 0.
        """
        boxes, scores, classes = self._detect(inputs, shapes)
        return boxes.numpy(), scores.numpy(), classes.numpy()
