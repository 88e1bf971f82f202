"""What can predict: the checkpoint of a run, or what was exported of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlx import exported, host
from tlx.api import Exporter, ExportForm, Isolated
from tlx.dataset import Dataset
from tlx.errors import MissingEnvironment, MissingExtra, PluginError, UsageError
from tlx.model import Taxonomy
from tlx.runs import Run, runs_near
from tlx.thresholds import FALLBACK_THRESHOLD


@dataclass(frozen=True, slots=True)
class Predictor:
    """A network that a backend can load.

    Attributes:
        folder: The run folder, or the exported model.
        backend: Whose it is; it can run here.
        model: Name of the network.
        form: The exported form; None for a checkpoint.
        checkpoint: What the backend is given.
        digest: SHA-256 of that.
        thresholds: Score per class from which a detection counts.
        taxonomy: The classes with their colours; None where a run's dataset is gone.
    """

    folder: Path
    backend: host.Entry
    model: str
    form: str | None
    checkpoint: Path
    digest: str
    thresholds: Mapping[str, float] | float
    taxonomy: Taxonomy | None


def find_predictor(path: Path, which: str = "best") -> Predictor:
    """Open a run folder, or a folder that `tlx export` wrote.

    Args:
        path: The folder.
        which: The checkpoint of a run, ``best`` or ``last``.

    Raises:
        UsageError: If it is neither, or its backend does not predict from this form.
        MissingExtra: If the backend's packages are not installed.
        MissingEnvironment: The same, for a backend with an environment of its own.
    """
    if exported.is_exported(path):
        return _of_exported(path, which)
    if not _is_run(path):
        raise _neither(path)
    run = Run.open(path)
    checkpoint = run.checkpoint(which)
    return Predictor(
        folder=path,
        backend=usable_backend(run.info.backend),
        model=run.info.request.model,
        form=None,
        checkpoint=checkpoint,
        digest=checkpoint_digest(checkpoint),
        thresholds=run_thresholds(run),
        taxonomy=run_taxonomy(run),
    )


def _of_exported(folder: Path, which: str) -> Predictor:
    found = exported.read(folder)
    if which != "best":
        raise UsageError(
            f"{folder} is an exported model, which holds one checkpoint: "
            f"{found.lineage.get('checkpoint', 'best')}.",
            hint="Leave --checkpoint out; it is chosen when a run is exported.",
        )
    entry = usable_backend(found.backend)
    if not any(form.name == found.form and form.predicts for form in forms_of(entry) or ()):
        raise UsageError(
            f"the backend {entry.name!r} does not predict from what it exports as {found.form}.",
            hint=f"Predict with the run that it comes from: {found.lineage.get('run')}",
        )
    return Predictor(
        folder=folder,
        backend=entry,
        model=found.model,
        form=found.form,
        checkpoint=folder,
        digest=exported.digest(folder, found.files),
        thresholds=found.thresholds or FALLBACK_THRESHOLD,
        taxonomy=found.taxonomy,
    )


def _neither(path: Path) -> UsageError:
    if path.is_file() and (exported.is_exported(path.parent) or _is_run(path.parent)):
        return UsageError(
            f"{path} is a file of a model, not the folder that describes it.",
            hint=f"Give the folder: {path.parent}",
        )
    lacking = f"it has no request.json and no {exported.FILE_NAME}"
    return UsageError(
        f"{path} is not a run folder, and no model that tlx has exported: "
        f"{lacking if path.exists() else 'it does not exist'}.",
        hint=runs_near(path),
    )


def _is_run(folder: Path) -> bool:
    return (folder / "request.json").is_file()


def forms_of(entry: host.Entry) -> tuple[ExportForm, ...] | None:
    """The forms that a backend says it exports; None where it does not say."""
    with host.guard(entry):
        return entry.value.forms if isinstance(entry.value, Exporter) else None


def listed_forms(entry: host.Entry) -> tuple[ExportForm, ...]:
    """The forms of a backend for a list; none where a stranger's plugin fails to say them."""
    try:
        return forms_of(entry) or ()
    except PluginError:
        return ()


def usable_backend(name: str) -> host.Entry:
    """The backend called ``name``, if it can run here; errors as of `require_available`."""
    entry = host.installed().entry("backend", name)
    require_available(entry)
    return entry


def require_available(entry: host.Entry) -> None:
    """Refuse a backend or viewer that cannot run here.

    Raises:
        MissingExtra: With the command that installs what it needs.
        MissingEnvironment: The same, for a backend with an environment of its own.
        UsageError: If neither would help; says why.
    """
    state = host.availability(entry)
    if state.ok:
        return
    what = f"the {entry.kind} {entry.name!r}"
    if state.extra is None:
        kind = MissingEnvironment if isinstance(entry.value, Isolated) else UsageError
        raise kind(f"{what} cannot run here: {state.detail}.", hint=state.hint)
    raise MissingExtra(what, state.extra, state.detail)


def checkpoint_digest(path: Path) -> str:
    """SHA-256 of a checkpoint file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_thresholds(run: Run) -> Mapping[str, float] | float:
    """The tuned score threshold per class, or one for all where none was tuned."""
    tuned = run.read_json("thresholds.json")
    if not tuned:
        return FALLBACK_THRESHOLD
    return {name: float(entry["threshold"]) for name, entry in tuned.items()}


def run_taxonomy(run: Run) -> Taxonomy | None:
    """The classes of a run's dataset, None where it is gone."""
    dataset = Path(run.info.request.dataset)
    return Dataset.open(dataset).taxonomy if (dataset / "manifest.json").is_file() else None
