"""Training, prediction, evaluation, viewing: the commands on runs, as plain functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from tlx import class_map, host
from tlx import options as option_values
from tlx.api import ImageTask, ModelInfo, TrainRequest
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, MissingExtra, UsageError, nearest
from tlx.pipeline import PathLike, _options_of, _require_path
from tlx.predictions import PredictionsFile, write_predictions
from tlx.runs import Run, RunInfo, next_run
from tlx.scoring import DEFAULT_HEIGHTS, FALLBACK_THRESHOLD, Evaluation, judge, tune
from tlx.splitting import audit
from tlx.staging import staged, write_text

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
RUNS = Path("runs")

# Detections below this score are not kept: they cannot change AP in its third digit, and are most
# of what a dense detector puts out.
KEPT_SCORE = 0.01


def _backend(name: str) -> host.Entry:
    """The backend, if it can run here.

    Raises:
        MissingExtra: With the command that installs what it needs.
    """
    entry = host.installed().entry("backend", name)
    state = entry.value.availability()
    if not state.ok:
        if state.extra is not None:
            raise MissingExtra(f"the backend {name!r}", state.extra, state.detail)
        raise UsageError(f"the backend {name!r} cannot run here: {state.detail}")
    return entry


def _model(entry: host.Entry, name: str | None) -> ModelInfo:
    models: dict[str, ModelInfo] = {model.name: model for model in entry.value.models()}
    if name is None:
        raise UsageError("no model is named.", hint=f"Give --model. Known: {', '.join(models)}.")
    if name not in models:
        raise UsageError(
            f"the backend {entry.name!r} has no model {name!r}.", hint=nearest(name, models)
        )
    return models[name]


def train(
    dataset: PathLike,
    *,
    backend: str = "torch",
    model: str | None = None,
    output: PathLike | None = None,
    weights: PathLike | None = "default",
    warm_start: str | Mapping[str, str] | None = None,
    epochs: int = 10,
    batch_size: int = 8,
    learning_rate: float | None = None,
    seed: int = 0,
    workers: int = 0,
    device: str = "auto",
    train_split: str = "train",
    val_split: str = "val",
    options: Any = None,
    overwrite: bool = False,
    context: Context | None = None,
) -> Run:
    """Fine-tune a network on a dataset; the result is a run folder.

    Args:
        dataset: A dataset folder with splits.
        backend: Name of the backend.
        model: Name of one of its models.
        output: The run folder; ``runs/1``, ``runs/2``, ... by default.
        weights: ``default`` for the model's published weights (none where it has none), the name
            of published weights, ``none`` for random ones, a weight file, or an earlier run.
        warm_start: New class to old class, as ``{"stop": "traffic light"}`` or as text
            ``stop=traffic light,go=traffic light``: rows of the class head to start from.
        epochs: Passes over the training split.
        batch_size: Images per step.
        learning_rate: None for the backend's choice.
        seed: Root of all randomness.
        workers: Processes that load images.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        train_split: What to learn from.
        val_split: What chooses the best checkpoint and the thresholds.
        options: The backend's options value, or a mapping of its fields.
        overwrite: Replace a run that lies at the output.
        context: Progress, issues and events.
    """
    context = context or Context()
    entry = _backend(backend)
    info = _model(entry, model)
    data = Dataset.open(_require_path(dataset, "The dataset"))
    data.require_split(train_split)
    start = class_map.parse(warm_start) if isinstance(warm_start, str) else dict(warm_start or {})
    class_map.require_known(start, data.taxonomy)
    _require_positive(epochs=epochs, batch_size=batch_size)
    chosen = _options_of(entry, options)
    folder = Path(output) if output is not None else next_run(RUNS)
    request = TrainRequest(
        dataset=str(data.path.resolve()),
        run=str(folder.resolve()),
        model=info.name,
        weights=_weights(weights, info),
        warm_start=start,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        workers=workers,
        device=device,
        train_split=train_split,
        val_split=val_split,
        options=option_values.plain(chosen),
    )
    leaks = [str(leak) for leak in audit(data)]
    described = RunInfo(
        backend=backend, request=request, dataset_fingerprint=data.fingerprint, leaks=leaks
    )
    run = Run.create(folder, described, overwrite=overwrite)
    for leak in leaks:
        context.emit({"kind": "warning", "text": f"leaky split: {leak}"})
    return _run_training(run, entry, request, context)


def resume(run: PathLike, *, epochs: int | None = None, context: Context | None = None) -> Run:
    """Go on with a training that was interrupted, or extend one that has ended.

    Args:
        run: The run folder.
        epochs: A new total; the old one by default.
        context: Progress, issues and events.

    Raises:
        UsageError: If there is no checkpoint to go on from, or the dataset has changed.
    """
    context = context or Context()
    old = Run.open(run)
    entry = _backend(old.info.backend)
    old.checkpoint("last")
    data = Dataset.open(old.info.request.dataset)
    if data.fingerprint != old.info.dataset_fingerprint:
        raise UsageError(
            f"{data.path} has changed since the run began.",
            hint=f"Start a new run from this one: tlx train {data.path} --weights {old.path}",
        )
    request = replace(
        old.info.request,
        run=str(old.path.resolve()),
        resume=True,
        epochs=epochs if epochs is not None else old.info.request.epochs,
    )
    info = msgspec.structs.replace(old.info, request=replace(request, resume=False))
    old.write_json("request.json", msgspec.to_builtins(info))
    return _run_training(Run(old.path, info), entry, request, context)


def _run_training(run: Run, entry: host.Entry, request: TrainRequest, context: Context) -> Run:
    recording = replace(context, emit=run.recorder(context.emit), seed=request.seed)
    with host.guard(entry):
        result = entry.value.train(request, recording)
    run.write_json("result.json", msgspec.to_builtins(result))
    data = Dataset.open(request.dataset)
    if data.counts.images_by_split.get(request.val_split):
        found = _predict_split(run, data, request.val_split, recording, request.device)
        run.write_json("thresholds.json", tune(data, found.path, request.val_split))
    from tlx.model_card import model_card

    write_text(run.path / "MODEL_CARD.md", model_card(run, data))
    return run


def _weights(weights: PathLike | None, info: ModelInfo) -> str | None:
    text = None if weights is None else str(weights)
    if text is None or text == "none":
        return None
    if text == "default":
        return info.weights[0] if info.weights else None
    if text in info.weights:
        return text
    path = Path(text).expanduser()
    if not path.exists():
        raise UsageError(
            f"the weights {text!r} are neither a file, nor a run, nor published for {info.name}.",
            hint=nearest(text, [*info.weights, "default", "none"]),
        )
    return str(path.resolve())


def _require_positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {value}.")


def _checkpoint_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _predict_split(
    run: Run, data: Dataset, split: str, context: Context, device: str = "auto", which: str = "best"
) -> PredictionsFile:
    """Predictions of a run on one split; made again only when checkpoint or data changed."""
    from tlx.predictions import open_predictions

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
    entry = _backend(run.info.backend)
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


def evaluate(
    run: PathLike,
    *,
    dataset: PathLike | None = None,
    split: str | None = None,
    checkpoint: str = "best",
    score_threshold: float | None = None,
    heights: Sequence[float] = DEFAULT_HEIGHTS,
    device: str = "auto",
    context: Context | None = None,
) -> Evaluation:
    """Judge a run on one split and write ``metrics.json`` into its folder.

    Args:
        run: The run folder.
        dataset: Another dataset than the run's own.
        split: ``test`` by default, or the validation split where there is no test split.
        checkpoint: ``best`` or ``last``.
        score_threshold: Score from which detections are used for precision and recall; by default
            the thresholds per class that were tuned on the validation split.
        heights: Bounds of the pixel-height bins, ascending.
        device: Where to predict.
        context: Progress and issues.
    """
    context = context or Context()
    opened = Run.open(run)
    data = Dataset.open(dataset if dataset is not None else opened.info.request.dataset)
    chosen = split or _judged_split(data, opened.info.request.val_split)
    data.require_split(chosen)
    found = _predict_split(opened, data, chosen, context, device, checkpoint)
    thresholds = score_threshold if score_threshold is not None else run_thresholds(opened)
    leaks = [str(leak) for leak in audit(data)]
    metrics = {
        "run": opened.path.name,
        "backend": opened.info.backend,
        "model": opened.info.request.model,
        "checkpoint": checkpoint,
        "dataset": data.path.name,
        "dataset_fingerprint": data.fingerprint,
        **judge(data, found.path, split=chosen, thresholds=thresholds, heights=heights),
        "leaks": leaks,
    }
    opened.write_json("metrics.json", metrics)
    return Evaluation(metrics, opened.path / "metrics.json")


def _judged_split(data: Dataset, val_split: str) -> str:
    return "test" if data.counts.images_by_split.get("test") else val_split


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
    entry = _backend(opened.info.backend)
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
        for image_id, path in _images_below(_require_path(given, "The input")):
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


def inspect(
    dataset: PathLike,
    *,
    run: PathLike | None = None,
    predictions: PathLike | None = None,
    split: str | None = None,
    viewer: str = "fiftyone",
    options: Any = None,
    context: Context | None = None,
) -> None:
    """Open a viewer on a dataset, on the mistakes of a run when one is given.

    Raises:
        MissingExtra: If the viewer is not installed.
    """
    context = context or Context()
    data = Dataset.open(_require_path(dataset, "The dataset"))
    found = inspected_predictions(data, run, predictions, split, context)
    entry = host.installed().entry("viewer", viewer)
    state = entry.value.availability()
    if not state.ok:
        if state.extra is None:
            raise UsageError(f"the viewer {viewer!r} cannot run here: {state.detail}")
        raise MissingExtra(f"the viewer {viewer!r}", state.extra, state.detail)
    with host.guard(entry):
        entry.value.open(data, found, _options_of(entry, options), context)


def inspected_predictions(
    data: Dataset,
    run: PathLike | None,
    predictions: PathLike | None,
    split: str | None,
    context: Context,
) -> Path | None:
    """The predictions file to look at: given, or made by a run on its judged split."""
    if predictions is not None:
        found = Path(predictions)
        return found / "predictions.parquet" if found.is_dir() else found
    if run is None:
        return None
    opened = Run.open(run)
    chosen = split or _judged_split(data, opened.info.request.val_split)
    data.require_split(chosen)
    return _predict_split(opened, data, chosen, context).path


def export(
    run: PathLike,
    kind: str,
    output: PathLike,
    *,
    checkpoint: str = "best",
    overwrite: bool = False,
    context: Context | None = None,
) -> tuple[Path, ...]:
    """Write a run's checkpoint in another form, as its backend can.

    Returns:
        The files.
    """
    context = context or Context()
    opened = Run.open(run)
    entry = _backend(opened.info.backend)
    with staged(Path(output), overwrite=overwrite) as folder:
        folder.mkdir()
        with host.guard(entry):
            files = entry.value.export(opened.checkpoint(checkpoint), kind, folder, context)
    return tuple(Path(output) / name for name in files)
