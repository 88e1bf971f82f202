"""The container and the Example on the wire, against a decoder written from the description."""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlx.errors import DataError
from tlx_plugins.formats import tfrecord_example as codec
from tlx_plugins.formats.tfrecord_framing import (
    RecordFile,
    compression_of,
    looks_like_records,
    masked_crc,
    read_records,
)

FLOATS = st.lists(st.floats(width=32, allow_nan=False))
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1))
VALUES = st.one_of(st.lists(st.binary(max_size=200)), FLOATS, INTEGERS)
FEATURES = st.dictionaries(st.text(max_size=20), VALUES, max_size=6)


def encoded(features: dict[str, Any], image: bytes = b"") -> bytes:
    entries = []
    for key, values in features.items():
        kind = {bytes: codec.bytes_entry, float: codec.float_entry, int: codec.integer_entry}
        entries.append(kind[type(values[0])](key, values) if values else codec.bytes_entry(key, []))
    return b"".join(codec.example(entries, "image/encoded", image))


@given(FEATURES, st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_examples_come_back_and_a_second_decoder_agrees(
    judge: Any, features: dict[str, Any], image: bytes
) -> None:
    features.pop("image/encoded", None)
    data = encoded(features, image)
    expected = {**features, "image/encoded": [image]}
    assert {k: list(v) for k, v in codec.decode(data).items()} == expected
    assert judge.example(data) == expected


@given(st.binary(max_size=400))
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x0a\x80")
@example(b"\x0b\x0c")
@settings(max_examples=500, deadline=None)
def test_arbitrary_bytes_are_an_example_or_an_explained_error(data: bytes) -> None:
    with contextlib.suppress(ValueError, DataError):
        codec.decode(data)


@given(FEATURES, st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_examples_do_not_break_the_decoder(
    features: dict[str, Any], data: st.DataObject
) -> None:
    whole = bytearray(encoded(features, b"image"))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError, DataError):
        codec.decode(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


def test_numbers_that_are_not_packed_are_read() -> None:
    def field(number: int, data: bytes) -> bytes:
        return bytes((number << 3 | 2, len(data))) + data

    floats = b"".join(b"\x0d" + struct.pack("<f", value) for value in (0.5, -2.0))
    integers = b"\x08\x07\x08" + b"\xff" * 9 + b"\x01"
    feature = field(1, field(1, b"f") + field(2, field(2, floats)))
    feature += field(1, field(2, field(3, integers)) + field(1, b"i"))
    feature += field(1, field(1, b"nothing") + field(2, b""))
    assert codec.decode(field(1, feature)) == {"f": [0.5, -2.0], "i": [7, -1], "nothing": []}


def test_a_later_entry_of_a_name_replaces_an_earlier_one() -> None:
    twice = encoded({"a": [1]}) + encoded({"a": [b"x"]})
    assert codec.decode(twice)["a"] == [b"x"]


def test_a_sequence_example_is_refused_by_its_name() -> None:
    context = encoded({"clip": [b"7"]})
    with pytest.raises(DataError, match="SequenceExample"):
        codec.decode(context + b"\x12\x02\x0a\x00")


def write(path: Path, records: list[bytes], compression: Any = "none") -> Path:
    file = RecordFile(path, compression)
    for record in records:
        file.write((record[:3], record[3:]))
    file.close()
    return path


@given(st.lists(st.binary(max_size=500), max_size=5))
@settings(max_examples=50, deadline=None)
def test_files_come_back_and_a_second_reader_agrees(
    judge: Any, tmp_path_factory: pytest.TempPathFactory, records: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("records")
    path = write(folder / "a", records)
    assert judge.payloads(path.read_bytes()) == records
    assert path.read_bytes() == b"".join(map(judge.frame, records))
    for kind in ("none", "gzip", "zlib"):
        path = write(folder / kind, records, kind)
        assert list(read_records(path)) == list(enumerate(records, 1))
    if records:
        assert looks_like_records(folder / "gzip")
        assert compression_of((folder / "zlib").read_bytes()) == "zlib"


def test_the_checksum_is_castagnoli_masked(judge: Any) -> None:
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa.
    assert masked_crc(b"", 0x8A9136AA) == masked_crc(bytes(32)) == judge.masked(bytes(32))


def test_a_plain_record_that_starts_like_gzip_is_plain(tmp_path: Path) -> None:
    record = bytes(0x8B1F)
    path = write(tmp_path / "a.record", [record])
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    assert list(read_records(path)) == [(1, record)]


def test_compressed_files_that_follow_each_other_are_one(judge: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.record.gz"
    path.write_bytes(gzip.compress(judge.frame(b"one")) + gzip.compress(judge.frame(b"two")))
    assert list(read_records(path)) == [(1, b"one"), (2, b"two")]


def test_much_compressed_data_come_out_whole(tmp_path: Path) -> None:
    records = [bytes(3_000_000), b"x" * 1_048_576, b""]
    path = write(tmp_path / "a.record", records, "gzip")
    assert path.stat().st_size < 20_000
    assert [data for _, data in read_records(path)] == records


@pytest.mark.parametrize("kind", ["none", "gzip", "zlib"])
def test_every_cut_is_noticed(tmp_path: Path, kind: Any) -> None:
    whole = write(tmp_path / "whole", [b"first record", b"second record"], kind).read_bytes()
    ends = {0, 16 + len(b"first record")} if kind == "none" else {0}
    for length in set(range(len(whole))) - ends:
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        with pytest.raises(DataError) as caught:
            list(read_records(path))
        assert caught.value.place is not None
        assert caught.value.place.path == str(path)


def test_every_flipped_bit_is_noticed(judge: Any, tmp_path: Path) -> None:
    whole = judge.frame(b"first record") + judge.frame(b"second")
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            list(read_records(path))


def test_a_damaged_record_is_named_and_can_be_passed_over(judge: Any, tmp_path: Path) -> None:
    damaged = bytearray(judge.frame(b"first") + judge.frame(b"second") + judge.frame(b"third"))
    damaged[len(judge.frame(b"first")) + 13] ^= 1
    path = tmp_path / "a.record"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="record 2"):
        list(read_records(path))
    told: list[tuple[int, str]] = []
    found = list(read_records(path, lambda number, message: told.append((number, message))))
    assert found == [(1, b"first"), (3, b"third")]
    assert [number for number, _ in told] == [2]


@pytest.mark.parametrize("kind", ["none", "gzip", "zlib"])
@pytest.mark.parametrize("length", [2**31, 2**40, 2**63, 2**64 - 1])
def test_a_hostile_length_takes_no_memory(
    judge: Any, tmp_path: Path, kind: str, length: int
) -> None:
    header = struct.pack("<Q", length)
    data = header + struct.pack("<I", judge.masked(header)) + b"few"
    pack = {"none": bytes, "gzip": gzip.compress, "zlib": zlib.compress}[kind]
    path = tmp_path / "a.record"
    path.write_bytes(pack(data))
    with pytest.raises(DataError, match=f"{length:,} bytes"):
        list(read_records(path))


@given(st.binary(min_size=1, max_size=100))
@settings(max_examples=300, deadline=None)
def test_arbitrary_files_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "arbitrary.record"
    path.write_bytes(data)
    with pytest.raises(DataError):
        list(read_records(path))
