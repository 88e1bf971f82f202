"""How fast a large CVAT file is read, against lxml alone on the same file, and in what memory.

Generates files of the given size and of a tenth of it: "CVAT for images 1.1" (10 shapes per image:
6 boxes with two attributes, 4 polygons of 20 points) and "CVAT for video 1.1" (tracks of 300
frames, every frame stated, as CVAT exports them). Each measurement runs in a process of its own;
lxml and the reader take turns, and the best of three counts. ``batches`` reads the file,
``dataset`` writes the finished dataset as well, as `tlx ingest` does; both with all imports.

    python tests/benchmarks/cvat.py [--megabytes 300]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

LABELS = (
    "<labels><label><name>car</name><attributes>"
    "<attribute><name>color</name><input_type>select</input_type></attribute>"
    "<attribute><name>parked</name><input_type>checkbox</input_type></attribute>"
    "</attributes></label><label><name>sign</name><attributes></attributes></label></labels>"
)
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>'
TRACK_FRAMES = 300
WAYS = {
    "lxml": """
from lxml import etree
for _, element in etree.iterparse(sys.argv[1], events=("end",)):
    count += 1
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]
""",
    "lxml_with_values": """
from lxml import etree
for _, element in etree.iterparse(sys.argv[1], events=("end",)):
    count += 1
    element.items(), element.text
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]
""",
    "batches": """
from tlx_plugins.formats.cvat import CvatOptions, CvatFormat
for batch in CvatFormat().read(Path(sys.argv[1]), CvatOptions(), Context()).content:
    count += len(batch.column("objects").flatten())
""",
    "dataset": """
from tlx.dataset import Operation, write_dataset
from tlx_plugins.formats.cvat import CvatOptions, CvatFormat
reading = CvatFormat().read(Path(sys.argv[1]), CvatOptions(), Context())
made = write_dataset(Path(sys.argv[2]), reading.content, reading.taxonomy, reading.media_root,
                     (Operation(name="ingest", version="0"),), overwrite=True)
count = made.counts.objects
""",
}
CHILD = """
import json, resource, sys, time
from pathlib import Path
from tlx.context import Context
start, used, count = time.perf_counter(), time.process_time(), 0
{way}
print(json.dumps({{
    "count": count, "wall_s": round(time.perf_counter() - start, 2),
    "cpu_s": round(time.process_time() - used, 2),
    "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
}}))
"""


def corners(x: float, y: float) -> str:
    """The corners of a box, as attributes of its element."""
    right, bottom = x + 50, y + 40
    return f'xtl="{x:.2f}" ytl="{y:.2f}" xbr="{right:.2f}" ybr="{bottom:.2f}" z_order="0"'


def write_images(file: TextIO, size: int) -> None:
    """An images file of about ``size`` bytes."""
    dice = random.Random(0)
    file.write(f"{HEAD}<task><id>1</id><mode>annotation</mode>{LABELS}</task></meta>\n")
    number = 0
    while file.tell() < size:
        lines = [f'  <image id="{number}" name="d/{number:07d}.jpg" width="1920" height="1080">']
        for shape in range(10):
            x, y = dice.random() * 1800, dice.random() * 1000
            if shape < 6:
                lines += [
                    f'    <box label="car" source="manual" occluded="0" {corners(x, y)}>',
                    '      <attribute name="color">red</attribute>',
                    '      <attribute name="parked">false</attribute>',
                    "    </box>",
                ]
            else:
                points = ";".join(
                    f"{x + dice.random() * 80:.2f},{y + dice.random() * 70:.2f}" for _ in range(20)
                )
                lines += [
                    f'    <polygon label="sign" occluded="1" points="{points}" z_order="0">',
                    "    </polygon>",
                ]
        file.write("\n".join([*lines, "  </image>\n"]))
        number += 1
    file.write("</annotations>\n")


def write_video(file: TextIO, size: int) -> None:
    """A video file of about ``size`` bytes."""
    dice = random.Random(0)
    file.write(f"{HEAD}<task><id>1</id><name>drive</name><mode>interpolation</mode>{LABELS}")
    file.write("<original_size><width>1920</width><height>1080</height></original_size>")
    file.write("</task></meta>\n")
    number = 0
    # Thirty tracks are visible at a time, so the video gets longer, not fuller.
    while file.tell() < size:
        first = number * TRACK_FRAMES // 30
        x, y = dice.random() * 1200, dice.random() * 900
        lines = [f'  <track id="{number}" label="car" source="manual">']
        for step in range(TRACK_FRAMES):
            flags = f'keyframe="{int(step % 10 == 0)}" outside="{int(step == TRACK_FRAMES - 1)}"'
            lines += [
                f'    <box frame="{first + step}" {flags} occluded="0" {corners(x + step, y)}>',
                '      <attribute name="color">red</attribute>',
                "    </box>",
            ]
        file.write("\n".join([*lines, "  </track>\n"]))
        number += 1
    file.write("</annotations>\n")


def measure(way: str, path: Path, output: Path) -> dict[str, Any]:
    """Run one way in a process of its own."""
    command = [sys.executable, "-c", CHILD.format(way=WAYS[way]), str(path), str(output)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(result.stdout))


def main() -> None:
    """Make the files, read them, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind, write in (("images", write_images), ("video", write_video)):
            for megabytes in (arguments.megabytes, arguments.megabytes // 10):
                path = Path(folder) / "annotations.xml"
                with path.open("w") as file:
                    write(file, megabytes * 1_000_000)
                rounds = 3 if megabytes == arguments.megabytes else 1
                best: dict[str, dict[str, Any]] = {}
                for _ in range(rounds):
                    for way in WAYS:
                        found = measure(way, path, Path(folder) / "out.tlx")
                        if way not in best or found["cpu_s"] < best[way]["cpu_s"]:
                            best[way] = found
                for way, found in best.items():
                    share = round(best["lxml"]["cpu_s"] / found["cpu_s"], 2)
                    print(
                        json.dumps(
                            {"file": kind, "mb": megabytes, "way": way, **found,
                             "speed_of_lxml": share}
                        ),
                        flush=True,
                    )  # fmt: skip


if __name__ == "__main__":
    main()
