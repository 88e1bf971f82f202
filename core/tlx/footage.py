"""Frames of videos on their way through a backend, which knows image files only.

A frame becomes a file when the backend asks for it and is removed when its prediction is there, so
that neither memory nor disk has to hold a video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tlx import drawing
from tlx.api import ImageTask
from tlx.context import Context
from tlx.issues import Issue
from tlx.model import Detection, Prediction, Taxonomy, replace
from tlx.pixels import open_rgb
from tlx.video import Video, VideoWriter

# A header that only estimates its frames is off by less.
_MOST_MISSING = 0.1


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame that a backend works on.

    Attributes:
        video: Id of the video.
        rate: Frames per second of the video.
        number: Position in the video, counted from 0.
        seconds: When it is shown.
        path: The frame as a PNG file.
    """

    video: str
    rate: float
    number: int
    seconds: float
    path: Path


class Footage:
    """The frames of some videos as image files; use it once.

    Args:
        videos: By id.
        folder: Where frames are for the time being.
        every: Only every so many frames of each video.
        context: Where a video that ends early is told.

    Attributes:
        frames: How many frames were handed out so far.
    """

    def __init__(
        self, videos: Mapping[str, Video], folder: Path, every: int, context: Context
    ) -> None:
        self._videos = videos
        self._folder = folder
        self._every = every
        self._context = context
        self._pending: dict[str, Shot] = {}
        self.frames = 0

    def tasks(self) -> Iterator[ImageTask]:
        """The frames in order, decoded and written when they are asked for."""
        for name, video in self._videos.items():
            count = 0
            for frame in video.frames(self._every):
                image_id = f"{name}/{frame.number:06d}"
                path = self._folder / f"{self.frames:08d}.png"
                frame.save(path)
                rate = video.rate / self._every
                shot = Shot(name, rate, frame.number, frame.seconds, path)
                self._pending[image_id] = shot
                self.frames += 1
                count += 1
                yield ImageTask(image_id, str(path))
            promised = -(-video.length // self._every)
            if count < promised * (1 - _MOST_MISSING):
                message = f"ends after {count:,} of {promised:,} frames."
                self._context.issues.report(
                    Issue("short-video", message, path=str(video.path), action="kept")
                )

    def settle(
        self, predictions: Iterable[Prediction], drawn: DrawnVideos | None
    ) -> Iterator[Prediction]:
        """Predictions with the frame's number and time; loose images pass as they are.

        Args:
            predictions: In the order of `tasks`; skipped frames are allowed.
            drawn: Where frames are drawn before they are removed.
        """
        for prediction in predictions:
            shot = self._take(prediction.image_id)
            if shot is None:
                yield prediction
                continue
            if drawn is not None:
                drawn.add(shot, prediction.detections)
            shot.path.unlink()
            yield replace(prediction, frame=shot.number, seconds=shot.seconds)

    def _take(self, image_id: str) -> Shot | None:
        if image_id not in self._pending:
            return None
        # Those before it were skipped.
        while (first := next(iter(self._pending))) != image_id:
            self._pending.pop(first).path.unlink()
        return self._pending.pop(image_id)


class DrawnVideos:
    """Videos with the detections drawn, written frame by frame; a context manager.

    Args:
        folder: The folder to make; the files are named like the videos.
        thresholds: Score per class from which a detection is drawn.
        taxonomy: Has the colours of the classes.
    """

    def __init__(
        self,
        folder: Path,
        thresholds: Mapping[str, float] | float,
        taxonomy: Taxonomy | None,
    ) -> None:
        self._folder = folder
        self._thresholds = thresholds
        self._taxonomy = taxonomy
        self._video: str | None = None
        self._writer: VideoWriter | None = None
        self._size = (0, 0)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def add(self, shot: Shot, detections: Iterable[Detection]) -> None:
        """Draw the next frame; a new video begins when the shot is of another one."""
        shown = drawing.shown_detections(detections, self._thresholds, self._taxonomy)
        picture = drawing.draw(open_rgb(shot.path), shown)
        if self._writer is None or shot.video != self._video:
            self._open.close()
            name = shot.video.strip("/").replace("/", "__").replace("\\", "__")
            path = self._folder / f"{Path(name).stem}.mp4"
            if path.exists():
                path = self._folder / f"{name}.mp4"
            self._video, self._size = shot.video, picture.size
            self._writer = self._open.enter_context(VideoWriter(path, shot.rate, picture.size))
        # A stream may change its size; a written video cannot.
        self._writer.write(picture if picture.size == self._size else picture.resize(self._size))
