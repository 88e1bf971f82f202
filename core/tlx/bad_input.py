"""What every reader of foreign files lets the user decide: bad boxes, turned images, duplicates.

The options of a source inherit `BadInputOptions`, so that the same words mean the same everywhere.
What is not decided by a policy is a bad record and follows ``--on-error``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from tlx.model import Object

BadBoxes = Literal["keep", "clip", "drop", "fail"]
Exif = Literal["keep", "turn", "drop", "fail"]
Duplicates = Literal["keep", "drop", "fail"]

Report = Callable[[str, str, str, str], None]
"""Takes code, message, action and hint of an issue (`tlx.issues.Issue`)."""


@dataclass(frozen=True)
class BadInputOptions:
    """The policies of a reader."""

    bad_boxes: BadBoxes | None = None
    """What to do with a box that is empty, inverted or leaves the image by more than a pixel.
    keep: kept and noted; clip: cut to the image, and dropped where nothing is left; drop: left
    out; fail: a bad record (see --on-error). By default a box that is empty or inverted is a bad
    record, and one that leaves the image is kept and noted. A box that is not finite is never
    kept. Whatever is done is counted."""

    exif: Exif | None = None
    """Reading: what to do with an image that its EXIF orientation turns or mirrors, while trainers
    take the pixels as they are stored. keep: its labels count the stored pixels; turn: they count
    those of the upright image and are turned to the stored ones; drop: the image is left out;
    fail: it is a bad record (see --on-error). By default a bad record where the labels are known to
    count the upright image, by the size that is stated or by the tool that made them; else kept
    and noted."""

    duplicates: Duplicates | None = None
    """Reading: what to do with what is there twice. By default an object, row or image that says
    the same again is counted once and noted, and an image that is described again in other words is
    a bad record (see --on-error; the first description holds). keep: objects of an image that
    repeat each other are all kept; drop: whatever comes second is left out; fail: it is a bad
    record."""


_HINTS = {
    "drop": "The option --duplicates drop left it out.",
    "fail": "Choose what happens to duplicates with --duplicates, or skip them: --on-error skip",
}


def duplicate_action(policy: Duplicates | None, *, same: bool) -> str:
    """What is done about something that is there twice and can only count once.

    Args:
        policy: What the user wants.
        same: It says the same as the first.

    Returns:
        The action of its issue (`tlx.issues.Issue`); in any case the first one holds.
    """
    if policy == "fail":
        return "skipped"
    if policy == "drop":
        return "requested"
    return "merged" if same else "skipped"


def duplicate_hint(policy: Duplicates | None) -> str | None:
    """What to do about a duplicate, where the policy decided."""
    return None if policy is None else _HINTS.get(policy)


def distinct(
    objects: Sequence[Object], policy: Duplicates | None, report: Callable[[Object, str], None]
) -> Sequence[Object]:
    """Apply the policy to the objects of an image that repeat each other in all but their line.

    Args:
        objects: Of one image.
        policy: What the user wants.
        report: Takes a repetition and the action of its issue.

    Returns:
        The objects to go on with, in order.
    """
    # Two that repeat each other have one box, so a set of boxes tells almost all images apart.
    if policy == "keep" or len({thing.box for thing in objects}) == len(objects):
        return objects
    kept: list[Object] = []
    seen: set[bytes] = set()
    action = duplicate_action(policy, same=True)
    for thing in objects:
        content = msgspec.msgpack.encode(msgspec.structs.replace(thing, line=None))
        if content in seen:
            report(thing, action)
        else:
            seen.add(content)
            kept.append(thing)
    return kept
