"""Which parts of a data set a file or a folder holds, by their names. It unpacks nothing and loads no pickle."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from gpuplan.units import GIB
from gpuplan.verify.inputs import parts_are_read
from gpuplan.world.tables import TABLES, table_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["split_files", "splits_of_file"]

COLUMN = "split"
"""The column of a table, or the key of its rows, that names the part of each row."""
TEXTS = frozenset({*TABLES, ".json", ".jsonl", ".ndjson"})
ZIPS = frozenset({".zip", ".npz"})
MOST_ENTRIES = 100_000
MOST_UNPACKED_BYTES = GIB
"""Of a tar archive: its names stand between its contents, which have to be run through."""
UNREADABLE = (
    OSError, ValueError, RecursionError, EOFError, csv.Error, NotImplementedError,
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
)  # fmt: skip


def split_files(folder: Path, split: str) -> list[Path]:
    """The files and folders `split`, `split.csv`, `split-00000-of-00001.parquet` in a folder or its folder `data`."""
    folders = [one for one in (folder, folder / "data") if one.is_dir()]
    return sorted(entry for one in folders for entry in one.iterdir() if _is_of(split, entry.name))


def splits_of_file(path: Path, asked: Sequence[str]) -> dict[str, int | None]:
    """Those of the `asked` parts that a file holds, with their rows where they can be counted.

    They are keys of a JSON object, values of `split` in the rows of a table, or names in an archive. A file of another
    kind, one that is too large and one that is not what its name says hold none.
    """
    if not asked or not parts_are_read(path.name, path.stat().st_size):
        return {}
    try:
        return _read(path, asked)
    except UNREADABLE:
        return {}


def _read(path: Path, asked: Sequence[str]) -> dict[str, int | None]:
    suffix = path.suffix.lower()
    if suffix not in TEXTS:
        return _of_names(_names_in_zip(path) if suffix in ZIPS else _names_in_tar(path), asked)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        if suffix in TABLES:
            rows = table_reader(file, suffix)
            header = next(rows, [])
            return _of_rows((dict(zip(header, row, strict=False)) for row in rows), asked)
        return _of_json(file.read(), asked)


def _of_names(names: Iterable[str], asked: Sequence[str]) -> dict[str, int | None]:
    """Of the files and folders of an archive, whichever folder they are in."""
    missing = set(asked)
    for name in itertools.islice(names, MOST_ENTRIES):
        missing -= {split for split in missing for part in _parts(name) if _is_of(split, part)}
        if not missing:
            break
    return {split: None for split in asked if split not in missing}


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the file in a name, which some programs on Windows write with backslashes."""
    return PurePosixPath(name.replace("\\", "/")).parts


def _names_in_zip(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        yield from archive.namelist()


def _names_in_tar(path: Path) -> Iterator[str]:
    unpacked_bytes = 0
    with tarfile.open(path) as archive:
        for member in archive:
            yield member.name
            unpacked_bytes += tarfile.BLOCKSIZE + member.size
            if unpacked_bytes > MOST_UNPACKED_BYTES:
                return


def _of_json(text: str, asked: Sequence[str]) -> dict[str, int | None]:
    """Of one document, or of one a line."""
    try:
        content: Any = json.loads(text)
    except ValueError:
        return _of_rows(_lines(text), asked)
    if isinstance(content, dict):
        found = {split: _rows(content[split]) for split in asked if split in content}
        return found or _of_rows([content], asked)
    return _of_rows(content if isinstance(content, list) else (), asked)


def _lines(text: str) -> Iterator[Any]:
    """The document of each line, those left out that are none."""
    for line in text.split("\n"):
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _of_rows(rows: Iterable[Any], asked: Sequence[str]) -> dict[str, int | None]:
    values = (row.get(COLUMN) for row in rows if isinstance(row, dict))
    counts = Counter(value for value in values if isinstance(value, str))
    return {split: counts[split] for split in asked if split in counts}


def _rows(part: Any) -> int | None:
    """Of a list of rows, or of a dictionary with a list for each column."""
    if isinstance(part, list):
        return len(part)
    if isinstance(part, dict):
        lengths = {len(column) if isinstance(column, list) else None for column in part.values()}
        return lengths.pop() if len(lengths) == 1 else None
    return 0 if part is None else None


def _is_of(split: str, name: str) -> bool:
    """`validation-00000-of-00002.parquet` is of `validation`."""
    return re.match(rf"{re.escape(split)}(?:[.-]|$)", name) is not None
