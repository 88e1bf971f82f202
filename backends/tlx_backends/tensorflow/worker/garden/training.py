"""Training a RetinaNet of the Garden: everything between a job and its last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlx.worker_protocol import Channel, WorkerError

from ..checkpoints import Checkpoints, restore_all
from ..loop import Loop
from ..network import cap_norm_momentum
from ..restoring import Source
from ..scalars import Scalars
from . import experiment, network, restoring
from .batches import Batches
from .models import garden_model
from .stepping import Stepper

DEFAULT_RESTORE = "body"


def train(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """The job ``train``.

    Raises:
        WorkerError: If the job cannot be done, or the loss is no number any more.
        Cancelled: After the last checkpoint was kept.
    """
    import tensorflow as tf

    if job.get("mirrored"):
        raise WorkerError("usage", "tfvision trains on one device.", place="--mirrored",
                          hint="Leave it out, or train with --backend tfod.")  # fmt: skip
    run, steps = Path(job["run"]), int(job["steps"])
    resume = job.get("resume") or {}
    task_config = experiment.read(run) if resume else experiment.configure(job)
    experiment.write(task_config, run)
    anchor = task_config.model.anchor
    channel.emit("log", message=f"anchors: from {anchor.anchor_size * 2**3:g} pixels of the input, "
                 f"width to height {', '.join(f'{r:g}' for r in anchor.aspect_ratios)}"
                 )  # fmt: skip
    tf.keras.utils.set_random_seed(int(job.get("seed") or 0))
    channel.emit("phase", name="build")
    task, model = network.build(task_config)
    restored = _begin(job, model, channel)
    if job.get("norm_momentum_cap", True):
        changed = cap_norm_momentum(model, steps)
        channel.emit("log", message=f"batch norm follows faster in {changed} layers: averages of "
                     "a short training")  # fmt: skip
    batch_size = int(job["batch_size"])
    warmup = job.get("warmup_steps")
    stepper: Any = Stepper(
        task,
        model,
        optimizer=str(job.get("optimizer") or "adam"),
        learning_rate=float(job.get("learning_rate") or _rate(job, batch_size)),
        steps=steps,
        warmup_steps=max(1, steps // 20) if warmup is None else int(warmup),
        gradient_norm=float(job.get("gradient_norm") or 0.0),
    )
    channel.emit(
        "model",
        variables=len(model.variables),
        trainable=len(model.trainable_variables),
        parameters=sum(int(v.shape.num_elements()) for v in model.variables),
    )
    channel.emit("restored", **restored)
    # The names of the Garden's own trainer, so that its tools read our checkpoints.
    checkpoint = tf.train.Checkpoint(
        step=stepper.step, model=model, optimizer=stepper.optimizer, **model.checkpoint_items
    )
    restore_all(checkpoint, resume.get("prefix"))
    batches = Batches(
        task_config,
        [str(path) for path in job["records"]["train"]],
        seed=int(job.get("seed") or 0),
        steps_per_pass=int(job["steps_per_epoch"]),
    )
    detector: Any = network.Detector(model, task_config)
    described = {
        "backend": "tfvision",
        "model": job["model"],
        "classes": list(job["classes"]),
        "settings": {"steps": steps},
    }
    loop = Loop(
        stepper=stepper,
        detector=detector,
        batches=batches,
        checkpoints=Checkpoints(run / "checkpoints", checkpoint, described),
        scalars=Scalars(run / "tensorboard"),
        channel=channel,
        images=[str(path) for path in job.get("validation") or ()],
        batch_size=batch_size,
        steps=steps,
        steps_to_score=int(job["steps_to_score"]),
        state=dict(resume.get("state") or {}),
        score_first=bool(resume.get("score_first")),
    )
    return loop.run()


def _rate(job: Mapping[str, Any], batch_size: int) -> float:
    """The network's own rate, for batches of this size."""
    own = garden_model(str(job["model"])).learning_rate
    return float(own * (batch_size / 8) ** 0.5)


def _begin(job: Mapping[str, Any], model: Any, channel: Channel) -> dict[str, Any]:
    """Take the weights that the job names; returns the fields of the event ``restored``."""
    weights = job.get("weights")
    classes = [str(name) for name in job["classes"]]
    if job.get("resume"):
        return {"source": str(job["resume"]["prefix"]), "sha256": None, "rows": [], "classes": []}
    if not weights:
        rows = [row.plain() for row in restoring.all_new(model)]
        fresh = [{"class": name, "from": None} for name in classes]
        return {"source": None, "sha256": None, "rows": rows, "classes": fresh}
    channel.emit("phase", name="restore")
    moves = {str(new): str(old) for new, old in (job.get("warm_start") or {}).items()}
    choice = str((job.get("settings") or {}).get("restore") or DEFAULT_RESTORE)
    source = Source(
        prefix=str(weights["prefix"]),
        name=str(weights.get("name") or weights["prefix"]),
        classes=tuple(weights.get("classes") or ()),
        sha256=weights.get("sha256"),
    )
    found = restoring.restore(model, source, classes, moves, choice)
    return {
        "source": source.name,
        "sha256": source.sha256,
        "rows": [row.plain() for row in found.rows],
        "classes": [{"class": name, "from": old} for name, old in found.classes.items()],
    }
