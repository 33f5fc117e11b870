"""The two framings of binary logs and as much of protobuf as they need: TensorBoard's and W&B's records.

Every length is held against what is there and every checksum is checked; nothing is allocated by a length that lies.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuplan.observe.records import Doubts

__all__ = ["Bytes", "Field", "as_double", "as_float", "fields", "leveldb_records", "tf_records"]

MOST_RECORD_BYTES = 64 * 1024 * 1024
BLOCK_BYTES = 32 * 1024
WANDB_HEADER_BYTES = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
CASTAGNOLI = 0x82F63B78
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

Bytes: TypeAlias = "Callable[[int], bytes]"
"""Reads so many bytes more; fewer where the file ends."""


class Field(NamedTuple):
    """One field of a protobuf message: a number as its bits, or the bytes of a text or an inner message."""

    number: int
    bits: int
    content: bytes


def fields(message: bytes) -> Iterator[Field]:
    """The fields of a message; raises ValueError where it is none."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field without a number")
        if kind == VARINT:
            bits, at = _varint(message, at)
            yield Field(number, bits, b"")
            continue
        size, at = (8, at) if kind == FIXED64 else (4, at) if kind == FIXED32 else _length(message, at, kind)
        content = message[at : at + size]
        if len(content) < size:
            raise ValueError("a field is cut off")
        at += size
        yield Field(number, int.from_bytes(content, "little") if kind != LENGTH else 0, content)


def as_float(field: Field) -> float:
    """A 32-bit float; raises ValueError for a field of another size."""
    return _unpacked("<f", field)


def as_double(field: Field) -> float:
    """A 64-bit float; raises ValueError for a field of another size."""
    return _unpacked("<d", field)


def tf_records(read: Bytes, name: str, doubts: Doubts) -> Iterator[bytes]:
    """The records of a TensorBoard event file: length, its checksum, content, its checksum."""
    while header := read(12):
        size = int.from_bytes(header[:8], "little")
        if len(header) < 12:
            doubts[f"{name}: its end is cut off"] += 1
            return
        if int.from_bytes(header[8:], "little") != _masked(_crc32c(header[:8])) or size > MOST_RECORD_BYTES:
            doubts[f"{name}: a record's length has a wrong checksum; what follows is not read"] += 1
            return
        content, check = read(size), read(4)
        if len(content) < size or len(check) < 4:
            doubts[f"{name}: its end is cut off"] += 1
            return
        if int.from_bytes(check, "little") == _masked(_crc32c(content)):
            yield content
        else:
            doubts[f"{name}: a record has a wrong checksum and is left out"] += 1


def leveldb_records(read: Bytes, name: str, doubts: Doubts) -> Iterator[bytes]:
    """The records of a W&B file: a header, then blocks of 32 KiB with parts of records, as LevelDB writes its log."""
    at = len(read(WANDB_HEADER_BYTES))
    record = b""
    while True:
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < 7:
            at += len(read(left))
            left = BLOCK_BYTES
        header = read(7)
        if not header.strip(b"\0"):
            return
        size, kind = int.from_bytes(header[4:6], "little"), header[-1]
        content = read(size)
        at += 7 + size
        if len(header) < 7 or len(content) < size:
            doubts[f"{name}: its end is cut off"] += 1
            return
        whole = zlib.crc32(bytes([kind]) + content) == int.from_bytes(header[:4], "little")
        if not whole or kind not in {FULL, FIRST, MIDDLE, LAST} or size > left - 7:
            doubts[f"{name}: a record has a wrong checksum; what follows is not read"] += 1
            return
        record = content if kind in {FULL, FIRST} else record + content
        if len(record) > MOST_RECORD_BYTES:
            doubts[f"{name}: a record is longer than {MOST_RECORD_BYTES // 2**20} MiB; what follows is not read"] += 1
            return
        if kind in {FULL, LAST}:
            yield record


def _varint(message: bytes, at: int) -> tuple[int, int]:
    bits = 0
    for index in range(10):
        if at + index >= len(message):
            break
        byte = message[at + index]
        bits |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return bits & (2**64 - 1), at + index + 1
    raise ValueError("a number is cut off")


def _length(message: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind != LENGTH:
        raise ValueError("a field of a kind that is no longer in use")
    return _varint(message, at)


def _unpacked(layout: str, field: Field) -> float:
    if len(field.content) != struct.calcsize(layout):
        raise ValueError("a number of another size")
    (found,) = struct.unpack(layout, field.content)
    return float(found)


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _crc_table()


def _crc32c(content: bytes) -> int:
    """Castagnoli's checksum, which the standard library lacks."""
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    """As TensorFlow's record files keep it: turned by 15 bits and moved by a constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
