"""Tables of what logs taught: facts, refusals, and how far the predictions of the past were off. It judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.learn.replay import FIGURES, judged
from gpuplan.learn.residuals import residual
from gpuplan.learn.scaling import scaling
from gpuplan.report.table import Column, Table
from gpuplan.verify.measured import groups, log_ranks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.learn.replay import Replayed
    from gpuplan.model import LoggedRun, Measurement
    from gpuplan.report.table import Cell, Kind

__all__ = ["back_test_tables", "lesson_table", "refused_table", "scaling_table"]

LESSON_COLUMNS = (
    Column("run", "Run", importance=10),
    Column("format", "Format", importance=6),
    Column("gpu", "GPU", importance=8),
    Column("ranks", "Ranks", "count", importance=7),
    Column("steps", "Steps", "count", importance=4),
    Column("step_s", "Step", "duration", importance=9),
    Column("epoch_s", "Epoch", "duration", importance=8),
    Column("peak_bytes", "Peak memory", "bytes", importance=8),
    Column("learned", "Learned", importance=10),
)
SCALING_COLUMNS = (
    Column("run", "Run", importance=10),
    Column("base_ranks", "Ranks before", "count", importance=6),
    Column("ranks", "Ranks", "count", importance=9),
    Column("apparent_speedup", "Apparent speed-up", "ratio", importance=10),
    Column("efficiency", "Efficiency", "percent", importance=8),
    Column("base", "Against", importance=5),
)
REFUSED_COLUMNS = (Column("path", "Not learned", importance=10), Column("reason", "Because", importance=9))
TITLES = {
    "step_s": "step time",
    "device_bytes": "device memory",
    "allocated_bytes": "allocated memory",
    "reserved_bytes": "reserved memory",
}


def lesson_table(logs: Sequence[tuple[LoggedRun, str]]) -> Table:
    """Each log with its main figures and what came of it."""
    rows = tuple(_lesson_row(log, came_of_it) for log, came_of_it in logs)
    notes = tuple(dict.fromkeys(f"{log.name}: {text}" for log, _ in logs for text in (*log.measurement.flags,)))
    return Table("learned", "What the logs say", LESSON_COLUMNS, rows, notes)


def scaling_table(logs: Sequence[LoggedRun]) -> Table:
    """How much shorter an epoch is on more ranks, as the logs tell it: whether that is true, the findings say."""
    rows = tuple(
        (
            *(one.name, log_ranks(group.base), log_ranks(one), found.apparent, found.apparent_efficiency),
            group.base.name,
        )
        for group in groups(logs)
        for one in group.wider
        if (found := scaling(_on_ranks(group.base), _on_ranks(one))).apparent is not None
    )
    return Table("scaling", "Epochs on more ranks, as logged", SCALING_COLUMNS, rows)


def refused_table(refused: Iterable[tuple[str, str]]) -> Table:
    """Files that taught nothing, and why."""
    return Table("refused", "Refused", REFUSED_COLUMNS, tuple(refused))


def back_test_tables(replayed: Sequence[Replayed]) -> tuple[Table, ...]:
    """How far each figure was off over the history, and each single prediction, the worst first."""
    return (_accuracy(replayed), *(_single(replayed, figure) for figure in FIGURES if _of(replayed, figure)))


def _lesson_row(log: LoggedRun, came_of_it: str) -> tuple[Cell, ...]:
    found = log.measurement
    peak = found.peak_device_bytes or found.peak_reserved_bytes or found.peak_allocated_bytes or found.peak_host_bytes
    steps = found.steps or None
    return (log.name, log.format, log.gpu, log.ranks, steps, found.step_s, found.epoch_s, peak, came_of_it)


def _on_ranks(log: LoggedRun) -> Measurement:
    return log.measurement.model_copy(update={"world_size": log_ranks(log)})


def _accuracy(replayed: Sequence[Replayed]) -> Table:
    columns = (
        Column("figure", "Figure", importance=10),
        Column("facts", "Facts", "count", importance=7),
        Column("judged", "Judged", "count", importance=8),
        Column("median_error", "Median error", "percent", importance=10),
        Column("mean_error", "Mean error", "percent", importance=9),
        Column("inside", "Inside 80 %", "percent", importance=9),
        Column("median_ratio", "Measured / predicted", "ratio", importance=5),
    )
    rows = tuple(_accuracy_row(replayed, figure) for figure in FIGURES if _of(replayed, figure))
    note = "Each fact is predicted from those before it. Guesses, with nothing known before, are not judged."
    return Table("backtest", "How far predictions were off", columns, rows, (note,))


def _accuracy_row(replayed: Sequence[Replayed], figure: str) -> tuple[Cell, ...]:
    tested, facts = judged(replayed, figure), len(_of(replayed, figure))
    if tested is None:
        return (TITLES[figure], facts, 0, None, None, None, None)
    errors = tested.median_abs_percent / 100, tested.mean_abs_percent / 100
    return (TITLES[figure], facts, tested.pairs, *errors, tested.coverage, tested.median_ratio)


def _single(replayed: Sequence[Replayed], figure: str) -> Table:
    kind: Kind = "duration" if figure.endswith("_s") else "bytes"
    columns = (
        Column("run", "Run", importance=10),
        Column("gpu", "GPU", importance=7),
        Column("predicted", "Predicted", kind, importance=9),
        Column("measured", "Measured", kind, importance=9),
        Column("error", "Error", "difference", importance=8),
        Column("source", "Based on", importance=6),
    )
    chosen = [one for one in _of(replayed, figure) if residual(*one.pair) is not None]
    rows = tuple(
        (one.run, one.gpu, one.pair.predicted, one.pair.measured, _error(one), one.pair.predicted.source)
        for one in sorted(chosen, key=lambda one: -abs(_error(one)))
    )
    return Table(f"backtest-{figure}", f"Every {TITLES[figure]}, the worst first", columns, rows)


def _of(replayed: Sequence[Replayed], figure: str) -> list[Replayed]:
    return [one for one in replayed if one.figure == figure]


def _error(one: Replayed) -> float:
    found = residual(*one.pair)
    return found.percent / 100 if found else 0.0
