"""TFRecord files by the letter of their description: a second opinion on tlx's own code."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


TABLE = _table()


def masked(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def payloads(data: bytes) -> list[bytes]:
    found = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12]) == (masked(data[:8]),)
        record, check = data[12 : 12 + length], data[12 + length : 16 + length]
        assert struct.unpack("<I", check) == (masked(record),)
        found.append(record)
        data = data[16 + length :]
    return found


def _number(data: bytes) -> tuple[int, bytes]:
    value = 0
    for place, byte in enumerate(data):
        value += (byte & 127) << 7 * place
        if byte < 128:
            return value, data[place + 1 :]
    raise AssertionError("a number without an end")


def _message(data: bytes) -> list[tuple[int, Any]]:
    """Fields of a message as number and value; only what an Example needs."""
    fields: list[tuple[int, Any]] = []
    while data:
        tag, data = _number(data)
        assert tag & 7 in (0, 2), "a wire type that no Example has"
        value: Any
        value, data = _number(data)
        if tag & 7 == 2:
            value, data = data[:value], data[value:]
        fields.append((tag >> 3, value))
    return fields


def example(data: bytes) -> dict[str, list[Any]]:
    """An Example whose lists of numbers are packed."""
    found: dict[str, list[Any]] = {}
    ((one, features),) = _message(data)
    assert one == 1
    for tag, entry in _message(features):
        assert tag == 1
        (first, key), (second, feature) = _message(entry)
        assert (first, second) == (1, 2)
        ((kind, values),) = _message(feature)
        items = [value for number, value in _message(values) if number == 1]
        packed = b"".join(items)
        if kind == 2:
            items = list(struct.unpack(f"<{len(packed) // 4}f", packed))
        elif kind == 3:
            items = []
            while packed:
                value, packed = _number(packed)
                items.append(value - 2**64 if value >= 2**63 else value)
        name = key.decode()
        assert name not in found, "a key twice"
        found[name] = items
    return found


def read(path: Path) -> list[dict[str, list[Any]]]:
    return [example(data) for data in payloads(path.read_bytes())]
