"""What every format promises about writing: nothing is lost in silence."""

from __future__ import annotations

import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlx.api import WriteReport
from tlx.dataset import Dataset, Manifest
from tlx.errors import DataError, TlxError
from tlx.model import Box, Detection, Object, Prediction, Record
from tlx.staging import staged
from tlx.testing.comparison import covers, differences, stated, undeclared
from tlx.testing.conformance import broken, check, require
from tlx.testing.foreign import PICTURES
from tlx.testing.memory import LONG, SHORT, peak_memory, require_flat
from tlx.testing.listings import reversed_listings
from tlx.testing.processes import in_child
from tlx.testing.samples import (
    BAD_BOXES,
    HEIGHT,
    IMAGES,
    WIDTH,
    bare_sample,
    draw,
    full_sample,
    large_sample,
    numbered_sample,
    plain_sample,
)
from tlx.testing.tree import Tree, contents, difference, state
from tlx.testing.trial import Read, Trial, store

PIXEL = 1.0
"""How far a rounded number may lie from what it was, in pixels."""


def _first(found: dict[str, list[str]]) -> str:
    return "; ".join(f"{field} of {words[0]}" for field, words in list(found.items())[:3])


def _rounding(trial: Trial) -> dict[str, float]:
    return dict.fromkeys(trial.traits().rounds, PIXEL)


@check("format")
def the_input_stays_untouched(trial: Trial) -> None:
    """Writing changes neither the dataset nor its images."""
    sample = full_sample(trial.room / "input")
    before = state(trial.room / "input")
    trial.write(sample, trial.room / "out")
    words = difference(before, state(trial.room / "input"))
    require(not words, f"writing {trial.name} touched its input: {words}.")


@check("format")
def every_field_survives_or_is_declared(trial: Trial) -> None:
    """What is read back is what was written, but for what the traits declare."""
    sample = full_sample(trial.room)
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
    sample = full_sample(trial.room)
    trial.write(sample, trial.room / "out")
    again = trial.read(trial.room / "out")
    back = stated(again.records)
    if not trial.added_attributes:
        kept = {field for field in trial.traits().drops if any(covers(field, b) for b in back)}
    else:
        kept = {f for f in trial.traits().drops if f != "attributes" and _any(f, back)}
    for field in sorted(kept - set(trial.returns_anyway)):
        broken(f"{trial.name} declares {field} lost, but it comes back.")


def _any(declared: str, back: set[str]) -> bool:
    return any(covers(declared, field) for field in back)


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
def two_writes_give_the_same_bytes(trial: Trial) -> None:
    """The same input makes the same files, with any number of workers."""
    sample = plain_sample(trial.room)
    trees = []
    for workers in (0, 1, 4):
        trial.write(sample, trial.room / f"out{workers}", workers=workers)
        trees.append(contents(trial.room / f"out{workers}"))
    for tree in trees[1:]:
        words = difference(trees[0], tree)
        require(not words, f"{trial.name} writes the same dataset in two ways: {words}.")


@check("format")
def writing_in_any_order_of_listings_is_the_same(trial: Trial) -> None:
    """Folders that list their images in another order do not change what is written."""
    sample = plain_sample(trial.room)
    trial.write(sample, trial.room / "out")
    with reversed_listings():
        trial.write(sample, trial.room / "turned")
    words = difference(contents(trial.room / "out"), contents(trial.room / "turned"))
    require(not words, f"{trial.name} writes in the order of a listing: {words}.")


@check("format", slow=True)
def another_process_writes_the_same(trial: Trial) -> None:
    """Neither the hash seed nor the clock decides what is written: no time stamps."""
    sample = plain_sample(trial.room)
    trial.write(sample, trial.room / "out")
    there = in_child(
        trial.plugin,
        "written",
        trial.room,
        dataset=sample.path,
        dest=trial.room / "there",
        given=dict(trial.write_options),
    )
    words = difference(contents(trial.room / "out"), there)
    require(
        not words,
        f"{trial.name} writes otherwise under another hash seed or clock: {words}.",
        "Sets have no order, and the day of writing is no fact of the data.",
    )


