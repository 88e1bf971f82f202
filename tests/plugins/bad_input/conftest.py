"""A small input of every source and readable format, made so that any of it can be spoilt.

All data is made here; the DriveU files follow its documentation, none is real.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlx import host, testing
from tlx.issues import IssueLog
from tlx.model import Record
from tlx_plugins.formats.tfrecord_example import bytes_entry, example, float_entry, integer_entry
from tlx_plugins.formats.tfrecord_framing import RecordFile

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Picture:
    """An image to label: its name, its boxes (class, corners) and how it is stored."""

    name: str
    boxes: tuple[tuple[str, Corners], ...]
    size: tuple[int, int] = (200, 100)
    orientation: int = 1
    folder: str = ""
    slash: str = "/"

    @property
    def written(self) -> str:
        """How the label file names it; with backslashes by a Windows program."""
        return f"{self.folder}{self.slash}{self.name}" if self.folder else self.name


PLAIN = (
    Picture("1.png", (("go", (10, 20, 50, 60)), ("stop", (60, 20, 90, 60)))),
    Picture("2.png", (("go", (11, 21, 51, 61)),)),
)


@dataclass(frozen=True)
class Kit:
    """How one source is laid out.

    Attributes:
        name: Of the source or format.
        make: Writes the label files for pictures below a folder.
        image: Where an image lies below the folder.
        labels: The label file that the tests spoil, below the folder.
        text: Whether that is text.
        second: A class that the source knows beside ``go`` and ``stop``, or None.
        options: What the source needs to be told.
    """

    name: str
    make: Callable[[Path, Sequence[Picture]], None]
    image: Callable[[Picture], str]
    labels: str
    text: bool = True
    options: tuple[tuple[str, Any], ...] = ()

    def build(self, root: Path, pictures: Sequence[Picture] = PLAIN) -> Path:
        """Write images and labels; returns what is to be read."""
        root.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            path = root / self.image(picture)
            path.parent.mkdir(parents=True, exist_ok=True)
            exif = Image.Exif()
            exif[0x0112] = picture.orientation
            Image.new("RGB", picture.size, "#406080").save(path, exif=exif)
        self.make(root, pictures)
        return root

    def read(
        self, root: Path, policy: str = "fail", **options: Any
    ) -> tuple[list[Record], IssueLog]:
        """Everything that the source makes of the folder, and its issues."""
        source = host.installed().source(self.name)
        given = dict(self.options) | options
        found = testing.read(source, root, policy, **given)  # type: ignore[arg-type]
        return found.records, found.issues

    def changed(self, root: Path, change: Callable[[bytes], bytes]) -> None:
        """Spoil the label file."""
        path = root / self.labels
        path.write_bytes(change(path.read_bytes()))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _lisa(root: Path, pictures: Sequence[Picture]) -> None:
    head = (
        "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
        "Lower right corner Y;Origin file;Origin frame number;Origin track;"
        "Origin track frame number"
    )
    rows = [
        f"dayTest{p.slash}{_lisa_name(p)};{tag};{';'.join(f'{v:g}' for v in box)}"
        f";a.mp4;{i};a.mp4;{i}"
        for i, p in enumerate(pictures)
        for tag, box in p.boxes
    ]
    _put(root / "Annotations/daySequence1/frameAnnotationsBOX.csv", "\n".join([head, *rows, ""]))


def _lisa_name(picture: Picture) -> str:
    stem, _, suffix = picture.name.rpartition(".")
    number = f"{int(stem):05d}" if stem.isdigit() else stem
    return f"daySequence1--{number}.{suffix}"


_WORDS = {"direction": "front", "relevance": "relevant", "occlusion": "not_occluded",
          "orientation": "vertical", "aspects": "three_aspects", "pictogram": "circle",
          "reflection": "not_reflected"}  # fmt: skip
_STATES = {"go": "green", "stop": "red"}
_CLIP = "Berlin/Berlin1/2015-04-17_10-50-05"


def _clip(picture: Picture) -> str:
    return f"{_CLIP}/{picture.name}".replace("/", picture.slash)


def _driveu_json(root: Path, pictures: Sequence[Picture]) -> None:
    images = [
        {
            "image_path": _clip(p),
            "time_stamp": float(i),
            "labels": [
                {"x": b[0], "y": b[1], "w": b[2] - b[0], "h": b[3] - b[1], "unique_id": 1,
                 "track_id": "T_1", "attributes": {**_WORDS, "state": _STATES.get(tag, tag)}}
                for tag, b in p.boxes
            ],
        }
        for i, p in enumerate(pictures)
    ]  # fmt: skip
    _put(root / "DTLD_all.json", json.dumps({"images": images}, indent=1, ensure_ascii=False))


def _driveu_yaml(root: Path, pictures: Sequence[Picture]) -> None:
    digits = {"go": "112340", "stop": "112310"}
    text = ""
    for i, p in enumerate(pictures):
        text += f"- disp_path: /a/{_CLIP}/{p.name}\n  objects:\n"
        for tag, b in p.boxes:
            text += (
                f"  - {{x: {b[0]:g}, y: {b[1]:g}, width: {b[2] - b[0]:g}, height: {b[3] - b[1]:g}, "
                f"class_id: {digits.get(tag, tag)}, unique_id: 1, track_id: T_1}}\n"
            )
        text += f"  path: /a/{_clip(p)}\n  time_stamp: {i}.5\n"
    _put(root / "DTLD_all.yml", text)


def _twin(picture: Picture, number: int) -> int:
    """The number of the first box that says the same."""
    return list(map(repr, picture.boxes)).index(repr(picture.boxes[number]))


def _labelbox(root: Path, pictures: Sequence[Picture]) -> None:
    lines = []
    for p in pictures:
        things = [
            {"feature_id": f"f{_twin(p, n)}", "name": tag, "annotation_kind": "ImageBoundingBox",
             "bounding_box": {"top": b[1], "left": b[0], "height": b[3] - b[1],
                              "width": b[2] - b[0]}}
            for n, (tag, b) in enumerate(p.boxes)
        ]  # fmt: skip
        row = {
            "data_row": {"id": f"r{p.written}", "external_id": p.written, "row_data": f"https://h.test/{p.written}"},
            "media_attributes": {"height": _upright(p)[1], "width": _upright(p)[0],
                                 "mime_type": "image/jpeg"},
            "projects": {"p": {"name": "p", "labels": [
                {"id": "l", "annotations": {"objects": things, "classifications": []}}]}},
        }  # fmt: skip
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    _put(root / "export.ndjson", "".join(lines))


def _upright(p: Picture) -> tuple[int, int]:
    return (p.size[1], p.size[0]) if p.orientation > 4 else p.size


def _cvat(root: Path, pictures: Sequence[Picture]) -> None:
    names = sorted({"go", "stop", "w\u00fcrfel"})
    text = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
    text += "<meta><task><labels>"
    text += "".join(f"<label><name>{name}</name></label>" for name in names)
    text += "</labels></task></meta>\n"
    for i, p in enumerate(pictures):
        w, h = _upright(p)
        text += f'<image id="{i}" name="{p.written}" width="{w}" height="{h}">\n'
        for tag, b in p.boxes:
            text += (
                f'<box label="{tag}" source="manual" occluded="0" xtl="{b[0]}" ytl="{b[1]}" '
                f'xbr="{b[2]}" ybr="{b[3]}" z_order="0"></box>\n'
            )
        text += "</image>\n"
    _put(root / "annotations.xml", text + "</annotations>\n")


def _coco(root: Path, pictures: Sequence[Picture]) -> None:
    ids = {"go": 1, "stop": 2, "w\u00fcrfel": 3}
    value: dict[str, Any] = {
        "categories": [{"id": n, "name": name} for name, n in ids.items()],
        "images": [],
        "annotations": [],
    }
    for i, p in enumerate(pictures):
        w, h = _upright(p)
        value["images"].append({"id": i, "file_name": p.written, "width": w, "height": h})
        for n, (tag, b) in enumerate(p.boxes):
            bbox = [b[0], b[1], b[2] - b[0], b[3] - b[1]]
            value["annotations"].append(
                {"id": 100 * i + _twin(p, n), "image_id": i, "category_id": ids.get(tag, 99),
                 "bbox": bbox, "iscrowd": 0}
            )  # fmt: skip
    _put(root / "annotations/instances.json", json.dumps(value, indent=1, ensure_ascii=False))


def _voc(root: Path, pictures: Sequence[Picture]) -> None:
    for p in pictures:
        w, h = _upright(p)
        text = f'<annotation pixel_base="0">\n<filename>{p.written}</filename>\n'
        text += f"<size><width>{w}</width><height>{h}</height><depth>3</depth></size>\n"
        for tag, b in p.boxes:
            text += f"<object>\n<name>{tag}</name>\n<bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin>"
            text += f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox>\n</object>\n"
        stem = Path(p.folder) / p.name.rpartition(".")[0]
        _put(root / "Annotations" / f"{stem}.xml", text + "</annotation>\n")


def _yolo(root: Path, pictures: Sequence[Picture]) -> None:
    classes = ["go", "stop", "w\u00fcrfel"]
    _put(root / "data.yaml", f"names: {json.dumps(classes)}\ntrain: images\n")
    for p in pictures:
        w, h = _upright(p)
        text = ""
        for tag, b in p.boxes:
            number = classes.index(tag) if tag in classes else 99
            x, y = (b[0] + b[2]) / 2 / w, (b[1] + b[3]) / 2 / h
            text += f"{number} {x} {y} {(b[2] - b[0]) / w} {(b[3] - b[1]) / h}\n"
        stem = Path(p.folder) / p.name.rpartition(".")[0]
        _put(root / "labels" / f"{stem}.txt", text)


def _csv(root: Path, pictures: Sequence[Picture]) -> None:
    rows = ["filename,class,xmin,ymin,xmax,ymax"]
    for p in pictures:
        rows += [f"{p.written},{tag},{','.join(map(str, b))}" for tag, b in p.boxes]
    _put(root / "labels.csv", "\n".join([*rows, ""]))


def _tfrecord(root: Path, pictures: Sequence[Picture]) -> None:
    with closing(RecordFile(root / "train.record", "none")) as file:
        for p in pictures:
            w, h = _upright(p)
            path = root / ".." / f"{root.name} pictures" / (p.folder or ".") / p.name
            entries = [
                bytes_entry("image/filename", [p.written.encode()]),
                bytes_entry("image/object/class/text", [tag.encode() for tag, _ in p.boxes]),
                integer_entry("image/width", [w]),
                integer_entry("image/height", [h]),
            ]
            sides = {"xmin": (0, w), "ymin": (1, h)}
            sides |= {"xmax": (2, w), "ymax": (3, h)}
            for side, (at, length) in sides.items():
                values = [box[at] / length for _, box in p.boxes]
                entries.append(float_entry(f"image/object/bbox/{side}", values))
            data = path.read_bytes() if path.is_file() else b""
            file.write(example(entries, "image/encoded", data))


_IN_IMAGES = lambda p: f"images/{p.folder}/{p.name}" if p.folder else f"images/{p.name}"  # noqa: E731
_BESIDE = lambda p: f"{p.folder}/{p.name}" if p.folder else p.name  # noqa: E731

KITS = {
    "lisa": Kit(
        "lisa",
        _lisa,
        lambda p: f"daySequence1/frames/{_lisa_name(p)}",
        "Annotations/daySequence1/frameAnnotationsBOX.csv",
    ),
    "driveu-json": Kit("driveu", _driveu_json, lambda p: f"{_CLIP}/{p.name}", "DTLD_all.json"),
    "driveu-yaml": Kit("driveu", _driveu_yaml, lambda p: f"{_CLIP}/{p.name}", "DTLD_all.yml"),
    "labelbox": Kit("labelbox", _labelbox, _IN_IMAGES, "export.ndjson"),
    "cvat": Kit("cvat", _cvat, _IN_IMAGES, "annotations.xml"),
    "coco": Kit("coco", _coco, _IN_IMAGES, "annotations/instances.json"),
    "voc": Kit("voc", _voc, _IN_IMAGES, "Annotations/1.xml"),
    "yolo": Kit("yolo", _yolo, _IN_IMAGES, "labels/1.txt"),
    "csv": Kit("csv", _csv, _BESIDE, "labels.csv"),
    "tfrecord": Kit("tfrecord", _tfrecord, lambda p: f"../r pictures/{_BESIDE(p)}", "train.record",
                    text=False),
}  # fmt: skip


@pytest.fixture(params=list(KITS))
def kit(request: Any) -> Kit:
    """The sources one after the other."""
    found = KITS[request.param]
    if found.name == "labelbox":
        found = replace(found, options=(("images", "images"),))
    return found


@pytest.fixture
def label(request: Any) -> str:
    """The name of the row in the tables of expectations."""
    return str(request.node.callspec.params["kit"])


@pytest.fixture
def plain() -> tuple[Picture, ...]:
    """Two pictures with good labels."""
    return PLAIN
