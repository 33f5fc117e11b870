"""Tells apart the programs that wrote one table of metrics, by where each of them stands on its run.

A program that goes back has begun anew, resumed, or is a second one that writes at the same time. It never averages
what two programs wrote, and never keeps more than some thousand rows of each.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.observe.values import Thinned, Values

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from gpuplan.observe.records import Doubts

__all__ = ["History", "Row", "Stretch", "Writers"]

MOST_WRITERS = 32
MOST_ROWS = 2000
LAST_PLACE = 1e12


class Row(NamedTuple):
    """One row: where on the run it stands, and its numbers by column in lower case."""

    at: float
    numbers: dict[str, float]


class Stretch(NamedTuple):
    """Rows that follow each other and have the same columns: their places, and for each column their figures."""

    places: Sequence[float]
    columns: dict[str, Sequence[float]]

    def row(self, index: int) -> Row:
        """One of its rows."""
        return Row(self.places[index], {name: figures[index] for name, figures in self.columns.items()})

    def rest(self) -> Stretch:
        """All but its first row."""
        return Stretch(self.places[1:], {name: figures[1:] for name, figures in self.columns.items()})


class History(NamedTuple):
    """What one program wrote, from the first to the last of these lines."""

    rows: list[Row]
    values: Values
    first_line: int
    last_line: int
    superseded: bool = False
    """Another one began anew after it had ended."""

    def meets(self, other: History) -> bool:
        """Whether the other was written at the same time."""
        return self is not other and self.first_line <= other.last_line and other.first_line <= self.last_line


@dataclass(slots=True)
class Writer:
    """What one program wrote: its rows in order, and by how much it goes on from row to row."""

    first_line: int
    last_line: int
    newest: Row
    stride: float | None
    places: Container[str]
    """Columns that say where a row stands, and when; a row has new figures in others."""
    no_values: Container[str]
    rows: Thinned[Row] = field(default_factory=lambda: Thinned(MOST_ROWS))
    values: Values = field(default_factory=Values)

    def take(self, row: Row, line: int) -> None:
        """Take the next row, or more columns of the newest one."""
        self.last_line = line
        _note(self.values, row, self.no_values)
        if self.newest.at == row.at and self.newest is not row:
            self.newest.numbers.update(row.numbers)
            return
        self.stride = row.at - self.newest.at or self.stride
        self.newest = row
        self.rows.add(row)

    def take_stretch(self, stretch: Stretch, line: int) -> None:
        """Take rows that come after the newest one, all of them finite."""
        count = len(stretch.places)
        for name, figures in stretch.columns.items():
            if name not in self.no_values:
                self.values.add_many(name, stretch.places, figures)
        newest = stretch.row(count - 1)
        self.rows.add_many(count, lambda index: newest if index == count - 1 else stretch.row(index))
        before = stretch.places[-2] if count > 1 else self.newest.at
        self.stride = newest.at - before or self.stride if math.isfinite(before) else None
        self.newest, self.last_line = newest, line + count - 1

    def continues(self, row: Row) -> bool:
        """Whether the row comes after the newest one, or has other columns of it."""
        return row.at > self.newest.at or self.completes(row)

    def completes(self, row: Row) -> bool:
        """Whether the row has other columns of the newest one."""
        if row.at != self.newest.at:
            return False
        new = {name for name in row.numbers if name not in self.places}
        return not new & self.newest.numbers.keys()

    def expects(self, row: Row) -> bool:
        """Whether the row is the one that has to come next."""
        return self.completes(row) or (self.stride is not None and row.at == self.newest.at + self.stride)


class Writers:
    """The programs that wrote the table `name`, found as its rows come. `ties`: several rows may stand at one place."""

    def __init__(
        self, name: str, doubts: Doubts, *, places: Container[str], no_values: Container[str], ties: bool = False
    ) -> None:
        self._name = name
        self._doubts = doubts
        self._places = places
        self._no_values = no_values
        self._ties = ties
        self._writers: list[Writer] = []
        self.out_of_order = False
        """Rows went back more often than programs can have begun."""

    def take(self, row: Row, line: int) -> None:
        """To the writer that it continues; to a new one where it goes back.

        A program that did not write since a younger one began has ended, unless the row is just what it had to write
        next.
        """
        if not 0 <= row.at <= LAST_PLACE:  # false for NaN too
            self._doubts[f"{self._name}: a row that stands nowhere on the run"] += 1
            return
        writers = self._writers
        youngest = writers[-1].first_line if writers else 0
        fitting = [
            writer
            for writer in writers
            if (writer.continues(row) or (self._ties and row.at == writer.newest.at))
            and (writer.last_line >= youngest or writer.stride is None or writer.expects(row))
        ]
        expecting = [writer for writer in fitting if writer.expects(row)]
        if fitting:
            (_next_of(expecting, writers[-1]) if expecting else max(fitting, key=_place)).take(row, line)
        elif len(writers) < MOST_WRITERS:
            self._begin(row, line).take(row, line)
        else:
            what = f"a row goes back once more after {MOST_WRITERS} times, and is left out"
            self._doubts[f"{self._name}: {what}"] += 1
            self.out_of_order = True

    def take_stretch(self, stretch: Stretch, line: int) -> None:
        """Take many rows: at once where one program wrote them in order, else one by one."""
        if self._writers and stretch.places and stretch.places[0] == self._newest().newest.at:
            self.take(stretch.row(0), line)
            stretch, line = stretch.rest(), line + 1
        if not stretch.places:
            return
        writer = self._only_writer_of(stretch, line)
        if writer is not None:
            writer.take_stretch(stretch, line)
            return
        for index in range(len(stretch.places)):
            self.take(stretch.row(index), line + index)

    def take_more(self, numbers: dict[str, float], line: int) -> None:
        """A row without a place, as a last one with results, belongs to the newest."""
        if self._writers:
            writer = self._writers[-1]
            writer.take(Row(writer.newest.at, numbers), line)

    def histories(self) -> list[History]:
        """What each program wrote: one that resumed the only one before it goes on with what that had written."""
        found: list[History] = []
        ended = -1
        for writer in self._writers:
            own = History(writer.rows.items(), writer.values, writer.first_line, writer.last_line)
            standing = [history for history in found if not history.superseded]
            after = own.first_line > ended
            if after and all(own.rows[0].at <= history.rows[0].at for history in standing):
                found = [*(history._replace(superseded=True) for history in found), own]
            elif after and len(standing) == 1:
                found[-1] = self._resumed(standing[0], own)
            else:
                found.append(own)
            ended = max(ended, own.last_line)
        return found

    def _resumed(self, before: History, own: History) -> History:
        rows = [row for row in before.rows if row.at < own.rows[0].at] + own.rows
        values = Values()
        for row in rows:
            _note(values, row, self._no_values)
        return History(rows, values, before.first_line, own.last_line)

    def _newest(self) -> Writer:
        return max(self._writers, key=lambda writer: writer.last_line)

    def _begin(self, row: Row, line: int) -> Writer:
        stride = self._writers[-1].stride if self._writers else None
        writer = Writer(line, line, row, stride, self._places, self._no_values)
        self._writers.append(writer)
        return writer

    def _only_writer_of(self, stretch: Stretch, line: int) -> Writer | None:
        """The program that wrote all of the stretch; None where that has to be judged row by row."""
        places = stretch.places
        behind = operator.le if self._ties else operator.lt
        # A sum is the quickest way to find a NaN or an infinity among many figures.
        finite = all(math.isfinite(sum(figures)) for figures in (places, *stretch.columns.values()))
        in_order = finite and places[0] >= 0 and places[-1] <= LAST_PLACE
        if not in_order or not all(map(behind, places[:-1], places[1:])):
            return None
        if not self._writers:
            first = Writer(line, line, Row(-math.inf, {}), None, self._places, self._no_values)
            self._writers.append(first)
            return first
        writer = self._newest()
        others = [each for each in self._writers if each is not writer]
        if not behind(writer.newest.at, places[0]) or any(_could_take(other, places) for other in others):
            return None
        return writer


def _could_take(writer: Writer, places: Sequence[float]) -> bool:
    """Whether a program that wrote last some time ago may have written one of these."""
    return writer.stride is None or places[0] <= writer.newest.at + writer.stride <= places[-1]


def _next_of(expecting: list[Writer], youngest: Writer) -> Writer:
    """A program that begins is taken for the only one left, until an older one writes again: then they take turns."""
    alive = [writer for writer in expecting if writer.last_line >= youngest.first_line]
    if len(alive) > 1:
        return min(alive, key=lambda writer: writer.last_line)
    return max(expecting, key=lambda writer: writer.last_line)


def _place(writer: Writer) -> float:
    return writer.newest.at


def _note(values: Values, row: Row, no_values: Container[str]) -> None:
    for key, figure in row.numbers.items():
        if key not in no_values:
            values.add(key, row.at, figure)
