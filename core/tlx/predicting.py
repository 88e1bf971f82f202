"""Prediction: a run and images in, a predictions file out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tlx import host
from tlx.api import ImageTask, Isolated
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, MissingEnvironment, MissingExtra, UsageError
from tlx.pipeline import PathLike, require_path
from tlx.predictions import PredictionsFile, open_predictions, write_predictions
from tlx.runs import Run
from tlx.staging import require_apart, staged
from tlx.thresholds import FALLBACK_THRESHOLD

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

# Detections below this score are not kept: they cannot change AP in its third digit, and are most
# of what a dense detector puts out.
KEPT_SCORE = 0.01


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
    state = entry.value.availability()
    if state.ok:
        return
    what = f"the {entry.kind} {entry.name!r}"
    if state.extra is None:
        kind = MissingEnvironment if isinstance(entry.value, Isolated) else UsageError
        raise kind(f"{what} cannot run here: {state.detail}.", hint=state.hint)
    raise MissingExtra(what, state.extra, state.detail)


def _checkpoint_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def predict_split(
    run: Run, data: Dataset, split: str, context: Context, device: str = "auto", which: str = "best"
) -> PredictionsFile:
    """Predictions of a run on one split; made again only when checkpoint or data changed."""
    checkpoint = run.checkpoint(which)
    name = split if which == "best" else f"{split}-{which}"
    path = run.predictions_path(name)
    meta = {
        "dataset": data.fingerprint,
        "split": split,
        "checkpoint": _checkpoint_digest(checkpoint),
        "backend": run.info.backend,
        "model": run.info.request.model,
    }
    if path.is_file():
        try:
            old = open_predictions(path)
        except DataError:
            old = None
        if old is not None and dict(old.meta) == meta:
            return old
    entry = usable_backend(run.info.backend)
    tasks = [
        ImageTask(record.image_id, str(data.image_path(record.uri)))
        for record in data.records(split)
    ]
    with host.guard(entry):
        stream = entry.value.predict(
            checkpoint, tasks, context, device=device, score_threshold=KEPT_SCORE
        )
        shown = context.progress.track(stream, f"predicting {split}", total=len(tasks))
        return write_predictions(path, shown, meta, overwrite=True)


def run_thresholds(run: Run) -> Mapping[str, float] | float:
    """The tuned score threshold per class, or one for all where none was tuned."""
    tuned = run.read_json("thresholds.json")
    if not tuned:
        return FALLBACK_THRESHOLD
    return {name: float(entry["threshold"]) for name, entry in tuned.items()}


@dataclass(frozen=True, slots=True)
class PredictResult:
    """What a prediction wrote.

    Attributes:
        predictions: The predictions file.
        tasks: The images, with their paths.
        thresholds: Score per class from which a detection is worth showing.
    """

    predictions: PredictionsFile
    tasks: tuple[ImageTask, ...]
    thresholds: Mapping[str, float] | float


def predict(
    run: PathLike,
    inputs: PathLike | Iterable[PathLike],
    output: PathLike,
    *,
    split: str | None = None,
    checkpoint: str = "best",
    batch_size: int = 8,
    device: str = "auto",
    score_threshold: float | None = None,
    pictures: bool = True,
    overwrite: bool = False,
    context: Context | None = None,
) -> PredictResult:
    """Detect in a dataset, a folder of images, or single images.

    Writes ``predictions.parquet``, ``predictions.jsonl`` and, unless it is a dataset,
    ``pictures/`` with the boxes drawn.

    Args:
        run: The run folder.
        inputs: A dataset folder, folders and image files.
        output: The folder to write.
        split: Only this split of a dataset.
        checkpoint: ``best`` or ``last``.
        batch_size: Images at a time.
        device: Where to predict.
        score_threshold: Keep detections from this score on; by default everything from 0.01 on is
            kept in the files, and pictures show what passes the run's tuned thresholds.
        pictures: Draw pictures.
        overwrite: Replace what lies at the output.
        context: Progress and issues.
    """
    from tlx import drawing

    context = context or Context()
    opened = Run.open(run)
    entry = usable_backend(opened.info.backend)
    file = opened.checkpoint(checkpoint)
    several = [inputs] if isinstance(inputs, str | Path) else list(inputs)  # type: ignore[arg-type]
    tasks, data = _tasks([Path(str(p)).expanduser() for p in several], split)
    thresholds = score_threshold if score_threshold is not None else run_thresholds(opened)
    meta = {
        "dataset": data.fingerprint if data is not None else None,
        "split": split,
        "checkpoint": _checkpoint_digest(file),
        "backend": opened.info.backend,
        "model": opened.info.request.model,
    }
    dest = Path(output)
    if dest.exists():
        for used in (opened.path, *(Path(task.path) for task in tasks)):
            require_apart(used, dest)
    with staged(dest, overwrite=overwrite) as folder:
        folder.mkdir()
        with host.guard(entry):
            stream = entry.value.predict(
                file,
                tasks,
                context,
                batch_size=batch_size,
                device=device,
                score_threshold=KEPT_SCORE if score_threshold is None else score_threshold,
            )
            shown = context.progress.track(stream, "predicting", total=len(tasks))
            found = write_predictions(folder / "predictions.parquet", shown, meta)
        encoder = msgspec.json.Encoder()
        with (folder / "predictions.jsonl").open("wb") as lines:
            for prediction in found:
                lines.write(encoder.encode(prediction) + b"\n")
        if pictures and data is None:
            classes = (
                Dataset.open(opened.info.request.dataset).taxonomy if _has_dataset(opened) else None
            )
            drawing.draw_predictions(folder / "pictures", found, tasks, thresholds, classes)
        if context.issues.total:
            context.issues.write(folder / "issues.jsonl")
    return PredictResult(
        PredictionsFile(dest / "predictions.parquet", meta), tuple(tasks), thresholds
    )


def _has_dataset(run: Run) -> bool:
    return (Path(run.info.request.dataset) / "manifest.json").is_file()


def _tasks(inputs: Sequence[Path], split: str | None) -> tuple[list[ImageTask], Dataset | None]:
    """The images to predict on, sorted, with ids that are unique."""
    if not inputs:
        raise UsageError(
            "there is nothing to predict on.", hint="Give a dataset, a folder, or image files."
        )
    if len(inputs) == 1 and (inputs[0] / "manifest.json").is_file():
        data = Dataset.open(inputs[0])
        if split is not None:
            data.require_split(split)
        return [
            ImageTask(r.image_id, str(data.image_path(r.uri))) for r in data.records(split)
        ], data
    tasks: dict[str, ImageTask] = {}
    for given in inputs:
        for image_id, path in _images_below(require_path(given, "The input")):
            unique = image_id if image_id not in tasks else path.as_posix()
            tasks[unique] = ImageTask(unique, str(path))
    return [tasks[name] for name in sorted(tasks)], None


def _images_below(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise UsageError(
                f"{path} is not an image that tlx reads ({', '.join(sorted(IMAGE_SUFFIXES))})."
            )
        yield path.name, path
        return
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not found:
        raise UsageError(f"{path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    for file in found:
        yield file.relative_to(path).as_posix(), file
