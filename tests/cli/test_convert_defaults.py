"""Options of the two formats of a conversion: which are shown, and whose they are."""

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


@pytest.mark.parametrize(
    ("flags", "code", "word"),
    [
        ((), 0, ""),
        (("--from", "voc", "--exif", "keep"), 0, ""),
        (("--exif", "keep"), 2, "--exif"),
        (("--from", "voc", "--encoding", "cp1252"), 0, ""),
        (("--encoding", "cp1252"), 2, "--encoding"),
    ],
)
def test_options_of_reading_need_something_to_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    code: int,
    word: str,
) -> None:
    """An option that would do nothing is refused, not taken in silence."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.xml").write_text(XML)
    assert main(["ingest", "voc", str(tmp_path / "in"), "-o", str(tmp_path / "in.tlx")]) == 0
    path = tmp_path / ("in" if "--from" in flags else "in.tlx")
    capsys.readouterr()
    assert main(["convert", str(path), "--to", "voc", "-o", str(tmp_path / "out"), *flags]) == code
    assert word in capsys.readouterr().err


def test_the_help_tells_reading_from_writing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "x", "--from", "voc", "--to", "coco", "-o", "y", "--help"]) == 0
    page = capsys.readouterr().out
    reading, writing = page.index("Reading voc"), page.index("Writing coco")
    assert reading < page.index("--unlabelled") < writing < page.index("--ids")
    assert "Reading:" not in page
    assert main(["convert", "--help"]) == 0
    assert "OPTIONS" not in capsys.readouterr().out.partition("Parameters")[2]


def test_an_option_of_both_goes_to_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>5</ymax>"
    thing = f"<object><name>a</name><bndbox>{box}</bndbox></object></annotation>"
    (tmp_path / "in/a.xml").write_text(XML.replace("</annotation>", thing))
    words = ["convert", str(tmp_path / "in"), "--from", "voc", "--to", "voc"]
    assert main([*words, "-o", str(tmp_path / "out"), "--base", "0"]) == 0
    assert box in "".join((tmp_path / "out/Annotations/a.xml").read_text().split())
