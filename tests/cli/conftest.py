"""A small LISA tree: the rows quoted in publications are real, the rest is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

HEADER = (
    "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
    "Lower right corner Y;Origin file;Origin frame number;Origin track;Origin track frame number"
)
CLIPS = {
    "dayTrain/dayClip1": "dayTraining",
    "dayTrain/dayClip2": "dayTraining",
    "nightTrain/nightClip1": "nightTraining",
    "daySequence1": "dayTest",
}
TAGS = ("stop", "go", "warning", "goLeft")


def row(prefix: str, clip: str, frame: int, tag: str) -> str:
    video = f"{prefix}/{clip}/clip.mp4"
    box = f"{20 + frame};30;{30 + frame};50"
    return f"{prefix}/{clip}--{frame:05d}.jpg;{tag};{box};{video};{frame};{video};{frame}"


@pytest.fixture
def lisa(tmp_path: Path) -> Path:
    """Four clips of four frames; the last frame of each has no row."""
    root = tmp_path / "LISA"
    for where, prefix in CLIPS.items():
        clip = where.split("/")[-1]
        part = where.split("/", maxsplit=1)[0]
        labels = root / "Annotations" / "Annotations" / where
        labels.mkdir(parents=True)
        rows = [row(prefix, clip, frame, TAGS[frame % 4]) for frame in range(3)]
        (labels / "frameAnnotationsBOX.csv").write_text("\n".join([HEADER, *rows]) + "\n")
        frames = root / part / where / "frames"
        frames.mkdir(parents=True)
        for frame in range(4):
            name = frames / f"{clip}--{frame:05d}.jpg"
            Image.new("RGB", (128, 96), (40 + 10 * frame, 80, len(clip))).save(name)
    return root
