"""The torch backend as the host sees it; everything heavy is imported when it is used."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

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
from tlx.errors import MissingExtra
from tlx.model import Prediction
from tlx_backends.torch_detection.catalog import ARCHITECTURES
from tlx_backends.torch_detection.forms import FORMS
from tlx_backends.torch_detection.options import TorchOptions

_EXTRA = "torch"
_MINIMUM = (2, 6)
_MATCHING = "install matching builds of both from one package index"


class TorchBackend:
    """Fine-tunes torchvision's detectors in this process."""

    name = "torch"
    summary = "torchvision's detectors, fine-tuned on CPU or GPU"
    options: type[Any] = TorchOptions
    forms: tuple[ExportForm, ...] = FORMS

    def availability(self) -> Availability:
        """Whether torch >= 2.6 and torchvision are installed; imports neither."""
        versions = {}
        for package in ("torch", "torchvision"):
            if importlib.util.find_spec(package) is None:
                return Availability(False, f"{package} is not installed", _EXTRA)
            try:
                versions[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                return Availability(False, f"{package} has no version", _EXTRA)
        detail = ", ".join(f"{package} {version}" for package, version in versions.items())
        major, minor = versions["torch"].split(".")[:2]
        if (int(major), int(minor)) < _MINIMUM:
            return Availability(False, f"{detail}; torch 2.6 or newer is needed", _EXTRA)
        return Availability(True, detail, _EXTRA)

    def models(self) -> tuple[ModelInfo, ...]:
        """The networks of the catalog."""
        return tuple(entry.info for entry in ARCHITECTURES)

    def train(self, request: TrainRequest, context: Context) -> TrainResult:
        """Fine-tune on the request's dataset; checkpoints and scalars go into its run folder."""
        self._require()
        from tlx_backends.torch_detection.training import train

        return train(request, context)

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
        self._require()
        from tlx_backends.torch_detection.prediction import predict

        return predict(
            checkpoint,
            images,
            context,
            batch_size=batch_size,
            device=device,
            score_threshold=score_threshold,
        )

    def export(self, checkpoint: Path, kind: str, dest: Path, context: Context) -> ExportReport:
        """Write a checkpoint as TorchScript or ONNX below ``dest``."""
        self._require()
        from tlx_backends.torch_detection.export import export

        return export(checkpoint, kind, dest, context)

    def _require(self) -> None:
        """Import torch and torchvision, or say what is wrong with them."""
        found = self.availability()
        if not found.ok:
            raise MissingExtra("the torch backend", _EXTRA, found.detail)
        # OpenMP threads spin while they wait for each other. On a machine that does other work too
        # the default makes two threads ten times slower than one; to sleep at once halves them on
        # an idle one. Images/s of a small network with two threads on two cores, idle and with
        # four other jobs: default 28 and 0.4, sleeping 14 and 4.5, a short spin 27 and 2.3.
        # GNU OpenMP reads it when torch is first loaded; what the user has set stays.
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", "20000")
        try:
            importlib.import_module("torchvision.ops")
        except (ImportError, OSError, RuntimeError) as error:
            # A CPU build of one beside a CUDA build of the other: operator torchvision::nms does
            # not exist.
            reason = f"{found.detail} do not load together: {error}; {_MATCHING}"
            raise MissingExtra("the torch backend", _EXTRA, reason) from error
