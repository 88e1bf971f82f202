"""The road surveys and the LISA signs keep the promises of the kit."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tlx.testing import SourceChecks
from tlx_plugins.sources.lisa_signs import LisaSignSource
from tlx_plugins.sources.road_csv import RoadCsvSource

HEADER = (
    "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
    "Lower right corner Y;Occluded,On another road;Origin file;Origin frame number;Origin track;"
    "Origin track frame number"
)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(path)


class TestRoadCsv(SourceChecks):
    plugin = RoadCsvSource()

    def material(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        rows = [f"A1,{n * 100},{n * 100 + 100},{n % 2},1" for n in range(4)]
        (folder / "segments.csv").write_text("\n".join(["road,from,to,crack,sign", *rows, ""]))
        sights = [f"photos/{n:02d}.jpg,A1,{n * 10}" for n in range(40)]
        (folder / "images.csv").write_text("\n".join(["image,road,chainage", *sights, ""]))
        for number in range(40):
            picture(folder / "photos" / f"{number:02d}.jpg")
        return folder


class TestLisaSigns(SourceChecks):
    plugin = LisaSignSource()

    def material(self, folder: Path) -> Path:
        rows = []
        for number in range(12):
            name = f"clip/stop_{number}.png"
            picture(folder / name)
            rows.append(f"{name};stop;{number};5;40;30;0,0;clip.avi;{number};stop.avi;{number}")
        (folder / "allAnnotations.csv").write_text("\n".join([HEADER, *rows, ""]))
        return folder
