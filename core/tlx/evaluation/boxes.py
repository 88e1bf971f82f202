"""The two inputs of the evaluator: what is there, and what was detected, as columns.

Coordinates are absolute pixels, float, origin top left, half open::

    (xmin, ymin) +---------+          width  = xmax - xmin
                 |         |          height = ymax - ymin
                 +---------+ (xmax, ymax)

The arrays are taken as read-only views: the evaluator never writes to what it was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Booleans: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

_COORDINATES = 4


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """All annotated boxes of an evaluation, one row per box; G rows.

    Attributes:
        image: int64[G], index of the image, 0 .. image_count - 1. Give the indices in the sorted
            order of the image ids: equal scores are ranked by image index.
        category: int64[G], index of the category, 0 .. category_count - 1.
        box: float64[G, 4], xmin, ymin, xmax, ymax in absolute pixels, half open.
        crowd: bool[G], True for a region that holds several objects (COCO `iscrowd`): it is never
            missed, and any number of detections may fall into it without being false.
        area: float64[G] in square pixels or None, the area that the annotation states (of a
            mask, say). Where it is None, or NaN in a row, the area of the box is used.

    Raises:
        ValueError: a column has the wrong shape or type, an index is negative, a coordinate is
            not finite, a box has xmax < xmin or ymax < ymin, or an area is negative.
    """

    image: Integers
    category: Integers
    box: Floats
    crowd: Booleans
    area: Floats | None = None

    def __post_init__(self) -> None:
        owner = type(self).__name__
        box = _box_column(self.box, f"{owner}.box")
        rows = len(box)
        _store(self, "box", box)
        _store(self, "image", _index_column(self.image, rows, f"{owner}.image"))
        _store(self, "category", _index_column(self.category, rows, f"{owner}.category"))
        _store(self, "crowd", _flag_column(self.crowd, rows, f"{owner}.crowd"))
        if self.area is not None:
            area = _float_column(self.area, rows, f"{owner}.area")
            _refuse_rows((area < 0) | np.isinf(area), area, f"{owner}.area", "an area")
            _store(self, "area", area)

    def __len__(self) -> int:
        """The number of boxes, G."""
        return len(self.box)

    @property
    def box_area(self) -> Floats:
        """float64[G], square pixels: the stated area, or that of the box where none is stated."""
        area = box_area(self.box)
        return area if self.area is None else np.where(np.isnan(self.area), area, self.area)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """All detected boxes of an evaluation, one row per box; D rows.

    Attributes:
        image: int64[D], index of the image, counted as in `GroundTruth`.
        category: int64[D], index of the category.
        box: float64[D, 4], xmin, ymin, xmax, ymax in absolute pixels, half open.
        score: float64[D], higher is more certain; any finite number.

    Raises:
        ValueError: a column has the wrong shape or type, an index is negative, a coordinate or a
            score is not finite, or a box has xmax < xmin or ymax < ymin.
    """

    image: Integers
    category: Integers
    box: Floats
    score: Floats

    def __post_init__(self) -> None:
        owner = type(self).__name__
        box = _box_column(self.box, f"{owner}.box")
        rows = len(box)
        _store(self, "box", box)
        _store(self, "image", _index_column(self.image, rows, f"{owner}.image"))
        _store(self, "category", _index_column(self.category, rows, f"{owner}.category"))
        score = _float_column(self.score, rows, f"{owner}.score")
        _refuse_rows(~np.isfinite(score), score, f"{owner}.score", "a finite score")
        _store(self, "score", score)

    def __len__(self) -> int:
        """The number of boxes, D."""
        return len(self.box)


def box_area(box: Floats) -> Floats:
    """Area of boxes [N, 4] (xmin, ymin, xmax, ymax) in square pixels: float64[N]."""
    return (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])


def box_height(box: Floats) -> Floats:
    """Height of boxes [N, 4] (xmin, ymin, xmax, ymax) in pixels: float64[N]."""
    return box[:, 3] - box[:, 1]


def require_indices(
    boxes: GroundTruth | Detections, *, image_count: int | None, category_count: int | None
) -> None:
    """Check the image and category indices of `boxes` against the number of each.

    Raises:
        ValueError: an index is not below its count; None skips the check.
    """
    owner = type(boxes).__name__
    columns = (
        ("image", boxes.image, image_count),
        ("category", boxes.category, category_count),
    )
    for name, column, count in columns:
        if count is not None:
            _refuse_rows(column >= count, column, f"{owner}.{name}", f"an index below {count}")


def _store(boxes: GroundTruth | Detections, name: str, column: npt.NDArray[np.generic]) -> None:
    """Put the checked column into the frozen `boxes`, as a view that cannot be written to."""
    view = column.view()
    view.flags.writeable = False
    object.__setattr__(boxes, name, view)


def _box_column(values: npt.ArrayLike, name: str) -> Floats:
    box = _real_array(values, name)
    if box.size == 0:
        box = box.reshape(0, _COORDINATES)
    if box.ndim != 2 or box.shape[1] != _COORDINATES:
        message = f"{name}: expected shape (n, 4) for xmin, ymin, xmax, ymax, found {box.shape}"
        raise ValueError(message)
    finite = np.count_nonzero(np.isfinite(box), axis=1)
    _refuse_rows(finite < _COORDINATES, box, name, "four finite numbers")
    reversed_box = (box[:, 2] < box[:, 0]) | (box[:, 3] < box[:, 1])
    _refuse_rows(reversed_box, box, name, "xmin <= xmax and ymin <= ymax")
    return box


def _float_column(values: npt.ArrayLike, rows: int, name: str) -> Floats:
    column = _real_array(values, name)
    _require_rows(column, rows, name)
    return column


def _real_array(values: npt.ArrayLike, name: str) -> Floats:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "fiu":
        message = f"{name}: expected real numbers, found type {array.dtype}"
        raise ValueError(message)
    return array.astype(np.float64, copy=False)


def _index_column(values: npt.ArrayLike, rows: int, name: str) -> Integers:
    column = np.asarray(values)
    if column.size and column.dtype.kind not in "iu":
        message = f"{name}: expected whole numbers, found type {column.dtype}"
        raise ValueError(message)
    _require_rows(column, rows, name)
    indices = column.astype(np.int64, copy=False)
    _refuse_rows(indices < 0, column, name, "an index of 0 or more")
    return indices


def _flag_column(values: npt.ArrayLike, rows: int, name: str) -> Booleans:
    column = np.asarray(values)
    if column.size and column.dtype.kind not in "biu":
        message = f"{name}: expected True and False, found type {column.dtype}"
        raise ValueError(message)
    _require_rows(column, rows, name)
    _refuse_rows((column != 0) & (column != 1), column, name, "True or False")
    return column.astype(np.bool_, copy=False)


def _require_rows(column: npt.NDArray[np.generic], rows: int, name: str) -> None:
    if column.shape != (rows,):
        message = f"{name}: expected shape ({rows},) like the boxes, found {column.shape}"
        raise ValueError(message)


def _refuse_rows(bad: Booleans, column: npt.NDArray[np.generic], name: str, expected: str) -> None:
    """Raise for the first row where `bad` is True, naming row and value."""
    if bad.any():
        row = int(bad.argmax())
        others = int(bad.sum()) - 1
        more = f" ({others} more rows like it)" if others else ""
        message = f"{name}[{row}]: expected {expected}, found {column[row]}{more}"
        raise ValueError(message)
