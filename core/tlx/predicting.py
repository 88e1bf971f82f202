"""Prediction: a run or an exported model and images in, a predictions file out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec

from tlx import drawing, host
from tlx.api import ImageTask
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, UsageError
from tlx.footage import DrawnVideos, Footage
from tlx.model import Prediction
from tlx.pipeline import PathLike
from tlx.prediction_inputs import find_inputs
from tlx.predictions import PredictionsFile, open_predictions, write_predictions
from tlx.predictors import checkpoint_digest, find_predictor, usable_backend
from tlx.runs import Run
from tlx.staging import require_apart, staged

# Detections below this score are not kept: they cannot change AP in its third digit, and are most
# of what a dense detector puts out.
KEPT_SCORE = 0.01


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
        "checkpoint": checkpoint_digest(checkpoint),
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
        run: The run folder, or the folder of a model that `export` wrote.
        inputs: A dataset folder, folders, image files, and videos.
        output: The folder to write.
        split: Only this split of a dataset.
        checkpoint: ``best`` or ``last`` of a run.
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
    predictor = find_predictor(Path(run).expanduser(), checkpoint)
    several = [inputs] if isinstance(inputs, str | Path) else list(inputs)  # type: ignore[arg-type]
    given = find_inputs((Path(str(p)).expanduser() for p in several), split)
    if video and not given.videos:
        raise UsageError("--video writes videos again, and none is given.")
    thresholds = predictor.thresholds if score_threshold is None else score_threshold
    meta = {
        "dataset": given.data.fingerprint if given.data is not None else None,
        "split": split,
        "checkpoint": predictor.digest,
        "backend": predictor.backend.name,
        "model": predictor.model,
        "form": predictor.form,
        "thresholds": thresholds,
    }
    dest = Path(output)
    if dest.exists():
        for used in (predictor.folder, *given.paths):
            require_apart(used, dest)
    taxonomy = predictor.taxonomy
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
        with host.guard(predictor.backend):
            stream = predictor.backend.value.predict(
                predictor.checkpoint,
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


def _write_lines(path: Path, predictions: Iterable[Prediction]) -> None:
    """JSON lines; what is not known of an image is left out."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as lines:
        for prediction in predictions:
            known = {k: v for k, v in msgspec.structs.asdict(prediction).items() if v is not None}
            lines.write(encoder.encode(known) + b"\n")
