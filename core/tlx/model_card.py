"""The model card of a run: what it is, what it was made from, how good it was seen to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx.runs import Run


def model_card(run: Run, dataset: Dataset) -> str:
    """Markdown for people; only facts that the run's own files state."""
    request = run.info.request
    result = run.result()
    lines = [
        f"# {request.model}",
        "",
        f"A detector of {len(dataset.taxonomy)} classes: {', '.join(dataset.taxonomy.names)}.",
        "",
        "| | |",
        "|---|---|",
        f"| backend | {run.info.backend} |",
        f"| started from | {request.weights or 'random weights'} |",
        f"| dataset | {dataset.path.name}, {len(dataset):,} images |",
        f"| dataset's SHA-256 | `{run.info.dataset_fingerprint}` |",
        f"| lineage | {', '.join(_step(o.name, o.plugin) for o in dataset.manifest.lineage)} |",
        f"| training | {request.epochs} epochs, batch {request.batch_size}, seed {request.seed} |",
    ]
    if request.warm_start:
        pairs = ", ".join(f"{new} from {old}" for new, old in request.warm_start.items())
        lines.append(f"| class rows | {pairs} |")
    if result is not None:
        best = "before the first step" if result.best_epoch == 0 else f"epoch {result.best_epoch}"
        lines.append(f"| best checkpoint | {best} |")
        for name, value in result.metrics.items():
            if isinstance(value, float):
                lines.append(f"| validation {name} | {value:.4f} |")
    thresholds = run.read_json("thresholds.json") or {}
    if thresholds:
        lines += [
            "",
            "Score thresholds, tuned for F1 on the validation split:",
            "",
            "| class | threshold | F1 |",
            "|---|---|---|",
        ]
        lines += [
            f"| {name} | {entry['threshold']:.3f} | {_number(entry['f1'])} |"
            for name, entry in thresholds.items()
        ]
    if run.info.leaks:
        lines += [
            "",
            f"**The split leaks**, so the figures are too good: {'; '.join(run.info.leaks[:5])}.",
        ]
    return "\n".join(lines) + "\n"


def _step(name: str, plugin: str | None) -> str:
    return name if plugin is None else f"{name} {plugin}"


def _number(value: float | None) -> str:
    return "no example" if value is None else f"{value:.3f}"
