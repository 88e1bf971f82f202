"""Fine-tuning: prepares a training from its request and runs its epochs.

Everything random is a function of the seed, the epoch and the image, and every checkpoint is made
between two epochs, so a training that was interrupted at any moment ends, resumed, with the same
weights as an unbroken one (on one device, with one number of threads).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import tlx.options
from tlx.api import TrainRequest, TrainResult
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import UsageError
from tlx.samples import Samples, load_samples
from tlx_backends.torch_detection import checkpoints, devices, networks, optimization
from tlx_backends.torch_detection.augmentation import Augmentation
from tlx_backends.torch_detection.epochs import Trainer
from tlx_backends.torch_detection.loading import ImageCache, TrainingBatches, TrainingImages
from tlx_backends.torch_detection.options import TorchOptions
from tlx_backends.torch_detection.prediction import LOWEST_SCORE
from tlx_backends.torch_detection.scalars import Scalars
from tlx_backends.torch_detection.settings import NetworkSettings
from tlx_backends.torch_detection.starting import begin
from tlx_backends.torch_detection.validation import Validation

_MEGABYTE = 1 << 20
# What an unbroken training cannot change on its way; a resumed one is told when it did.
_FACTS = ("seed", "batch_size", "epochs", "dataset", "threads", "device", "torch")


def train(request: TrainRequest, context: Context) -> TrainResult:
    """Fine-tune as requested; see `tlx.api.Backend.train`.

    Events: ``start``, ``warning``, ``dropped``, ``augmentation``, ``restored``, ``step``,
    ``epoch``, ``checkpoint``, ``end``.

    Raises:
        UsageError: If the request names something that is not there.
        DataError: If images or weights are missing or broken.
        TlxError: If the loss is no longer a number, or a checkpoint cannot be written.
    """
    options = tlx.options.build(TorchOptions, request.options, "the torch backend")
    _require_sensible(request, options)
    device = devices.choose(request.device)
    dataset = Dataset.open(request.dataset)
    classes = dataset.taxonomy.names
    last = Path(request.run) / "checkpoints" / "last.pt"
    last.parent.mkdir(parents=True, exist_ok=True)
    resumed = checkpoints.load(last) if request.resume and last.is_file() else None
    training = load_samples(dataset, request.train_split, context)
    validation = None
    if dataset.counts.images_by_split.get(request.val_split):
        validation = load_samples(dataset, request.val_split, context)
    cuda = [device] if device.type == "cuda" else []
    with devices.threads(options.threads) as thread_count, torch.random.fork_rng(devices=cuda):
        facts = {
            "seed": request.seed,
            "batch_size": request.batch_size,
            "epochs": request.epochs,
            "dataset": dataset.fingerprint,
            "threads": thread_count,
            "device": device.type,
            "torch": str(torch.__version__),
        }
        trainer = _trainer(
            request,
            options,
            context,
            device,
            classes,
            resumed,
            training,
            validation,
            dataset,
            facts,
        )
        try:
            return trainer.run()
        finally:
            trainer.scalars.close()


def _require_sensible(request: TrainRequest, options: TorchOptions) -> None:
    if request.epochs < 1:
        raise UsageError(f"--epochs must be at least 1, not {request.epochs}.")
    if request.batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, not {request.batch_size}.")
    if request.workers < 0:
        raise UsageError(f"--workers must be at least 0, not {request.workers}.")
    if options.validate_every < 1:
        raise UsageError(f"validate_every must be at least 1, not {options.validate_every}.")


def _trainer(
    request: TrainRequest,
    options: TorchOptions,
    context: Context,
    device: torch.device,
    classes: tuple[str, ...],
    resumed: Mapping[str, Any] | None,
    training: Samples,
    validation: Samples | None,
    dataset: Dataset,
    facts: Mapping[str, Any],
) -> Trainer:
    augmentation = Augmentation.of(options, dataset.taxonomy)
    context.emit({"kind": "start", "model": request.model, "resume": resumed is not None, **facts,
                  "train_images": len(training), "val_images": len(validation or ()),
                  "classes": list(classes)})  # fmt: skip
    for samples in (training, validation):
        if samples is not None and samples.dropped:
            context.emit({"kind": "dropped", "split": samples.split, **samples.dropped})
    if validation is None:
        text = f"there is no split {request.val_split!r}, so the last checkpoint counts as the best"
        context.emit({"kind": "warning", "message": text})
    context.emit({"kind": "augmentation", **augmentation.plain()})
    source: dict[str, Any] = {"path": None, "sha256": None}
    if resumed is None:
        beginning = begin(request, classes, options)
        model, settings = beginning.model, beginning.settings
        context.emit(beginning.restored.event())
        source = {"path": beginning.restored.source, "sha256": beginning.restored.sha256}
    else:
        model, settings = checkpoints.network(resumed, Path(request.run))
        _require_same(settings, request, classes)
        _warn_of_changes(resumed["facts"], facts, context)
        source = resumed["source"]
    smallest = 2 if settings.architecture.body == "mobilenet_ssd" else 1
    if request.batch_size < smallest:
        raise UsageError(f"{request.model} needs --batch-size {smallest} or more.")
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    networks.set_norm_momentum(model, options.norm_momentum)
    networks.set_score_threshold(model, LOWEST_SCORE)
    cache = ImageCache(settings, options.cache_mb * _MEGABYTE)
    # Shared with the training images unless worker processes have caches of their own.
    images = TrainingImages(
        training.items,
        ImageCache(settings, cache.limit) if request.workers else cache,
        augmentation,
        request.seed,
    )
    batches = TrainingBatches(images, request.batch_size, request.workers, smallest)
    default = settings.architecture.learning_rate
    peak = optimization.peak_rate(request.learning_rate, default, request.batch_size, options)
    first_step = 0 if resumed is None else int(resumed["step"])
    return Trainer(
        request=request,
        options=options,
        context=context,
        device=device,
        model=model,
        settings=settings,
        batches=batches,
        smallest_batch=smallest,
        validation=None
        if validation is None
        else Validation(validation, settings, cache, request.batch_size),
        optimizer=optimization.optimizer(model, options),
        rate=optimization.LearningRate.of(peak, request.epochs * len(batches), options),
        bfloat16=devices.uses_bfloat16(options.precision, device, settings.architecture),
        scalars=Scalars(
            Path(request.run) / "tensorboard", enabled=options.tensorboard, first_step=first_step
        ),
        facts=facts,
        source=source,
        resumed=resumed,
    )


def _require_same(
    settings: NetworkSettings, request: TrainRequest, classes: tuple[str, ...]
) -> None:
    if settings.model != request.model or settings.classes != classes:
        raise UsageError(
            f"{request.run} trains {settings.model} on the classes {', '.join(settings.classes)}; "
            "it cannot be resumed with another model or other classes.",
            hint="Start a new run with --weights set to this one.",
        )


def _warn_of_changes(before: Mapping[str, Any], now: Mapping[str, Any], context: Context) -> None:
    changed = [name for name in _FACTS if before.get(name) != now[name]]
    if changed:
        text = (
            f"{', '.join(changed)} changed since the training began, so it will not end with the "
            "weights of an unbroken one"
        )
        context.emit({"kind": "warning", "message": text})
