"""The LISA source on trees in the archive's layout.

No LISA file is public without registration. The rows in REAL_DAY, REAL_BULB and REAL_PNG are real,
quoted in public sources; everything else here is generated in the same form.
"""

from __future__ import annotations

import contextlib
import csv
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx.context import Context
from tlx.dataset import Operation, write_dataset
from tlx.errors import DataError, UsageError
from tlx.issues import IssueLog
from tlx.model import Box, Record
from tlx_plugins.sources.lisa import TAXONOMY, LisaOptions, LisaSource
from tlx_plugins.sources.lisa_csv import HEADER, TAGS, read_rows

HEAD = ";".join(HEADER)
VIDEO = "dayTest/daySequence1/Day1EveningShutter0.000200-Gain-0.mp4"
REAL_DAY = f"dayTest/daySequence1--00000.jpg;stop;706;478;718;500;{VIDEO};0;{VIDEO};0"
REAL_BULB = f"dayTest/daySequence1--00000.jpg;stop;710;481;714;486;{VIDEO};0;{VIDEO};0"
REAL_PNG = (
    "nightTraining/nightClip1--00000.png;go;656;300;667;313;nightTraining/nightClip1/clip1.mp4;0;"
    "nightTraining/nightClip1/clip1.mp4;0"
)
DAY = "Annotations/Annotations/dayTrain/dayClip1"


def row(frame: int, tag: str = "go", box: str = "10;20;30;60", clip: str = "dayClip1") -> str:
    video = f"dayTraining/{clip}/{clip}.mp4"
    return f"dayTraining/{clip}--{frame:05d}.jpg;{tag};{box};{video};{frame};{video};{frame}"


def labels(root: Path, folder: str, *rows: str, name: str = "frameAnnotationsBOX.csv") -> Path:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEAD, *rows, ""]))
    return path


def frames(root: Path, folder: str, clip: str, count: int, suffix: str = ".jpg") -> None:
    target = root / folder
    target.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (128, 96)).save(target / f"{clip}--{number:05d}{suffix}")


def read(root: Path, policy: str = "fail", **options: object) -> tuple[list[Record], IssueLog]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = LisaSource().read(root, LisaOptions(**options), context)  # type: ignore[arg-type]
    return list(reading.content), context.issues  # type: ignore[arg-type]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "LISA"
    labels(root, DAY, row(0), row(0, "stop", "40;20;50;44"), row(2, "warningLeft"))
    labels(root, DAY, row(0, box="15;25;20;30"), name="frameAnnotationsBULB.csv")
    frames(root, "dayTrain/dayTrain/dayClip1/frames", "dayClip1", 4)
    labels(root, "Annotations/Annotations/dayTrain/dayClip10", row(0, clip="dayClip10"))
    frames(root, "dayTrain/dayTrain/dayClip10/frames", "dayClip10", 1)
    labels(root, "Annotations/Annotations/dayTrain/dayClip2", row(0, clip="dayClip2"))
    frames(root, "dayTrain/dayTrain/dayClip2/frames", "dayClip2", 1)
    labels(
        root,
        "Annotations/Annotations/daySequence1",
        REAL_DAY.replace("706;478;718;500", "7;8;9;19"),
    )
    frames(root, "daySequence1/daySequence1/frames", "daySequence1", 2)
    return root


def test_the_archive_as_it_is(archive: Path) -> None:
    records, issues = read(archive)
    assert [r.image_id for r in records] == [
        "daySequence1/daySequence1--00000.jpg",
        "daySequence1/daySequence1--00001.jpg",
        "dayTrain/dayClip1/dayClip1--00000.jpg",
        "dayTrain/dayClip1/dayClip1--00001.jpg",
        "dayTrain/dayClip1/dayClip1--00002.jpg",
        "dayTrain/dayClip1/dayClip1--00003.jpg",
        "dayTrain/dayClip2/dayClip2--00000.jpg",
        "dayTrain/dayClip10/dayClip10--00000.jpg",
    ]
    assert issues.total == 0
    assert all((archive / r.uri).is_file() for r in records)
    first = records[2]
    assert (first.width, first.height, first.group, first.frame) == (128, 96, "dayClip1", 0)
    assert first.attributes == {
        "sequence": "dayTrain",
        "illumination": "day",
        "official_split": "train",
    }
    assert first.split is None
    assert [o.category for o in first.objects] == ["go", "stop"]
    assert first.objects[1].box == Box(40, 20, 50, 44)
    assert first.objects[1].line == 3
    assert first.objects[0].attributes == {
        "box_kind": "box",
        "origin_file": "dayTraining/dayClip1/dayClip1.mp4",
        "origin_frame": 0,
        "origin_track": "dayTraining/dayClip1/dayClip1.mp4",
        "origin_track_frame": 0,
    }
    assert records[3].objects == ()
    assert records[0].attributes["official_split"] == "test"


