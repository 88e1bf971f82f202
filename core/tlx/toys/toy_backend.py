"""A backend: the average box of each class, as a baseline that any network must beat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tlx.api import (
    Availability,
    ExportForm,
    ExportReport,
    ImageTask,
    ModelInfo,
    TrainRequest,
    TrainResult,
)
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, UsageError
from tlx.model import Box, Detection, Prediction

_START = (0.0, 0.0, 32.0, 32.0)
_CHECKPOINT = "checkpoints/average.json"
_EXPORTED = "average.json"


@dataclass(frozen=True)
class ToyOptions:
    """How the average is found."""

    rate: float = 0.25
    """Share of the way to the average of an epoch's boxes that one epoch goes."""


class Average(msgspec.Struct):
    """A checkpoint: a box in absolute pixels and a score in 0..1 for each class."""

    boxes: dict[str, tuple[float, float, float, float]]
    scores: dict[str, float]


class ToyBackend:
    """Predicts the same boxes in every image."""

    name = "toy"
    summary = "the average box of each class: a baseline"
    options = ToyOptions
    forms = (ExportForm("json", "anything that reads JSON", predicts=True),)

    def availability(self) -> Availability:
        """It needs nothing."""
        return Availability(True, "needs no package")

    def models(self) -> tuple[ModelInfo, ...]:
        """There is one."""
        return (
            ModelInfo("average", "average box of each class", 0.0, (0, 0), note="sees nothing"),
        )

    def train(self, request: TrainRequest, context: Context) -> TrainResult:
        """Move each class's box to the average of its boxes; the loss is the squared distance.

        Raises:
            UsageError: If the split has no boxes.
        """
        options = msgspec.convert(dict(request.options), ToyOptions)
        dataset = Dataset.open(request.dataset)
        boxes: dict[str, list[Box]] = {}
        for record in dataset.records(request.train_split):
            for thing in record.objects:
                if thing.box is not None:
                    boxes.setdefault(thing.category, []).append(thing.box)
        if not boxes:
            raise UsageError(f"the split {request.train_split!r} has no boxes.")
        total = sum(map(len, boxes.values()))
        scores = {name: len(found) / total for name, found in boxes.items()}
        average = Average(dict.fromkeys(boxes, _START), scores)
        goals = {name: _mean(found) for name, found in boxes.items()}
        loss = 0.0
        for epoch in range(1, request.epochs + 1):
            loss = 0.0
            for name, goal in goals.items():
                here = average.boxes[name]
                steps = [b - a for a, b in zip(here, goal, strict=True)]
                loss += sum(step * step for step in steps)
                moved = [a + options.rate * step for a, step in zip(here, steps, strict=True)]
                average.boxes[name] = (moved[0], moved[1], moved[2], moved[3])
            context.emit({"kind": "epoch", "epoch": epoch, "loss": loss})
        path = Path(request.run) / _CHECKPOINT
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(average))
        return TrainResult(str(path), str(path), request.epochs, {"loss": loss})

    def predict(
        self,
        checkpoint: Path,
        images: Iterable[ImageTask],
        context: Context,
        *,
        batch_size: int = 8,
        device: str = "auto",
        score_threshold: float = 0.0,
    ) -> Iterator[Prediction]:
        """The average boxes for each image, cut to it.

        The checkpoint is the file of a training, or the folder of an export.

        Raises:
            DataError: If the checkpoint cannot be read.
        """
        del context, batch_size, device
        exported = checkpoint / _EXPORTED
        average = _load(exported if exported.is_file() else checkpoint)
        for task in images:
            width, height = _size(Path(task.path))
            found = [
                Detection(name, Box(*box).clip(width, height), average.scores[name])
                for name, box in average.boxes.items()
                if average.scores[name] >= score_threshold
            ]
            found.sort(key=lambda detection: -detection.score)
            yield Prediction(task.image_id, tuple(found))

    def export(self, checkpoint: Path, kind: str, dest: Path, context: Context) -> ExportReport:
        """Write the checkpoint as JSON.

        Raises:
            UsageError: For another kind.
        """
        del context
        if kind != "json":
            raise UsageError(f"there is no export {kind!r}.", hint="Known: json.")
        average = _load(checkpoint)
        (dest / _EXPORTED).write_bytes(msgspec.json.encode(average))
        return ExportReport(
            (_EXPORTED,),
            class_ids={name: number for number, name in enumerate(average.boxes)},
            input={"size": "any: it is not looked at"},
            output={"boxes": "xmin, ymin, xmax, ymax in pixels", "scores": "0 to 1"},
        )


def _mean(boxes: list[Box]) -> tuple[float, ...]:
    corners = zip(*((b.xmin, b.ymin, b.xmax, b.ymax) for b in boxes), strict=True)
    return tuple(sum(values) / len(boxes) for values in corners)


def _load(path: Path) -> Average:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Average)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"is no checkpoint: {error}", place=path) from error


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as image:
        return image.size
