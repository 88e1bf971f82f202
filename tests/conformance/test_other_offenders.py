"""Offenders of the other kinds: sources, backends, viewers, decoders."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tlx.api import Availability, ExportReport, TrainRequest, TrainResult
from tlx.context import Context
from tlx.model import Box, Prediction
from tlx.testing import ConformanceError, Trial, checks_for
from tlx.toys.toy_backend import ToyBackend
from tlx.toys.toy_source import FILE, ToySource
from tlx.toys.toy_viewer import ToyViewer


def failing(kind: Any, plugin: Any, room: Path, *names: str, **facts: Any) -> set[str]:
    """The checks that a plugin fails: those that are named, or all but those of processes."""
    found: dict[str, str] = {}
    for check in checks_for(kind):
        slow = check.name.startswith(("importing", "its_", "another"))
        if check.name not in names if names else slow:
            continue
        (room / check.name).mkdir()
        try:
            check.run(Trial(plugin, room / check.name, **facts))
        except ConformanceError as error:
            found[check.name] = str(error)
    assert not [words for words in found.values() if "in a process of its own" in words]
    return set(found)


class NeverLearns(ToyBackend):
    breaks = "training_lowers_its_loss"

    def train(self, request: TrainRequest, context: Context) -> TrainResult:
        still = Context(emit=lambda event: context.emit({**event, "loss": 1.0}))
        return super().train(request, still)


class Rolls(ToyBackend):
    """Randomness that the seed does not decide."""

    breaks = "the_same_seed_gives_the_same_numbers"

    def train(self, request: TrainRequest, context: Context) -> TrainResult:
        result = super().train(request, context)
        return replace(result, metrics={"loss": random.random()})


class WritesElsewhere(ToyBackend):
    breaks = "a_run_holds_its_checkpoints"

    def train(self, request: TrainRequest, context: Context) -> TrainResult:
        result = super().train(request, context)
        other = Path(request.run).with_name("elsewhere.json")
        other.write_bytes(Path(result.best).read_bytes())
        return replace(result, best=str(other))


class CachesInTheDataset(ToyBackend):
    breaks = "training_touches_only_its_run"

    def train(self, request: TrainRequest, context: Context) -> TrainResult:
        Path(request.dataset, "labels.cache").write_text("1")
        return super().train(request, context)


class LeavesTheImage(ToyBackend):
    breaks = "predictions_are_in_order_and_parse"

    def predict(self, *arguments: Any, **more: Any) -> Iterator[Prediction]:
        for prediction in super().predict(*arguments, **more):
            moved = [_moved(d) for d in prediction.detections]
            yield Prediction(prediction.image_id, tuple(moved))


def _moved(detection: Any) -> Any:
    from tlx.model import replace as changed

    return changed(detection, box=Box(-50, -50, 900, 900))


class TripsOverCheckpoints(ToyBackend):
    breaks = "a_missing_checkpoint_is_explained"

    def predict(self, checkpoint: Path, *arguments: Any, **more: Any) -> Iterator[Prediction]:
        if not checkpoint.is_dir():
            checkpoint.read_bytes()[0]
        return super().predict(checkpoint, *arguments, **more)


class ExportsAnother(ToyBackend):
    """What it exports is not what it has learned."""

    breaks = "what_it_exports_predicts_the_same"

    def export(self, checkpoint: Path, kind: str, dest: Path, context: Context) -> ExportReport:
        report = super().export(checkpoint, kind, dest, context)
        path = dest / report.files[0]
        content = json.loads(path.read_text())
        content["boxes"] = {name: [9.0, 9.0, 19.0, 19.0] for name in content["boxes"]}
        path.write_text(json.dumps(content))
        return report


class ExportsAnything(ToyBackend):
    breaks = "what_it_exports_predicts_the_same"

    def export(self, checkpoint: Path, kind: str, dest: Path, context: Context) -> ExportReport:
        return super().export(checkpoint, "json", dest, context)


class SaysNoForms(ToyBackend):
    """As backends were before forms had names: the files are all that it says."""

    @property
    def forms(self) -> Any:
        raise AttributeError("forms")

    def export(self, *arguments: Any, **more: Any) -> Any:
        return super().export(*arguments, **more).files


def test_a_backend_need_not_name_its_forms(tmp_path: Path) -> None:
    names = [check.name for check in checks_for("backend")]
    assert failing("backend", SaysNoForms(), tmp_path, *names) == set()


def test_the_toy_backend_keeps_every_promise(tmp_path: Path) -> None:
    names = [check.name for check in checks_for("backend")]
    assert failing("backend", ToyBackend(), tmp_path, *names) == set()


@pytest.mark.parametrize(
    "offender",
    [
        NeverLearns,
        Rolls,
        WritesElsewhere,
        CachesInTheDataset,
        LeavesTheImage,
        TripsOverCheckpoints,
        ExportsAnother,
        ExportsAnything,
    ],
)
def test_an_offending_backend_fails_its_check_and_no_other(offender: Any, tmp_path: Path) -> None:
    assert failing("backend", offender(), tmp_path) == {offender.breaks}


class ImportsToLook(ToyViewer):
    """Imports its library to see whether it is there."""

    def availability(self) -> Availability:
        importlib.import_module("numpy")
        return Availability(True, "numpy")


class SaysNothing(ToyViewer):
    """Does not name what would bring its packages."""

    def availability(self) -> Availability:
        found = importlib.util.find_spec("torch") is not None
        return Availability(found, "torch" if found else "torch is not installed")


@pytest.mark.parametrize(
    ("offender", "name"),
    [
        (ImportsToLook, "its_availability_is_found_lightly"),
        (SaysNothing, "its_missing_packages_are_named"),
    ],
)
def test_an_offending_viewer_fails_its_check(offender: Any, name: str, tmp_path: Path) -> None:
    both = ("its_availability_is_found_lightly", "its_missing_packages_are_named")
    assert failing("viewer", offender(), tmp_path, *both) == {name}


@dataclass
class TakesAll:
    """A decoder that answers for every file with its ending."""

    name: str = "takes-all"
    summary: str = "says yes"
    suffixes: tuple[str, ...] = (".raw",)

    def recognises(self, path: Path) -> bool:
        return True

    def decode(self, path: Path) -> Any:
        return None


def test_an_offending_decoder_fails_its_check(tmp_path: Path) -> None:
    assert failing("decoder", TakesAll(), tmp_path) == {"it_takes_no_other_file"}


def table(folder: Path) -> Path:
    (folder / FILE).write_text("image\tclass\txmin\tymin\txmax\tymax\na.jpg\tstop\t1\t2\t3\t4\n")
    return folder


def test_the_toy_source_keeps_every_promise(tmp_path: Path) -> None:
    assert failing("source", ToySource(), tmp_path, make=table) == set()


def test_every_check_of_the_other_kinds_has_its_offender() -> None:
    formats = {check.name for check in checks_for("format")}
    offended = {kind.breaks for kind in (NeverLearns, Rolls, WritesElsewhere, CachesInTheDataset,
                                         LeavesTheImage, TripsOverCheckpoints,
                                         ExportsAnother)}  # fmt: skip
    offended |= {"its_availability_is_found_lightly", "its_missing_packages_are_named"}
    offended |= {"it_takes_no_other_file"}
    kinds = ("source", "backend", "viewer", "decoder", "command")
    names = {check.name for kind in kinds for check in checks_for(kind)}  # type: ignore[arg-type]
    assert names - formats == offended