@pytest.mark.parametrize(
    "part",
    ["Annotations", "Annotations/Annotations/dayTrain", DAY, f"{DAY}/frameAnnotationsBOX.csv"],
)
def test_labels_without_images(archive: Path, part: str) -> None:
    whole = {r.image_id: r for r in read(archive)[0] if r.objects}
    records, issues = read(archive / part)
    assert issues.counts == {"no-images": 1}
    assert issues.actions == {"kept": 1}
    for record in records:
        assert record.objects == whole[record.image_id].objects
        assert record.width is None
    by_hand = list((archive / part).rglob("*BOX.csv")) or [archive / part]
    expected = sum(len(f.read_text().splitlines()) - 1 for f in by_hand)
    assert sum(len(r.objects) for r in records) == expected


def test_real_rows(tmp_path: Path) -> None:
    labels(tmp_path, "Annotations/Annotations/daySequence1", REAL_DAY)
    labels(
        tmp_path, "Annotations/Annotations/daySequence1", REAL_BULB, name="frameAnnotationsBULB.csv"
    )
    labels(tmp_path, "Annotations/Annotations/nightTrain/nightClip1", REAL_PNG)
    (day, night), _ = read(tmp_path)
    assert day.objects[0].box == Box(706, 478, 718, 500)
    assert day.objects[0].attributes["origin_file"] == VIDEO
    assert day.uri == "daySequence1/daySequence1/frames/daySequence1--00000.jpg"
    assert night.image_id == "nightTrain/nightClip1/nightClip1--00000.png"
    assert night.attributes["illumination"] == "night"
    bulbs, _ = read(tmp_path, boxes="bulb")
    assert bulbs[0].objects[0].box == Box(710, 481, 714, 486)
    assert bulbs[0].objects[0].attributes["box_kind"] == "bulb"


def test_png_labels_find_jpg_frames_and_back(tmp_path: Path) -> None:
    labels(tmp_path, "Annotations/nightTrain/nightClip1", REAL_PNG)
    frames(tmp_path, "nightTrain/nightClip1/frames", "nightClip1", 2)
    records, issues = read(tmp_path, bad_boxes="keep")
    assert [len(r.objects) for r in records] == [1, 0]
    assert records[0].uri == "nightTrain/nightClip1/frames/nightClip1--00000.jpg"
    assert issues.counts == {"box-outside": 1}


def test_counts_agree_with_the_csv_module(archive: Path) -> None:
    expected: Counter[str] = Counter()
    for file in archive.rglob("frameAnnotationsBOX.csv"):
        with file.open(newline="") as stream:
            expected.update(
                line["Annotation tag"] for line in csv.DictReader(stream, delimiter=";")
            )
    records, _ = read(archive)
    assert Counter(o.category for r in records for o in r.objects) == expected


def test_negatives_can_be_left_out(archive: Path) -> None:
    assert all(record.objects for record in read(archive, negatives=False)[0])


def test_one_clip_folder(tmp_path: Path) -> None:
    root = tmp_path / "dayClip1"
    labels(root, ".", row(0))
    frames(root, "frames", "dayClip1", 2)
    records, _ = read(root)
    assert [r.image_id for r in records] == [
        "dayTrain/dayClip1/dayClip1--00000.jpg",
        "dayTrain/dayClip1/dayClip1--00001.jpg",
    ]
    assert records[0].uri == "frames/dayClip1--00000.jpg"


