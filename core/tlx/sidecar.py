"""What a conversion leaves beside its output, so that months later one can tell how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import tlx
from tlx.issues import IssueLog
from tlx.loss import Loss
from tlx.staging import staged

if TYPE_CHECKING:
    from tlx.api import Traits, WriteReport
    from tlx.dataset import Dataset

ENDING = ".tlx.json"
"""What the name of an output gets appended."""


def place(output: Path) -> Path:
    """Where the sidecar of an output lies: beside it, where no reader takes it for labels."""
    return output.with_name(output.name + ENDING)


def journal(output: Path) -> Path:
    """Where the issues of a conversion lie, one JSON object a line."""
    return output.with_name(f"{output.name}.issues.jsonl")


def describe_loss(losses: Iterable[Loss]) -> list[dict[str, Any]]:
    """The losses as plain values: field, count, kind, reason, first image ids."""
    return [
        {
            "field": loss.field,
            "count": loss.count,
            "kind": loss.kind,
            "reason": loss.reason,
            "first": list(loss.places),
        }
        for loss in losses
    ]


def write(
    output: Path,
    *,
    target: str,
    origin: str,
    options: Mapping[str, Any],
    traits: Traits,
    dataset: Dataset,
    report: WriteReport,
    losses: Iterable[Loss],
    issues: IssueLog,
) -> Path:
    """Write the sidecar of a finished output; the same conversion gives the same bytes.

    All issues lie beside it, where there are any (`journal`).

    It holds tlx's and the plugin's version, the options, how pixels count, the number of each class
    in the output, counts, the loss, the issues by code, and the lineage of the dataset with the
    hashes of what was read.

    Raises:
        TlxError: If the file system refuses.
    """
    path = place(output)
    content = {
        "tlx": tlx.__version__,
        "format": target,
        "plugin": origin,
        "options": dict(options),
        "pixel_convention": traits.pixel_convention,
        "images": report.images,
        "objects": report.objects,
        "class_ids": dict(report.class_ids),
        "loss": describe_loss(losses),
        "issues": dict(issues.counts),
        "lineage": msgspec.to_builtins(dataset.manifest.lineage),
    }
    if issues.total:
        with staged(journal(output), overwrite=True) as file:
            issues.write(file)
    else:
        # One of an output that was replaced would be believed.
        journal(output).unlink(missing_ok=True)
    with staged(path, overwrite=True) as file:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    return path
