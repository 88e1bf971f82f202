"""What the documents show works as they show it."""

from __future__ import annotations

import re
import shlex
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

from tlx.cli import main
from tlx.cli.commands import COMMANDS
from tlx.context import Context
from tlx.dataset import to_batches
from tlx.host import PluginHost

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
SHOWN = re.findall(r"^    (tlx (?:.*\\\n)*.*)", README, re.MULTILINE)


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_of_the_readme_exists_with_its_flags(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = shlex.split(line.replace("\\\n", " "), comments=True)[1:]
    nested = words[0] in ("ingest", "backends") or words[:2] == ["plugins", "new"]
    asked = [*words[:2], "--help"] if nested else [words[0], "--help"]
    for chooser in ("--to", "--backend"):
        if chooser in words:
            asked += [chooser, words[words.index(chooser) + 1]]
    assert main(asked) == 0
    text = capsys.readouterr().out
    flags = [word for word in words if re.fullmatch(r"-{1,2}[a-z][a-z-]*", word)]
    assert [flag for flag in flags if not re.search(rf"(?<![\w-]){flag}(?![\w-])", text)] == []


def test_the_readme_shows_every_step() -> None:
    assert {line.split()[1] for line in SHOWN} >= {
        "ingest", "split", "train", "eval", "inspect", "predict", "convert", "plugins",
    }  # fmt: skip
    assert set(COMMANDS) >= {line.split()[1] for line in SHOWN} - {"coco-results", "demo", "fetch"}


def test_the_readme_has_its_picture() -> None:
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / name).is_file()


def test_the_source_of_the_guide_works(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)[0]
    module = types.ModuleType("my_module")
    sys.modules["my_module"] = module
    try:
        exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
        host = PluginHost([metadata.EntryPoint("mine", "my_module", "tlx")])
        assert host.broken == []
        source = host.source("mine")
        (tmp_path / "labels.txt").write_text("b.jpg go 1 2 3 4\na.jpg stop 0 0 9 9\n")
        assert source.sniff(tmp_path).ok
        reading = source.read(tmp_path, source.options(), Context())
        batch = next(iter(to_batches(reading.content)))
        assert batch.column("image_id").to_pylist() == ["a.jpg", "b.jpg"]
    finally:
        del sys.modules["my_module"]
