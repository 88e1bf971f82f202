"""Scores a network on a split with tlx's own evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from tlx.context import Context
from tlx.issues import Issue
from tlx.samples import Samples
from tlx.validation import FoundBoxes, validation_scores
from tlx_backends.torch_detection.images import Fitted, UnreadableImage
from tlx_backends.torch_detection.loading import ImageCache
from tlx_backends.torch_detection.prediction import batches_of_one_size, detect
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
        order = sorted(range(len(self.samples)), key=lambda k: self.samples.items[k].image_id)
        found: dict[int, FoundBoxes] = {}
        numbers = context.progress.track(order, description, total=len(order))
        for batch in batches_of_one_size(self._readable(numbers, context), self.batch_size):
            results = detect(model, self.settings, [image for _, image in batch], device)
            for (number, _), result in zip(batch, results, strict=True):
                found[number] = result
        return validation_scores(self.samples.items, found, len(self.settings.classes))

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
