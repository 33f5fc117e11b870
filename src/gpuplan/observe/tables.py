"""Reads tables of metrics that programs write their own way: JSON lines without events, or CSV with a header.

Columns are known by their usual names; other numbers are values. Two programs that wrote one file are told apart
where their epochs or steps overlap; what cannot be told apart is said, never averaged.
"""

from __future__ import annotations

from itertools import chain, groupby, islice
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from gpuplan.observe.timing import CLOCKS, TIMES
from gpuplan.observe.writers import Row, Writers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuplan.observe.records import Doubts
    from gpuplan.observe.values import Values
    from gpuplan.observe.writers import History

__all__ = [
    "HEAD_ROWS",
    "PLACES",
    "ROLES",
    "Axis",
    "Place",
    "Table",
    "axis_of",
    "place_of",
    "read_table",
]

Axis: TypeAlias = Literal["step", "epoch"]

STEP = (
    "step", "global_step", "steps", "iteration", "iter", "it", "round", "_step", "trainer/global_step",
    "train/global_step",
)  # fmt: skip
EPOCH = ("epoch", "epochs", "train/epoch")
PLACES = frozenset({*STEP, *EPOCH, *CLOCKS})
ROLES = PLACES | TIMES
HEAD_ROWS = 200


class Place(NamedTuple):
    """Where the rows of a table stand on the run."""

    axis: Axis
    by_order: bool = False
    """Rows are at their order, not at a step."""

    def at(self, numbers: Mapping[str, float], line: int) -> float | None:
        """Where this row stands."""
        return float(line) if self.by_order else _at(numbers, self.axis)

    def key(self, names: Sequence[str]) -> str | None:
        """The column of these that says so, where one does for every row."""
        keys = STEP if self.axis == "step" else EPOCH
        return None if self.by_order else next((key for key in keys if key in names), None)


class Table(NamedTuple):
    """What a file of metrics comes to: of the program that wrote most of it, if there were several."""

    axis: Axis
    rows: list[Row]
    values: Values
    others: tuple[Values, ...] = ()
    by_order: bool = False
    """Rows are at their order, not at a step."""


def read_table(name: str, rows: Iterable[dict[str, float]], doubts: Doubts) -> Table | None:
    """The table in the rows of the file `name`, each its figures by what they mean, as `logs.columns.Cells` reads them.

    None if no row has a figure and a place on the run. Rows of a program that writes many for each epoch, and counts no
    steps, have their order for a place.
    """
    rows = iter(rows)
    head = list(islice(rows, HEAD_ROWS))
    place = place_of(head)
    if place is None:
        return None
    writers = Writers(name, doubts, places=PLACES, no_values=ROLES)
    for line, numbers in enumerate(chain(head, rows)):
        at = place.at(numbers, line)
        if not numbers:
            doubts[f"{name}: a row has no numbers"] += 1
        elif at is not None:
            writers.take(Row(at, numbers), line)
        else:
            writers.take_more(numbers, line)
    histories = writers.histories()
    if not histories:
        return None
    return _table(name, place.axis, histories, doubts)._replace(by_order=place.by_order)


def place_of(head: Sequence[dict[str, float]]) -> Place | None:
    """Where rows like these stand on the run; None if none of them has a step or an epoch."""
    axis = next((found for found in map(axis_of, head) if found), None)
    if axis is None:
        return None
    by_order = axis == "epoch" and _repeats(head)
    return Place("step" if by_order else axis, by_order=by_order)


def _repeats(head: Sequence[dict[str, float]]) -> bool:
    """Whether most epochs have three rows or more, one behind the other."""
    runs = [
        len(list(group)) for place, group in groupby(_at(numbers, "epoch") for numbers in head) if place is not None
    ]
    return bool(runs) and median(runs) >= 3


def axis_of(numbers: Mapping[str, float]) -> Axis | None:
    """Whether these columns say at which step or at which epoch a row stands."""
    if any(key in numbers for key in STEP):
        return "step"
    return "epoch" if any(key in numbers for key in EPOCH) else None


def _at(numbers: Mapping[str, float], axis: str | None) -> float | None:
    keys = STEP if axis == "step" else EPOCH
    found = next((numbers[key] for key in keys if key in numbers), None)
    return found if found is not None and 0 <= found <= 1e12 else None


def _table(name: str, axis: Axis, found: list[History], doubts: Doubts) -> Table:
    histories = [history for history in found if not history.superseded]
    main = max(histories, key=lambda history: len(history.rows))
    if len(histories) > 1:
        spans = "; ".join(f"{each.rows[0].at:g} to {each.rows[-1].at:g} ({len(each.rows)} rows)" for each in histories)
        doubts[f"{name}: {len(histories)} programs wrote it at the same time, {axis}s {spans}; the longest counts"] += 1
    others = tuple(history.values for history in histories if history is not main)
    return Table(axis, main.rows, main.values, others)
