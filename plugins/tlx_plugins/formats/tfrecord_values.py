"""The values of an Example with their types checked, and fractions of an image as pixels."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TypeVar

from tlx_plugins.formats.tfrecord_example import Example

T = TypeVar("T")
_FLOAT = struct.Struct("<f")


class WrongType(ValueError):
    """A key of a record holds another kind of value than it should."""


def integers(example: Example, key: str) -> list[int]:
    """The integers under a key; empty if it is not there.

    Raises:
        WrongType: If it holds something else.
    """
    return _typed(example, key, int, "integers")


def floats(example: Example, key: str) -> list[float]:
    """The floats under a key; empty if it is not there.

    Raises:
        WrongType: If it holds something else.
    """
    return _typed(example, key, float, "floats")


def byte_strings(example: Example, key: str) -> list[bytes]:
    """The byte strings under a key; empty if it is not there.

    Raises:
        WrongType: If it holds something else.
    """
    return _typed(example, key, bytes, "bytes")


def _typed(example: Example, key: str, kind: type[T], what: str) -> list[T]:
    values = example.get(key, ())
    if values and not isinstance(values[0], kind):
        found = {int: "integers", float: "floats", bytes: "bytes"}[type(values[0])]
        raise WrongType(f"{key} holds {found} where {what} belong")
    return list(values)  # type: ignore[arg-type]


def text(value: bytes, key: str) -> str:
    """A byte string as text.

    Raises:
        WrongType: If it is no UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise WrongType(f"{key} is no UTF-8 text: {value[:40]!r}") from error


def first_text(example: Example, key: str) -> str:
    """The text under a key, empty if there is none.

    Raises:
        WrongType: If it holds something else.
    """
    values = byte_strings(example, key)
    return text(values[0], key) if values else ""


def pixels(fractions: Sequence[float], side: int) -> list[float]:
    """Absolute pixels from fractions of a side, which have 32 bits.

    A fraction stands for all numbers that round to it. Where a pixel value with at most three
    decimals is among them, it is the one: 81 stays 81 on its way through a record, where the mere
    product would be 81.00000166893005. Written again, either gives the same 32 bits.

    Args:
        fractions: Numbers that are exact in 32 bits.
        side: Width or height of the image in pixels.
    """
    products = [fraction * side for fraction in fractions]
    if not all(map(math.isfinite, products)):
        return products
    form = f"<{len(products)}f"
    whole = [float(round(product)) for product in products]
    if struct.pack(form, *[value / side for value in whole]) == struct.pack(form, *fractions):
        return whole
    return [
        _shortest(fraction, product, side)
        for fraction, product in zip(fractions, products, strict=True)
    ]


def _shortest(fraction: float, product: float, side: int) -> float:
    for digits in range(4):
        value = round(product, digits)
        if _FLOAT.unpack(_FLOAT.pack(value / side))[0] == fraction:
            return value
    return product
