"""``tlx train DATASET``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from tlx import host
from tlx.cli.common import Flags, make_context, peek, plugin_options, show_issues, values
from tlx.cli.screen import Screen
from tlx.cli.training import TrainingView
from tlx.context import Context
from tlx.errors import UsageError
from tlx.learning import resume as resume_training
from tlx.learning import train
from tlx.runs import Run

DEFAULT_BACKEND = "torch"


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command, with the flags of the backend that ``--backend`` names."""
    named = peek(arguments, "--backend", DEFAULT_BACKEND)
    entry = host.installed().entry("backend", named or DEFAULT_BACKEND)

    def command(
        dataset: Path | None = None,
        *,
        backend: str = DEFAULT_BACKEND,
        model: str | None = None,
        output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
        weights: str = "default",
        warm_start: str | None = None,
        epochs: int | None = None,
        batch_size: int = 8,
        learning_rate: float | None = None,
        seed: int = 0,
        workers: int = 0,
        device: str = "auto",
        train_split: str = "train",
        val_split: str = "val",
        resume: Path | None = None,
        overwrite: Annotated[bool, Parameter(negative=())] = False,
        on_error: str = "fail",
        options: Any = None,
        flags: Flags | None = None,
    ) -> None:
        """Train.

        Args:
            dataset: Dataset folder with splits (tlx split).
            backend: Who trains.
            model: Which network (tlx models).
            output: Run folder; runs/1, runs/2, ... by default.
            weights: default (the model's published ones), none (random), the name of published
                weights, a weight file, or an earlier run folder.
            warm_start: NEW=OLD,...: the class rows that each new class starts from.
            epochs: Passes over the training split; 10 by default.
            batch_size: Images per step.
            learning_rate: The backend's choice by default.
            seed: Root of all randomness.
            workers: Processes that load images.
            device: auto, cpu, cuda or cuda:N.
            train_split: What to learn from.
            val_split: What chooses the best checkpoint and tunes the thresholds.
            resume: Go on with this run folder; no dataset is given then.
            overwrite: Replace a run that lies at the output.
            on_error: fail or skip: what an unreadable image does.
        """
        del flags
        view = TrainingView(screen, resume)
        base = make_context(on_error=on_error, seed=seed, workers=workers)  # type: ignore[arg-type]
        context = Context(
            progress=base.progress, issues=base.issues, emit=view, seed=seed, workers=workers
        )
        with view:
            if resume is not None:
                run = resume_training(resume, epochs=epochs, context=context)
            elif dataset is None:
                raise UsageError(
                    "no dataset is named.", hint="tlx train DATASET, or tlx train --resume RUN"
                )
            else:
                run = train(
                    dataset,
                    backend=backend,
                    model=model,
                    output=output,
                    weights=weights,
                    warm_start=warm_start,
                    epochs=10 if epochs is None else epochs,
                    batch_size=batch_size,
                    learning_rate=learning_rate,
                    seed=seed,
                    workers=workers,
                    device=device,
                    train_split=train_split,
                    val_split=val_split,
                    options=values(options),
                    overwrite=overwrite,
                    context=context,
                )
        show_issues(screen, context.issues)
        _show(screen, run)

    command.__annotations__["options"] = plugin_options(
        entry.value.options, f"Options of {entry.name}"
    )
    app.command(command, name="train", help="Fine-tune a pre-trained network on a dataset.")


def _show(screen: Screen, run: Run) -> None:
    result = run.result()
    path = Path(run.path)
    if result is None:
        return
    best = "before the first step" if result.best_epoch == 0 else f"epoch {result.best_epoch}"
    screen.say(f"best checkpoint: {best}; run folder: {path}")
    screen.note(f"Next: tlx eval {path}")
    screen.result(
        {
            "run": str(path),
            "best": result.best,
            "last": result.last,
            "best_epoch": result.best_epoch,
            "metrics": dict(result.metrics),
        }
    )
