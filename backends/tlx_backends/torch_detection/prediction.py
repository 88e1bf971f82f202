"""From images to detections in stored pixels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from tlx import exported
from tlx.api import ImageTask
from tlx.context import Context
from tlx.errors import UsageError
from tlx.issues import Issue
from tlx.model import Box, Detection, Prediction
from tlx.validation import FoundBoxes
from tlx_backends.torch_detection import checkpoints, devices, exported_networks, networks
from tlx_backends.torch_detection.images import Fitted, UnreadableImage, fit, read
from tlx_backends.torch_detection.networks import Network
from tlx_backends.torch_detection.settings import NetworkSettings

# Below this no detection is made, whatever is asked: torchvision's own limits reach up to 0.2,
# which cuts off the right half of a precision-recall curve.
LOWEST_SCORE = 0.01
_READERS = 2


@torch.inference_mode()
def detect(
    model: Network, settings: NetworkSettings, images: list[Fitted], device: torch.device
) -> list[FoundBoxes]:
    """Run a network in evaluation mode, or an exported one, on images of one input size."""
    outputs = model([image.pixels.to(device) for image in images])
    return [_found(out, image, settings) for out, image in zip(outputs, images, strict=True)]


def _found(output: dict[str, torch.Tensor], image: Fitted, settings: NetworkSettings) -> FoundBoxes:
    scores = output["scores"].double().cpu().numpy()
    order = np.argsort(-scores, kind="stable")
    boxes = output["boxes"].double().cpu().numpy()[order] / np.array(image.scale * 2)
    limit = np.array([image.width, image.height] * 2, dtype=np.float64)
    boxes = np.clip(boxes, 0.0, limit)
    classes = output["labels"].cpu().numpy()[order] - settings.first_label
    scores = scores[order]
    # A box that clipping leaves without area marks nothing.
    good = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & np.isfinite(scores)
    return FoundBoxes(boxes[good], classes[good], scores[good])


def batches_of_one_size(
    images: Iterable[tuple[int, Fitted]], batch_size: int
) -> Iterator[list[tuple[int, Fitted]]]:
    """Group numbered images in order; a batch never mixes sizes.

    Padding would otherwise let an image's detections depend on its neighbours.
    """
    part: list[tuple[int, Fitted]] = []
    for number, image in images:
        full = len(part) == batch_size
        if part and (full or part[0][1].pixels.shape != image.pixels.shape):
            yield part
            part = []
        part.append((number, image))
    if part:
        yield part


def ahead(
    make: Callable[[str], Fitted], paths: Iterable[str], depth: int
) -> Iterator[Fitted | UnreadableImage]:
    """Read images some steps ahead of their use, in order; decoding needs no interpreter lock."""

    def attempt(path: str) -> Fitted | UnreadableImage:
        try:
            return make(path)
        except UnreadableImage as error:
            return error

    with ThreadPoolExecutor(_READERS, thread_name_prefix="tlx-images") as pool:
        waiting: deque[Future[Fitted | UnreadableImage]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(attempt, path))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def predict(
    checkpoint: Path,
    images: Iterable[ImageTask],
    context: Context,
    *,
    batch_size: int,
    device: str,
    score_threshold: float,
) -> Iterator[Prediction]:
    """See `TorchBackend.predict`; the checkpoint is opened before the first image is asked for."""
    if batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, not {batch_size}.")
    if exported.is_exported(checkpoint):
        network, settings, place = exported_networks.load(checkpoint, device)
        limit = max(LOWEST_SCORE, score_threshold)
        return _predictions(network, settings, images, context, batch_size, place, limit)
    place = devices.choose(device)
    content = checkpoints.load(checkpoint)
    model, settings = checkpoints.network(content, checkpoint)
    model.to(place, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    networks.set_score_threshold(model, max(LOWEST_SCORE, score_threshold))
    return _predictions(model, settings, images, context, batch_size, place)


def _predictions(
    model: Network,
    settings: NetworkSettings,
    images: Iterable[ImageTask],
    context: Context,
    batch_size: int,
    device: torch.device,
    lowest: float = 0.0,
) -> Iterator[Prediction]:
    tasks: deque[ImageTask] = deque()

    def paths() -> Iterator[str]:
        for task in images:
            tasks.append(task)
            yield task.path

    names: dict[int, str] = {}

    def readable() -> Iterator[tuple[int, Fitted]]:
        fitted = ahead(lambda path: fit(read(path), settings), paths(), 2 * batch_size)
        for number, image in enumerate(fitted):
            task = tasks.popleft()
            if isinstance(image, UnreadableImage):
                context.issues.report(Issue("unreadable-image", f"{image}.", path=task.path))
                continue
            names[number] = task.image_id
            yield number, image

    for batch in batches_of_one_size(readable(), batch_size):
        found = detect(model, settings, [image for _, image in batch], device)
        for (number, _), result in zip(batch, found, strict=True):
            yield Prediction(names.pop(number), _detections(result, settings, lowest))


def _detections(
    found: FoundBoxes, settings: NetworkSettings, lowest: float
) -> tuple[Detection, ...]:
    rows = zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True)
    return tuple(
        Detection(settings.classes[k], Box(*box), score)
        for box, k, score in rows
        if score >= lowest
    )