@check("format")
def classes_and_their_order_survive(trial: Trial) -> None:
    """The taxonomy comes back in its order, with the class that no object has."""
    sample = plain_sample(trial.room)
    trial.write(sample, trial.room / "out")
    names = trial.read(trial.room / "out").taxonomy.names
    require(
        names == sample.taxonomy.names,
        f"{trial.name} gives the classes {names} back for {sample.taxonomy.names}.",
    )


@check("format")
def images_without_objects_are_kept(trial: Trial) -> None:
    """A background image is a fact: it comes back, without objects."""
    sample = plain_sample(trial.room)
    trial.write(sample, trial.room / "out")
    empty = {r.image_id for r in trial.read(trial.room / "out").records if not r.objects}
    wanted = {r.image_id for r in sample.records() if not r.objects}
    require(empty == wanted, f"{trial.name} lost the images without objects {wanted - empty}.")


@check("format")
def ids_are_unique_and_not_zero(trial: Trial) -> None:
    """No two objects share an id, and none has 0, which COCO's evaluation takes for no match."""
    sample = plain_sample(trial.room)
    trial.write(sample, trial.room / "out")
    records = trial.read(trial.room / "out").records
    ids = [o.object_id for r in records for o in r.objects if o.object_id is not None]
    require("0" not in ids, f"{trial.name} gives an object the id 0.")
    require(len(set(ids)) == len(ids), f"{trial.name} gives two objects one id.")


@check("format")
def names_that_differ_little_stay_apart(trial: Trial) -> None:
    """Images whose names share a stem, or differ by case or folder, keep their own objects."""
    names = ("a/1.png", "b/1.png", "1.png", "1.jpg", "1.png.jpg", "A/1.png", "a_1.png", "a/1_.png")
    sample = numbered_sample(trial.room, names)
    trial.write(sample, trial.room / "out")
    seen = sorted(
        round(o.box.xmin)
        for r in trial.read(trial.room / "out").records
        for o in r.objects
        if o.box is not None
    )
    wanted = list(range(len(names)))
    require(seen == wanted, f"{trial.name} mixes up images of like names: {seen} for {wanted}.")


