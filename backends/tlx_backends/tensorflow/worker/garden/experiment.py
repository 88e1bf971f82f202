"""The Garden's configuration of a run, built from a job and kept as its own ``params.yaml``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlx.worker_protocol import WorkerError

from ..network import KEPT_SCORE
from .models import GardenModel, garden_model

FILE_NAME = "params.yaml"

_MOST_DETECTIONS = 100
_LOWEST_LEVEL, _HIGHEST_LEVEL = 3, 7
# Base sizes of anchors, as multiples of a cell: the Garden's own is 4, below 2 they hardly overlap.
_SMALLEST_ANCHOR, _LARGEST_ANCHOR = 1.0, 4.0
_ALIKE = 1.3


def configure(job: Mapping[str, Any]) -> Any:
    """The task configuration (`official.vision.configs.retinanet.RetinaNetTask`) of a job.

    Raises:
        WorkerError: If there is no such network, or it cannot have this input.
    """
    try:
        model = garden_model(str(job["model"]))
        side = int(job["size"][1])
        model.require_size(side)
    except ValueError as error:
        raise WorkerError("usage", f"{error}.", place="--model or --side") from error
    from official.core import exp_factory

    task = exp_factory.get_exp_config("retinanet").task
    task.init_checkpoint = None
    # Boxes for evaluation come from tlx, which judges in its own process.
    task.annotation_file = None
    settings = dict(job.get("settings") or {})
    task.model.override(_network(model, side, len(job["classes"]), settings), is_strict=False)
    boxes = (job.get("statistics") or {}).get("boxes") or []
    task.model.override({"anchor": anchors(boxes, side, _LOWEST_LEVEL)})
    task.freeze_backbone = job.get("freeze") == "backbone"
    decay = job.get("weight_decay")
    task.losses.l2_weight_decay = 3e-5 if decay is None else float(decay)
    augmentation = job.get("augmentation") or {}
    jitter = float(augmentation.get("scale_jitter") or 0.0)
    task.train_data.override(
        {
            "input_path": ",".join(job["records"]["train"]),
            "global_batch_size": int(job["batch_size"]),
            "dtype": "float32",
            "parser": {
                "aug_rand_hflip": bool(augmentation.get("flip")),
                "aug_scale_min": 1.0 - jitter,
                "aug_scale_max": 1.0 + jitter,
                "max_num_instances": max(
                    1, int((job.get("statistics") or {}).get("most_boxes") or 100)
                ),
            },
        },
        is_strict=False,
    )
    return task


def _network(model: GardenModel, side: int, classes: int, settings: Mapping[str, Any]) -> Any:
    """Overrides of the Garden's general RetinaNet."""
    own = dict(model.settings)
    if settings.get("depth_multiplier") is not None:
        if model.backbone != "mobilenet":
            raise WorkerError(
                "usage",
                f"{model.name} has one width only.",
                place="--depth-multiplier",
                hint="Leave it out, or take retinanet_mobilenet_v2_fpn.",
            )
        own["filter_size_scale"] = float(settings["depth_multiplier"])
    if model.decoder == "identity":
        own |= {"min_level": _LOWEST_LEVEL, "max_level": _HIGHEST_LEVEL}
    filters = int(settings.get("feature_depth") or model.filters)
    return {
        # The Garden counts the background as class 0.
        "num_classes": classes + 1,
        "input_size": [side, side, 3],
        "min_level": _LOWEST_LEVEL,
        "max_level": _HIGHEST_LEVEL,
        "backbone": {"type": model.backbone, model.backbone: own},
        "decoder": {
            "type": model.decoder,
            **(
                {"fpn": {"num_filters": filters, "use_separable_conv": model.separable}}
                if model.decoder == "fpn"
                else {}
            ),
        },
        "head": {
            "num_filters": filters,
            "num_convs": int(settings.get("head_layers") or 4),
            "use_separable_conv": model.separable,
        },
        "norm_activation": {"use_sync_bn": False, "activation": model.activation},
        "detection_generator": {
            # The one kind of suppression that leaves the batch free.
            "nms_version": "batched",
            "pre_nms_score_threshold": KEPT_SCORE,
            "max_num_detections": _MOST_DETECTIONS,
        },
    }


def anchors(boxes: Sequence[Sequence[float]], side: int, lowest: int) -> dict[str, Any]:
    """Anchors that fit the boxes of a data set.

    The Garden lays an anchor of ``anchor_size * 2 ** (level + scale / num_scales)`` pixels at each
    cell of each level. Its own size of 4 begins at 32 pixels; with smaller boxes it is brought down
    until the smallest twentieth of the boxes is reached.

    Args:
        boxes: Width and height of a box and of its image, in stored pixels.
        side: Input side in pixels; the longer image side is brought to it.
        lowest: Lowest level of the pyramid.
    """
    if not boxes:
        return {"num_scales": 3, "aspect_ratios": [0.5, 1.0, 2.0], "anchor_size": 4.0}
    sizes, ratios = [], []
    for width, height, image_width, image_height in boxes:
        scale = side / max(image_width, image_height)
        sizes.append(math.sqrt(max(width * height, 1e-6)) * scale)
        ratios.append(width / max(height, 1e-6))
    smallest = sorted(sizes)[len(sizes) // 20]
    base = min(max(smallest / 2**lowest, _SMALLEST_ANCHOR), _LARGEST_ANCHOR)
    return {
        "num_scales": 3,
        "aspect_ratios": _spread(sorted(ratios)),
        "anchor_size": round(base, 2),
    }


def _spread(ratios: Sequence[float]) -> list[float]:
    """One to three ratios (width / height) that differ enough to be told apart by overlap."""
    count = len(ratios)
    chosen: list[float] = []
    for share in (0.5, 0.1, 0.9):
        ratio = min(max(ratios[min(int(share * count), count - 1)], 0.1), 10.0)
        if all(max(ratio / other, other / ratio) > _ALIKE for other in chosen):
            chosen.append(round(ratio, 3))
    return sorted(chosen)


def write(task: Any, run: Path) -> Path:
    """Keep the configuration in the run folder, as the Garden's own trainer does."""
    import yaml

    path = run / FILE_NAME
    partial = run / f"{FILE_NAME}.part"
    # Through JSON, so that no tag of Python is in the file: tuples become lists.
    plain = json.loads(json.dumps({"task": task.as_dict()}))
    partial.write_text(yaml.safe_dump(plain, sort_keys=True), encoding="utf-8")
    partial.replace(path)
    return path


def read(run: Path) -> Any:
    """The task configuration of a run.

    Raises:
        WorkerError: If it is gone or broken.
    """
    import yaml
    from official.core import exp_factory

    path = run / FILE_NAME
    task = exp_factory.get_exp_config("retinanet").task
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        task.override(values["task"], is_strict=False)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise WorkerError(
            "data",
            f"the configuration of the run cannot be read: {error}.",
            place=str(path),
            hint="Copy a run with its params.yaml.",
        ) from error
    return task
