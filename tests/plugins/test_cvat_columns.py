"""CVAT files read as columns: the same in every byte as what the parser's events make."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx import box_policy
from tlx.context import Context
from tlx.dataset import Operation, write_dataset
from tlx.errors import TlxError
from tlx.issues import Issue, IssueLog
from tlx.model import Box
from tlx_plugins import row_spill
from tlx_plugins.formats import cvat_cut, cvat_reader
from tlx_plugins.formats.cvat import CvatFormat, CvatOptions
from tlx_plugins.formats.cvat_blocks import BlockReader
from tlx_plugins.formats.cvat_cut import Cutter
from tlx_plugins.row_spill import RowSpill

SOURCE = CvatFormat()
LABELS = """<labels><label><name>car</name><attributes>
<attribute><name>parked</name><input_type>checkbox</input_type></attribute>
<attribute><name>seats</name><input_type>number</input_type></attribute>
<attribute><name>make</name><input_type>select</input_type></attribute>
<attribute><name>source</name><input_type>text</input_type></attribute>
<attribute><name>crowd</name><input_type>checkbox</input_type></attribute>
</attributes></label><label><name>Fußgänger</name></label>
<label><name>pose</name><type>skeleton</type></label></labels>"""
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'

Outcome = tuple[dict[str, bytes] | str, list[Issue]]


def outcome(path: Path, policy: str, **options: Any) -> Outcome:
    """All bytes of the dataset, or the error, and the issues."""
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    with TemporaryDirectory() as folder:
        made = Path(folder) / "a.tlx"
        try:
            reading = SOURCE.read(path, CvatOptions(**options), context)
            lineage = (Operation(name="test", version="0"),)
            write_dataset(
                made, reading.content, reading.taxonomy, reading.media_root, lineage,
                issues=context.issues,
            )  # fmt: skip
        except TlxError as error:
            return str(error), context.issues.kept
        files = {p.name: p.read_bytes() for p in sorted(made.rglob("*")) if p.is_file()}
    return files, context.issues.kept


def by_events(path: Path, policy: str, **options: Any) -> Outcome:
    """The same, by events alone."""
    with mock.patch.object(Cutter, "head", return_value=None):
        return outcome(path, policy, **options)


@contextmanager
def small_pieces(size: int) -> Iterator[None]:
    """Blocks, chunks and runs of few bytes, so that a small file has many."""
    with (
        mock.patch.object(cvat_cut, "BLOCK", size),
        mock.patch.object(cvat_cut, "_LARGEST_BLOCK", 4 * size),
        mock.patch.object(cvat_cut, "_FIRST_BLOCK", size),
        mock.patch.object(cvat_cut, "_CHUNK", max(size // 3, 1)),
        mock.patch.object(row_spill, "_BATCH_ROWS", 3),
        mock.patch.object(row_spill, "_MOST_RUNS", 4),
        mock.patch.object(cvat_reader, "RowSpill", partial(RowSpill, chunk=5 * size)),
    ):
        yield


@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the pieces of blocks that are parsed after all."""
    parsed: list[int] = []
    original = BlockReader.parsed

    def parse(self: BlockReader, layout: Any, piece: int) -> Any:
        parsed.append(piece)
        return original(self, layout, piece)

    with mock.patch.object(BlockReader, "parsed", parse):
        yield parsed


REAL = [
    "official_doc_examples/images_1.1_example.xml",
    "official_doc_examples/video_1.1_example.xml",
    "job_points/annotations.xml",
    "job_polygon_empty_images/annotations.xml",
    "datumaro/for_images/train.xml",
    "datumaro/for_video/annotations.xml",
    "datumaro_project_export/annotations.xml",
]
CHOICES: list[dict[str, Any]] = [
    {},
    {"outline_boxes": False, "duplicates": "keep"},
    {"interpolate": False, "empty_frames": "all", "groups": "join"},
    {"open_tracks": "hold", "bad_boxes": "drop", "missing_images": "keep"},
]


@pytest.mark.parametrize("options", CHOICES)
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("size", [100, 1 << 20])
def test_real_files_are_the_same_either_way(
    shared_data: Path, name: str, options: dict[str, Any], size: int
) -> None:
    path = shared_data / "cvat" / name
    for policy in ("skip", "fail"):
        with small_pieces(size):
            found = outcome(path, policy, **options)
        assert found == by_events(path, policy, **options)


