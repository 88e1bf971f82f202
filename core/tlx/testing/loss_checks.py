"""What every format promises about what it writes: nothing is lost, or made up, in silence."""

from __future__ import annotations

from tlx.errors import TlxError
from tlx.model import Box, Detection, Object, Prediction, Record
from tlx.testing.comparison import covers, differences, stated, undeclared
from tlx.testing.conformance import broken, check, require
from tlx.testing.samples import (
    BAD_BOXES,
    HEIGHT,
    WIDTH,
    bare_sample,
    draw,
    full_sample,
    plain_sample,
)
from tlx.testing.trial import Trial, store

PIXEL = 1.0
"""How far a rounded number may lie from what it was, in pixels."""


def _first(found: dict[str, list[str]]) -> str:
    return "; ".join(f"{field} of {words[0]}" for field, words in list(found.items())[:3])


def _rounding(trial: Trial) -> dict[str, float]:
    return dict.fromkeys(trial.traits().rounds, PIXEL)


@check("format")
def every_field_survives_or_is_declared(trial: Trial) -> None:
    """What is read back is what was written, but for what the traits declare."""
    sample = full_sample(trial.classes, trial.room)
    trial.write(sample, trial.room / "out")
    again = trial.read(trial.room / "out")
    found = differences(
        sample.records(),
        again.records,
        added_attributes=trial.added_attributes,
        rounding=_rounding(trial),
    )
    lost = undeclared(found, trial.traits())
    require(
        not lost,
        f"{trial.name} loses without a word: {_first(lost)}.",
        "Write it, or declare it in the traits.",
    )


@check("format")
def what_is_declared_lost_is_lost(trial: Trial) -> None:
    """A loss that is announced and does not happen would keep users from a good format."""
    sample = full_sample(trial.classes, trial.room)
    trial.write(sample, trial.room / "out")
    again = trial.read(trial.room / "out")
    found = differences(sample.records(), again.records, added_attributes=trial.added_attributes)
    said = stated(sample.records())
    for field in trial.traits().drops:
        kept = any(covers(field, s) for s in said) and not any(covers(field, f) for f in found)
        if kept and field not in trial.returns_anyway:
            broken(f"{trial.name} declares {field} lost, but it comes back.")


@check("format")
def what_is_not_stated_stays_so(trial: Trial) -> None:
    """A bare box gets no flags, ids or attributes that nobody stated, but for what is declared."""
    sample = bare_sample(trial.room)
    trial.write(sample, trial.room / "out")
    again = trial.read(trial.room / "out")
    found = differences(
        sample.records(),
        again.records,
        added_attributes=trial.added_attributes,
        rounding=_rounding(trial),
    )
    made_up = undeclared(found, trial.traits())
    require(not made_up, f"{trial.name} makes up {_first(made_up)}.")


@check("format")
def classes_and_their_order_survive(trial: Trial) -> None:
    """The taxonomy comes back in its order, with the class that no object has."""
    sample = plain_sample(trial.classes, trial.room)
    trial.write(sample, trial.room / "out")
    names = trial.read(trial.room / "out").taxonomy.names
    require(
        names == sample.taxonomy.names,
        f"{trial.name} gives the classes {names} back for {sample.taxonomy.names}.",
    )


@check("format")
def images_without_objects_are_kept(trial: Trial) -> None:
    """A background image is a fact: it comes back, without objects."""
    sample = plain_sample(trial.classes, trial.room)
    trial.write(sample, trial.room / "out")
    empty = {r.image_id for r in trial.read(trial.room / "out").records if not r.objects}
    wanted = {r.image_id for r in sample.records() if not r.objects}
    require(empty == wanted, f"{trial.name} lost the images without objects {wanted - empty}.")


