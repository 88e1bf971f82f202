"""Training, evaluation, viewing: the commands on runs, as plain functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

import tlx
from tlx import class_map, exported, host
from tlx import options as option_values
from tlx.api import ExportReport, ModelInfo, TrainRequest
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import UsageError, nearest
from tlx.pipeline import PathLike, options_of, require_path
from tlx.predicting import predict_split
from tlx.predictions import open_predictions
from tlx.predictors import (
    checkpoint_digest,
    forms_of,
    require_available,
    run_taxonomy,
    run_thresholds,
    usable_backend,
)
from tlx.runs import Run, RunInfo, next_run
from tlx.scoring import DEFAULT_HEIGHTS, Evaluation, judge, tune
from tlx.splitting import audit
from tlx.staging import require_apart, staged, write_text
from tlx.thresholds import FALLBACK_THRESHOLD

RUNS = Path("runs")
PREDICTIONS = "predictions.parquet"


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
    entry = usable_backend(backend)
    info = _model(entry, model)
    data = Dataset.open(require_path(dataset, "The dataset"))
    data.require_split(train_split)
    start = class_map.parse(warm_start) if isinstance(warm_start, str) else dict(warm_start or {})
    class_map.require_known(start, data.taxonomy)
    _require_positive(epochs=epochs, batch_size=batch_size)
    chosen = options_of(entry, options)
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
    with Run.beginning(folder, described, overwrite=overwrite) as run:
        for leak in leaks:
            context.emit({"kind": "warning", "message": f"leaky split: {leak}"})
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
    entry = usable_backend(old.info.backend)
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
        found = predict_split(run, data, request.val_split, recording, request.device)
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
    # TensorFlow names a checkpoint by what the names of its files begin with.
    if not (path.exists() or path.with_name(f"{path.name}.index").is_file()):
        raise UsageError(
            f"the weights {text!r} are neither a file, nor a run, nor published for {info.name}.",
            hint=nearest(text, [*info.weights, "default", "none"]),
        )
    return str(path.resolve())


def _require_positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {value}.")


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
        run: The run folder, or what `predict` wrote for a dataset, of an exported model say.
        dataset: Another dataset than the run's own; that of the predictions.
        split: ``test`` by default, or the validation split where there is no test split.
        checkpoint: ``best`` or ``last``.
        score_threshold: Score from which detections are used for precision and recall; by default
            the thresholds per class that were tuned on the validation split.
        heights: Bounds of the pixel-height bins, ascending.
        device: Where to predict.
        context: Progress and issues.
    """
    context = context or Context()
    folder = Path(run).expanduser()
    if (folder / PREDICTIONS).is_file() and not (folder / "request.json").is_file():
        return _evaluate_predictions(folder, dataset, split, score_threshold, heights)
    opened = Run.open(folder)
    data = Dataset.open(dataset if dataset is not None else opened.info.request.dataset)
    chosen = split or _judged_split(data, opened.info.request.val_split)
    data.require_split(chosen)
    found = predict_split(opened, data, chosen, context, device, checkpoint)
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


def _evaluate_predictions(
    folder: Path,
    dataset: PathLike | None,
    split: str | None,
    score_threshold: float | None,
    heights: Sequence[float],
) -> Evaluation:
    found = open_predictions(folder / PREDICTIONS)
    if dataset is None:
        raise UsageError(
            f"{folder} holds predictions, which do not say where their labels are.",
            hint=f"Name the dataset: tlx eval {folder} --dataset DATASET",
        )
    data = Dataset.open(require_path(dataset, "The dataset"))
    if found.meta.get("dataset") != data.fingerprint:
        raise UsageError(
            f"the predictions in {folder} were not made on {data.path} as it is now.",
            hint=f"Make them with: tlx predict MODEL {data.path} -o {folder} --overwrite",
        )
    made = found.meta.get("split")
    if split is not None and made not in (None, split):
        raise UsageError(f"the predictions in {folder} are of the split {made!r}, not {split!r}.")
    chosen = split or made or _judged_split(data, "val")
    data.require_split(chosen)
    tuned = found.meta.get("thresholds") or FALLBACK_THRESHOLD
    form = found.meta.get("form")
    metrics = {
        "run": folder.name,
        "backend": found.meta.get("backend"),
        "model": found.meta.get("model"),
        "checkpoint": form or "checkpoint",
        "dataset": data.path.name,
        "dataset_fingerprint": data.fingerprint,
        **judge(
            data,
            found.path,
            split=chosen,
            thresholds=tuned if score_threshold is None else score_threshold,
            heights=heights,
        ),
        "leaks": [str(leak) for leak in audit(data)],
    }
    path = folder / "metrics.json"
    write_text(path, json.dumps(metrics, indent=2, sort_keys=True) + "\n")
    return Evaluation(metrics, path)


