"""``tlx backends``: what is installed, put to the test, adopted and forgotten."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tlx.cli import main
from tlx_backends.tensorflow.backend import TfodBackend
from tlx_backends.tensorflow.environment import TENSORFLOW

WORKER = """
def run(job, channel):
    from pathlib import Path
    ok = not (Path(__file__).parent / "broken").exists()
    channel.emit("check", name="imports", ok=True, detail="tensorflow 0.1", seconds=1.5)
    channel.emit("check", name="training-step", ok=ok, detail="loss 1.0" if ok else "no loss")
    return {"ok": ok, "versions": {"tensorflow": "0.1"}}
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "worker"
    folder.mkdir()
    (folder / "__init__.py").write_text(WORKER)
    monkeypatch.setenv("TLX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(TfodBackend, "environment", replace(TENSORFLOW, worker=folder))
    return folder


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    found = capsys.readouterr()
    return " ".join(found.out.split()), " ".join(found.err.split())


def test_the_whole_life_of_an_environment(worker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends"]) == 0
    assert "Install it with: tlx backends install tfod" in said(capsys)[0]
    assert main(["backends", "doctor"]) == 0
    assert "not installed" in said(capsys)[0]
    assert main(["backends", "doctor", "tfod"]) == 5
    assert main(["train", "x", "--backend", "tfod", "--model", "ssd_mobilenet_v2"]) == 5
    assert "Install it with: tlx backends install tfod" in said(capsys)[1]

    assert main(["backends", "install", "tfod", "--python", sys.executable]) == 0
    assert f"tfod uses {sys.executable}: tensorflow 0.1" in said(capsys)[0]
    assert main(["backends", "--json"]) == 0
    listed: dict[str, Any] = json.loads(capsys.readouterr().out)
    line = next(b for b in listed["backends"] if b["name"] == "tfod")
    assert line["ok"]
    assert line["environment"] == {
        "name": "tensorflow",
        "state": "ready",
        "python": sys.executable,
        "versions": {"tensorflow": "0.1"},
        "megabytes": None,
        "made_by_tlx": False,
    }
    assert main(["backends", "doctor"]) == 0
    assert "imports ok tensorflow 0.1 (1.5 s)" in said(capsys)[0]

    (worker / "broken").touch()
    assert main(["backends", "doctor", "tfod"]) == 5
    out, err = said(capsys)
    assert "training-step FAILED no loss" in out
    assert "not usable: tfod. Make it anew with: tlx backends remove tfod" in err

    assert main(["backends", "remove", "tfod"]) == 0
    assert f"no longer uses {sys.executable}" in said(capsys)[0]
    assert main(["backends", "remove", "tfod"]) == 2
    assert "is not installed" in said(capsys)[1]


def test_a_python_that_does_not_do(worker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends", "install", "tfod", "--python", "/nowhere/python"]) == 2
    assert "/nowhere/python is no Python interpreter." in said(capsys)[1]
    (worker / "broken").touch()
    assert main(["backends", "install", "tfod", "--python", sys.executable]) == 1
    assert "did not pass the self-test: training-step: no loss" in said(capsys)[1]
    assert main(["backends", "doctor", "tfod"]) == 5


def test_backends_without_an_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends", "install", "torch"]) == 2
    assert "has no environment. It comes with: pip install 'tlx[torch]'" in said(capsys)[1]
    assert main(["backends", "install", "tfdo"]) == 2
    assert "Did you mean 'tfod'?" in said(capsys)[1]
