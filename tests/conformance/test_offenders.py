"""Every check catches what it is there for: a toy that breaks one promise fails it alone."""

from __future__ import annotations

import datetime as dt
import importlib
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.model import Box, Object, Origin, Record, Taxonomy
from tlx.model import replace as changed
from tlx.testing import ConformanceError, Trial, checks_for
from tlx.toys.toy_format import FILE, Head, ToyFormat, ToyOptions


class Writer(ToyFormat):
    """A toy whose records are changed on their way to the file."""

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        return super().write(Changed(dataset, self.kept), dest, options, context)

    def kept(self, record: Record) -> Record | None:
        return record


class Changed(Dataset):
    def __init__(self, source: Dataset, change: Any) -> None:
        super().__init__(source.path, source.manifest)
        self.source, self.change = source, change

    def records(self, split: str | None = None) -> Iterator[Record]:
        for record in self.source.records(split):
            if (other := self.change(record)) is not None:
                yield other


class Reader(ToyFormat):
    """A toy whose records are changed on their way out of the file."""

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        reading = super().read(root, options, context)
        return replace(reading, content=self.seen(reading.content, root))

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        return records


def with_objects(record: Record, change: Any) -> Record:
    made: Record = changed(record, objects=tuple(map(change, record.objects)))
    return made


# What every plugin promises.


class Shouts(ToyFormat):
    breaks = "it_has_a_name_and_a_summary"
    name = "My Toy"


@dataclass(frozen=True)
class Undocumented(ToyOptions):
    depth: int = 0


class HidesAnOption(ToyFormat):
    """An option without a word (FiftyOne's keyword arguments)."""

    breaks = "its_options_are_documented"
    options = Undocumented


# Reading.


class KnowsNothing(ToyFormat):
    breaks = "it_recognises_its_material"

    def sniff(self, root: Path) -> Match:
        return Match(missing=("anything",))


class TakesAnyFolder(ToyFormat):
    """Several readers claim one folder (datumaro's detection)."""

    breaks = "it_takes_no_other_material"

    def sniff(self, root: Path) -> Match:
        return Match(met=("it is there",)) if root.exists() else Match(missing=("it",))


class ReadsAllToLook(ToyFormat):
    breaks = "sniffing_reads_little"

    def sniff(self, root: Path) -> Match:
        known = (root / FILE).is_file() and b"tlx toy" in (root / FILE).read_bytes()
        return Match(met=(FILE,)) if known else Match(missing=(FILE,))


class TripsOverNothing(ToyFormat):
    breaks = "what_is_not_there_is_explained"

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        if not (root / FILE).is_file():
            raise FileNotFoundError(root / FILE)
        return super().read(root, options, context)


class LeavesACache(Reader):
    """A cache beside the labels (detectron2)."""

    breaks = "reading_leaves_its_root_alone"

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        (root / "labels.cache").write_text("1")
        return records


class ForgetsAClass(Reader):
    breaks = "records_are_well_formed"

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        return (changed(r, origin=Origin("somewhere else", 1)) for r in records)


class LosesClips(Reader):
    """Frames of one clip with nothing that holds them together."""

    breaks = "frames_name_their_clip"

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        plain = root.name == "material"
        return (changed(r, frame=n) if plain else r for n, r in enumerate(records))


class ReadsAsListed(ToyFormat):
    """The order of the file system (labelformat's glob)."""

    breaks = "the_order_of_a_listing_decides_nothing"

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        reading = super().read(root, options, context)
        images = [p.as_posix() for p in reading.media_root.rglob("*.*")]
        records = sorted(reading.content, key=lambda r: find(images, r.uri))
        return replace(reading, content=iter(records))


def find(paths: list[str], uri: str) -> int:
    return next((n for n, path in enumerate(paths) if path.endswith(uri)), 0)


class ReadsByHash(Reader):
    """Classes in the order of a set (supervision)."""

    breaks = "another_process_reads_the_same"

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        return sorted(records, key=lambda r: hash(r.image_id))


class ReadsEagerly(Reader):
    """All of it in memory before the first record (readers that work in ``__init__``)."""

    breaks = "reading_holds_little_in_memory"

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        return list(records)


