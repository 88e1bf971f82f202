"""Names of files that an output gets from the images it is about."""

from __future__ import annotations

import re
from urllib.parse import quote

CONTROL = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")
"""Characters that no list of files, XML or file system can be trusted with."""


def output_name(uri: str) -> str | None:
    """A path below an output folder for what belongs to an image.

    Args:
        uri: Where the image is: a POSIX path below a media root, or a URL.

    Returns:
        The path as it is, or host and path of the URL; None where it would lead out of the folder
        or holds a control character.
    """
    if CONTROL.search(uri):
        return None
    if "://" not in uri:
        return None if any(part in {"", ".", ".."} for part in uri.split("/")) else uri
    place = re.split(r"[?#]", uri.partition("://")[2])[0]
    parts = [quote(part, safe=" .-_~()") for part in place.split("/")]
    return "/".join(part for part in parts if part not in {"", ".", ".."}) or quote(uri, safe="")
