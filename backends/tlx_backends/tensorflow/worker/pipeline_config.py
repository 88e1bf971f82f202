"""A whole ``pipeline.config``, generated and checked.

A configuration is a nested mapping until `message` turns it into the API's own protobuf: a misspelt
field is an error there and not a default in training. The text that is written is protobuf's text
format, which the API's own tools read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .families import Family

Block = dict[str, Any]
FILE_NAME = "pipeline.config"
# Learning rates per family: SGD with momentum for a batch of 64 as published, Adam for any batch.
_ADAM_RATE = 1e-3
_MOMENTUM_RATE = 0.02
_MOMENTUM_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a configuration says besides the network.

    Attributes:
        label_map: Path of the label map.
        train: Record files to learn from.
        val: Record files of the validation split.
        steps: Number of steps.
        batch_size: Images per step.
        learning_rate: Peak; None for the family's.
        warmup_steps: Steps of rising rate; None for a twentieth of all, at most 1000.
        optimizer: ``adam`` or ``momentum``; None for adam.
        gradient_norm: Gradients are scaled down to this norm; 0 for no clipping.
        most_boxes: The most boxes of one image of the data.
        augmentation: The host's choice, see `augmentation_steps`.
        image_ratio: Width / height of the images.
        fine_tune: Prefix of a checkpoint to start from, for the record; None for none.
        weight_decay: Replaces the L2 weight of the network's layers; None keeps the published one.
    """

    label_map: str
    train: Sequence[str]
    val: Sequence[str]
    steps: int
    batch_size: int
    learning_rate: float | None = None
    warmup_steps: int | None = None
    optimizer: str | None = None
    gradient_norm: float | None = None
    most_boxes: int = 100
    augmentation: Mapping[str, Any] | None = None
    image_ratio: float = 1.0
    fine_tune: str | None = None
    weight_decay: float | None = None


def pipeline(family: Family, network: Block, training: Training) -> Block:
    """The whole configuration as a nested mapping."""
    train: Block = {
        "batch_size": training.batch_size,
        "num_steps": training.steps,
        "optimizer": _optimizer(family, training),
        "max_number_of_boxes": boxes_room(training.most_boxes),
        "unpad_groundtruth_tensors": False,
        "data_augmentation_options": augmentation_steps(family, network, training),
        "fine_tune_checkpoint_version": "V2",
        "gradient_clipping_by_norm": (
            10.0 if training.gradient_norm is None else training.gradient_norm
        ),
        "use_bfloat16": False,
        "add_regularization_loss": True,
    }
    if training.fine_tune:
        train |= {
            "fine_tune_checkpoint": training.fine_tune,
            "fine_tune_checkpoint_type": "detection",
        }
    return {
        "model": network,
        "train_config": train,
        "train_input_reader": reader(training.label_map, training.train, training.most_boxes)
        | {"shuffle": True},
        "eval_config": {
            "metrics_set": ["coco_detection_metrics"],
            "use_moving_averages": False,
            # More than one drops the last images of the split: readers drop the rest of a batch.
            "batch_size": 1,
            "num_visualizations": 0,
            "include_metrics_per_category": True,
        },
        "eval_input_reader": [
            reader(training.label_map, training.val or training.train, training.most_boxes)
            | {"shuffle": False, "num_epochs": 1}
        ],
    }


