"""Outputs are whole or absent, whatever happens to the process that writes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlx.staging import staged

WRITE = """
import sys, time
from pathlib import Path
from tlx import staging
with staging.staged(Path(sys.argv[1]), overwrite=True) as target:
    target.mkdir()
    (target / "half").write_text("x")
    print("writing", flush=True)
    time.sleep(60)
"""
SWAP = """
import sys, time
from pathlib import Path
from tlx import staging
replace = Path.replace
def slow(self, target):
    if Path(target) == Path(sys.argv[1]):
        print("writing", flush=True)
        time.sleep(60)
    return replace(self, target)
Path.replace = slow
with staging.staged(Path(sys.argv[1]), overwrite=True) as target:
    target.mkdir()
"""


@contextmanager
def at_work(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has come to the middle of its output."""
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def grow_old(folder: Path) -> None:
    """As if what lies there had been made a minute ago."""
    for room in folder.glob(".*.part"):
        os.utime(room, (room.stat().st_atime, room.stat().st_mtime - 60))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["out", "a [b] *.tlx"])
def test_what_a_killed_process_has_left_is_swept(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with at_work(WRITE, path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(names(tmp_path)) == 1
    other = tmp_path / f".{name}x.1.part"
    other.mkdir()
    grow_old(tmp_path)
    with staged(path) as target:
        target.write_text("whole")
    assert names(tmp_path) == sorted([name, other.name])


def test_a_process_that_is_still_at_work_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with at_work(WRITE, path):
        grow_old(tmp_path)
        with staged(path) as target:
            target.write_text("whole")
        (room,) = tmp_path.glob(".*.part")
        assert (room / "out/half").read_text() == "x"
        assert path.read_text() == "whole"


def test_a_kill_while_a_folder_is_replaced_brings_the_former_back(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "mine").write_text("x")
    with at_work(SWAP, path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not path.exists()
    grow_old(tmp_path)
    with pytest.raises(Exception, match="exists already"), staged(path):
        pass
    assert names(tmp_path) == ["out"]
    assert (path / "mine").read_text() == "x"


def test_a_room_of_somebody_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that all may write to, nobody plants an output, or has one removed."""
    planted = tmp_path / ".out.1.part/out.former"
    planted.mkdir(parents=True)
    grow_old(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: planted.stat().st_uid + 1)
    with staged(tmp_path / "out") as target:
        target.write_text("mine")
    assert (tmp_path / "out").read_text() == "mine"
    assert planted.is_dir()
