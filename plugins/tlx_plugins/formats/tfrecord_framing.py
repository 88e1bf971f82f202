"""The TFRecord container: length, checksum, data, checksum; plain or in one gzip or zlib stream.

Each record is ``uint64 length, uint32 crc(length), byte data[length], uint32 crc(data)``, little
endian, with masked CRC-32C checksums (tensorflow ``core/lib/io/record_writer.h`` and
``core/lib/hash/crc32c.h``).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

from google_crc32c import extend as crc_extend
from google_crc32c import value as crc_value

from tlx.errors import DataError, Place

Compression = Literal["none", "gzip", "zlib"]

MAXIMUM_RECORD = 2**31 - 1
"""Bytes; no protocol buffer can be longer, so a longer record is damaged or hostile."""

_CHUNK = 1 << 20
_READ_CHUNK = 1 << 16
"""Of a record beyond it Python fills the record itself, not a buffer that is copied."""
_PACKED_CHUNK = 1 << 16
_MASK = 0xA282EAD8
_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
# zlib's window bits: 15 is a zlib stream, 31 a gzip stream, 47 recognises either.
_WINDOW = {"zlib": 15, "gzip": 31}

OnDamage = Callable[[int, str], None]
"""Takes the number of a damaged record, from 1, and a sentence; may raise."""


def masked_crc(data: bytes, crc: int | None = None) -> int:
    """The checksum as TFRecord stores it.

    Args:
        data: The bytes, or anything if ``crc`` is given.
        crc: A CRC-32C that is known already.
    """
    crc = crc_value(data) if crc is None else crc
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def is_header(head: bytes) -> bool:
    """Whether bytes begin with a record's length and its right checksum."""
    if len(head) < _HEADER.size:
        return False
    return bool(_CHECKSUM.unpack_from(head, 8)[0] == masked_crc(head[:8]))


def compression_of(head: bytes) -> Compression | None:
    """How a file is compressed, by its first bytes; None if it is no TFRecord file.

    The checksum decides before the magic numbers: a plain record of 35,615 bytes starts like gzip.
    """
    if not head or is_header(head):
        return "none"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    # RFC 1950, 2.2: deflate, a window of at most 32 KiB, and the two bytes divide by 31.
    first, second = (*head[:2], 0)[:2]
    is_zlib = first & 15 == 8 and first >> 4 < 8 and (first << 8 | second) % 31 == 0
    return "zlib" if is_zlib else None


def looks_like_records(path: Path) -> bool:
    """Whether a file starts like a TFRecord file; reads a few bytes of it."""
    try:
        with path.open("rb") as file:
            kind = compression_of(file.read(_HEADER.size))
            if kind is None or kind == "none":
                return kind is not None
            file.seek(0)
            return is_header(_Inflated(file).read(_HEADER.size))
    except (OSError, zlib.error, EOFError):
        return False


def _raise(path: Path) -> OnDamage:
    def refuse(number: int, message: str) -> None:
        raise DataError(message, place=Place(str(path), pointer=f"record {number}"))

    return refuse


def read_records(path: Path, on_damage: OnDamage | None = None) -> Iterator[tuple[int, bytes]]:
    """The number of each record, from 1, and its data; every checksum is compared.

    A record whose data are damaged is left out and reading goes on behind it; where a length is
    damaged or the file is cut off, nothing more can be found and reading ends.

    Args:
        path: A plain file, or one that was compressed as a whole by gzip or zlib.
        on_damage: Told of each damaged record. By default the first one raises.

    Raises:
        DataError: If the file is no TFRecord file, or by default for a damaged record.
    """
    damage = on_damage or _raise(path)
    with path.open("rb", buffering=_READ_CHUNK) as file:
        kind = compression_of(file.read(_HEADER.size))
        file.seek(0)
        if kind is None:
            size = path.stat().st_size
            raise DataError(
                f"is no TFRecord file: its {size:,} bytes start with neither the length and the "
                "checksum of a record nor a gzip or zlib stream.",
                place=path,
            )
        if kind == "none":
            yield from _records(file, path.stat().st_size, damage)
        else:
            yield from _inflated_records(file, damage)


