"""Corrections of the Object Detection API itself; applied after its import, in memory only."""

from __future__ import annotations

import importlib.util
from typing import Any

# Which of COCO's averages stand in `category_stats`, as (IoU thresholds, area, detections per
# image).
_PRECISIONS = ((None, 0, 2), (0.5, 0, 2), (0.75, 0, 2), (None, 1, 2), (None, 2, 2), (None, 3, 2))
_RECALLS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (3, 2))


def _per_category_metrics() -> None:
    """Let ``include_metrics_per_category`` work with the pycocotools of the package index.

    The API expects the fork whose `summarize` fills ``category_stats``; without it the evaluation
    ends with "Category stats do not exist".
    """
    import numpy as np
    from object_detection.metrics import coco_tools
    from pycocotools import cocoeval

    def mean(values: Any) -> float:
        known = values[values > -1]
        return float(known.mean()) if known.size else -1.0

    def summarize(self: Any) -> None:
        cocoeval.COCOeval.summarize(self)
        if self.params.iouType == "keypoints":
            return
        precision, recall = self.eval["precision"], self.eval["recall"]
        thresholds = self.params.iouThrs
        every = np.ones(len(thresholds), bool)
        rows = []
        for threshold, area, most in _PRECISIONS:
            chosen = every if threshold is None else np.isclose(thresholds, threshold)
            rows.append(
                [mean(precision[chosen, :, k, area, most]) for k in range(precision.shape[2])]
            )
        for area, most in _RECALLS:
            rows.append([mean(recall[:, k, area, most]) for k in range(recall.shape[1])])
        self.category_stats = np.array(rows)

    coco_tools.COCOEvalWrapper.summarize = summarize


def _no_download() -> None:
    """CenterNet's MobileNetV2 asks Keras for ImageNet weights from the network at multiplier 1."""
    from object_detection.models.keras_models import mobilenet_v2

    original = mobilenet_v2.mobilenet_v2

    def offline(*arguments: Any, **keywords: Any) -> Any:
        if keywords.get("weights") == "imagenet":
            keywords["weights"] = None
        return original(*arguments, **keywords)

    mobilenet_v2.mobilenet_v2 = offline


def _legacy_resnet() -> None:
    """CenterNet's ResNet v1 must build Keras 2 layers, also where Keras 3 can be imported."""
    if importlib.util.find_spec("tf_keras") is None:
        return
    from object_detection.models.keras_models import resnet_v1
    from tf_keras.src.applications import resnet

    resnet_v1.resnet = resnet


def apply() -> None:
    """Correct the imported API."""
    _per_category_metrics()
    _no_download()
    _legacy_resnet()
