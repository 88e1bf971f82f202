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
