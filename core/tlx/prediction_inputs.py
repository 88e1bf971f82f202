"""What ``tlx predict`` is given: a dataset, folders of images, images, videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlx.api import ImageTask
from tlx.dataset import Dataset
from tlx.errors import UsageError
from tlx.pipeline import require_path
from tlx.video import VIDEO_SUFFIXES, Video

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Inputs:
    """Images and videos by ids that are unique.

    Attributes:
        images: In the dataset's order, or sorted by id.
        videos: Sorted by id; the id of a frame is that of its video, a slash and its number.
        data: The dataset that the images are of.
    """

    images: tuple[ImageTask, ...] = ()
    videos: Mapping[str, Video] = field(default_factory=dict)
    data: Dataset | None = None

    @property
    def paths(self) -> Iterator[Path]:
        """All files."""
        yield from (Path(task.path) for task in self.images)
        yield from (video.path for video in self.videos.values())


def find_inputs(given: Iterable[Path], split: str | None) -> Inputs:
    """Look for the images and videos that were named.

    Raises:
        UsageError: If there is nothing to predict on, or a path is neither image nor video.
        DataError: If a video cannot be decoded.
    """
    paths = list(given)
    if not paths:
        raise UsageError(
            "there is nothing to predict on.",
            hint="Give a dataset, a folder, image files, or videos.",
        )
    if len(paths) == 1 and (paths[0] / "manifest.json").is_file():
        data = Dataset.open(paths[0])
        if split is not None:
            data.require_split(split)
        records = data.records(split)
        return Inputs(
            tuple(ImageTask(r.image_id, str(data.image_path(r.uri))) for r in records), data=data
        )
    images: dict[str, Path] = {}
    videos: dict[str, Path] = {}
    for path in paths:
        require_path(path, "The input")
        if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
            videos[path.name if path.name not in videos else path.as_posix()] = path
            continue
        for image_id, file in _images_below(path):
            images[image_id if image_id not in images else file.as_posix()] = file
    return Inputs(
        tuple(ImageTask(name, str(images[name])) for name in sorted(images)),
        {name: Video(videos[name]) for name in sorted(videos)},
    )


def _images_below(path: Path) -> Iterator[tuple[str, Path]]:
    endings = ", ".join(sorted(IMAGE_SUFFIXES))
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise UsageError(
                f"{path} is not an image that tlx reads ({endings}) and not a video "
                f"({', '.join(sorted(VIDEO_SUFFIXES))})."
            )
        yield path.name, path
        return
    files = sorted(p for p in path.rglob("*") if p.is_file())
    found = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        video = next((p for p in files if p.suffix.lower() in VIDEO_SUFFIXES), None)
        raise UsageError(
            f"{path} holds no image ({endings}).",
            hint=None if video is None else f"Name its videos one by one, such as {video}.",
        )
    for file in found:
        yield file.relative_to(path).as_posix(), file