class OpensAll(ToyFormat):
    """A file for each image, all of them opened before the first record is given."""

    breaks = "the_first_record_comes_before_the_last_file"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        report = super().write(dataset, dest, options, context)
        names = [f"{number}.part" for number in range(report.images)]
        for name in names:
            (dest / name).write_text("1")
        return replace(report, files=(*report.files, *names))

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        reading = super().read(root, options, context)
        return replace(reading, content=self.after(sorted(root.glob("*.part")), reading.content))

    def after(self, paths: list[Path], records: Iterable[Any]) -> Iterator[Any]:
        for path in paths:
            path.read_bytes()
        yield from records


class KeepsOpen(ToyFormat):
    breaks = "a_reading_can_be_given_up"
    held: ClassVar[list[Any]] = []

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        self.held.append((root / FILE).open("rb") if (root / FILE).is_file() else None)
        return super().read(root, options, context)


class TripsOverDamage(ToyFormat):
    breaks = "damaged_files_end_in_errors_of_tlx"

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        if (root / FILE).is_file():
            (root / FILE).read_text("utf-8")
        return super().read(root, options, context)


class LosesTheMarkedLine(ToyFormat):
    """A mark at the start of a file makes a part of it another thing."""

    breaks = "a_byte_order_mark_changes_nothing"

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        reading = super().read(root, options, context)
        if (root / FILE).read_bytes().startswith(b"\xef\xbb\xbf"):
            return replace(reading, content=iter(list(reading.content)[1:]))
        return reading


# Writing.


class TouchesItsInput(ToyFormat):
    breaks = "the_input_stays_untouched"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        if dataset.taxonomy.names[0].startswith("stop") and len(dataset) == 3:
            (dataset.path / "exported").touch()
        return super().write(dataset, dest, options, context)


class ShiftsBoxes(Writer):
    """Boxes moved by one pixel (supervision's VOC writer)."""

    breaks = "every_field_survives_or_is_declared"

    def kept(self, record: Record) -> Record:
        def shift(thing: Object) -> Object:
            box = thing.box
            if box is None or thing.rotation is None:
                return thing
            moved = Box(box.xmin + 1, box.ymin + 1, box.xmax + 1, box.ymax + 1)
            return changed(thing, box=moved)  # type: ignore[no-any-return]

        return with_objects(record, shift)


class CriesWolf(ToyFormat):
    breaks = "what_is_declared_lost_is_lost"

    def traits(self, options: Any) -> Traits:
        return Traits(drops={"objects.track": "toys have no tracks"})


class InventsFlags(Writer):
    """``difficult`` is 0 where nobody said so."""

    breaks = "what_is_not_stated_stays_so"

    def kept(self, record: Record) -> Record:
        if record.width is not None:
            return record
        return with_objects(record, lambda o: changed(o, difficult=False))


class WritesByWorker(ToyFormat):
    breaks = "two_writes_give_the_same_bytes"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        report = super().write(dataset, dest, options, context)
        with (dest / FILE).open("a") as file:
            file.write(" " * context.workers)
        return report


class WritesAsListed(ToyFormat):
    breaks = "writing_in_any_order_of_listings_is_the_same"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        report = super().write(dataset, dest, options, context)
        names = [p.name for p in dataset.media_root.rglob("*.*")]
        (dest / "images.txt").write_text("\n".join(names))
        return replace(report, files=(*report.files, "images.txt"))


class StampsTheDay(ToyFormat):
    """The day of writing (``date_captured``)."""

    breaks = "another_process_writes_the_same"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        report = super().write(dataset, dest, options, context)
        (dest / "day.txt").write_text(dt.date.today().isoformat())  # noqa: DTZ011
        return replace(report, files=(*report.files, "day.txt"))


class SortsClasses(ToyFormat):
    breaks = "classes_and_their_order_survive"

    def head(self, dataset: Dataset, options: Any) -> Head:
        head = super().head(dataset, options)
        if len(dataset.taxonomy) < 4:
            return head
        return Head(Taxonomy.of(sorted(dataset.taxonomy.names)), head.media_root)


