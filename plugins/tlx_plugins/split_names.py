"""The splits that names of files and folders say."""

from __future__ import annotations

import re

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "minival": "val",
    "test": "test",
    "testdev": "test",
    "testing": "test",
}


def usual_split(word: str) -> str | None:
    """``train``, ``val`` or ``test`` for one of the usual words for them, with a year or without.

    >>> usual_split("val2017")
    'val'
    """
    return _SPLITS.get(re.sub(r"\d{4}$", "", word.lower()))


def split_in(stem: str) -> str | None:
    """The one split that the words of a file name say; None if they say none, or several.

    >>> split_in("peaches_training_coco")
    'train'
    """
    found = {usual_split(token) for token in re.split(r"[_\-.\s]", stem)} - {None}
    return found.pop() if len(found) == 1 else None
