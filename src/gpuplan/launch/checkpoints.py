"""Finds the newest checkpoint of a run that can be resumed from. It never loads one: it looks at names, sizes and ends.

What a killed program leaves behind has a temporary name, an empty or cut file, or fewer files than the one before.
"""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["newest_checkpoint"]

TEMPORARY = re.compile(
    r"^\.|^~|^_?tmp|[._-](tmp|temp|part|partial|incomplete|writing)[0-9]*([._-]\w*)?$", re.IGNORECASE
)
ZIP_START = b"PK\x03\x04"
LONGEST_HEADER_BYTES = 100_000_000


class Found(NamedTuple):
    """A candidate, with what decides which is the newest."""

    changed_ns: int
    numbers: tuple[int, ...]
    path: Path


def newest_checkpoint(folder: Path, pattern: str) -> Path | None:
    """The newest good checkpoint below `folder`.

    The program's own word in `metrics.jsonl` wins over what `pattern` finds.
    """
    for path in _announced(folder):
        if _is_good(path):
            return path
    found = sorted((_found(path) for path in _matching(folder, pattern) if _is_good(path)), reverse=True)
    complete = [one.path for one, older in zip(found, [*found[1:], None], strict=False) if _is_complete(one, older)]
    return complete[0] if complete else None


def _announced(folder: Path) -> Iterator[Path]:
    """Checkpoints that the program called complete, newest first."""
    try:
        lines = (folder / "metrics.jsonl").read_bytes().splitlines()
    except OSError:
        return
    for line in reversed([line for line in lines if b'"checkpoint"' in line]):
        try:
            event = json.loads(line)
            if event["event"] == "checkpoint":
                yield folder / event["path"]
        except (ValueError, KeyError, TypeError):
            continue


def _matching(folder: Path, pattern: str) -> list[Path]:
    """What the glob finds inside `folder`, and nothing outside of it."""
    try:
        matches = list(folder.glob(pattern))
    except (ValueError, NotImplementedError):
        return []
    return [path for path in matches if path.resolve().is_relative_to(folder.resolve())]


def _found(path: Path) -> Found:
    changed = max((file.stat().st_mtime_ns for file in _files(path)), default=0)
    return Found(changed, tuple(int(digits) for digits in re.findall(r"[0-9]+", path.name)), path)


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _is_good(path: Path) -> bool:
    if TEMPORARY.search(path.name) or not path.exists():
        return False
    files = _files(path)
    try:
        return any(file.stat().st_size for file in files) and all(_is_whole(file) for file in files)
    except OSError:
        return False


def _is_whole(file: Path) -> bool:
    """Whether a file of a format that knows its own end has it: what torch.save writes (a zip), and safetensors."""
    with file.open("rb") as opened:
        start = opened.read(4)
        if start == ZIP_START:
            return zipfile.is_zipfile(opened)
    return file.suffix != ".safetensors" or _is_whole_safetensors(file)


def _is_whole_safetensors(file: Path) -> bool:
    """The header says where the last tensor ends (docs.rs/safetensors, seen 2026-11-20)."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        header_bytes = int.from_bytes(opened.read(8), "little")
        if not 2 <= header_bytes <= min(size, LONGEST_HEADER_BYTES):
            return False
        try:
            header = json.loads(opened.read(header_bytes))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return False
    return size >= 8 + header_bytes + max(ends, default=0)


def _is_complete(one: Found, older: Found | None) -> bool:
    """Whether it has all the files that the checkpoint before it has; step numbers in their names may differ."""
    return older is None or older.path.is_file() or _names(one.path) >= _names(older.path)


def _names(path: Path) -> set[str]:
    return {re.sub(r"[0-9]+", "#", str(file.relative_to(path))) for file in _files(path)} if path.is_dir() else set()
