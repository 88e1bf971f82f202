"""Images from files, and detections in their pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from tlx.worker_protocol import Channel

from .network import KEPT_SCORE

_DECIMALS = 3


class Detector(Protocol):
    """A network, built here or exported."""

    def prepare(self, image: Any) -> Any:
        """What the network needs of one uint8 image (height, width, 3), RGB."""
        ...

    def detect_each(self, prepared: Sequence[Any]) -> Iterator[tuple[Any, Any, Any]]:
        """Boxes as fractions of the image, scores, classes from 0, of each prepared image."""
        ...


def load(path: str) -> Any:
    """An image as uint8 array (height, width, 3), RGB, as stored: EXIF orientation is not applied.

    Raises:
        OSError: If it cannot be read; a ValueError or SyntaxError of Pillow becomes one.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error


def detections(
    detector: Detector,
    paths: Iterable[str],
    channel: Channel,
    *,
    batch_size: int,
    score_threshold: float = KEPT_SCORE,
    stop: bool = False,
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Detect in images, in their order.

    Args:
        detector: The network.
        paths: Image files.
        channel: Where files that cannot be read are told.
        batch_size: Images at a time.
        score_threshold: The least score.
        stop: Whether to look for a cancellation after each batch.

    Yields:
        Position of the image, and its boxes (xmin, ymin, xmax, ymax in pixels of the stored image,
        cut to it), scores and class indices from 0, by falling score; None for one that cannot
        be read.
    """
    numbered = enumerate(paths)
    while batch := list(itertools.islice(numbered, batch_size)):
        if stop:
            channel.check()
        waiting: list[tuple[int, Any, Any]] = []
        for index, path in batch:
            try:
                image = load(path)
            except OSError as error:
                channel.emit("unreadable", image=index, message=str(error))
                waiting.append((index, None, None))
            else:
                waiting.append((index, image.shape[:2], detector.prepare(image)))
        yield from _batch(detector, waiting, score_threshold)


def _batch(
    detector: Detector, waiting: Sequence[tuple[int, Any, Any]], threshold: float
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    readable = [prepared for _, _, prepared in waiting if prepared is not None]
    found = iter(detector.detect_each(readable) if readable else ())
    for index, size, _ in waiting:
        if size is None:
            yield index, None
        else:
            boxes, scores, classes = next(found)
            yield index, in_pixels(boxes, scores, classes, size, threshold)


def in_pixels(
    boxes: Any, scores: Any, classes: Any, size: tuple[int, int], threshold: float
) -> dict[str, Any]:
    """Detections of one image in its pixels, cut to it; boxes that end up empty are left out.

    Args:
        boxes: (n, 4) fractions of the image: ymin, xmin, ymax, xmax.
        scores: (n,).
        classes: (n,) indices from 0.
        size: Height and width in pixels.
        threshold: The least score.
    """
    import numpy as np

    height, width = size
    corners = np.clip(np.asarray(boxes, float), 0.0, 1.0)[:, [1, 0, 3, 2]]
    corners = corners * [width, height, width, height]
    kept = (
        (np.asarray(scores) >= threshold)
        & (corners[:, 2] > corners[:, 0])
        & (corners[:, 3] > corners[:, 1])
    )
    order = np.flatnonzero(kept)
    order = order[np.argsort(-np.asarray(scores)[order], kind="stable")]
    return {
        "boxes": np.round(corners[order], _DECIMALS).tolist(),
        "scores": [float(score) for score in np.asarray(scores)[order]],
        "classes": [int(index) for index in np.asarray(classes)[order]],
    }
