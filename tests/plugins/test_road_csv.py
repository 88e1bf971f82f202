"""Road surveys: real iRAP workbooks, and tables judged by the csv module and by hand."""

from __future__ import annotations

import csv
import random
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx import pipeline
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import IssueLog
from tlx.model import BAG, Record
from tlx.splitting import audit
from tlx_plugins.sources.road_csv import RoadCsvSource, RoadOptions
from tlx_plugins.sources.road_segments import Network, Segment
from tlx_plugins.sources.road_units import metres, stated_unit

SEGMENTS = """road,from,to,potholes,guard rail,surface
A1,0,100,1,0,asphalt
A1,100,200,0,1,
A1,200,300,,1,gravel
"""


def images(count: int = 31, step: float = 10.0, road: str = "a 1") -> str:
    rows = [f"img{n:03d}.jpg,{road},{n * step:g}" for n in range(count)]
    return "\n".join(["image,road,chainage", *rows, ""])


def survey(folder: Path, **tables: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        data = text if isinstance(text, bytes) else text.encode()
        (folder / f"{name}.csv").write_bytes(data)
    return folder


def read(root: Path, policy: str = "fail", **options: Any) -> tuple[list[Record], IssueLog]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = RoadCsvSource().read(root, RoadOptions(**options), context)
    return list(reading.content), context.issues  # type: ignore[arg-type]


def labels(record: Record) -> dict[str, bool | None]:
    return {label.category: label.present for label in record.labels}


def cells_by_hand(path: Path) -> list[dict[int, str]]:
    """The cells of a workbook's first sheet by their column, from its XML alone."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as archive:
        sheet = ET.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    rows = []
    for row in sheet.iter(f"{space}row"):
        cells = {}
        for cell in row:
            value = cell.findtext(f"{space}v") or "".join(
                t.text or "" for t in cell.iter(f"{space}t")
            )
            letters = re.match("[A-Z]+", cell.get("r", ""))
            if value and letters:
                column = 0
                for letter in letters[0]:
                    column = 26 * column + ord(letter) - 64
                cells[column - 1] = value
        rows.append(cells)
    return rows


def test_the_real_irap_sheet_names_its_images(shared_data: Path) -> None:
    pytest.importorskip("openpyxl")
    path = shared_data / "road_irap" / "PlanRefPreenchida.xlsx"
    rows = cells_by_hand(path)
    header = rows[0]
    columns = [c for c, title in header.items() if re.match(r"(left|centre|right) - \d+", title)]
    per_row = [{cells[c] for c in columns if c in cells} for cells in rows[1:]]
    wanted: dict[str, int] = {}
    for number, names in enumerate(per_row, start=2):
        for name in names:
            wanted.setdefault(name, number)
    records, issues = read(path, "skip")
    assert {r.uri: r.attributes[BAG] for r in records} == {
        name: f"PlanRefPreenchida.xlsx:{line}" for name, line in wanted.items()
    }
    assert len(records) == 1196
    cameras = Counter(str(r.attributes["camera"]) for r in records)
    assert set(cameras) <= {"left", "centre", "right"}
    some = next(r for r in records if r.uri == "GPAD0130.JPG")
    assert (some.attributes["camera"], some.attributes["offset_m"]) == ("centre", 20)
    assert some.attributes["latitude"] == pytest.approx(-23.57367008145195)
    assert issues.lost == issues.counts["image-twice"]
    assert pipeline.detect(path) == "road-csv"
    assert pipeline.detect(shared_data / "road_irap") == "road-csv"


def test_one_segment_labels_its_ten_images(tmp_path: Path) -> None:
    root = survey(tmp_path / "r", segments=SEGMENTS, images=images())
    records, issues = read(root)
    with (root / "segments.csv").open() as file:
        table = list(csv.DictReader(file))
    states = {"1": True, "0": False, "": None}
    for record in records:
        position = float(str(record.attributes["chainage_m"]))
        row = next(
            r for r in table if float(r["from"]) <= position < float(r["to"]) or (position == 300
            and r["to"] == "300")
        )  # fmt: skip
        assert labels(record) == {k: states[row[k]] for k in ("potholes", "guard rail")}
        assert record.group == f"A1 {row['from']}-{row['to']}" == record.attributes[BAG]
        assert record.attributes.get("surface", "") == row["surface"]
    assert Counter(r.group for r in records) == {"A1 0-100": 10, "A1 100-200": 10,
                                                 "A1 200-300": 11}  # fmt: skip
    assert [r.frame for r in records[:11]] == [*range(10), 0]
    assert set(issues.counts) == {"missing-image"}
    assert pipeline.detect(root) == "road-csv"


@pytest.mark.parametrize("by", ["sequence", "image"])
def test_no_split_parts_a_segment(tmp_path: Path, by: Any) -> None:
    rows = [f"A1,{n * 100},{n * 100 + 100},{n % 2},{n % 3 == 0:d}" for n in range(20)]
    root = survey(
        tmp_path / "r",
        segments="\n".join(["road,from,to,a,b", *rows]),
        images=images(200),
    )
    for group in ("segment", "stretch"):
        made = tmp_path / f"{group}.tlx"
        pipeline.ingest("road-csv", root, made, options={"group": group, "stretch": 300.0})
        pipeline.split(made, by=by, ratios="train=0.5,val=0.5")
        where: dict[object, set[str | None]] = {}
        for record in Dataset.open(made).records():
            where.setdefault(record.attributes[BAG], set()).add(record.split)
        assert len(where) == 20
        assert all(len(splits) == 1 for splits in where.values())
        kinds = {leak.kind for leak in audit(Dataset.open(made))}
        assert not kinds - ({"group"} if by == "image" and group == "stretch" else set())


@pytest.mark.parametrize(
    ("title", "text", "unit", "expected"),
    [
        ("from_km", "0.1", "km", 100.0),
        ("Start (m)", "1.250,5", None, None),
        ("from", "12+300", "m", 12300.0),
        ("to [km]", "1,1", "km", 1100.0),
        ("end mile", "1", "mile", 1609.344),
        ("from", "nan", "m", None),
        ("from", "-5", "m", -5.0),
        ("from", "1e3", "m", None),
    ],
)
def test_positions(title: str, text: str, unit: str | None, expected: float | None) -> None:
    if unit not in {None, "m"}:
        assert stated_unit(title) == unit
    assert metres(text, unit or "m") == expected


def test_kilometres_are_seen_or_asked_for(tmp_path: Path) -> None:
    in_km = SEGMENTS.replace("100", "0.1").replace("200", "0.2").replace("300", "0.3")
    root = survey(tmp_path / "a", segments=in_km, images=images())
    with pytest.raises(DataError, match="look like km"):
        read(root)
    assert len(read(root, units="km")[0]) == 31
    named = in_km.replace("from,to", "from_km,to_km")
    assert len(read(survey(tmp_path / "b", segments=named, images=images()))[0]) == 31
    root = survey(tmp_path / "c", segments=SEGMENTS, images=images(31, 0.01))
    with pytest.raises(DataError, match="positions of the images look like km"):
        read(root)
    assert len(read(root, image_units="km")[0]) == 31
    root = survey(tmp_path / "d", segments=SEGMENTS.replace("from", "from_km"), images=images())
    with pytest.raises(DataError, match="look like m"):
        read(root)


def test_what_does_not_fit_is_counted_with_its_place(tmp_path: Path) -> None:
    table = """road,direction,from,to,a
A1,L,0,100,1
A1,R,0,100,0
A1,L,90,200,0
A1,L,300,400,1
A1,L,500,400,1
A1,L,600,600,1
A1,L,x,700,1
,L,700,800,1
A1,L,0,100,1
A1,L,0,100,0
A1,L,1,2
B2,,0,100,1
"""
    sights = """image,road,direction,chainage
a.jpg,A1,L,95
b.jpg,A1,,50
c.jpg,A1,R,50
d.jpg,A1,L,250
e.jpg,C3,L,50
f.jpg,A1,L,nan
g.jpg,A1,X,50
h.jpg,B2,forward,50
h.jpg,B2,forward,50
h.jpg,B2,forward,60
"""
    records, issues = read(survey(tmp_path / "r", segments=table, images=sights), "skip")
    lines = {issue.code: issue.line for issue in reversed(issues.kept) if issue.line}
    expected = {
        "overlapping-segments": 4, "gap": 5, "reversed-segment": 6, "empty-segment": 7,
        "bad-position": 7, "no-road": 9, "duplicate-row": 10, "conflicting-label": 11,
        "wrong-columns": 12, "ambiguous-carriageway": 3, "image-twice": 11,
    }  # fmt: skip
    assert {code: lines.get(code) for code in expected} == expected
    assert issues.counts["outside-segments"] == 3
    assert issues.counts["no-images"] == 3
    found = {r.uri: labels(r)["a"] for r in records}
    assert found == {"a.jpg": False, "c.jpg": False, "h.jpg": True}
    with pytest.raises(DataError):
        read(tmp_path / "r")


def test_images_outside_can_stay_without_labels(tmp_path: Path) -> None:
    root = survey(tmp_path / "r", segments=SEGMENTS, images=images(40))
    kept, issues = read(root, unlabelled="keep")
    assert len(kept) == 40
    assert issues.counts["outside-segments"] == 9
    assert sum(not r.labels and r.group is None for r in kept) == 9
    assert len(read(root, unlabelled="leave-out")[0]) == 31
    with pytest.raises(DataError, match="no segment of a 1 is at 310 m"):
        read(root)


CODES = """attribute,code,name
Delineation,1,adequate
Delineation,2,poor
Street lighting,1,not present
Street lighting,2,present
"""


def test_codes_mean_what_the_book_says(tmp_path: Path) -> None:
    table = """Road_name;Section;Distance;Length;Delineation;street_lighting;Number of lanes;Grade
A1;3;0,0;0,1;2;1;2;1
A1;3;0,1;0,1;1.0;2;1;1
A1;3;0,2;0,1;;7;1;1
"""
    sights = images(30).replace("a 1", "A1,3").replace("road,", "road,section,")
    root = survey(tmp_path / "r", upload=table, book=CODES, images=sights)
    records, issues = read(root, "skip")
    assert labels(records[0]) == {
        "Delineation/adequate": False, "Delineation/poor": True, "Street lighting": False,
    }  # fmt: skip
    assert labels(records[10])["Street lighting"] is True
    assert set(labels(records[20]).values()) == {None}
    assert issues.counts["unknown-code"] == 1
    # A column that only holds 1 is a code here, not a label that is everywhere.
    assert records[0].attributes["Number of lanes"] == 2
    assert records[0].attributes["Grade"] == 1
    assert issues.counts["not-a-label"] == 1
    (root / "book.csv").write_text(CODES + "Delineation,2,good\n")
    with pytest.raises(DataError, match="means 'good' here and 'poor' above"):
        read(root, "skip")


def test_coded_images_need_no_segments(tmp_path: Path) -> None:
    table = "image,Delineation,street lighting,note\na.jpg,2,1,wet\nb.jpg,1,2,\nb.jpg,2,2,\n"
    root = survey(tmp_path / "r", table=table, book=CODES)
    assert pipeline.detect(root) == "road-csv"
    records, issues = read(root, "skip")
    assert [labels(r) for r in records] == [
        {"Delineation/adequate": False, "Delineation/poor": True, "Street lighting": False},
        {"Delineation/adequate": True, "Delineation/poor": False, "Street lighting": True},
    ]
    assert issues.counts["conflicting-label"] == 2
    assert records[0].attributes == {"note": "wet"}
    assert all(r.group is None for r in records)
    (root / "book.csv").rename(tmp_path / "codes.csv")
    assert len(read(root / "table.csv", "skip", codes=str(tmp_path / "codes.csv"))[0]) == 2


def test_the_labels_that_are_wanted_are_read(tmp_path: Path) -> None:
    root = survey(tmp_path / "r", segments=SEGMENTS, images=images())
    records, issues = read(root, labels="Guard-Rail")
    assert labels(records[0]) == {"guard rail": False}
    assert "potholes" not in records[0].attributes
    assert issues.counts["other-labels"] == 1
    with pytest.raises(UsageError, match="has the column 'cracks'"):
        read(root, labels="cracks")


def test_labels_in_one_cell_and_in_several_rows(tmp_path: Path) -> None:
    cell = "road,from,to,label\nA1,0,100,pothole|crack\nA1,100,200,\n"
    root = survey(tmp_path / "a", segments=cell, images=images(20))
    records, _ = read(root, separator="|")
    assert labels(records[0]) == {"pothole": True, "crack": True}
    assert labels(records[10]) == {}
    rows = "road,from,to,label\nA1,0,100,pothole\nA1,0,100,crack\nA1,100,200,crack\n"
    root = survey(tmp_path / "b", segments=rows, images=images(20))
    assert labels(read(root)[0][0]) == {"pothole": True, "crack": True}


def test_names_of_images_say_where_they_are(tmp_path: Path) -> None:
    root = survey(tmp_path / "r", segments=SEGMENTS)
    for position in (5, 150, 299):
        Image.new("RGB", (64, 48)).save(root / f"A1_left_{position:06d}.jpg")
    records, _ = read(root, pattern="{road}_{camera}_{chainage}")
    assert [(r.attributes["chainage_m"], r.group) for r in records] == [
        (5.0, "A1 0-100"), (150.0, "A1 100-200"), (299.0, "A1 200-300"),
    ]  # fmt: skip
    assert {(r.width, r.attributes["camera"]) for r in records} == {(64, "left")}
    with pytest.raises(DataError, match="3 segments and 3 images, and nothing says"):
        read(root)
    with pytest.raises(UsageError, match="has no {chainage}"):
        read(root, pattern="{road}")
    Image.new("RGB", (8, 8)).save(root / "holiday.jpg")
    with pytest.raises(DataError, match="does not fit --pattern"):
        read(root, pattern="{road}_{camera}_{chainage}")


def test_images_are_looked_for_when_there_are_any(tmp_path: Path) -> None:
    root = survey(tmp_path / "r", segments=SEGMENTS, images=images(3))
    (root / "photos").mkdir()
    for number in range(2):
        Image.new("RGB", (32, 24)).save(root / "photos" / f"img{number:03d}.jpg")
    records, issues = read(root, "skip")
    assert [r.uri for r in records] == ["photos/img000.jpg", "photos/img001.jpg"]
    assert records[0].width == 32
    assert issues.counts["missing-image"] == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_encodings_line_ends_and_windows_paths(tmp_path: Path, encoding: str) -> None:
    text = SEGMENTS.replace("A1", "Straße 1").replace("\n", "\r\n")
    sights = images(road="STRASSE 1").replace("img", "fotos\\img")
    root = survey(tmp_path / "r", segments=text.encode(encoding), images=sights)
    if encoding == "cp1252":
        with pytest.raises(DataError, match="--encoding|is not UTF-8"):
            read(root)
    records, _ = read(root, encoding="cp1252" if encoding == "cp1252" else None)
    assert len(records) == 31
    assert records[0].uri == "fotos/img000.jpg"


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0", b"road,from\nA1,0", b"PK\x03\x04", b"road,from,to\n", b"\xff\xfer\0o\0a"],
)
def test_what_is_no_table_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    root = survey(tmp_path / "r", segments=data)
    with pytest.raises(TlxError):
        list(pipeline.ingest("road-csv", root, tmp_path / "x.tlx").records())
    assert not (tmp_path / "x.tlx").exists()


def test_a_hostile_workbook_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"\0" * (200 << 20))
    with pytest.raises(DataError, match="zip bomb"):
        read(path)
    path.write_bytes(b"PK\x03\x04 not a workbook")
    with pytest.raises(DataError):
        read(path)


POSITIONS = st.integers(0, 2000).map(lambda n: n / 2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(POSITIONS, POSITIONS), max_size=12), st.lists(POSITIONS, max_size=20))
def test_a_position_lies_on_the_segment_that_begins_last(
    ends: list[tuple[float, float]], positions: list[float]
) -> None:
    segments = [
        Segment("A", "", min(pair), max(pair), line=n)
        for n, pair in enumerate(ends)
        if pair[0] != pair[1]
    ]
    network = Network(segments)
    for position in positions:
        inside = [s for s in segments if s.start <= position < s.end]
        got = network.at("a", "", position)
        if inside:
            assert got is not None
            assert got in inside
            assert got.start == max(s.start for s in inside)
        elif got is not None:
            assert got.end == position


PIECES = st.one_of(
    st.sampled_from(SEGMENTS.split("\n")),
    st.lists(
        st.sampled_from(["A1", "0", "100", "nan", "-1", "1e9", "", "12+300", '"', "\0", "é", "1"]),
        max_size=8,
    ).map(",".join),
    st.text(max_size=30),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=10), st.lists(PIECES, max_size=6))
def test_no_table_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, first: list[str], second: list[str]
) -> None:
    root = tmp_path_factory.mktemp("r")
    head, sights = SEGMENTS.split("\n", maxsplit=1)[0], "image,road,chainage"
    survey(
        root,
        segments="\n".join([head, *first]).encode("utf-8", "replace"),
        images="\n".join([sights, *second]).encode("utf-8", "replace"),
    )
    try:
        records, _ = read(root, "skip", unlabelled="keep")
    except TlxError:
        return
    assert len({r.image_id for r in records}) == len(records)


def test_cut_and_flipped_bytes_end_in_an_error_or_a_result(tmp_path: Path) -> None:
    dice = random.Random(5)
    good = SEGMENTS.encode()
    for _ in range(120):
        data = bytearray(good[: dice.randrange(len(good))] if dice.random() < 0.3 else good)
        for _ in range(dice.randrange(4)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        survey(tmp_path, segments=bytes(data), images=images())
        try:
            read(tmp_path, "skip")
        except TlxError:
            continue


def photo(path: Path, latitude: float, longitude: float) -> None:
    """An image with the position that a camera would write."""
    image = Image.new("RGB", (32, 24))
    exif = Image.Exif()

    def angle(value: float) -> tuple[float, float, float]:
        minutes = abs(value) % 1 * 60
        return float(int(abs(value))), float(int(minutes)), round(minutes % 1 * 60, 4)

    exif[0x8825] = {
        1: "S" if latitude < 0 else "N", 2: angle(latitude),
        3: "W" if longitude < 0 else "E", 4: angle(longitude),
    }  # fmt: skip
    image.save(path, exif=exif)


def test_cameras_that_know_where_they_are(tmp_path: Path) -> None:
    # A road that runs north from 23.57 degrees south; 0.0009 degrees are 100.1 m.
    rows = [f"A1,{n * 100},{n * 100 + 100},{n % 2},{-23.57 + n * 0.0009},-46.71" for n in range(5)]
    head = "road,from,to,crack,latitude,longitude"
    root = survey(tmp_path / "r", segments="\n".join([head, *rows]))
    rng = random.Random(3)
    expected = {}
    for number in range(12):
        along = rng.uniform(5, 395)
        photo(root / f"{number:02d}.jpg", -23.57 + along / 111_195, -46.71 + rng.uniform(0, 1e-4))
        expected[f"{number:02d}.jpg"] = int(along // 100.08)
    records, _ = read(root, gps=30.0)
    got = {r.uri: int(float(str(r.attributes["segment_from_m"])) // 100) for r in records}
    assert got == expected
    assert max(float(str(r.attributes["distance_m"])) for r in records) < 10.5
    photo(root / "far.jpg", -23.0, -46.71)
    Image.new("RGB", (8, 8)).save(root / "nowhere.jpg")
    records, issues = read(root, "skip", gps=30.0)
    assert len(records) == 12
    assert issues.counts["outside-segments"] == issues.counts["no-position"] == 1
    # Another road two metres away: nobody can tell them apart.
    twin = [row.replace("A1,", "B2,").replace("-46.71", "-46.70998") for row in rows]
    survey(root, segments="\n".join([head, *rows, *twin]))
    assert read(root, "skip", gps=30.0)[1].counts["ambiguous-position"] == 12
    survey(root, segments=SEGMENTS)
    with pytest.raises(UsageError, match="latitude and a longitude"):
        read(root, gps=30.0)


def test_a_table_of_images_may_know_gps_only(tmp_path: Path) -> None:
    table = "road,from,to,crack,lat,lon\nA1,0,100,1,50.0,8.0\nA1,100,200,0,50.0009,8.0\n"
    sights = "image,latitude,longitude\na.jpg,50.0001,8.0\nb.jpg,50.0009,8.0001\n"
    root = survey(tmp_path / "r", segments=table, images=sights)
    records, _ = read(root, gps=20.0)
    assert [(r.uri, r.group) for r in records] == [("a.jpg", "A1 0-100"), ("b.jpg", "A1 100-200")]
    with pytest.raises(DataError, match="GPS position only"):
        read(root)
