"""Boxes that cannot be right: one policy with one set of words for every reader."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from tlx.bad_input import BadBoxes, Report
from tlx.model import Box

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

Fault = Literal["bad-box", "degenerate-box", "box-outside"]

TOLERANCE = 1.0
"""Pixels by which a box may leave its image before it is noted; COCO's own boxes do by less."""

_HINT = "Choose what happens to such boxes with --bad-boxes, or skip them: --on-error skip"


def fault_of(box: Box, size: tuple[int, int] | None, tolerance: float = TOLERANCE) -> Fault | None:
    """Say what is wrong with a box.

    Args:
        box: In absolute pixels.
        size: Width and height of the image in pixels, if known.
        tolerance: Pixels by which a box may leave its image without being noted.

    Returns:
        The code of the issue, None for a box that is fine.
    """
    if not all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))):
        return "bad-box"
    if box.xmax <= box.xmin or box.ymax <= box.ymin:
        return "degenerate-box"
    width, height = size or (math.inf, math.inf)
    overhang = max(-box.xmin, -box.ymin, box.xmax - width, box.ymax - height)
    return "box-outside" if overhang > tolerance else None


def faulty(corners: Floats, sizes: Floats, tolerance: float = TOLERANCE) -> Flags:
    """Find the boxes that `fault_of` finds fault with.

    Args:
        corners: xmin, ymin, xmax, ymax in absolute pixels; [N, 4].
        sizes: Width and height in pixels of the image of each, infinite if not known; [N, 2].
        tolerance: Pixels by which a box may leave its image.

    Returns:
        Flags [N].
    """
    import numpy as np

    with np.errstate(invalid="ignore"):  # Infinite corners in an image of unknown size.
        outside = (corners[:, :2] < -tolerance) | (corners[:, 2:] - sizes > tolerance)
    empty = corners[:, 2:] <= corners[:, :2]
    found: Flags = np.asarray((outside | empty).any(axis=1))
    return found | ~np.isfinite(corners).all(axis=1)


def settle(
    box: Box,
    size: tuple[int, int] | None,
    fault: Fault,
    policy: BadBoxes | None,
    subject: str,
    report: Report,
    *,
    outside_is_bad: bool = False,
) -> Box | None:
    """Apply the policy to a box with a fault.

    Args:
        box: In absolute pixels.
        size: Width and height of the image in pixels, if known.
        fault: What is wrong with it, from `fault_of`.
        policy: What the user wants (`tlx.bad_input.BadInputOptions.bad_boxes`).
        subject: The box in words, to begin the message with ("the box (1, 2, 1, 9) of a.jpg").
        report: Takes the issue.
        outside_is_bad: By default a box that leaves the image is a bad record too, for formats
            that cannot hold one.

    Returns:
        The box to go on with; None drops it.
    """
    is_bad = policy == "fail" or (policy is None and (fault != "box-outside" or outside_is_bad))
    if fault == "bad-box":
        # Nothing can be done with it: no policy keeps it.
        action = "skipped" if is_bad or policy == "keep" else "requested"
        report(fault, f"{subject} is not finite; left out.", action, _HINT)
        return None
    of = f" of {size[0]} x {size[1]} pixels" if size else ""
    what = "is empty or inverted" if fault == "degenerate-box" else f"leaves the image{of}"
    if policy == "keep" or (policy is None and not is_bad):
        report(fault, f"{subject} {what}; kept.", "kept", _HINT)
        return box
    if policy == "clip" and fault == "box-outside":
        cut = box.clip(*(size or (math.inf, math.inf)))
        if cut.width > 0 and cut.height > 0:
            report(fault, f"{subject} {what}; cut to the image.", "requested", _HINT)
            return cut
    report(fault, f"{subject} {what}; left out.", "skipped" if is_bad else "requested", _HINT)
    return None


def shown(box: Box) -> str:
    """The corners of a box for a message."""
    return f"({box.xmin:g}, {box.ymin:g}, {box.xmax:g}, {box.ymax:g})"


def settle_batch(batch: pa.RecordBatch, policy: BadBoxes, report: Report) -> pa.RecordBatch:
    """Apply the policy for bad boxes to a batch.

    A box that is turned around its centre is not judged by whether it leaves the image, and cutting
    a box leaves the object's outline as it is.

    Args:
        batch: Of `tlx.schema.RECORD`.
        policy: What is done with them.
        report: Takes code, message, action and hint of an issue.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from tlx.columns import with_field, with_objects
    from tlx.schema import flat_objects

    owners, flat = flat_objects(batch)
    suspects = _suspects(batch, owners, flat)
    if not suspects:
        return batch
    keep = [True] * len(flat)
    boxes: dict[int, Box] = {}
    for place in suspects:
        row = owners[place].as_py()
        box = Box(**flat.field("box")[place].as_py())
        width, height = batch.column("width")[row].as_py(), batch.column("height")[row].as_py()
        size = None if width is None or height is None else (width, height)
        if flat.field("rotation")[place].as_py():
            size = None
        fault = fault_of(box, size, TOLERANCE)
        if fault is None:
            continue
        subject = f"the box {shown(box)} in {batch.column('image_id')[row].as_py()}"
        after = settle(box, size, fault, policy, subject, report)
        if after is None:
            keep[place] = False
        elif after != box:
            boxes[place] = after
    if boxes:
        column = flat.field("box")
        mask = pa.array([place in boxes for place in range(len(flat))])
        fields = [
            pc.replace_with_mask(
                column.field(name), mask, pa.array([getattr(b, name) for b in boxes.values()])
            )
            for name in column.type.names
        ]
        corners = pa.StructArray.from_arrays(
            fields, fields=list(column.type), mask=column.is_null()
        )
        flat = with_field(flat, "box", corners)
    wanted = pa.array(keep)
    return with_objects(batch, owners.filter(wanted), flat.filter(wanted))


def _suspects(batch: pa.RecordBatch, owners: Any, flat: pa.StructArray) -> list[int]:
    """Places of boxes that may have a fault, found without looking at each by itself."""
    import pyarrow.compute as pc

    corners = [pc.struct_field(flat, ["box", name]) for name in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = corners
    width = pc.add(batch.column("width").take(owners), TOLERANCE)
    height = pc.add(batch.column("height").take(owners), TOLERANCE)
    fine = [
        *(pc.is_finite(values) for values in corners),
        pc.less(left, right),
        pc.less(top, bottom),
        pc.greater_equal(left, -TOLERANCE),
        pc.greater_equal(top, -TOLERANCE),
        pc.fill_null(pc.less_equal(right, width), True),
        pc.fill_null(pc.less_equal(bottom, height), True),
    ]
    whole = fine[0]
    for one in fine[1:]:
        whole = pc.and_(whole, one)
    odd = pc.and_(corners[0].is_valid(), pc.invert(pc.fill_null(whole, True)))
    found: list[int] = pc.indices_nonzero(odd).to_pylist()
    return found
