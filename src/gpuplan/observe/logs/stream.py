"""Opens a log as a stream of whole lines: packed or not, in UTF-8 or UTF-16, of any size, in constant memory.

It never follows what unpacks without end, never waits on a pipe or a device, and never holds more than a few chunks.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gpuplan.observe.records import Doubts

__all__ = ["Chunk", "Unreadable", "chunks", "opened", "pieces", "text_pieces", "unpacked"]

PIECE_BYTES = 64 * 1024
ARCHIVE_HEAD_BYTES = 200
MAX_LINE_BYTES = 1024 * 1024
UNPACK_MEMORY_BYTES = 128 * 1024 * 1024
MOST_RATIO = 200
RATIO_FROM_BYTES = 64 * 1024 * 1024
LINE_END = re.compile(rb"[\r\n]")
ZSTD = b"\x28\xb5\x2f\xfd"
ARCHIVES = {b"PK\x03\x04": "a zip archive", b"7z\xbc\xaf": "a 7-Zip archive", b"Rar!": "a RAR archive"}
PYTORCH = b"/data.pkl"
"""What the first file of a zip archive that PyTorch wrote is called."""
WIDE = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Unreadable(Exception):  # noqa: N818  it is a verdict on a file, turned into a refusal
    """Why a file cannot be read as a log."""


class Chunk(NamedTuple):
    """Some whole lines, and the number of the first; `whole` is false for a last line without a line end."""

    data: bytes
    line: int
    whole: bool


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file at `path`, opened; raises Unreadable for what is none."""
    try:
        if not path.is_file():
            raise Unreadable("not a regular file" if path.exists() else "there is no such file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error


def pieces(file: IO[bytes], name: str, doubts: Doubts) -> Iterator[bytes]:
    """The bytes of a file, unpacked; raises Unreadable where they unpack without end, or not at all."""
    head = file.read(ARCHIVE_HEAD_BYTES)
    file.seek(0)
    kind = next((what for magic, what in ARCHIVES.items() if head.startswith(magic)), None)
    if kind is not None and PYTORCH in head:
        raise Unreadable("weights or a state that PyTorch saved, no log")
    if kind is not None:
        raise Unreadable(f"{kind}; unpack it first")
    if head.startswith(ZSTD):
        raise Unreadable("packed with zstd; unpack it first: zstd -d FILE")
    if head.startswith(b"\x1f\x8b"):
        content = _gunzipped(gzip.GzipFile(fileobj=file))
    elif head.startswith(b"BZh"):
        content = _unpacked(file, bz2.BZ2Decompressor)
    elif head.startswith(b"\xfd7zXZ\x00"):
        content = _unpacked(file, lambda: lzma.LZMADecompressor(memlimit=UNPACK_MEMORY_BYTES))
    else:
        yield from _plain(file)
        return
    yield from _guarded(content, file, name, doubts)


def unpacked(file: IO[bytes], name: str, doubts: Doubts) -> Callable[[int], bytes]:
    """Reads so many bytes more of a file, unpacked; fewer where it ends. Raises Unreadable as `pieces` does."""
    parts = pieces(file, name, doubts)
    rest = bytearray()

    def read(size: int) -> bytes:
        while len(rest) < size:
            part = next(parts, b"")
            if not part:
                break
            rest.extend(part)
        found = bytes(rest[:size])
        del rest[:size]
        return found

    return read


def chunks(file: IO[bytes], name: str, doubts: Doubts) -> Iterator[Chunk]:
    """The lines of a text file, some at a time; lines longer than 1 MiB are passed over and said."""
    line, rest, passing = 1, b"", False
    for piece in text_pieces(file, name, doubts):
        data = rest + piece
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if passing and end:
            data, passing = _after_first_end(data), False
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        rest = b"" if passing else data[end:]
        if len(rest) > MAX_LINE_BYTES:
            doubts[f"{name}: a line is longer than {MAX_LINE_BYTES // 1024} KiB"] += 1
            rest, passing = b"", True
        if end:
            yield Chunk(data[:end], line, whole=True)
            line += data.count(b"\n", 0, end)
    if rest:
        yield Chunk(rest, line, whole=False)


def _after_first_end(data: bytes) -> bytes:
    found = LINE_END.search(data)
    return data[found.end() :] if found else b""


def _plain(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _gunzipped(file: gzip.GzipFile) -> Iterator[bytes]:
    """As much at a time as is there: a whole piece would be lost where the packing is cut off within."""
    while piece := file.read1(PIECE_BYTES):
        yield piece


def _unpacked(file: IO[bytes], make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> Iterator[bytes]:
    """The streams of a file one after the other, each unpacked some bytes at a time."""
    unpacker = make()
    content = b""
    while True:
        if unpacker.eof:
            content = unpacker.unused_data or file.read(PIECE_BYTES)
            if not content:
                return
            unpacker = make()
        elif unpacker.needs_input:
            content = file.read(PIECE_BYTES)
            if not content:
                raise EOFError
        piece = unpacker.decompress(content, PIECE_BYTES)
        content = b""
        if piece:
            yield piece


def _guarded(content: Iterator[bytes], file: IO[bytes], name: str, doubts: Doubts) -> Iterator[bytes]:
    """What was unpacked up to where the packing is damaged; raises Unreadable for a bomb."""
    made = 0
    try:
        for piece in content:
            made += len(piece)
            if made > RATIO_FROM_BYTES and made > MOST_RATIO * file.tell():
                raise Unreadable(f"it unpacks to more than {MOST_RATIO} times its size")
            yield piece
    except (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError) as error:
        if not made:
            raise Unreadable("its packing is damaged from the beginning") from error
        doubts[f"{name}: its packing is damaged or cut off; what comes before counts"] += 1


def text_pieces(file: IO[bytes], name: str, doubts: Doubts) -> Iterator[bytes]:
    """The bytes of a text file: UTF-16 turned into UTF-8, byte order marks left out, other bytes as they are."""
    decoder: codecs.IncrementalDecoder | None = None
    for number, piece in enumerate(pieces(file, name, doubts)):
        if number == 0:
            encoding = _wide(piece)
            if encoding is not None:
                decoder = codecs.getincrementaldecoder(encoding)("replace")
            else:
                yield piece.removeprefix(codecs.BOM_UTF8)
                continue
        if decoder is None:
            yield piece
        else:
            text = decoder.decode(piece)
            yield (text.removeprefix("\ufeff") if number == 0 else text).encode("utf-8", "replace")


def _wide(head: bytes) -> str | None:
    """UTF-16 by its mark, or where every other byte is zero."""
    marked = next((encoding for mark, encoding in WIDE.items() if head.startswith(mark)), None)
    if marked is not None:
        return marked
    for encoding, zeros in (("utf-16-le", head[1:4000:2]), ("utf-16-be", head[0:4000:2])):
        if len(zeros) > 4 and zeros.count(0) > 0.7 * len(zeros) and head[:4000].count(0) < 0.6 * len(head[:4000]):
            return encoding
    return None
