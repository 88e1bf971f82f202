"""KITTI labels: the promises of a format, and a file as the development kit describes it."""

from __future__ import annotations

from pathlib import Path

from tlx.model import Box
from tlx.testing import FormatChecks, read
from tlx_kitti.format import KittiFormat


class TestKitti(FormatChecks):
    plugin = KittiFormat()
    # Blanks part the fields of a line, so no class can have one.
    classes = ("stop&<go>", "it's", "Straße", "never_used", "bus", "no", "person")


LINES = """\
Car 0.31 2 -1.57 599.41 156.40 629.75 189.25 2.85 2.63 12.34 0.47 1.49 69.44 -1.56
Cyclist 0.00 3 -2.46 665.45 160.00 717.93 217.99 1.72 0.47 1.65 2.45 1.35 22.10 -2.35
DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10
"""


def test_a_file_of_the_development_kit(tmp_path: Path) -> None:
    (tmp_path / "label_2").mkdir()
    (tmp_path / "label_2/000007.txt").write_text(LINES)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/train.txt").write_text("000007\n")
    record = read(KittiFormat(), tmp_path).records[0]
    assert (record.image_id, record.split) == ("000007.png", "train")
    car, cyclist, region = record.objects
    assert car.box == Box(599.41, 156.40, 629.75, 189.25)
    assert (car.truncated, car.occluded, car.attributes["truncation"]) == (True, True, 0.31)
    assert (car.attributes["z"], car.attributes["rotation_y"]) == (69.44, -1.56)
    assert (cyclist.truncated, cyclist.occluded) == (False, None)
    assert (region.crowd, dict(region.attributes)) == (True, {})
    assert len(read(KittiFormat(), tmp_path, dont_care=False).records[0].objects) == 2