def _records(file: IO[bytes], size: int, damage: OnDamage) -> Iterator[tuple[int, bytes]]:
    """Plain records: two reads each, one of them for a checksum and the next header."""
    read, unpack = file.read, _HEADER.unpack
    number, position = 1, 0
    header = read(12)
    while header:
        position += 12
        if len(header) < 12:
            damage(number, f"is cut off: {len(header)} of the 12 bytes of its header are there.")
            return
        length, check = unpack(header)
        crc = crc_value(header[:8])
        if check != ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF:
            damage(number, _BAD_LENGTH)
            return
        position += length + 4
        if position > size or length > MAXIMUM_RECORD:
            damage(number, _cut_off(length, max(0, size - position + length + 4)))
            return
        data = read(length)
        tail = read(16)
        if len(data) < length or len(tail) < 4:
            damage(number, _cut_off(length, len(data) + len(tail)))
            return
        crc = crc_value(data)
        if tail[:4] == _CHECKSUM.pack(((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF):
            yield number, data
        else:
            damage(number, _BAD_DATA)
        header = tail[4:]
        number += 1


_BAD_LENGTH = "has a damaged length: its checksum is wrong, so what follows cannot be found."
_BAD_DATA = "is damaged: the checksum of its data is wrong."


def _cut_off(length: int, there: int) -> str:
    return f"says {length:,} bytes and a checksum, but {there:,} bytes are left in the file."


def _inflated_records(file: IO[bytes], damage: OnDamage) -> Iterator[tuple[int, bytes]]:
    stream = _Inflated(file)
    number = 0
    while True:
        number += 1
        try:
            header = stream.read(12)
            if not header:
                return
            if len(header) < 12:
                damage(number, f"is cut off: {len(header)} of the 12 bytes of its header.")
                return
            if not is_header(header):
                damage(number, _BAD_LENGTH)
                return
            (length,) = _LENGTH.unpack_from(header)
            if length > MAXIMUM_RECORD:
                damage(number, _cut_off(length, 0))
                return
            data = stream.read(length)
            tail = stream.read(4)
        except (zlib.error, EOFError) as error:
            damage(number, f"cannot be decompressed: {error}.")
            return
        if len(data) < length or len(tail) < 4:
            damage(number, _cut_off(length, len(data) + len(tail)))
            return
        if tail == _CHECKSUM.pack(masked_crc(data)):
            yield number, data
        else:
            damage(number, _BAD_DATA)


class _Inflated:
    """Reads a gzip or zlib stream, or several one behind the other, piece by piece.

    Memory grows with the data that are really there, never with what a header claims.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.waiting = bytearray()
        self.packed = b""
        self.decoder = zlib.decompressobj(47)
        self.started = False

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; fewer only at the end of the stream.

        Raises:
            EOFError: If the file ends inside a stream.
            zlib.error: If the stream is damaged.
        """
        while len(self.waiting) < count and self._more():
            pass
        data = bytes(self.waiting[:count])
        del self.waiting[:count]
        return data

    def _more(self) -> bool:
        if not self.packed:
            self.packed = self.file.read(_PACKED_CHUNK)
            if not self.packed:
                if not self.started or self.decoder.eof:
                    return False
                # All input is taken, but the decoder may still hold back some of its output.
                rest = self.decoder.decompress(b"", _CHUNK)
                if not rest and not self.decoder.eof:
                    raise EOFError("the compressed file is cut off")
                self.waiting += rest
                return True
        if self.decoder.eof:
            self.decoder = zlib.decompressobj(47)
        self.started = True
        self.waiting += self.decoder.decompress(self.packed, _CHUNK)
        self.packed = self.decoder.unconsumed_tail or self.decoder.unused_data
        return True


class RecordFile:
    """Writes one TFRecord file.

    Args:
        path: A new file.
        compression: Of the whole file, as ``tf.io.TFRecordOptions`` names it.
    """

    def __init__(self, path: Path, compression: Compression = "none") -> None:
        self.path = path
        self.records = self.size = 0
        self.file: IO[bytes] = path.open("xb", buffering=_CHUNK)
        window = _WINDOW.get(compression)
        self.encoder = None if window is None else zlib.compressobj(wbits=window)

    def write(self, pieces: Sequence[bytes]) -> None:
        """Add a record, given in pieces so that no image has to be copied."""
        crc = length = 0
        for piece in pieces:
            crc = crc_extend(crc, piece)
            length += len(piece)
        header = _LENGTH.pack(length)
        header += _CHECKSUM.pack(masked_crc(header))
        framed = (header, *pieces, _CHECKSUM.pack(masked_crc(b"", crc)))
        if self.encoder is None:
            self.file.writelines(framed)
        else:
            self.file.writelines(map(self.encoder.compress, framed))
        self.records += 1
        self.size += length + 16

    def close(self) -> None:
        """Write what is buffered."""
        if self.file.closed:
            return
        try:
            if self.encoder is not None:
                self.file.write(self.encoder.flush())
        finally:
            self.file.close()
