"""Rows of a text log that all have the keys of one of them are read at once, the others one by one.

It is what makes a gigabyte a matter of seconds; what does not fit the shape is never dropped, only slower.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Shape", "Shaped", "parts"]


class Shape(NamedTuple):
    """The keys of a row, what matches rows that have just these, and what matches the others."""

    names: tuple[str, ...]
    begin: bytes
    rows: re.Pattern[bytes]
    likely_others: re.Pattern[bytes]
    """Rows that do not even open as these do: found sooner, and nearly always all there are."""
    others: re.Pattern[bytes]

    @classmethod
    def of(cls, names: Sequence[str], *, begin: bytes, opening: bytes, cells: bytes, other: bytes) -> Shape:
        """The shape of rows that start with `begin` as it stands and then have `cells`, with a group for each name.

        `opening` matches how these cells open, `other` the rest of any row.
        """
        plain = re.sub(rb"(?<!\\)\((?!\?)", rb"(?:", cells)
        start = re.escape(begin)
        return cls(
            names=tuple(names),
            begin=begin,
            rows=re.compile(start + cells),
            likely_others=re.compile(start + rb"(?!" + opening + rb")" + other),
            others=re.compile(start + rb"(?!" + plain + rb")" + other),
        )


class Shaped(NamedTuple):
    """Rows of the shape that follow each other, or one row of another shape as it stands."""

    rows: list[tuple[bytes, ...]]
    other: bytes | None = None


def parts(data: bytes, shape: Shape) -> list[Shaped]:
    """The rows in some lines, in their order."""
    found = list(_parts(data, shape, shape.likely_others))
    if sum(len(part.rows) or 1 for part in found) == data.count(shape.begin):
        return found
    return list(_parts(data, shape, shape.others))


def _parts(data: bytes, shape: Shape, others: re.Pattern[bytes]) -> Iterator[Shaped]:
    start = 0
    for other in others.finditer(data):
        rows = shape.rows.findall(data, start, other.start())
        if rows:
            yield Shaped(rows)
        yield Shaped([], other.group())
        start = other.end()
    rows = shape.rows.findall(data, start)
    if rows:
        yield Shaped(rows)
