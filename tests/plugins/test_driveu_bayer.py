"""Pictures from DriveU's mosaics; the mosaics are made, no image of the data set is public."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlx.context import Context
from tlx.errors import DataError
from tlx.issues import IssueLog
from tlx.model import Record
from tlx.pixels import decoder_of, open_rgb, viewable
from tlx_plugins.formats.tfrecord_pictures import Picture, load
from tlx_plugins.sources.driveu import DriveuOptions, DriveuSource
from tlx_plugins.sources.driveu_bayer import decode_bayer, demosaic

PATH = "Fulda/Fulda1/2015-01-01_00-00-00/DE_1_k0"


def mosaic_of(picture: Any) -> Any:
    """What a sensor with the pattern G R / B G measures of a picture."""
    mosaic = picture[..., 1].copy()
    mosaic[0::2, 1::2] = picture[0::2, 1::2, 0]
    mosaic[1::2, 0::2] = picture[1::2, 0::2, 2]
    return mosaic


def save(path: Path, mosaic: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mosaic.astype(np.uint16)).save(path)
    return path


@pytest.mark.parametrize("color", [(4095, 0, 0), (0, 4095, 0), (0, 0, 4095), (4095, 2000, 16)])
@pytest.mark.parametrize("shape", [(8, 12), (7, 5), (2, 2)])
def test_one_color_everywhere(
    tmp_path: Path, color: tuple[int, int, int], shape: tuple[int, int]
) -> None:
    picture = np.broadcast_to(np.array(color, np.uint16), (*shape, 3))
    decoded = decode_bayer(save(tmp_path / "a.tiff", mosaic_of(picture)))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, picture >> 4)


def test_a_linear_gradient_comes_back() -> None:
    rows, columns = np.indices((20, 30))
    picture = np.stack([40 * rows + 8 * columns, 600 + 16 * columns, 3000 - 24 * rows], axis=-1)
    picture = picture.astype(np.uint16)
    found = demosaic(mosaic_of(picture))
    # Bilinear interpolation is exact for a plane, away from the border.
    assert np.array_equal(found[1:-1, 1:-1], picture[1:-1, 1:-1])


def test_what_was_measured_is_kept() -> None:
    dice = np.random.default_rng(0)
    mosaic = dice.integers(0, 4096, (16, 18), dtype=np.uint16)
    found = demosaic(mosaic)
    assert np.array_equal(mosaic_of(found), mosaic)


def test_opencv_agrees() -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    dice = np.random.default_rng(1)
    mosaic = dice.integers(0, 4096, (64, 48), dtype=np.uint16)
    judged = cv2.cvtColor(mosaic, cv2.COLOR_BAYER_GB2RGB).astype(int)
    difference = np.abs(demosaic(mosaic).astype(int) - judged)
    # OpenCV rounds means to the nearest number, and copies its border from inside.
    assert difference[1:-1, 1:-1].max() <= 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="no 16-bit mosaic"):
        decode_bayer(tmp_path / "a.tiff")
    (tmp_path / "b.tiff").write_bytes(b"no picture at all")
    with pytest.raises(DataError, match="cannot be read"):
        decode_bayer(tmp_path / "b.tiff")


def read(root: Path, policy: str, proxies: Path) -> tuple[list[Record], IssueLog, Path]:
    context = Context(issues=IssueLog(policy))  # type: ignore[arg-type]
    reading = DriveuSource().read(root, DriveuOptions(proxies=str(proxies)), context)
    return list(reading.content), context.issues, reading.media_root  # type: ignore[arg-type]


def test_proxies(tmp_path: Path) -> None:
    import json

    root, proxies = tmp_path / "DTLD", tmp_path / "proxies"
    root.mkdir()
    paths = [PATH, PATH.replace("DE_1", "DE_2"), PATH.replace("DE_1", "DE_3")]
    frames = [{"image_path": f"./{path}.tiff", "labels": []} for path in paths]
    (root / "DTLD_all.json").write_text(json.dumps({"images": frames}))
    picture = np.broadcast_to(np.array((4095, 1600, 0), np.uint16), (6, 8, 3))
    save(root / f"{paths[0]}.tiff", mosaic_of(picture))
    Image.new("RGB", (8, 6)).save(root / f"{paths[1]}.jpg")
    (root / f"{paths[2]}.tiff").write_bytes(b"no picture at all")
    before = sorted(root.rglob("*"))
    with pytest.raises(DataError, match="cannot be read as a TIFF"):
        read(root, "fail", proxies)
    records, issues, media_root = read(root, "skip", proxies)
    assert media_root == proxies
    assert [r.uri for r in records] == [f"{paths[0]}.png", f"{paths[1]}.jpg"]
    with Image.open(media_root / records[0].uri) as image:
        assert (image.mode, image.size) == ("RGB", (8, 6))
        assert image.getpixel((3, 3)) == (255, 100, 0)
    assert issues.counts["unreadable-image"] >= 1
    assert "bayer-images" not in issues.counts
    assert sorted(root.rglob("*")) == before
    made = proxies / f"{paths[0]}.png"
    stamp = made.stat().st_mtime_ns
    read(root, "skip", proxies)
    assert made.stat().st_mtime_ns == stamp
    later = made.stat().st_mtime + 10
    os.utime(root / f"{paths[0]}.tiff", (later, later))
    read(root, "skip", proxies)
    assert made.stat().st_mtime_ns != stamp
    assert not list(proxies.rglob("*.part"))


def test_raw_images_look_right_wherever_pixels_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    color = (255, 100, 6)
    picture = np.broadcast_to(np.array(color, np.uint16) << 4, (6, 8, 3))
    raw = save(tmp_path / f"{PATH}.tiff", mosaic_of(picture))
    assert open_rgb(raw).getpixel((3, 3)) == color
    proxy = viewable(raw)
    with Image.open(proxy) as image:
        assert (image.format, image.size) == ("JPEG", (8, 6))
        assert np.abs(np.subtract(image.getpixel((3, 3)), color)).max() < 12
    stamp = proxy.stat().st_mtime_ns
    assert viewable(raw) == proxy
    assert proxy.stat().st_mtime_ns == stamp
    save(raw, mosaic_of(picture // 2)[:4])
    assert viewable(raw) != proxy
    torch_images = pytest.importorskip("tlx_backends.torch_detection.images")
    assert torch_images.read(str(raw))[:, 3, 3].tolist() == [value // 2 for value in color]


@pytest.mark.parametrize("name", ["depth.tiff", "Fulda/Essen1/a/x.tiff", "a_k0.tiff", "a_k0.png"])
def test_other_images_are_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    is_grey = name.startswith("a")
    Image.fromarray(np.full((4, 6), 7, np.uint8 if is_grey else np.uint16)).save(path)
    assert decoder_of(path) is None
    assert viewable(path) == path
    assert decoder_of(tmp_path / "absent_k0.tiff") is None


def test_a_broken_raw_image_is_an_error_like_any(tmp_path: Path) -> None:
    path = save(tmp_path / "x_k0.tiff", np.zeros((64, 64)))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(OSError, match="TIFF"):
        open_rgb(path)


@pytest.mark.parametrize(("reencode", "exact"), [("png", True), ("jpeg", False)])
def test_records_get_the_picture(tmp_path: Path, reencode: Any, exact: bool) -> None:
    raw = save(tmp_path / "x_k0.tiff", np.full((8, 8), 1600))
    made = load(Record(image_id="x", uri="x_k0.tiff"), str(raw), reencode)
    assert isinstance(made, Picture)
    with Image.open(BytesIO(made.data)) as image:
        assert image.mode == "RGB"
        assert np.abs(np.subtract(image.getpixel((4, 4)), 100)).max() <= (0 if exact else 3)
