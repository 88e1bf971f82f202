"""What a training begins with: the network, what it took over, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torchvision.models import get_model_weights

from tlx.api import TrainRequest
from tlx_backends.torch_detection import checkpoints, networks, weight_files
from tlx_backends.torch_detection.catalog import Architecture, PublishedWeights, architecture
from tlx_backends.torch_detection.options import TorchOptions
from tlx_backends.torch_detection.restoring import Restored, restore
from tlx_backends.torch_detection.settings import NetworkSettings
from tlx_backends.torch_detection.weight_files import WeightSource

# Names in torchvision's COCO list that no object has.
_NO_CLASS = ("__background__", "N/A")


@dataclass(frozen=True, slots=True)
class Beginning:
    """A network before its first step."""

    model: nn.Module
    settings: NetworkSettings
    restored: Restored


@dataclass(frozen=True, slots=True)
class _OldHead:
    """Class rows of a weight file: row by class name, None where it names none; their number."""

    rows: Mapping[str, int] | None
    count: int | None


def begin(request: TrainRequest, classes: tuple[str, ...], options: TorchOptions) -> Beginning:
    """Build the network of a request and restore everything that fits.

    Random weights come from the request's seed alone.

    Raises:
        UsageError: If a name is unknown.
        DataError: If the weights are broken, not what they should be, or fit nothing.
    """
    entry = architecture(request.model)
    source = None
    if request.weights is not None and request.weights.lower() != "none":
        source = weight_files.find(request.weights, entry, download=options.download)
    settings = _settings(request, classes, options, source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        model = networks.build(settings)
    old = _old_head(source, entry)
    restored = restore(
        model,
        settings,
        source,
        old.rows,
        old.count,
        request.warm_start,
        options.head_blend,
    )
    return Beginning(model, settings, restored)


def _settings(
    request: TrainRequest,
    classes: tuple[str, ...],
    options: TorchOptions,
    source: WeightSource | None,
) -> NetworkSettings:
    """The user's options; what they leave open is as in the weights' own training."""
    settings = NetworkSettings.of(request.model, classes, options)
    if source is not None and checkpoints.is_ours(source.content):
        old = NetworkSettings.from_plain(source.content["settings"])
        if old.model == settings.model:
            settings = replace(settings, shorter=old.shorter, longer=old.longer)
            settings = settings.resized(options.shorter_side, options.longer_side)
            settings = replace(settings, frozen_eps=old.frozen_eps)
        if options.normalize == "model":
            settings = replace(settings, mean=old.mean, std=old.std)
        if options.channels == "model":
            settings = replace(settings, channels=old.channels)
    elif source is not None and source.published is not None:
        settings = replace(
            settings,
            frozen_eps=source.published.frozen_eps,
            trainable_layers=_published_layers(settings.architecture, source.published),
        )
    if options.trainable_layers is not None:
        settings = replace(settings, trainable_layers=options.trainable_layers)
    return settings


def _published_layers(entry: Architecture, published: PublishedWeights) -> int | None:
    # SSDlite's builder trains all of the body, which is two stages here.
    return None if entry.body == "mobilenet_ssd" else published.trainable_layers


def _old_head(source: WeightSource | None, entry: Architecture) -> _OldHead:
    if source is None:
        return _OldHead(None, None)
    if checkpoints.is_ours(source.content):
        old = NetworkSettings.from_plain(source.content["settings"])
        rows = {name: old.first_label + k for k, name in enumerate(old.classes)}
        return _OldHead(rows, old.rows)
    if source.published is not None:
        weights = get_model_weights(entry.name)[source.published.name]
        names = weights.meta["categories"]
        rows = {name: row for row, name in enumerate(names) if name not in _NO_CLASS}
        return _OldHead(rows, len(names))
    return _OldHead(None, None)
