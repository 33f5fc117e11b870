"""Rows of CSV and TSV files as they are, whatever is in them. It understands none of them."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TABLES", "table_reader"]

TABLES = {".csv": ",", ".tsv": "\t"}
"""The character between two cells, by the end of a file's name."""


def table_reader(lines: Iterator[str], suffix: str) -> Iterator[list[str]]:
    """The rows of an open table, cells of any length and NUL characters included. Raises csv.Error while it is read."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    return csv.reader((line.replace("\0", "") for line in lines), delimiter=TABLES[suffix])
