"""What a log says of its epochs: how many it has, their losses, their seconds. Of a log by step it is reckoned.

An epoch that is not over counts for nothing; a time of epochs that cannot be right is said and left out.
"""

from __future__ import annotations

import math
from itertools import pairwise, takewhile
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.observe.tables import PLACES
from gpuplan.observe.timing import BAR, BAR_NUMBER, EPOCH_SECONDS
from gpuplan.observe.values import direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.observe.records import Doubts
    from gpuplan.observe.tables import Table
    from gpuplan.observe.writers import Row

__all__ = ["LOSSES", "NAMES", "Timed", "checked_times", "finished_epochs", "series", "stated_epoch"]

LOSSES = ("train_loss_epoch", "loss", "train_loss", "train/loss", "training_loss", "train_loss_step", "loss/train")
"""Names of the training loss, the surest first."""
NAMES = (
    dict.fromkeys(LOSSES, "loss")
    | dict.fromkeys(("eval_loss", "eval/loss", "valid_loss", "validation_loss", "val/loss", "loss/val"), "val_loss")
    | dict.fromkeys(EPOCH_SECONDS, "epoch_s")
)
"""Names of per-epoch series that mean the same."""
STATED = ("epoch", "epochs", "train/epoch")
WITHOUT_UNIT = ("train_time", "epoch_time", "time_per_epoch")
LONGEST_UNITLESS_S = 10_000.0
FEWEST_TO_GROW = 4
MOST_EPOCHS = 1000
LAST_EPOCH = 1e9
NEARLY = 0.05
"""Of an epoch: what rounding may leave out of its end."""
WHOLE = 0.9
"""Of the rows of the epoch before: how many the last one needs to count as over."""


class Timed(NamedTuple):
    """The rows of a table by epoch, their times checked, and how these were taken."""

    rows: list[Row]
    notes: tuple[str, ...] = ()


def finished_epochs(table: Table) -> int:
    """How many epochs the log tells of; the numbering may begin at 0 or at 1."""
    stated = [epoch for row in table.rows if (epoch := _epoch_of(row, table)) is not None]
    if not stated:
        return _bars(table.rows)
    if any(epoch != int(epoch) for epoch in stated):
        return int(max(stated) + NEARLY)
    return int(max(stated)) + _begins_at_0(table, stated)


def series(table: Table) -> dict[str, tuple[float, ...]]:
    """Named figures by epoch, `epoch` itself among them, each as far as every epoch has one; at most 1000 epochs."""
    whole = all(row.at == int(row.at) for row in table.rows[:MOST_EPOCHS])
    by_row = [(row.at, [row]) for row in table.rows[:MOST_EPOCHS]]
    rows = by_row if table.axis == "epoch" and whole else _over(table)
    if not rows:
        return {}
    found = {"epoch": tuple(epoch for epoch, _ in rows)}
    names = _names(table, rows)
    for name in names:
        figures = (_figure(name, group) for _, group in rows)
        known = tuple(takewhile(math.isfinite, figures))
        if known:
            found.setdefault(NAMES.get(name, name), known)
    if table.axis == "step" and all(BAR in row.numbers for _, group in rows for row in group):
        seconds = tuple(max(row.numbers[BAR] for row in group) for _, group in rows)
        if _starts_anew(rows):
            found.setdefault("epoch_s", seconds)
    return found


def checked_times(table: Table, name: str, doubts: Doubts) -> Timed:
    """The rows with seconds of an epoch in them: those of a clock that only grows become the differences.

    A time without a unit that may well be milliseconds is left out.
    """
    key = next((key for key in EPOCH_SECONDS if any(key in row.numbers for row in table.rows)), None)
    if table.axis != "epoch" or key is None:
        return Timed(table.rows)
    figures = [row.numbers[key] for row in table.rows if key in row.numbers]
    steps = [later - earlier for earlier, later in pairwise(figures)]
    if len(figures) >= FEWEST_TO_GROW and min(steps) > 0 and 0 < figures[0] <= 3 * median(steps):
        doubts[f"{name}: {key} only grows, as a clock does: the differences count"] += 1
        return checked_times(table._replace(rows=_differences(table.rows, key)), name, doubts)
    typical = median(figures)
    if key not in WITHOUT_UNIT:
        return Timed(table.rows)
    if typical > LONGEST_UNITLESS_S:
        doubts[f"{name}: {key} has no unit, and {typical:g} may be milliseconds: left out"] += 1
        return Timed([_without(row, key) for row in table.rows])
    return Timed(table.rows, (f"{key} has no unit; taken as seconds",))


