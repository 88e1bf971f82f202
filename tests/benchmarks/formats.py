"""COCO to and from VOC, YOLO, COCO and TFRecord: tlx beside its peers, on the same files.

    python tests/benchmarks/formats.py [--sets boxes polygons images] [--peers labelformat globox]
        [--pairs coco-voc coco-yolo] [--scale 0.1] [--output TABLE.md] [--cache FOLDER]

Three sets are generated: ``boxes`` and ``polygons`` are COCO files of the size of train2017
(118,287 images, 860,001 boxes) without images, ``images`` has 5,000 real-size JPEGs. ``--scale``
makes the first two smaller. Every conversion is one process; its wall time, CPU time and peak
memory are the system's figures for it (getrusage). Peers live in environments of their own in the
cache folder, which are made at the first use and need a package index; one that cannot be
installed, fails or takes too long gets a row that says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

VERSIONS = {
    "labelformat": "0.1.17",
    "globox": "2.9.0",
    "supervision": "0.31.2",
    "datumaro": "1.13.12",
    "fiftyone": "1.22.1",
}
IMAGES, BOXES = 118_287, 860_001
LARGE = ("coco-voc", "coco-yolo", "coco-coco")
SMALL = (*LARGE, "coco-tfrecord", "voc-coco", "yolo-coco", "tfrecord-coco")
MISSING = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
DISTINCT = 25
SECOND = "2013-11-14 17:02:52"


class Figures(NamedTuple):
    """What one process took: seconds and megabytes."""

    wall: float
    user: float
    system: float
    peak: float


def make_coco(path: Path, images: int, boxes: int, polygons: bool) -> None:
    """A COCO file as the publishers write theirs: no order, gaps in the ids, 1.2 % crowds."""
    random = np.random.default_rng(images)
    ids = random.permutation(np.sort(random.choice(5 * images, images, replace=False)) + 1)
    sizes = random.choice(np.array([[640, 480], [480, 640], [640, 427], [500, 375]]), images)
    numbers = [number for number in range(1, 91) if number not in MISSING]
    categories = [
        {"supercategory": "thing", "id": number, "name": f"class {number}"} for number in numbers
    ]
    owners = random.integers(0, images - images // 100, boxes)
    sides = np.round(random.uniform(4, 200, (boxes, 2)), 2)
    corners = np.round(random.uniform(0, 1, (boxes, 2)) * (sizes[owners] - sides), 2)
    classes, names = random.choice(numbers, boxes), random.permutation(boxes) + 1
    with path.open("w") as file:
        info = {"description": "generated", "version": "1.0", "year": 2017}
        licenses = [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 1, "name": "BY"}]
        file.write(f'{{"info": {json.dumps(info)}, "licenses": {json.dumps(licenses)}, "images": [')
        for index, (number, (width, height)) in enumerate(zip(ids, sizes.tolist(), strict=True)):
            name = f"{number:012d}.jpg"
            entry = {
                "license": 1,
                "file_name": name,
                "coco_url": f"http://images.cocodataset.org/train2017/{name}",
                "height": height,
                "width": width,
                "date_captured": SECOND,
                "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg",
                "id": int(number),
            }
            file.write((", " if index else "") + json.dumps(entry))
        file.write('], "annotations": [')
        for index in range(boxes):
            (x, y), (width, height) = corners[index].tolist(), sides[index].tolist()
            entry = {
                "area": round(width * height * 0.6, 4),
                "iscrowd": 0,
                "image_id": int(ids[owners[index]]),
                "bbox": [x, y, width, height],
                "category_id": int(classes[index]),
                "id": int(names[index]),
            }
            if polygons:
                crowd = index % 83 == 0
                entry["iscrowd"] = int(crowd)
                entry["segmentation"] = (
                    _crowd(sizes[owners[index]].tolist(), entry["bbox"])
                    if crowd
                    else [_polygon(random, entry["bbox"])]
                )
            file.write((", " if index else "") + json.dumps(entry))
        file.write('], "categories": ' + json.dumps(categories) + "}")


def _polygon(random: np.random.Generator, box: list[float]) -> list[float]:
    """A convex outline that fills its box, of some 22 points."""
    angles = np.sort(random.uniform(0, 2 * np.pi, max(3, int(random.poisson(22)))))
    points = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    points -= points.min(axis=0)
    points /= np.maximum(points.max(axis=0), 1e-9)
    outline: list[float] = np.round(points * box[2:] + box[:2], 2).ravel().tolist()
    return outline


def _crowd(size: list[int], box: list[float]) -> dict[str, object]:
    """The box as an uncompressed run-length encoded mask."""
    width, height = size
    left, top = int(box[0]), int(box[1])
    wide, high = max(1, int(box[2])), max(1, int(box[3]))
    wide, high = min(wide, width - left), min(high, height - top)
    counts = [left * height + top, *([high, height - high] * wide)][:-1]
    counts.append(width * height - sum(counts))
    return {"counts": counts, "size": [height, width]}


def make_images(document: Path, folder: Path) -> None:
    """JPEG files of about 160 kB for the images of a COCO file; some share their pixels."""
    random = np.random.default_rng(0)
    drawn: dict[tuple[int, int, int], bytes] = {}
    for index, entry in enumerate(json.loads(document.read_text())["images"]):
        key = (entry["width"], entry["height"], index % DISTINCT)
        if key not in drawn:
            coarse = random.integers(0, 255, (key[1] // 4, key[0] // 4, 3), np.uint8)
            fine = random.normal(0, 14, (key[1], key[0], 3))
            smooth = Image.fromarray(coarse).resize(key[:2], Image.Resampling.BICUBIC)
            noisy = np.clip(np.asarray(smooth) + fine, 0, 255).astype(np.uint8)
            out = BytesIO()
            Image.fromarray(noisy).save(out, "JPEG", quality=80)
            drawn[key] = out.getvalue()
        (folder / entry["file_name"]).write_bytes(drawn[key])


class Room:
    """The generated files, kept in the cache.

    Args:
        cache: Folder of all sets.
        name: ``boxes``, ``polygons`` or ``images``.
        scale: Share of train2017's size.
    """

    def __init__(self, cache: Path, name: str, scale: float) -> None:
        small = name == "images"
        images = 5000 if small else max(100, int(IMAGES * scale))
        boxes = round(images * BOXES / IMAGES)
        self.folder = cache / f"{name}-{images}"
        self.images = self.folder / "images"
        self.title = f"{name}: {images:,} images, {boxes:,} boxes"
        document = self.folder / "annotations" / "instances_train.json"
        if not document.exists():
            document.parent.mkdir(parents=True, exist_ok=True)
            waiting = document.with_suffix(".part")
            make_coco(waiting, images, boxes, name == "polygons")
            waiting.rename(document)
        if not self.images.exists():
            # Some peers refuse annotations without such a folder.
            self.images.mkdir()
            if small:
                make_images(document, self.images)
        self.sources = {"coco": document}

    def source(self, kind: str) -> Path:
        """The set in one of the formats; made by tlx where it is not COCO."""
        if kind not in self.sources:
            dest = self.folder / kind
            if not dest.exists():
                media = ["--media", "hardlink"] if kind in ("voc", "yolo") else []
                subprocess.run(
                    [*tlx_command("coco", kind, self, dest), *media],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
            inner = {"voc": "Annotations", "yolo": "data.yaml", "tfrecord": ""}[kind]
            self.sources[kind] = dest / inner
        return self.sources[kind]


def tlx_command(before: str, after: str, room: Room, dest: Path) -> list[str]:
    """The command of tlx; images stay where they are."""
    start = [sys.executable, "-c", "from tlx.cli import main; main()", "convert"]
    source = room.source(before)
    root = source if before in ("coco", "yolo") else source.parent if before == "voc" else source
    command = [*start, str(root), "--from", before, "--to", after, "-o", str(dest)]
    if before == "coco":
        command += ["--images", str(room.images)]
    if after == "yolo":
        command += ["--media", "reference"]
    return command


def peer_command(
    python: Path, who: str, before: str, after: str, room: Room, dest: Path
) -> list[str]:
    """The command of a peer."""
    script = Path(__file__).with_name("formats_peers.py")
    images = room.images
    if before != "coco":
        images = room.folder / before / ("JPEGImages" if before == "voc" else "images/train")
    places = (room.source(before), images, dest)
    return [str(python), str(script), who, before, after, *map(str, places)]


def environment(cache: Path, who: str) -> Path | str:
    """The Python of a peer's environment, which is made if need be; or why there is none."""
    folder = cache / "environments" / f"{who}-{VERSIONS[who]}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", f"{who}=={VERSIONS[who]}"],
        ):
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                return "not installed: " + last_line(made.stderr)
        done.touch()
    return python


