"""Boxes that cannot be right: one policy with one set of words for every reader."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from tlx.model import Box

BadBoxes = Literal["report", "keep", "clip", "drop"]
"""report: an empty or inverted box is a bad record, one that leaves the image is kept and noted;
keep: all are kept and noted; clip: boxes are cut to the image, those with nothing left are dropped;
drop: all are dropped. Whatever is done is an issue."""

Fault = Literal["degenerate-box", "box-outside"]
Report = Callable[[str, str, str, str], None]
"""Takes code, message, action and hint of an issue (`tlx.issues.Issue`)."""

_HINT = "Choose what happens to such boxes with --bad-boxes, or skip them: --on-error skip"


def fault_of(box: Box, size: tuple[int, int] | None, tolerance: float = 0.0) -> Fault | None:
    """Say what is wrong with a box.

    Args:
        box: In absolute pixels.
        size: Width and height of the image in pixels, if known.
        tolerance: Pixels by which a box may leave its image without being noted.

    Returns:
        The code of the issue, None for a box that is fine.
    """
    # Written so that a corner that is no number makes the box a bad one.
    if not (box.xmax > box.xmin and box.ymax > box.ymin):
        return "degenerate-box"
    width, height = size or (math.inf, math.inf)
    overhang = max(-box.xmin, -box.ymin, box.xmax - width, box.ymax - height)
    return "box-outside" if overhang > tolerance else None


def settle(
    box: Box,
    size: tuple[int, int] | None,
    fault: Fault,
    policy: BadBoxes,
    subject: str,
    report: Report,
) -> Box | None:
    """Apply the policy to a box with a fault.

    Args:
        box: In absolute pixels.
        size: Width and height of the image in pixels, if known.
        fault: What is wrong with it, from `fault_of`.
        policy: What the user wants.
        subject: The box in words, to begin the message with ("the box (1, 2, 1, 9) of a.jpg").
        report: Takes the issue.

    Returns:
        The box to go on with; None drops it.
    """
    degenerate = fault == "degenerate-box"
    of = f" of {size[0]} x {size[1]} pixels" if size else ""
    what = "is empty or inverted" if degenerate else f"leaves the image{of}"
    if policy == "keep" or (policy == "report" and not degenerate):
        report(fault, f"{subject} {what}; kept.", "kept", _HINT)
        return box
    if policy == "clip" and not degenerate:
        cut = box.clip(*(size or (math.inf, math.inf)))
        if cut.width > 0 and cut.height > 0:
            report(fault, f"{subject} {what}; cut to the image.", "requested", _HINT)
            return cut
    action = "skipped" if policy == "report" else "requested"
    report(fault, f"{subject} {what}; left out.", action, _HINT)
    return None


def shown(box: Box) -> str:
    """The corners of a box for a message."""
    return f"({box.xmin:g}, {box.ymin:g}, {box.xmax:g}, {box.ymax:g})"
