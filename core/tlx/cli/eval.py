"""``tlx eval RUN``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from tlx.cli.common import Flags, make_context, show_issues
from tlx.cli.screen import Screen, number
from tlx.errors import UsageError
from tlx.learning import evaluate
from tlx.scoring import DEFAULT_HEIGHTS


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(
        name="eval", help="Judge a run: COCO AP, AP by pixel height, precision and recall."
    )
    def command(
        run: Path,
        *,
        dataset: Path | None = None,
        split: str | None = None,
        checkpoint: Literal["best", "last"] = "best",
        score_threshold: float | None = None,
        heights: str = ",".join(f"{h:g}" for h in DEFAULT_HEIGHTS),
        device: str = "auto",
        on_error: Literal["fail", "skip"] = "fail",
        flags: Flags | None = None,
    ) -> None:
        """Evaluate.

        Args:
            run: Run folder, or a folder that tlx predict wrote for a dataset.
            dataset: Another dataset than the run's own; that of the predictions.
            split: test by default, or the validation split where there is no test split.
            checkpoint: Which checkpoint to judge.
            score_threshold: For precision and recall; the thresholds tuned per class by default.
            heights: Bounds of the pixel-height bins.
            device: auto, cpu, cuda or cuda:N.
            on_error: fail or skip: what an unreadable image does.
        """
        del flags
        context = make_context(on_error=on_error)
        done = evaluate(
            run,
            dataset=dataset,
            split=split,
            checkpoint=checkpoint,
            score_threshold=score_threshold,
            heights=_bounds(heights),
            device=device,
            context=context,
        )
        show_metrics(screen, done.metrics)
        show_issues(screen, context.issues)
        screen.note(f"Everything: {done.path}")
        screen.result(done.metrics)


def _bounds(text: str) -> tuple[float, ...]:
    try:
        bounds = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--heights must be numbers such as 8,16,32, not {text!r}.") from None
    if any(b <= a for a, b in zip((0.0, *bounds), bounds, strict=False)):
        raise UsageError(f"--heights must be positive and ascending, not {text}.")
    return bounds


def show_metrics(screen: Screen, metrics: Mapping[str, Any]) -> None:
    """Print an evaluation as tables of 80 columns."""
    screen.say(
        f"{metrics['run']}: {metrics['model']} ({metrics['checkpoint']}) on {metrics['dataset']}, "
        f"split {metrics['split']}: {metrics['images']:,} images, {metrics['objects']:,} objects"
    )
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_100")
    screen.table(
        "",
        [n.replace("_", " ").upper() for n in names],
        [[number(metrics[n]) for n in names]],
        left=0,
    )
    rows = [
        (
            name,
            f"{c['objects']:,}",
            number(c["ap"]),
            number(c["ap50"]),
            number(c["threshold"], 2),
            number(c["precision"]),
            number(c["recall"]),
            f"{c['false_positives']:,}",
            f"{c['false_negatives']:,}",
        )
        for name, c in metrics["by_class"].items()
    ]
    rows.append(
        (
            "all",
            f"{metrics['objects']:,}",
            number(metrics["ap"]),
            number(metrics["ap50"]),
            "",
            number(metrics["precision"]),
            number(metrics["recall"]),
            f"{metrics['false_positives']:,}",
            f"{metrics['false_negatives']:,}",
        )
    )
    screen.table(
        "By class (IoU 0.5 at the threshold)",
        ("class", "number", "AP", "AP50", "score", "prec.", "recall", "false", "missed"),
        rows,
    )
    screen.table(
        "By height in pixels",
        ("height", "objects", "AP", "AP50", "AR"),
        [
            (_bin(b), f"{b['objects']:,}", number(b["ap"]), number(b["ap50"]), number(b["ar"]))
            for b in metrics["by_height"]
        ],
    )
    if metrics["images_without_predictions"]:
        number_missing = metrics["images_without_predictions"]
        screen.warn(f"{number_missing:,} images have no prediction and were not judged.")
    for leak in metrics["leaks"][:3]:
        screen.warn(f"leaky split, the figures are too good: {leak}")
    if len(metrics["leaks"]) > 3:
        screen.warn(f"... and {len(metrics['leaks']) - 3} more leaks (metrics.json)")


def _bin(entry: Mapping[str, Any]) -> str:
    return (
        f"{entry['low']:g}+" if entry["high"] is None else f"{entry['low']:g} to {entry['high']:g}"
    )
