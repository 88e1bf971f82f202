"""A user's own ``pipeline.config``: completed so that it trains, with every change said.

What the dataset and the command decide (classes, files, batch, steps) comes from them; what the API
would get wrong in silence is put right; the rest stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlx.worker_protocol import Channel, WorkerError

from . import pipeline_config, tf1_config
from .pipeline_config import Training

_COLOR_STEPS = frozenset({"random_adjust_hue", "random_distort_color"})
_LONGEST_VALUE = 60


def complete(
    path: Path, classes: Sequence[str], training: Training, channel: Channel
) -> tuple[Any, list[str]]:
    """Read and complete a configuration.

    Args:
        path: The user's file; it is not touched.
        classes: Names of the classes in the dataset.
        training: What the job says.
        channel: Where an old configuration is explained.

    Returns:
        The message, and a line for each key that differs from the file.

    Raises:
        WorkerError: If it is of TensorFlow 1.
        ValueError: If it is no configuration, or cannot be completed.
    """
    config = pipeline_config.read(path)
    _require_current(config, path, channel)
    before = flat(config)
    _model(config, len(classes))
    _training(config, training)
    _readers(config, training)
    pipeline_config.require_sound(config)
    return config, differences(before, flat(config))


def _require_current(config: Any, path: Path, channel: Channel) -> None:
    from object_detection.builders import model_builder

    known = {
        **model_builder.SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP,
        **model_builder.FASTER_RCNN_KERAS_FEATURE_EXTRACTOR_CLASS_MAP,
    }
    old = tf1_config.old_extractor(config, known)
    if old is None:
        return
    explained = tf1_config.explain(config, old)
    for line in explained.lines:
        channel.emit("log", message=line)
    raise WorkerError(
        "usage",
        f"{path.name} is a configuration of TensorFlow 1: its {old} has no TensorFlow 2 form, and "
        f"{explained.family} stands for it.",
        place=str(path),
        hint=f"Say the same with: {explained.command}",
    )


def _model(config: Any, classes: int) -> None:
    kind = config.model.WhichOneof("model")
    if kind is None:
        raise ValueError("model: the configuration has none")
    block = getattr(config.model, kind)
    block.num_classes = classes
    resizer = block.image_resizer
    if resizer.WhichOneof("image_resizer_oneof") == "keep_aspect_ratio_resizer":
        # Images of different shapes cannot share a batch.
        resizer.keep_aspect_ratio_resizer.pad_to_max_dimension = True
    if kind == "ssd" and not block.post_processing.HasField("score_converter"):
        block.post_processing.score_converter = type(block.post_processing).SIGMOID


def _training(config: Any, training: Training) -> None:
    train = config.train_config
    train.batch_size = training.batch_size
    train.num_steps = training.steps
    # TPU's number format, TensorFlow 1's checkpoints and a moving average that cannot be evaluated.
    train.use_bfloat16 = False
    for name in ("from_detection_checkpoint", "load_all_detection_checkpoint_vars"):
        train.ClearField(name)
    train.optimizer.use_moving_average = False
    train.fine_tune_checkpoint_version = 1
    if training.fine_tune:
        train.fine_tune_checkpoint = training.fine_tune
        train.fine_tune_checkpoint_type = "detection"
    else:
        train.ClearField("fine_tune_checkpoint")
        train.ClearField("fine_tune_checkpoint_type")
    _schedule(train, training)
    chosen = training.augmentation or {}
    kept = [step for step in train.data_augmentation_options if _allowed(step, chosen)]
    if len(kept) != len(train.data_augmentation_options):
        del train.data_augmentation_options[:]
        train.data_augmentation_options.extend(kept)


def _allowed(step: Any, chosen: Mapping[str, Any]) -> bool:
    """Whether the classes allow a step: arrows have a side, light states a colour."""
    name = step.WhichOneof("preprocessing_step")
    if name == "random_horizontal_flip":
        return bool(chosen.get("flip", True))
    if name in _COLOR_STEPS:
        return chosen.get("hue") is None or float(chosen["hue"]) > 0
    return True


def _schedule(train: Any, training: Training) -> None:
    kind = train.optimizer.WhichOneof("optimizer")
    if kind is None:
        return
    rate = getattr(train.optimizer, kind).learning_rate
    schedule = rate.WhichOneof("learning_rate")
    if schedule == "cosine_decay_learning_rate":
        cosine = rate.cosine_decay_learning_rate
        cosine.total_steps = training.steps
        cosine.warmup_steps = max(0, min(cosine.warmup_steps, training.steps - 1))
        if training.learning_rate is not None:
            cosine.learning_rate_base = training.learning_rate
        cosine.warmup_learning_rate = min(cosine.warmup_learning_rate, cosine.learning_rate_base)
    elif training.learning_rate is not None:
        rate.constant_learning_rate.learning_rate = training.learning_rate


def _readers(config: Any, training: Training) -> None:
    del config.eval_input_reader[1:]
    if not config.eval_input_reader:
        config.eval_input_reader.add()
    readers = (
        (config.train_input_reader, training.train),
        (config.eval_input_reader[0], training.val or training.train),
    )
    room = pipeline_config.boxes_room(training.most_boxes)
    for reader, files in readers:
        reader.label_map_path = training.label_map
        del reader.tf_record_input_reader.input_path[:]
        reader.tf_record_input_reader.input_path.extend(files)
        reader.max_number_of_boxes = max(reader.max_number_of_boxes, room)
        reader.num_readers = 1
    config.eval_input_reader[0].shuffle = False
    config.eval_input_reader[0].num_epochs = 1
    evaluation = config.eval_config
    evaluation.batch_size = 1
    evaluation.use_moving_averages = False
    evaluation.num_visualizations = 0
    for name in ("num_examples", "max_evals"):
        evaluation.ClearField(name)
    if not evaluation.metrics_set:
        evaluation.metrics_set.append("coco_detection_metrics")


def flat(message: Any, prefix: str = "") -> dict[str, str]:
    """Every field that is set below a message, by its path."""
    found: dict[str, str] = {}
    for descriptor, value in message.ListFields():
        path = f"{prefix}{descriptor.name}"
        several = hasattr(value, "append") or hasattr(value, "add")
        if descriptor.message_type is None:
            found[path] = ", ".join(map(str, value)) if several else str(value)
        elif several:
            for number, entry in enumerate(value):
                found |= flat(entry, f"{path}[{number}].") or {f"{path}[{number}]": "set"}
        else:
            found |= flat(value, f"{path}.") or {path: "set"}
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """A line for each key that was added, changed or removed."""
    lines = []
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key), after.get(key)
        if old != new:
            lines.append(f"{key}: {_short(old)} -> {_short(new)}")
    return lines


def _short(value: str | None) -> str:
    if value is None:
        return "not set"
    return value if len(value) <= _LONGEST_VALUE else f"...{value[-_LONGEST_VALUE:]}"
