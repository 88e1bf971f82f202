"""The notebooks run as they are, from the first cell to the last, in a process of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tlx.host import installed

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def cells(name: str) -> list[dict[str, Any]]:
    return list(json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"])


def code(name: str) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code"]


def run(name: str, tmp_path: Path, **environment: str) -> str:
    """Execute the code cells one after the other; a notebook's last expression is evaluated too."""
    program = (
        "import json, sys\n"
        "names = {'__name__': '__main__'}\n"
        "for number, cell in enumerate(json.load(sys.stdin)):\n"
        "    exec(compile(cell, f'<code cell {number}>', 'exec'), names)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(code(name)),
        capture_output=True,
        text=True,
        check=False,
        # Jupyter runs a notebook in its folder, which Python then imports from.
        cwd=EXAMPLES,
        env={**os.environ, "TMPDIR": str(tmp_path), "TLX_EXAMPLE_EPOCHS": "2", **environment},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_all_four_are_here() -> None:
    assert len(NOTEBOOKS) == 4


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_plain_and_cleared(name: str) -> None:
    for cell in cells(name):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert not re.search(r"^\s*[%!]", "\n".join(code(name)), re.MULTILINE)


def test_traffic_light_states(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the torch backend is not installed")
    run("1-traffic-light-states.ipynb", tmp_path)
    (folder,) = tmp_path.glob("traffic-lights-*")
    assert (folder / "sheet.png").is_file()
    metrics = json.loads((folder / "runs" / "states" / "metrics.json").read_text())
    assert {n for n, row in metrics["by_class"].items() if row["objects"]} <= {
        "go", "warning", "stop",
    }  # fmt: skip
    assert metrics["leaks"] == []


def test_two_classes_from_labelimg(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the torch backend is not installed")
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    out = run("2-two-classes-from-labelimg.ipynb", tmp_path)
    assert "val/ap50" in out
    (folder,) = tmp_path.glob("labelimg-*")
    assert (folder / "seen" / "videos" / "fruit.mp4").stat().st_size > 1000
    assert len((folder / "seen" / "predictions.jsonl").read_text().splitlines()) == 30


def test_labelbox_to_a_tested_model(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the torch backend is not installed")
    run("3-labelbox-to-a-tested-model.ipynb", tmp_path)
    (folder,) = tmp_path.glob("labelbox-*")
    assert (folder / "report.html").is_file()
    assert list((folder / "model").iterdir())


def test_coco_to_tensorflow(tmp_path: Path) -> None:
    """Up to the records everywhere; the training too where the environment is."""
    out = run("4-coco-to-tensorflow.ipynb", tmp_path)
    (folder,) = tmp_path.glob("coco-*")
    names = {path.name for path in (folder / "records").iterdir()}
    assert any("label_map" in name for name in names)
    assert any(name.startswith("train") for name in names)
    if installed().backend("tfod").availability().ok:
        assert "ssd {" in out
        assert (folder / "model" / "saved_model").is_dir()
    else:
        assert "tlx backends install tfod" in out
