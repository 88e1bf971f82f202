"""One conversion by one of tlx's peers; run by formats.py in the peer's own environment.

    PYTHON formats_peers.py PEER FROM TO SOURCE IMAGES DEST

SOURCE is a COCO file, the folder of Pascal VOC's XML files, or a YOLO data.yaml. A pair that a peer
does not have ends with exit status 3 and a sentence.
"""

from __future__ import annotations

import sys
from pathlib import Path


def absent(sentence: str) -> None:
    """Say that there is no such conversion, and end."""
    print(sentence, file=sys.stderr)
    sys.exit(3)


def labelformat(source: Path, images: Path, dest: Path, pair: tuple[str, str]) -> None:
    """Its own command line."""
    from labelformat.cli.cli import main

    del images
    reading = {
        "coco": ["coco", "--input-file", source],
        "voc": ["pascalvoc", "--input-folder", source, "--category-names", _classes(source)],
        "yolo": ["yolov8", "--input-file", source, "--input-split", "train"],
    }
    writing = {
        "coco": ["coco", "--output-file", dest / "out.json"],
        "voc": ["pascalvoc", "--output-folder", dest],
        "yolo": ["yolov8", "--output-file", dest / "data.yaml"],
    }
    dest.mkdir()
    command = ["labelformat", "convert", "--task", "object-detection", "--input-format"]
    sys.argv = [str(a) for a in (*command, *reading[pair[0]], "--output-format", *writing[pair[1]])]
    main()


def globox(source: Path, images: Path, dest: Path, pair: tuple[str, str]) -> None:
    """Its Python interface: boxes only."""
    from globox import AnnotationSet

    if pair[0] == "coco":
        found = AnnotationSet.from_coco(source)
    elif pair[0] == "voc":
        found = AnnotationSet.from_pascal_voc(source)
    else:
        folder = source.parent / "labels" / "train"
        found = AnnotationSet.from_yolo_v5(folder, image_folder=images)
    if pair[1] == "coco":
        found.save_coco(dest.with_suffix(".json"), auto_ids=True)
    elif pair[1] == "voc":
        found.save_pascal_voc(dest)
    else:
        found.save_yolo_v5(dest, label_to_id={n: i for i, n in enumerate(sorted(found._labels()))})


def supervision(source: Path, images: Path, dest: Path, pair: tuple[str, str]) -> None:
    """Its dataset class."""
    from supervision import DetectionDataset

    if pair[0] == "coco":
        found = DetectionDataset.from_coco(str(images), str(source))
    elif pair[0] == "voc":
        found = DetectionDataset.from_pascal_voc(str(images), str(source))
    else:
        labels = source.parent / "labels" / "train"
        found = DetectionDataset.from_yolo(str(images), str(labels), str(source))
    dest.mkdir()
    if pair[1] == "coco":
        found.as_coco(annotations_path=str(dest / "out.json"))
    elif pair[1] == "voc":
        found.as_pascal_voc(annotations_directory_path=str(dest))
    else:
        found.as_yolo(
            annotations_directory_path=str(dest / "labels"), data_yaml_path=str(dest / "data.yaml")
        )


def datumaro(source: Path, images: Path, dest: Path, pair: tuple[str, str]) -> None:
    """Its Python interface; images are not written."""
    from datumaro import Dataset

    del images
    kinds = {"coco": "coco_instances", "voc": "voc_detection", "yolo": "yolo"}
    place = source if pair[0] == "coco" else source.parent
    found = Dataset.import_from(str(place), kinds[pair[0]])
    found.export(str(dest), kinds[pair[1]], save_media=False)


def fiftyone(source: Path, images: Path, dest: Path, pair: tuple[str, str]) -> None:
    """Import into its database, and export without the images."""
    import os

    os.environ["FIFTYONE_DATABASE_DIR"] = str(dest.parent / "database")
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
    import fiftyone as fo
    from fiftyone import types

    kinds = {
        "coco": types.COCODetectionDataset,
        "voc": types.VOCDetectionDataset,
        "yolo": types.YOLOv5Dataset,
    }
    place = (
        {"yaml_path": str(source), "split": "train"}
        if pair[0] == "yolo"
        else {"data_path": str(images), "labels_path": str(source)}
    )
    found = fo.Dataset.from_dir(
        dataset_dir=str(source.parent), dataset_type=kinds[pair[0]], **place
    )
    found.export(export_dir=str(dest), dataset_type=kinds[pair[1]], export_media=False)
    found.delete()


def _classes(folder: Path) -> str:
    names = folder.parent / "labels.txt"
    return ",".join(names.read_text().splitlines()) if names.exists() else ""


PEERS = {
    "labelformat": labelformat,
    "globox": globox,
    "supervision": supervision,
    "datumaro": datumaro,
    "fiftyone": fiftyone,
}

if __name__ == "__main__":
    who, before, after, *places = sys.argv[1:]
    if "tfrecord" in (before, after):
        absent("does not have TFRecord without TensorFlow")
    PEERS[who](*map(Path, places), (before, after))
