"""``tlx coco-results``: COCO results files (cocodataset.org/#format-results) to predictions, back.

A results file names images and categories by the ids of an annotation file: those of the dataset
that was read from it, or written to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.context import Context
from tlx.errors import DataError, UsageError, nearest
from tlx.issues import Issue

if TYPE_CHECKING:
    from tlx.dataset import Dataset
    from tlx.model import Box, Prediction

_HINT = "Give the dataset that the results belong to, or leave such results out: --on-error skip"


@dataclass(frozen=True)
class CocoResultsOptions:
    """What ``tlx coco-results`` can be told."""

    path: Path | None = None
    "A results file (JSON) to read, or predictions (Parquet, or the folder of tlx predict)."
    dataset: Path | None = None
    "The dataset that they are predictions for."
    output: Path | None = None
    "The file to write: by default the input's name with .parquet, or with .json."
    split: str | None = None
    "Only the images of this split."
    overwrite: bool = False
    "Replace what lies at the output."


class CocoResultsCommand:
    """Reads or writes a results file, by what it is given."""

    name = "coco-results"
    summary = "Turn a COCO results file into predictions with their score, or back."
    options: type[Any] = CocoResultsOptions

    def run(
        self, options: CocoResultsOptions, context: Context, say: Callable[[str], None]
    ) -> Mapping[str, Any]:
        """Write the other form; results that are read are judged, too.

        Raises:
            UsageError: If no input or no dataset is named.
            DataError: If the input is no results file.
        """
        from tlx.dataset import Dataset
        from tlx.pipeline import require_path
        from tlx.staging import check_free

        if options.path is None or options.dataset is None:
            raise UsageError(
                "tlx coco-results needs a file and the dataset that it belongs to.",
                hint="As in: tlx coco-results results.json --dataset lights.tlx",
            )
        path = require_path(options.path, "The input")
        data = Dataset.open(options.dataset)
        if options.split is not None:
            data.require_split(options.split)
        if path.is_dir():
            path = path / "predictions.parquet"
        reads = path.suffix.lower() == ".json"
        dest = options.output or path.with_suffix(".parquet" if reads else ".json")
        check_free(dest, options.overwrite)
        if not reads:
            return _write(path, data, dest, options, say)
        return _read(path, data, dest, options, context, say)


def _read(
    path: Path,
    data: Dataset,
    dest: Path,
    options: CocoResultsOptions,
    context: Context,
    say: Callable[[str], None],
) -> Mapping[str, Any]:
    from tlx.predictions import write_predictions
    from tlx.scoring import judge

    meta = {"dataset": data.fingerprint, "split": options.split, "results": path.name}
    found = _predictions(path, data, options.split, context)
    write_predictions(dest, found, meta, overwrite=options.overwrite)
    metrics = judge(data, dest, split=options.split, thresholds=0.5)
    ap, ap50 = (metrics[name] for name in ("ap", "ap50"))
    say(f"AP {_shown(ap)}, AP50 {_shown(ap50)} on {metrics['images']:,} images.")
    say(f"Look at them with: tlx inspect {data.path} --predictions {dest}")
    return {"output": str(dest), **metrics}


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _write(
    path: Path,
    data: Dataset,
    dest: Path,
    options: CocoResultsOptions,
    say: Callable[[str], None],
) -> Mapping[str, Any]:
    import msgspec

    from tlx.predictions import open_predictions
    from tlx.staging import staged
    from tlx_plugins.formats.coco_writer import ids_of

    images, categories = ids_of(data, options.split)
    count = 0
    encode = msgspec.json.Encoder().encode
    with staged(dest, overwrite=options.overwrite) as target, target.open("wb") as file:
        file.write(b"[")
        for prediction in open_predictions(path):
            number = images.get(prediction.image_id)
            if number is None:
                if options.split is None:
                    raise DataError(
                        f"the image {prediction.image_id!r} is not in {data.path}.",
                        place=path,
                        hint="Give the dataset that the predictions were made on.",
                    )
                continue
            for found in prediction.detections:
                if found.category not in categories:
                    hint = nearest(found.category, categories)
                    raise DataError(f"no class is named {found.category!r}.", place=path, hint=hint)
                box = found.box
                result = {
                    "image_id": number,
                    "category_id": categories[found.category],
                    "bbox": [box.xmin, box.ymin, round(box.width, 10), round(box.height, 10)],
                    "score": found.score,
                }
                file.write((b",\n" if count else b"\n") + encode(result))
                count += 1
        file.write(b"\n]\n")
    say(f"{count:,} results written to {dest}")
    return {"output": str(dest), "results": count}


def _predictions(
    path: Path, data: Dataset, split: str | None, context: Context
) -> Iterator[Prediction]:
    """A prediction for every image, with or without results, by falling score."""
    from tlx.model import Detection, Prediction
    from tlx_plugins.formats.coco_writer import ids_of

    images, categories = ids_of(data, None)
    wanted = images if split is None else ids_of(data, split)[0]
    names = {number: name for name, number in categories.items()}
    known = set(images.values())
    found: dict[int, list[Detection]] = {number: [] for number in wanted.values()}
    for index, result in enumerate(_results(path)):
        problem = None
        box = _box(result.bbox)
        if result.image_id not in known:
            problem = f"the image id {result.image_id} is not in {data.path}."
        elif result.category_id not in names:
            problem = f"the category id {result.category_id} is not in {data.path}."
        elif box is None or not math.isfinite(result.score):
            problem = "has no bbox of four finite numbers, or no finite score."
        if problem is not None:
            message = f"$[{index}] {problem}"
            context.issues.report(Issue("bad-result", message, str(path), hint=_HINT))
        elif box is not None and result.image_id in found:
            found[result.image_id].append(
                Detection(names[result.category_id], box, float(result.score))
            )
    for image_id, number in wanted.items():
        ordered = sorted(found[number], key=lambda detection: -detection.score)
        yield Prediction(image_id, tuple(ordered))


def _results(path: Path) -> list[Any]:
    import msgspec

    kind = msgspec.defstruct(
        "Result",
        [("image_id", int), ("category_id", int), ("score", float), ("bbox", Any, None)],
    )
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[kind])  # type: ignore[valid-type]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"is not a COCO results file: {error}.",
            place=path,
            hint="It is a list of {image_id, category_id, bbox, score}.",
        ) from error


def _box(bbox: Any) -> Box | None:
    from tlx_plugins.formats.coco_outline import corners

    if not isinstance(bbox, list) or any(type(value) not in (int, float) for value in bbox):
        return None
    return corners(tuple(bbox))
