"""What readers and writers do with boxes that are empty, inverted or leave their image."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from tlx.model import Box

Policy = Literal["report", "keep", "clip", "drop"]

TOLERANCE = 1.0
"""Pixels by which a box may leave its image before it is noted; COCO's own boxes do by less."""

HINT = "Choose what happens to such boxes with --bad-boxes, or skip them: --on-error skip"


class Verdict(NamedTuple):
    """What becomes of a bad box.

    Attributes:
        box: The box that goes on, None if there is none.
        code: Code of the issue.
        message: What is wrong and what was done, for the issue.
        action: The issue's action.
    """

    box: Box | None
    code: str
    message: str
    action: str


def judge(
    box: Box, size: tuple[int, int] | None, policy: Policy, *, outside_is_bad: bool = False
) -> Verdict | None:
    """Look at a box and apply a policy.

    Args:
        box: In absolute pixels.
        size: Width and height of the image in pixels, None if not known.
        policy: ``keep``; ``clip`` to the image; ``drop``; or ``report``, where an empty or
            inverted box is a bad record.
        outside_is_bad: Under ``report`` a box that leaves the image is a bad record too; it is
            kept and noted otherwise.

    Returns:
        None for a good box.
    """
    if not all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))):
        # Nothing can be done with it: no policy keeps it.
        action = "skipped" if policy in ("report", "keep") else "requested"
        return Verdict(None, "bad-box", f"bbox {shown(box)} is not finite; left out.", action)
    if box.width <= 0 or box.height <= 0:
        return _apply(policy, "degenerate-box", box, "is empty or inverted", None, bad=True)
    width, height = size or (math.inf, math.inf)
    if max(-box.xmin, -box.ymin, box.xmax - width, box.ymax - height) > TOLERANCE:
        of = f" of {size[0]} x {size[1]} pixels" if size else ""
        cut = box.clip(width, height)
        what = f"leaves the image{of}"
        return _apply(policy, "box-outside", box, what, cut, bad=outside_is_bad)
    return None


def _apply(
    policy: Policy, code: str, box: Box, what: str, cut: Box | None, *, bad: bool
) -> Verdict:
    message = f"bbox {shown(box)} {what}; "
    if policy == "keep" or (policy == "report" and not bad):
        return Verdict(box, code, message + "kept.", "kept")
    if policy == "clip" and cut is not None and cut.width > 0 and cut.height > 0:
        return Verdict(cut, code, message + "cut to the image.", "requested")
    action = "skipped" if policy == "report" else "requested"
    return Verdict(None, code, message + "left out.", action)


def shown(box: Box) -> str:
    """The corners of a box for a message."""
    return f"({box.xmin:g}, {box.ymin:g}, {box.xmax:g}, {box.ymax:g})"