class DropsNegatives(Writer):
    breaks = "images_without_objects_are_kept"

    def kept(self, record: Record) -> Record | None:
        # The last image of the plain sample only, so that no other check sees it.
        return record if record.objects or record.split or record.labels else None


class NumbersFromZero(Reader):
    """The first annotation has the id 0 and never matches (cocoapi)."""

    breaks = "ids_are_unique_and_not_zero"

    def traits(self, options: Any) -> Traits:
        return Traits(assumes={"objects.object_id": "a number"})

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        return (
            with_objects(r, lambda o, n=n: o if o.object_id else changed(o, object_id=str(n)))
            for n, r in enumerate(records)
        )


class MixesStems(ToyFormat):
    """Labels go by the stem of the image: 1.jpg gets those of 1.png."""

    breaks = "names_that_differ_little_stay_apart"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        stems: dict[str, Record] = {}

        def first(record: Record) -> Record:
            kept = stems.setdefault(record.uri.rpartition(".")[0], record)
            return changed(record, objects=kept.objects)  # type: ignore[no-any-return]

        return super().write(Changed(dataset, first), dest, options, context)


class EscapesNames(Writer):
    breaks = "hostile_image_names_survive_or_are_refused"

    def kept(self, record: Record) -> Record:
        name = record.image_id.replace("%", "_")
        return changed(record, image_id=name, uri=name)  # type: ignore[no-any-return]


class SplitsAtCommas(Writer):
    """Class names joined by commas."""

    breaks = "hostile_classes_survive_or_are_refused"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        if len(dataset.taxonomy) > 2:
            return ToyFormat.write(self, dataset, dest, options, context)
        return super().write(dataset, dest, options, context)

    def head(self, dataset: Dataset, options: Any) -> Head:
        head = super().head(dataset, options)
        if len(dataset.taxonomy) > 2:
            return head
        names = ",".join(dataset.taxonomy.names).split(",")
        return Head(Taxonomy.of(names), head.media_root)

    def kept(self, record: Record) -> Record:
        cut = {"a,b": "a"}
        return with_objects(record, lambda o: changed(o, category=cut.get(o.category, o.category)))


class WritesBeside(ToyFormat):
    """A temporary file beside the output that stays when it is stopped."""

    breaks = "an_interrupted_write_leaves_nothing"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        spill = dest.parent.parent / f"{dest.parent.parent.name}.spill"
        if dest.parent.name.startswith("."):
            spill = dest.parent.parent / "out.spill"
        spill.touch()
        report = super().write(dataset, dest, options, context)
        spill.unlink()
        return report


class SwallowsTheEnd(ToyFormat):
    """Goes on after an error as if all had been written."""

    breaks = "an_interrupted_write_leaves_nothing"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        try:
            return super().write(dataset, dest, options, context)
        except OSError:
            return WriteReport((FILE,), 0, 0)


class Miscounts(ToyFormat):
    breaks = "the_report_counts_what_was_written"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        report = super().write(dataset, dest, options, context)
        return replace(report, objects=report.objects + 1)


class StumblesOverAnOption(ToyFormat):
    breaks = "every_option_works"

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        if not options.empty:
            raise KeyError("empty")
        return super().read(root, options, context)


class CopiesNothing(ToyFormat):
    """``copy`` makes a link: the export changes with the source."""

    breaks = "images_come_along_unharmed"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        if options.media == "copy":
            options = ToyOptions(media="hardlink")
        return super().write(dataset, dest, options, context)


class TurnsImages(Reader):
    """The orientation of EXIF turns the size, not the boxes."""

    breaks = "sizes_are_those_of_the_stored_image"

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        alone = [*records]
        if [r.image_id for r in alone] == ["a.jpg"]:
            return [changed(alone[0], width=48, height=64)]
        return alone


class DropsInSilence(Writer):
    """Annotations that do not fit are skipped without a word."""

    breaks = "nothing_is_dropped_in_silence"

    def kept(self, record: Record) -> Record:
        good = tuple(o for o in record.objects if o.box is None or o.box.area > 0)
        return changed(record, objects=good)  # type: ignore[no-any-return]


