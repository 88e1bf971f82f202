"""The job ``selftest``: whether this environment can train and export, in under a minute."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tlx.worker_protocol import Channel

from . import (
    anchors,
    exporting,
    jobs,
    network,
    network_config,
    parity,
    pipeline_config,
    stepping,
)
from .checkpoints import Checkpoints
from .families import family

_SIDE = 64
_BATCH = 2
_STEPS = 1


class _Subject:
    """The small network that the checks pass on from one to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: Any = None
        self.model: Any = None
        self.stepper: Any = None
        self.prefix: Path | None = None

    def imports(self) -> str:
        """The versions that were imported."""
        return ", ".join(f"{name} {version}" for name, version in jobs.versions().items())

    def configure(self) -> str:
        """Write and read a configuration."""
        chosen = family("ssd_mobilenet_v2")
        generator = anchors.generator(chosen, anchors.anchors_of([], _SIDE), _SIDE)
        shape = network_config.Shape(2, _SIDE, generator, depth_multiplier=0.35)
        training = pipeline_config.Training(
            label_map="label_map.pbtxt", train=["train.record"], val=[], steps=1, batch_size=_BATCH
        )
        block = network_config.network_block(chosen, shape)
        path = self.folder / pipeline_config.FILE_NAME
        message = pipeline_config.message(pipeline_config.pipeline(chosen, block, training))
        path.write_text(pipeline_config.text(message), encoding="utf-8")
        self.config = pipeline_config.read(path)
        return f"{len(path.read_text(encoding='utf-8').splitlines())} lines written and read"

    def step(self) -> str:
        """Make one training step on noise."""
        import tensorflow as tf

        self.model = network.build(self.config)
        self.stepper = stepping.Stepper(
            self.model, self.config, tf.distribute.get_strategy(), seed=0
        )
        with _untraced():
            losses = self.stepper(_noise())
        return f"loss {float(losses['Loss/total_loss']):.3f}"

    def keep(self) -> str:
        """Write a checkpoint."""
        import tensorflow as tf

        checkpoint = tf.train.Checkpoint(step=self.stepper.step, model=self.model)
        described = {"backend": "tfod", "model": "selftest", "classes": ["a", "b"], "settings": {}}
        keeper = Checkpoints(self.folder / "checkpoints", checkpoint, described)
        paths = keeper.save(_STEPS, {}, ["last"])
        return f"{sum(f.stat().st_size for f in paths['last'].parent.rglob('*')) >> 10} kB"

    def export(self) -> str:
        """Write a SavedModel and find the same with it."""
        exporting.write_saved_model(self.model, self.config, self.folder)
        arrays = parity.images([], self.config)
        with _untraced():
            expected = parity.of_detector(network.Detector(self.model, self.config), arrays)
        found = parity.of_file("savedmodel", self.folder, arrays)
        agreement = parity.compare(expected, found, 1e-4)
        if agreement.missed:
            raise RuntimeError(f"{agreement.missed} of {agreement.compared} detections differ")
        return f"SavedModel and checkpoint agree on {agreement.compared} detections"


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    """Run functions step by step: for a single call that is faster than to trace them."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(run_eagerly=True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(run_eagerly=False)


def _noise() -> tuple[dict[str, Any], dict[str, Any]]:
    """Features and labels of a batch, as the API's input makes them."""
    import tensorflow as tf

    features = {
        "image": tf.random.uniform([_BATCH, _SIDE, _SIDE, 3], -1.0, 1.0),
        "true_image_shape": tf.constant([[_SIDE, _SIDE, 3]] * _BATCH),
    }
    labels = {
        "num_groundtruth_boxes": tf.constant([1] * _BATCH),
        "groundtruth_boxes": tf.constant([[[0.1, 0.1, 0.6, 0.4]]] * _BATCH),
        "groundtruth_classes": tf.constant([[[1.0, 0.0]]] * _BATCH),
        "groundtruth_weights": tf.constant([[1.0]] * _BATCH),
        "groundtruth_area": tf.constant([[614.0]] * _BATCH),
        "groundtruth_is_crowd": tf.constant([[False]] * _BATCH),
    }
    return features, labels


def selftest(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """Run the checks; the first that fails ends them, since each needs the one before."""
    del job
    with tempfile.TemporaryDirectory() as temporary:
        subject = _Subject(Path(temporary))
        checks: tuple[tuple[str, Callable[[], str]], ...] = (
            ("imports", subject.imports),
            ("config", subject.configure),
            ("training-step", subject.step),
            ("checkpoint", subject.keep),
            ("export", subject.export),
        )
        fine = all(_check(name, function, channel) for name, function in checks)
    return {"ok": fine, "versions": jobs.versions()}


def _check(name: str, function: Callable[[], str], channel: Channel) -> bool:
    started = time.monotonic()
    try:
        detail, fine = function(), True
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the answer
        first = (str(error).strip().splitlines() or [""])[0]
        detail, fine = f"{type(error).__name__}: {first}"[:300], False
    seconds = round(time.monotonic() - started, 2)
    channel.emit("check", name=name, ok=fine, detail=detail, seconds=seconds)
    return fine
