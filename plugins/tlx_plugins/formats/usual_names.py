"""Names of many images at once, where nothing about them is odd: no image costs a call.

What is odd is left to the writer, which looks at one image after the other then.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tlx.media import IMAGE_SUFFIXES

# An address, a control character, a part that is empty or leads elsewhere (`tlx.file_names`); and
# a folder images, below which a trainer would look for the labels.
_ODD = r"://|[\x00-\x1f\x7f\x{FFFE}\x{FFFF}]|(?:^|/)\.{0,2}(?:/|$)|(?:^|/)images/"
_IMAGE = (
    r"(?i)(?:^|/)\.*[^/.][^/]*\.(?:"
    + "|".join(re.escape(suffix[1:]) for suffix in sorted(IMAGE_SUFFIXES))
    + ")$"
)


class UsualNames(NamedTuple):
    """N images: their paths below an output folder, and the same without the suffix."""

    names: list[str]
    stems: list[str]


def usual_names(batch: pa.RecordBatch, used: set[str], before: str = "") -> UsualNames | None:
    """The names of the images of a batch, if they can stay as they are and all have a size.

    Args:
        batch: Of `tlx.schema.RECORD`.
        used: Stems, without case, that other images have; those of these are added.
        before: What comes before a stem there.

    Returns:
        None if anything is odd about any of them.
    """
    uris = batch.column("uri")
    if (
        batch.column("width").null_count
        or batch.column("height").null_count
        or _any(pc.match_substring_regex(uris, _ODD))
        or not pc.all(pc.match_substring_regex(uris, _IMAGE)).as_py()
    ):
        return None
    names = uris.to_pylist()
    stems = [name[: name.rindex(".")] for name in names]
    folded = {(before + stem).casefold() for stem in stems}
    if len(folded) < len(stems) or not used.isdisjoint(folded):
        return None
    used |= folded
    return UsualNames(names, stems)


def _any(flags: Any) -> bool:
    return bool(pc.any(flags).as_py())
