"""Decoding and resizing, with Pillow as judge."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tlx_backends.torch_detection.images import UnreadableImage, fit, read
from tlx_backends.torch_detection.options import TorchOptions
from tlx_backends.torch_detection.settings import NetworkSettings


def settings(model="fcos_shufflenet_v2_x0_5_fpn", **options) -> NetworkSettings:
    return NetworkSettings.of(model, ("a",), TorchOptions(**options))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "jpg"),
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("RGB", "png"),
        ("RGBA", "png"),
        ("L", "png"),
        ("P", "png"),
        ("LA", "png"),
        ("1", "png"),
        ("RGB", "bmp"),
        ("RGB", "webp"),
    ],
)
def test_pixels_are_pillows(tmp_path, mode, suffix):
    random = np.random.default_rng(0)
    colors = random.integers(0, 256, (6, 8, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(colors).convert(mode).save(path)
    with Image.open(path) as picture:
        expected = np.array(picture.convert("RGB"))
    np.testing.assert_array_equal(read(str(path)).permute(1, 2, 0).numpy(), expected)


def test_sixteen_bit_sensor_data_is_refused(tmp_path):
    path = tmp_path / "raw.png"
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(path)
    with pytest.raises(UnreadableImage, match="sensor data"):
        read(str(path))


def test_exif_orientation_is_not_applied(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert read(str(path)).shape == (3, 20, 40)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\x00"])
def test_what_is_no_picture(tmp_path, content):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match="no picture"):
        read(str(path))


def test_a_cut_jpeg(tmp_path):
    path = tmp_path / "image.jpg"
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UnreadableImage):
        read(str(path))


@pytest.mark.parametrize(
    ("options", "stored", "expected"),
    [
        ({"shorter_side": 240, "longer_side": 480}, (1280, 960), (320, 240)),
        ({"shorter_side": 240, "longer_side": 320}, (1280, 720), (320, 180)),
        ({"shorter_side": 240, "longer_side": 480}, (960, 1280), (240, 320)),
    ],
)
def test_resizing_keeps_proportions_and_pillows_pixels(tmp_path, options, stored, expected):
    random = np.random.default_rng(1)
    small = random.integers(0, 255, (9, 16, 3)).astype(np.uint8)
    picture = Image.fromarray(small).resize(stored, Image.Resampling.BICUBIC)
    path = tmp_path / "image.png"
    picture.save(path)
    fitted = fit(read(str(path)), settings(**options))
    assert (fitted.pixels.shape[-1], fitted.pixels.shape[-2]) == expected
    judge = np.array(picture.resize(expected, Image.Resampling.BILINEAR)).astype(int)
    ours = fitted.pixels.permute(1, 2, 0).numpy().astype(int)
    assert abs(ours - judge).max() <= 1
    assert fitted.scale == (expected[0] / stored[0], expected[1] / stored[1])


def test_ssd_stretches_as_its_weights_were_trained():
    assert settings("ssd300_vgg16").input_size(1280, 960) == (300, 300)
    assert settings("ssdlite320_mobilenet_v3_large").input_size(640, 480) == (320, 320)
