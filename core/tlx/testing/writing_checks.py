"""What every format promises about writing: whole or absent, the same bytes, no memory."""

from __future__ import annotations

import typing
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tlx.api import WriteReport
from tlx.dataset import Dataset, Manifest
from tlx.errors import DataError, TlxError
from tlx.staging import staged
from tlx.testing.conformance import broken, check, require
from tlx.testing.foreign import PICTURES
from tlx.testing.listings import reversed_listings
from tlx.testing.memory import LONG, SHORT, peak_memory, require_flat
from tlx.testing.processes import in_child
from tlx.testing.samples import (
    IMAGES,
    full_sample,
    large_sample,
    plain_sample,
)
from tlx.testing.tree import Tree, contents, difference, state
from tlx.testing.trial import Trial


@check("format")
def the_input_stays_untouched(trial: Trial) -> None:
    """Writing changes neither the dataset nor its images."""
    sample = full_sample(trial.classes, trial.room / "input")
    before = state(trial.room / "input")
    trial.write(sample, trial.room / "out")
    words = difference(before, state(trial.room / "input"))
    require(not words, f"writing {trial.name} touched its input: {words}.")


@check("format")
def two_writes_give_the_same_bytes(trial: Trial) -> None:
    """The same input makes the same files, with any number of workers."""
    sample = plain_sample(trial.classes, trial.room)
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
    sample = plain_sample(trial.classes, trial.room)
    trial.write(sample, trial.room / "out")
    with reversed_listings():
        trial.write(sample, trial.room / "turned")
    words = difference(contents(trial.room / "out"), contents(trial.room / "turned"))
    require(not words, f"{trial.name} writes in the order of a listing: {words}.")


@check("format", slow=True)
def another_process_writes_the_same(trial: Trial) -> None:
    """Neither the hash seed nor the clock decides what is written: no time stamps."""
    sample = plain_sample(trial.classes, trial.room)
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
    sample = full_sample(trial.classes, trial.room)
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
    sample = full_sample(trial.classes, trial.room)
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
    sample = plain_sample(trial.classes, trial.room / "input", split="train")
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


@check("format", slow=True)
def writing_holds_little_in_memory(trial: Trial) -> None:
    """Parts stream through: a long dataset needs no more memory than a short one."""
    samples = [large_sample(trial.room / str(n), images=n) for n in (SHORT, LONG)]
    trial.write(samples[0], trial.room / "warm")
    peaks = [
        peak_memory(partial(trial.write, sample, trial.room / f"out{number}"))
        for number, sample in enumerate(samples)
    ]
    require_flat(f"writing {LONG} images, {trial.name}", *peaks)