def test_what_cvat_wrote_is_not_parsed(shared_data: Path) -> None:
    with counted() as parsed:
        files, _ = outcome(shared_data / "cvat" / "job_points" / "annotations.xml", "fail")
    assert isinstance(files, dict)
    assert not parsed


def test_real_files_cut_off_anywhere_are_the_same_either_way(
    shared_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "annotations.xml"
    for name in ("job_points/annotations.xml", "datumaro/for_video/annotations.xml"):
        content = (shared_data / "cvat" / name).read_bytes()
        for stop in range(len(content) // 3, len(content), 61):
            path.write_bytes(content[:stop])
            with small_pieces(700):
                assert outcome(path, "skip") == by_events(path, "skip"), stop


ODD_NUMBERS = ["7", "-3.25", "-0", "-0.00", "1e1", " 5", "5 ", "+3", "1_0", "nan", "inf", "", "x",
               "1e400", "9" * 30, "0.1", "1" * 400, "1.", ".5", "-", "0x1", "5\t"]  # fmt: skip
USUAL_TEXTS = ["red", "true", "false", "5", "-2", "4.5", "Küste", "", " a "]
ODD_TEXTS = ["a&amp;b", "a>b", "&#9;", "<b/>", '"', "\n", "\ufffe", "\x7f", "]]>", "maybe"]
INPUTS = {"parked": ["true", "false"], "seats": ["5", "-2", "4.5", "007"], "make": USUAL_TEXTS}
ODD_NAMES = ["source", "z_order", "keyframe", "crowd", "other", "a&lt;", "parked"]
MORE = ['rotation="9.5"', 'part_of="1"', 'xtl="1.00"', 'cx="4"', 'z="&amp;"', 'label="car"']


class Writer:
    """Writes what CVAT would, and now and then something else.

    Args:
        seed: Of its dice.
        odds: How often it is something else.
    """

    def __init__(self, seed: int, odds: float) -> None:
        self.dice = random.Random(seed)
        self.odds = odds

    def mostly(self, usual: Any, odd: Any) -> Any:
        """One of the usual, or of the odd."""
        return self.dice.choice(odd if self.dice.random() < self.odds else usual)

    def number(self) -> str:
        value = self.dice.randrange(8000) / 100
        return str(self.mostly([f"{value:.2f}"], [*ODD_NUMBERS, f"{value + 60:.1f}"]))

    def flag(self) -> str:
        return str(self.mostly("01", ["", "2", "true"]))

    def attributes(self) -> list[str]:
        chosen = [name for name in INPUTS if self.dice.random() < 0.5]
        chosen += self.mostly([[]], [[name] for name in ODD_NAMES])
        return [
            f'      <attribute name="{name}">'
            f"{self.mostly(INPUTS.get(name, USUAL_TEXTS), ODD_TEXTS)}</attribute>"
            for name in chosen
        ]

    def corners(self) -> str:
        left, top = self.dice.randrange(40), self.dice.randrange(40)
        right = left + self.mostly([1, 20, 50], [0, -1, 70])
        values = [left, top, right, top + self.dice.randrange(1, 41)]
        written = [self.mostly([f"{value:.2f}"], ODD_NUMBERS) for value in values]
        pairs = zip(("xtl", "ytl", "xbr", "ybr"), written, strict=True)
        return " ".join(f'{name}="{value}"' for name, value in pairs)

    def points(self, least: int) -> str:
        between = self.mostly([";"], [",", ";;", "; "])
        count = self.mostly(range(least, least + 4), [1])
        pairs = [f"{self.number()},{self.number()}" for _ in range(count)]
        return f'points="{between.join(pairs)}"'

    def kind(self) -> str:
        usual = ["box", "box", "box", "polygon", "polyline", "points"]
        return str(self.mostly(usual, ["ellipse", "tag", "mask", "skeleton", "circle"]))

    def element(self, kind: str, facts: list[str], inside: list[str]) -> list[str]:
        """A shape as CVAT writes it, line by line, or nearly so."""
        least = {"polygon": 3, "polyline": 2}.get(kind, 1)
        values = [
            *facts,
            *self.mostly([['source="manual"']], [[], ['source=""']]),
            f'occluded="{self.flag()}"',
            self.corners() if kind == "box" else self.points(least),
            *self.mostly([[]], [[one] for one in MORE]),
            f'z_order="{self.mostly("0123", USUAL_TEXTS + ODD_TEXTS)}"',
            *self.dice.choice([[], [], ['group_id="3"'], ['group_id="0"']]),
        ]
        if self.mostly([False], [True]):
            self.dice.shuffle(values)
        return [f"    <{kind} {' '.join(values)}>", *inside, f"    </{kind}>"]

    def image(self, number: int) -> list[str]:
        name = self.mostly([f"d/{number}.jpg", f"ü{number}.jpg"], ["../a", "a&amp;b", "0.jpg"])
        sizes = self.mostly(
            ['width="100" height="80"'], ["", 'width="0" height="80"', 'width="50"', 'task_id="4"']
        )
        inner: list[list[str]] = []
        for _ in range(self.dice.randrange(5)):
            label = self.mostly(["car", "car", "Fußgänger"], ["bus", "", "a&amp;b"])
            inside = self.attributes() if label == "car" else []
            inner.append(self.element(self.kind(), [f'label="{label}"'], inside))
        if inner and self.mostly([False], [True]):
            inner.append(inner[0])
        begin = f'  <image id="{number}" name="{name}" {sizes}'.rstrip()
        return [f"{begin}>", *(line for part in inner for line in part), "  </image>"]

    def track(self, number: int) -> list[str]:
        label = self.mostly(["car", "Fußgänger"], ["bus", ""])
        more = self.dice.choice(["", ' source="manual"', ' source="auto" group_id="2"'])
        kind, frame = self.kind(), self.dice.randrange(9)
        gaps = self.dice.choice([[1], [1, 1, 1, 3], [2, 4]] if kind == "box" else [[1]])
        identity = self.mostly([number], [0])
        lines = [f'  <track id="{identity}" label="{label}"{more}>']
        inside = self.attributes() if label == "car" else []
        for _ in range(self.dice.randrange(7)):
            outside = self.mostly("0001", ["", "x"])
            facts = [f'frame="{frame}"', f'keyframe="{self.flag()}"', f'outside="{outside}"']
            lines += self.element(kind, facts, self.mostly([inside], [self.attributes()]))
            frame += self.mostly(gaps, [0, -1, 300, 3])
        return [*lines, "  </track>"]


def document(parts: list[list[str]], mode: str) -> str:
    size = "<original_size><width>100</width><height>80</height></original_size>"
    more = f"<size>30</size>{size}" if mode == "interpolation" else ""
    meta = f"  <meta><task><mode>{mode}</mode>{more}{LABELS}</task></meta>\n"
    lines = [line for part in parts for line in part]
    return HEAD + meta + "\n".join([*lines, "</annotations>\n"])


INSERTED = {
    "comment": b"<!-- x -->",
    "open comment": b"<!--",
    "blank": b"",
    "cdata": b"<![CDATA[",
    "instruction": b"<?x y?>",
    "meta": b"<meta><task><mode>annotation</mode></task></meta>",
}
LINES = ["quotes", "twice", "swap", "indent", "join", *INSERTED]
WHOLE = ["byte", "cut", "crlf", "bom", "doctype", "utf-16", "cp1252", "latin"]


def changed(content: bytes, data: st.DataObject) -> bytes:
    """The file as others would write, or damage, it."""
    kind = data.draw(st.sampled_from(["none"] * 6 + LINES + WHOLE))
    if kind in LINES:
        return b"\n".join(changed_lines(content.split(b"\n"), kind, data))
    return changed_whole(content, kind, data)


def changed_lines(lines: list[bytes], kind: str, data: st.DataObject) -> list[bytes]:
    at = data.draw(st.integers(min(6, len(lines) - 1), len(lines) - 1))
    if kind == "quotes":
        lines[at] = lines[at].replace(b'"', b"'")
    elif kind == "twice":
        lines.insert(at, lines[at])
    elif kind == "swap":
        lines[at - 1], lines[at] = lines[at], lines[at - 1]
    elif kind == "indent":
        lines[at] = b" " + lines[at]
    elif kind == "join":
        lines[at - 1 : at + 1] = [lines[at - 1] + lines[at]]
    else:
        lines.insert(at, INSERTED[kind])
    if kind in {"open comment", "cdata"}:
        end = b"-->" if kind == "open comment" else b"]]>"
        lines.insert(data.draw(st.integers(at, len(lines))), end)
    return lines


def changed_whole(whole: bytes, kind: str, data: st.DataObject) -> bytes:
    place = data.draw(st.integers(len(whole) // 3, len(whole) - 1))
    if kind == "byte":
        return whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]
    if kind == "cut":
        return whole[:place]
    if kind == "crlf":
        return whole.replace(b"\n", b"\r\n")
    if kind == "bom":
        return b"\xef\xbb\xbf" + whole
    if kind == "doctype":
        return whole.replace(b"<ann", b'<!DOCTYPE a [<!ATTLIST box occluded CDATA "1">]><ann', 1)
    if kind in {"utf-16", "cp1252"}:
        text = whole.decode().replace('"utf-8"', f'"{kind}"').replace("\ufffe", "")
        return text.encode(kind, "replace")
    return whole.decode().encode("iso-8859-1", "replace") if kind == "latin" else whole


chosen = st.fixed_dictionaries(
    {},
    optional={
        "outline_boxes": st.booleans(),
        "duplicates": st.sampled_from(["keep", "drop", "fail"]),
        "bad_boxes": st.sampled_from(["keep", "clip", "drop", "fail"]),
        "groups": st.just("join"),
        "interpolate": st.booleans(),
        "open_tracks": st.just("hold"),
        "empty_frames": st.sampled_from(["all", "none"]),
    },
)


writers = st.builds(Writer, st.integers(0, 2**32), st.sampled_from([0.0, 0.001, 0.005, 0.02, 0.1]))


@settings(max_examples=150, deadline=None)
@given(writers, st.integers(0, 30), st.data())
def test_images_are_the_same_either_way(writer: Writer, count: int, data: st.DataObject) -> None:
    parts = [writer.image(number) for number in range(count)]
    _same_either_way(document(parts, "annotation"), data)


@settings(max_examples=150, deadline=None)
@given(writers, st.integers(0, 20), st.data())
def test_tracks_are_the_same_either_way(writer: Writer, count: int, data: st.DataObject) -> None:
    parts = [writer.track(number) for number in range(count)]
    if parts and data.draw(st.integers(0, 9)) == 0:
        parts.insert(data.draw(st.integers(0, len(parts))), writer.image(0))
    _same_either_way(document(parts, "interpolation"), data)


def _same_either_way(text: str, data: st.DataObject) -> None:
    content = changed(text.encode(), data)
    options, policy = data.draw(chosen), data.draw(st.sampled_from(["skip", "skip", "fail"]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "annotations.xml"
        path.write_bytes(content)
        with small_pieces(data.draw(st.sampled_from([150, 900, 1 << 20]))):
            found = outcome(path, policy, **options)
        assert found == by_events(path, policy, **options)


def plain(images: int, tracks: int) -> str:
    """A file as CVAT writes it, with nothing odd."""
    dice = random.Random(images + tracks)

    def box(facts: str, x: int) -> list[str]:
        y = dice.randrange(30)
        sides = f'xtl="{x}.25" ytl="{y}.00" xbr="{x + 20}.25" ybr="{y + 20}.50"'
        line = f'    <box {facts} occluded="0" {sides} z_order="0">'
        inside = [f'      <attribute name="seats">{dice.randrange(9)}</attribute>'] * 1
        return [line, *inside, "    </box>"]

    parts = []
    for number in range(images):
        outline = f'points="1.00,2.00;30.5,4.25;6.00,{50 + number % 20}.00"'
        shapes = [
            *box('label="car" source="manual"', number % 50),
            f'    <polygon label="Fußgänger" occluded="1" {outline} z_order="1">', "    </polygon>",
            '    <polyline label="car" occluded="0" points="1.00,2.00;3.00,4.00" z_order="0">',
            "    </polyline>",
            '    <points label="car" occluded="0" points="1.00,2.00" z_order="0" group_id="2">',
            "    </points>",
        ]  # fmt: skip
        head = f'  <image id="{number}" name="{number}.jpg" width="100" height="80">'
        parts.append([head, *shapes, "  </image>"])
    for number in range(tracks):
        lines = [f'  <track id="{number}" label="car" source="manual">']
        for step in range(8):
            # Every other one states keyframes only, and moves between them.
            frame = number % 13 + step * (1 + 3 * (number % 2))
            facts = f'frame="{frame}" keyframe="1" outside="{int(step == 7)}"'
            lines += box(facts, (number + 3 * step) % 70)
        parts.append([*lines, "  </track>"])
    return document(parts, "interpolation" if tracks else "annotation")


@pytest.mark.parametrize(("images", "tracks"), [(200, 0), (0, 60)])
@pytest.mark.parametrize("size", [2000, 20_000, 1 << 20])
def test_plain_files_are_not_parsed(tmp_path: Path, images: int, tracks: int, size: int) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(plain(images, tracks))
    with small_pieces(size), counted() as parsed:
        found = outcome(path, "fail")
    assert not parsed
    assert isinstance(found[0], dict)
    assert found == by_events(path, "fail")


def test_one_odd_image_is_parsed_alone(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    text = plain(50, 0)
    changes = [('name="7.jpg"', 'name="7&amp;.jpg"'), ('xtl="9.25"', 'xtl="-9.25"')]
    for old, new in changes:
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        with counted() as parsed:
            found = outcome(path, "skip")
        assert len(parsed) == 1
        assert found == by_events(path, "skip")


def test_a_track_among_others_may_be_a_skeleton(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    point = '<points frame="3" outside="0" occluded="0" points="1.00,2.00">\n      </points>'
    skeleton = (
        '  <track id="99" label="pose">\n    <skeleton frame="3" keyframe="1">\n    </skeleton>\n'
        f'    <track id="0" label="head">\n      {point}\n    </track>\n  </track>\n'
    )
    text = plain(0, 20)
    middle = text.index('  <track id="7"')
    path.write_text(text[:middle] + skeleton + text[middle:])
    with counted() as parsed:
        found = outcome(path, "skip")
    assert len(parsed) == 1
    assert found == by_events(path, "skip")


def test_images_that_are_there_decide_with_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(plain(6, 0))
    for number, (size, turn) in enumerate([((100, 80), 1), ((80, 100), 1), ((50, 50), 1),
                                           ((80, 100), 6), ((100, 80), 3)]):  # fmt: skip
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.new("RGB", size).save(tmp_path / f"{number}.jpg", exif=exif)
    for exif_policy in ("keep", "turn", "drop", None):
        found = outcome(path, "skip", exif=exif_policy)
        assert found == by_events(path, "skip", exif=exif_policy)
        assert found[1]


def test_very_short_lines_are_left_to_the_parser(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    text = plain(20, 0)
    path.write_text(text.replace("  </image>", "\n" * 9000 + "  </image>", 1))
    with counted() as parsed:
        found = outcome(path, "skip")
    assert not parsed
    assert found == by_events(path, "skip")


def test_a_track_with_a_far_keyframe_is_never_stored(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    text = plain(0, 2)
    far = re.sub(r'frame="7"', 'frame="5000"', text, count=1)
    assert far != text
    path.write_text(far.replace("<size>30</size>", ""))
    with counted() as parsed:
        found = outcome(path, "skip")
    assert len(parsed) == 1
    assert found == by_events(path, "skip")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=200),
    st.sampled_from([1, 200, 5000, 1 << 20]),
    st.integers(1, 9),
)
def test_rows_are_sorted_whatever_the_memory(
    rows: list[tuple[int, int]], chunk: int, together: int
) -> None:
    with (
        mock.patch.object(row_spill, "_BATCH_ROWS", 2),
        mock.patch.object(row_spill, "_MOST_RUNS", 3),
        RowSpill(chunk) as spill,
    ):
        for start in range(0, len(rows), together):
            for clip in range(3):
                some = [
                    (frame, start + n)
                    for n, (c, frame) in enumerate(rows[start : start + together])
                    if c == clip
                ]
                columns = {"frame": [f for f, _ in some], "number": [n for _, n in some]}
                schema = pa.schema([("frame", pa.int64()), ("number", pa.int64())])
                spill.add(clip, pa.RecordBatch.from_pydict(columns, schema=schema))
        for clip in range(3):
            batches = list(spill.sorted(clip))
            found = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
            expected = [(frame, n) for n, (c, frame) in enumerate(rows) if c == clip]
            assert found == sorted(expected)
            ends = [(b.column("frame")[0].as_py(), b.column("frame")[-1].as_py()) for b in batches]
            assert all(last[1] < following[0] for last, following in pairwise(ends))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-5, 15) | st.floats(), min_size=4, max_size=4),
    st.sampled_from([None, (10, 8)]),
)
def test_faults_of_many_boxes_are_those_of_each(
    corners: list[float], size: tuple[int, int] | None
) -> None:
    found = box_policy.faulty(np.array([corners]), np.array([size or (np.inf, np.inf)]))
    assert found.tolist() == [box_policy.fault_of(Box(*corners), size) is not None]
