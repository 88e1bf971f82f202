"""A package of somebody else: installed in a clean environment, used through tlx, taken away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import typing
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

from tlx.cli import main
from tlx.errors import UsageError
from tlx.host import installed
from tlx.scaffolding import Kind, scaffold

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tlx-kitti"
PATHS = [str(ROOT / part) for part in ("core", "plugins", "backends")]
LINE = "Car 0.00 0 -1.57 10.5 6.25 30.75 19.0 2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own that sees the packages of this one, so that none is fetched."""
    folder = tmp_path_factory.mktemp("third-party") / "env"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    site = next(folder.glob("lib/python*/site-packages"))
    here = sysconfig.get_path("purelib")
    lines = [*PATHS, f"import site; site.addsitedir({here!r})"]
    (site / "packages-of-the-tests.pth").write_text("\n".join(lines) + "\n")
    return folder


def pip(environment: Path, *arguments: str | Path) -> None:
    python = environment / "bin" / "python"
    quiet = ("--quiet", "--disable-pip-version-check")
    run(python, "-m", "pip", *arguments[:1], *quiet, *arguments[1:], cwd=environment)


def listing(tlx: list[str | Path], folder: Path) -> dict[str, str]:
    rows = json.loads(run(*tlx, "plugins", "--json", cwd=folder))
    assert rows["broken"] == []
    return {row["name"]: row["origin"] for row in rows["plugins"]}


@pytest.mark.skipif(
    not any(d.name == "hatchling" for d in metadata.distributions()),
    reason="hatchling builds the package, and is not installed",
)
def test_the_example_is_installed_used_and_taken_away(environment: Path, tmp_path: Path) -> None:
    code = "import sys; from tlx.cli import main; sys.exit(main())"
    tlx: list[str | Path] = [environment / "bin" / "python", "-c", code]
    assert "kitti" not in listing(tlx, tmp_path)
    source = tmp_path / "tlx-kitti"
    source.mkdir()
    shutil.copytree(EXAMPLE / "src", source / "src")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(EXAMPLE / name, source / name)
    pip(environment, "install", "--no-deps", "--no-build-isolation", source)
    assert listing(tlx, tmp_path)["kitti"] == "tlx-kitti 0.1.0"

    (tmp_path / "training/label_2").mkdir(parents=True)
    (tmp_path / "training/image_2").mkdir()
    (tmp_path / "training/label_2/000001.txt").write_text(LINE)
    Image.new("RGB", (64, 48)).save(tmp_path / "training/image_2/000001.png")
    run(*tlx, "ingest", "training", "-o", "drive.tlx", cwd=tmp_path)
    run(*tlx, "convert", "drive.tlx", "--to", "coco", "-o", "coco", cwd=tmp_path)
    written = json.loads((tmp_path / "coco/annotations/instances.json").read_text())
    assert [a["bbox"] for a in written["annotations"]] == [[10.5, 6.25, 20.25, 12.75]]
    run(*tlx, "convert", "drive.tlx", "--to", "kitti", "-o", "again", cwd=tmp_path)
    again = (tmp_path / "again/label_2/000001.txt").read_text().split()
    assert again[0] == "Car"
    assert [*map(float, again[1:])] == [*map(float, LINE.split()[1:])]

    pip(environment, "uninstall", "--yes", "tlx-kitti")
    assert "kitti" not in listing(tlx, tmp_path)
    run(*tlx, "convert", "drive.tlx", "--to", "kitti", "-o", "gone", cwd=tmp_path, code=2)


def test_the_example_passes_its_own_tests(tmp_path: Path) -> None:
    paths = os.pathsep.join(PATHS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(EXAMPLE)],
        cwd=EXAMPLE,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("kind", typing.get_args(Kind))
def test_a_new_package_works_at_once(kind: Kind, tmp_path: Path) -> None:
    folder = scaffold("my-lights", kind, tmp_path / "new")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS), "MYPYPATH": PATHS[0]}
    fast = "field or class or damaged or name" if kind == "format" else ""
    for command in (
        ["pytest", "-q", "-x", "-k", fast],
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "--cache-dir", str(tmp_path.parent / "mypy")],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Voc", "cannot be the name"),
        ("my_lights", "cannot be the name"),
        ("../up", "cannot be the name"),
        ("class", "cannot be the name"),
        ("-rf", "cannot be the name"),
        ("plugins", "exists already"),
        ("lisa", "the source 'lisa' exists already, in tlx"),
        ("voc", "the format 'voc' exists already, in tlx"),
    ],
)
def test_names_that_cannot_be(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        scaffold(name, "source", tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tlx-mine").mkdir()
    assert main(["plugins", "new", "mine"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not list((tmp_path / "tlx-mine").iterdir())
    assert main(["plugins", "new", "mine", "-o", "other", "--json"]) == 0
    assert "pyproject.toml" in json.loads(capsys.readouterr().out)["files"]


BREAKS = {
    "does not import": "import a_package_that_is_not_there\n",
    "fails at import": "raise RuntimeError('no luck')\n",
    "has no such hook": (
        "from tlx.hooks import hookimpl\n\n\n@hookimpl\ndef tlx_formatz():\n    return []\n"
    ),
    "a backend that fails": (
        "from tlx.hooks import hookimpl\nfrom tlx.toys.toy_backend import ToyBackend\n\n\n"
        "class Bad(ToyBackend):\n    def availability(self):\n        raise OSError('no')\n\n\n"
        "@hookimpl\ndef tlx_backends():\n    return [Bad()]\n"
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_package_is_named_and_breaks_no_command(
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = f"broken_{len(what)}"
    (tmp_path / f"{module}.py").write_text(BREAKS[what])
    facts = tmp_path / f"{module}-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text(f"[tlx]\nbroken = {module}\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    try:
        assert main(["plugins", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        states = [row["state"] for row in told["plugins"] if row["origin"] == f"{module} 1.2"]
        reasons = [row["reason"] for row in told["broken"] if row["origin"] == f"{module} 1.2"]
        assert len(states + reasons) == 1
        assert "no" in (states + reasons)[0].lower()
        assert "voc" in [row["name"] for row in told["plugins"]]
        for command in (["convert", "--help"], ["ingest", "voc", "--help"], ["backends"]):
            assert main(command) == 0
    finally:
        installed.cache_clear()