class TestSamples:
    @pytest.fixture
    def sampled(self, archive: Path) -> Path:
        folder = "sample-dayClip6/sample-dayClip6"
        labels(archive, folder, row(0, clip="dayClip6"))
        frames(archive, f"{folder}/frames", "dayClip6", 2)
        return archive

    def whole_clip(self, root: Path, count: int) -> None:
        labels(root, "Annotations/Annotations/dayTrain/dayClip6", row(0, clip="dayClip6"))
        if count:
            frames(root, "dayTrain/dayTrain/dayClip6/frames", "dayClip6", count)

    def ids(self, root: Path, **options: object) -> list[str]:
        return [r.image_id for r in read(root, **options)[0] if r.group == "dayClip6"]

    def test_stands_for_an_absent_clip(self, sampled: Path) -> None:
        expected = [f"sample-dayClip6/dayClip6--0000{n}.jpg" for n in range(2)]
        assert self.ids(sampled) == expected
        assert read(sampled)[1].counts == {"sample-clip": 1}
        # Also where only the sample itself is the root.
        inner = sampled / "sample-dayClip6" / "sample-dayClip6"
        assert self.ids(inner) == expected

    def test_repeats_a_clip_that_is_there(self, sampled: Path) -> None:
        self.whole_clip(sampled, 3)
        assert self.ids(sampled) == [f"dayTrain/dayClip6/dayClip6--0000{n}.jpg" for n in range(3)]
        issues = read(sampled)[1]
        assert issues.actions == {"merged": 1}
        assert issues.lost == 0

    def test_serves_for_a_clip_without_frames(self, sampled: Path) -> None:
        self.whole_clip(sampled, 0)
        assert len(self.ids(sampled)) == 2
        assert all("sample-" in image_id for image_id in self.ids(sampled))

    def test_options(self, sampled: Path) -> None:
        assert self.ids(sampled, samples="exclude") == []
        self.whole_clip(sampled, 3)
        both = self.ids(sampled, samples="include")
        assert len(both) == len(set(both)) == 5


class TestBadRows:
    def one(
        self, tmp_path: Path, *rows: str, policy: str = "skip", **options: object
    ) -> tuple[list[Record], IssueLog]:
        labels(tmp_path, DAY, *rows)
        return read(tmp_path, policy, **options)

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (row(1, "amber"), "unknown-tag"),
            (row(1, box="1;2;3.5;4"), "bad-corner"),
            (row(1, box="1;2;x;4"), "bad-corner"),
            (row(1, box="1;2;99999999999;4"), "bad-corner"),
            (row(1, box="1;2;3"), "wrong-columns"),
            (row(1)[:40], "wrong-columns"),
            (row(1).replace(".jpg", ""), "bad-name"),
            (row(1).replace(".mp4;1;", ".mp4;one;"), "bad-origin"),
            (row(1, box="9;9;9;20"), "degenerate-box"),
            (row(1, box="30;9;20;20"), "degenerate-box"),
        ],
    )
    def test_is_skipped_or_fatal(self, tmp_path: Path, bad: str, code: str) -> None:
        records, issues = self.one(tmp_path, row(0), bad)
        assert issues.counts == {code: 1, "no-images": 1}
        assert issues.lost == 1
        assert sum(len(r.objects) for r in records) == 1
        issue = issues.first(code)[0]
        assert (issue.line, issue.path) == (3, str(tmp_path / DAY / "frameAnnotationsBOX.csv"))
        with pytest.raises(DataError, match=r"frameAnnotationsBOX\.csv:3: "):
            self.one(tmp_path, row(0), bad, policy="fail")

    def test_repeated_row_counts_once_and_is_never_fatal(self, tmp_path: Path) -> None:
        records, issues = self.one(tmp_path, row(0), row(0), policy="fail")
        assert len(records[0].objects) == 1
        assert issues.counts["duplicate-row"] == 1
        assert issues.lost == 0

    def test_policies_for_boxes(self, tmp_path: Path) -> None:
        frames(tmp_path, "dayTrain/dayTrain/dayClip1/frames", "dayClip1", 2)
        rows = [row(0, box="-5;4;20;30"), row(1, box="100;50;140;90"), row(1, box="5;5;5;9")]

        def boxes(**options: object) -> list[Box | None]:
            records, issues = self.one(tmp_path, *rows, **options)
            assert issues.counts == {"box-outside": 2, "degenerate-box": 1}
            return [o.box for r in records for o in r.objects]

        outside = [Box(-5, 4, 20, 30), Box(100, 50, 140, 90)]
        assert boxes() == outside
        assert boxes(policy="fail", bad_boxes="keep") == [*outside, Box(5, 5, 5, 9)]
        assert boxes(policy="fail", bad_boxes="clip") == [Box(0, 4, 20, 30), Box(100, 50, 128, 90)]
        assert boxes(policy="fail", bad_boxes="drop") == []

    def test_missing_image(self, tmp_path: Path) -> None:
        frames(tmp_path, "dayTrain/dayTrain/dayClip1/frames", "dayClip1", 2)
        records, issues = self.one(tmp_path, row(0), row(7))
        assert [r.frame for r in records] == [0, 1]
        assert issues.counts == {"missing-image": 1}
        with pytest.raises(DataError, match="dayClip1--00007.jpg is not among the 2 frames"):
            read(tmp_path)