def _judged_split(data: Dataset, val_split: str) -> str:
    return "test" if data.counts.images_by_split.get("test") else val_split


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
    data = Dataset.open(require_path(dataset, "The dataset"))
    found, shown = looked_at(data, run, predictions, split, context)
    entry = host.installed().entry("viewer", viewer)
    require_available(entry)
    with host.guard(entry):
        entry.value.open(data, found, options_of(entry, options), context, split=shown)


def looked_at(
    data: Dataset,
    run: PathLike | None,
    predictions: PathLike | None,
    split: str | None,
    context: Context,
) -> tuple[Path | None, str | None]:
    """The predictions file and the split to look at: given, or those that a run is judged on."""
    if predictions is not None:
        found = Path(predictions)
        return found / PREDICTIONS if found.is_dir() else found, split
    if run is None:
        return None, split
    opened = Run.open(run)
    chosen = split or _judged_split(data, opened.info.request.val_split)
    data.require_split(chosen)
    return predict_split(opened, data, chosen, context).path, chosen


def export(
    run: PathLike,
    kind: str,
    output: PathLike,
    *,
    checkpoint: str = "best",
    overwrite: bool = False,
    context: Context | None = None,
) -> tuple[Path, ...]:
    """Write a run's checkpoint in another form, as its backend can, with `tlx.exported` beside.

    Args:
        run: The run folder.
        kind: One of the backend's forms.
        output: The folder to write; `predict` takes it like a run.
        checkpoint: ``best`` or ``last``.
        overwrite: Replace what lies at the output.
        context: Progress and events.

    Returns:
        The files.

    Raises:
        UsageError: If the backend has no such form; names those that it has.
        TlxError: If what was written does not detect what the checkpoint does.
    """
    context = context or Context()
    opened = Run.open(run)
    entry = usable_backend(opened.info.backend)
    forms = forms_of(entry)
    if forms is not None and kind not in {form.name for form in forms}:
        raise UsageError(
            f"the backend {entry.name!r} cannot export to {kind!r}.",
            hint=nearest(kind, [form.name for form in forms]),
        )
    source = opened.checkpoint(checkpoint)
    dest = Path(output)
    if dest.exists():
        require_apart(opened.path, dest)
    with staged(dest, overwrite=overwrite) as folder:
        folder.mkdir()
        with host.guard(entry):
            found = entry.value.export(source, kind, folder, context)
        report = found if isinstance(found, ExportReport) else ExportReport(tuple(found))
        exported.write(folder, _exported_model(opened, kind, checkpoint, source, report))
    return tuple(dest / name for name in (*report.files, exported.FILE_NAME))


def _exported_model(
    run: Run, form: str, which: str, checkpoint: Path, report: ExportReport
) -> exported.ExportedModel:
    request = run.info.request
    tuned = run_thresholds(run)
    return exported.ExportedModel(
        tlx=tlx.__version__,
        backend=run.info.backend,
        form=form,
        model=request.model,
        files=sorted(report.files),
        classes=exported.classes_of(
            report, tuned if isinstance(tuned, Mapping) else {}, run_taxonomy(run)
        ),
        input=dict(report.input),
        output=dict(report.output),
        lineage={
            "run": str(run.path.resolve()),
            "checkpoint": which,
            "checkpoint_sha256": checkpoint_digest(checkpoint),
            "weights": request.weights,
            "dataset": request.dataset,
            "dataset_fingerprint": run.info.dataset_fingerprint,
            "leaks": run.info.leaks,
        },
    )
