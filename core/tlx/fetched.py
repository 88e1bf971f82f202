"""Images that were fetched from addresses: which file of a folder stands for which address.

``tlx fetch`` leaves an index in its folder, one JSON line for each address that it has settled.
Readers look addresses up there and never touch the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

INDEX = "fetched.jsonl"
"""Name of the index in a folder of fetched images."""

# What stands in an address only to prove that it may be used, told by the fields that no other
# address has together: the signature changes with every export while the image stays the same.
_SIGNATURES = (
    # Amazon S3 and Google Cloud Storage, version 4.
    ({"x-amz-signature", "x-amz-date"}, re.compile("x-amz-.*")),
    ({"x-goog-signature", "x-goog-date"}, re.compile("x-goog-.*")),
    # Their older ones, CloudFront, and Google's CDN, which Labelbox uses.
    ({"signature", "expires", "awsaccesskeyid"}, re.compile("signature|expires|awsaccesskeyid")),
    ({"signature", "expires", "googleaccessid"}, re.compile("signature|expires|googleaccessid")),
    ({"signature", "key-pair-id"}, re.compile("signature|expires|policy|key-pair-id")),
    ({"signature", "expires", "keyname"}, re.compile("signature|expires|keyname")),
    # Azure.
    ({"sig", "sv", "se"}, re.compile("s[vetpri]|sig|spr|sip|ss|srt|sk(oid|tid|[tesv])")),
)


class Settled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one address.

    Attributes:
        url: The address, as it was given.
        status: Whether the image is there.
        file: Path of the image below the folder, with slashes.
        bytes: Size of the file.
        width: Pixels, as stored.
        height: Pixels, as stored.
        kind: What the file is, in Pillow's word (``JPEG``).
        reason: One word for why it failed.
        detail: The same in a sentence.
        http_status: The status of the last answer, if there was one.
        attempts: How often it was asked for.
        note: What is odd about an image that is there.
    """

    url: str
    status: Literal["fetched", "failed"]
    file: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    kind: str | None = None
    reason: str | None = None
    detail: str | None = None
    http_status: int | None = None
    attempts: int = 0
    note: str | None = None


def identity_of(url: str) -> str:
    """An address without its fragment and without what only signs it.

    >>> identity_of("https://a.example/x.jpg?v=2&Expires=1&Signature=abc&Key-Pair-Id=K#top")
    'https://a.example/x.jpg?v=2'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    pieces = parts.query.split("&")
    names = [piece.partition("=")[0].lower() for piece in pieces]
    for marks, signing in _SIGNATURES:
        if marks <= {*names}:
            named = zip(pieces, names, strict=True)
            pieces = [piece for piece, name in named if not signing.fullmatch(name)]
            break
    place = (parts.scheme.lower(), parts.netloc.lower(), parts.path, "&".join(pieces), "")
    return urlunsplit(place)


def read_index(folder: Path) -> Iterator[Settled]:
    """The entries of a folder's index, oldest first.

    A line that was cut off, and one whose file would lie outside the folder, is passed over.
    """
    try:
        lines = (folder / INDEX).read_bytes().split(b"\n")
    except OSError:
        return
    decoder = msgspec.json.Decoder(Settled)
    for line in lines:
        try:
            entry = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if entry.file is None or _inside(entry.file):
            yield entry


class FetchedImages:
    """The images of a folder by the addresses that they came from.

    Args:
        folder: A folder that ``tlx fetch`` has made; any other one has no addresses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        for entry in read_index(folder):
            key = identity_of(entry.url)
            if entry.status == "fetched" and entry.file is not None:
                self.files[key] = entry.file
                self.failures.pop(key, None)
            else:
                self.failures[key] = entry.detail or "could not be fetched."

    def __len__(self) -> int:
        return len(self.files)

    def find(self, url: str) -> str | None:
        """The path of an address's image below the folder, if the image is there."""
        file = self.files.get(identity_of(url))
        return file if file is not None and (self.folder / file).is_file() else None

    def failure(self, url: str) -> str | None:
        """Why an address gave no image, as a sentence with it; None if nothing is known of that."""
        key = identity_of(url)
        detail = self.failures.get(key)
        return None if detail is None else f"{key} {detail}"


def _inside(file: str) -> bool:
    """Whether a path stays in its folder: an index may come from a stranger."""
    return not file.startswith("/") and ".." not in file.split("/") and "\0" not in file