def boxes_room(most_boxes: int) -> int:
    """Places for boxes per image: the API cuts what exceeds them, and the space costs memory."""
    return max(8, -(-most_boxes // 8) * 8)


def reader(label_map: str, files: Sequence[str], most_boxes: int) -> Block:
    """An input reader that does not fill the memory of a small machine."""
    return {
        "label_map_path": label_map,
        "tf_record_input_reader": {"input_path": list(files)},
        "max_number_of_boxes": boxes_room(most_boxes),
        "num_readers": 1,
        "num_parallel_batches": 2,
        "num_parallel_map_calls": 2,
        "shuffle_buffer_size": 256,
        "prefetch_size": 32,
        "num_prefetch_batches": 2,
    }


def peak_rate(family: Family, training: Training) -> float:
    """The learning rate that is used: the given one, or the family's for the batch size."""
    if training.learning_rate is not None:
        return training.learning_rate
    if (training.optimizer or "adam") == "adam":
        return _ADAM_RATE / 4 if family.kind in {"faster_rcnn", "center_net"} else _ADAM_RATE
    return _MOMENTUM_RATE * training.batch_size / _MOMENTUM_BATCH


def _optimizer(family: Family, training: Training) -> Block:
    base = peak_rate(family, training)
    warmup = training.warmup_steps
    if warmup is None:
        warmup = min(1000, training.steps // 20)
    # The schedule refuses a warm-up that is as long as the training.
    warmup = max(0, min(warmup, training.steps - 1))
    rate = {
        "cosine_decay_learning_rate": {
            "learning_rate_base": base,
            "total_steps": training.steps,
            "warmup_learning_rate": base / 10,
            "warmup_steps": warmup,
        }
    }
    if (training.optimizer or "adam") == "adam":
        chosen: Block = {"adam_optimizer": {"learning_rate": rate, "epsilon": 1e-7}}
    else:
        chosen = {"momentum_optimizer": {"learning_rate": rate, "momentum_optimizer_value": 0.9}}
    # The API's moving average of weights trains but cannot be evaluated in TensorFlow 2.
    return chosen | {"use_moving_average": False}


def augmentation_steps(family: Family, network: Block, training: Training) -> list[Block]:
    """The API's preprocessing steps for the host's choice.

    The host has applied the guards of the classes: no flip for arrows, no hue for light states.
    There is no vertical flip.

    Args:
        family: The network: where the input is stretched, crops keep the images' shape, so that
            objects look as they will in detection; where it is padded, scaling goes both ways.
        network: Its configuration block, for the size.
        training: ``augmentation`` has ``flip`` (bool), ``scale_jitter``, ``brightness``,
            ``contrast`` (0..1) and ``hue`` (0..0.5).
    """
    chosen = training.augmentation or {}
    steps: list[Block] = []
    if chosen.get("flip"):
        steps.append({"random_horizontal_flip": {"probability": 0.5}})
    if jitter := min(0.9, float(chosen.get("scale_jitter") or 0.0)):
        steps.append(_scaling(family, network, training.image_ratio, jitter))
    if brightness := float(chosen.get("brightness") or 0.0):
        steps.append({"random_adjust_brightness": {"max_delta": brightness}})
    if contrast := min(0.99, float(chosen.get("contrast") or 0.0)):
        steps.append(
            {"random_adjust_contrast": {"min_delta": 1 - contrast, "max_delta": 1 + contrast}}
        )
    if hue := float(chosen.get("hue") or 0.0):
        steps.append({"random_adjust_hue": {"max_delta": hue}})
    return steps


def _scaling(family: Family, network: Block, ratio: float, jitter: float) -> Block:
    if not family.stretch:
        (block,) = network.values()
        side = block["image_resizer"]["keep_aspect_ratio_resizer"]["max_dimension"]
        return {
            "random_scale_crop_and_pad_to_square": {
                "output_size": side,
                "scale_min": 1 - jitter,
                "scale_max": 1 + jitter,
            }
        }
    return {
        "random_crop_image": {
            "min_object_covered": 0.75,
            "min_aspect_ratio": ratio * 0.9,
            "max_aspect_ratio": ratio * 1.1,
            "min_area": (1 / (1 + jitter)) ** 2,
            "max_area": 1.0,
            "overlap_thresh": 0.5,
            # Half of the images stay whole.
            "random_coef": 0.5,
        }
    }


def message(config: Mapping[str, Any]) -> Any:
    """The mapping as the API's ``TrainEvalPipelineConfig``.

    Raises:
        google.protobuf.json_format.ParseError: If a field does not exist or has a wrong type.
    """
    from google.protobuf import json_format
    from object_detection.protos import pipeline_pb2

    return json_format.ParseDict(dict(config), pipeline_pb2.TrainEvalPipelineConfig())


def text(config: Any) -> str:
    """A configuration message in protobuf's text format."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(config))


def read(path: Path) -> Any:
    """The message of a ``pipeline.config``.

    Raises:
        ValueError: If the file is no such configuration; says where it breaks.
    """
    from google.protobuf import text_format
    from object_detection.protos import pipeline_pb2

    try:
        content = path.read_text(encoding="utf-8")
        return text_format.Parse(content, pipeline_pb2.TrainEvalPipelineConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(f"{path} is no pipeline configuration: {error}") from error


def require_sound(config: Any) -> None:
    """Check what the API checks late or not at all.

    Raises:
        ValueError: With the key and what is wrong with it.
    """
    train = config.train_config
    kind = config.model.WhichOneof("model")
    if kind not in {"ssd", "faster_rcnn", "center_net"}:
        raise ValueError(f"model: {kind or 'nothing'} is not a detector that the API can train")
    if getattr(config.model, kind).num_classes < 1:
        raise ValueError(f"model.{kind}.num_classes: there must be a class")
    if train.num_steps < 1:
        raise ValueError("train_config.num_steps: 0 trains nothing")
    if train.batch_size < 1:
        raise ValueError("train_config.batch_size: must be at least 1")
    optimizer = train.optimizer.WhichOneof("optimizer")
    if optimizer is None:
        raise ValueError("train_config.optimizer: is missing")
    rate = getattr(train.optimizer, optimizer).learning_rate
    schedule = rate.WhichOneof("learning_rate")
    if schedule is None:
        raise ValueError(f"train_config.optimizer.{optimizer}.learning_rate: is missing")
    if schedule == "cosine_decay_learning_rate":
        cosine = rate.cosine_decay_learning_rate
        if not (math.isfinite(cosine.learning_rate_base) and cosine.learning_rate_base > 0):
            raise ValueError("learning_rate_base: must be a positive number")
        if cosine.warmup_steps >= cosine.total_steps:
            raise ValueError("warmup_steps: must be below total_steps")
    for name, entry in (
        ("train_input_reader", config.train_input_reader),
        *((f"eval_input_reader[{i}]", r) for i, r in enumerate(config.eval_input_reader)),
    ):
        if not entry.tf_record_input_reader.input_path:
            raise ValueError(f"{name}.tf_record_input_reader.input_path: no record file is named")
