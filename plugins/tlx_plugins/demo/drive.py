"""A small made-up drive in the on-disk layout of the LISA traffic light set.

The pictures are drawn, the layout is the archive's: doubled folder names, label files apart from
the frames, ``Filename`` prefixes that exist nowhere, BOX and BULB files, frames without rows, a row
that is written twice, and a sample folder that repeats a clip.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.context import Context
from tlx_plugins.sources.lisa_csv import HEADER
from tlx_plugins.sources.lisa_layout import BOX_FILE, BULB_FILE, SAMPLE, ClipName

if TYPE_CHECKING:
    from tlx_plugins.demo.clip import Crossing, Label

SIZE = (480, 360)
"""Width and height of the frames in pixels: LISA's shape at three eighths of its size."""

FRAMES = 30
_SAMPLE_FRAMES = 12
_SAMPLED = ("dayClip6", "nightClip1")

DRIVE = (
    *(f"dayClip{number}" for number in range(1, 10)),
    *(f"nightClip{number}" for number in range(1, 5)),
    "daySequence1",
    "nightSequence1",
)
"""Clips of the demo's drive."""

GENERIC = (
    *(f"dayClip{number}" for number in range(1, 9)),
    *(f"nightClip{number}" for number in range(1, 5)),
)
"""Clips of the drive that a generic detector learns from."""


@dataclass(frozen=True, slots=True)
class DriveCounts:
    """What was written, without the samples, which repeat frames.

    Attributes:
        clips: Number of clips.
        frames: Number of frames.
        negatives: Frames without a light.
        lights: Labelled lights.
        tags: Labelled lights by tag.
    """

    clips: int
    frames: int
    negatives: int
    lights: int
    tags: Mapping[str, int]


def write_drive(
    root: Path,
    *,
    seed: int = 0,
    clips: Sequence[str] = DRIVE,
    frames: int = FRAMES,
    size: tuple[int, int] = SIZE,
    context: Context | None = None,
) -> DriveCounts:
    """Draw a drive below ``root``.

    Args:
        root: Folder to fill; made if absent.
        seed: Another seed gives other streets, lights, weather and cameras.
        clips: Names of LISA's clips and sequences; the name says day or night.
        frames: Frames per clip.
        size: Width and height of a frame in pixels.
        context: Shows the progress.
    """
    from tlx_plugins.demo.clip import Clip

    progress = (context or Context()).progress
    tags: Counter[str] = Counter()
    total = negatives = 0
    for number, name in enumerate(progress.track(clips, "drawing clips", len(clips))):
        clip = ClipName.parse(name)
        street = Clip(
            f"{seed}/{name}",
            night=clip.illumination == "night",
            crossings=_crossings(seed, number, frames),
            frames=frames,
            size=size,
        )
        folder = root / clip.archive_folder
        folder.mkdir(parents=True, exist_ok=True)
        labels: list[list[Label]] = []
        for frame, (picture, seen) in enumerate(street):
            picture.save(folder / _frame_name(name, frame), "JPEG", quality=90)
            labels.append(seen)
            tags.update(label.tag for label in seen)
        total += frames
        negatives += sum(not seen for seen in labels)
        _write_labels(root / "Annotations" / "Annotations" / _inner(clip), name, labels)
        if name in _SAMPLED:
            _write_sample(root, name, folder, labels[:_SAMPLE_FRAMES])
    return DriveCounts(len(clips), total, negatives, sum(tags.values()), dict(sorted(tags.items())))


def write_generic(root: Path, *, seed: int = 0, context: Context | None = None) -> DriveCounts:
    """Draw another drive, with nothing in common with that of `write_drive` of the same seed.

    It stands for the large general dataset on which a detector was trained before.
    """
    return write_drive(root, seed=seed + 1_000_003, clips=GENERIC, context=context)


def _crossings(seed: int, number: int, frames: int) -> list[Crossing]:
    """The crossings of a clip: the rare tags return every third clip, so no split lacks them."""
    from tlx_plugins.demo.clip import Crossing

    dice = random.Random(f"{seed}/crossings/{number}")  # noqa: S311 - pictures, not secrets
    # A crossing is in sight for less than half of the clip.
    go, short = max(frames // 7, 2), max(frames // 15, 1)
    straight = [
        [("stop", go), ("go", frames)],
        [("go", go), ("warning", short), ("stop", frames)],
    ]
    left = [
        [("stopLeft", go), ("goLeft", go), ("warningLeft", short), ("stopLeft", frames)],
        [("goLeft", go), ("warningLeft", short), ("stopLeft", frames)],
    ]
    forward = [("stop", go), ("goForward", go), ("warning", short), ("stop", frames)]
    second = forward if number % 2 == 0 else straight[(number // 2) % 2]
    return [
        Crossing(straight[number % 2], left[(number // 2) % 2] if number % 3 != 2 else ()),
        Crossing(second, left[number % 2] if dice.random() < 0.5 else ()),
    ]


def _inner(clip: ClipName) -> str:
    """The folder of a clip below ``Annotations/Annotations``."""
    return "/".join(dict.fromkeys(part for part in (clip.sequence, clip.key) if part))


def _frame_name(clip: str, frame: int) -> str:
    return f"{clip}--{frame:05d}.jpg"


def _write_labels(folder: Path, name: str, labels: Sequence[Sequence[Label]]) -> None:
    """Write both label files; the first row comes twice, as happens in real files."""
    clip = ClipName.parse(name)
    training = {"dayTrain": "dayTraining", "nightTrain": "nightTraining"}
    prefix = training.get(clip.sequence or "", f"{clip.illumination}Test")
    video = f"{prefix}/{name}/{name}.mp4"
    folder.mkdir(parents=True, exist_ok=True)
    for file, bulb in ((BOX_FILE, False), (BULB_FILE, True)):
        rows = [
            ";".join(
                map(
                    str,
                    (
                        f"{prefix}/{_frame_name(name, frame)}",
                        label.tag,
                        *(label.bulb if bulb else label.box),
                        video,
                        frame,
                        video,
                        frame,
                    ),
                )
            )
            for frame, seen in enumerate(labels)
            for label in seen
        ]
        text = "\n".join([";".join(HEADER), *rows[:1], *rows, ""])
        (folder / file).write_text(text, encoding="utf-8", newline="\n")


def _write_sample(root: Path, name: str, frames: Path, labels: Sequence[Sequence[Label]]) -> None:
    """Repeat the first frames of a clip in a sample folder, labels and frames together."""
    sample = ClipName.parse(SAMPLE + name)
    target = root / sample.archive_folder
    target.mkdir(parents=True, exist_ok=True)
    for frame in range(len(labels)):
        shutil.copyfile(frames / _frame_name(name, frame), target / _frame_name(name, frame))
    _write_labels(target.parent, name, labels)
