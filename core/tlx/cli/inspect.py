"""``tlx inspect DATASET``: the viewer, or a summary of the mistakes where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from tlx import host
from tlx.cli.common import Flags, make_context, peek, plugin_options, show_issues, values
from tlx.cli.datasets import show_dataset
from tlx.cli.screen import Screen
from tlx.context import Context, Event
from tlx.dataset import Dataset
from tlx.learning import inspect, looked_at
from tlx.options import NoOptions
from tlx.predictors import require_available, run_thresholds
from tlx.runs import Run
from tlx.thresholds import Thresholds

DEFAULT_VIEWER = "fiftyone"


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command, with the flags of the viewer that ``--viewer`` names."""
    named = peek(arguments, "--viewer", DEFAULT_VIEWER) or DEFAULT_VIEWER
    plugins = host.installed()
    known = named in plugins.names("viewer") or named != DEFAULT_VIEWER
    kind = plugins.entry("viewer", named).value.options if known else NoOptions

    def command(
        dataset: Path,
        *,
        run: Path | None = None,
        predictions: Path | None = None,
        split: str | None = None,
        viewer: str = DEFAULT_VIEWER,
        text: Annotated[bool, Parameter(negative=())] = False,
        options: Any = None,
        flags: Flags | None = None,
    ) -> None:
        """Inspect.

        Args:
            dataset: Dataset folder.
            run: Run folder: opens on its mistakes.
            predictions: A predictions file, or the folder that tlx predict wrote.
            split: Only this split; with a run the judged one by default.
            viewer: Which viewer.
            text: Print the summary of mistakes and open no viewer.
        """
        del flags
        context = Context(progress=make_context().progress, emit=_Announcer(screen))
        data = Dataset.open(dataset)
        found, shown = looked_at(data, run, predictions, split, context)
        entry = plugins.entry("viewer", viewer)
        if text or not host.availability(entry).ok:
            limits = 0.3 if run is None else run_thresholds(Run.open(run))
            screen.result(summarise(screen, data, found, shown, limits))
            if not text:
                # The summary is what can be had without the viewer; the error says what is missing.
                require_available(entry)
            return
        inspect(
            dataset,
            predictions=found,
            split=shown,
            viewer=viewer,
            options=values(options),
            context=context,
        )
        show_issues(screen, context.issues)

    command.__annotations__["options"] = plugin_options(kind, f"Options of {named}")
    app.command(command, name="inspect", help="Open the viewer on the mistakes of a run.")


class _Announcer:
    """Says where the viewer is; ``ready`` carries the address."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def __call__(self, event: Event) -> None:
        if event.get("kind") == "ready":
            self.screen.say(f"READY {event['url']}")
            self.screen.note("Press Ctrl-C to close it.")
        elif event.get("kind") in ("log", "warning"):
            self.screen.note(str(event["message"]))


def summarise(
    screen: Screen,
    data: Dataset,
    predictions: Path | None,
    split: str | None,
    thresholds: Thresholds,
) -> dict[str, Any]:
    """Print where the network is wrong: the worst images, the confusions."""
    if predictions is None:
        show_dataset(screen, data, str(data.path))
        return {"dataset": str(data.path)}
    from tlx.mistakes import find_mistakes

    mistakes = find_mistakes(data, predictions, split, score_threshold=thresholds)
    false, missed = mistakes.false_positives_per_image, mistakes.misses_per_image
    worst = [int(row) for row in mistakes.worst_images[:10]]
    used = "at the tuned thresholds"
    if not isinstance(thresholds, Mapping):
        used = f"at score {thresholds:g}"
    screen.say(
        f"{len(mistakes.image_ids):,} images, {used}: "
        f"{int(false.sum()):,} false, {int(missed.sum()):,} missed, "
        f"{len(mistakes.worst_images):,} images with a mistake"
    )
    rows = [(mistakes.image_ids[r], str(int(false[r])), str(int(missed[r]))) for r in worst]
    screen.table("Worst images", ("image", "false", "missed"), rows)
    confused = mistakes.confused_classes()[:10]
    if confused:
        screen.table(
            "Confusions",
            ("labelled", "seen as", "times"),
            [(a, b, str(n)) for a, b, n in confused],
            left=2,
        )
    return {
        "images": len(mistakes.image_ids),
        "false_positives": int(false.sum()),
        "misses": int(missed.sum()),
        "worst_images": [mistakes.image_ids[r] for r in worst],
        "confusions": [{"labelled": a, "seen_as": b, "times": n} for a, b, n in confused],
    }