def stated_epoch(numbers: Mapping[str, float]) -> float | None:
    """The epoch that a row says it is of, if that is one."""
    found = next((numbers[key] for key in STATED if key in numbers), None)
    return found if found is not None and 0 <= found <= LAST_EPOCH else None


def _epoch_of(row: Row, table: Table) -> float | None:
    return row.at if table.axis == "epoch" else stated_epoch(row.numbers)


def _bars(rows: Sequence[Row]) -> int:
    """How many bars one after the other were drawn; one bar alone may be of many epochs."""
    number = max((row.numbers.get(BAR_NUMBER, 0.0) for row in rows), default=0.0)
    return int(number) if number > 1 else 0


def _begins_at_0(table: Table, stated: Sequence[float]) -> bool:
    """Whether the first epoch has the number 0; a row at 0 before training has no figures of training."""
    if min(stated) != 0:
        return False
    if table.axis == "step":
        return True
    first, rest = table.rows[0].numbers, table.rows[1:]
    of_training = [name for name in (*LOSSES, *EPOCH_SECONDS) if any(name in row.numbers for row in rest)]
    return not rest or not of_training or any(name in first for name in of_training)


def _over(table: Table) -> list[tuple[float, list[Row]]]:
    """The rows of each epoch that is over, by its number from 1, of a log whose rows stand within epochs."""
    stated = [(row, _epoch_of(row, table)) for row in table.rows]
    known = [(row, epoch) for row, epoch in stated if epoch is not None and 0 <= epoch <= MOST_EPOCHS]
    if not known and _bars(table.rows):
        known = [(row, row.numbers[BAR_NUMBER]) for row in table.rows if BAR_NUMBER in row.numbers]
    whole = all(epoch == int(epoch) for _, epoch in known)
    offset = 1 if whole and known and min(epoch for _, epoch in known) == 0 else 0
    by_epoch: dict[float, list[Row]] = {}
    for row, epoch in known:
        by_epoch.setdefault(epoch + offset if whole else max(1.0, math.ceil(epoch - 1e-6)), []).append(row)
    groups = list(by_epoch.items())
    last = max((epoch for _, epoch in known), default=0.0)
    if groups and not _is_over(groups, last, whole=whole):
        groups.pop()
    return groups


def _is_over(groups: Sequence[tuple[float, list[Row]]], last: float, *, whole: bool) -> bool:
    """Whether the last epoch came to its end: by its number, else by the rows of the one before."""
    if not whole:
        return last >= groups[-1][0] - NEARLY
    return len(groups) > 1 and len(groups[-1][1]) >= WHOLE * len(groups[-2][1])


def _starts_anew(rows: Sequence[tuple[float, list[Row]]]) -> bool:
    """Whether the clock of a bar begins anew with each epoch."""
    return len(rows) > 1 and all(
        later[0].numbers[BAR] < earlier[-1].numbers[BAR] for (_, earlier), (_, later) in pairwise(rows)
    )


def _names(table: Table, rows: Sequence[tuple[float, list[Row]]]) -> list[str]:
    """Of a table by epoch all names, the surest of a loss first; of one by step the figures that tell good from bad."""
    met = dict.fromkeys(name for row in rows[0][1] for name in row.numbers if name not in PLACES)
    names = [*(name for name in LOSSES if name in met), *(name for name in met if name not in LOSSES)]
    return names if table.axis == "epoch" else [name for name in names if direction(name) is not None]


def _figure(name: str, group: Sequence[Row]) -> float:
    """The mean of an epoch's training losses, the last of anything else; NaN without any."""
    figures = [row.numbers[name] for row in group if name in row.numbers]
    if not figures:
        return math.nan
    return fmean(figures) if name in LOSSES[1:] else figures[-1]


def _differences(rows: Sequence[Row], key: str) -> list[Row]:
    before, found = 0.0, []
    for row in rows:
        figure = row.numbers.get(key)
        if figure is None:
            found.append(row)
            continue
        found.append(row._replace(numbers=row.numbers | {key: figure - before}))
        before = figure
    return found


def _without(row: Row, key: str) -> Row:
    return row._replace(numbers={name: figure for name, figure in row.numbers.items() if name != key})
