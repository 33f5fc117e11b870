"""Reads tables of metrics that programs write their own way: JSON lines without events, or CSV with a header.

Columns are known by their usual names; other numbers are values. Two programs that wrote one file are told apart
where their epochs or steps overlap; what cannot be told apart is said, never averaged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, groupby, islice, pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gpuplan.observe.records import named_numbers
from gpuplan.observe.values import Thinned, Values, Weighted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuplan.observe.records import Doubts

__all__ = ["Table", "Timing", "read_table", "timing"]

STEP = ("step", "global_step", "steps", "iteration", "iter", "it", "_step", "trainer/global_step", "train/global_step")
EPOCH = ("epoch", "epochs", "train/epoch")
STEP_SECONDS = {
    "step_time": 1.0,
    "step_time_s": 1.0,
    "step_s": 1.0,
    "step_seconds": 1.0,
    "seconds_per_step": 1.0,
    "time_per_step": 1.0,
    "iter_time": 1.0,
    "iteration_time": 1.0,
    "step_time_ms": 1e-3,
    "ms_per_step": 1e-3,
    "iter_time_ms": 1e-3,
}
EPOCH_SECONDS = ("train_time", "train_time_s", "epoch_time", "epoch_time_s", "epoch_seconds", "time_per_epoch")
RATES = ("samples_per_second", "train_samples_per_second", "samples_per_s", "examples_per_second")
CLOCKS = ("time_s", "timestamp", "_timestamp", "wall_time", "walltime")
PLACES = frozenset({*STEP, *EPOCH, *CLOCKS})
ROLES = PLACES | {*STEP_SECONDS, *EPOCH_SECONDS, *RATES}
HEAD_ROWS = 200
MOST_WRITERS = 32
MOST_ROWS = 2000
MOST_COLUMNS = 64
MOST_SECONDS = 1e8
MOST_RATE = 1e12


class Row(NamedTuple):
    """One row: where on the run it stands, and its numbers by column in lower case."""

    at: float
    numbers: dict[str, float]


@dataclass(slots=True)
class Writer:
    """What one program wrote: its rows in order, and by how much it goes on from row to row."""

    first_line: int
    last_line: int
    newest: Row
    stride: float | None
    rows: Thinned[Row] = field(default_factory=lambda: Thinned(MOST_ROWS))
    values: Values = field(default_factory=Values)

    def take(self, row: Row, line: int) -> None:
        """Take the next row, or more columns of the newest one."""
        self.last_line = line
        _note(self.values, row)
        if self.newest.at == row.at and self.newest is not row:
            self.newest.numbers.update(row.numbers)
            return
        self.stride = row.at - self.newest.at or self.stride
        self.newest = row
        self.rows.add(row)

    def continues(self, row: Row) -> bool:
        """Whether the row comes after the newest one, or has other columns of it."""
        return row.at > self.newest.at or self.completes(row)

    def completes(self, row: Row) -> bool:
        """Whether the row has other columns of the newest one."""
        new = row.numbers.keys() - PLACES
        return row.at == self.newest.at and not new & self.newest.numbers.keys()

    def expects(self, row: Row) -> bool:
        """Whether the row is the one that has to come next."""
        return self.completes(row) or (self.stride is not None and row.at == self.newest.at + self.stride)


class Table(NamedTuple):
    """What a file of metrics comes to: of the program that wrote most of it, if there were several."""

    axis: Literal["step", "epoch"]
    rows: list[Row]
    values: Values
    others: tuple[Values, ...] = ()
    by_order: bool = False
    """Rows are at their order, not at a step."""


class Timing(NamedTuple):
    """Seconds that a table states, the first ones left out as warm-up."""

    epochs_s: tuple[float, ...]
    steps: tuple[Weighted, ...]
    samples_per_s: tuple[Weighted, ...]


def read_table(name: str, rows: Iterable[Mapping[str, Any]], doubts: Doubts) -> Table | None:
    """The table in the rows of the file `name`; None if no row has a number and a place on the run.

    Rows of a program that writes many for each epoch, and counts no steps, have their order for a place.
    """
    numbered = (_numbers(cells) for cells in rows)
    head = list(islice(numbered, HEAD_ROWS))
    axis = next((found for found in map(_axis, head) if found), None)
    by_order = axis == "epoch" and _repeats(head)
    writers: list[Writer] = []
    for line, numbers in enumerate(chain(head, numbered)):
        at = float(line) if by_order else _at(numbers, axis)
        if not numbers:
            doubts[f"{name}: a row has no numbers"] += 1
        elif at is not None:
            _assign(writers, Row(at, numbers), line, doubts, name)
        elif writers:
            # A row without a place, as a last one with results, belongs to the newest.
            writers[-1].take(Row(writers[-1].newest.at, numbers), line)
    if not writers or axis is None:
        return None
    return _table(name, "step" if by_order else axis, writers, doubts)._replace(by_order=by_order)


def timing(table: Table, name: str, doubts: Doubts) -> Timing:
    """The seconds in a table. Of the epochs the first is left out, of the steps the first tenth, at most ten."""
    epochs = [_seconds(row, EPOCH_SECONDS, name, doubts) for row in table.rows]
    epochs_s = [seconds for seconds in epochs if seconds is not None]
    steps = [Weighted(found, 1) for found in (_step_seconds(row) for row in table.rows) if found is not None]
    rates = [row.numbers[key] for row in table.rows for key in RATES if 0 < row.numbers.get(key, 0) < MOST_RATE]
    warm_up = min(10, len(steps) // 10) or min(1, max(0, len(steps) - 1))
    return Timing(
        epochs_s=tuple(epochs_s[1:] or epochs_s),
        steps=tuple(steps[warm_up:] or _between(table)),
        samples_per_s=tuple(Weighted(rate, 1) for rate in rates),
    )


def _numbers(cells: Mapping[str, Any]) -> dict[str, float]:
    return {key.lower(): figure for key, figure in islice(named_numbers(cells), MOST_COLUMNS)}


def _repeats(head: list[dict[str, float]]) -> bool:
    """Whether most epochs have three rows or more, one behind the other."""
    runs = [
        len(list(group)) for place, group in groupby(_at(numbers, "epoch") for numbers in head) if place is not None
    ]
    return bool(runs) and median(runs) >= 3


def _axis(numbers: Mapping[str, float]) -> Literal["step", "epoch"] | None:
    if any(key in numbers for key in STEP):
        return "step"
    return "epoch" if any(key in numbers for key in EPOCH) else None


def _at(numbers: Mapping[str, float], axis: str | None) -> float | None:
    keys = STEP if axis == "step" else EPOCH
    found = next((numbers[key] for key in keys if key in numbers), None)
    return found if found is not None and 0 <= found <= 1e12 else None


def _assign(writers: list[Writer], row: Row, line: int, doubts: Doubts, name: str) -> None:
    """To the writer that it continues; to a new one where it goes back.

    A program that did not write since a younger one began has ended, unless the row is just what it had to write next.
    """
    youngest = writers[-1].first_line if writers else 0
    fitting = [
        writer
        for writer in writers
        if writer.continues(row) and (writer.last_line >= youngest or writer.stride is None or writer.expects(row))
    ]
    expecting = [writer for writer in fitting if writer.expects(row)]
    if fitting:
        (_next_of(expecting, writers[-1]) if expecting else max(fitting, key=_place)).take(row, line)
    elif len(writers) < MOST_WRITERS:
        writer = Writer(line, line, row, stride=writers[-1].stride if writers else None)
        writer.take(row, line)
        writers.append(writer)
    else:
        doubts[f"{name}: a row goes back once more after {MOST_WRITERS} times, and is left out"] += 1


def _next_of(expecting: list[Writer], youngest: Writer) -> Writer:
    """A program that begins is taken for the only one left, until an older one writes again: then they take turns."""
    alive = [writer for writer in expecting if writer.last_line >= youngest.first_line]
    if len(alive) > 1:
        return min(alive, key=lambda writer: writer.last_line)
    return max(expecting, key=lambda writer: writer.last_line)


def _place(writer: Writer) -> float:
    return writer.newest.at


def _table(name: str, axis: Literal["step", "epoch"], writers: list[Writer], doubts: Doubts) -> Table:
    histories = _joined(writers)
    main = max(histories, key=len)
    if len(histories) > 1:
        spans = "; ".join(f"{rows[0].at:g} to {rows[-1].at:g} ({len(rows)} rows)" for rows in histories)
        doubts[f"{name}: {len(histories)} programs wrote it at the same time, {axis}s {spans}; the longest counts"] += 1
    others = tuple(_values(rows) for rows in histories if rows is not main)
    return Table(axis, main, writers[0].values if len(writers) == 1 else _values(main), others)


def _joined(writers: list[Writer]) -> list[list[Row]]:
    """The rows of each program: one that began after the others had ended has begun anew, or resumed the only one."""
    histories: list[list[Row]] = []
    ended = -1
    for writer in writers:
        rows = writer.rows.items()
        begins_anew = all(rows[0].at <= history[0].at for history in histories)
        if writer.first_line > ended and begins_anew:
            histories = [rows]
        elif writer.first_line > ended and len(histories) == 1:
            histories = [[row for row in histories[0] if row.at < rows[0].at] + rows]
        else:
            histories.append(rows)
        ended = max(ended, writer.last_line)
    return histories


def _values(rows: list[Row]) -> Values:
    values = Values()
    for row in rows:
        _note(values, row)
    return values


def _note(values: Values, row: Row) -> None:
    for key, figure in row.numbers.items():
        if key not in ROLES:
            values.add(key, row.at, figure)


def _seconds(row: Row, keys: Iterable[str], name: str, doubts: Doubts) -> float | None:
    found = next((row.numbers[key] for key in keys if key in row.numbers), None)
    if found is None or 0 < found < MOST_SECONDS:
        return found
    doubts[f"{name}: a row without seconds above zero"] += 1
    return None


def _step_seconds(row: Row) -> float | None:
    found = next((row.numbers[key] * factor for key, factor in STEP_SECONDS.items() if key in row.numbers), None)
    return found if found is not None and 0 < found < MOST_SECONDS else None


def _between(table: Table) -> list[Weighted]:
    """Seconds of a step by the clock of the rows, where they have one; pairs that go backwards are left out."""
    if table.axis != "step" or table.by_order:
        return []
    clocked = [(row.at, next((row.numbers[key] for key in CLOCKS if key in row.numbers), None)) for row in table.rows]
    known = [(at, clock) for at, clock in clocked if clock is not None]
    found = [
        Weighted((late - early) / (after - before), after - before)
        for (before, early), (after, late) in pairwise(known)
        if after > before
    ]
    return [each for each in found if 0 < each.value < MOST_SECONDS]
