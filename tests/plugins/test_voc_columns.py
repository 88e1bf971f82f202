"""Plain VOC files that are read together: the parser of single files is the judge."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx.context import Context
from tlx.dataset import to_batches, write_dataset
from tlx.errors import TlxError
from tlx.issues import IssueLog
from tlx_plugins.formats import voc_files
from tlx_plugins.formats.voc import VocFormat, VocOptions
from tlx_plugins.formats.voc_markup import Splitter, document_of
from tlx_plugins.formats.voc_numbers import less_one, numbers
from tlx_plugins.formats.voc_objects import ColumnReader
from tlx_plugins.formats.voc_xml import number


def outcome(root: Path, policy: Any = "skip", *, alike: bool = True, **options: Any) -> Any:
    """Everything that reading gives: records, issues, classes, or the error that ends it."""
    issues = IssueLog(policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voc_files, "ALIKE", alike)
        reading = VocFormat().read(root, VocOptions(**options), Context(issues=issues))
        try:
            batches = list(to_batches(reading.content))
        except TlxError as error:
            return str(error), issues.kept
    assert callable(reading.taxonomy)
    return pa.Table.from_batches(batches) if batches else None, issues.kept, reading.taxonomy()


def require_same(root: Path, policy: Any = "skip", **options: Any) -> Any:
    """Both ways give the same; returns it."""
    together = outcome(root, policy, **options)
    alone = outcome(root, policy, alike=False, **options)
    assert together[1:] == alone[1:]
    if isinstance(alone[0], pa.Table):
        assert together[0].schema == alone[0].schema
        assert together[0].to_pylist() == alone[0].to_pylist()
    else:
        assert together[0] == alone[0]
    return together


REAL: dict[str, dict[str, Any]] = {
    "road_signs": {},
    "bccd": {},
    "seed_star_wars": {},
    "road_signs@states": {"annotations": "annotations_light_states"},
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_make_the_same_bytes(
    shared_data: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, options = shared_data / name.partition("@")[0], VocOptions(**REAL[name])
    found = []
    for alike in (True, False):
        monkeypatch.setattr(voc_files, "ALIKE", alike)
        context = Context(issues=IssueLog("skip"))
        reading = VocFormat().read(root, options, context)
        made = tmp_path / f"{alike}.tlx"
        write_dataset(
            made, reading.content, reading.taxonomy, reading.media_root, (), issues=context.issues
        )
        files = {path.name: path.read_bytes() for path in made.rglob("*") if path.is_file()}
        found.append((files, context.issues.kept))
    assert found[0] == found[1]


def plain_among(files: list[str]) -> list[int]:
    """Which files are read as columns."""
    markup = Splitter().split([document_of(text.encode()) for text in files])
    return [] if markup is None else sorted(ColumnReader(lambda _: 1).read(markup).rows)


FULL = """<?xml version="1.0" encoding="utf-8"?>
<annotation verified="yes">
\t<folder>JPEGImages</folder>
\t<filename>a.jpg</filename>
\t<path>C:\\a.jpg</path>
\t<source><database>D &amp; E</database><image>flickr</image></source>
\t<size><width>100</width><height>80</height><depth>3</depth></size>
\t<segmented>0</segmented>
\t<attributes><attribute><name>n</name><value type="integer">-5</value></attribute></attributes>
\t<object>
\t\t<name>Stra\u00dfe</name>
\t\t<pose>Left</pose><truncated>0</truncated><difficult>True</difficult><occluded> 1 </occluded>
\t\t<bndbox><xmin>1.1</xmin><ymin>2.25</ymin><xmax>30.123456789012345</xmax><ymax>40</ymax></bndbox>
\t\t<rotation>1.5</rotation><track>t</track><object_id></object_id><crowd>1</crowd>
\t\t<attributes>
\t\t\t<attribute><name>a</name><value type="real">1e-5</value></attribute>
\t\t\t<attribute><name>b</name><value type="flag">true</value></attribute>
\t\t\t<attribute><name>c</name><value type="integer">922337203685477580</value></attribute>
\t\t\t<attribute><name>d</name><value> x &lt; y </value></attribute>
\t\t</attributes>
\t\t<polygon><x1>1.5</x1><y1>2</y1><x2>3.7</x2><y2>4.000000000000001</y2><x3>5</x3><y3>6</y3></polygon>
\t\t<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>
\t</object>
\t<object><name>car</name><bndbox><ymax>9</ymax><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax></bndbox></object>
</annotation>
"""

ODD = {
    "a comment": ("<folder>", "<!-- a --><folder>"),
    "an empty element": ("<segmented>0</segmented>", "<segmented/>"),
    "an attribute": ("<object>", '<object id="1">'),
    "a numbered reference": ("&amp;", "&#38;"),
    "two names": ("<name>car</name>", "<name>car</name><name>bus</name>"),
    "no name": ("<name>car</name>", "<name></name>"),
    "a word for a number": ("<xmax>30</xmax>", "<xmax>wide</xmax>"),
    "a number beyond all": ("<xmax>30</xmax>", "<xmax>1e999</xmax>"),
    "a missing corner": ("<xmax>30</xmax>", ""),
    "an unknown flag": ("<crowd>1</crowd>", "<crowd>perhaps</crowd>"),
    "a wrong end": ("</folder>", "</fold>"),
    "an end too many": ("</size>", "</size></size>"),
    "a second root": ("</annotation>", "</annotation><annotation></annotation>"),
    "text behind the root": ("</annotation>", "</annotation>."),
    "a character that XML has not": ("car", "c\x01r"),
    "points in another order": ("<x1>1.5</x1><y1>2</y1>", "<y1>2</y1><x1>1.5</x1>"),
    "two points": ("<x3>5</x3><y3>6</y3>", ""),
    "a rotated box": ("<track>", "<robndbox><cx>1</cx></robndbox><track>"),
    "an attribute twice": ("<name>b</name>", "<name>a</name>"),
    "an attribute without a value": ("<value> x &lt; y </value>", ""),
    "a line in a name": ("car", "car\n"),
    "another root": ("annotation", "annotations"),
    "an integer of 65 bits": ("922337203685477580", "92233720368547758080"),
    "another encoding": ("utf-8", "latin-1"),
    "CDATA": ("car", "<![CDATA[car]]>"),
    "a size of nothing": ("<width>100", "<width>0"),
}


def test_a_plain_file_is_read_as_columns() -> None:
    assert plain_among([FULL, FULL.replace("\n", "\r\n"), FULL.replace("\t", "  ")]) == [0, 1, 2]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("policy", ["skip", "fail"])
def test_an_odd_file_among_others_is_left_to_the_parser(
    tmp_path: Path, name: str, policy: str
) -> None:
    before, after = ODD[name]
    assert before in FULL
    files = [FULL, FULL, FULL.replace(before, after), FULL]
    assert plain_among(files) == [0, 1, 3]
    for place, text in enumerate(files):
        named = text.replace("a.jpg", f"{place}.jpg")
        (tmp_path / f"{place}.xml").write_bytes(named.encode())
    require_same(tmp_path, policy)


@pytest.mark.parametrize(
    ("name", "corners", "options"),
    [
        ("outside", (5, 5, 300, 70), {"bad_boxes": "clip"}),
        ("empty", (5, 5, 5, 70), {"bad_boxes": "keep"}),
        ("one pixel", (5, 5, 5, 70), {"base": "1"}),
        ("twice", (1, 2, 30, 9), {}),
        ("twice, kept", (1, 2, 30, 9), {"duplicates": "keep"}),
    ],
)
def test_what_is_to_be_said_of_boxes_is_said(
    tmp_path: Path, name: str, corners: tuple[int, ...], options: dict[str, Any]
) -> None:
    box = "".join(
        f"<{tag}>{value}</{tag}>"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    more = f"<object><name>car</name><bndbox>{box}</bndbox></object></annotation>"
    for place in range(4):
        text = FULL.replace("</annotation>", more) if place == 2 else FULL
        (tmp_path / f"{place}.xml").write_text(text.replace("a.jpg", f"{place}.jpg"))
    found = require_same(tmp_path, **options)
    said = {issue.code for issue in found[1] if issue.line is not None}
    assert said or name == "twice, kept"


def test_images_and_masks_decide_as_for_single_files(tmp_path: Path) -> None:
    sizes = {"a": (100, 80), "b": (80, 100), "c": (50, 40), "d": (100, 80)}
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    for stem, size in sizes.items():
        exif = Image.Exif()
        exif[0x0112] = 6 if stem == "b" else 1
        Image.new("RGB", size).save(tmp_path / f"JPEGImages/{stem}.jpg", exif=exif)
    for stem in [*sizes, "e"]:
        text = FULL.replace("a.jpg", f"{stem}.jpg")
        (tmp_path / f"Annotations/{stem}.xml").write_text(text, encoding="utf-8")
    (tmp_path / "SegmentationObject").mkdir()
    drawn = Image.new("P", (100, 80))
    drawn.paste(2, (10, 10, 20, 20))
    drawn.save(tmp_path / "SegmentationObject/d.png")
    for size_from in ("xml", "image"):
        for exif_policy in (None, "turn", "drop"):
            found = require_same(tmp_path, size_from=size_from, exif=exif_policy)
            assert {"size-mismatch", "missing-image"} <= {issue.code for issue in found[1]}


digits = st.text("0123456789", min_size=1, max_size=18)
numerals = st.one_of(
    st.integers(-5, 120).map(str),
    st.floats(0, 120).map(lambda value: f"{value:.2f}"),
    st.floats(-1e6, 1e6).map(repr),
    st.tuples(st.sampled_from(["", "-", "+"]), digits, digits).map(
        lambda p: f"{p[0]}{p[1]}.{p[2]}"
    ),
    st.sampled_from(
        ["", " 5 ", "5.", ".5", "1e1", "nan", "inf", "-0", "007", "0x10", "1_0", "5\n"]
    ),
)


@given(st.lists(numerals, max_size=40))
def test_numbers_are_cast_and_shifted_as_single_ones(texts: list[str]) -> None:
    column = pa.array(texts, pa.string())
    values, odd = numbers(column)
    less = less_one(values, column)
    for text, value, shifted, strange in zip(
        texts, values.tolist(), less.tolist(), odd.tolist(), strict=True
    ):
        if strange:
            continue
        expected = number(text)
        assert expected is not None
        assert (value, np.signbit(value)) == (expected, np.signbit(expected))
        assert shifted == number(text, 1)
        if abs(expected) > 1e-30:
            assert shifted == float(Decimal(text) - 1)


def mostly(usual: Any, other: Any) -> Any:
    """One strategy, and rarely another: most files shall be plain."""
    return st.integers(0, 63).flatmap(lambda n: other if n == 37 else usual)


words = mostly(
    st.sampled_from(["car", "bus", " car ", "\u00e4", "x &amp; y", "&lt;", "Unknown"]),
    st.sampled_from(["", "a\nb", "a\rb", "&#65;"]),
)
flagged = mostly(st.sampled_from(["0", "1", "True", "no", "", " 1 "]), st.just("perhaps"))
typed_values = mostly(
    st.one_of(
        words.map(lambda text: ("", text)),
        words.map(lambda text: (' type="text"', text)),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: (' type="integer"', str(value))),
        st.floats(allow_nan=False).map(lambda value: (' type="real"', repr(value))),
        st.sampled_from(["true", "false"]).map(lambda text: (' type="flag"', text)),
    ),
    st.tuples(st.sampled_from([' type="integer"', ' type="real"', ' type="flag"']), numerals),
)
few = mostly(
    st.one_of(st.integers(1, 100).map(str), st.floats(1, 100).map(lambda value: f"{value:.2f}")),
    numerals,
)


def leaf(name: str, texts: Any) -> Any:
    return texts.map(lambda text: f"<{name}>{text}</{name}>")


def some(*parts: Any) -> Any:
    """Most of some elements, mostly in their order."""
    chosen = st.tuples(*(mostly(part, st.just("")) for part in parts))
    return mostly(chosen.map(list), chosen.flatmap(st.permutations))


attribute = st.tuples(st.sampled_from("abcdef"), typed_values).map(
    lambda p: f"<attribute><name>{p[0]}</name><value{p[1][0]}>{p[1][1]}</value></attribute>"
)
attributes = mostly(st.lists(attribute, min_size=1, max_size=3), st.just([])).map(
    lambda found: f"<attributes>{''.join(found)}</attributes>"
)
low, high = (
    st.one_of(st.integers(*ends).map(str), st.floats(*ends).map(lambda value: f"{value:.2f}"))
    for ends in ((1, 40), (42, 90))
)
plain_box = st.tuples(low, low, high, high).map(
    lambda p: (
        f"<bndbox><xmin>{p[0]}</xmin><ymin>{p[1]}</ymin><xmax>{p[2]}</xmax>"
        f"<ymax>{p[3]}</ymax></bndbox>"
    )
)
strange_box = some(*(leaf(tag, numerals) for tag in ("xmin", "ymin", "xmax", "ymax"))).map(
    lambda found: f"<bndbox>{''.join(found)}</bndbox>"
)
polygon = mostly(
    st.lists(few, min_size=6, max_size=6), st.lists(numerals, min_size=4, max_size=9)
).map(
    lambda found: (
        "<polygon>"
        + "".join(
            f"<{'xy'[n % 2]}{n // 2 + 1}>{text}</{'xy'[n % 2]}{n // 2 + 1}>"
            for n, text in enumerate(found)
        )
        + "</polygon>"
    )
)
thing = some(
    leaf("name", st.one_of(st.just("car"), words)),
    leaf("pose", words),
    leaf("difficult", flagged),
    leaf("crowd", flagged),
    leaf("rotation", few),
    leaf("object_id", words),
    mostly(plain_box, strange_box),
    attributes,
    st.lists(polygon, max_size=2).map("".join),
    mostly(st.sampled_from(["", "<part><name>a</name></part>"]), st.just("<!-- a --><x1>1</x1>")),
).map(lambda found: "<object>\n" + "\n ".join(found) + "</object>\n")
sizes = st.tuples(numerals, few).map(
    lambda p: f"<size><width>{p[1]}</width><height>{p[0]}</height><depth>3</depth></size>"
)
bodies = some(
    leaf("filename", st.one_of(st.integers(0, 20).map(lambda n: f"{n}.jpg"), words)),
    leaf("segmented", words),
    leaf("database", words).map(lambda text: f"<source>{text}</source>"),
    mostly(st.just("<size><width>100</width><height>90</height></size>"), sizes),
    attributes,
    st.lists(mostly(thing, st.sampled_from(["<object></object>", "&amp;", " "])), max_size=3).map(
        "".join
    ),
)
heads = st.sampled_from(
    ["", '<?xml version="1.0"?>\n', "\ufeff\n\n", '<?xml version="1.0" encoding="UTF-8" ?>']
)
tags = mostly(
    st.sampled_from(["", ' pixel_base="0"', ' verified="no" pixel_base="1"']), st.just(' a="b"')
)
documents = st.tuples(heads, tags, bodies, st.sampled_from(["\n", "\r\n", "", "\n\n  "])).map(
    lambda p: f"{p[0]}<annotation{p[1]}>" + p[3].join(["", *p[2], ""]) + f"</annotation>{p[3]}"
)


@st.composite
def spoilt(draw: Any) -> str:
    """A document in which something was changed at a place."""
    text: str = draw(documents)
    place = draw(st.integers(0, len(text)))
    change = draw(
        st.sampled_from(["", "<", ">", "&", "/", "\x00", "<a>", "</object>", "]]>", "\r"])
    )
    return text[:place] + change + text[place + draw(st.integers(0, 8)) :]


@settings(deadline=None)
@given(
    files=st.lists(mostly(documents, spoilt()), min_size=2, max_size=6),
    options=st.fixed_dictionaries(
        {},
        optional={
            "base": st.sampled_from(["auto", "0", "1"]),
            "duplicates": st.sampled_from(["keep", "drop", "fail"]),
            "bad_boxes": st.sampled_from(["keep", "clip", "drop", "fail"]),
            "split": st.just("train"),
        },
    ),
    policy=st.sampled_from(["skip", "skip", "fail"]),
)
def test_files_read_together_say_what_they_say_alone(
    files: list[str], options: dict[str, Any], policy: str
) -> None:
    with TemporaryDirectory() as folder:
        for place, text in enumerate(files):
            (Path(folder) / f"{place}.xml").write_bytes(text.encode())
        require_same(Path(folder), policy, **options)
