"""The demo as a new user runs it: every real command, and a detector that beats chance."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tlx.dataset import Dataset

pytest.importorskip("torch", reason="the torch backend is not installed")


@pytest.mark.slow
def test_the_demo_works_and_beats_chance(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tlx.cli import main; main()", "demo", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    folder = tmp_path / "tlx-demo"
    assert result["ap50"] > 2 * result["chance_ap50"] > 0
    report = (folder / "report.html").read_text()
    assert f"{result['ap50']:.3f}" in report
    # With the colon: the letters alone may be part of a picture in base64.
    outside = [word for word in ("http:", "https:", 'src="//') if word in report]
    assert not outside, "the report needs nothing from outside"
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.size == (1500, 1125)
    assert len(list((folder / "predictions" / "pictures").iterdir())) == 6
    lights = Dataset.open(folder / "lights.tlx")
    assert set(lights.splits()) == {"train", "val", "test"}
    assert all(count > 0 for count in lights.counts.objects_by_category.values())
    # What the user is told to do next is what would work.
    assert f"tlx inspect {Path('tlx-demo/lights.tlx')} --run" in done.stderr


def test_the_demo_never_removes_what_it_did_not_make(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tlx.cli import main

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["demo", "-o", str(tmp_path / "mine"), "--overwrite"]) == 2
    assert "was not made by tlx demo" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").exists()
