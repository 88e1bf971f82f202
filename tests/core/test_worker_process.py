"""A job in another process: what it says, how it dies, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tlx import worker_process
from tlx.errors import DataError, TlxError, UsageError
from tlx.worker_process import Worker

WORKER = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from tlx.worker_protocol import Cancelled, WorkerError


def run(job, channel):
    return globals()["do_" + job["kind"]](job, channel)


def do_talk(job, channel):
    print("a library talks on standard output")
    os.system("echo and so does its child")
    channel.emit("number", value=float("nan"), text="\\u2028 \\n")
    answer = channel.ask("question", step=1)
    return {"answer": answer["value"], "tlx": sys.modules["tlx"].__path__}


def do_loop(job, channel):
    Path(job["pid_file"]).write_text(str(os.getpid()))
    with channel.graceful():
        try:
            for step in range(100_000):
                channel.emit("step", step=step)
                time.sleep(0.01)
                channel.check()
        except Cancelled:
            Path(job["saved"]).write_text(str(step))
            raise Cancelled(step)


def do_trace(job, channel):
    Path(job["pid_file"]).write_text(str(os.getpid()))
    channel.emit("phase", name="trace")
    time.sleep(600)


def do_hang(job, channel):
    Path(job["pid_file"]).write_text(str(os.getpid()))
    child = subprocess.Popen(["sleep", "600"])
    Path(job["saved"]).write_text(str(child.pid))
    with channel.graceful():
        channel.emit("step", step=1)
        time.sleep(600)


def do_usage(job, channel):
    raise WorkerError("usage", "there is no such network.", hint="Take another.")


def do_data(job, channel):
    raise WorkerError("data", "is broken.", place="a.record")


def do_exception(job, channel):
    raise ValueError("shapes (3,) and (4,) are no match\\nand more")


def do_full(job, channel):
    raise OSError("[Errno 28] No space left on device")


def do_segfault(job, channel):
    print("I0000 00:00:17 routine.cc:1] nothing", file=sys.stderr)
    print("the real reason", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def do_killed(job, channel):
    print("nothing to do with it", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def do_exit(job, channel):
    os._exit(7)


def do_garbage(job, channel):
    channel._out.write("this is no event\\n[1, 2]\\n{\\"no\\": 1}\\n\\x00\\xff\\n")
    channel._out.flush()
    return {"ok": True}


def do_huge(job, channel):
    channel._out.write("x" * job["bytes"])
    channel._out.flush()
    return {}


def do_noise(job, channel):
    for number in range(20_000):
        print("noise", number, "x" * 100, file=sys.stderr)
    sys.stderr.write("y" * 1_000_000)
    return {"ok": True}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "worker"
    package.mkdir()
    (package / "__init__.py").write_text(WORKER)
    return package


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def begin(kind: str, **fields: Any) -> Worker:
        job = {"kind": kind, "pid_file": str(tmp_path / "pid"), "saved": str(tmp_path / "saved")}
        worker = Worker(Path(sys.executable), folder, {**job, **fields}, log=tmp_path / "log")
        made.append(worker)
        return worker

    yield begin
    for worker in made:
        worker._kill()


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what must come; a run that waits for ever is ended by the suite's own limits."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen within a minute")


def test_events_come_as_sent_and_prints_do_not_disturb(start: Any, tmp_path: Path) -> None:
    events = []
    with start("talk") as worker:
        for event in worker.events():
            events.append(event)
            if event["ev"] == "question":
                worker.send({"cmd": "score", "value": 42})
    assert events == [
        {"ev": "number", "value": None, "text": "\u2028 \n"},
        {"ev": "question", "step": 1},
        {"ev": "done", "result": {"answer": 42, "tlx": []}},
    ]
    printed = (tmp_path / "log").read_text()
    assert "a library talks" in printed
    assert "its child" in printed


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("usage", UsageError, "there is no such network. Take another."),
        ("data", DataError, "a.record: is broken."),
        ("exception", TlxError, "failed: ValueError: shapes (3,) and (4,) are no match Every"),
        ("full", TlxError, "no space left on the disk"),
        ("segfault", TlxError, "killed by the signal SIGSEGV. It said last: the real reason"),
        ("killed", TlxError, "SIGKILL, most likely because memory ran out. Every"),
        ("exit", TlxError, "ended without a result (exit code 7)"),
        ("absent", TlxError, "KeyError: 'do_absent'"),
    ],
)
def test_every_end_is_one_clear_error(
    kind: str, error: type[TlxError], text: str, start: Any
) -> None:
    with start(kind) as worker, pytest.raises(error) as caught:
        list(worker.events())
    assert text in str(caught.value)
    assert type(caught.value) is error
    assert not alive(worker.pid)


def test_garbage_on_the_line_is_kept_as_text(start: Any) -> None:
    with start("garbage") as worker:
        assert list(worker.events()) == [{"ev": "done", "result": {"ok": True}}]
        assert "[1, 2]" in worker.last_lines()


def test_a_huge_line_is_refused_and_its_writer_killed(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "LONGEST_LINE", 1 << 20)
    with pytest.raises(TlxError, match="more than 1 MB"), start("huge", bytes=5 << 20) as worker:
        list(worker.events())
    assert not alive(worker.pid)


def test_much_noise_blocks_nothing_and_the_log_is_bounded(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_LOG_BYTES", 1 << 20)
    with start("noise") as worker:
        assert [e["ev"] for e in worker.events()] == ["done"]
    assert (1 << 20) <= (tmp_path / "log").stat().st_size < (1 << 20) + (1 << 17)


def test_leaving_the_body_saves_and_ends_the_worker(start: Any, tmp_path: Path) -> None:
    with start("loop") as worker:
        for event in worker.events():
            if event["step"] == 3:
                break
    assert int((tmp_path / "saved").read_text()) >= 3
    assert not alive(worker.pid)


def test_while_it_traces_a_cancellation_ends_it_at_once(start: Any) -> None:
    with start("trace") as worker:
        next(worker.events())
    assert not alive(worker.pid)


def test_sigterm_to_the_worker_saves_too(start: Any, tmp_path: Path) -> None:
    with start("loop") as worker:
        events = worker.events()
        next(events)
        os.kill(worker.pid, signal.SIGTERM)
        with pytest.raises(TlxError, match="ended from outside"):
            list(events)
    assert (tmp_path / "saved").is_file()


def test_one_that_hangs_is_killed_with_its_children(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_GRACE_SECONDS", 0.5)
    with start("hang") as worker:
        next(worker.events())
    assert not alive(worker.pid)
    child = int((tmp_path / "saved").read_text())
    wait_for(lambda: not alive(child))


HOST = """
import sys
from pathlib import Path
from tlx.worker_process import Worker
folder, pid_file, saved = sys.argv[1:]
job = {"kind": sys.argv[0] and "loop", "pid_file": pid_file, "saved": saved}
with Worker(Path(sys.executable), Path(folder), job) as worker:
    for event in worker.events():
        if event["step"] == 3:
            print("running", flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_orphan_when_the_host_dies(how: int, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "host.py"
    script.write_text(textwrap.dedent(HOST))
    pid_file, saved = tmp_path / "pid", tmp_path / "saved"
    host = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(pid_file), str(saved)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"running\n"
    host.send_signal(how)
    host.wait()
    host.stdout.close()
    pid = int(pid_file.read_text())
    wait_for(lambda: not alive(pid))
    wait_for(saved.is_file)


def test_an_interpreter_that_is_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TlxError, match="cannot start .*absent: No such file"):
        Worker(tmp_path / "absent", folder, {"kind": "talk"})
    (tmp_path / "text").write_text("no program")
    with pytest.raises(TlxError, match="cannot start"):
        Worker(tmp_path / "text", folder, {"kind": "talk"})
