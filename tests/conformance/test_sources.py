"""Every built-in source keeps the promises of the kit, on made material of its own kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlx.host import installed
from tlx.testing import SourceChecks, Trial

BOXES = "xtl='{0}' ytl='20' xbr='{1}' ybr='40'"
COLUMNS = (
    "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
    "Lower right corner Y;Origin file;Origin frame number;Origin track;Origin track frame number"
)


def cvat(folder: Path) -> Path:
    """Two images with a box each, and one without."""
    images = "".join(
        f"<image id='{n}' name='ä {n}.jpg' width='100' height='80'>"
        + (f"<box label='bus' occluded='0' {BOXES.format(n, n + 30)}/>" if n < 2 else "")
        + "</image>\n"
        for n in range(3)
    )
    labels = "<labels><label><name>car</name></label><label><name>bus</name></label></labels>"
    meta = f"<meta><task><size>3</size>{labels}</task></meta>"
    text = f"<annotations><version>1.1</version>\n{meta}\n{images}</annotations>\n"
    (folder / "annotations.xml").write_text(text, encoding="utf-8")
    return folder


def driveu(folder: Path) -> Path:
    """Two frames of one sequence in labels of version 2."""
    words = ("direction front", "relevance relevant", "occlusion not_occluded", "state red",
             "orientation vertical", "aspects three_aspects", "pictogram circle",
             "reflection not_reflected")  # fmt: skip
    light = {"x": 100, "y": 50, "w": 10, "h": 30, "unique_id": 7, "track_id": "t",
             "attributes": dict(word.split() for word in words)}  # fmt: skip
    images = []
    for second in (1, 2):
        day = "2015-04-17_10-50-05"
        stem = f"DE_BBBR667_2015-04-17_10-50-{second:02d}-000001"
        path = f"./Berlin/Berlin1/{day}/{stem}_k0.tiff"
        images.append(
            {"image_path": path, "disparity_image_path": path.replace("k0", "nativeV2"),
             "time_stamp": 1429260605.5 + second, "velocity": 9.5, "yaw_rate": 0.0,
             "longitude": 13.37, "latitude": 52.5, "labels": [light] * (second == 1)}
        )  # fmt: skip
    (folder / "DTLD_labels_v2.0").mkdir()
    file = folder / "DTLD_labels_v2.0" / "DTLD_all.json"
    file.write_text(json.dumps({"images": images}, indent=1))
    return folder


def labelbox(folder: Path) -> Path:
    """Two rows of an NDJSON export, one of them without an object."""
    rows = []
    for number in range(2):
        corners = {"top": 10.0, "left": 20.0, "height": 30.0, "width": 40.0}
        box = {"feature_id": f"f{number}", "name": "car", "bounding_box": corners}
        box["annotation_kind"] = "ImageBoundingBox"
        annotations = {"objects": [box] * (1 - number), "classifications": []}
        label = {"id": f"l{number}", "label_kind": "Default", "annotations": annotations}
        name = f"ä {number}.jpg"
        data = {"id": name, "external_id": name, "row_data": f"https://host.test/{number}.jpg"}
        size = {"height": 100, "width": 200, "mime_type": "image/jpeg"}
        projects = {"p": {"name": "lights", "labels": [label]}}
        rows.append({"data_row": data, "media_attributes": size, "projects": projects})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "export.ndjson").write_text(text, encoding="utf-8")
    return folder / "export.ndjson"


def lisa(folder: Path) -> Path:
    """Two clips of the archive, with a frame that has no light."""
    for clip in ("daySequence1", "daySequence2"):
        labels = folder / "Annotations" / "Annotations" / clip
        frames = folder / clip / clip / "frames"
        labels.mkdir(parents=True)
        frames.mkdir(parents=True)
        video = f"dayTest/{clip}/clip.mp4"
        rows = [
            f"dayTest/{clip}--{n:05d}.jpg;stop;20;30;30;50;{video};{n};{video};{n}" for n in (0, 1)
        ]
        (labels / "frameAnnotationsBOX.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
        for number in range(3):
            Image.new("RGB", (64, 60), (number, 0, 0)).save(frames / f"{clip}--{number:05d}.jpg")
    return folder


def lisa_signs(folder: Path) -> Path:
    """A table of signs, one for each frame."""
    (folder / "clip").mkdir()
    rows = []
    for number in range(12):
        name = f"clip/stop_{number}.png"
        Image.new("RGB", (64, 48), (number, 0, 0)).save(folder / name)
        rows.append(f"{name};stop;{number};5;40;30;0,0;clip.avi;{number};stop.avi;{number}")
    head = COLUMNS.replace("Origin file", "Occluded,On another road;Origin file")
    (folder / "allAnnotations.csv").write_text("\n".join([head, *rows, ""]))
    return folder


def road_csv(folder: Path) -> Path:
    """Four segments of 100 m, with an image every 10 m."""
    (folder / "photos").mkdir()
    rows = [f"A1,{n * 100},{n * 100 + 100},{n % 2},1" for n in range(4)]
    (folder / "segments.csv").write_text("\n".join(["road,from,to,crack,sign", *rows, ""]))
    sights = [f"photos/ä{n:02d}.jpg,A1,{n * 10}" for n in range(40)]
    table = "\n".join(["image,road,chainage", *sights, ""])
    (folder / "images.csv").write_text(table, encoding="utf-8")
    for number in range(40):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(folder / "photos" / f"ä{number:02d}.jpg")
    return folder


MATERIAL = {
    "cvat": cvat,
    "driveu": driveu,
    "labelbox": labelbox,
    "lisa": lisa,
    "lisa-signs": lisa_signs,
    "road-csv": road_csv,
}
SETTINGS: dict[str, dict[str, Any]] = {}
OWN = [entry for entry in installed().all("source") if entry.distribution == "tlx"]

for entry in OWN:
    if entry.kind == "source" and entry.name in MATERIAL:
        name = f"Test{entry.name.title().replace('-', '')}"
        members = {"plugin": entry.value, "material": staticmethod(MATERIAL[entry.name])}
        members |= SETTINGS.get(entry.name, {})
        globals()[name] = type(name, (SourceChecks,), members)


def test_every_built_in_source_has_material() -> None:
    assert {entry.name for entry in OWN if entry.kind == "source"} <= set(MATERIAL)


@pytest.mark.parametrize("name", [e.name for e in OWN if e.kind == "format" or e.name in MATERIAL])
def test_material_is_recognised_by_its_own_reader_alone(name: str, tmp_path: Path) -> None:
    """What one reader takes no other one takes, so that ``tlx ingest PATH`` knows what it is."""
    plugin = next(entry.value for entry in OWN if entry.name == name)
    root = Trial(plugin, tmp_path, make=MATERIAL.get(name)).material()
    assert [entry.name for entry in OWN if entry.value.sniff(root).ok] == [name]