class TestFiles:
    @pytest.mark.parametrize(
        "encode",
        [
            lambda text: b"\xef\xbb\xbf" + text.encode(),
            lambda text: text.replace("\n", "\r\n").encode(),
            lambda text: text.replace("\n", "\r").encode(),
            lambda text: text.encode("utf-16"),
            lambda text: text.replace(";", ",").encode(),
            lambda text: text.replace(";", "\t").encode(),
            lambda text: text.rstrip("\n").encode(),
            lambda text: text.replace("Upper left corner X", " upper  LEFT corner_x ").encode(),
            lambda text: text.replace("clip.mp4", "Stra\u00dfe.mp4").encode("cp1252"),
            lambda text: text.replace("Filename;", '"Filename";').encode(),
            lambda text: text.replace("\n", "\n\n").encode(),
        ],
    )
    def test_text_in_any_dress(self, tmp_path: Path, encode: object) -> None:
        path = labels(tmp_path, DAY, row(0).replace("dayClip1.mp4", "clip.mp4"), row(1))
        path.write_bytes(encode(path.read_text()))  # type: ignore[operator]
        records, issues = read(tmp_path)
        assert [o.box for r in records for o in r.objects] == [Box(10, 20, 30, 60)] * 2
        assert issues.lost == 0

    def test_columns_in_another_order_and_without_origin(self, tmp_path: Path) -> None:
        path = labels(tmp_path, DAY)
        titles = [HEADER[1], HEADER[0], *HEADER[2:6]]
        path.write_text(f"{';'.join(titles)}\nstop;x/dayClip1--00003.jpg;1;2;3;4\n")
        records, _ = read(tmp_path)
        assert records[0].objects[0].category == "stop"
        assert records[0].objects[0].attributes == {"box_kind": "box"}

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty"),
            (b"\n\n", "is empty"),
            (b"\x00\x01\x02", "no text"),
            (row(0).encode(), "has no header"),
            (HEAD.replace("Annotation tag;", "").encode(), "lacks the column 'Annotation tag'"),
            (
                HEAD.replace("Origin file", "Occluded,On another road;Origin file").encode(),
                "sign set",
            ),
        ],
    )
    def test_unusable_file(self, tmp_path: Path, content: bytes, said: str) -> None:
        labels(tmp_path, DAY).write_bytes(content)
        frames(tmp_path, "dayTrain/dayTrain/dayClip1/frames", "dayClip1", 2)
        labels(tmp_path, "Annotations/Annotations/dayTrain/dayClip2", row(0, clip="dayClip2"))
        with pytest.raises(DataError, match=said):
            read(tmp_path)
        records, issues = read(tmp_path, "skip")
        assert issues.counts["bad-file"] == 1
        # Frames whose labels cannot be read are not negatives.
        assert {r.group for r in records} == {"dayClip2"}

    def test_header_only_means_negatives(self, tmp_path: Path) -> None:
        labels(tmp_path, DAY)
        frames(tmp_path, "dayTrain/dayTrain/dayClip1/frames", "dayClip1", 2)
        records, issues = read(tmp_path)
        assert [r.objects for r in records] == [(), ()]
        assert issues.counts == {"no-rows": 1}

    def test_frames_without_labels_are_not_negatives(self, archive: Path) -> None:
        frames(archive, "nightTrain/nightTrain/nightClip3/frames", "nightClip3", 2)
        with pytest.raises(DataError, match="2 frames of nightClip3 have no annotation file"):
            read(archive)
        records, issues = read(archive, "skip")
        assert issues.counts == {"unlabelled-clip": 1}
        assert len(records) == 8


