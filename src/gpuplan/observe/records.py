"""Reads the lines of a log that any program may have written: bounded in line length and file size, never trusting.

What cannot be read is counted and passed over; nothing is guessed, and no input raises.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "Doubts",
    "Header",
    "Line",
    "cells_of",
    "header_of",
    "json_objects",
    "named_numbers",
    "number",
    "read_lines",
    "table_rows",
    "whole",
]

MAX_LINE_BYTES = 64 * 1024
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_COLUMNS = 1000
MAX_COUNT = 10**12
MAX_NAME = 100
LARGEST_INT = 10**300
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE | re.ASCII)


class Line(NamedTuple):
    """One line; `whole` is false for a last line that was cut off."""

    text: str
    whole: bool


class Header(NamedTuple):
    """The columns of a CSV file, and what stands between them."""

    names: list[str]
    delimiter: str


class Doubts(Counter[str]):
    """What was left out or looks wrong, with how often."""

    def texts(self) -> tuple[str, ...]:
        """One text each, in the order of the first time."""
        return tuple(f"{what} ({count} times)" if count > 1 else what for what, count in self.items())


def read_lines(path: Path, doubts: Doubts) -> Iterator[Line]:
    """The lines of a file as it is now; too long ones are passed over."""
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            yield from _lines(file, path.name, doubts)
    except OSError as error:
        doubts[f"{path.name}: cannot be read: {error.strerror}"] += 1


def json_objects(path: Path, doubts: Doubts, *, having: str = "") -> Iterator[dict[str, Any]]:
    """The JSON object of each line, or of each line that has this text in it."""
    for line in read_lines(path, doubts):
        if having not in line.text or not line.text.strip():
            continue
        try:
            value = json.loads(line.text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield value
        else:
            what = "a line is no JSON object" if line.whole else "the last line is cut off"
            doubts[f"{path.name}: {what}"] += 1


def table_rows(path: Path, doubts: Doubts) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header, by column; its delimiter is what the header has most of.

    A last row without a line end is left out: its last number may have lost digits.
    """
    header: list[str] = []
    delimiter = ","
    for line in read_lines(path, doubts):
        if not line.text.strip():
            continue
        if not header:
            found = header_of(line.text)
            if found is None:
                doubts[f"{path.name}: its first line is no header"] += 1
                return
            header, delimiter = found
            continue
        cells = cells_of(line.text, delimiter)
        if cells == header or not any(cells):
            continue
        if len(cells) == len(header) and line.whole:
            yield dict(zip(header, cells, strict=True))
        else:
            what = "a row has not the header's columns" if line.whole else "the last line is cut off"
            doubts[f"{path.name}: {what}"] += 1


def header_of(text: str) -> Header | None:
    """The columns that the first line of a CSV file names; None if it is no header."""
    text = text.removeprefix("\ufeff")
    delimiter = max(",;\t", key=text.count)
    names = cells_of(text, delimiter)
    return Header(names, delimiter) if len(names) <= MAX_COLUMNS and any(names) else None


def cells_of(text: str, delimiter: str) -> list[str]:
    """The cells of one line of CSV; none of what is no CSV."""
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter), [])]
    except csv.Error:
        return []


def number(value: object) -> float | None:
    """A number, also as text and also NaN or infinite; None for anything else."""
    kind = type(value)  # not isinstance: a bool is no number, and this runs for every cell
    if kind is float:
        return value  # type: ignore[return-value]
    if kind is int:
        return float(value) if abs(value) < LARGEST_INT else None  # type: ignore[arg-type]
    if kind is str and len(value) < MAX_NAME and NUMBER.fullmatch(value.strip()):  # type: ignore[arg-type, attr-defined]
        return float(value)  # type: ignore[arg-type]
    return None


def whole(value: object) -> int | None:
    """A count: a whole number from 0 to 10^12; None for anything else."""
    found = number(value)
    return int(found) if found is not None and 0 <= found <= MAX_COUNT and found == int(found) else None


def named_numbers(cells: Mapping[str, Any], without: Container[str] = ()) -> Iterator[tuple[str, float]]:
    """The numbers among named values; names that cannot be shown are passed over."""
    for name, value in cells.items():
        if name in without:
            continue
        found = number(value)
        if found is not None and 0 < len(name) <= MAX_NAME and name.isprintable():
            yield name, found


def _lines(file: Any, name: str, doubts: Doubts) -> Iterator[Line]:
    left = MAX_FILE_BYTES
    while left > 0:
        content = file.readline(min(MAX_LINE_BYTES, left))
        left -= len(content)
        if not content:
            return
        if content.endswith(b"\n"):
            yield Line(content.decode("utf-8", "replace").rstrip("\r\n"), whole=True)
        elif len(content) < MAX_LINE_BYTES and left > 0:
            yield Line(content.decode("utf-8", "replace"), whole=False)
        elif left > 0:
            doubts[f"{name}: a line is longer than {MAX_LINE_BYTES // 1024} KiB"] += 1
            left -= _pass_over(file, left)
    doubts[f"{name}: only its first {MAX_FILE_BYTES // 1024**2} MiB are read"] += 1


def _pass_over(file: Any, left: int) -> int:
    """Go to the end of the line; how many bytes that took."""
    passed = 0
    while passed < left:
        content = file.readline(min(MAX_LINE_BYTES, left - passed))
        passed += len(content)
        if not content or content.endswith(b"\n"):
            break
    return passed
