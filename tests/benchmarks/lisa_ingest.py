"""How fast a tree of LISA's full size becomes a dataset: 43,007 frames, 113,888 annotations.

Makes the archive's layout with empty stand-in images in a temporary folder, ingests it in a
process of its own and prints wall time, processor time and peak memory.

    python tests/benchmarks/lisa_ingest.py [--jpeg]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

HEADER = (
    "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
    "Lower right corner Y;Origin file;Origin frame number;Origin track;Origin track frame number"
)
# Frames per part of the set, without the two samples, which repeat frames of a clip.
SEQUENCES = {"daySequence1": 4060, "daySequence2": 6894, "nightSequence1": 4993,
             "nightSequence2": 6534}  # fmt: skip
CLIPS = {"dayTrain": (13, 14_025), "nightTrain": (5, 6_501)}
TAGS = {"go": 46_723, "stop": 44_318, "stopLeft": 12_734, "warning": 2_669, "goLeft": 2_476,
        "warningLeft": 350, "goForward": 205}  # fmt: skip
ANNOTATIONS = 113_888
FRAMES_WITHOUT_ROWS = 6_626
CHILD = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
from tlx.context import Context
from tlx.dataset import Operation, write_dataset
from tlx_plugins.sources.lisa import LisaOptions, LisaSource
context = Context()
reading = LisaSource().read(Path(sys.argv[1]), LisaOptions(), context)
lineage = (Operation(name="ingest", plugin="lisa", version="0"),)
dataset = write_dataset(Path(sys.argv[2]), reading.content, reading.taxonomy,
                        reading.media_root, lineage, issues=context.issues)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "images": dataset.counts.images, "objects": dataset.counts.objects,
    "negatives": dataset.counts.negatives, "issues": dict(context.issues.counts),
    "wall_s": round(time.perf_counter() - start, 2),
    "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
    "peak_mb": round(usage.ru_maxrss / 1024),
}))
"""


def clips() -> list[tuple[str, str, int]]:
    """Part of the set, clip and number of frames."""
    found = [(name, name, frames) for name, frames in SEQUENCES.items()]
    for part, (number, frames) in CLIPS.items():
        light = part.removesuffix("Train")
        for clip in range(1, number + 1):
            share = frames // number + (clip <= frames % number)
            found.append((part, f"{light}Clip{clip}", share))
    return found


def make_tree(root: Path, image: bytes) -> None:
    """Write label files and stand-in images as the archive has them."""
    dice = random.Random(0)
    names = [(part, clip, n) for part, clip, frames in clips() for n in range(frames)]
    empty = set(dice.sample(range(len(names)), FRAMES_WITHOUT_ROWS))
    filled = [name for i, name in enumerate(names) if i not in empty]
    # Every filled frame has one light; the rest is spread at random.
    extra = dice.choices(range(len(filled)), k=ANNOTATIONS - len(filled))
    lights = [1] * len(filled)
    for index in extra:
        lights[index] += 1
    tags = [tag for tag, count in TAGS.items() for _ in range(count)]
    tags += ["go"] * (ANNOTATIONS - len(tags))
    dice.shuffle(tags)
    files: dict[tuple[str, str], list[str]] = {}
    for (part, clip, number), count in zip(filled, lights, strict=True):
        folder = {"dayTrain": "dayTraining", "nightTrain": "nightTraining"}.get(part)
        prefix = folder or f"{part[: -len('Sequence1')]}Test"
        video = f"{prefix}/{clip}/Day1EveningShutter0.000200-Gain-0.mp4"
        for _ in range(count):
            x, y = dice.randrange(1240), dice.randrange(900)
            w, h = dice.randrange(5, 40), dice.randrange(8, 60)
            files.setdefault((part, clip), []).append(
                f"{prefix}/{clip}--{number:05d}.jpg;{tags.pop()};{x};{y};{x + w};{y + h};"
                f"{video};{number};{video};{number}"
            )
    for part, clip, frames in clips():
        inner = "" if part == clip else f"/{clip}"
        labels = root / f"Annotations/Annotations/{part}{inner}"
        labels.mkdir(parents=True)
        text = "\n".join([HEADER, *files[part, clip], ""])
        for kind in ("BOX", "BULB"):
            (labels / f"frameAnnotations{kind}.csv").write_text(text)
        images = root / f"{part}/{part}{inner}/frames"
        images.mkdir(parents=True)
        for number in range(frames):
            (images / f"{clip}--{number:05d}.jpg").write_bytes(image)


def main() -> None:
    """Make the tree, ingest it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jpeg", action="store_true", help="small real images, not empty files")
    arguments = parser.parse_args()
    image = b""
    if arguments.jpeg:
        import io

        from PIL import Image

        stream = io.BytesIO()
        Image.new("RGB", (1280, 960)).save(stream, "JPEG", quality=20)
        image = stream.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "LISA"
        make_tree(root, image)
        command = [sys.executable, "-c", CHILD, str(root), str(Path(folder) / "lisa.tlx")]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        figures = json.loads(result.stdout)
    expected = {"images": sum(n for *_, n in clips()), "objects": ANNOTATIONS}
    print(json.dumps({**figures, "expected": expected}))


if __name__ == "__main__":
    main()
