"""``tlx demo``: the whole way on a drive that is drawn on the spot, by the real commands."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.context import Context
from tlx.errors import TlxError, UsageError
from tlx.model import Detection, Prediction

MODEL = "fcos_shufflenet_v2_x0_5_fpn"
STATES = ("go", "goForward", "goLeft", "stop", "stopLeft", "warning", "warningLeft")
GENERIC = "traffic light"
_MARKER = "tlx-demo.txt"


@dataclass(frozen=True)
class DemoOptions:
    """What ``tlx demo`` can be told."""

    output: Path = Path("tlx-demo")
    "Folder for everything that the demo makes."
    overwrite: bool = False
    "Replace an earlier demo in that folder."
    generic_epochs: int = 4
    "Passes of the generic traffic-light detector over its drive."
    epochs: int = 8
    "Passes of the state detector over the labelled drive."
    seed: int = 0
    "Root of all randomness: another seed draws other streets."


class DemoCommand:
    """Makes a drive and takes it through ingest, split, train, eval and predict."""

    name = "demo"
    summary = "Make a small drive and take it from labels to mistakes; no download, no GPU."
    options: type[Any] = DemoOptions

    def run(
        self, options: DemoOptions, context: Context, say: Callable[[str], None]
    ) -> Mapping[str, Any]:
        """Run the demo; returns the figures that it has printed."""
        began = time.monotonic()
        folder = options.output
        _make_room(folder, overwrite=options.overwrite)
        say("1. Two made-up drives in the LISA archive's own layout: one with every light labelled")
        say("   by state, and another one for a generic traffic-light detector.")
        _draw(folder, options.seed, context, say)

        lights, generic = folder / "lights.tlx", folder / "generic.tlx"
        every = folder / "every-state.tlx"
        first, second = folder / "runs" / "generic", folder / "runs" / "states"
        say("\n2. A detector that knows only 'traffic light', as a pre-trained one would.")
        _tlx(say, "ingest", "lisa", folder / "generic", "-o", every)
        _tlx(say, "relabel", every, ",".join(f"{s}={GENERIC}" for s in STATES), "-o", generic)
        _tlx(say, "split", generic, "--by", "sequence", "--ratios", "train=0.85,val=0.15")
        _train(say, generic, first, options.generic_epochs, options.seed, "none")

        say("\n3. Its body, and the rows of its one class, start the detector of seven states.")
        _tlx(say, "ingest", "lisa", folder / "LISA", "-o", lights)
        _tlx(say, "split", lights, "--by", "sequence", "--stratify", "--ratios", _RATIOS)
        start = ",".join(f"{state}={GENERIC}" for state in STATES)
        _train(say, lights, second, options.epochs, options.seed, first, "--warm-start", start)

        say("\n4. How good is it on clips that it has never seen?")
        _tlx(say, "eval", second)
        shown, frames = folder / "predictions", _some_frames(folder)
        _tlx(say, "predict", second, *frames, "-o", shown)
        _tlx(say, "inspect", lights, "--run", second, "--text")
        result = _report(folder, second, lights, options.seed)
        say("")
        for line in _verdict(result):
            say(line)
        say(f"\nPictures: {folder / 'sheet.png'}")
        say(f"Report:   {folder / 'report.html'}")
        say(f"Look at the mistakes in FiftyOne: tlx inspect {lights} --run {second}")
        seconds = round(time.monotonic() - began)
        say(f"The demo took {seconds // 60} min {seconds % 60} s.")
        return {**result, "seconds": seconds, "folder": str(folder)}


_RATIOS = "train=0.6,val=0.15,test=0.25"


def _make_room(folder: Path, *, overwrite: bool) -> None:
    """An empty folder with the demo's marker; only what carries the marker is ever removed."""
    if folder.exists():
        if not overwrite:
            raise UsageError(
                f"{folder} exists already.", hint="Run: tlx demo --overwrite, or choose --output."
            )
        if not (folder / _MARKER).is_file():
            raise UsageError(
                f"{folder} was not made by tlx demo, so it is left alone.",
                hint="Choose another --output.",
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARKER).write_text("made by tlx demo; may be removed\n", encoding="utf-8")


