"""Scores a network on a split with tlx's own evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from tlx.context import Context
from tlx.evaluation import Detections, GroundTruth, average_precision
from tlx.issues import Issue
from tlx_backends.torch_detection.images import Fitted, UnreadableImage
from tlx_backends.torch_detection.loading import ImageCache
from tlx_backends.torch_detection.prediction import batches_of_one_size, detect
from tlx_backends.torch_detection.samples import Samples
from tlx_backends.torch_detection.settings import NetworkSettings


class Validation:
    """A split with its ground truth; images that cannot be read are reported once and left out."""

    def __init__(
        self, samples: Samples, settings: NetworkSettings, cache: ImageCache, batch_size: int
    ) -> None:
        self.samples = samples
        self.settings = settings
        self.cache = cache
        self.batch_size = batch_size
        self._unreadable: set[int] = set()

    def score(
        self, model: nn.Module, device: torch.device, context: Context, description: str
    ) -> Mapping[str, float | None]:
        """COCO average precision and recall by name; the network is left in evaluation mode."""
        model.eval()
        # The evaluator ranks equal scores by image index and asks for sorted ids.
        order = sorted(range(len(self.samples)), key=lambda k: self.samples.items[k].image_id)
        rank = {number: position for position, number in enumerate(order)}
        images: list[np.ndarray] = []
        boxes, classes, scores = [], [], []
        numbers = context.progress.track(order, description, total=len(order))
        for batch in batches_of_one_size(self._readable(numbers, context), self.batch_size):
            found = detect(model, self.settings, [image for _, image in batch], device)
            for (number, _), result in zip(batch, found, strict=True):
                images.append(np.full(len(result.scores), rank[number], dtype=np.int64))
                boxes.append(result.boxes)
                classes.append(result.classes)
                scores.append(result.scores)
        if not images:
            return {}
        truth = [self.samples.items[k] for k in order]
        seen = [k not in self._unreadable for k in order]
        kept = [
            (place, item) for place, (item, ok) in enumerate(zip(truth, seen, strict=True)) if ok
        ]
        result_arrays = average_precision(
            GroundTruth(
                image=np.concatenate([np.full(len(i.boxes), p, dtype=np.int64) for p, i in kept]),
                category=np.concatenate([i.classes for _, i in kept]),
                box=np.concatenate([i.boxes for _, i in kept]).astype(np.float64),
                crowd=np.concatenate([i.crowd for _, i in kept]),
            ),
            Detections(
                image=np.concatenate(images),
                category=np.concatenate(classes),
                box=np.concatenate(boxes),
                score=np.concatenate(scores),
            ),
            image_count=len(order),
            category_count=len(self.settings.classes),
        )
        return result_arrays.summary()

    def _readable(self, numbers: Iterator[int], context: Context) -> Iterator[tuple[int, Fitted]]:
        for number in numbers:
            item = self.samples.items[number]
            if number in self._unreadable:
                continue
            try:
                yield number, self.cache.get(item.path, item.size)
            except UnreadableImage as error:
                self._unreadable.add(number)
                context.issues.report(Issue("unreadable-image", f"{error}.", path=item.path))