class SwapsClasses(Reader):
    """Class numbers shifted by one."""

    breaks = "perfect_predictions_score_one"

    def seen(self, records: Iterable[Any], root: Path) -> Iterable[Any]:
        for record in records:
            whole = [o for o in record.objects if o.category == "bus" and record.split is None]
            yield with_objects(
                record, lambda o, w=whole: changed(o, box=Box(0, 0, 9, 9)) if o in w else o
            )


class SaysOtherThings(ToyFormat):
    """What other readers see is not what tlx reads back."""

    breaks = "another_reader_counts_the_same"


class HoldsAll(ToyFormat):
    breaks = "writing_holds_little_in_memory"

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        held = list(dataset.records())
        report = super().write(dataset, dest, options, context)
        assert len(held) == len(dataset)
        return report


OFFENDERS = [
    kind
    for kind in list(vars().values())
    if inspect.isclass(kind) and issubclass(kind, ToyFormat) and "breaks" in vars(kind)
]


def failing(plugin: Any, room: Path, names: Iterable[str], **facts: Any) -> dict[str, str]:
    found = {}
    for check in checks_for("format"):
        if check.name not in names:
            continue
        folder = room / check.name
        folder.mkdir()
        try:
            check.run(Trial(plugin, folder, **facts))
        except ConformanceError as error:
            found[check.name] = str(error)
    return found


ALL = tuple(check.name for check in checks_for("format"))
COSTLY = frozenset(
    {
        "an_interrupted_write_leaves_nothing",
        "every_option_works",
        "images_come_along_unharmed",
        "nothing_is_dropped_in_silence",
        "perfect_predictions_score_one",
        "sniffing_reads_little",
        "hostile_image_names_survive_or_are_refused",
        "hostile_classes_survive_or_are_refused",
        "damaged_files_end_in_errors_of_tlx",
        "the_first_record_comes_before_the_last_file",
        *(check.name for check in checks_for("format") if check.slow),
    }
)


def judged(folder: Path) -> dict[str, int]:
    """Counts classes in a toy file without the toy."""
    counts: dict[str, int] = {}
    for line in (folder / FILE).read_bytes().splitlines()[1:]:
        for thing in msgspec.json.decode(line)["objects"]:
            counts[thing["category"]] = counts.get(thing["category"], 0) + 1
    return counts


def test_the_toy_keeps_every_promise(tmp_path: Path) -> None:
    assert failing(ToyFormat(), tmp_path, ALL, judge=judged) == {}


@pytest.mark.parametrize("offender", OFFENDERS, ids=lambda kind: kind.__name__)
def test_an_offender_fails_its_check_and_no_other(offender: Any, tmp_path: Path) -> None:
    names = [n for n in ALL if n not in COSTLY or n == offender.breaks]
    facts = {"judge": lambda folder: {"bus": 1}} if offender is SaysOtherThings else {}
    found = failing(offender(), tmp_path, names, **facts)
    assert set(found) == {offender.breaks}, found
    assert "in a process of its own" not in found[offender.breaks]


ELSEWHERE = ("it_satisfies_its_protocol", "importing_it_is_light")


class Half:
    name = "half"
    summary = "no source: it cannot look"
    options = ToyOptions
    read = ToyFormat.read


def test_what_lacks_a_member_is_no_plugin(tmp_path: Path) -> None:
    assert list(failing(Half(), tmp_path, ELSEWHERE[:1])) == ["it_satisfies_its_protocol"]


def test_a_heavy_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import numpy\nfrom tlx.toys.toy_format import ToyFormat\nclass Heavy(ToyFormat): pass\n"
    (tmp_path / "heavy_toy.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    heavy = importlib.import_module("heavy_toy").Heavy()
    found = failing(heavy, tmp_path, ELSEWHERE)
    assert list(found) == ["importing_it_is_light"]
    assert "imports numpy" in found["importing_it_is_light"]


def test_every_check_has_its_offender() -> None:
    assert {kind.breaks for kind in OFFENDERS} | set(ELSEWHERE) == set(ALL)
