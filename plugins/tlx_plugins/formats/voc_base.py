"""Whether corners count from 1, as Pascal VOC says, or from 0, as many tools write.

Pascal VOC (devkit document, section 9.1): the top left pixel has the coordinates (1, 1), and xmax
and ymax name the last pixel of the object. So the pixels xmin..xmax, counted from 1, span the half
open interval [xmin - 1, xmax). Tools that count from 0 write continuous coordinates, half open:
[xmin, xmax). The two differ in xmin and ymin only.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

STATEMENT = "pixel_base"
"""Attribute of the root element by which a file says how it counts; tlx writes it."""

_HEAD = 4096
_USUAL, _LARGEST = 1 << 16, 1 << 24
"""Bytes of most files, and those that are looked through of any."""
_STATED = re.compile(rb"<annotation\b[^>]*\bpixel_base\s*=\s*[\"'][01][\"']")
_ZERO = re.compile(rb"<([xy]min)>\s*\+?(?=[0.])0*(?:\.\d*)?\s*</")


class Decision(NamedTuple):
    """How the files of a folder count, and the sentence that says why."""

    base: int
    reason: str
    path: str | None = None
    line: int | None = None


def decide(root: Path, names: Iterable[str]) -> Decision:
    """Look for a corner 0 in files that do not state how they count; stops at the first one.

    Args:
        root: The folder that names are relative to.
        names: The files.
    """
    looked = 0
    for name in names:
        found = _first_zero(f"{root}/{name}")
        if found is None:
            continue
        looked += 1
        if found:
            corner, line = found
            reason = f"{corner} is 0, so corners are taken as counted from 0, half open"
            return Decision(0, reason, name, line)
    reason = (
        f"no corner of {looked} file{'s' * (looked != 1)} is 0, so corners are taken as counted "
        "from 1, inclusive, as Pascal VOC says"
    )
    return Decision(1, reason)


def _first_zero(path: str) -> tuple[str, int] | tuple[()] | None:
    """Name and line of a corner below 1; empty without one, None for a file that speaks itself."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a hundred thousand times
            # Room for all of a large file would be made for each small one.
            data = file.read(_USUAL)
            if len(data) == _USUAL:
                data += file.read(_LARGEST - _USUAL)
    except OSError:
        return ()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "ignore").encode()
    if _STATED.search(data, 0, _HEAD):
        return None
    match = _ZERO.search(data)
    return (match[1].decode(), data.count(b"\n", 0, match.start()) + 1) if match else ()