def last_line(text: str) -> str:
    """What a failed process said last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:110].replace("|", "/") if lines else "no message"


def measure(command: list[str], limit: float, clean: bool) -> Figures | str:
    """Run one process and ask the system what it took; or say how it failed."""
    variables = dict(os.environ)
    if clean:
        variables.pop("PYTHONPATH", None)
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=said,
            env=variables,
            start_new_session=True,
        )
        while True:
            finished, status, used = os.wait4(process.pid, os.WNOHANG)
            wall = time.perf_counter() - start
            if finished:
                break
            if wall > limit:
                os.killpg(process.pid, signal.SIGKILL)
                os.wait4(process.pid, 0)
                return f"stopped after {limit:.0f} s"
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            return f"failed: {last_line(said.read())}"
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Figures(wall, used.ru_utime, used.ru_stime, used.ru_maxrss * unit / 1e6)


def row(pair: str, who: str, figures: Figures | str, own: Figures | str) -> str:
    """A line of the table."""
    title = pair.replace("-", " to ")
    name = who if who == "tlx" else f"{who} {VERSIONS[who]}"
    if isinstance(figures, str):
        return f"| {title} | {name} | {figures} | | | | |"
    times = f"{figures.user / own.user:.1f}" if isinstance(own, Figures) else ""
    return (
        f"| {title} | {name} | {figures.wall:.1f} | {figures.user:.1f} | {figures.system:.1f} "
        f"| {figures.peak:,.0f} | {times} |"
    )


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=["boxes", "polygons", "images"])
    parser.add_argument("--peers", nargs="*", default=list(VERSIONS), choices=VERSIONS)
    parser.add_argument("--pairs", nargs="+", choices=SMALL, help="by default all of a set")
    parser.add_argument("--scale", type=float, default=1.0, help="share of train2017's size")
    parser.add_argument("--limit", type=float, default=900, help="seconds for one conversion")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "tlx-benchmarks")
    parser.add_argument("--output", type=Path, help="a file for the tables")
    chosen = parser.parse_args()
    if hasattr(resource, "RLIMIT_CORE"):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pythons = {who: environment(chosen.cache, who) for who in chosen.peers}
    lines = [f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"]
    for name in chosen.sets:
        room = Room(chosen.cache, name, chosen.scale)
        lines += ["", room.title, ""]
        lines.append("| conversion | who | wall s | user s | system s | peak MB | user / tlx |")
        lines.append("|---|---|---:|---:|---:|---:|---:|")
        for pair in SMALL if name == "images" else LARGE:
            if chosen.pairs and pair not in chosen.pairs:
                continue
            before, after = pair.split("-")
            own: Figures | str = ""
            for who in ("tlx", *chosen.peers):
                with tempfile.TemporaryDirectory(dir=chosen.cache) as folder:
                    dest = Path(folder) / "out"
                    python = pythons.get(who)
                    if who == "tlx":
                        figures = measure(
                            tlx_command(before, after, room, dest), chosen.limit, clean=False
                        )
                        own = figures
                    elif isinstance(python, Path):
                        command = peer_command(python, who, before, after, room, dest)
                        figures = measure(command, chosen.limit, clean=True)
                    else:
                        figures = str(python)
                    lines.append(row(pair, who, figures, own))
                    print(lines[-1], file=sys.stderr, flush=True)
                    shutil.rmtree(dest, ignore_errors=True)
    table = "\n".join(lines) + "\n"
    print(table, end="")
    if chosen.output is not None:
        chosen.output.write_text(table)


if __name__ == "__main__":
    main()
