"""The header reader, judged by Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlx.media import image_size

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (640, 360), (37, 1999)])
def test_agrees_with_pillow(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    path = tmp_path / "image"
    Image.new("RGB", size, (9, 99, 199)).save(path, kind)
    assert image_size(path) == size


@pytest.mark.parametrize("progressive", [False, True])
def test_jumps_over_long_segments(tmp_path: Path, progressive: bool) -> None:
    path = tmp_path / "image.jpg"
    image = Image.new("RGB", (321, 123))
    image.save(
        path, progressive=progressive, icc_profile=bytes(150_000), exif=b"Exif\0\0" + bytes(60_000)
    )
    assert image_size(path) == (321, 123)


def test_real_images() -> None:
    if not DATA.is_dir():
        pytest.skip(f"no folder {DATA}")
    images = sorted(p for p in DATA.rglob("*") if p.suffix in {".jpg", ".png"})[:150]
    assert len(images) > 50
    for path in images:
        with Image.open(path) as image:
            assert image_size(path) == image.size, path


def test_what_is_no_image_has_no_size(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    assert image_size(empty) is None
    assert image_size(tmp_path / "absent.jpg") is None
    assert image_size(tmp_path) is None


def test_cut_off_header(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (50, 40)).save(stream, "JPEG")
    path = tmp_path / "cut.jpg"
    frame = stream.getvalue().index(b"\xff\xc0")
    path.write_bytes(stream.getvalue()[: frame + 6])
    assert image_size(path) is None
    path.write_bytes(stream.getvalue()[: frame + 9])
    assert image_size(path) == (50, 40)


@given(st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"]), st.binary(max_size=80))
def test_any_bytes_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "any"
    path.write_bytes(head + rest)
    size = image_size(path)
    assert size is None or (size[0] > 0 and size[1] > 0)
