"""The wheel, installed in a clean environment without extras, does what it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = "dayTest/daySequence1--00000.jpg;stop;706;478;718;500;dayTest/daySequence1/a.mp4;0;b.mp4;0"
HEADER = (
    "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
    "Lower right corner Y;Origin file;Origin frame number;Origin track;Origin track frame number"
)


def run(*command: str | Path, cwd: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_all_three_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"tlx", "tlx_plugins", "tlx_backends"}
    for package, folder in (
        ("tlx", "core"),
        ("tlx_plugins", "plugins"),
        ("tlx_backends", "backends"),
    ):
        sources = {
            p.relative_to(ROOT / folder).as_posix() for p in (ROOT / folder / package).rglob("*.py")
        }
        assert sources <= set(names)
        assert f"{package}/py.typed" in names
    assert "tlx_backends/tensorflow/requirements.txt" in names


@pytest.mark.slow
def test_it_works_in_a_clean_environment_without_extras(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    tlx = tmp_path / "env" / "bin" / "tlx"
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert "ingest" in run(tlx, "--help", cwd=tmp_path)

    clip = tmp_path / "LISA" / "Annotations" / "Annotations" / "daySequence1"
    clip.mkdir(parents=True)
    (clip / "frameAnnotationsBOX.csv").write_text(f"{HEADER}\n{ROW}\n")
    frames = tmp_path / "LISA" / "daySequence1" / "daySequence1" / "frames"
    frames.mkdir(parents=True)
    code = "from PIL import Image; import sys; Image.new('RGB', (1280, 960)).save(sys.argv[1])"
    run(python, "-c", code, frames / "daySequence1--00000.jpg", cwd=tmp_path)

    run(tlx, "ingest", "lisa", "LISA", "-o", "lights.tlx", cwd=tmp_path)
    run(tlx, "convert", "lights.tlx", "--to", "coco", "-o", "coco", cwd=tmp_path)
    written = json.loads(next((tmp_path / "coco").rglob("*.json")).read_text())
    assert [a["bbox"] for a in written["annotations"]] == [[706, 478, 12, 22]]

    missing = subprocess.run(
        [tlx, "train", "lights.tlx", "--model", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 5
    assert "pip install 'tlx[torch]'" in missing.stderr
