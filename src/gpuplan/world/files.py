"""What stands at the paths that an experiment names: size, rows, splits, near names. It never loads data."""

from __future__ import annotations

import csv
import difflib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.model import FileFact
from gpuplan.world.splits import split_files, splits_of_file
from gpuplan.world.tables import TABLES, table_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["file_fact"]

MOST_HASHED_BYTES = 64 * 2**20
"""Larger files are told apart by size and time of change: a plan has to be there in a second."""
MOST_COUNTED_BYTES = 64 * 2**20
MOST_ENTRIES = 100_000
JSON_LINES = frozenset({".jsonl", ".ndjson"})


def file_fact(text: str, workdir: Path, splits: Sequence[str] = ()) -> FileFact:
    """The facts on `text` as a path from `workdir`. Unreadable counts as missing."""
    path = workdir / Path(text).expanduser()
    try:
        if path.is_dir():
            return _folder(text, path, splits)
        if path.is_file():
            return _file(text, path, splits)
    except (OSError, ValueError):
        pass
    return FileFact(path=text, exists=False, near=_near(path))


def _file(text: str, path: Path, splits: Sequence[str]) -> FileFact:
    size_bytes = path.stat().st_size
    rows = count_rows(path) if size_bytes <= MOST_COUNTED_BYTES else None
    found = splits_of_file(path, splits)
    return FileFact(path=text, exists=True, size_bytes=size_bytes, rows=rows, splits=found, digest=_digest(path))


def _folder(text: str, path: Path, splits: Sequence[str]) -> FileFact:
    entries = sorted(entry for entry, _ in zip(path.rglob("*"), range(MOST_ENTRIES), strict=False) if entry.is_file())
    sizes = [entry.stat().st_size for entry in entries]
    digest = hashlib.sha256(
        "\n".join(f"{e.relative_to(path)} {s}" for e, s in zip(entries, sizes, strict=True)).encode()
    )
    found = {name: _split_rows(files) for name in splits if (files := split_files(path, name))}
    return FileFact(
        path=text, exists=True, is_folder=True, size_bytes=sum(sizes), splits=found, digest=digest.hexdigest()[:16]
    )


def _split_rows(files: Sequence[Path]) -> int | None:
    """Of all files of a part; None where one is of another kind or they are too large to be read for a plan."""
    files = [file for file in files if file.is_file()]
    if sum(file.stat().st_size for file in files) > MOST_COUNTED_BYTES:
        return None
    counts = [count_rows(file) for file in files]
    return sum(count or 0 for count in counts) if counts and None not in counts else None


def count_rows(path: Path) -> int | None:
    """Data rows of a CSV, TSV or JSON-lines file; None for other kinds and for what is none of these inside."""
    suffix = path.suffix.lower()
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            if suffix in TABLES:
                return _table_rows(table_reader(file, suffix))
            if suffix in JSON_LINES:
                return sum(1 for line in file if line.strip())
    except (OSError, csv.Error):
        return None
    return None


def _table_rows(reader: Iterator[list[str]]) -> int:
    first = next(reader, [])
    rows = sum(1 for row in reader if row)
    is_header = bool(first) and not any(_is_number(cell) for cell in first)
    return rows + (0 if is_header or not first else 1)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _digest(path: Path) -> str:
    stat = path.stat()
    if stat.st_size > MOST_HASHED_BYTES:
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _near(path: Path) -> tuple[str, ...]:
    try:
        names = [entry.name for entry, _ in zip(path.parent.iterdir(), range(MOST_ENTRIES), strict=False)]
    except (OSError, ValueError):
        return ()
    return tuple(difflib.get_close_matches(path.name, names, n=3))
