"""The backends ``tfod`` and ``tfvision`` as the host sees them: without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tlx import environments
from tlx.api import (
    Availability,
    Environment,
    ExportForm,
    ExportReport,
    ImageTask,
    ModelInfo,
    TrainRequest,
    TrainResult,
)
from tlx.context import Context
from tlx.model import Prediction
from tlx_backends.tensorflow.environment import TENSORFLOW
from tlx_backends.tensorflow.forms import FORMS, SAVED_MODEL
from tlx_backends.tensorflow.options import TfodOptions, TfvisionOptions
from tlx_backends.tensorflow.worker.families import FAMILIES
from tlx_backends.tensorflow.worker.garden.models import MODELS


class TfodBackend:
    """Fine-tunes the detectors of the TensorFlow Object Detection API, in a worker."""

    name = "tfod"
    summary = "detectors of the TensorFlow Object Detection API, in an environment of its own"
    options: type[Any] = TfodOptions
    environment: Environment = TENSORFLOW
    forms: tuple[ExportForm, ...] = FORMS

    def availability(self) -> Availability:
        """Whether the environment is installed; looks at two files."""
        found = environments.state(self.environment)
        if found.kind == "ready":
            return Availability(True, found.detail)
        return Availability(False, found.detail, hint=environments.install_command(self.name))

    def models(self) -> tuple[ModelInfo, ...]:
        """The networks that the worker can build."""
        return tuple(
            ModelInfo(
                name=family.name,
                summary=family.summary,
                parameters=family.parameters,
                input_size=(family.size, family.size),
                weights=family.archives,
            )
            for family in FAMILIES
        )

    def train(self, request: TrainRequest, context: Context) -> TrainResult:
        """Fine-tune on the request's dataset; the run folder is as the torch backend's."""
        from tlx_backends.tensorflow.training import Training

        return Training(self.name, self.environment, self.options, request, context).run()

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
        """Detect in each image, in the given order.

        Boxes are in pixels of the image as it is stored (EXIF orientation is not applied), cut to
        the image, by falling score. An image that cannot be read is an issue and has no prediction.
        """
        from tlx_backends.tensorflow.prediction import predict

        return predict(
            self.name,
            self.environment,
            checkpoint,
            images,
            context,
            batch_size=batch_size,
            device=device,
            score_threshold=score_threshold,
        )

    def export(self, checkpoint: Path, kind: str, dest: Path, context: Context) -> ExportReport:
        """Write a checkpoint in one of the forms."""
        from tlx_backends.tensorflow.export import export

        return export(self.name, self.environment, self.forms, checkpoint, kind, dest, context)


class TfvisionBackend(TfodBackend):
    """Fine-tunes RetinaNet of TensorFlow's Model Garden, in the same environment."""

    name = "tfvision"
    summary = "RetinaNet of TensorFlow's Model Garden, in the environment of tfod"
    options: type[Any] = TfvisionOptions
    forms: tuple[ExportForm, ...] = (SAVED_MODEL,)

    def models(self) -> tuple[ModelInfo, ...]:
        """The networks that the worker can build; their weights come by path."""
        return tuple(
            ModelInfo(
                name=model.name,
                summary=model.summary,
                parameters=model.parameters,
                input_size=(model.size, model.size),
            )
            for model in MODELS
        )
