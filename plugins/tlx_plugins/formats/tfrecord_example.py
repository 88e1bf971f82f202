"""``tf.train.Example`` on the wire: named lists of bytes, floats (32 bits) or integers (64 bits).

The messages are those of tensorflow ``core/example/example.proto`` and ``feature.proto``::

    Example  { Features features = 1; }
    Features { map<string, Feature> feature = 1; }
    Feature  { oneof kind { BytesList = 1; FloatList = 2; Int64List = 3; } }

in the encoding of protocol buffers (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from tlx.errors import DataError

Values = Sequence[bytes] | Sequence[float] | Sequence[int]
Example = Mapping[str, Values]
"""What a record says: under each name a list of one kind of value."""

_LEN = 2
_BYTES, _FLOATS, _INTEGERS = 1, 2, 3
_64_BITS = (1 << 64) - 1


def varint(number: int) -> bytes:
    """A non-negative number in groups of seven bits."""
    if number < 128:
        return _SMALL[number]
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL = [bytes((number,)) for number in range(128)]


_ITEMS = [b"\x0a" + small for small in _SMALL]


def _item(length: int) -> bytes:
    """Tag and length of a byte string in a list, or of the list."""
    return _ITEMS[length] if length < 128 else b"\x0a" + varint(length)


@cache
def _key(name: str) -> bytes:
    encoded = name.encode()
    return b"\x0a" + varint(len(encoded)) + encoded


def _entry(name: str, feature: bytes, coming: int = 0) -> bytes:
    """An entry of the map, but for the last ``coming`` bytes of its feature."""
    key = _key(name)
    length = varint(len(feature) + coming)
    total = len(key) + 1 + len(length) + len(feature) + coming
    return b"".join((_item(total), key, b"\x12", length, feature))


def bytes_entry(name: str, values: Sequence[bytes]) -> bytes:
    """An entry of the map that holds a list of byte strings."""
    if not values:
        return _entry(name, b"\x0a\x00")
    content = b"".join([_item(len(value)) + value for value in values])
    return _entry(name, _item(len(content)) + content)


def float_entry(name: str, values: Sequence[float]) -> bytes:
    """An entry of the map that holds a list of floats, each rounded to the nearest of 32 bits.

    Raises:
        OverflowError: If a number is beyond the range of 32 bits.
    """
    if not values:
        return _entry(name, b"\x12\x00")
    content = struct.pack(f"<{len(values)}f", *values)
    length = varint(len(content))
    return _entry(
        name, b"".join((b"\x12", varint(len(content) + len(length) + 1), b"\x0a", length, content))
    )


def integer_entry(name: str, values: Sequence[int]) -> bytes:
    """An entry of the map that holds a list of integers of 64 bits."""
    if not values:
        return _entry(name, b"\x1a\x00")
    content = b"".join([varint(value & _64_BITS) for value in values])
    length = varint(len(content))
    return _entry(
        name, b"".join((b"\x1a", varint(len(content) + len(length) + 1), b"\x0a", length, content))
    )


def example(entries: Sequence[bytes], last: str, data: bytes) -> tuple[bytes, bytes]:
    """A whole Example in two pieces, of which the second is ``data`` itself and is not copied.

    Args:
        entries: All entries of the map but one.
        last: Name of the one that holds a single byte string.
        data: That byte string.
    """
    inner = b"\x0a" + varint(len(data))
    inner = b"\x0a" + varint(len(inner) + len(data)) + inner
    content = b"".join((*entries, _entry(last, inner, len(data))))
    return b"\x0a" + varint(len(content) + len(data)) + content, data


def decode(data: bytes) -> dict[str, Values]:
    """Read an Example as TensorFlow does: later entries of one name replace earlier ones.

    Raises:
        ValueError: If the bytes are no Example.
        DataError: If they are a SequenceExample.
    """
    found: dict[str, Values] = {}
    for number, wire, value in _fields(data):
        if number == 2 and wire == _LEN:
            raise DataError(
                "holds a SequenceExample (a clip, or the context of a camera), which has lists "
                "of steps in place of one image.",
                hint="tlx reads records of tf.train.Example, with one image each.",
            )
        if number == 1:
            _merge_features(_message(wire, value), found)
    return found


def _merge_features(data: bytes, found: dict[str, Values]) -> None:
    for number, wire, value in _fields(data):
        if number != 1:
            continue
        name, feature = b"", b""
        for part, part_wire, part_value in _fields(_message(wire, value)):
            if part == 1:
                name = _message(part_wire, part_value)
            elif part == 2:
                # A message that comes in parts is the parts one behind the other.
                feature += _message(part_wire, part_value)
        found[name.decode()] = _feature(feature)


def _feature(data: bytes) -> Values:
    chosen = 0
    content = b""
    for number, wire, value in _fields(data):
        if number in (_BYTES, _FLOATS, _INTEGERS):
            message = _message(wire, value)
            content = content + message if number == chosen else message
            chosen = number
    if chosen == _BYTES:
        return [_message(wire, value) for number, wire, value in _fields(content) if number == 1]
    if chosen == _FLOATS:
        return _floats(content)
    return _integers(content) if chosen else ()


def _floats(data: bytes) -> list[float]:
    values: list[float] = []
    for number, wire, value in _fields(data):
        if number != 1:
            continue
        if not isinstance(value, bytes) or wire == 1 or len(value) % 4:
            raise ValueError("a list of floats holds something else")
        values.extend(struct.unpack(f"<{len(value) // 4}f", value))
    return values


def _integers(data: bytes) -> list[int]:
    values: list[int] = []
    for number, wire, value in _fields(data):
        if number != 1:
            continue
        if isinstance(value, int):
            values.append(_signed(value))
        elif wire != _LEN:
            raise ValueError("a list of integers holds something else")
        elif value.isascii():
            values.extend(value)
        else:
            at = 0
            while at < len(value):
                integer, at = _varint(value, at)
                values.append(_signed(integer))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _message(wire: int, value: int | bytes) -> bytes:
    if wire != _LEN or not isinstance(value, bytes):
        raise ValueError("a field of the message has the wrong type")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value of each field of a message."""
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = _varint(data, at - 1)
        wire = tag & 7
        if wire == _LEN:
            length, at = _varint(data, at)
            start, at = at, at + length
        elif wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, wire, value
            continue
        elif wire in (1, 5):
            start, at = at, at + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"a field of the message has the wire type {wire}, which is not used")
        if at > end:
            raise ValueError("a field of the message is longer than the message")
        yield tag >> 3, wire, data[start:at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & _64_BITS, at
            shift += 7
            if shift > 63:
                raise ValueError("a number of the message has more than ten bytes")
    except IndexError:
        raise ValueError("the message ends inside a number") from None
