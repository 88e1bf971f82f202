"""What a ``pipeline.config`` of TensorFlow 1 means today, key by key.

Those configurations parse, since the format never changed, and fail in the model builder with a
bare KeyError. Their networks have no TensorFlow 2 form and their checkpoints cannot be read, but
most of what they say has a place in tlx.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Which family stands for a feature extractor of the old zoo; the first pattern that fits.
_STANDS_FOR = (
    ("ssd_mobilenet_v*_fpn", "ssd_mobilenet_v2_fpnlite"),
    ("ssd_resnet50*", "ssd_resnet50_v1_fpn"),
    ("ssd_resnet101*", "ssd_resnet101_v1_fpn"),
    ("ssd_resnet152*", "ssd_resnet152_v1_fpn"),
    ("ssd_inception_v2", "ssd_mobilenet_v2"),
    ("ssd_mobile*", "ssd_mobilenet_v2"),
    ("embedded_ssd*", "ssd_mobilenet_v2"),
    ("ssd_*", "ssd_mobilenet_v2_fpnlite"),
    ("faster_rcnn_resnet50", "faster_rcnn_resnet50_v1"),
    ("faster_rcnn_resnet101", "faster_rcnn_resnet101_v1"),
    ("faster_rcnn_resnet152", "faster_rcnn_resnet152_v1"),
    ("faster_rcnn_inception_v2", "faster_rcnn_resnet50_v1"),
    ("faster_rcnn_*", "faster_rcnn_resnet152_v1"),
)
_FROM_DATA = "written by tlx from the dataset"
_WITH_FAMILY = "comes with the family"
_SAME = "has its place in the generated configuration"
# What becomes of the keys below `model.KIND` and elsewhere; `*` stands for the kind of network.
_FATES: tuple[tuple[str, str], ...] = (
    ("model.*.num_classes", _FROM_DATA),
    ("model.*.feature_extractor", _WITH_FAMILY),
    ("model.*.box_predictor", _WITH_FAMILY),
    ("model.*.anchor_generator", "laid out anew, from the boxes of the data"),
    ("model.*.first_stage_anchor_generator", "laid out anew, from the boxes of the data"),
    ("model.*.loss", "focal loss takes the place of mined hard examples"),
    ("model.*", _SAME),
    ("train_config.from_detection_checkpoint", "fine_tune_checkpoint_type: detection says it now"),
    ("train_config.gradient_clipping_by_norm", "carries over as it is"),
    ("train_config", "is not read by TensorFlow 2"),
    ("train_input_reader", _FROM_DATA),
    ("eval_input_reader", _FROM_DATA),
    ("eval_config", "not needed: tlx judges in the training loop, on the whole split"),
)


@dataclass(frozen=True, slots=True)
class Explained:
    """An old configuration, explained.

    Attributes:
        extractor: Its network.
        family: What stands for it today.
        lines: One for each group of keys.
        command: The flags of ``tlx train`` that say the same.
    """

    extractor: str
    family: str
    lines: tuple[str, ...]
    command: str


def old_extractor(config: Any, known: Mapping[str, Any]) -> str | None:
    """The feature extractor of a configuration, if only TensorFlow 1 had it; else None."""
    kind = config.model.WhichOneof("model")
    if kind not in {"ssd", "faster_rcnn"}:
        return None
    name = str(getattr(config.model, kind).feature_extractor.type)
    return None if name in known else name


def explain(config: Any, extractor: str) -> Explained:
    """Say of every group of keys what becomes of it.

    Args:
        config: The configuration's message.
        extractor: From `old_extractor`.
    """
    family = next(
        (new for old, new in _STANDS_FOR if fnmatch.fnmatch(extractor, old)),
        "ssd_mobilenet_v2_fpnlite",
    )
    flags = [f"--model {family}"]
    lines = [f"feature_extractor.type: {extractor} -> {family} stands for it"]
    for key, describe in _SPOKEN.items():
        found = describe(config)
        if found is not None:
            line, flag = found
            lines.append(f"{key}: {line}")
            if flag:
                flags.append(flag)
    lines += _others(config)
    return Explained(extractor, family, tuple(lines), f"tlx train DATASET {' '.join(flags)}")


Spoken = tuple[str, str | None] | None


def _resizer(config: Any) -> Spoken:
    block = getattr(config.model, config.model.WhichOneof("model")).image_resizer
    kind = block.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        shape = block.fixed_shape_resizer
        side = max(shape.height, shape.width)
        return f"{shape.width} x {shape.height} carries over", f"--side {side}"
    if kind == "keep_aspect_ratio_resizer":
        limits = block.keep_aspect_ratio_resizer
        said = "padded to one square, so that images can share a batch"
        return (
            f"{limits.min_dimension} to {limits.max_dimension} -> {said}",
            f"--side {limits.max_dimension}",
        )
    return None


def _batch(config: Any) -> Spoken:
    size = config.train_config.batch_size
    return f"{size} carries over", f"--batch-size {size}"


def _steps(config: Any) -> Spoken:
    steps = config.train_config.num_steps
    if not steps:
        return None
    return f"{steps:,} -> --epochs; the learning rate falls to 0 at its end", None


def _optimizer(config: Any) -> Spoken:
    optimizer = config.train_config.optimizer
    kind = optimizer.WhichOneof("optimizer")
    if kind is None:
        return None
    rate = getattr(optimizer, kind).learning_rate
    schedule = rate.WhichOneof("learning_rate")
    names = ("initial_learning_rate", "learning_rate_base", "learning_rate")
    values = getattr(rate, schedule) if schedule else None
    start = next((getattr(values, n) for n in names if values and hasattr(values, n)), None)
    said = f" from {start:g}" if start else ""
    if kind != "momentum_optimizer":
        return f"{kind} with {schedule}{said} -> adam with a rate of its own, cosine decay", None
    flags = "--optimizer momentum" + (f" --learning-rate {start:g}" if start else "")
    return f"momentum carries over; {schedule}{said} -> cosine decay from it", flags


def _checkpoint(config: Any) -> Spoken:
    path = config.train_config.fine_tune_checkpoint
    if not path:
        return None
    stands = "published weights of the family take its place"
    return f"{path} was written by TensorFlow 1 and cannot be read; {stands}", "--weights default"


def _augmentation(config: Any) -> Spoken:
    steps = config.train_config.data_augmentation_options
    names = [str(step.WhichOneof("preprocessing_step")) for step in steps]
    if not names:
        return None
    fates = {
        "random_horizontal_flip": "--flip, unless the classes forbid it",
        "random_adjust_hue": "--hue, unless the classes are told by colour",
        "random_distort_color": "--brightness and --contrast",
        "random_adjust_brightness": "--brightness",
        "random_adjust_contrast": "--contrast",
    }
    crops = {n: "--scale-jitter" for n in names if "crop" in n or "scale" in n}
    return "; ".join(f"{n} -> {(crops | fates).get(n, 'no place')}" for n in names), None


_SPOKEN: Mapping[str, Callable[[Any], Spoken]] = {
    "image_resizer": _resizer,
    "train_config.batch_size": _batch,
    "train_config.num_steps": _steps,
    "train_config.optimizer": _optimizer,
    "train_config.fine_tune_checkpoint": _checkpoint,
    "train_config.data_augmentation_options": _augmentation,
}


def _others(config: Any) -> list[str]:
    """A line for each other key that is set, at the level of ``model.KIND.KEY`` or ``PART.KEY``."""
    kind = config.model.WhichOneof("model")
    keys = [f"model.{kind}.{d.name}" for d, _ in getattr(config.model, kind).ListFields()]
    for part in ("train_config", "eval_config"):
        keys += [f"{part}.{d.name}" for d, _ in getattr(config, part).ListFields()]
    keys += ["train_input_reader", "eval_input_reader"]
    spoken = {*_SPOKEN, f"model.{kind}.image_resizer"}
    lines = []
    for key in keys:
        if key in spoken:
            continue
        plain = key.replace(f".{kind}.", ".*.", 1)
        fate = next(fate for start, fate in _FATES if plain == start or _below(plain, start))
        lines.append(f"{key.removeprefix(f'model.{kind}.')}: {fate}")
    return lines


def _below(key: str, start: str) -> bool:
    return key.startswith(f"{start}.")
