"""How fast labels of DriveU's full size become a dataset: 41,000 images, 230,000 lights.

Makes a label file of version 2.0 (or, with ``--yaml``, of 1.0) in a temporary folder, without
images, ingests it in a process of its own and prints wall time, processor time and peak memory.
The file is made from the description of the data set, no real one is public.

    python tests/benchmarks/driveu_ingest.py [--yaml] [--scale 1.0]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

IMAGES = 41_000
LIGHTS = 230_000
CITIES = ("Berlin", "Bochum", "Bremen", "Dortmund", "Duesseldorf", "Essen", "Frankfurt", "Fulda",
          "Hannover", "Kassel", "Koeln")  # fmt: skip
FRAMES_PER_SEQUENCE = 20
CHILD = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
from tlx.context import Context
from tlx.dataset import Operation, write_dataset
from tlx_plugins.sources.driveu import DriveuOptions, DriveuSource
context = Context()
reading = DriveuSource().read(Path(sys.argv[1]), DriveuOptions(), context)
lineage = (Operation(name="ingest", plugin="driveu", version="0"),)
dataset = write_dataset(Path(sys.argv[2]), reading.content, reading.taxonomy,
                        reading.media_root, lineage, issues=context.issues)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "images": dataset.counts.images, "objects": dataset.counts.objects,
    "issues": dict(context.issues.counts),
    "wall_s": round(time.perf_counter() - start, 2),
    "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
    # The kernel's own mark: ru_maxrss of a child begins with what its parent had.
    "peak_mb": next(int(line.split()[1]) >> 10 for line in open("/proc/self/status")
                    if line.startswith("VmHWM")),
}))
"""


def frames(scale: float) -> list[dict[str, Any]]:
    """Images with the values that both versions have, and their lights."""
    dice = random.Random(0)
    images, lights = int(IMAGES * scale), int(LIGHTS * scale)
    made = []
    for number in range(images):
        sequence, frame = divmod(number, FRAMES_PER_SEQUENCE)
        city = CITIES[sequence % len(CITIES)]
        folder = f"{city}/{city}{sequence % 7}/2015-04-17_{sequence:06d}"
        path = f"{folder}/DE_BBBR667_2015-04-17_10-50-{frame:02d}-{number:06d}_k0.tiff"
        made.append({"path": path, "time": 1.4e9 + number * 0.7, "lights": []})
    for number in range(lights):
        box = (dice.randrange(2000), dice.randrange(800), dice.randrange(3, 40),
               dice.randrange(6, 90))  # fmt: skip
        light = (*box, dice.choice("0134"), dice.choice(("red", "yellow", "green", "unknown")))
        made[dice.randrange(images)]["lights"].append((number, *light))
    return made


def version_2(made: list[dict[str, Any]]) -> str:
    """The text of a JSON label file."""
    return json.dumps(
        {"images": [{
            "image_path": f"./{frame['path']}",
            "disparity_image_path": f"./{frame['path'].replace('_k0', '_nativeV2')}",
            "time_stamp": frame["time"], "velocity": 9.71, "yaw_rate": -0.0123,
            "longitude": 13.376, "latitude": 52.518,
            "labels": [{
                "x": x, "y": y, "w": w, "h": h, "unique_id": number,
                "track_id": f"TrafficLight_{number % 9}",
                "attributes": {
                    "direction": "front", "relevance": "relevant", "occlusion": "not_occluded",
                    "orientation": "vertical", "aspects": "three_aspects", "state": state,
                    "pictogram": "circle", "reflection": "not_reflected",
                },
            } for number, x, y, w, h, _, state in frame["lights"]],
        } for frame in made]},
        indent=1,
    )  # fmt: skip


def version_1(made: list[dict[str, Any]]) -> str:
    """The text of a YAML label file."""
    lines = []
    for frame in made:
        lines += [f"- disp_path: /scratch/{frame['path']}", "  latitude: 52.518",
                  "  longitude: 13.376", "  objects:" + " []" * (not frame["lights"])]  # fmt: skip
        lines += [
            f"  - {{class_id: 1123{digit}0, height: {h}, track_id: TrafficLight_{number % 9}, "
            f"unique_id: {number}, width: {w}, x: {x}, y: {y}}}"
            for number, x, y, w, h, digit, _ in frame["lights"]
        ]
        lines += [f"  path: /scratch/{frame['path']}", f"  time_stamp: {frame['time']}",
                  "  velocity: 9.71", "  yaw_rate: -0.0123"]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the file, ingest it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yaml", action="store_true", help="version 1.0")
    parser.add_argument("--scale", type=float, default=1.0, help="times the full size")
    arguments = parser.parse_args()
    made = frames(arguments.scale)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ("DTLD_all.yml" if arguments.yaml else "DTLD_all.json")
        file.write_text(version_1(made) if arguments.yaml else version_2(made))
        size = file.stat().st_size
        command = [sys.executable, "-c", CHILD, str(file), str(Path(folder) / "driveu.tlx")]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
    print(json.dumps({"file_mb": round(size / 1e6), **json.loads(result.stdout)}))


if __name__ == "__main__":
    main()