def _draw(folder: Path, seed: int, context: Context, say: Callable[[str], None]) -> None:
    from tlx_plugins.demo.drive import write_drive, write_generic

    made = write_drive(folder / "LISA", seed=seed, context=context)
    other = write_generic(folder / "generic", seed=seed, context=context)
    for name, counts in (("labelled", made), ("generic", other)):
        say(
            f"   {name}: {counts.clips} clips, {counts.frames:,} frames "
            f"({counts.negatives:,} without a light), {counts.lights:,} lights"
        )


def _tlx(say: Callable[[str], None], *words: object) -> None:
    """Show a command as the user would type it, and run it."""
    from tlx.cli import main

    arguments = [str(word) for word in words]
    say("\n$ tlx " + " ".join(_quoted(a) for a in arguments))
    code = main(arguments)
    if code != 0:
        raise TlxError(
            f"the demo stopped: tlx {arguments[0]} ended with code {code}.",
            hint="The message above says why.",
        )


def _quoted(argument: str) -> str:
    return f"'{argument}'" if " " in argument else argument


def _train(
    say: Callable[[str], None],
    dataset: Path,
    run: Path,
    epochs: int,
    seed: int,
    weights: object,
    *more: str,
) -> None:
    # One thread: a network this small gains little from more, and loses much on a busy machine.
    _tlx(say, "train", dataset, "--model", MODEL, "--weights", weights, *more, "--epochs", epochs,
         "--batch-size", 4, "--seed", seed, "--threads", 1, "-o", run)  # fmt: skip


def _some_frames(folder: Path) -> list[Path]:
    """A few frames, as loose images."""
    frames = sorted((folder / "LISA").rglob("*Sequence1--*.jpg"))
    return frames[:: max(1, len(frames) // 6)][:6]


def _report(folder: Path, run_path: Path, lights: Path, seed: int) -> dict[str, Any]:
    """The sheet, the report, and what chance would have reached."""
    from tlx.dataset import Dataset
    from tlx.gallery import picture_sheet
    from tlx.predictors import run_thresholds
    from tlx.report import write_report
    from tlx.runs import Run

    run, dataset = Run.open(run_path), Dataset.open(lights)
    metrics = run.read_json("metrics.json")
    predictions = run.predictions_path(metrics["split"])
    sheet = picture_sheet(
        dataset, predictions, metrics["split"], run_thresholds(run), folder / "sheet.png"
    )
    chance = _chance(dataset, predictions, metrics["split"], folder / "chance.parquet", seed)
    write_report(
        folder / "report.html",
        run,
        title="tlx demo: traffic-light states",
        introduction=(
            "A made-up drive in the layout of the LISA archive, split by clip; a generic "
            "traffic-light detector, fine-tuned to seven states. Drawn pictures, not real ones: "
            "the figures show that the whole chain works, not how well it does on the road."
        ),
        baselines={"the same boxes, states drawn at random": chance},
        sheet=sheet,
        overwrite=True,
    )
    return {
        "split": metrics["split"],
        "images": metrics["images"],
        "objects": metrics["objects"],
        "ap": metrics["ap"],
        "ap50": metrics["ap50"],
        "chance_ap": chance["ap"],
        "chance_ap50": chance["ap50"],
    }


def _chance(
    dataset: Any, predictions: Path, split: str, output: Path, seed: int
) -> Mapping[str, Any]:
    """Judge the same boxes and scores with states drawn as often as the training split has them."""
    from tlx.predictions import open_predictions, write_predictions
    from tlx.scoring import judge

    counts: dict[str, int] = {}
    for record in dataset.records("train"):
        for item in record.objects:
            counts[item.category] = counts.get(item.category, 0) + 1
    names, weights = list(counts), list(counts.values())
    dice = random.Random(seed)  # noqa: S311 - a baseline, not a secret

    def drawn(prediction: Prediction) -> Prediction:
        return Prediction(
            prediction.image_id,
            tuple(
                Detection(dice.choices(names, weights)[0], d.box, d.score)
                for d in prediction.detections
            ),
        )

    guessed = (drawn(p) for p in open_predictions(predictions))
    file = write_predictions(output, guessed, {"chance": True}, overwrite=True)
    return judge(dataset, file.path, split=split, thresholds=0.5)


def _verdict(result: Mapping[str, Any]) -> list[str]:
    return [
        f"{result['images']} unseen frames with {result['objects']} lights:",
        f"  AP50 of this detector:                       {result['ap50']:.3f}",
        f"  AP50 of its boxes with states drawn at random: {result['chance_ap50']:.3f}",
    ]
