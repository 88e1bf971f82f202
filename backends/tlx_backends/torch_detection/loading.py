"""Feeds the network: decoded and resized images from a cache, augmented, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tlx.samples import Sample
from tlx_backends.torch_detection import random_numbers
from tlx_backends.torch_detection.augmentation import Augmentation
from tlx_backends.torch_detection.images import Fitted, UnreadableImage, fit, read
from tlx_backends.torch_detection.settings import NetworkSettings


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees.

    Attributes:
        images: uint8 [3, h, w] each.
        targets: ``boxes`` float32 [n, 4] in input pixels and ``labels`` int64 [n], class rows.
        unreadable: Images that should have been in it.
    """

    images: list[Tensor]
    targets: list[dict[str, Tensor]]
    unreadable: list[Unreadable]


class ImageCache:
    """Decoded images at the network's input size, up to a number of bytes.

    What does not fit any more is decoded anew each time; nothing is evicted, because a training
    asks for every image once per epoch and an evicting cache would then never hit.
    """

    def __init__(self, settings: NetworkSettings, limit: int) -> None:
        self.settings = settings
        self.limit = limit
        self.used = 0
        self._held: dict[str, Fitted] = {}

    def get(self, path: str, size: tuple[int, int] | None) -> Fitted:
        """The fitted image of a file.

        Raises:
            UnreadableImage: If it cannot be decoded, or its size is not the stated one.
        """
        held = self._held.get(path)
        if held is not None:
            return held
        pixels = read(path)
        stored = (int(pixels.shape[-1]), int(pixels.shape[-2]))
        if size is not None and stored != size:
            raise UnreadableImage(
                f"it is {stored[0]} x {stored[1]} pixels, but its labels are for "
                f"{size[0]} x {size[1]}"
            )
        fitted = fit(pixels, self.settings)
        if self.used + fitted.pixels.nbytes <= self.limit:
            self.used += fitted.pixels.nbytes
            self._held[path] = fitted
        return fitted


class TrainingImages(Dataset[tuple[Tensor, dict[str, Tensor]] | Unreadable]):
    """Augmented training images, addressed by (epoch, index)."""

    def __init__(
        self,
        items: Sequence[Sample],
        cache: ImageCache,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.items = items
        self.cache = cache
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, dict[str, Tensor]] | Unreadable:
        epoch, index = key
        item = self.items[index]
        try:
            fitted = self.cache.get(item.path, item.size)
        except UnreadableImage as error:
            return Unreadable(item.path, str(error))
        keep = ~item.crowd
        boxes = item.boxes[keep] * np.array(fitted.scale * 2, dtype=np.float32)
        pixels, boxes, classes = self.augmentation.apply(
            fitted.pixels,
            boxes,
            item.classes[keep],
            random_numbers.for_image(self.seed, epoch, index),
        )
        labels = torch.from_numpy(classes) + self.cache.settings.first_label
        return pixels, {"boxes": torch.from_numpy(boxes.astype(np.float32)), "labels": labels}


def _collate(items: list[tuple[Tensor, dict[str, Tensor]] | Unreadable]) -> Batch:
    good = [item for item in items if not isinstance(item, Unreadable)]
    return Batch(
        images=[pixels for pixels, _ in good],
        targets=[target for _, target in good],
        unreadable=[item for item in items if isinstance(item, Unreadable)],
    )


class _EpochOrder(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index); the last one may be smaller, or larger by what is too small."""

    def __init__(self, count: int, batch_size: int, seed: int, smallest: int) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0
        starts = list(range(0, count, batch_size))
        if len(starts) > 1 and count - starts[-1] < smallest:
            starts.pop()
        self._bounds = list(zip(starts, [*starts[1:], count], strict=True))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order: npt.NDArray[np.int64] = random_numbers.order(self.seed, self.epoch, self.count)
        for start, stop in self._bounds:
            yield [(self.epoch, index) for index in order[start:stop].tolist()]

    def __len__(self) -> int:
        return len(self._bounds)


class TrainingBatches:
    """The batches of any epoch, the same for any number of worker processes.

    Args:
        images: The training images.
        batch_size: Images per batch.
        workers: Processes that load; 0 loads in this one.
        smallest: Fewest images that a network can train on at once.
    """

    def __init__(
        self, images: TrainingImages, batch_size: int, workers: int, smallest: int
    ) -> None:
        self._order = _EpochOrder(len(images.items), batch_size, images.seed, smallest)
        if workers:
            # Each worker fills a cache of its own.
            images.cache.limit //= workers
        self._loader: DataLoader[Batch] = DataLoader(
            images,  # type: ignore[arg-type]
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=_collate,
            persistent_workers=workers > 0,
            # A generator of its own, or opening an epoch would draw from torch's global one.
            generator=torch.Generator().manual_seed(0),
        )

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch, in its order."""
        self._order.epoch = number
        return iter(self._loader)
