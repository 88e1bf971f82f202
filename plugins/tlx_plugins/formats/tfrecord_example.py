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

    Messages lie in each other; they are walked by their places in ``data``, so that an image is
    copied once.

    Raises:
        ValueError: If the bytes are no Example.
        DataError: If they are a SequenceExample.
    """
    found: dict[str, Values] = {}
    for number, wire, start, stop in _fields(data, 0, len(data)):
        if number == 2 and wire == _LEN:
            raise DataError(
                "holds a SequenceExample (a clip, or the context of a camera), which has lists "
                "of steps in place of one image.",
                hint="tlx reads records of tf.train.Example, with one image each.",
            )
        if number == 1:
            _need_message(wire)
            for inner, inner_wire, begin, end in _fields(data, start, stop):
                if inner == 1:
                    _need_message(inner_wire)
                    _read_entry(data, begin, end, found)
    return found


def _read_entry(data: bytes, start: int, stop: int, found: dict[str, Values]) -> None:
    name = b""
    # A message that comes in parts is the parts one behind the other.
    parts: list[tuple[int, int]] = []
    for number, wire, begin, end in _fields(data, start, stop):
        if number in (1, 2):
            _need_message(wire)
            if number == 1:
                name = data[begin:end]
            else:
                parts.append((begin, end))
    chosen = 0
    lists: list[tuple[int, int]] = []
    for begin, end in parts:
        for number, wire, a, b in _fields(data, begin, end):
            if number in (_BYTES, _FLOATS, _INTEGERS):
                _need_message(wire)
                lists = [*lists, (a, b)] if number == chosen else [(a, b)]
                chosen = number
    values: list[bytes] | list[float] | list[int] = []
    for begin, end in lists:
        values += _READ[chosen](data, begin, end)  # type: ignore[operator]
    found[name.decode()] = values


def _byte_strings(data: bytes, start: int, stop: int) -> list[bytes]:
    values = []
    for number, wire, begin, end in _fields(data, start, stop):
        if number == 1:
            _need_message(wire)
            values.append(data[begin:end])
    return values


def _floats(data: bytes, start: int, stop: int) -> list[float]:
    values: list[float] = []
    for number, wire, begin, end in _fields(data, start, stop):
        if number != 1:
            continue
        if wire not in (_LEN, 5) or (end - begin) % 4:
            raise ValueError("a list of floats holds something else")
        values.extend(struct.unpack_from(f"<{(end - begin) // 4}f", data, begin))
    return values


def _integers(data: bytes, start: int, stop: int) -> list[int]:
    values: list[int] = []
    for number, wire, begin, end in _fields(data, start, stop):
        if number != 1:
            continue
        if wire == 0:
            values.append(_signed(begin))
        elif wire != _LEN:
            raise ValueError("a list of integers holds something else")
        elif (packed := data[begin:end]).isascii():
            values.extend(packed)
        else:
            at = begin
            while at < end:
                integer, at = _varint(data, at)
                values.append(_signed(integer))
            if at > end:
                raise ValueError("a number of the message goes beyond its list")
    return values


_READ = {_BYTES: _byte_strings, _FLOATS: _floats, _INTEGERS: _integers}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _need_message(wire: int) -> None:
    if wire != _LEN:
        raise ValueError("a field of the message has the wrong type")


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, and place of each field of a message; a number is given as its value."""
    while at < end:
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = _varint(data, at - 1)
        wire = tag & 7
        if wire == _LEN:
            length = data[at] if at < end else 128
            at += 1
            if length > 127:
                length, at = _varint(data, at - 1)
            start, at = at, at + length
        elif wire == 0:
            start, at = _varint(data, at)
        elif wire in (1, 5):
            start, at = at, at + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"a field of the message has the wire type {wire}, which is not used")
        if at > end:
            raise ValueError("a field of the message is longer than the message")
        yield tag >> 3, wire, start, at


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