@check("format")
def ids_are_unique_and_not_zero(trial: Trial) -> None:
    """No two objects share an id, and none has 0, which COCO's evaluation takes for no match."""
    sample = plain_sample(trial.classes, trial.room)
    trial.write(sample, trial.room / "out")
    records = trial.read(trial.room / "out").records
    ids = [o.object_id for r in records for o in r.objects if o.object_id is not None]
    require("0" not in ids, f"{trial.name} gives an object the id 0.")
    require(len(set(ids)) == len(ids), f"{trial.name} gives two objects one id.")


@check("format")
def sizes_are_those_of_the_stored_image(trial: Trial) -> None:
    """An EXIF orientation turns neither size nor boxes: labels are about the stored pixels."""
    from PIL import Image

    media = trial.room / "media"
    media.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(media / "a.jpg", exif=turned)
    box = Box(1.0, 2.0, float(WIDTH), float(HEIGHT))
    record = Record(image_id="a.jpg", uri="a.jpg", objects=(Object(category="car", box=box),))
    sample = store(trial.room / "sample.tlx", [record], ["car"], media)
    trial.write(sample, trial.room / "out")
    back = trial.read(trial.room / "out").records[0]
    size = (back.width, back.height)
    require(
        size in {(WIDTH, HEIGHT), (None, None)},
        f"{trial.name} gives the size {size} for a stored image of {WIDTH} x {HEIGHT}.",
    )
    found = differences([record], [back], rounding={"objects.box": PIXEL})
    require("objects.box" not in found, f"{trial.name} turns boxes: {found.get('objects.box')}.")


@check("format")
def nothing_is_dropped_in_silence(trial: Trial) -> None:
    """A box that is empty, inverted, outside or missing is an error, kept, or counted."""
    room = trial.room
    for number, (what, box) in enumerate(BAD_BOXES.items()):
        good = Object(category="car", box=Box(1, 2, 30, 40))
        things = (good, Object(category="car", box=box))
        record = Record(image_id="a.png", uri="a.png", width=WIDTH, height=HEIGHT, objects=things)
        draw(room / str(number), ["a.png"])
        sample = store(room / f"{number}.tlx", [record], ["car"], room / str(number))
        try:
            report, written = trial.write(sample, room / f"out{number}", "skip")
            back = trial.read(room / f"out{number}", "skip")
        except TlxError:
            continue
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            broken(f"{trial.name} raises {type(error).__name__} for {what}: {error}")
        left = sum(len(r.objects) for r in back.records)
        require(
            left == len(things) or written.total or back.issues.total,
            f"{trial.name} drops {what} without an issue.",
            "Report it to context.issues.",
        )
        require(report.objects >= left, f"{trial.name} reports {report.objects} objects of {left}.")


@check("format")
def perfect_predictions_score_one(trial: Trial) -> None:
    """Predictions that repeat the objects score 1.0 against what comes back."""
    from tlx.predictions import write_predictions
    from tlx.scoring import judge

    sample = plain_sample(trial.classes, trial.room)
    trial.write(sample, trial.room / "out")
    back = trial.read(trial.room / "out")
    again = store(trial.room / "again.tlx", back.records, back.taxonomy, back.media_root)
    known = {r.image_id for r in back.records}
    perfect = (
        Prediction(
            r.image_id,
            tuple(Detection(o.category, o.box, 0.9) for o in r.objects if o.box is not None),
        )
        for r in sample.records()
        if r.image_id in known
    )
    file = trial.room / "perfect.parquet"
    write_predictions(file, perfect, {})
    score = judge(again, file, split=None, thresholds=0.5)["ap50"]
    require(score == 1.0, f"perfect predictions score {score} after {trial.name}.")


@check("format")
def another_reader_counts_the_same(trial: Trial) -> None:
    """The reference reader of the format opens the output and finds the same objects."""
    if trial.judge is None:
        return
    sample = plain_sample(trial.classes, trial.room)
    trial.write(sample, trial.room / "out")
    wanted = {n: c for n, c in sample.counts.objects_by_category.items() if c}
    seen = {name: count for name, count in trial.judge(trial.room / "out").items() if count}
    require(seen == wanted, f"another reader finds {seen} in {trial.name} instead of {wanted}.")
