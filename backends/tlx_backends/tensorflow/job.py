"""The job of a training, as the worker is told it: plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlx.api import TrainRequest
from tlx.class_guards import colored_classes, mirror_pairs, one_sided_classes
from tlx.context import Context
from tlx.errors import UsageError
from tlx.model import Taxonomy
from tlx.pixels import shown_path
from tlx.samples import Samples
from tlx_backends.tensorflow import zoo
from tlx_backends.tensorflow.checkpoints import Checkpoint
from tlx_backends.tensorflow.options import TfodOptions, TfvisionOptions
from tlx_backends.tensorflow.records import Records
from tlx_backends.tensorflow.worker.families import Family, family
from tlx_backends.tensorflow.worker.garden.models import GardenModel, garden_model

_MOST_BOXES = 5000
_SETTINGS = (
    "depth_multiplier", "feature_depth", "head_layers", "proposals", "restore"
)  # fmt: skip


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Steps in which every image is seen about once."""
    return max(1, math.ceil(images / batch_size))


def chosen_network(
    request: TrainRequest, options: TfvisionOptions
) -> tuple[Family | GardenModel, int]:
    """The network and the side of its input in pixels.

    Raises:
        UsageError: If there is no such network, or it cannot have this input.
    """
    try:
        found = _network(request.model, options)
        side = found.size if options.side is None else options.side
        found.require_size(side)
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    return found, side


def _network(name: str, options: TfvisionOptions) -> Family | GardenModel:
    return family(name) if isinstance(options, TfodOptions) else garden_model(name)


def weights(
    request: TrainRequest, options: TfvisionOptions, context: Context
) -> zoo.Weights | None:
    """What the training starts from; None for random weights.

    Raises:
        UsageError: If it is not there, or is a run of another network.
        DataError: If it is broken.
    """
    if request.weights is None:
        return None
    network = _network(request.model, options)
    # The Garden publishes backbones and detectors without an archive that could be named here.
    archives = network.archives if isinstance(network, Family) else ()
    download = isinstance(options, TfodOptions) and options.download
    found = zoo.find(request.weights, archives, context, download=download)
    if found.model is not None and found.model != request.model:
        raise UsageError(
            f"{found.name} is a {found.model}, whose weights do not fit {request.model}.",
            hint=f"Train it with: --model {found.model}",
        )
    return found


def augmentation(options: TfvisionOptions, taxonomy: Taxonomy) -> tuple[dict[str, Any], list[str]]:
    """What is done to training images, and why something that was asked for is not done."""
    notes = []
    one_sided, pairs = one_sided_classes(taxonomy), mirror_pairs(taxonomy)
    colored = colored_classes(taxonomy)
    if options.flip and one_sided:
        notes.append(f"no horizontal flip: {', '.join(one_sided)} would become something else")
    elif options.flip and pairs:
        names = ", ".join(f"{a} and {b}" for a, b in pairs)
        notes.append(
            f"no horizontal flip: {names} would have to change places, which the API cannot do"
        )
    chosen: dict[str, Any] = {
        "flip": options.flip and not one_sided and not pairs,
        "scale_jitter": options.scale_jitter,
    }
    if isinstance(options, TfodOptions):
        if options.hue and colored:
            notes.append(f"no hue change: {', '.join(colored)} are told by their colour")
        chosen |= {
            "brightness": options.brightness,
            "contrast": options.contrast,
            "hue": 0.0 if colored else options.hue,
        }
    return chosen, notes


def train_job(
    backend: str,
    request: TrainRequest,
    options: TfvisionOptions,
    *,
    classes: Sequence[str],
    splits: tuple[Samples, ...],
    records: Records,
    augmentation: Mapping[str, Any],
    weights: zoo.Weights | None,
    resumed: Checkpoint | None,
    scored: int,
) -> dict[str, Any]:
    """Everything that the worker needs to know of a training.

    Args:
        backend: The backend's name.
        request: What the user asked for.
        options: The same, for this backend only.
        classes: Class names; the position is the class index.
        splits: The split to learn from and, if there is one, the one to validate on.
        records: Their record files.
        augmentation: As `augmentation` has chosen it.
        weights: What to start from.
        resumed: The checkpoint to go on from.
        scored: The step of that training's last validation.
    """
    _, side = chosen_network(request, options)
    training = splits[0]
    validation = splits[1] if len(splits) > 1 else None
    per_epoch = steps_per_epoch(len(training), request.batch_size)
    per_score = per_epoch * options.validate_every
    config = options.config if isinstance(options, TfodOptions) else None
    return {
        "kind": "train",
        "backend": backend,
        "run": request.run,
        "model": request.model,
        "size": [side, side],
        "settings": {name: getattr(options, name, None) for name in _SETTINGS},
        "classes": list(classes),
        "label_map": records.label_map,
        "records": {
            "train": list(records.files[training.split]),
            "val": [] if validation is None else list(records.files[validation.split]),
        },
        "images": {"train": len(training), "val": len(validation or ())},
        "steps_per_epoch": per_epoch,
        "steps": per_epoch * request.epochs,
        "steps_to_score": per_score,
        "batch_size": request.batch_size,
        "learning_rate": request.learning_rate,
        "warmup_steps": options.warmup_steps,
        "optimizer": options.optimizer,
        "gradient_norm": options.gradient_norm,
        "weight_decay": None,
        "freeze": options.freeze,
        "norm_momentum_cap": options.norm_momentum_cap,
        "augmentation": dict(augmentation),
        "statistics": _statistics(training),
        "validation": []
        if validation is None
        else [shown_path(item.path) for item in validation.items],
        "weights": None if weights is None else weights.plain(),
        "warm_start": dict(request.warm_start),
        "resume": None
        if resumed is None
        else {
            "prefix": str(resumed.prefix),
            "step": resumed.step,
            "state": dict(resumed.state),
            # It was stopped after a validation's detections and before their score.
            "score_first": resumed.step != scored
            and (resumed.step % per_score == 0 or resumed.step == per_epoch * request.epochs),
        },
        "config": None if config is None else str(Path(config).absolute()),
        "mirrored": isinstance(options, TfodOptions) and options.mirrored,
        "device": request.device,
        "threads": options.threads,
        "seed": request.seed,
    }


def _statistics(samples: Samples) -> dict[str, Any]:
    """Boxes for the choice of anchors: width and height of box and image, in stored pixels."""
    boxes = [
        [round(float(x1 - x0), 2), round(float(y1 - y0), 2), *item.size]
        for item in samples.items
        if item.size is not None
        for x0, y0, x1, y1 in item.boxes[~item.crowd]
    ]
    apart = max(1, math.ceil(len(boxes) / _MOST_BOXES))
    most = max((len(item.boxes) for item in samples.items), default=0)
    return {"boxes": boxes[::apart], "most_boxes": most}
