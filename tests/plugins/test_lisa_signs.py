"""The LISA sign set, made up from the published header and row shapes; no real file is public."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx import pipeline
from tlx.context import Context
from tlx.errors import DataError, TlxError
from tlx.issues import IssueLog
from tlx.model import Record
from tlx_plugins.sources.lisa_signs import LisaSignOptions, LisaSignSource

HEADER = (
    "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
    "Lower right corner Y;Occluded,On another road;Origin file;Origin frame number;Origin track;"
    "Origin track frame number"
)
CLIP = "aiua120214-0/frameAnnotations-DataLog02142012_external_camera.avi_annotations"
VIDEO = "aiua120214-0/DataLog02142012_external_camera.avi"


def row(name: str, tag: str, box: str, flags: str = "0,0", frame: int = 2667) -> str:
    track = name.partition(".avi")[0]
    return f"{CLIP}/{name};{tag};{box};{flags};{VIDEO};{frame};{track}.avi;2"


ROWS = [
    row("stop_1330545910.avi_image0.png", "stop", "862;104;916;158"),
    row("stop_1330545910.avi_image1.png", "stop", "880;101;937;153", "1,0", 2672),
    row("stop_1330545910.avi_image1.png", "pedestrianCrossing", "10;20;30;44", "0,1", 2672),
    row("signalAhead_133.avi_image0.png", "signalAhead", "5;5;25;25", frame=10),
]


def archive(root: Path, rows: list[str] = ROWS, *, header: str = HEADER) -> Path:
    (root / CLIP).mkdir(parents=True)
    for name in {line.split(";")[0] for line in ROWS}:
        Image.new("RGB", (1024, 522)).save(root / name)
    (root / "negatives" / "negativePics").mkdir(parents=True)
    Image.new("L", (704, 480)).save(root / "negatives" / "negativePics" / "nosign001.png")
    (root / "allAnnotations.csv").write_bytes("\r\n".join([header, *rows, ""]).encode())
    return root


def read(root: Path, policy: str = "fail", **options: Any) -> tuple[list[Record], IssueLog]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = LisaSignSource().read(root, LisaSignOptions(**options), context)
    return list(reading.content), context.issues  # type: ignore[arg-type]


def test_every_row_is_a_sign(tmp_path: Path) -> None:
    root = archive(tmp_path)
    records, issues = read(root)
    with (root / "allAnnotations.csv").open(newline="") as file:
        table = list(csv.DictReader(file, delimiter=";"))
    wanted = Counter(
        (r["Filename"], r["Annotation tag"], float(r["Upper left corner X"]),
         float(r["Lower right corner Y"]), r["Occluded,On another road"])
        for r in table
    )  # fmt: skip
    got = Counter(
        (r.uri, o.category, o.box.xmin, o.box.ymax,
         f"{o.occluded:d},{o.attributes['on_another_road']:d}")
        for r in records for o in r.objects if o.box
    )  # fmt: skip
    assert got == wanted
    assert not issues.total
    assert [r.uri for r in records][-1] == "negatives/negativePics/nosign001.png"
    assert {(r.width, r.height) for r in records} == {(1024, 522), (704, 480)}
    first = next(r for r in records if r.uri.endswith("910.avi_image1.png"))
    assert (first.group, first.frame) == (VIDEO, 2672)
    assert first.objects[0].track == "stop_1330545910.avi"


def test_it_is_recognised_and_nothing_else_claims_it(tmp_path: Path) -> None:
    root = archive(tmp_path / "signs")
    assert pipeline.detect(root) == "lisa-signs"
    assert pipeline.detect(root / "allAnnotations.csv") == "lisa-signs"


def test_the_table_of_one_folder_has_bare_names_and_the_extension_no_flags(tmp_path: Path) -> None:
    root = archive(tmp_path)
    (root / "allAnnotations.csv").unlink()
    lines = [r.removeprefix(f"{CLIP}/").replace(";0,0;", ";").replace(";1,0;", ";") for r in ROWS]
    lines = [line.replace(";0,1;", ";") for line in lines]
    header = HEADER.replace("Occluded,On another road;", "")
    (root / CLIP / "frameAnnotations.csv").write_text("\n".join([header, *lines]))
    records, _ = read(root, negatives=False)
    assert sum(len(r.objects) for r in records) == 4
    assert all(o.occluded is None for r in records for o in r.objects)
    assert pipeline.detect(root) == "lisa-signs"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (ROWS[0], "duplicate-row"),
        (row("stop_1330545910.avi_image0.png", "stop", "862;104;916;158", frame=1),
         "duplicate-object"),
        (row("stop_1330545910.avi_image0.png", "stop", "9;104;9;158"), "degenerate-box"),
        (row("stop_1330545910.avi_image0.png", "stop", "9;104;x;158"), "bad-corner"),
        (row("stop_1330545910.avi_image0.png", "stop", "9;104;nan;158"), "bad-corner"),
        (row("stop_1330545910.avi_image0.png", "stop", "9;104;2000;158"), "box-outside"),
        (row("stop_1330545910.avi_image0.png", "", "9;104;20;158"), "no-tag"),
        (row("absent.png", "stop", "9;104;20;158"), "missing-image"),
        ("a.png;stop;1;2", "wrong-columns"),
        ('a.png;"stop;1;2', "bad-row"),
    ],
)  # fmt: skip
def test_bad_rows_are_counted_with_their_line(tmp_path: Path, line: str, code: str) -> None:
    records, issues = read(archive(tmp_path, [*ROWS, line]), "skip")
    assert issues.counts[code] == 1
    kept = next(issue for issue in issues.kept if issue.code == code)
    assert kept.line == len(ROWS) + 2
    assert len(records) == 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Filename;Annotation tag\r\nx;y",
        "\r\n".join([HEADER, *ROWS]).encode("utf-16")[:-7],
        ("\r\n".join([HEADER, *ROWS]) + "\r\n\xe9.png;st\xf6p;1;2;3;4;0,0;a;1;b;2").encode(
            "cp1252"
        ),
    ],
)
def test_what_is_no_table_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    root = archive(tmp_path)
    (root / "allAnnotations.csv").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read(root)
    assert caught.value.place is not None


def test_other_encodings_are_read(tmp_path: Path) -> None:
    text = "\r\n".join([HEADER, *ROWS])
    for number, data in enumerate([text.encode("utf-16"), text.encode("utf-8-sig")]):
        root = archive(tmp_path / str(number))
        (root / "allAnnotations.csv").write_bytes(data)
        assert sum(len(r.objects) for r in read(root)[0]) == 4
        assert pipeline.detect(root) == "lisa-signs"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(ROWS),
            st.text(st.characters(codec="utf-8"), max_size=60),
            st.binary(max_size=40).map(lambda b: b.decode("latin-1")),
        ),
        max_size=12,
    )
)
def test_no_table_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str]
) -> None:
    root = tmp_path_factory.mktemp("signs")
    text = "\n".join([HEADER, *rows])
    (root / "allAnnotations.csv").write_bytes(text.encode("utf-8", "replace"))
    try:
        records, issues = read(root, "skip")
    except TlxError:
        return
    good = {line for line in text.replace("\r", "\n").split("\n") if line in ROWS}
    assert sum(len(r.objects) for r in records) >= len(good) or issues.total
