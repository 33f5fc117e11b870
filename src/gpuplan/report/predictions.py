"""Every prediction beside what was measured, run by run and in one line. Pure; what was not measured is left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan import learn
from gpuplan.report.groups import finished
from gpuplan.report.measures import peak_memory
from gpuplan.report.table import Column, Table, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuplan.model import Estimate, Measurement, Quantity, RunRecord

__all__ = ["HEADLINES", "QUANTITIES", "Prediction", "accuracy", "predictions", "sentence", "tables", "together"]


class Measured(NamedTuple):
    """A quantity that is both predicted and measured."""

    title: str
    kind: Literal["bytes", "duration"]
    predicted: Callable[[Estimate], Quantity]
    measured: Callable[[Measurement], float | None]


QUANTITIES: dict[str, Measured] = {
    "device_bytes": Measured("peak memory", "bytes", lambda one: one.memory.device_bytes, peak_memory),
    "reserved_bytes": Measured(
        "reserved memory", "bytes", lambda one: one.memory.reserved_bytes, lambda one: one.peak_reserved_bytes
    ),
    "allocated_bytes": Measured(
        "allocated memory", "bytes", lambda one: one.memory.allocated_bytes, lambda one: one.peak_allocated_bytes
    ),
    "step_s": Measured("step time", "duration", lambda one: one.step_s, lambda one: one.step_s),
    "duration_s": Measured("duration", "duration", lambda one: one.duration_s, lambda one: one.duration_s),
}
"""By the name of the estimate's field. The peak is the device's as the driver counts it, the host's without a GPU."""


HEADLINES = ("device_bytes", "step_s", "duration_s")
"""What is drawn and listed run by run: fit is judged on device memory, money on the duration."""


class Prediction(NamedTuple):
    """One quantity of one finished run."""

    run: str
    gpu: str
    quantity: str
    predicted: Quantity
    measured: float

    def residual(self) -> learn.Residual:
        """How far it was off; `predictions` leaves out what cannot be judged."""
        found = learn.residual(self.predicted, self.measured)
        assert found is not None
        return found


def predictions(records: Iterable[RunRecord]) -> tuple[Prediction, ...]:
    """Each quantity of each finished run that was both predicted and measured."""
    found = []
    for record in finished(records):
        if record.estimate is not None and record.measurement is not None:
            found += _of_run(record.run.name, record.estimate, record.measurement)
    return tuple(found)


def together(found: Sequence[Prediction]) -> Table:
    """All of them as raw figures, one row each, for CSV and JSON; the unit is in the quantity's name."""
    columns = (
        Column("run", "run", "text", 9),
        Column("gpu", "GPU", "text", 5),
        Column("quantity", "quantity", "text", 9),
        Column("predicted", "predicted", "number", 9),
        Column("measured", "measured", "number", 9),
        Column("error", "error", "difference", 8),
        Column("inside", "inside 80 %", "text", 7),
        Column("source", "source", "text", 6),
        Column("because", "because", "text", 1),
    )
    rows = tuple(
        (one.run, one.gpu, one.quantity, one.predicted, one.measured, *_judged(one), *_why(one)) for one in found
    )
    return Table("predictions", "Predicted and measured", columns, rows)


def tables(found: Sequence[Prediction]) -> tuple[Table, ...]:
    """A table for each quantity, the largest errors first."""
    return tuple(_table(name, _of(found, name)) for name in HEADLINES if _of(found, name))


def accuracy(found: Sequence[Prediction]) -> Table:
    """How far each quantity was off, and how often its interval held what was measured; guesses do not count."""
    columns = (
        Column("quantity", "quantity", "text", 9),
        Column("runs", "runs", "count", 7),
        Column("median_error", "median error", "percent", 9),
        Column("median_ratio", "measured / predicted", "ratio", 6),
        Column("inside", "inside 80 %", "count", 8),
        Column("sources", "based on", "text", 7),
    )
    judged = [one for one in found if not _is_guess(one)]
    rows = tuple(_accuracy_row(name, _of(judged, name)) for name in QUANTITIES if _of(judged, name))
    notes = ["Of 10 intervals 8 should hold what was measured."] if rows else []
    if len(judged) < len(found):
        notes.append(f"{len(found) - len(judged):,} figures were guesses, with nothing known: they are not counted.")
    return Table("accuracy", "How far the predictions were off", columns, rows, tuple(notes))


def sentence(found: Sequence[Prediction]) -> str:
    """`Predicted against measured: peak memory off by 6% (11 of 12 inside the interval), ...`; empty without any."""
    parts = []
    for name in HEADLINES:
        some = [one for one in _of(found, name) if not _is_guess(one)]
        tested = _backtest(some)
        if tested is not None:
            off = show(tested.median_abs_percent / 100, "percent")
            inside = f"{round(tested.coverage * tested.pairs)} of {tested.pairs} inside the 80 % interval"
            parts.append(f"{QUANTITIES[name].title} off by {off} in the median ({inside})")
    return f"Predicted against measured: {', '.join(parts)}." if parts else ""


def _of_run(run: str, estimate: Estimate, measurement: Measurement) -> list[Prediction]:
    pairs = {name: (one.predicted(estimate), one.measured(measurement)) for name, one in QUANTITIES.items()}
    return [
        Prediction(run, estimate.gpu, name, predicted, measured)
        for name, (predicted, measured) in pairs.items()
        if measured is not None and math.isfinite(measured) and learn.residual(predicted, measured) is not None
    ]


def _of(found: Iterable[Prediction], quantity: str) -> list[Prediction]:
    return [one for one in found if one.quantity == quantity]


def _is_guess(one: Prediction) -> bool:
    """Nothing was known of it: holding it against what was measured says nothing of the method."""
    return one.predicted.source == "assumed"


def _why(one: Prediction) -> tuple[str, str]:
    return one.predicted.source.replace("_", " "), one.predicted.because


def _judged(one: Prediction) -> tuple[float, bool]:
    residual = one.residual()
    return residual.percent / 100, residual.inside


def _backtest(found: Iterable[Prediction]) -> learn.Backtest | None:
    return learn.backtest(learn.Pair(one.predicted, one.measured) for one in found)


def _accuracy_row(quantity: str, found: Sequence[Prediction]) -> tuple[str, int, float, float, int, str]:
    tested = _backtest(found)
    assert tested is not None
    sources = ", ".join(dict.fromkeys(_why(one)[0] for one in found))
    inside = round(tested.coverage * tested.pairs)
    return (
        QUANTITIES[quantity].title, tested.pairs, tested.median_abs_percent / 100, tested.median_ratio, inside, sources
    )  # fmt: skip


def _table(quantity: str, found: Sequence[Prediction]) -> Table:
    kind = QUANTITIES[quantity].kind
    columns = (
        Column("run", "run", "text", 9),
        Column("predicted", "predicted", kind, 9),
        Column("measured", "measured", kind, 9),
        Column("error", "error", "difference", 8),
        Column("inside", "inside 80 %", "text", 7),
        Column("source", "based on", "text", 6),
    )
    rows = tuple(
        (one.run, one.predicted, one.measured, *_judged(one), _why(one)[0])
        for one in sorted(found, key=lambda one: -abs(one.residual().percent))
    )
    return Table(f"predicted-{quantity}", f"{QUANTITIES[quantity].title.capitalize()}, run by run", columns, rows)
