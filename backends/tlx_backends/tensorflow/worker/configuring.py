"""From a job to the configuration that it trains with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlx.worker_protocol import Channel, WorkerError

from . import anchors, network, network_config, pipeline_config, user_config
from .families import Family, family

_LOW_COVERAGE = 0.9


@dataclass(slots=True)
class Configured:
    """A configuration and what is to be said about it.

    Attributes:
        message: The ``TrainEvalPipelineConfig``.
        lines: For the user: anchors, what was taken over, what was completed.
        warnings: The same, where something may be wrong.
    """

    message: Any
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def configure(job: Mapping[str, Any], channel: Channel) -> Configured:
    """The configuration of a training job.

    Raises:
        WorkerError: If the job asks for something that cannot be.
        ValueError: The same, from a module that knows no job.
    """
    training = _training(job)
    if job.get("config"):
        message, lines = user_config.complete(
            Path(job["config"]), job["classes"], training, channel
        )
        return Configured(message, lines)
    chosen = family(str(job["model"]))
    size = int(job["size"][-1])
    chosen.require_size(size)
    settings: Mapping[str, Any] = job.get("settings") or {}
    boxes = anchors.input_boxes(
        (job.get("statistics") or {}).get("boxes") or [], size, stretch=chosen.stretch
    )
    measured = anchors.anchors_of(boxes, size)
    generator = anchors.generator(chosen, measured, size)
    shape = network_config.Shape(
        classes=len(job["classes"]),
        size=size,
        anchors=generator,
        depth_multiplier=float(settings.get("depth_multiplier") or 1.0),
        feature_depth=settings.get("feature_depth"),
        head_layers=settings.get("head_layers"),
        proposals=int(settings.get("proposals") or 300),
        most_boxes=max(100, training.most_boxes),
    )
    block = network_config.network_block(chosen, shape)
    found = Configured(pipeline_config.message(pipeline_config.pipeline(chosen, block, training)))
    if generator is not None:
        _tell_anchors(found, measured, anchors.covered(boxes, anchors.shapes_of(generator, size)))
    _take_over(found, chosen, job.get("weights"), str(settings.get("restore") or ""))
    _overrule(found.message, training)
    pipeline_config.require_sound(found.message)
    return found


def _training(job: Mapping[str, Any]) -> pipeline_config.Training:
    statistics = job.get("statistics") or {}
    records = job["records"]
    weights = job.get("weights") or {}
    return pipeline_config.Training(
        label_map=str(job["label_map"]),
        train=[str(path) for path in records["train"]],
        val=[str(path) for path in records.get("val") or ()],
        steps=int(job["steps"]),
        batch_size=int(job["batch_size"]),
        learning_rate=job.get("learning_rate"),
        warmup_steps=job.get("warmup_steps"),
        optimizer=job.get("optimizer"),
        gradient_norm=job.get("gradient_norm"),
        most_boxes=int(statistics.get("most_boxes") or 100),
        augmentation=job.get("augmentation"),
        image_ratio=_image_ratio(statistics.get("boxes") or ()),
        fine_tune=weights.get("prefix"),
        weight_decay=job.get("weight_decay"),
    )


def _image_ratio(boxes: Sequence[Sequence[float]]) -> float:
    """Width / height of the images that hold boxes: the median."""
    ratios = sorted(width / height for _, _, width, height in boxes if width > 0 and height > 0)
    return ratios[len(ratios) // 2] if ratios else 1.0


def _tell_anchors(found: Configured, measured: anchors.Anchors, share: float) -> None:
    if not measured.boxes:
        found.warnings.append("there are no boxes to lay out anchors for; COCO's are used")
        return
    ratios = ", ".join(f"{ratio:g}" for ratio in measured.ratios)
    found.lines.append(
        f"anchors from {measured.boxes} boxes: width/height {ratios}; "
        f"{measured.smallest:.0f} to {measured.largest:.0f} px in the network's input; "
        f"{share:.0%} of the boxes are covered at IoU 0.5"
    )
    if share < _LOW_COVERAGE:
        found.warnings.append(
            f"{1 - share:.0%} of the boxes fit no anchor, most of them too small; a larger "
            "--side or tiles would help"
        )


def _take_over(
    found: Configured, chosen: Family, weights: Mapping[str, Any] | None, restore: str
) -> None:
    """Give the network the shape of the one whose weights it starts from."""
    if not weights or not weights.get("config"):
        return
    path = Path(str(weights["config"]))
    theirs = pipeline_config.read(path)
    kind = found.message.model.WhichOneof("model")
    name = str(weights.get("name") or path)
    their_kind = theirs.model.WhichOneof("model")
    their_network = getattr(theirs.model, their_kind) if their_kind else None
    theirs_is = their_network.feature_extractor.type if their_network is not None else "nothing"
    if their_kind != kind or _plain_type(theirs_is) != _plain_type(chosen.extractor):
        raise WorkerError(
            "usage",
            f"{name} was trained with {theirs_is}, which is not {chosen.name}.",
            place=str(weights.get("prefix")),
            hint="Choose the --model that the weights were trained with.",
        )
    ours = getattr(found.message.model, kind)
    taken = ["feature_extractor"]
    if kind == "ssd":
        taken.append("box_predictor")
    if restore in {"body+boxes", "all"}:
        taken += [
            n for n in ("anchor_generator", "first_stage_anchor_generator") if hasattr(ours, n)
        ]
    for field_name in taken:
        before = str(getattr(ours, field_name))
        getattr(ours, field_name).CopyFrom(getattr(their_network, field_name))
        if str(getattr(ours, field_name)) != before:
            found.lines.append(f"{field_name} is taken over from the configuration of {name}")


def _plain_type(extractor: str) -> str:
    return extractor.removesuffix("_keras").removesuffix("_sep_conv")


def _overrule(message: Any, training: pipeline_config.Training) -> None:
    """Set what the user decides on every layer: the weight decay."""
    if training.weight_decay is None:
        return
    for hyperparams in _messages(message.model, "Hyperparams"):
        if hyperparams.regularizer.WhichOneof("regularizer_oneof") == "l2_regularizer":
            hyperparams.regularizer.l2_regularizer.weight = training.weight_decay


def _messages(message: Any, name: str) -> list[Any]:
    """Every message of a type that is set below a message."""
    found = []
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        for entry in value if hasattr(value, "append") else [value]:
            if entry.DESCRIPTOR.name == name:
                found.append(entry)
            found += _messages(entry, name)
    return found


def write(message: Any, folder: Path) -> Path:
    """Write a configuration into a run folder, where the API's own tools look for it."""
    path = folder / pipeline_config.FILE_NAME
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(pipeline_config.text(message), encoding="utf-8")
    partial.replace(path)
    return path


def tell(found: Configured, channel: Channel) -> None:
    """Send the lines and warnings of a configuration."""
    for line in found.lines:
        channel.emit("log", message=line)
    for line in found.warnings:
        channel.emit("warning", message=line)


def write_config(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """The job ``config``: make a configuration, build its network, write it."""
    found = configure(job, channel)
    tell(found, channel)
    channel.emit("phase", name="build")
    network.build(found.message)
    path = write(found.message, Path(job["run"]))
    return {"path": str(path), "differences": found.lines}
