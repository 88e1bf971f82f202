"""The job ``evaluate``: the API's own COCO evaluator on our detections, to compare tlx's with.

The evaluator reads the ground truth where the API does: from the records, by its own decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlx.worker_protocol import Channel

from . import images, network, trained


def evaluate(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """Detect in the images of record files and score it as the API does.

    Args:
        job: ``checkpoint`` and ``records``; the detections are sent as in ``predict``, ``image``
            counting over the records.
        channel: The host.

    Returns:
        ``metrics`` by the API's names, and ``ground_truth`` as the decoder read it.
    """
    import numpy as np
    import tensorflow as tf
    from object_detection.core import standard_fields
    from object_detection.data_decoders import tf_example_decoder
    from object_detection.metrics import coco_evaluation

    pointer, model, config = trained.load(str(job["checkpoint"]))
    detector = network.Detector(model, config)
    categories = [{"id": i, "name": name} for i, name in enumerate(pointer.classes, start=1)]
    evaluator = coco_evaluation.CocoDetectionEvaluator(categories)
    label_map = config.train_input_reader.label_map_path
    decoder = tf_example_decoder.TfExampleDecoder(
        label_map_proto_file=label_map if Path(label_map).is_file() else None
    )
    inputs, results = standard_fields.InputDataFields, standard_fields.DetectionResultFields
    records = tf.data.TFRecordDataset([str(path) for path in job["records"]])
    for index, record in enumerate(records):
        decoded = decoder.decode(record)
        image = decoded[inputs.image].numpy()
        height, width = image.shape[:2]
        scale = np.array([height, width, height, width], np.float32)
        boxes, scores, classes = detector.detect(*detector.prepare(image))
        channel.emit(
            "detections",
            image=index,
            **images.in_pixels(boxes[0], scores[0], classes[0], (height, width), 0.0),
        )
        evaluator.add_single_ground_truth_image_info(
            str(index),
            {
                inputs.groundtruth_boxes: decoded[inputs.groundtruth_boxes].numpy() * scale,
                inputs.groundtruth_classes: decoded[inputs.groundtruth_classes].numpy(),
                inputs.groundtruth_is_crowd: decoded[inputs.groundtruth_is_crowd].numpy(),
            },
        )
        evaluator.add_single_detected_image_info(
            str(index),
            {
                results.detection_boxes: np.clip(boxes[0], 0, 1) * scale,
                results.detection_scores: scores[0],
                results.detection_classes: classes[0].astype(int) + 1,
            },
        )
    metrics = {name: float(value) for name, value in evaluator.evaluate().items()}
    return {"metrics": metrics}
