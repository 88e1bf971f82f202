"""CVAT images 1.1 read; real files are counted again by xml.etree."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as judge

from tlx.api import Reading
from tlx.context import Context
from tlx.dataset import Dataset, Operation, to_batches, write_dataset
from tlx.errors import DataError, TlxError, UsageError
from tlx.issues import IssueLog
from tlx.model import Box, Object, Record, Shape, Taxonomy
from tlx.schema import batch_to_records
from tlx_plugins.formats.cvat import CvatFormat, CvatOptions

SOURCE = CvatFormat()
KINDS = ("box", "polygon", "polyline", "points", "ellipse", "cuboid", "skeleton", "mask")

# pycocotools' own decoder is behind NumPy's protocol for copies.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def records_of(reading: Reading) -> list[Record]:
    return [record for batch in to_batches(reading.content) for record in batch_to_records(batch)]


def read(
    root: Path, policy: str = "fail", **options: Any
) -> tuple[list[Record], IssueLog, Taxonomy]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = SOURCE.read(root, CvatOptions(**options), context)
    records = records_of(reading)
    assert callable(reading.taxonomy)
    return records, context.issues, reading.taxonomy()  # type: ignore[return-value]


LABELS = """<label><name>car</name><color>#FF00aa</color><type>any</type><attributes>
<attribute><name>parked</name><mutable>False</mutable><input_type>checkbox</input_type></attribute>
<attribute><name>seats</name><input_type>number</input_type></attribute>
<attribute><name>make</name><input_type>select</input_type><values>a
b</values></attribute>
<attribute><name>source</name><input_type>text</input_type></attribute>
</attributes></label><label><name>lane</name></label>
<label><name>pose</name><type>skeleton</type></label>
<label><name>head</name><type>points</type><parent>pose</parent><attributes><attribute>
<name>hat</name><input_type>checkbox</input_type></attribute></attributes></label>"""


def images_xml(*shapes: str, image: str = "", labels: str = LABELS, **task: str) -> str:
    facts = "".join(f"<{name}>{text}</{name}>" for name, text in task.items())
    inside = "\n".join(shapes)
    values = image or 'id="3" name="a.jpg" width="100" height="80"'
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task>{facts}<labels>{labels}</labels></task></meta>\n"
        f"<image {values}>\n{inside}\n</image>\n</annotations>\n"
    )


FIRST_LINE = images_xml("<box/>")[: images_xml("<box/>").index("<box/>")].count("\n") + 1


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def save(text: str | bytes, name: str = "annotations.xml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return save


def one(path: Path, **options: Any) -> Object:
    (record,), issues, _ = read(path, **options)
    assert not issues.lost, issues.kept
    (thing,) = record.objects
    return thing


REAL = [
    "official_doc_examples/images_1.1_example.xml",
    "job_points/annotations.xml",
    "job_polygon_empty_images/annotations.xml",
    "datumaro/for_images/train.xml",
    "datumaro_project_export/annotations.xml",
]


@pytest.mark.parametrize("name", REAL)
def test_real_images_files_have_what_etree_counts(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    path = shared_data / "cvat" / name
    root = ET.parse(path).getroot()
    declared = {
        label.findtext("name")
        for label in root.iterfind(".//labels/label")
        if label.find("parent") is None
    }
    images = root.findall("image")
    shapes = [shape for image in images for shape in image if shape.tag in KINDS]
    tags = [tag for image in images for tag in image.findall("tag")]
    known = [shape for shape in shapes if shape.get("label") in declared]
    records, issues, taxonomy = read(path, "skip")
    objects = [thing for record in records for thing in record.objects]
    assert len(records) == len(images)
    assert [(r.width, r.height) for r in records] == [
        (int(i.get("width", "")), int(i.get("height", ""))) for i in images
    ]
    assert Counter(o.category for o in objects) == Counter(s.get("label") for s in known)
    assert len(objects) == len(known)
    assert issues.counts["no-label"] + issues.counts["unknown-label"] == (
        len(shapes) - len(known) + sum(tag.get("label") not in declared for tag in tags)
    )
    assert issues.lost == issues.counts["no-label"] + issues.counts["unknown-label"]
    assert set(taxonomy.names) == declared
    stated = Counter((a.get("name"), a.text or "") for s in known for a in s.findall("attribute"))
    names = {name for name, _ in stated}
    texts = Counter(
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for thing in objects
        for name, value in thing.attributes.items()
        if name in names
    )
    assert texts == stated
    assert sum(len(o.keypoints) for o in objects) == sum(
        len(s.findall("points")) if s.tag == "skeleton" else s.get("points", "").count(",")
        for s in known
        if s.tag in {"points", "skeleton"}
    )
    boxes = [o.box for o in objects if o.segmentation is None and o.box is not None]
    assert boxes == [
        Box(*(float(s.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr")))
        for s in known
        if s.tag == "box"
    ]
    lineage = (Operation(name="test", version="0"),)
    write_dataset(tmp_path / "a.tlx", records, taxonomy, path.parent, lineage)
    assert list(Dataset.open(tmp_path / "a.tlx").records()) == records


def test_real_project_has_subsets_and_finds_its_images(shared_data: Path) -> None:
    root = shared_data / "cvat" / "datumaro_project_export"
    records, issues, _ = read(root)
    assert [(r.image_id, r.split) for r in records[::2]] == [
        ("Test/img0.jpg", "test"),
        ("Train/img0.jpg", "train"),
        ("Validation/img0.jpg", "val"),
    ]
    assert all((root / record.uri).is_file() for record in records)
    assert not issues.lost


def test_every_kind_of_shape(put: Any) -> None:
    place = 'label="car" source="manual" occluded="1" z_order="-2"'
    box = one(put(images_xml(f'<box {place} xtl="1.5" ytl="2" xbr="30" ybr="40.25"/>')))
    assert box.box == Box(1.5, 2, 30, 40.25)
    assert box.rotation is None
    assert box.occluded is True
    assert box.attributes == {"source": "manual", "z_order": -2}
    assert box.line == FIRST_LINE
    turned = '<box label="car" xtl="10" ytl="10" xbr="30" ybr="40" rotation="33.5"/>'
    assert one(put(images_xml(turned))).rotation == 33.5
    polygon = one(put(images_xml('<polygon label="car" points="1,2;30,4;6,50"/>')))
    assert polygon.segmentation is not None
    assert polygon.segmentation.polygons == ((1, 2, 30, 4, 6, 50),)
    assert polygon.box == Box(1, 2, 30, 50)
    assert one(put(images_xml('<polygon label="car" points="1,2;30,4;6,50"/>')),
               outline_boxes=False).box is None  # fmt: skip
    line = one(put(images_xml('<polyline label="lane" points="1.0,2;3,4"/>')))
    assert line.shape == Shape("polyline", (1, 2, 3, 4))
    assert line.box is None
    ellipse = one(put(images_xml('<ellipse label="car" cx="50" cy="40" rx="20" ry="10"/>')))
    assert ellipse.shape == Shape("ellipse", (50, 40, 20, 10))
    assert ellipse.box == Box(30, 30, 70, 50)
    corners = {
        f"{axis}{corner}{face}": number
        for number, (face, corner, axis) in enumerate(
            (f, c, a) for f in "12" for c in ("tl", "bl", "tr", "br") for a in "xy"
        )
    }
    values = " ".join(f'{name}="{value}"' for name, value in reversed(corners.items()))
    cuboid = one(put(images_xml(f'<cuboid label="car" {values}/>')))
    assert cuboid.shape == Shape("cuboid", tuple(map(float, range(16))))
    assert cuboid.box == Box(0, 1, 14, 15)
    points = one(put(images_xml('<points label="car" points="1,2;3,4"/>')))
    assert [(p.x, p.y, p.name) for p in points.keypoints] == [(1, 2, None), (3, 4, None)]


def test_skeleton_keeps_names_visibility_and_attributes_of_its_points(put: Any) -> None:
    inside = (
        '<points label="head" outside="0" occluded="1" points="1,2">'
        '<attribute name="hat">true</attribute></points>'
        '<points label="foot" outside="1" occluded="0" points="3,4"/>'
        '<points label="hand" outside="0" occluded="0" points="5,6"/>'
    )
    text = images_xml(f'<skeleton label="pose" points="" rotation="0.00">{inside}</skeleton>')
    pose = one(put(text))
    assert [(p.name, p.x, p.y, p.visibility) for p in pose.keypoints] == [
        ("head", 1, 2, 1),
        ("foot", 3, 4, 0),
        ("hand", 5, 6, 2),
    ]
    assert pose.attributes == {"head.hat": True}


def test_attributes_are_typed_by_their_input(put: Any) -> None:
    attributes = {"parked": "true", "seats": "5", "make": "5", "source": "mine"}
    inside = "".join(f'<attribute name="{n}">{v}</attribute>' for n, v in attributes.items())
    box = '<box label="car" source="auto" group_id="7" xtl="1" ytl="2" xbr="3" ybr="4">'
    found = one(put(images_xml(box + inside + "</box>"))).attributes
    assert found == {
        "parked": True,
        "seats": 5,
        "make": "5",
        "source": "mine",
        "cvat_source": "auto",
        "group_id": 7,
    }
    assert type(found["seats"]) is int
    odd = box + '<attribute name="parked">maybe</attribute><attribute name="x"></attribute></box>'
    (record,), issues, _ = read(put(images_xml(odd)))
    assert record.objects[0].attributes["parked"] == "maybe"
    assert record.objects[0].attributes["x"] == ""
    assert issues.counts["attribute-type"] == issues.counts["undeclared-attribute"] == 1


def test_tags_are_labels_of_the_image(put: Any) -> None:
    tag = '<tag label="lane" source="manual"><attribute name="wet">yes</attribute></tag>'
    (record,), issues, _ = read(put(images_xml(tag, tag)))
    assert [(label.category, label.present) for label in record.labels] == [("lane", True)]
    assert record.attributes == {
        "cvat_image_id": 3,
        "lane.wet": "yes",
        "lane.source": "manual",
    }
    assert issues.counts["duplicate-tag"] == 1
    assert record.objects == ()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_masks_agree_with_pycocotools(data: st.DataObject) -> None:
    from tlx_plugins.formats.cvat_mask import whole_image

    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    w, h = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    left, top = data.draw(st.integers(0, width - w)), data.draw(st.integers(0, height - h))
    flat = data.draw(st.lists(st.booleans(), min_size=w * h, max_size=w * h))
    runs, last = [0], False
    for value in flat:
        if value != last:
            runs.append(0)
            last = value
        runs[-1] += 1
    found = whole_image((left, top, w, h, *runs), (width, height))
    expected = np.zeros((height, width), dtype=np.uint8)
    expected[top : top + h, left : left + w] = np.array(flat).reshape(h, w)
    assert found.counts is not None
    opened = judge.decode({"size": [height, width], "counts": found.counts})
    assert (opened == expected).all()


def test_mask_of_the_manual(shared_data: Path) -> None:
    path = shared_data / "cvat" / "official_doc_examples" / "images_1.1_example.xml"
    (record,), _, _ = read(path, "skip")
    (mask,) = [o for o in record.objects if o.segmentation and o.segmentation.counts]
    element = ET.parse(path).getroot().find("image/mask")
    assert element is not None
    runs = [int(run) for run in element.get("rle", "").split(",")]
    assert mask.segmentation is not None
    assert mask.segmentation.size == (1200, 1600)
    rle = {"size": [1200, 1600], "counts": mask.segmentation.counts}
    assert judge.area(rle) == sum(runs[1::2])
    assert list(judge.toBbox(rle)) == [707, 888, 13, 15]
    assert mask.box == Box(707, 888, 720, 903)


BAD = [
    ('<box label="car" xtl="9" ytl="2" xbr="3" ybr="4"/>', "degenerate-box"),
    ('<box label="car" xtl="nan" ytl="2" xbr="3" ybr="4"/>', "bad-shape"),
    ('<box label="car" xtl="1" ytl="2" xbr="3"/>', "bad-shape"),
    ('<box label="car" xtl="1" ytl="2" xbr="1e999" ybr="4"/>', "bad-shape"),
    ('<polygon label="car" points="1,2;3,4"/>', "bad-shape"),
    ('<polygon label="car" points="1,2,3;4,5;6"/>', "bad-shape"),
    ('<polygon label="car" points="1,2;3,4;5,6,"/>', "bad-shape"),
    ('<polygon label="car" points="1,2;3,2;5,2"/>', "degenerate-box"),
    ('<mask label="car" rle="1, 1" left="0" top="0" width="2" height="2"/>', "bad-shape"),
    ('<mask label="car" rle="0, 4" left="99" top="0" width="2" height="2"/>', "bad-shape"),
    ('<mask label="car" rle="4" left="0" top="0" width="99999" height="99999"/>', "bad-shape"),
    (f'<mask label="car" rle="{"9" * 400}" left="0" top="0" width="2" height="2"/>', "bad-shape"),
    ('<ellipse label="car" cx="5" cy="5" rx="0" ry="2"/>', "degenerate-box"),
    ('<skeleton label="pose"><points label="a" points="1,2;3,4"/></skeleton>', "bad-shape"),
    ('<box label="bus" xtl="1" ytl="2" xbr="3" ybr="4"/>', "unknown-label"),
    ('<box xtl="1" ytl="2" xbr="3" ybr="4"/>', "no-label"),
    ('<circle label="car" r="4"/>', "unknown-element"),
]


@pytest.mark.parametrize(("shape", "code"), BAD)
def test_bad_shapes_are_issues_with_their_line(put: Any, shape: str, code: str) -> None:
    good = '<box label="car" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    path = put(images_xml(good, shape, good.replace('"4"', '"5"')))
    (record,), issues, _ = read(path, "skip")
    assert len(record.objects) == 2
    assert issues.counts[code] == issues.lost == 1
    assert [issue.line for issue in issues.kept if issue.code == code] == [FIRST_LINE + 1]
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.place is not None
    assert str(caught.value.place) == f"{path}:{FIRST_LINE + 1}"
    assert caught.value.hint


def test_boxes_outside_follow_the_policy(put: Any) -> None:
    path = put(images_xml('<box label="car" xtl="-9" ytl="2" xbr="30" ybr="40"/>'))
    assert one(path).box == one(path, bad_boxes="keep").box == Box(-9, 2, 30, 40)
    assert one(path, bad_boxes="clip").box == Box(0, 2, 30, 40)
    (record,), issues, _ = read(path, bad_boxes="drop")
    assert record.objects == ()
    assert issues.actions["requested"] == 1
    turned = '<box label="car" xtl="0" ytl="30" xbr="60" ybr="40" rotation="90"/>'
    assert one(put(images_xml(turned)), bad_boxes="clip").box == Box(0, 30, 60, 40)
    leaving = turned.replace('"60"', '"100"')
    assert read(put(images_xml(leaving)))[1].counts["box-outside"] == 1


def test_labels_of_a_file_without_any_are_learned(put: Any) -> None:
    box = '<box label="bus" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    _, issues, taxonomy = read(put(images_xml(box, labels="")))
    assert taxonomy.names == ("bus",)
    assert not issues.lost
    assert read(put(images_xml(box.replace("bus", "car"))))[2]["car"].color == "#ff00aa"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "iso-8859-1"])
def test_declared_encodings_are_read(put: Any, encoding: str) -> None:
    text = images_xml(image='id="0" name="straße.jpg" width="9" height="9"')
    name = encoding.removesuffix("-sig")
    (record,), _, _ = read(put(text.replace('"utf-8"', f'"{name}"').encode(encoding)))
    assert record.image_id == "straße.jpg"


BROKEN = [
    images_xml().encode()[:-30],
    b"<annotations><version>1.1</version><image",
    images_xml(image='id="0" name="stra\u00dfe.jpg"').encode("cp1252"),
    b'<?xml version="1.0" encoding="no-such"?><annotations><image name="a"/></annotations>',
    b'<!DOCTYPE a [<!ENTITY x "y">]><annotations><image name="&x;"/></annotations>',
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations><meta/>&x;</annotations>',
    b"<annotations><meta>" + b"<a>" * 100 + b"</meta></annotations>",
]


@pytest.mark.parametrize("content", BROKEN)
def test_broken_files_are_one_error_or_one_issue(put: Any, content: bytes) -> None:
    path = put(content)
    with pytest.raises(DataError):
        read(path)
    _, issues, _ = read(path, "skip")
    assert issues.counts["broken-file"] == 1


def test_what_stands_before_a_break_is_kept(put: Any) -> None:
    image = '<image id="1" name="b.jpg" width="9" height="9"></image>'
    text = images_xml().replace("</annotations>", image + '\n<image id="2" name="c.jpg"')
    records, issues, _ = read(put(text), "skip")
    assert [record.image_id for record in records] == ["a.jpg", "b.jpg"]
    (issue,) = [issue for issue in issues.kept if issue.code == "broken-file"]
    assert issue.line == FIRST_LINE + 3


def test_other_xml_is_refused_with_what_was_looked_for(put: Any) -> None:
    path = put("<annotation><filename>a.jpg</filename></annotation>", "voc/a.xml")
    for root in (path, path.parent):
        assert not SOURCE.sniff(root).ok
        with pytest.raises(DataError):
            read(root)
    with pytest.raises(UsageError):
        read(path.parent / "absent")


def save_image(path: Path, size: tuple[int, int] = (100, 80), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, **options)


@pytest.mark.parametrize("place", ["images/a.jpg", "a.jpg"])
def test_images_are_found_beside_the_file(put: Any, tmp_path: Path, place: str) -> None:
    path = put(images_xml())
    save_image(tmp_path / place)
    (record,), issues, _ = read(path)
    assert record.uri == place
    assert not issues.total


def test_a_missing_image_is_a_bad_record_while_others_are_there(put: Any, tmp_path: Path) -> None:
    path = put(images_xml())
    save_image(tmp_path / "images" / "b.jpg")
    with pytest.raises(DataError, match=r"a\.jpg is not beside"):
        read(path)
    assert read(path, "skip")[0] == []
    (record,), issues, _ = read(path, missing_images="keep")
    assert record.uri == "images/a.jpg"
    assert issues.counts["missing-image"] == 1
    other = tmp_path / "elsewhere" / "a.jpg"
    save_image(other)
    (record,), _, _ = read(path, images=str(other.parent))
    assert record.uri == "a.jpg"


def test_sizes_are_compared(put: Any, tmp_path: Path) -> None:
    path = put(images_xml())
    save_image(tmp_path / "images" / "a.jpg", (80, 100))
    with pytest.raises(DataError, match="EXIF"):
        read(path)
    assert len(read(path, exif="keep")[0]) == 1
    save_image(tmp_path / "images" / "a.jpg", (50, 50))
    assert read(path)[1].counts["size-mismatch"] == 1
    (tmp_path / "images" / "a.jpg").write_bytes(b"no image")
    assert read(path)[1].counts["unreadable-image"] == 1


def test_frames_of_a_video_exported_as_images(put: Any, tmp_path: Path) -> None:
    image = 'id="13" name="frame_000013" width="100" height="80"'
    path = put(images_xml(image=image, mode="interpolation", name="drive 7"))
    save_image(tmp_path / "images" / "frame_000013.png")
    (record,), _, _ = read(path)
    assert (record.image_id, record.uri) == ("frame_000013", "images/frame_000013.png")
    assert (record.group, record.frame) == ("drive 7", 13)


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "c:\\a.jpg", "a&#9;.jpg", "."])
def test_names_that_lead_away_are_issues(put: Any, name: str) -> None:
    path = put(images_xml(image=f'id="0" name="{name}" width="9" height="9"'))
    records, issues, _ = read(path, "skip")
    assert records == []
    assert issues.counts["bad-name"] == 1


def test_windows_names_become_posix(put: Any) -> None:
    (record,), _, _ = read(put(images_xml(image='name="d 1\\b&amp;c.jpg"')))
    assert record.image_id == "d 1/b&c.jpg"
    assert record.width is None


def test_a_folder_of_jobs(put: Any, tmp_path: Path) -> None:
    for job in ("job_2", "job_1"):
        put(images_xml(), f"{job}/annotations.xml")
    put("<annotation/>", "voc.xml")
    loop = tmp_path / "job_1" / "loop"
    loop.symlink_to(tmp_path, target_is_directory=True)
    records, issues, _ = read(tmp_path)
    assert [record.image_id for record in records] == ["job_1/a.jpg", "job_2/a.jpg"]
    assert [record.uri for record in records] == ["job_1/images/a.jpg", "job_2/images/a.jpg"]
    assert issues.counts["other-file"] == 1
    assert SOURCE.sniff(tmp_path).ok


def test_repeated_images_are_issues(put: Any, tmp_path: Path) -> None:
    text = images_xml()
    image = text[text.index("<image") : text.index("</annotations>")]
    path = put(text.replace(image, image + image))
    records, issues, _ = read(path, "skip")
    assert len(records) == 1
    assert issues.counts["duplicate-image"] == 1
    with pytest.raises(DataError, match="twice"):
        read(path)


def zipped(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (100, 80)).save(stream, "JPEG")
    return stream.getvalue()


def test_zip_is_read_without_extraction(tmp_path: Path) -> None:
    members = {"annotations.xml": images_xml().encode(), "images/a.jpg": jpeg()}
    path = zipped(tmp_path / "job.zip", members)
    assert SOURCE.sniff(path).ok
    (record,), issues, _ = read(path)
    assert record.uri == "images/a.jpg"
    assert record.origin is not None
    assert record.origin.path == "job.zip/annotations.xml"
    (issue,) = issues.kept
    assert (issue.code, issue.action) == ("images-in-zip", "kept")
    assert list(tmp_path.iterdir()) == [path]
    (record,), issues, _ = read(path, extract=str(tmp_path / "out"))
    assert (tmp_path / "out" / record.uri).read_bytes() == members["images/a.jpg"]
    assert not issues.total
    with pytest.raises(UsageError, match="exists"):
        read(path, extract=str(tmp_path / "out"))


def test_zip_beside_its_extracted_folder_is_read_once(put: Any, tmp_path: Path) -> None:
    put(images_xml(), "job/annotations.xml")
    zipped(tmp_path / "job.zip", {"annotations.xml": images_xml().encode()})
    records, issues, _ = read(tmp_path)
    assert len(records) == 1
    assert issues.counts["duplicate-file"] == 1


def test_extraction_stays_in_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    link = zipfile.ZipInfo("images/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    names = ["../out.jpg", "/abs.jpg", "images/../../up.jpg", "C:/drive.jpg", "images/a.jpg"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.xml", images_xml())
        archive.writestr(link, "/etc/passwd")
        for name in names:
            archive.writestr(name, jpeg())
    records, _, _ = read(path, extract=str(tmp_path / "out"))
    assert len(records) == 1
    found = [p for p in tmp_path.rglob("*") if p.is_file() or p.is_symlink()]
    assert {p.relative_to(tmp_path).as_posix() for p in found} == {"evil.zip", "out/images/a.jpg"}


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    bomb = b"<annotations><meta>" + bytes(70 << 20)
    path = zipped(tmp_path / "bomb.zip", {"annotations.xml": bomb})
    with pytest.raises(DataError, match="bomb"):
        read(path)
    assert not SOURCE.sniff(path).ok
    images = zipped(
        tmp_path / "images.zip",
        {"annotations.xml": images_xml().encode(), "images/a.jpg": bytes(70 << 20)},
    )
    with pytest.raises(DataError, match="bomb"):
        read(images, extract=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_broken_zips_are_errors(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"annotations.xml": images_xml().encode()})
    content = path.read_bytes()
    for damaged in (content[:50], content[:60] + b"\xff" * 40 + content[100:], b"PK\x03\x04"):
        path.write_bytes(damaged)
        with pytest.raises(TlxError):
            read(path)


def test_one_element_may_not_go_on_for_ever(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlx_plugins.formats import cvat_xml

    monkeypatch.setattr(cvat_xml, "_LARGEST_PIECE", 1 << 20)
    path = put(images_xml(image=f'name="a.jpg" id="{"9" * (3 << 20)}"'))
    with pytest.raises(DataError, match="within one element"):
        read(path)


@pytest.mark.parametrize("action", ["--dry-run", "--overwrite"])
def test_command_line(put: Any, tmp_path: Path, action: str, capsys: Any) -> None:
    from tlx.cli import main

    box = '<box label="car" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    path = put(images_xml(box, box.replace("car", "bus"), subset="Train"))
    arguments = ["ingest", "cvat", str(path), "-o", str(tmp_path / "out.tlx"), action, "--json"]
    assert main([*arguments, "--on-error", "skip"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["issues"] == {"no-images": 1, "unknown-label": 1}
    assert (tmp_path / "out.tlx").exists() == (action != "--dry-run")
    assert main(arguments) == 3


SEEDS = ["images_1.1_example.xml", "video_1.1_example.xml"]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_mutated_files_do_no_harm(shared_data: Path, tmp_path: Path, data: st.DataObject) -> None:
    folder = shared_data / "cvat" / "official_doc_examples"
    content = bytearray((folder / data.draw(st.sampled_from(SEEDS))).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "digit", "double", "swap"]))
        if kind == "flip":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 60))]
        elif kind == "digit":
            digits = [i for i, byte in enumerate(content) if 48 <= byte < 58]
            content[data.draw(st.sampled_from(digits))] = data.draw(st.sampled_from(b"0129-.eE;,"))
        elif kind == "double":
            content[at:at] = content[at : at + data.draw(st.integers(1, 400))]
        else:
            lines = content.split(b"\n")
            first = data.draw(st.integers(0, len(lines) - 1))
            second = data.draw(st.integers(0, len(lines) - 1))
            lines[first], lines[second] = lines[second], lines[first]
            content = bytearray(b"\n".join(lines))
    path = tmp_path / "annotations.xml"
    path.write_bytes(content)
    hold = data.draw(st.sampled_from(["end", "hold"]))
    try:
        records, _, taxonomy = read(path, "skip", open_tracks=hold)
    except TlxError:
        return
    assert all(thing.category in taxonomy for record in records for thing in record.objects)
