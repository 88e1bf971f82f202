"""Runs in the worker's environment: what the API's own decoder reads in record files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def run(job, channel):
    """Decode every record; one event each."""
    spec = importlib.util.spec_from_file_location(
        "judged", Path(job["worker"]) / "__init__.py", submodule_search_locations=[job["worker"]]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["judged"] = module
    spec.loader.exec_module(module)
    importlib.import_module("judged.jobs").prepare(job)
    import tensorflow as tf
    from object_detection.data_decoders import tf_example_decoder

    decoder = tf_example_decoder.TfExampleDecoder(
        label_map_proto_file=job["label_map"], load_multiclass_scores=False
    )
    for record in tf.data.TFRecordDataset(job["records"]):
        found = decoder.decode(record)
        channel.emit(
            "record",
            filename=found["filename"].numpy().decode(),
            source_id=found["source_id"].numpy().decode(),
            shape=found["image"].shape.as_list(),
            pixels=int(tf.reduce_sum(tf.cast(found["image"], tf.int64))),
            original=found["original_image_spatial_shape"].numpy().tolist(),
            boxes=found["groundtruth_boxes"].numpy().tolist(),
            classes=found["groundtruth_classes"].numpy().tolist(),
            crowd=found["groundtruth_is_crowd"].numpy().tolist(),
            difficult=found["groundtruth_difficult"].numpy().tolist(),
            area=found["groundtruth_area"].numpy().tolist(),
            weights=found["groundtruth_weights"].numpy().tolist(),
        )
    return {}
