"""What every format promises about names: as they were, or refused, and never a way out."""

from __future__ import annotations

from pathlib import Path

from tlx.dataset import Dataset
from tlx.errors import DataError, TlxError
from tlx.testing.conformance import broken, check, require
from tlx.testing.samples import (
    numbered_sample,
)
from tlx.testing.tree import difference, state
from tlx.testing.trial import Read, Trial


@check("format")
def names_that_differ_little_stay_apart(trial: Trial) -> None:
    """Images whose names share a stem, or differ by case or folder, keep their own objects."""
    names = ("a/1.png", "b/1.png", "1.png", "1.jpg", "1.png.jpg", "A/1.png", "a_1.png", "a/1_.png")
    sample = numbered_sample(trial.room, names)
    wanted = list(range(len(names)))
    try:
        trial.write(sample, trial.room / "out")
    except DataError:
        # Some cannot be told apart: they are refused, the others are what they were.
        _, issues = trial.write(sample, trial.room / "some", "skip")
        require(issues.total, f"{trial.name} refuses images of like names and counts none.")
        back = trial.read(trial.room / "some").records
        wanted = sorted(names.index(r.image_id) for r in back if r.image_id in names)
    else:
        back = trial.read(trial.room / "out").records
    seen = sorted(round(o.box.xmin) for r in back for o in r.objects if o.box is not None)
    require(seen == wanted, f"{trial.name} mixes up images of like names: {seen} for {wanted}.")


HOSTILE_IMAGES = (
    "../outside.png",
    "a/../../outside.png",
    "/outside/of/all.png",
    "line\nbreak.png",
    "tab\there.png",
    "-rf.png",
    "semi;colon,comma.png",
    "quo\"te's & <tag>.png",
    "%41%2f.png",
    " blank .png",
    "con.png",
    "no suffix",
    ".hidden.png",
    "two..dots.png",
    "Zu\u0308rich.png",
    "\u202etxt.png",
    "日本/画像.png",
    "https://host/a b.png?x=1&y=2",
    f"{'long' * 55}.png",
)
HOSTILE_CLASSES = (
    " ",
    "a\nb",
    "a,b",
    "a;b",
    "\ttab",
    '"quoted"',
    "yes",
    "null",
    "007",
    "1.0",
    "-",
    "# no comment",
    "{curly}: [x]",
    "<b>&amp;</b>",
    "a/b",
    "..",
    "Zu\u0308rich",
    "信号",
    "=1+1",
    "\\",
)


@check("format")
def hostile_image_names_survive_or_are_refused(trial: Trial) -> None:
    """A name comes back as it was, or is an error of tlx; nothing lies outside of the output."""
    for number, name in enumerate(HOSTILE_IMAGES):
        room = trial.room / str(number)
        sample = numbered_sample(room, [name])
        back = _survives(trial, room, sample, f"the image {name!r}")
        if back is None:
            continue
        ids = [r.image_id for r in back.records]
        require(ids == [name], f"{trial.name} makes {ids} of the image {name!r}.")


@check("format")
def hostile_classes_survive_or_are_refused(trial: Trial) -> None:
    """A class comes back as it was, or is an error of tlx."""
    for number, name in enumerate(HOSTILE_CLASSES):
        room = trial.room / str(number)
        sample = numbered_sample(room, ["a.png", "b.png"], classes=("first", name))
        back = _survives(trial, room, sample, f"the class {name!r}")
        if back is None:
            continue
        seen = [[o.category for o in r.objects] for r in back.records]
        words = f"{trial.name} makes {seen} and {back.taxonomy.names} of the class {name!r}."
        require(seen == [["first"], [name]] and back.taxonomy.names == ("first", name), words)


def _survives(trial: Trial, room: Path, sample: Dataset, what: str) -> Read | None:
    """What comes back; None where it was refused with an error of tlx."""
    before = state(room)
    try:
        trial.write(sample, room / "out")
    except TlxError:
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        broken(f"{trial.name} raises {type(error).__name__} for {what}: {error}")
    after = {n: s for n, s in state(room).items() if n.split("/")[0] != "out"}
    words = difference(before, after)
    require(not words, f"{trial.name} writes outside of its output for {what}: {words}.")
    try:
        return trial.read(room / "out")
    except TlxError as error:
        if "://" in what:  # A format without sizes cannot be read while its images are away.
            return None
        broken(f"{trial.name} writes {what} and cannot read it again: {error}")
