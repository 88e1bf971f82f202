"""Formats that share the name of an option, with different defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tlx.cli import main

XML = (
    "<annotation><filename>a.png</filename><size><width>9</width><height>9</height></size>"
    "</annotation>"
)


@pytest.mark.parametrize(("flags", "images"), [((), 1), (("--unlabelled", "leave"), 1)])
def test_the_default_of_the_writer_is_no_wish_about_reading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], images: int
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.xml").write_text(XML)
    for name in ("a.png", "nobody_looked.png"):
        Image.new("1", (9, 9)).save(tmp_path / "in" / name)
    words = ["convert", str(tmp_path / "in"), "--from", "voc", "--to", "yolo", *flags]
    assert main([*words, "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == images
