"""The dataset on disk: whole or absent, same bytes for the same input, readable by others."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlx.dataset import Dataset, write_dataset
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import Issue, IssueLog
from tlx.model import Box, Label, Object, Record, Taxonomy
from tlx.schema import records_to_batch

TAXONOMY = Taxonomy.of(["stop", "go"])


def some_records(count: int = 3) -> list[Record]:
    return [
        Record(
            image_id=f"clip/{i}.jpg",
            uri=f"clip/{i}.jpg",
            group="clip",
            split="train" if i else None,
            objects=(Object(category="go", box=Box(1, 2, 3.5, 4)),) * (i % 4),
        )
        for i in range(count)
    ]


def make(path: Path, count: int = 3, **options: object) -> Dataset:
    return write_dataset(path, some_records(count), TAXONOMY, Path("/images"), (), **options)  # type: ignore[arg-type]


def files_of(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    make(tmp_path / "a.tlx")
    opened = Dataset.open(tmp_path / "a.tlx")
    assert list(opened.records()) == some_records()
    assert list(opened.records("train")) == some_records()[1:]
    assert opened.counts.objects_by_category == {"stop": 0, "go": 3}
    assert opened.counts.images_by_split == {"": 1, "train": 2}
    assert opened.counts.negatives == 1
    assert opened.image_path("clip/1.jpg") == Path("/images/clip/1.jpg")


@pytest.mark.parametrize("sizes", [(1, 7, 4088), (4096,), (1000,), (4097, 9000), (1, 8191)])
def test_records_and_batches_in_turn_make_the_same_bytes(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    records = some_records(9500)

    def in_turn() -> Iterator[Record | pa.RecordBatch]:
        yield records[0]
        place = 1
        for size in itertools.cycle(sizes):
            yield records_to_batch(records[place : place + size])
            yield from records[place + size : place + size + 3]
            place += size + 3
            if place >= len(records):
                return

    make(tmp_path / "a.tlx", len(records))
    mixed = write_dataset(tmp_path / "b.tlx", in_turn(), TAXONOMY, Path("/images"), ())
    assert [part.images for part in mixed.manifest.parts] == [4096, 4096, 1308]
    assert files_of(tmp_path / "a.tlx") == files_of(tmp_path / "b.tlx")


def test_several_parts_keep_the_order(tmp_path: Path) -> None:
    made = make(tmp_path / "a.tlx", 5000)
    assert len(made.manifest.parts) == 2
    assert [r.image_id for r in made.records()] == [r.image_id for r in some_records(5000)]


def test_same_input_same_bytes(tmp_path: Path) -> None:
    assert files_of(make(tmp_path / "a.tlx").path) == files_of(make(tmp_path / "b.tlx").path)


def test_any_parquet_reader_opens_it(tmp_path: Path) -> None:
    made = make(tmp_path / "a.tlx")
    table = pq.read_table(made.path / "parts")
    assert table.column("objects").to_pylist()[1][0]["box"] == {
        "xmin": 1.0,
        "ymin": 2.0,
        "xmax": 3.5,
        "ymax": 4.0,
    }


def test_nothing_is_covered_unless_asked(tmp_path: Path) -> None:
    made = make(tmp_path / "a.tlx")
    before = files_of(made.path)
    with pytest.raises(UsageError, match="exists already"):
        make(made.path, 2)
    assert files_of(made.path) == before
    assert len(make(made.path, 2, overwrite=True)) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tlx"]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Record]:
        yield from some_records(5000)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(TlxError, match="No space left on device"):
        write_dataset(tmp_path / "a.tlx", broken(), TAXONOMY, tmp_path, ())
    assert list(tmp_path.iterdir()) == []


def test_an_overwrite_that_fails_keeps_the_old_one(tmp_path: Path) -> None:
    def broken() -> Iterator[Record]:
        yield from some_records(2)
        raise KeyboardInterrupt

    made = make(tmp_path / "a.tlx")
    before = files_of(made.path)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(made.path, broken(), TAXONOMY, tmp_path, (), overwrite=True)
    assert files_of(made.path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tlx"]


def test_a_kill_leaves_no_dataset_under_the_final_name(tmp_path: Path) -> None:
    code = f"""
        import os, signal
        from pathlib import Path
        from tlx.dataset import write_dataset
        from tlx.model import Record, Taxonomy
        def records():
            for i in range(9000):
                yield Record(image_id=str(i), uri=str(i))
            os.kill(os.getpid(), signal.SIGKILL)
        write_dataset(Path({str(tmp_path / "a.tlx")!r}), records(), Taxonomy(), Path("."), ())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.tlx").exists()


