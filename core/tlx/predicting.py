"""Prediction: a run and images in, a predictions file out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec

from tlx import drawing, host
from tlx.api import ImageTask, Isolated
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, MissingEnvironment, MissingExtra, UsageError
from tlx.footage import DrawnVideos, Footage
from tlx.model import Prediction
from tlx.pipeline import PathLike
from tlx.prediction_inputs import find_inputs
from tlx.predictions import PredictionsFile, open_predictions, write_predictions
from tlx.runs import Run
from tlx.staging import require_apart, staged
from tlx.thresholds import FALLBACK_THRESHOLD

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
    state = host.availability(entry)
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
        tasks: The images, with their paths; frames of videos are not among them.
        thresholds: Score per class from which a detection is worth showing.
        frames: Frames of videos that were looked at.
        videos: Annotated videos that were written.
    """

    predictions: PredictionsFile
    tasks: tuple[ImageTask, ...]
    thresholds: Mapping[str, float] | float
    frames: int = 0
    videos: tuple[Path, ...] = ()


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
    video: bool = False,
    every: int = 1,
    overwrite: bool = False,
    context: Context | None = None,
) -> PredictResult:
    """Detect in a dataset, a folder of images, single images, or videos.

    Writes ``predictions.parquet``, ``predictions.jsonl`` and, unless it is a dataset,
    ``pictures/`` with the boxes drawn. A frame of a video has the id ``VIDEO/NUMBER``, and its
    prediction the frame number and the time in seconds.

    Args:
        run: The run folder.
        inputs: A dataset folder, folders, image files, and videos.
        output: The folder to write.
        split: Only this split of a dataset.
        checkpoint: ``best`` or ``last``.
        batch_size: Images at a time.
        device: Where to predict.
        score_threshold: Keep detections from this score on; by default everything from 0.01 on is
            kept in the files, and pictures show what passes the run's tuned thresholds.
        pictures: Draw pictures of loose images.
        video: Write each video again as mp4 with the boxes drawn, below ``videos/``.
        every: Look at every so many frames of a video.
        overwrite: Replace what lies at the output.
        context: Progress and issues.
    """
    context = context or Context()
    if every < 1:
        raise UsageError(f"--every must be at least 1, not {every}.")
    opened = Run.open(run)
    entry = usable_backend(opened.info.backend)
    file = opened.checkpoint(checkpoint)
    several = [inputs] if isinstance(inputs, str | Path) else list(inputs)  # type: ignore[arg-type]
    given = find_inputs((Path(str(p)).expanduser() for p in several), split)
    if video and not given.videos:
        raise UsageError("--video writes videos again, and none is given.")
    thresholds = score_threshold if score_threshold is not None else run_thresholds(opened)
    meta = {
        "dataset": given.data.fingerprint if given.data is not None else None,
        "split": split,
        "checkpoint": _checkpoint_digest(file),
        "backend": opened.info.backend,
        "model": opened.info.request.model,
    }
    dest = Path(output)
    if dest.exists():
        for used in (opened.path, *given.paths):
            require_apart(used, dest)
    taxonomy = Dataset.open(opened.info.request.dataset).taxonomy if _has_dataset(opened) else None
    with staged(dest, overwrite=overwrite) as folder, ExitStack() as stack:
        folder.mkdir()
        frames = folder.with_name(f"{folder.name}.frames")
        frames.mkdir()
        footage = Footage(given.videos, frames, every, context)
        drawn = (
            stack.enter_context(DrawnVideos(folder / "videos", thresholds, taxonomy))
            if video
            else None
        )
        with host.guard(entry):
            stream = entry.value.predict(
                file,
                chain(given.images, footage.tasks()),
                context,
                batch_size=batch_size,
                device=device,
                score_threshold=KEPT_SCORE if score_threshold is None else score_threshold,
            )
            length = sum(-(-one.length // every) for one in given.videos.values())
            shown = context.progress.track(
                footage.settle(stream, drawn), "predicting", total=len(given.images) + length
            )
            found = write_predictions(folder / "predictions.parquet", shown, meta)
        _write_lines(folder / "predictions.jsonl", found)
        if pictures and given.images and given.data is None:
            drawing.draw_predictions(
                folder / "pictures",
                (prediction for prediction in found if prediction.frame is None),
                given.images,
                thresholds,
                taxonomy,
            )
        if context.issues.total:
            context.issues.write(folder / "issues.jsonl")
    return PredictResult(
        PredictionsFile(dest / "predictions.parquet", meta),
        given.images,
        thresholds,
        footage.frames,
        tuple(sorted((dest / "videos").iterdir())) if video else (),
    )


def _has_dataset(run: Run) -> bool:
    return (Path(run.info.request.dataset) / "manifest.json").is_file()


def _write_lines(path: Path, predictions: Iterable[Prediction]) -> None:
    """JSON lines; what is not known of an image is left out."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as lines:
        for prediction in predictions:
            known = {k: v for k, v in msgspec.structs.asdict(prediction).items() if v is not None}
            lines.write(encoder.encode(known) + b"\n")
