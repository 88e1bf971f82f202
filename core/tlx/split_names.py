"""The words that people use for the three usual splits."""

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
    """``train``, ``val`` or ``test`` for a word that means it, with a year or without.

    >>> usual_split("Valid"), usual_split("val2017"), usual_split("night")
    ('val', 'val', None)
    """
    return _SPLITS.get(re.sub(r"\d{4}$", "", word.lower()))


def folder_split(path: str) -> str | None:
    """The split that a folder on the way to a file says.

    >>> folder_split("valid/images/a.jpg")
    'val'
    """
    words = (usual_split(part) for part in path.split("/")[:-1])
    return next((word for word in words if word is not None), None)


def split_in(stem: str) -> str | None:
    """The one split that the words of a file name say; None if they say none, or several.

    >>> split_in("peaches_training_coco")
    'train'
    """
    found = {usual_split(token) for token in re.split(r"[_\-.\s]", stem)} - {None}
    return found.pop() if len(found) == 1 else None
