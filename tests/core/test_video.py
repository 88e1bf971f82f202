"""Frames come with their number and time, and no video fills memory or disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlx.api import ImageTask
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.footage import DrawnVideos, Footage
from tlx.issues import IssueLog
from tlx.model import Box, Detection, Prediction
from tlx.prediction_inputs import find_inputs
from tlx.video import Video, VideoWriter

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


def film(path: Path, frames: int, rate: float = 10.0, size: tuple[int, int] = (64, 48)) -> Path:
    """A video whose frame n has the grey value 8 n (mod 256), written with OpenCV itself."""
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, size)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 8 * (number % 32), np.uint8))
    writer.release()
    return path


def test_frames_have_their_number_and_time(tmp_path: Path) -> None:
    video = Video(film(tmp_path / "drive.avi", 12))
    assert (video.rate, video.length) == (10.0, 12)
    frames = list(video.frames())
    assert [f.number for f in frames] == [*range(12)]
    assert [f.seconds for f in frames] == pytest.approx([n / 10 for n in range(12)])
    assert [round(f.pixels.mean() / 8) for f in frames] == [*range(12)]
    some = list(video.frames(every=5))
    assert [(f.number, round(f.seconds, 6)) for f in some] == [(0, 0.0), (5, 0.5), (10, 1.0)]
    assert [round(f.pixels.mean() / 8) for f in some] == [0, 5, 10]


def test_a_saved_frame_has_the_pixels_of_the_video(tmp_path: Path) -> None:
    frame = list(Video(film(tmp_path / "drive.avi", 4)).frames())[3]
    frame.save(tmp_path / "frame.png")
    with Image.open(tmp_path / "frame.png") as picture:
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture)[:, :, ::-1], frame.pixels)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 12.5, (65, 47)) as writer:
        for value in (20, 120, 220):
            writer.write(Image.new("RGB", (65, 47), (value, 0, 0)))
    video = Video(path)
    frames = list(video.frames())
    assert video.rate == pytest.approx(12.5)
    # Colours are kept for blocks of 2x2 pixels, so an odd row and column are cut off.
    assert [f.pixels.shape for f in frames] == [(46, 64, 3)] * 3
    red = [int(f.pixels[20, 30, 2]) for f in frames]
    assert red == pytest.approx([20, 120, 220], abs=12)
    assert max(int(f.pixels[20, 30, 0]) for f in frames) < 30


def backend(tasks: Iterator[ImageTask], ahead: int, folder: Path) -> Iterator[Prediction]:
    """Reads some images ahead, skips the third, and looks at how much lies on the disk."""
    waiting: list[ImageTask] = []
    for number, task in enumerate(tasks):
        with Image.open(task.path) as picture:
            assert picture.size == (64, 48)
        assert len(list(folder.iterdir())) <= ahead + 2
        if number != 2:
            waiting.append(task)
        if len(waiting) > ahead:
            yield Prediction(waiting.pop(0).image_id, (Detection("go", Box(8, 8, 40, 40), 0.9),))
    for task in waiting:
        yield Prediction(task.image_id)


def test_frames_pass_a_backend_and_leave_nothing(tmp_path: Path) -> None:
    given = find_inputs([film(tmp_path / "b.avi", 7), film(tmp_path / "a.avi", 3)], None)
    folder = tmp_path / "frames"
    folder.mkdir()
    footage = Footage(given.videos, folder, 2, Context())
    with DrawnVideos(tmp_path / "drawn", 0.5, None) as drawn:
        found = list(footage.settle(backend(footage.tasks(), 2, folder), drawn))
    assert [(p.image_id, p.frame, p.seconds) for p in found] == [
        ("a.avi/000000", 0, 0.0),
        ("a.avi/000002", 2, 0.2),
        ("b.avi/000002", 2, 0.2),
        ("b.avi/000004", 4, 0.4),
        ("b.avi/000006", 6, 0.6),
    ]
    assert footage.frames == 6
    assert list(folder.iterdir()) == []
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["a.mp4", "b.mp4"]
    video = Video(tmp_path / "drawn" / "a.mp4")
    assert video.rate == pytest.approx(5.0)
    first = next(video.frames()).pixels
    assert first[:, 8:40].max() > 120, "the box is drawn on the black frame"
    assert first[44:, 50:].max() < 40


def test_a_video_that_ends_early_is_told(tmp_path: Path) -> None:
    path = film(tmp_path / "drive.avi", 40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    video = Video(path)
    if video.length < 40:
        pytest.skip("this OpenCV counts the frames that are there")
    context = Context(issues=IssueLog("fail"))
    footage = Footage({"drive.avi": video}, tmp_path, 1, context)
    count = len(list(footage.tasks()))
    assert 0 < count < 40
    assert context.issues.counts == {"short-video": 1}


def test_what_is_no_video_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "clips").mkdir()
    film(tmp_path / "clips" / "drive.avi", 2)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"text.mp4: cannot be decoded as a video"):
        find_inputs([tmp_path / "text.mp4"], None)
    with pytest.raises(UsageError, match=r"Name its videos one by one, such as .*drive.avi"):
        find_inputs([tmp_path / "clips"], None)
    with pytest.raises(UsageError, match="not an image that tlx reads .* and not a video"):
        find_inputs([tmp_path / "notes.txt"], None)
    with pytest.raises(DataError, match="is not a file"):
        Video(tmp_path / "frame_%04d.png")
