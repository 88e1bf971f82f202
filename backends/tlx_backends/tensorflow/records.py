"""A dataset's splits as TFRecord files, made once and kept in tlx's data folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tlx import host
from tlx.context import Context
from tlx.data_folder import data_folder
from tlx.dataset import Dataset, Operation, write_dataset
from tlx.issues import Issue
from tlx.model import Record, replace
from tlx.options import build
from tlx.samples import Samples, size_of, usable_objects
from tlx.staging import staged

_FORMAT = "tfrecord"
# Raised when the same dataset would be written in another way.
_VERSION = 1
_KEPT = 4
_IMAGES_PER_SHARD = 4096
_LEFT_OUT = "left_out.json"


@dataclass(frozen=True, slots=True)
class Records:
    """Record files of a dataset.

    Attributes:
        folder: Where they lie.
        files: Their paths by split.
        label_map: The map of class numbers (from 1) to names.
    """

    folder: Path
    files: dict[str, tuple[str, ...]]
    label_map: str


def records_folder() -> Path:
    """Where record files are kept; it can be deleted at any time between trainings."""
    return data_folder() / "records"


def make_records(dataset: Dataset, splits: tuple[Samples, ...], context: Context) -> Records:
    """Record files of some splits; written again only when dataset or images have changed.

    Boxes are cleaned as for every backend (`tlx.samples`); crowds are left out of the first split,
    which is learned from. Under the policy ``skip`` every image is decoded once, and those that
    cannot be are left out; otherwise TensorFlow finds them (`broken_image`).

    Args:
        dataset: The dataset.
        splits: The split to learn from and others, without images that are not there.
        context: Progress and issues.
    """
    careful = context.issues.policy == "skip"
    folder = records_folder() / (_key(dataset, splits) + ("-checked" if careful else ""))
    left_out: dict[str, str] = {}
    if not (folder / "label_map.pbtxt").is_file():
        _make_room(folder)
        writer = host.installed().format(_FORMAT)
        count = sum(len(samples) for samples in splits)
        shards = max(1, -(-count // _IMAGES_PER_SHARD))
        options = build(
            writer.options,
            {"shards": 0 if shards == 1 else shards, "bad_boxes": "clip", "reencode": "png"},
            f"the format {_FORMAT!r}",
        )
        with staged(folder, overwrite=True) as target:
            room = target.parent / "cleaned.tlx"
            cleaned = write_dataset(
                room,
                _cleaned(dataset, splits, left_out if careful else None),
                dataset.taxonomy,
                dataset.media_root,
                (*dataset.manifest.lineage, Operation(name="train", version="0")),
            )
            writer.write(cleaned, target, options, context)
            (target / _LEFT_OUT).write_text(json.dumps(left_out), encoding="utf-8")
    for path, reason in json.loads((folder / _LEFT_OUT).read_text(encoding="utf-8")).items():
        context.issues.report(Issue("unreadable-image", f"{reason}.", path=path))
    os.utime(folder)
    names = sorted(file.name for file in folder.iterdir())
    return Records(
        folder,
        {
            s.split: tuple(str(folder / n) for n in names if n.startswith(f"{s.split}.record"))
            for s in splits
        },
        str(folder / "label_map.pbtxt"),
    )


def _key(dataset: Dataset, splits: tuple[Samples, ...]) -> str:
    """Changes with the labels, the choice of images, and their files' sizes and times."""
    digest = hashlib.sha256(f"{_VERSION}\0{dataset.fingerprint}\0{dataset.media_root}".encode())
    for samples in splits:
        for item in samples.items:
            facts = Path(item.path).stat()
            line = [samples.split, item.image_id, facts.st_size, facts.st_mtime_ns]
            digest.update(json.dumps(line).encode())
    return digest.hexdigest()[:24]


def broken_image(path: str) -> str | None:
    """Why an image file cannot be decoded, None when it can."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            picture.load()
    except UnidentifiedImageError:
        return "it is no picture in a format that Pillow knows"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"it is no picture that can be decoded: {reason}"
    return None


def _cleaned(
    dataset: Dataset, splits: tuple[Samples, ...], left_out: dict[str, str] | None
) -> Iterator[Record]:
    """The records to write; broken images go into ``left_out`` unless it is None."""
    dropped: Counter[str] = Counter()
    for number, samples in enumerate(splits):
        wanted = {item.image_id for item in samples.items}
        for record in dataset.records(samples.split):
            if record.image_id not in wanted:
                continue
            path = dataset.image_path(record.uri)
            reason = None if left_out is None else broken_image(str(path))
            if reason is not None and left_out is not None:
                left_out[str(path)] = reason
                continue
            size = size_of(record, path)
            kept = tuple(
                replace(item, box=box, segmentation=None, keypoints=())
                for item, box in usable_objects(record, size, dropped)
                if number or not item.crowd
            )
            cleaned: Record = replace(record, objects=kept)
            yield cleaned


def _make_room(folder: Path) -> None:
    """Delete the records that were not used for the longest time, so that they do not pile up."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = [p for p in folder.parent.iterdir() if p.is_dir() and not p.name.startswith(".")]
    old.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for path in old[_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
