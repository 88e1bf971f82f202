"""Runs in the Python that TLX_TENSORFLOW_PYTHON names: what TensorFlow reads in a record file."""

import json
import sys

import tensorflow as tf

FLOATS = [
    *(f"image/object/bbox/{corner}" for corner in ("xmin", "xmax", "ymin", "ymax")),
    *("image/object/area", "image/object/keypoint/x", "image/object/keypoint/y"),
    *("image/class/confidence", "image/object/mask/weight", "image/object/weight"),
]
INTEGERS = [
    *("image/height", "image/width", "image/object/class/label", "image/class/label"),
    *(
        f"image/object/{name}"
        for name in ("is_crowd", "difficult", "truncated", "occluded", "group_of", "track/label")
    ),
    *("image/object/keypoint/visibility", "image/object/keypoint/num"),
]
BYTES = [
    *("image/filename", "image/format", "image/source_id", "image/key/sha256", "image/class/text"),
    *("image/object/class/text", "image/object/view", "image/object/keypoint/text"),
]
SPEC = {
    **{key: tf.io.VarLenFeature(tf.float32) for key in FLOATS},
    **{key: tf.io.VarLenFeature(tf.int64) for key in INTEGERS},
    **{key: tf.io.VarLenFeature(tf.string) for key in (*BYTES, "image/object/mask")},
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
}


def plain(value):
    """A value for JSON."""
    return value.decode() if isinstance(value, bytes) else value


def main(path, compression):
    """Print each record of a file as a line of JSON."""
    for record in tf.data.TFRecordDataset(path, compression_type=compression):
        parsed = tf.io.parse_single_example(record, SPEC)
        encoded = parsed.pop("image/encoded")
        masks = parsed.pop("image/object/mask").values
        found = {
            key: [plain(v) for v in value.values.numpy().tolist()]
            for key, value in parsed.items()
            if value.values.shape[0]
        }
        found["keys"] = sorted(tf.train.Example.FromString(record.numpy()).features.feature)
        found["pixels"] = list(tf.io.decode_image(encoded).shape)
        found["bytes"] = len(encoded.numpy())
        found["mask areas"] = [int(tf.math.count_nonzero(tf.io.decode_image(m, 1))) for m in masks]
        print(json.dumps(found))


main(*sys.argv[1:])
