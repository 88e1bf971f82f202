"""What every backend promises: it learns, the same each time, and what it predicts can be read."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

import tlx
from tlx import exported
from tlx.api import Exporter, ExportReport, ImageTask, TrainRequest, TrainResult
from tlx.context import Context, Event
from tlx.dataset import Dataset
from tlx.errors import MissingExtra, TlxError, UsageError
from tlx.model import Box, Detection
from tlx.predictions import open_predictions, write_predictions
from tlx.testing.conformance import broken, check, require
from tlx.testing.samples import training_sample
from tlx.testing.tree import difference, state
from tlx.testing.trial import Trial

# Of each image the best detections are looked for, but for those whose score others share: which of
# them a suppression keeps is decided by the last bit.
_COMPARED = 10
_ALIKE = 0.9
_PIXELS = 0.5
_SCORE = 2e-3
_TIE = 1e-5


class Training(NamedTuple):
    """A training that was done: on what, how it was asked for, and what it said."""

    dataset: Dataset
    request: TrainRequest
    result: TrainResult
    events: list[Event]


_done: dict[int, tuple[Any, Training]] = {}


def _trained(trial: Trial) -> Training:
    """The training that all checks of a backend look at; it is done once."""
    known = _done.get(id(trial.plugin))
    if known is None:
        room = Path(tempfile.mkdtemp(prefix="tlx-testing-"))
        atexit.register(shutil.rmtree, room, ignore_errors=True)
        dataset = training_sample(room)
        known = (trial.plugin, train(trial, dataset, room / "run"))
        _done[id(trial.plugin)] = known
    return known[1]


def train(trial: Trial, dataset: Dataset, run: Path) -> Training:
    """Train the trial's network, or the backend's first one, for three epochs."""
    models = [model.name for model in trial.plugin.models()]
    require(models, f"{trial.name} has no networks.")
    run.mkdir(parents=True)
    options = msgspec.to_builtins(trial.options(trial.train_options), enc_hook=str)
    request = TrainRequest(
        dataset=str(dataset.path),
        run=str(run),
        model=trial.model or models[0],
        epochs=3,
        batch_size=2,
        device="cpu",
        options=options,
    )
    events: list[Event] = []
    # What a request cannot say in JSON, no worker in another environment could be told.
    whole = msgspec.json.decode(msgspec.json.encode(request), type=TrainRequest)
    require(whole == request, f"the request of {trial.name} does not survive JSON.")
    result = trial.plugin.train(whole, Context(emit=events.append))
    return Training(dataset, request, result, events)


def _losses(training: Training) -> list[float]:
    return [e["loss"] for e in training.events if e["kind"] == "epoch" and e.get("loss")]


@check("backend", slow=True)
def training_lowers_its_loss(trial: Trial) -> None:
    """Each epoch says its loss, and the last is below the first."""
    losses = _losses(_trained(trial))
    require(len(losses) > 1, f"{trial.name} emits no event of the kind epoch with its loss.")
    require(all(map(math.isfinite, losses)), f"{trial.name} has a loss that is no number: {losses}")
    require(losses[-1] < losses[0], f"{trial.name} does not learn: its losses are {losses}.")


@check("backend", slow=True)
def the_same_seed_gives_the_same_numbers(trial: Trial) -> None:
    """A training that is repeated ends with the same losses and metrics."""
    first = _trained(trial)
    again = train(trial, first.dataset, trial.room / "again")
    require(
        (_losses(first), dict(first.result.metrics))
        == (_losses(again), dict(again.result.metrics)),
        f"{trial.name} gives {again.result.metrics} for the seed that gave {first.result.metrics}.",
        "All randomness comes from request.seed.",
    )


@check("backend", slow=True)
def a_run_holds_its_checkpoints(trial: Trial) -> None:
    """Best and last lie in the run folder, and the dataset is as it was."""
    training = _trained(trial)
    run = Path(training.request.run)
    for name in ("best", "last"):
        path = Path(getattr(training.result, name))
        inside = path.exists() and path.absolute().is_relative_to(run.absolute())
        require(inside, f"the checkpoint {name} of {trial.name} is not in the run: {path}.")


@check("backend", slow=True)
def training_touches_only_its_run(trial: Trial) -> None:
    """Dataset and images stay as they are."""
    dataset = training_sample(trial.room / "input")
    before = state(trial.room / "input")
    train(trial, dataset, trial.room / "run")
    words = difference(before, state(trial.room / "input"))
    require(not words, f"training with {trial.name} touched its dataset: {words}.")


@check("backend", slow=True)
def predictions_are_in_order_and_parse(trial: Trial) -> None:
    """One for each image, in order: known classes, boxes in the image, falling scores."""
    training = _trained(trial)
    records = list(training.dataset.records())
    tasks = [ImageTask(r.image_id, str(training.dataset.image_path(r.uri))) for r in records]
    found = list(trial.plugin.predict(Path(training.result.best), tasks, Context(), device="cpu"))
    ids = [prediction.image_id for prediction in found]
    require(ids == [task.image_id for task in tasks], f"{trial.name} predicts for {ids}.")
    names = frozenset(training.dataset.taxonomy.names)
    for record, prediction in zip(records, found, strict=True):
        scores = [detection.score for detection in prediction.detections]
        falling = scores == sorted(scores, reverse=True)
        require(falling, f"{trial.name} does not order detections by falling score.")
        for seen in prediction.detections:
            require(seen.category in names, f"{trial.name} predicts a class {seen.category!r}.")
            require(0 <= seen.score <= 1, f"{trial.name} gives a score of {seen.score}.")
            cut = seen.box.clip(record.width or math.inf, record.height or math.inf)
            require(cut == seen.box, f"{trial.name} predicts outside of the image: {seen.box}.")
    file = trial.room / "predictions.parquet"
    write_predictions(file, found, {})
    same = list(open_predictions(file)) == found
    require(same, f"predictions of {trial.name} do not survive their file.")


@check("backend", slow=True)
def what_it_exports_predicts_the_same(trial: Trial) -> None:
    """Its forms are written whole, no other is, and those that predict find what it finds."""
    backend: Any = trial.plugin
    if not isinstance(backend, Exporter):
        return
    training = _trained(trial)
    best = Path(training.result.best)
    wrong = trial.room / "wrong"
    wrong.mkdir()
    try:
        trial.plugin.export(best, "no-such-form", wrong, Context())
    except TlxError:
        pass
    else:
        broken(f"{trial.name} exports to a form that it does not name.")
    written = 0
    for form in backend.forms:
        folder = trial.room / form.name
        folder.mkdir()
        try:
            found = trial.plugin.export(best, form.name, folder, Context())
        except (UsageError, MissingExtra):
            # This network has no such form, or its packages are not here.
            continue
        written += 1
        report = found if isinstance(found, ExportReport) else ExportReport(tuple(found))
        missing = [name for name in report.files if not (folder / name).exists()]
        require(report.files and not missing, f"{form.name} of {trial.name} lacks {missing}.")
        if form.predicts:
            exported.write(folder, _description(trial, training, form.name, report))
            _require_agreement(trial, training, form.name, folder)
    require(written, f"{trial.name} exports this network to none of its forms.")


def _description(
    trial: Trial, training: Training, form: str, report: ExportReport
) -> exported.ExportedModel:
    return exported.ExportedModel(
        tlx=tlx.__version__,
        backend=trial.name,
        form=form,
        model=training.request.model,
        files=sorted(report.files),
        classes=exported.classes_of(report, {}, training.dataset.taxonomy),
        input=dict(report.input),
        output=dict(report.output),
        lineage={"run": training.request.run, "checkpoint": "best"},
    )


def _require_agreement(trial: Trial, training: Training, form: str, folder: Path) -> None:
    """The best detections of both, as sets: equal scores may change places."""
    tasks = [
        ImageTask(record.image_id, str(training.dataset.image_path(record.uri)))
        for record in training.dataset.records()
    ]
    compared = alike = 0
    of_both = (
        trial.plugin.predict(source, tasks, Context(), device="cpu")
        for source in (Path(training.result.best), folder)
    )
    for ours, theirs in zip(*of_both, strict=True):
        require(ours.image_id == theirs.image_id, f"{form} of {trial.name} has another order.")
        for seen in ours.detections[:_COMPARED]:
            shared = [d for d in ours.detections if d.category == seen.category and _tied(d, seen)]
            if len(shared) > 1:
                continue
            compared += 1
            alike += any(_alike(seen, other) for other in theirs.detections)
    require(
        alike >= _ALIKE * compared,
        f"{form} of {trial.name} finds {alike} of {compared} detections of its checkpoint.",
    )


def _alike(one: Detection, other: Detection) -> bool:
    corners = zip(_corners(one.box), _corners(other.box), strict=True)
    near = all(abs(a - b) <= _PIXELS for a, b in corners)
    return near and one.category == other.category and abs(one.score - other.score) <= _SCORE


def _tied(one: Detection, other: Detection) -> bool:
    return abs(one.score - other.score) < _TIE


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.xmin, box.ymin, box.xmax, box.ymax


@check("backend", slow=True)
def a_missing_checkpoint_is_explained(trial: Trial) -> None:
    """A path that is no checkpoint ends in an error of tlx."""
    (trial.room / "empty").write_bytes(b"")
    for path in (trial.room / "not here", trial.room / "empty"):
        try:
            list(trial.plugin.predict(path, [], Context(), device="cpu"))
        except TlxError:
            continue
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            broken(f"{trial.name} raises {type(error).__name__} for a wrong checkpoint: {error}")
        broken(f"{trial.name} predicts without a checkpoint ({path.name}).")