HOSTILE_IMAGES = (
    "../outside.png",
    "a/../../outside.png",
    "/tmp/tlx-outside.png",
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


@check("format")
def an_interrupted_write_leaves_nothing(trial: Trial) -> None:
    """A part that cannot be read, Ctrl-C, a full disk: nothing is left, and it can run again."""
    room = trial.room / "place"
    room.mkdir()
    (room / "bystander.txt").write_text("mine", encoding="utf-8")
    sample = large_sample(trial.room / "input", images=48, boxes=2)
    stops: tuple[type[BaseException], ...] = (KeyboardInterrupt, OSError, DataError)
    before = state(room), state(trial.room / "input")
    for stop in stops:
        try:
            with staged(room / "out") as target:
                trial.write(Stopping(sample.path, sample.manifest, stop), target)
        except stop:
            pass
        except TlxError:
            require(stop is OSError, f"{trial.name} turns {stop.__name__} into another error.")
        else:
            broken(f"{trial.name} goes on after {stop.__name__} as if all had been written.")
        for was, folder in zip(before, (room, trial.room / "input"), strict=True):
            words = difference(was, state(folder))
            require(not words, f"{trial.name}, stopped by {stop.__name__}, left {words}.")
    with staged(room / "out") as target:
        trial.write(sample, target)


class Stopping(Dataset):
    """A dataset that cannot be read beyond its first part."""

    def __init__(self, path: Path, manifest: Manifest, stop: type[BaseException]) -> None:
        super().__init__(path, manifest)
        self.stop = stop

    def batches(self, columns: list[str] | None = None) -> Iterator[Any]:
        """The first part, and then the end."""
        yield next(super().batches(columns))
        raise self.stop("stopped by the kit")


@check("format")
def the_report_counts_what_was_written(trial: Trial) -> None:
    """Its files exist, and images and objects are those that come back."""
    sample = full_sample(trial.room)
    report, _ = trial.write(sample, trial.room / "out")
    require(isinstance(report, WriteReport), f"write of {trial.name} gives {report!r}.")
    gone = [name for name in report.files if not (trial.room / "out" / name).exists()]
    require(not gone, f"{trial.name} reports {gone[:1]}, which it has not written.")
    real = {n for n, c in contents(trial.room / "out").items() if c != "folder"}
    silent = sorted(real - set(report.files))
    require(not silent, f"{trial.name} has written {silent[:1]} and does not report it.")
    records = trial.read(trial.room / "out").records
    counted = (len(records), sum(len(r.objects) for r in records))
    said = (report.images, report.objects)
    require(counted == said, f"{trial.name} reports {said} images and objects for {counted}.")


@check("format")
def every_option_works(trial: Trial) -> None:
    """Each value of each option writes and reads, or is refused with an error of tlx."""
    sample = full_sample(trial.room)
    hints = typing.get_type_hints(trial.plugin.options)
    for name, kind in hints.items():
        if typing.get_origin(kind) is typing.Literal:
            values = typing.get_args(kind)
        else:
            values = (False, True) if kind is bool else ()
        for number, value in enumerate(values):
            out = trial.room / f"{name}-{number}"
            try:
                with warnings.catch_warnings():
                    # What a library announces for later is not the finding.
                    warnings.simplefilter("ignore")
                    trial.write(sample, out, "skip", **{name: value})
                    trial.read(out, "skip", **{name: value})
            except TlxError:
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                broken(f"{trial.name} with {name}={value!r} raises {type(error).__name__}: {error}")


@check("format")
def images_come_along_unharmed(trial: Trial) -> None:
    """With the option media they lie in the output byte by byte, and the originals stay."""
    kind = typing.get_type_hints(trial.plugin.options).get("media")
    if typing.get_origin(kind) is not typing.Literal:
        return
    sample = plain_sample(trial.room / "input", split="train")
    before = state(trial.room / "input")
    for media in typing.get_args(kind):
        out = trial.room / f"out-{media}"
        trial.write(sample, out, media=media)
        words = difference(_without_links(before), _without_links(state(trial.room / "input")))
        require(not words, f"{trial.name} touched the originals with --media {media}: {words}.")
        if media == "reference":
            taken = [p for p in out.rglob("*") if p.suffix in PICTURES]
            require(not taken, f"{trial.name} brings {taken[:1]} along although not asked to.")
            continue
        back = trial.read(out)
        ids = {record.image_id for record in back.records}
        words = f"{trial.name} gives other image ids back with --media {media}: {sorted(ids)[:1]}."
        require(ids == set(IMAGES), words)
        for record in back.records:
            image = back.media_root / record.uri
            here = image.is_file() and image.absolute().is_relative_to(out.absolute())
            require(here, f"{trial.name} did not bring {record.uri} along with --media {media}.")
            original = sample.image_path(record.image_id)
            same = image.read_bytes() == original.read_bytes()
            require(same, f"{trial.name} changed {record.uri} with --media {media}.")
            shared = image.samefile(original)
            require(shared == (media != "copy"), f"--media {media} of {trial.name} is another way.")


def _without_links(tree: Tree) -> Tree:
    """A tree without modes and times, which a hard link shares with its original."""
    return {name: facts.split(", mode")[0] for name, facts in tree.items()}


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

    sample = plain_sample(trial.room)
    trial.write(sample, trial.room / "out")
    back = trial.read(trial.room / "out")
    again = store(trial.room / "again.tlx", back.records, back.taxonomy, back.media_root)
    perfect = (
        Prediction(
            r.image_id,
            tuple(Detection(o.category, o.box, 0.9) for o in r.objects if o.box is not None),
        )
        for r in sample.records()
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
    sample = plain_sample(trial.room)
    trial.write(sample, trial.room / "out")
    wanted = {n: c for n, c in sample.counts.objects_by_category.items() if c}
    seen = {name: count for name, count in trial.judge(trial.room / "out").items() if count}
    require(seen == wanted, f"another reader finds {seen} in {trial.name} instead of {wanted}.")


@check("format", slow=True)
def writing_holds_little_in_memory(trial: Trial) -> None:
    """Parts stream through: a long dataset needs no more memory than a short one."""
    samples = [large_sample(trial.room / str(n), images=n) for n in (SHORT, LONG)]
    trial.write(samples[0], trial.room / "warm")
    peaks = [
        peak_memory(lambda s=s, n=n: trial.write(s, trial.room / f"out{n}"))
        for n, s in enumerate(samples)
    ]
    require_flat(f"writing {LONG} images, {trial.name}", *peaks)
