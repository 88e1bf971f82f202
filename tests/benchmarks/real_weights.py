"""Real images, real weights: what a COCO-trained body is worth on 78 photographs of road signs.

Fine-tunes the tiny FCOS on the same images with the same budget, once from random weights and once
from a ShuffleNetV2 x0.5 body that was trained as part of a COCO detector, and prints the COCO
average precision on images that were not trained on. Every seed has a split of its own, the same
for both.

    python tests/benchmarks/real_weights.py --data ../shared/data --seeds 3 --epochs 20
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from tlx.api import TrainRequest
from tlx.context import Context
from tlx.dataset import Dataset, Operation, write_dataset
from tlx.model import Box, Category, Object, Record, Taxonomy
from tlx_backends.torch_detection.backend import TorchBackend

MODEL = "fcos_shufflenet_v2_x0_5_fpn"
WEIGHTS = Path("checkpoint_shufflenetv2_x0_5/torchvision_keys_coco80_detector.pth")
SIGNS = Path("road_signs")
COLORED = ("redlight", "greenlight", "unlight", "trafficlight")
VAL_SHARE = 0.3


def read_record(file: Path, images: Path, split: str) -> Record:
    """One image from its Pascal VOC file.

    VOC counts pixels from 1 and includes both corners, so xmin and ymin lose one; some files of
    this set hold corners of 0, which are cut to the image by the training.
    """
    root = ET.fromstring(file.read_text(encoding="utf-8").strip())
    objects = []
    for item in root.iter("object"):
        corner = {tag: float(item.findtext(f"bndbox/{tag}", "0")) for tag in
                  ("xmin", "ymin", "xmax", "ymax")}  # fmt: skip
        box = Box(
            max(0.0, corner["xmin"] - 1), max(0.0, corner["ymin"] - 1),
            corner["xmax"], corner["ymax"],
        )  # fmt: skip
        objects.append(Object(category=item.findtext("name", "").strip(), box=box))
    name = f"{file.stem}.png"
    if not (images / name).is_file():
        raise SystemExit(f"{images / name} is missing")
    return Record(
        image_id=name,
        uri=name,
        width=int(root.findtext("size/width", "0")),
        height=int(root.findtext("size/height", "0")),
        split=split,
        objects=tuple(objects),
    )


def make_dataset(signs: Path, annotations: str, seed: int, dest: Path) -> Dataset:
    """The signs with a random split of their images."""
    files = sorted((signs / annotations).glob("*.xml"))
    order = np.random.default_rng(seed).permutation(len(files))
    val = set(order[: round(VAL_SHARE * len(files))].tolist())
    records = [
        read_record(file, signs / "images", "val" if k in val else "train")
        for k, file in enumerate(files)
    ]
    names = sorted({item.category for record in records for item in record.objects})
    taxonomy = Taxonomy(tuple(Category(name=name, color_defined=name in COLORED) for name in names))
    operation = Operation(name="benchmark", version="1", options={"seed": seed})
    return write_dataset(dest, records, taxonomy, signs / "images", (operation,))


def run(dataset: Dataset, weights: Path | None, seed: int, arguments: argparse.Namespace) -> dict:
    """Train once; the metrics of the best and of the last epoch, and the seconds."""
    epochs: list[dict] = []

    def keep(event) -> None:
        if event["kind"] == "epoch":
            epochs.append(dict(event))

    options = {
        "normalize": "none",
        "channels": "bgr",
        "shorter_side": arguments.shorter_side,
        "longer_side": arguments.shorter_side * 3 // 2,
        "threads": arguments.threads,
        "validate_every": arguments.epochs,
        "tensorboard": False,
    }
    with tempfile.TemporaryDirectory(prefix="tlx-real-weights-") as folder:
        began = time.monotonic()
        TorchBackend().train(
            TrainRequest(
                dataset=str(dataset.path),
                run=folder,
                model=MODEL,
                weights=None if weights is None else str(weights),
                epochs=arguments.epochs,
                batch_size=8,
                seed=seed,
                options=options,
            ),
            Context(emit=keep),
        )
    # The last epoch, not the best one: choosing by these images would flatter both.
    return {**epochs[-1]["metrics"], "seconds": time.monotonic() - began}


def main() -> None:
    """Run both starts over all seeds and print a table."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default, help="folder of the sample data")
    parser.add_argument("--annotations", default="annotations",
                        choices=("annotations", "annotations_light_states"))  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--shorter-side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    starts = {"random weights": None, "COCO-trained body": arguments.data / WEIGHTS}
    results: dict[str, list[dict]] = {name: [] for name in starts}
    with tempfile.TemporaryDirectory(prefix="tlx-road-signs-") as folder:
        for seed in range(arguments.seeds):
            dest = Path(folder) / f"signs-{seed}.tlx"
            dataset = make_dataset(arguments.data / SIGNS, arguments.annotations, seed, dest)
            counts = dataset.counts.images_by_split
            for name, weights in starts.items():
                found = run(dataset, weights, seed, arguments)
                results[name].append(found)
                print(
                    f"seed {seed}  {name:18} {counts}  AP {found['ap']:.3f}  "
                    f"AP50 {found['ap50']:.3f}  {found['seconds']:.0f} s",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"\n{MODEL}, {arguments.annotations}, {arguments.epochs} epochs, "
          f"{arguments.seeds} seeds: mean (lowest to highest) at the last epoch")  # fmt: skip
    for name, runs in results.items():
        cells = []
        for metric in ("ap", "ap50"):
            values = [entry[metric] for entry in runs]
            mean = statistics.fmean(values)
            cells.append(f"{metric} {mean:.3f} ({min(values):.3f} to {max(values):.3f})")
        print(f"  {name:18} " + "   ".join(cells))


if __name__ == "__main__":
    main()
