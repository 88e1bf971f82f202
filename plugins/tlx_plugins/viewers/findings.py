"""What the matching says about each box and each image, ready to be written beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tlx.evaluation import Matches, Status, match
from tlx.thresholds import threshold_array

if TYPE_CHECKING:
    from tlx.evaluation.boxes import Integers
    from tlx.mistakes import Mistakes

CLASS_WISE = "eval"
"""Key of the evaluation run that matches within each class; the fields begin with it."""

CLASS_AGNOSTIC = "confusion"
"""Key of the run that matches across classes, for the confusion matrix."""


def label_id(image_id: str, kind: str, place: int) -> str:
    """A stable id of a label as 24 hexadecimal digits: the same box has the same id tomorrow."""
    key = f"{image_id}\0{kind}\0{place}".encode()
    return hashlib.blake2b(key, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Detected:
    """One detection with its verdicts; the box is in absolute pixels."""

    category: str
    box: tuple[float, float, float, float]
    score: float
    label_id: str
    marks: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageFindings:
    """Everything that the matching says about one image.

    Attributes:
        detections: In the order of the predictions file.
        object_marks: Marks of each object by its place in the record.
        numbers: Fields of the sample.
    """

    detections: tuple[Detected, ...]
    object_marks: dict[int, dict[str, Any]]
    numbers: dict[str, Any]


MatchRow = tuple[str | None, str | None, float | None, float | None, str | None, str | None]
"""One line of a FiftyOne evaluation: label and predicted label, IoU, confidence, both ids."""


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """The columns of a matching as lists: single numbers are read from them ten times faster."""

    status: list[int]
    object_row: list[int]
    detection_row: list[int]
    iou: list[float]

    @classmethod
    def of(cls, matches: Matches) -> _Verdicts:
        return cls(
            matches.status.tolist(),
            matches.ground_truth.tolist(),
            matches.detection.tolist(),
            matches.iou.tolist(),
        )


class Findings:
    """The mistakes of a dataset, image by image.

    Args:
        mistakes: The matched boxes.
        small_height: Objects below this height in pixels count as small.
    """

    def __init__(self, mistakes: Mistakes, small_height: float) -> None:
        self.mistakes = mistakes
        agnostic = match(
            mistakes.objects,
            mistakes.detections,
            iou_threshold=mistakes.iou,
            score_threshold=threshold_array(mistakes.class_names, mistakes.score_threshold) or 0.0,
            class_agnostic=True,
        )
        self._verdicts = {
            CLASS_WISE: _Verdicts.of(mistakes.matches),
            CLASS_AGNOSTIC: _Verdicts.of(agnostic),
        }
        names = mistakes.class_names
        objects, found = mistakes.objects, mistakes.detections
        images = np.arange(len(mistakes.image_ids) + 1)
        self._object_start = np.searchsorted(objects.image, images).tolist()
        self._detection_start = np.searchsorted(found.image, images).tolist()
        self._index = {name: row for row, name in enumerate(mistakes.image_ids)}
        self._object_class = [names[k] for k in objects.category.tolist()]
        self._detected_class = [names[k] for k in found.category.tolist()]
        self._object_ids = self._ids("ground_truth", objects.image, mistakes.object_index)
        self._detected_ids = self._ids("predictions", found.image, mistakes.detection_index)
        self._object_index = mistakes.object_index.tolist()
        self._crowd = objects.crowd.tolist()
        self._box = found.box.tolist()
        self._score = found.score.tolist()
        self._confused_objects = dict(mistakes.confusions.tolist())
        self._confused_detections = {d: g for g, d in mistakes.confusions.tolist()}
        height = objects.box[:, 3] - objects.box[:, 1]
        self._missed_small = (mistakes.missed & (height < small_height)).tolist()

    def _ids(self, kind: str, image: Integers, place: Integers) -> list[str]:
        ids = self.mistakes.image_ids
        pairs = zip(image.tolist(), place.tolist(), strict=True)
        return [label_id(ids[row], kind, number) for row, number in pairs]

    def of(self, image_id: str) -> ImageFindings | None:
        """What is known of an image, None if there is no prediction for it."""
        row = self._index.get(image_id)
        if row is None:
            return None
        objects = range(self._object_start[row], self._object_start[row + 1])
        found = range(self._detection_start[row], self._detection_start[row + 1])
        detections = tuple(self._detected(d) for d in found)
        marks = {self._object_index[g]: self._object_marks(g) for g in objects}
        return ImageFindings(detections, marks, self._numbers(objects, detections, marks))

    def _detected(self, d: int) -> Detected:
        marks = {
            **self._detection_verdict(CLASS_WISE, d),
            **self._detection_verdict(CLASS_AGNOSTIC, d),
        }
        if d in self._confused_detections:
            marks["confused_with"] = self._object_class[self._confused_detections[d]]
        x0, y0, x1, y1 = self._box[d]
        return Detected(
            self._detected_class[d],
            (x0, y0, x1, y1),
            self._score[d],
            self._detected_ids[d],
            marks,
        )

    def _detection_verdict(self, key: str, d: int) -> dict[str, Any]:
        verdicts = self._verdicts[key]
        status = verdicts.status[d]
        if status == Status.FALSE_POSITIVE:
            return {key: "fp", f"{key}_id": ""}
        if status != Status.TRUE_POSITIVE:
            # Below the threshold or in a crowd: neither right nor wrong.
            return {}
        g = verdicts.object_row[d]
        right = self._object_class[g] == self._detected_class[d]
        return _pair(key, "tp" if right else "fp", self._object_ids[g], verdicts.iou[d])

    def _object_marks(self, g: int) -> dict[str, Any]:
        marks = {
            **self._object_verdict(CLASS_WISE, g),
            **self._object_verdict(CLASS_AGNOSTIC, g),
        }
        if g in self._confused_objects:
            marks["confused_with"] = self._detected_class[self._confused_objects[g]]
        return marks

    def _object_verdict(self, key: str, g: int) -> dict[str, Any]:
        if self._crowd[g]:
            return {}
        verdicts = self._verdicts[key]
        d = verdicts.detection_row[g]
        if d < 0:
            return {key: "fn", f"{key}_id": ""}
        right = self._object_class[g] == self._detected_class[d]
        return _pair(key, "tp" if right else "fn", self._detected_ids[d], verdicts.iou[d])

    def _numbers(
        self,
        objects: range,
        detections: tuple[Detected, ...],
        marks: dict[int, dict[str, Any]],
    ) -> dict[str, Any]:
        """Fields of the sample: counts, and what the saved views sort by."""
        numbers: dict[str, Any] = {}
        for key in (CLASS_WISE, CLASS_AGNOSTIC):
            of_detections = [d.marks.get(key) for d in detections]
            of_objects = [m.get(key) for m in marks.values()]
            numbers[f"{key}_tp"] = of_detections.count("tp")
            numbers[f"{key}_fp"] = of_detections.count("fp")
            numbers[f"{key}_fn"] = of_objects.count("fn")
        right = [d.score for d in detections if d.marks.get(CLASS_WISE) == "tp"]
        wrong = [d.score for d in detections if d.marks.get(CLASS_WISE) == "fp"]
        missed = numbers[f"{CLASS_WISE}_fn"]
        numbers["mistakes"] = numbers[f"{CLASS_WISE}_fp"] + missed
        numbers["confused"] = sum(g in self._confused_objects for g in objects)
        numbers["missed_small"] = sum(self._missed_small[g] for g in objects)
        # How wrong the network is in boxes: each miss counts 1, each false positive as much as it
        # was sure of it, each object that was found as much as it was unsure.
        numbers["hardness"] = float(missed + sum(wrong) + sum(1 - score for score in right))
        numbers["lowest_correct"] = min(right, default=None)
        return numbers

    def rows(self, key: str, image_ids: Iterable[str]) -> Iterator[MatchRow]:
        """The lines of an evaluation run for some images, as FiftyOne keeps them."""
        verdicts = self._verdicts[key]
        for image_id in image_ids:
            row = self._index.get(image_id)
            if row is None:
                continue
            for d in range(self._detection_start[row], self._detection_start[row + 1]):
                status = verdicts.status[d]
                found = (self._detected_class[d], self._detected_ids[d], self._score[d])
                if status == Status.FALSE_POSITIVE:
                    yield None, found[0], None, found[2], None, found[1]
                elif status == Status.TRUE_POSITIVE:
                    g, iou = verdicts.object_row[d], verdicts.iou[d]
                    known = (self._object_class[g], self._object_ids[g])
                    yield known[0], found[0], iou, found[2], known[1], found[1]
            for g in range(self._object_start[row], self._object_start[row + 1]):
                if verdicts.detection_row[g] < 0 and not self._crowd[g]:
                    yield self._object_class[g], None, None, None, self._object_ids[g], None


def _pair(key: str, verdict: str, partner: str, iou: float) -> dict[str, Any]:
    return {key: verdict, f"{key}_id": partner, f"{key}_iou": iou}
