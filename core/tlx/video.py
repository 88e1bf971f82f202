"""Videos: their frames with number and time, one at a time, and videos of drawn frames."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tlx.errors import DataError, MissingExtra, TlxError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image as PillowImage

VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
)
"""File name endings of videos, in lower case."""

# MPEG-4 part 2: every player knows it, and every build of OpenCV can write it.
_CODEC = "mp4v"
_USUAL_RATE = 25.0
_HIGHEST_RATE = 1000.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame.

    Attributes:
        number: Position in the video, counted from 0.
        seconds: When it is shown, from the start of the video.
        pixels: uint8 [height, width, 3], BGR, turned upright as the file's metadata ask for.
    """

    number: int
    seconds: float
    pixels: npt.NDArray[np.uint8]

    def save(self, path: Path) -> None:
        """Write the frame as PNG, without loss.

        Raises:
            TlxError: If it cannot be written.
        """
        cv2 = _cv2()
        ok, data = cv2.imencode(".png", self.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not ok:
            raise TlxError(f"frame {self.number} of a video could not be encoded as PNG.")
        path.write_bytes(data)


class Video:
    """A video file, opened for one look at its header.

    Args:
        path: The file.

    Attributes:
        rate: Frames per second; 25 where the file does not say.
        length: Frames that the header promises, 0 where it does not say; some containers only
            estimate it.

    Raises:
        MissingExtra: If OpenCV is not installed.
        DataError: If it cannot be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        cv2 = _cv2()
        with _opened(path) as capture:
            rate = float(capture.get(cv2.CAP_PROP_FPS))
            length = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.rate = rate if 0 < rate <= _HIGHEST_RATE else _USUAL_RATE
        self.length = int(length) if math.isfinite(length) and length > 0 else 0

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Decode the video from its start; one frame is in memory.

        Args:
            every: Only frames whose number is a multiple of this.

        Raises:
            DataError: If not even one frame can be decoded.
        """
        cv2 = _cv2()
        number, seconds = -1, -1.0
        with _opened(self.path) as capture:
            while capture.grab():
                number += 1
                shown = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                # Streams without time stamps stand still at 0.
                seconds = shown if shown > seconds else number / self.rate
                if number % every:
                    continue
                ok, pixels = capture.retrieve()
                if not ok:
                    break
                yield Frame(number, round(seconds, 6), pixels)
        if number < 0:
            raise DataError("holds no frame that can be decoded.", place=self.path)


class VideoWriter:
    """Writes drawn frames as an mp4 video; a context manager.

    Args:
        path: The file, which ends in ``.mp4``.
        rate: Frames per second.
        size: Width and height in pixels; of an odd one the last column or row is cut off, because
            the codec keeps colours for blocks of 2x2.

    Raises:
        MissingExtra: If OpenCV is not installed.
        TlxError: If this OpenCV cannot write it.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        cv2 = _cv2()
        code = cv2.VideoWriter.fourcc(*_CODEC)
        with _quiet():
            self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, size)
        if not self._writer.isOpened():
            raise TlxError(
                f"OpenCV {cv2.__version__} cannot write the video {path.name}.",
                hint="Install its usual build with: pip install opencv-python-headless",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.release()

    def write(self, picture: PillowImage.Image) -> None:
        """Append an RGB picture of the declared size."""
        import numpy as np

        self._writer.write(np.ascontiguousarray(np.asarray(picture)[:, :, ::-1]))


def _cv2() -> Any:
    """OpenCV, which is imported only where a video is named."""
    # FFmpeg, inside, would write remarks on odd streams to the terminal.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("reading and writing videos", "video", str(error)) from error
    return cv2


@contextmanager
def _quiet() -> Iterator[None]:
    cv2 = _cv2()
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A capture of a file, never of a camera, an address or a numbered series of pictures."""
    cv2 = _cv2()
    if not path.is_file():
        raise DataError("is not a file.", place=path)
    with _quiet():
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise DataError(
                "cannot be decoded as a video.",
                place=path,
                hint="Convert it with ffmpeg to H.264 in mp4, or give its frames as images.",
            )
        yield capture
    finally:
        capture.release()
