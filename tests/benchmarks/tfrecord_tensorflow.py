"""TensorFlow's side of ``tfrecord.py``: obeys commands on stdin, in the Python that has TensorFlow.

Each line of input is a JSON list: a name of a function below and its arguments. The answer is the
seconds of wall and of CPU time that it took, as a JSON list. It also has what both sides share.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

BOXES = 7


def features(number: int, data: bytes) -> dict[str, list]:
    """The content of a record: the same for both writers."""
    corners = [0.1 + 0.01 * ((number + box) % 50) for box in range(BOXES)]
    return {
        "image/encoded": [data],
        "image/filename": [f"street/{number:06d}.jpg".encode()],
        "image/format": [b"jpeg"],
        "image/height": [720],
        "image/key/sha256": [b"0" * 64],
        "image/object/bbox/xmax": [corner + 0.2 for corner in corners],
        "image/object/bbox/xmin": corners,
        "image/object/bbox/ymax": [corner + 0.3 for corner in corners],
        "image/object/bbox/ymin": corners,
        "image/object/class/label": [1 + box % 3 for box in range(BOXES)],
        "image/object/class/text": [b"traffic light"] * BOXES,
        "image/source_id": [str(number).encode()],
        "image/width": [1280],
    }


def paths(folder: str) -> list[Path]:
    """The images of a folder, in order."""
    return sorted(Path(folder).iterdir())


def _example(values: dict[str, list]) -> bytes:
    import tensorflow as tf

    made = {}
    for key, value in values.items():
        if isinstance(value[0], bytes):
            made[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
        elif isinstance(value[0], float):
            made[key] = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        else:
            made[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=value))
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def write(folder: str, copies: int, dest: str) -> Callable[[], None]:
    """Write records from images that are in memory."""
    import tensorflow as tf

    images = [path.read_bytes() for path in paths(folder)]

    def run() -> None:
        with tf.io.TFRecordWriter(dest) as writer:
            for number in range(len(images) * copies):
                writer.write(_example(features(number, images[number % len(images)])))

    return run


def convert(folder: str, copies: int, dest: str) -> Callable[[], None]:
    """Write records from image files, with their checksums."""
    import tensorflow as tf

    files = paths(folder)

    def run() -> None:
        with tf.io.TFRecordWriter(dest) as writer:
            for number in range(len(files) * copies):
                data = files[number % len(files)].read_bytes()
                values = features(number, data)
                values["image/key/sha256"] = [hashlib.sha256(data).hexdigest().encode()]
                writer.write(_example(values))

    return run


def read(path: str) -> Callable[[], None]:
    """Read records, as bytes in Python."""
    import tensorflow as tf

    def run() -> None:
        for record in tf.data.TFRecordDataset(path):
            record.numpy()

    return run


def read_iterator(path: str) -> Callable[[], None]:
    """The same through the quicker of TensorFlow's two iterators."""
    import tensorflow as tf

    def run() -> None:
        for _ in tf.data.TFRecordDataset(path).as_numpy_iterator():
            pass

    return run


def read_parsed(path: str) -> Callable[[], None]:
    """Read records and parse the Examples."""
    import tensorflow as tf

    def run() -> None:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            tf.train.Example.FromString(record)

    return run


def _main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    known = {f.__name__: f for f in (write, convert, read, read_iterator, read_parsed)}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        run = known[name](*arguments)
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        took = [time.perf_counter() - wall, time.process_time() - cpu]
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    _main()
