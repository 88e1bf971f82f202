"""What an average-precision evaluation found: the full arrays, and the numbers people quote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tlx.evaluation.boxes import Floats, Integers
    from tlx.evaluation.ranges import Range

# The area ranges that the COCO API quotes beside "all" (cocoeval.py, summarize).
_AREA_NAMES = ("small", "medium", "large")


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one category, or of one range, or of everything.

    Each score is in 0 .. 1, or None where it is not defined: nothing was to be found, or its IoU
    threshold was not evaluated.

    Attributes:
        positives: the number of ground truths to be found, crowds left out.
        ap: average precision, mean over the IoU thresholds (and categories).
        ap50: average precision at IoU 0.5.
        ap75: average precision at IoU 0.75.
        ar: recall, mean over the IoU thresholds (and categories).
    """

    positives: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    ar: float | None


@dataclass(frozen=True, slots=True, eq=False)
class AveragePrecision:
    """The arrays of the COCO API, and their means.

    T IoU thresholds, R = 101 recall thresholds, K categories, A ranges, M detection limits. In
    the arrays -1 stands for "nothing was to be found", as in the COCO API; the methods leave
    these cells out, and answer None where none is left.

    Attributes:
        precision: float64[T, R, K, A, M], the precision envelope at each recall threshold.
        recall: float64[T, K, A, M], the recall of all detections.
        scores: float64[T, R, K, A, M], the score at which each recall threshold is reached.
        positives: int64[K, A], ground truths to be found (neither crowd nor outside the range).
        ranges: the A size ranges.
        iou_thresholds: the T thresholds.
        recall_thresholds: the R thresholds.
        max_detections: the M limits of detections per image and category.
    """

    precision: Floats
    recall: Floats
    scores: Floats
    positives: Integers
    ranges: tuple[Range, ...]
    iou_thresholds: tuple[float, ...]
    recall_thresholds: tuple[float, ...]
    max_detections: tuple[int, ...]

    def ap(
        self,
        *,
        range_name: str = "all",
        iou_threshold: float | None = None,
        category: int | None = None,
        max_detections: int | None = None,
    ) -> float | None:
        """Mean average precision.

        Args:
            range_name: the name of one of the ranges.
            iou_threshold: one of the IoU thresholds; None for the mean over all.
            category: one category index; None for the mean over all with something to find.
            max_detections: one of the limits; None for the largest.

        Raises:
            ValueError: a range, an IoU threshold or a limit that was not evaluated.
        """
        cells = self.precision[..., self._range(range_name), self._limit(max_detections)]
        if iou_threshold is not None:
            cells = cells[[self._threshold(iou_threshold)]]
        return _mean(cells if category is None else cells[..., category])

    def ar(
        self,
        *,
        range_name: str = "all",
        iou_threshold: float | None = None,
        category: int | None = None,
        max_detections: int | None = None,
    ) -> float | None:
        """Mean recall over the IoU thresholds; arguments and errors as for `ap`."""
        cells = self.recall[..., self._range(range_name), self._limit(max_detections)]
        if iou_threshold is not None:
            cells = cells[[self._threshold(iou_threshold)]]
        return _mean(cells if category is None else cells[..., category])

    def summary(self) -> dict[str, float | None]:
        """The numbers of the COCO API by name, in its order.

        With the default settings these are ap, ap50, ap75, ap_small, ap_medium, ap_large, ar_1,
        ar_10, ar_100, ar_small, ar_medium, ar_large. `ar_<n>` is named after the limits. All
        others are at the largest limit. None where nothing was to be found, or where the range or
        threshold was not evaluated.
        """
        overall = self._scores("all")
        sizes = {name: self._scores(name) for name in _AREA_NAMES}
        has_all = any(size.name == "all" for size in self.ranges)
        return {
            "ap": overall.ap,
            "ap50": overall.ap50,
            "ap75": overall.ap75,
            **{f"ap_{name}": scores.ap for name, scores in sizes.items()},
            **{
                f"ar_{limit}": self.ar(max_detections=limit) if has_all else None
                for limit in self.max_detections
            },
            **{f"ar_{name}": scores.ar for name, scores in sizes.items()},
        }

    def by_category(self, range_name: str = "all") -> tuple[Scores, ...]:
        """The scores of each category within a range, at the largest limit; K entries.

        Raises:
            ValueError: the range was not evaluated.
        """
        self._range(range_name)
        return tuple(self._scores(range_name, category) for category in range(len(self.positives)))

    def by_range(self) -> dict[str, Scores]:
        """The scores of each range by its name, at the largest limit."""
        return {size.name: self._scores(size.name) for size in self.ranges}

    def _scores(self, range_name: str, category: int | None = None) -> Scores:
        place = next((i for i, size in enumerate(self.ranges) if size.name == range_name), None)
        if place is None:
            return Scores(0, None, None, None, None)
        column = self.positives[:, place]
        return Scores(
            positives=int(column.sum() if category is None else column[category]),
            ap=self.ap(range_name=range_name, category=category),
            ap50=self._ap_if_evaluated(0.5, range_name, category),
            ap75=self._ap_if_evaluated(0.75, range_name, category),
            ar=self.ar(range_name=range_name, category=category),
        )

    def _ap_if_evaluated(
        self, iou_threshold: float, range_name: str, category: int | None
    ) -> float | None:
        if not np.isclose(self.iou_thresholds, iou_threshold).any():
            return None
        return self.ap(range_name=range_name, iou_threshold=iou_threshold, category=category)

    def _range(self, name: str) -> int:
        names = [size.name for size in self.ranges]
        if name not in names:
            message = f"range {name!r} was not evaluated; there are {', '.join(names)}"
            raise ValueError(message)
        return names.index(name)

    def _threshold(self, iou_threshold: float) -> int:
        close = np.isclose(self.iou_thresholds, iou_threshold)
        if not close.any():
            message = f"IoU {iou_threshold} was not evaluated; there are {self.iou_thresholds}"
            raise ValueError(message)
        return int(close.argmax())

    def _limit(self, max_detections: int | None) -> int:
        if max_detections is None:
            return len(self.max_detections) - 1
        if max_detections not in self.max_detections:
            message = f"limit {max_detections} was not evaluated; there are {self.max_detections}"
            raise ValueError(message)
        return self.max_detections.index(max_detections)


def _mean(cells: Floats) -> float | None:
    """Mean of the cells that are defined, None if none is."""
    defined = cells[cells > -1]
    return float(defined.mean()) if defined.size else None
