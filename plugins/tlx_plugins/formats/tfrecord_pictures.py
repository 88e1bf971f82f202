"""The image files that go into records, loaded and checked ahead of the writer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from tlx.issues import Issue
from tlx.media import encoded_image_size
from tlx.model import Record
from tlx.pixels import decoder_of, open_rgb
from tlx_plugins.formats.tfrecord_media import image_kind

Reencode = Literal["refuse", "png", "jpeg"]

_QUALITY = 95
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as it goes into a record.

    Attributes:
        data: The encoded bytes.
        kind: ``jpeg`` or ``png``.
        width: Pixels, as stored.
        height: Pixels, as stored.
        sha256: Of the bytes, as hexadecimal digits.
    """

    data: bytes
    kind: str
    width: int
    height: int
    sha256: bytes


def load(record: Record, path: str, reencode: Reencode) -> Picture | Issue:
    """Read the image of a record, or say why it cannot go into one."""
    if "://" in record.uri:
        message = f"the image {record.uri} is not on this machine; a record holds its bytes."
        return Issue("remote-image", message, hint="Download the images first.")
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            data = file.read()
    except OSError as error:
        message = f"the image of {record.image_id} cannot be read ({error.strerror})."
        hint = "Put the image in its place, or leave such images out: --on-error skip"
        return Issue("no-image", message, path, hint=hint)
    kind = image_kind(data)
    if kind is None and reencode != "refuse":
        converted = _converted(path, data, reencode)
        if converted is not None:
            data, kind = converted, reencode
    size = encoded_image_size(data)
    if size is None:
        message = "is no image that can be read."
        return Issue("bad-image", message, path, hint="Replace the file.")
    if kind is None:
        message = "is neither JPEG nor PNG, and TensorFlow's decoder takes nothing else."
        hint = "Encode such images anew with: --reencode png (nothing lost) or --reencode jpeg"
        return Issue("image-kind", message, path, hint=hint)
    stated = (record.width or size[0], record.height or size[1])
    if stated != size:
        message = (
            f"has {size[0]} x {size[1]} pixels, but the labels are for {stated[0]} x {stated[1]}"
        )
        turned = stated == size[::-1]
        message += "; it is turned by EXIF, which TensorFlow ignores." if turned else "."
        hint = "Store the image upright, as the labels see it." if turned else "Mend the size."
        return Issue("size-mismatch", message, path, hint=hint)
    return Picture(data, kind, *size, hashlib.sha256(data).hexdigest().encode())


def _converted(path: str, data: bytes, kind: Literal["png", "jpeg"]) -> bytes | None:
    from PIL import Image, UnidentifiedImageError

    out = BytesIO()
    try:
        raw = decoder_of(path) is not None
        with open_rgb(path) if raw else Image.open(BytesIO(data)) as image:
            if kind == "jpeg":
                image.convert("RGB").save(out, "JPEG", quality=_QUALITY)
            else:
                plain = image if image.mode in _PNG_MODES else image.convert("RGB")
                plain.save(out, "PNG")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    return out.getvalue()
