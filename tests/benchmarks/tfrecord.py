"""TFRecord beside TensorFlow's own writer and reader, on the same records in the same run.

    python tests/benchmarks/tfrecord.py --tensorflow PYTHON [--rounds 5] [--output TABLE.md]

PYTHON is an interpreter of an environment with TensorFlow, which is not tlx's own. Without it
only tlx and the bound are measured. The bound is to write, or read, the same bytes and do nothing
with them. Each round measures all of them once, in turn; the table has the best round of each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from tfrecord_tensorflow import BOXES, features, paths

from tlx.context import Context
from tlx.dataset import Operation, write_dataset
from tlx.model import Box, Object, Record, Taxonomy
from tlx_plugins.formats import tfrecord_example as codec
from tlx_plugins.formats.tfrecord import TfrecordFormat, TfrecordOptions
from tlx_plugins.formats.tfrecord_framing import RecordFile, read_records

DISTINCT = 50
Times = tuple[float, float]


def make_images(folder: Path, size: int) -> None:
    """JPEG files of about ``size`` bytes: noise, until the quality gives the wanted length."""
    folder.mkdir()
    random = np.random.default_rng(size)
    side = int((size / 0.7) ** 0.5) // 8 * 8
    for number in range(DISTINCT):
        pixels = random.integers(0, 255, (side, side, 3), np.uint8)
        out = BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=60)
        data = out.getvalue()
        # What follows the end of the image is part of the file, and of the record.
        (folder / f"{number:04d}.jpg").write_bytes(data[:size].ljust(size, b"\0"))


def timed(run: Callable[[], object]) -> Times:
    """Seconds of wall and CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def example(number: int, data: bytes) -> tuple[bytes, bytes]:
    """The record of ``features``, in tlx's encoding."""
    entries = []
    for key, values in features(number, data).items():
        if key == "image/encoded":
            continue
        if isinstance(values[0], bytes):
            entries.append(codec.bytes_entry(key, values))
        elif isinstance(values[0], float):
            entries.append(codec.float_entry(key, values))
        else:
            entries.append(codec.integer_entry(key, values))
    return codec.example(entries, "image/encoded", data)


def write(images: list[bytes], count: int, dest: Path) -> None:
    """tlx: encode and write."""
    dest.unlink(missing_ok=True)
    file = RecordFile(dest)
    for number in range(count):
        file.write(example(number, images[number % len(images)]))
    file.close()


def copy(images: list[bytes], count: int, dest: Path) -> None:
    """The bound of writing."""
    with dest.open("wb", buffering=1 << 20) as file:
        for number in range(count):
            file.write(images[number % len(images)])


