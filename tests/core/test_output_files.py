"""Many small files, written by any number of threads."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlx.dataset import Dataset, Operation, write_dataset
from tlx.errors import DataError
from tlx.model import Record, Taxonomy
from tlx.output_files import OutputFiles

THREADS = pytest.mark.parametrize("threads", [0, 1, 2, 5])


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    (tmp_path / "media").mkdir()
    names = [f"{number}.jpg" for number in range(700)]
    for number, name in enumerate(names):
        (tmp_path / "media" / name).write_bytes(b"%d" % number)
    records = [Record(image_id=name, uri=name) for name in names]
    step = (Operation(name="test", version="0"),)
    return write_dataset(tmp_path / "a.tlx", records, Taxonomy(()), tmp_path / "media", step)


def put(
    dest: Path, threads: int, *jobs: Callable[[OutputFiles], None], media: Any = "copy"
) -> None:
    dest.mkdir(exist_ok=True)
    with OutputFiles(dest, media, threads) as files:
        for job in jobs:
            job(files)


def no_threads_left() -> bool:
    return not [t for t in threading.enumerate() if t.name.startswith("tlx-files")]


@THREADS
@pytest.mark.parametrize("media", ["copy", "hardlink", "symlink", "reference"])
def test_everything_is_there_at_the_end(
    tmp_path: Path, data: Dataset, threads: int, media: Any
) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    with OutputFiles(dest, media, threads) as files:
        for number, record in enumerate(data.records()):
            files.write(f"labels/{number % 7}/{number}.txt", b"label %d" % number)
            files.bring(data, record.uri, "images", f"x/{number}.jpg")
        files.bring(data, "https://host.test/a.jpg", "images")
    labels = [f"labels/{number % 7}/{number}.txt" for number in range(700)]
    images = [f"images/x/{number}.jpg" for number in range(700)] if media != "reference" else []
    assert sorted(files.names) == sorted([*labels, *images])
    for number, name in enumerate(labels):
        assert (dest / name).read_bytes() == b"label %d" % number
    for number, name in enumerate(images):
        assert (dest / name).read_bytes() == b"%d" % number
    assert no_threads_left()


@THREADS
def test_two_of_one_name_are_an_error(tmp_path: Path, data: Dataset, threads: int) -> None:
    jobs = [lambda f, u=uri: f.bring(data, u, "images", "same.jpg") for uri in ("1.jpg", "2.jpg")]
    with pytest.raises(DataError, match="two images would become same.jpg"):
        put(tmp_path / "out", threads, *jobs)
    with pytest.raises(FileExistsError):
        put(tmp_path / "out", threads, *[lambda f: f.write("a.txt", b"1")] * 2)
    assert no_threads_left()


@THREADS
def test_an_image_that_is_gone_is_named(tmp_path: Path, data: Dataset, threads: int) -> None:
    (data.media_root / "600.jpg").unlink()
    jobs = [lambda f, u=record.uri: f.bring(data, u, "images") for record in data.records()]
    with pytest.raises(DataError, match="600.jpg: the image is not there"):
        put(tmp_path / "out", threads, *jobs)
    assert no_threads_left()


@THREADS
def test_an_error_of_the_caller_ends_the_threads(tmp_path: Path, threads: int) -> None:
    def stop(files: OutputFiles) -> None:
        raise KeyboardInterrupt

    jobs = [lambda f, n=number: f.write(f"{n}.txt", b"x") for number in range(3000)]
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path / "out", threads, *jobs, stop)
    assert no_threads_left()


@THREADS
def test_a_disk_that_takes_a_part_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    write = os.write

    def part(file: int, data: bytes) -> int:
        return write(file, data[:3])

    monkeypatch.setattr(os, "write", part)
    with OutputFiles(tmp_path, threads=threads) as files:
        files.write("a.txt", b"0123456789")
    assert (tmp_path / "a.txt").read_bytes() == b"0123456789"

    def full(file: int, data: bytes) -> int:
        if len(data) < 5:
            raise OSError(errno.ENOSPC, "full")
        return part(file, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="full"):
        put(tmp_path, threads, lambda files: files.write("b.txt", b"0123456789"))