class TestWrongFolders:
    def test_absent(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="does not exist"):
            read(tmp_path / "nowhere")

    def test_empty(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"is empty; looked for frameAnnotationsBOX\.csv"):
            read(tmp_path)
        assert not LisaSource().sniff(tmp_path).ok

    def test_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "holiday.txt").touch()
        with pytest.raises(DataError, match=r"looked for frameAnnotationsBOX\.csv .*holiday\.txt"):
            read(tmp_path)

    def test_frames_only(self, archive: Path) -> None:
        with pytest.raises(DataError, match=r"6 frames of 3 clips .*Annotations/Annotations"):
            read(archive / "dayTrain")

    def test_other_kind_of_boxes(self, tmp_path: Path) -> None:
        labels(tmp_path, DAY, row(0), name="frameAnnotationsBULB.csv")
        with pytest.raises(DataError, match="--boxes bulb"):
            read(tmp_path)

    def test_sniff(self, archive: Path) -> None:
        match = LisaSource().sniff(archive)
        assert match.ok
        assert "frameAnnotationsBOX.csv in 4 folders" in match.met


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_link_loops_and_names(archive: Path) -> None:
    expected, _ = read(archive)
    (archive / "dayTrain" / "again").symlink_to(archive, target_is_directory=True)
    (archive / "self").symlink_to(archive / "self")
    root = archive.rename(archive.parent / "Stra\u00dfe \u4fe1\u53f7")
    assert read(root)[0] == expected
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/\xff--00001.jpg")).touch()
    except OSError:
        return  # This file system has only names that are text.
    records, issues = read(root, "skip")
    assert records == expected
    assert issues.counts == {"bad-name": 1}


def test_writes_nothing_below_the_root_and_makes_a_dataset(archive: Path, tmp_path: Path) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in archive.rglob("*"))
    written = []
    for name in ("a.tlx", "b.tlx"):
        reading = LisaSource().read(archive, LisaOptions(), Context())
        dataset = write_dataset(
            tmp_path / name,
            reading.content,
            reading.taxonomy,
            reading.media_root,
            (Operation(name="ingest", plugin="lisa", version="0"),),
        )
        assert dataset.counts.negatives == 3
        assert list(dataset.records()) == read(archive)[0]
        written.append((tmp_path / name / "manifest.json").read_bytes())
    assert written[0] == written[1]
    assert sorted((p, p.stat().st_mtime_ns) for p in archive.rglob("*")) == before


def test_taxonomy() -> None:
    assert TAXONOMY.names == TAGS
    assert all(category.color_defined for category in TAXONOMY.categories)
    assert [c.name for c in TAXONOMY.categories if not c.mirrorable] == [
        "goLeft",
        "stopLeft",
        "warningLeft",
    ]


noise = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode(errors="replace")),
    st.lists(st.text(alphabet='0123;,"\n\r.jpgo-', max_size=60), max_size=8).map(
        lambda lines: "\n".join([HEAD, *lines]).encode()
    ),
)


@given(noise, st.sampled_from(["fail", "skip"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_rows_or_issues(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, policy: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "frameAnnotationsBOX.csv"
    path.write_bytes(data)
    issues = IssueLog(policy)  # type: ignore[arg-type]
    if policy == "fail":
        with contextlib.suppress(DataError):
            assert read_rows(path, "file", "box", issues) or issues.total
        return
    assert read_rows(path, "file", "box", issues) or issues.total


corner = st.integers(-999, 9999)
generated = st.tuples(
    st.integers(0, 99999),
    st.sampled_from(TAGS),
    corner,
    corner,
    corner,
    corner,
    st.integers(0, 9999),
)


@given(st.lists(generated, max_size=20, unique=True))
@settings(max_examples=60, deadline=None)
def test_generated_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[int, str, int, int, int, int, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(HEADER)
        for frame, tag, *corners, origin in wanted:
            name = f"dayTest/dayClip1--{frame:05d}.jpg"
            writer.writerow([name, tag, *corners, "a b.mp4", origin, "a b.mp4", origin])
    rows = read_rows(path, "file", "box", IssueLog("fail"))
    assert rows is not None
    assert [
        (int(r.name[10:15]), r.tag, *r.corners, r.attributes["origin_frame"]) for r in rows
    ] == wanted
