"""Training: everything between a job and its last checkpoint.

A loop over the API's parts instead of its `train_loop`, which cannot freeze, cannot be stopped
with a checkpoint, does not know its validation score and loses a short training to its batch
norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlx.worker_protocol import Channel, WorkerError

from . import configuring, devices, network, restoring
from .checkpoints import Checkpoints, restore_all
from .loop import Loop
from .records_input import Batches
from .scalars import Scalars
from .stepping import Stepper

DEFAULT_RESTORE: restoring.Restore = "body"


def train(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """The job ``train``.

    Raises:
        WorkerError: If the job cannot be done, or the loss is no number any more.
        Cancelled: After the last checkpoint was kept.
    """
    import tensorflow as tf

    run = Path(job["run"])
    found = configuring.configure(job, channel)
    configuring.tell(found, channel)
    config = found.message
    configuring.write(config, run)
    strategy = devices.strategy(int(job["batch_size"]), mirrored=bool(job.get("mirrored")))
    seed = int(job.get("seed") or 0)
    tf.keras.utils.set_random_seed(seed)
    channel.emit("phase", name="build")
    with strategy.scope():
        model = network.build(config)
        restored = _begin(job, model, channel)
        if job.get("norm_momentum_cap", True):
            changed = network.cap_norm_momentum(model, int(job["steps"]))
            channel.emit("log", message=f"batch norm follows faster in {changed} layers: "
                         "averages of a short training")  # fmt: skip
        if job.get("freeze") == "backbone":
            network.freeze_backbone(model)
        stepper = Stepper(model, config, strategy, seed=seed)
    channel.emit(
        "model",
        variables=len(model.variables),
        trainable=len(model.trainable_variables),
        parameters=sum(int(v.shape.num_elements()) for v in model.variables),
    )
    channel.emit("restored", **restored)
    checkpoint = tf.train.Checkpoint(step=stepper.step, model=model, optimizer=stepper.optimizer)
    restore_all(checkpoint, (job.get("resume") or {}).get("prefix"))
    batches = Batches(
        config,
        model,
        seed=seed,
        steps_per_pass=int(job["steps_per_epoch"]),
        strategy=strategy,
    )
    loop = Loop(
        stepper=stepper,
        detector=network.Detector(model, config),
        batches=batches,
        checkpoints=Checkpoints(run / "checkpoints", checkpoint, _described(job)),
        scalars=Scalars(run / "tensorboard"),
        channel=channel,
        images=[str(path) for path in job.get("validation") or ()],
        batch_size=int(job["batch_size"]),
        steps=int(job["steps"]),
        steps_to_score=int(job["steps_to_score"]),
        state=dict((job.get("resume") or {}).get("state") or {}),
        score_first=bool((job.get("resume") or {}).get("score_first")),
    )
    return loop.run()


def _described(job: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "backend": job.get("backend", "tfod"),
        "model": job["model"],
        "classes": list(job["classes"]),
        "settings": {"steps": int(job["steps"])},
    }


def _begin(job: Mapping[str, Any], model: Any, channel: Channel) -> dict[str, Any]:
    """Take the weights that the job names; returns the fields of the event ``restored``."""
    weights = job.get("weights")
    classes = [str(name) for name in job["classes"]]
    if job.get("resume"):
        resume = job["resume"]
        return {"source": str(resume["prefix"]), "sha256": None, "rows": [], "classes": []}
    if not weights:
        return {
            "source": None,
            "sha256": None,
            "rows": [row.plain() for row in restoring.all_new(model)],
            "classes": [{"class": name, "from": None} for name in classes],
        }
    channel.emit("phase", name="restore")
    moves = {str(new): str(old) for new, old in (job.get("warm_start") or {}).items()}
    choice = str((job.get("settings") or {}).get("restore") or DEFAULT_RESTORE)
    if choice not in restoring.CHOICES:
        raise WorkerError("usage", f"restore must be body, body+boxes or all, not {choice}.")
    source = restoring.Source(
        prefix=str(weights["prefix"]),
        name=str(weights.get("name") or weights["prefix"]),
        classes=tuple(weights.get("classes") or ()),
        sha256=weights.get("sha256"),
    )
    found = restoring.restore(model, source, classes, moves, choice)  # type: ignore[arg-type]
    return {
        "source": source.name,
        "sha256": source.sha256,
        "rows": [row.plain() for row in found.rows],
        "classes": [{"class": name, "from": old} for name, old in found.classes.items()],
    }
