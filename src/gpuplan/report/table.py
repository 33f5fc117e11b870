"""A small table of raw values that knows how to show each; it never decides what is in it, nor where it is printed.

>>> show(Spread(0.8863, 0.0041, 3), "number"), show(33_500_000_000, "bytes")
('0.8863 ± 0.0041', '31.2 GiB')
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from gpuplan.command import render
from gpuplan.model import Quantity
from gpuplan.units import format_bytes, format_duration, format_range

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = [
    "UNKNOWN",
    "Cell",
    "Column",
    "Kind",
    "Raw",
    "Spread",
    "Table",
    "clean",
    "differing",
    "limited",
    "records",
    "show",
]

Kind: TypeAlias = Literal["text", "setting", "number", "count", "bytes", "duration", "ratio", "percent", "difference"]
Raw: TypeAlias = bool | int | float | str | None

UNKNOWN = "\N{EN DASH}"
UNITS = ("_bytes", "_s", "_usd")
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


class Spread(NamedTuple):
    """The mean of `n` values and their standard deviation; None of a single one."""

    mean: float
    sd: float | None
    n: int


Cell: TypeAlias = Raw | Spread | Quantity


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `key` is its name in CSV and JSON, with the unit; `importance` says how long it stays when narrow."""

    key: str
    title: str
    kind: Kind = "text"
    importance: int = 5

    @property
    def align(self) -> Literal["left", "right"]:
        """Text to the left, figures to the right."""
        return "left" if self.kind == "text" else "right"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, rows of raw values, and what has to be said below them."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def limited(table: Table, rows: int, *, rest: str) -> Table:
    """The first `rows` rows, with a note that says where the `rest` is."""
    if len(table.rows) <= rows:
        return table
    note = f"The first {rows:,} of {len(table.rows):,} rows; {rest}."
    return replace(table, rows=table.rows[:rows], notes=(*table.notes, note))


def differing(table: Table, *, keep: Collection[str]) -> Table:
    """The table without the columns that are empty or say the same in every row, but for `keep`; a note has those."""
    if len(table.rows) < 2:
        return table
    cells = [[row[index] for row in table.rows] for index in range(len(table.columns))]
    stays = [column.key in keep or any(cell != column_cells[0] for cell in column_cells)
             for column, column_cells in zip(table.columns, cells, strict=True)]  # fmt: skip
    same = [
        f"{column.title} {show(column_cells[0], column.kind)}"
        for column, column_cells, stay in zip(table.columns, cells, stays, strict=True)
        if not stay and column_cells[0] is not None
    ]
    return replace(
        table,
        columns=tuple(itertools.compress(table.columns, stays)),
        rows=tuple(tuple(itertools.compress(row, stays)) for row in table.rows),
        notes=(*table.notes, *([f"The same in every row: {', '.join(same)}."] if same else [])),
    )


def show(cell: Cell, kind: Kind) -> str:
    """The cell as people read it, on one line."""
    if cell is None:
        return UNKNOWN
    if isinstance(cell, Spread):
        return _show_spread(cell, kind)
    if isinstance(cell, Quantity):
        return format_range(*(_show_value(value, kind) for value in (cell.p10, cell.p50, cell.p90)))
    return _show_value(cell, kind)


def records(table: Table) -> list[dict[str, Raw]]:
    """Each row by column key with raw values; a spread also gives `<key>_sd`, an interval `_p10` and `_p90`."""
    parts = _names(table)
    return [
        {name: value for cell, names in zip(row, parts, strict=True) for name, value in _raw(cell, names).items()}
        for row in table.rows
    ]


def clean(text: str) -> str:
    """The text without what could move a cursor, break a line or turn the reading direction: those are spelled out."""
    return "".join(char if _is_plain(char) else char.encode("unicode_escape").decode("ascii") for char in text)


def _is_plain(char: str) -> bool:
    return char not in BIDI_CONTROLS and unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"}


def _show_spread(spread: Spread, kind: Kind) -> str:
    if spread.sd is None:
        return _show_value(spread.mean, kind)
    if spread.sd == 0:
        return f"{_show_value(spread.mean, kind)} ± 0"
    if kind != "number":
        return f"{_show_value(spread.mean, kind)} ± {_show_value(spread.sd, kind)}"
    decimals = _decimals(spread)
    return f"{spread.mean:,.{decimals}f} ± {spread.sd:,.{decimals}f}"


def _decimals(spread: Spread) -> int:
    """Two digits of the deviation decide the digits of the mean."""
    return min(12, max(0, 1 - math.floor(math.log10(spread.sd)))) if spread.sd else 0


def _show_value(value: bool | float | str, kind: Kind) -> str:
    if kind == "setting":
        return clean(render(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return clean(value)
    if not math.isfinite(value):
        return str(value)
    return _show_figure(value, kind)


def _show_figure(value: float, kind: Kind) -> str:
    formats: dict[Kind, Callable[[float], str]] = {
        "bytes": format_bytes,
        "duration": format_duration,
        "ratio": "{:.2f}x".format,
        "percent": "{:.0%}".format,
        "difference": "{:+.0%}".format,
        "count": "{:,.0f}".format,
    }
    return formats.get(kind, _show_number)(value)


def _show_number(value: float) -> str:
    """Four digits: metrics are compared in the third."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _names(table: Table) -> list[tuple[str, ...]]:
    """The record keys of each column, every one of them once: a metric may be called like a setting."""
    taken: set[str] = set()
    named = []
    for index, column in enumerate(table.columns):
        key, suffix = column.key, 2
        while taken & set(names := _parts(key, [row[index] for row in table.rows])):
            key, suffix = f"{column.key}_{suffix}", suffix + 1
        taken |= set(names)
        named.append(names)
    return named


def _parts(key: str, cells: list[Cell]) -> tuple[str, ...]:
    if any(isinstance(cell, Spread) for cell in cells):
        return (key, _with_part(key, "sd"))
    if any(isinstance(cell, Quantity) for cell in cells):
        return (key, _with_part(key, "p10"), _with_part(key, "p90"))
    return (key,)


def _with_part(key: str, part: str) -> str:
    """`duration_s` -> `duration_p10_s`: the unit stays last."""
    unit = next((unit for unit in UNITS if key.endswith(unit)), "")
    return f"{key.removesuffix(unit)}_{part}{unit}"


def _raw(cell: Cell, names: tuple[str, ...]) -> dict[str, Raw]:
    match cell:
        case Spread(mean, sd, _):
            values: tuple[Raw, ...] = (mean, sd)
        case Quantity():
            values = (cell.p50, cell.p10, cell.p90)
        case _:
            values = (cell,)
    return {name: _json_value(value) for name, value in zip(names, (*values, None, None), strict=False)}


def _json_value(value: Raw) -> Raw:
    return None if isinstance(value, float) and not math.isfinite(value) else value
