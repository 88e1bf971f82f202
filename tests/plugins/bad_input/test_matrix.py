"""What becomes of each kind of bad input in each source: one table, and nothing beside it.

``fine``: read as if nothing were wrong. ``kept CODE`` and ``merged CODE``: nothing is lost, and an
issue says what was found. ``lost CODE``: a bad record, which ends the command under ``fail`` and is
an issue under ``skip``. ``error``: the input as a whole cannot be used, whatever the policy.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tlx.errors import DataError, TlxError
from tlx.issues import HARMLESS
from tlx.model import Box

Spoil = Callable[[Any, Path, tuple[Any, ...]], Any]


def _box(*corners: float) -> Spoil:
    def spoil(kit: Any, root: Path, plain: tuple[Any, ...]) -> Path:
        boxes = (("go", corners), plain[0].boxes[1])
        path: Path = kit.build(root, (replace(plain[0], boxes=boxes), plain[1]))
        return path

    return spoil


def _first(**changes: Any) -> Spoil:
    def spoil(kit: Any, root: Path, plain: tuple[Any, ...]) -> Path:
        path: Path = kit.build(root, (replace(plain[0], **changes), plain[1]))
        return path

    return spoil


def _bytes(change: Callable[[bytes], bytes], **changes: Any) -> Spoil:
    def spoil(kit: Any, root: Path, plain: tuple[Any, ...]) -> Path:
        path: Path = kit.build(root, (replace(plain[0], **changes), plain[1]))
        kit.changed(root, change)
        return path

    return spoil


def _utf_16(data: bytes) -> bytes:
    return data.decode().replace('encoding="utf-8"', 'encoding="utf-16"').encode("utf-16")


def _without_image(kit: Any, root: Path, plain: tuple[Any, ...]) -> Path:
    path: Path = kit.build(root, plain)
    (root / kit.image(plain[0])).unlink()
    return path


def _no_picture(kit: Any, root: Path, plain: tuple[Any, ...]) -> Path:
    path: Path = kit.build(root, plain)
    (root / kit.image(plain[0])).write_bytes(b"no picture")
    if not kit.text:
        (root / kit.labels).unlink()
        kit.make(root, plain)
    return path


def _loop(kit: Any, root: Path, plain: tuple[Any, ...]) -> Path:
    path: Path = kit.build(root, plain)
    (root / "loop").symlink_to(root, target_is_directory=True)
    return path


def _same_name(kit: Any, root: Path, plain: tuple[Any, ...]) -> Path:
    second = replace(plain[0], folder="b", boxes=plain[1].boxes)
    path: Path = kit.build(root, (replace(plain[0], folder="a"), second))
    return path


def _twice(kit: Any, root: Path, plain: tuple[Any, ...]) -> Path:
    path: Path = kit.build(root, (plain[0], replace(plain[1], name=plain[0].name)))
    return path


_UMLAUT = (("w\u00fcrfel", (10, 20, 50, 60)),)
_GO = ("go", (10, 20, 50, 60))

SPOILT: dict[str, Spoil] = {
    "truncated": _bytes(lambda data: data[: int(len(data) * 0.62)]),
    "cp1252": _bytes(lambda data: data.decode().encode("cp1252"), boxes=_UMLAUT),
    "UTF-16": _bytes(_utf_16),
    "byte order mark": _bytes(lambda data: b"\xef\xbb\xbf" + data),
    "Windows line ends": _bytes(lambda data: data.replace(b"\n", b"\r\n")),
    "Windows paths": _first(folder="sub", slash="\\"),
    "object twice": _first(boxes=(_GO, _GO)),
    "image twice": _twice,
    "negative box": _box(-20, 20, 50, 60),
    "box outside": _box(150, 20, 260, 60),
    "inverted box": _box(50, 20, 10, 60),
    "empty box": _box(10, 20, 10, 60),
    "not a number": _box(float("nan"), 20, 50, 60),
    "unknown tag": _first(boxes=(("zebra", (10, 20, 50, 60)), _GO)),
    "absent image": _without_image,
    "unreadable image": _no_picture,
    "EXIF": _first(orientation=6, size=(100, 200)),
    "same name in two folders": _same_name,
    "non-ASCII name": _first(name="stra\u00dfe \u65e5.png"),
    "symlink loop": _loop,
}

# The usual result, and that of the sources for which it is another one.
EXPECTED: dict[str, tuple[str, dict[str, str]]] = {
    "truncated": ("error", {
        "lisa": "lost wrong-columns", "driveu-yaml": "lost bad-image", "labelbox": "lost bad-json",
        "cvat": "lost broken-file", "voc": "lost bad-xml", "yolo": "lost bad-row",
        "csv": "lost wrong-columns", "tfrecord": "lost damaged-record"}),
    # Read as what it is where that cannot be mistaken; YOLO has no text.
    "cp1252": ("error", {
        "lisa": "lost unknown-tag", "driveu-json": "kept encoding", "driveu-yaml": "kept encoding",
        "labelbox": "lost encoding", "cvat": "lost broken-file", "voc": "lost bad-xml",
        "yolo": "fine"}),
    "UTF-16": ("fine", {
        "driveu-json": "kept encoding", "driveu-yaml": "kept encoding", "coco": "error",
        "yolo": "lost unreadable-file"}),
    "byte order mark": ("fine", {}),
    "Windows line ends": ("fine", {}),
    "Windows paths": ("fine", {}),
    "object twice": ("merged duplicate-object", {
        "lisa": "merged duplicate-row", "csv": "merged duplicate-row"}),
    # In tables and text files of one image there is nothing that could be twice.
    "image twice": ("lost duplicate-image", {
        "lisa": "fine", "csv": "fine", "voc": "fine", "yolo": "fine",
        "driveu-json": "lost conflicting-frame", "driveu-yaml": "lost conflicting-frame",
        "labelbox": "lost duplicate-row"}),
    "negative box": ("kept box-outside", {}),
    "box outside": ("kept box-outside", {}),
    "inverted box": ("lost degenerate-box", {}),
    "empty box": ("lost degenerate-box", {}),
    "not a number": ("lost bad-box", {
        "lisa": "lost bad-corner", "driveu-json": "lost bad-file", "driveu-yaml": "lost bad-label",
        "labelbox": "lost bad-geometry", "cvat": "lost bad-shape", "yolo": "lost bad-row",
        "csv": "lost bad-corner"}),
    # Where the label file itself makes the classes, no tag is unknown.
    "unknown tag": ("fine", {
        "lisa": "lost unknown-tag", "driveu-json": "kept unknown-value",
        "cvat": "lost unknown-label", "coco": "lost unknown-category",
        "yolo": "lost unknown-category"}),
    "absent image": ("lost missing-image", {"coco": "fine", "tfrecord": "fine"}),
    "unreadable image": ("kept unreadable-image", {
        "coco": "fine", "yolo": "lost unreadable-image", "tfrecord": "kept bad-image"}),
    # Bad where the stated size or the tool says that the labels count the upright image.
    "EXIF": ("kept turned-image", dict.fromkeys(
        ("labelbox", "cvat", "coco", "voc", "tfrecord"), "lost turned-image")),
    "same name in two folders": ("fine", {
        # Their names of images are unique by the layout: the kit has one folder for them.
        "driveu-json": "lost conflicting-frame", "driveu-yaml": "lost conflicting-frame"}),
    "non-ASCII name": ("fine", {}),
    "symlink loop": ("fine", {
        "driveu-json": "merged duplicate-frame", "driveu-yaml": "merged duplicate-frame"}),
}  # fmt: skip

# A COCO issue names a place in the document, the others are about a whole file or an image file.
# Issues about a file as a whole, which have no line.
WHOLE_FILE = {
    "encoding",
    "turned-image",
    "missing-image",
    "unreadable-image",
    "unreadable-file",
    "duplicate-frame",
}
# What the kits bring along by themselves.
ASIDE = {"images-inside", "no-rows", "other-name"}


@pytest.mark.parametrize("fault", SPOILT)
def test_each_fault_has_its_result(
    tmp_path: Path, kit: Any, label: str, plain: tuple[Any, ...], fault: str
) -> None:
    if not kit.text and fault in {"cp1252", "UTF-16", "byte order mark", "Windows line ends"}:
        pytest.skip("it is no text")
    usual, others = EXPECTED[fault]
    result, _, code = others.get(label, usual).partition(" ")
    root = SPOILT[fault](kit, tmp_path / "r", plain)
    if result == "error":
        for policy in ("fail", "skip"):
            with pytest.raises(DataError) as error:
                kit.read(root, policy)
            assert error.value.place is not None
        return
    records, issues = kit.read(root, "skip")
    if result == "fine":
        assert not set(issues.counts) - ASIDE
    else:
        (first, *_) = issues.first(code)
        assert first.path is not None
        assert first.line is not None or code in WHOLE_FILE or "$." in first.message
        assert (first.action in HARMLESS) == (result != "lost")
    if result == "lost":
        with pytest.raises(DataError) as error:
            kit.read(root, "fail")
        assert error.value.place is not None
        assert error.value.hint is not None
    else:
        assert len(kit.read(root, "fail")[0]) == len(records) > 0


def _rounded(box: Box) -> Box:
    return Box(*(round(side, 3) for side in (box.xmin, box.ymin, box.xmax, box.ymax)))


@pytest.mark.parametrize("policy", ["keep", "clip", "drop", "fail"])
@pytest.mark.parametrize(
    ("corners", "cut"),
    [
        ((-20.0, 20.0, 50.0, 60.0), Box(0, 20, 50, 60)),
        ((150.0, 20.0, 260.0, 60.0), Box(150, 20, 200, 60)),
        ((10.0, 20.0, 10.0, 60.0), None),
    ],
)
def test_bad_boxes(
    tmp_path: Path, kit: Any, plain: tuple[Any, ...], policy: str, corners: Any, cut: Box | None
) -> None:
    root = _box(*corners)(kit, tmp_path / "r", plain)
    if policy == "fail":
        with pytest.raises(DataError, match="--bad-boxes"):
            kit.read(root, "fail", bad_boxes=policy)
    records, issues = kit.read(root, "skip" if policy == "fail" else "fail", bad_boxes=policy)
    boxes = [thing.box for record in records for thing in record.objects]
    expected = {"keep": Box(*corners), "clip": cut}.get(policy)
    assert (expected in [_rounded(box) for box in boxes]) == (expected is not None)
    assert len(boxes) == (3 if expected is not None else 2)
    code = "box-outside" if cut is not None else "degenerate-box"
    assert issues.counts[code] == 1
    assert issues.lost == (policy == "fail")


@pytest.mark.parametrize(
    ("policy", "objects", "lost"), [("keep", 3, 0), ("drop", 2, 0), ("fail", 2, 1)]
)
def test_duplicates(
    tmp_path: Path, kit: Any, plain: tuple[Any, ...], policy: str, objects: int, lost: int
) -> None:
    root = SPOILT["object twice"](kit, tmp_path / "r", plain)
    records, issues = kit.read(root, "skip", duplicates=policy)
    assert sum(len(record.objects) for record in records) == objects
    assert issues.lost == lost
    if lost:
        with pytest.raises(DataError):
            kit.read(root, "fail", duplicates=policy)


@pytest.mark.parametrize("policy", ["keep", "turn", "drop", "fail"])
def test_turned_images(tmp_path: Path, kit: Any, plain: tuple[Any, ...], policy: str) -> None:
    # Stored 100 x 200, shown as 200 x 100, where the labels were drawn.
    root = SPOILT["EXIF"](kit, tmp_path / "r", plain)
    if policy == "fail":
        with pytest.raises(DataError, match="EXIF orientation 6"):
            kit.read(root, "fail", exif=policy)
    records, issues = kit.read(root, "skip", exif=policy)
    assert issues.counts["turned-image"] == 1
    assert issues.lost == (policy == "fail")
    if policy in ("drop", "fail"):
        assert len(records) == 1
    if policy == "turn":
        record = next(record for record in records if len(record.objects) == 2)
        assert (record.width, record.height) == (100, 200)
        boxes = [_rounded(thing.box) for thing in record.objects if thing.box]
        # Upright (x, y) is stored at (y, 200 - x).
        assert boxes == [Box(20, 150, 60, 190), Box(20, 110, 60, 140)]


@contextlib.contextmanager
def bounds(seconds: int, more_bytes: int) -> Iterator[None]:
    """An alarm for what hangs, and MemoryError for what takes more than it should."""

    def hung(*_: Any) -> None:
        pytest.fail(f"not done after {seconds} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("seed", range(int(os.environ.get("TLX_FUZZ_RUNS", "12"))))
def test_damaged_bytes_end_in_records_or_in_an_error_of_ours(
    tmp_path: Path, kit: Any, plain: tuple[Any, ...], seed: int
) -> None:
    """A dozen in the suite; ``make fuzz`` tries thousands. Half a gigabyte is ten times enough."""
    dice = random.Random(seed)
    root = kit.build(tmp_path / "r", plain)

    def damage(data: bytes) -> bytes:
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(len(data) + 1)
            new = dice.choice((b"", b"\0", b"\xff\xfe", b'"', b"<", b"}", b";", b"9" * 400))
            data = data[:at] + new + data[at + dice.randrange(9) :]
        return data

    kit.changed(root, damage)
    for policy in ("skip", "fail"):
        with contextlib.suppress(TlxError), bounds(seconds=60, more_bytes=512 << 20):
            for record in kit.read(root, policy)[0]:
                record.image_id.encode()


COLUMNS = {
    "lisa": (b"Lower right corner X", b"Comment"),
    "driveu-json": (b'"w":', b'"width":'),
    "driveu-yaml": (b"width:", b"w:"),
    "labelbox": (b'"top":', b'"tip":'),
    "cvat": (b"xtl=", b"left="),
    "coco": (b'"category_id"', b'"category"'),
    "voc": (b"xmin>", b"left>"),
    "yolo": (b" 0.4\n", b"\n"),
    "csv": (b"xmin", b"comment"),
}


def test_missing_columns(tmp_path: Path, kit: Any, label: str, plain: tuple[Any, ...]) -> None:
    if not kit.text:
        pytest.skip("a record without a key is tested with its checksums")
    root = kit.build(tmp_path / "r", plain)
    kit.changed(root, lambda data: data.replace(*COLUMNS[label]))
    with pytest.raises(DataError) as error:
        kit.read(root, "fail")
    assert error.value.place is not None
    # Either nothing can be read, or what is lost is counted.
    with contextlib.suppress(DataError):
        assert kit.read(root, "skip")[1].lost >= 1


BOMB = '<!DOCTYPE a [<!ENTITY x "yyyyyyyyyy"><!ENTITY z "&x;&x;&x;&x;&x;&x;&x;&x;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("kit", ["cvat", "voc"], indirect=True)
@pytest.mark.parametrize("entity", [BOMB, OUTSIDE])
def test_entities_are_refused(
    tmp_path: Path, kit: Any, plain: tuple[Any, ...], entity: str
) -> None:
    root = kit.build(tmp_path / "r", plain)

    def declare(data: bytes) -> bytes:
        at = data.index(b"<annotation")
        return data[:at] + entity.encode() + data[at:].replace(b">go<", b">&x;<")

    kit.changed(root, declare)
    with pytest.raises(DataError, match="entit"):
        kit.read(root, "fail")
    assert kit.read(root, "skip")[1].lost >= 1


@pytest.mark.parametrize("kit", ["cvat"], indirect=True)
def test_a_zip_file_does_no_harm(tmp_path: Path, kit: Any, plain: tuple[Any, ...]) -> None:
    source = kit.build(tmp_path / "made", plain)
    root = tmp_path / "zips"
    root.mkdir()
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(source / "annotations.xml", "annotations.xml")
        archive.write(source / "images/1.png", "images/1.png")
        archive.writestr("../../evil.png", b"x")
    records, _ = kit.read(root, "skip", extract=str(tmp_path / "out"), missing_images="keep")
    assert len(records) == 2
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1
    assert not list(tmp_path.rglob("evil.png"))
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", b"<annotations>" + b" " * (80 << 20))
    with pytest.raises(DataError, match="bomb|no CVAT"):
        kit.read(root, "fail")
