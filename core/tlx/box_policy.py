"""Boxes that cannot be right: one policy with one set of words for every reader."""

from __future__ import annotations

import math
from typing import Literal

from tlx.bad_input import BadBoxes, Report
from tlx.model import Box

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