def test_an_image_twice_is_refused(tmp_path: Path) -> None:
    twice = [Record(image_id="x", uri="a"), Record(image_id="x", uri="b")]
    with pytest.raises(DataError, match="'x' appears twice"):
        write_dataset(tmp_path / "a.tlx", twice, TAXONOMY, tmp_path, ())


def test_a_class_outside_the_taxonomy_is_refused_with_the_nearest(tmp_path: Path) -> None:
    record = Record(image_id="x", uri="x", objects=(Object(category="stpo"),))
    with pytest.raises(DataError, match="Did you mean 'stop'"):
        write_dataset(tmp_path / "a.tlx", [record], TAXONOMY, tmp_path, ())
    assert list(tmp_path.iterdir()) == []


def test_issues_are_written_beside_the_parts(tmp_path: Path) -> None:
    log = IssueLog("skip")
    log.report(Issue("bad-row", "no number", "a.csv", 7))
    made = make(tmp_path / "a.tlx", issues=log)
    assert json.loads(made.issues_path.read_text()) == {
        "code": "bad-row",
        "message": "no number",
        "path": "a.csv",
        "line": 7,
        "action": "skipped",
        "hint": None,
    }


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    made = make(tmp_path / "a.tlx")
    file = made.path / "manifest.json"
    whole = file.read_bytes()
    for damaged in (whole[:-9], whole.replace(b"stop", b"st\xffp"), b"\xff", b""):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="is not a tlx manifest"):
            Dataset.open(made.path)


def test_opening_what_is_no_dataset_says_what_is_there(tmp_path: Path) -> None:
    make(tmp_path / "lights.tlx")
    with pytest.raises(UsageError, match="does not exist.*lights.tlx"):
        Dataset.open(tmp_path / "lihgts.tlx")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        Dataset.open(tmp_path / "file")
    with pytest.raises(UsageError, match=r"no manifest.json"):
        Dataset.open(tmp_path)


def test_a_broken_manifest_or_part_is_named(tmp_path: Path) -> None:
    made = make(tmp_path / "a.tlx")
    part = made.path / made.manifest.parts[0].path
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DataError, match="part-00000.parquet"):
        list(made.records())
    manifest = made.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"images"', '"imgaes"', 1))
    with pytest.raises(DataError, match="manifest.json"):
        Dataset.open(made.path)
    manifest.write_text('{"schema_version": 99}')
    with pytest.raises(DataError):
        Dataset.open(made.path)


def test_an_unknown_split_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its splits: train"):
        make(tmp_path / "a.tlx").require_split("test")


def test_only_what_is_present_is_counted_as_a_label(tmp_path: Path) -> None:
    rows = [
        Record(image_id="a", uri="a", labels=(Label("stop"), Label("go", present=False))),
        Record(image_id="b", uri="b", labels=(Label("stop"), Label("go", present=None))),
    ]
    made = write_dataset(tmp_path / "a.tlx", rows, TAXONOMY, tmp_path, ())
    assert made.counts.labels_by_category == {"stop": 2, "go": 0}
    assert list(made.records()) == rows


def test_a_swap_that_is_stopped_half_way_brings_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(tmp_path / "a.tlx")
    before = files_of(made.path)
    replace = Path.replace

    def stopped(self: Path, target: Path) -> Path:
        if Path(target) == made.path and self.name == "a.tlx":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        make(made.path, 2, overwrite=True)
    assert files_of(made.path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tlx"]