def swallow(path: Path) -> None:
    """The bound of reading."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def read(path: Path) -> None:
    """tlx: read with every checksum compared."""
    for _ in read_records(path):
        pass


def read_parsed(path: Path) -> None:
    """tlx: read and decode the Examples."""
    for _, data in read_records(path):
        codec.decode(data)


def dataset(folder: Path, count: int, path: Path) -> object:
    """A dataset of ``count`` images, several of which share a file."""
    files = paths(str(folder))
    with Image.open(files[0]) as image:
        width, height = image.size

    def records() -> object:
        for number in range(count):
            corners = [0.1 + 0.01 * ((number + box) % 50) for box in range(BOXES)]
            yield Record(
                image_id=f"street/{number:06d}.jpg",
                uri=files[number % len(files)].name,
                width=width,
                height=height,
                objects=tuple(
                    Object(
                        category="traffic light",
                        box=Box(c * width, c * height, (c + 0.2) * width, (c + 0.3) * height),
                    )
                    for c in corners
                ),
            )

    lineage = (Operation(name="benchmark", version="0"),)
    return write_dataset(path, records(), Taxonomy.of(["traffic light"]), folder, lineage)


class TensorFlow:
    """The other process; absent without an interpreter."""

    def __init__(self, python: str | None) -> None:
        self.process = None
        if python is not None:
            script = Path(__file__).with_name("tfrecord_tensorflow.py")
            clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            self.process = subprocess.Popen(
                [python, str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=clean | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            )

    def run(self, *command: object) -> Times | None:
        """Time of one command."""
        if self.process is None:
            return None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit("TensorFlow's process ended; does its Python have TensorFlow?")
        wall, cpu = json.loads(answer)
        return wall, cpu

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def measure(size: int, count: int, rounds: int, other: TensorFlow, room: Path) -> list[str]:
    """Rows of the table for records of one size."""
    folder = room / f"images-{size}"
    make_images(folder, size)
    images = [path.read_bytes() for path in paths(str(folder))]
    copies = count // len(images)
    mine, theirs, plain = (room / f"{name}-{size}" for name in ("tlx", "tensorflow", "plain"))
    stored = dataset(folder, count, room / f"{size}.tlx")

    def convert(workers: int) -> Callable[[], object]:
        def run() -> object:
            dest = room / f"converted-{size}-{workers}-{time.perf_counter_ns()}"
            context = Context(workers=workers)
            report = TfrecordFormat().write(stored, dest, TfrecordOptions(), context)
            for path in dest.iterdir():
                path.unlink()
            return report

        return run

    tasks: dict[tuple[str, str], Callable[[], Times | None]] = {
        ("write", "bound"): lambda: timed(lambda: copy(images, count, plain)),
        ("write", "tlx"): lambda: timed(lambda: write(images, count, mine)),
        ("write", "TensorFlow"): lambda: other.run("write", str(folder), copies, str(theirs)),
        ("read", "bound"): lambda: timed(lambda: swallow(mine)),
        ("read", "tlx"): lambda: timed(lambda: read(mine)),
        ("read", "TensorFlow"): lambda: other.run("read", str(mine)),
        ("read", "TensorFlow, numpy"): lambda: other.run("read_iterator", str(mine)),
        ("read and decode", "tlx"): lambda: timed(lambda: read_parsed(mine)),
        ("read and decode", "TensorFlow"): lambda: other.run("read_parsed", str(mine)),
        ("convert files", "tlx"): lambda: timed(convert(0)),
        ("convert files", "tlx, 2 workers"): lambda: timed(convert(2)),
        ("convert files", "TensorFlow"): lambda: other.run(
            "convert", str(folder), copies, str(theirs)
        ),
    }
    best: dict[tuple[str, str], Times] = {}
    for number in range(rounds):
        for task, run in tasks.items():
            took = run()
            if took is not None:
                best[task] = min(took, best.get(task, took))
            print(f"round {number + 1}, {size} bytes, {task}: {took}", file=sys.stderr)
    rows = []
    for (task, who), (wall, cpu) in best.items():
        reference = best.get((task, "TensorFlow"), (float("nan"),))[0]
        rate, megabytes = count / wall, count * size / wall / 1e6
        rows.append(
            f"| {size // 1000} kB | {task} | {who} | {rate:,.0f} | {megabytes:,.0f} | "
            f"{cpu / count * 1e6:,.0f} | {reference / wall:.2f} |"
        )
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensorflow", help="a Python that has TensorFlow")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="where the files are made for the time being")
    parser.add_argument("--output", type=Path, help="a file for the table")
    chosen = parser.parse_args()
    other = TensorFlow(chosen.tensorflow)
    lines = [
        "| record | task | who | records/s | MB/s | CPU us/record | speed to TensorFlow |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory(dir=chosen.folder) as room:
        for size in (10_000, 150_000):
            lines += measure(size, chosen.records, chosen.rounds, other, Path(room))
    other.close()
    table = "\n".join(lines) + "\n"
    print(table, end="")
    if chosen.output is not None:
        chosen.output.write_text(table)


if __name__ == "__main__":
    main()
