"""How the events of a training are shown: a bar for the steps, a line for each epoch."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tlx.cli.screen import Screen, number
from tlx.context import Event
from tlx.errors import Interrupted, TlxError


class TrainingView:
    """Takes events and shows them; a context manager that owns the bar.

    Args:
        screen: Where to speak.
        resumed: The run that is gone on with.
    """

    def __init__(self, screen: Screen, resumed: Path | None = None) -> None:
        self.screen = screen
        self.resumed = resumed
        self._begun = False
        self.checkpoint: Path | None = None
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        run = None if self.checkpoint is None else self.checkpoint.parent.parent
        # Its checkpoint may be what is wrong; if the process died, it is not.
        if run is None and self._begun and type(error) in {TlxError, KeyboardInterrupt}:
            run = self.resumed
        if run is None:
            return
        go_on = f"Go on with: tlx train --resume {run}"
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(
                "interrupted; the last whole checkpoint is kept.", hint=go_on
            ) from None
        if isinstance(error, TlxError):
            kept = f"The last whole checkpoint is kept. {go_on}"
            error.hint = kept if error.hint is None else f"{error.hint}\n  {kept}"

    def __call__(self, event: Event) -> None:
        """Show one event; kinds that are not known are for the files only."""
        show = getattr(self, f"_show_{event.get('kind')}", None)
        if show is not None:
            show(event)

    def _show_warning(self, event: Event) -> None:
        self._close()
        self.screen.warn(str(event["message"]))

    def _show_log(self, event: Event) -> None:
        self._close()
        self.screen.note(str(event["message"]))

    def _show_checkpoint(self, event: Event) -> None:
        self.checkpoint = Path(event["path"])

    def _show_start(self, event: Event) -> None:
        self._begun = True
        self.screen.note(f"training {event['model']}")

    def _show_restored(self, event: Event) -> None:
        """A table of what came from the weights: per part of the network, and per class."""
        rows = event["rows"]
        source = event.get("source")
        title = f"Weights from {source}" if source else "Random weights"
        total = sum(row["restored"] + row["moved"] for row in rows)
        if not total:
            count = sum(row["new"] for row in rows)
            # A training that goes on has nothing to list.
            if count or not source:
                self.screen.note(title + (f": all {count:,} tensors are new" if count else ""))
            return
        self.screen.table(
            title,
            ("part", "restored", "moved", "new"),
            [(row["part"], *(f"{row[k]:,}" for k in ("restored", "moved", "new"))) for row in rows],
        )
        origins = [f"{c['class']} from {c['from'] or 'nothing (new)'}" for c in event["classes"]]
        if origins:
            self.screen.say("class rows: " + ", ".join(origins))

    def _show_dropped(self, event: Event) -> None:
        reasons = {k: v for k, v in event.items() if k not in ("kind", "split") and v}
        if reasons:
            listing = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
            self.screen.note(f"not used in {event['split']}: {listing}")

    def _show_augmentation(self, event: Event) -> None:
        # The numbers are in events.jsonl; what was left out, and why, is worth a line each.
        for text in event.get("notes") or ():
            self.screen.note(f"augmentation: {text}")

    def _show_step(self, event: Event) -> None:
        console = self.screen.err
        if not console.is_terminal:
            return
        if self._bar is None:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]} {task.fields[speed]:.0f} img/s"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(
                "", total=event.get("steps"), epoch="", loss="", speed=0.0
            )
            self._bar.start()
        self._bar.update(
            self._task,
            completed=event.get("step", 0),
            total=event.get("steps"),
            epoch=event.get("epoch", ""),
            loss=number(event.get("loss")),
            speed=float(event.get("images_per_second") or 0),
        )

    def _show_epoch(self, event: Event) -> None:
        self._close()
        metrics = event.get("metrics") or {}
        parts = [f"epoch {event['epoch']}/{event['epochs']}"]
        if event.get("loss") is not None:
            parts.append(f"loss {number(event['loss'])}")
        parts += [
            f"val {name} {number(metrics.get(name))}" for name in ("ap", "ap50") if name in metrics
        ]
        if event.get("seconds") is not None:
            parts.append(f"{float(event['seconds']):.0f} s")
        if event["epoch"] == 0:
            parts.append("(before the first step)")
        self.screen.note("  ".join(parts) + ("  best" if event.get("best") else ""))

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
