"""What a table of metrics comes to, as fields of a measurement, and how they were taken. It never reads a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.observe.timing import timing
from gpuplan.observe.values import Weighted, direction, quantile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuplan.observe.records import Doubts
    from gpuplan.observe.tables import Axis, Table
    from gpuplan.observe.values import Values

__all__ = ["DIVERGED", "Summary", "lost", "step_fields", "summary"]

DIVERGED = "diverged: "
"""How a flag begins that says the training has failed."""


class Summary(NamedTuple):
    """Fields of a Measurement, and what has to be known to read them."""

    fields: dict[str, Any]
    notes: tuple[str, ...]
    tokens_per_s_of_rank: float | None = None


def summary(table: Table, name: str, doubts: Doubts) -> Summary:
    """The fields that the table in the file `name` states."""
    found = timing(table.rows, name, doubts, clocked=table.axis == "step" and not table.by_order)
    last = max(row.at for row in table.rows)
    lost(table.values, table.axis, doubts)
    fields = {
        "steps": int(last) if table.axis == "step" and not table.by_order else 0,
        "epochs": int(_epochs(table)),
        "epoch_s": sum(found.epochs_s) / len(found.epochs_s) if found.epochs_s else None,
        "samples_per_s": _middle(found.samples_per_s),
        "tokens_per_s": _middle(found.tokens_per_s),
        "final": table.values.last(),
        "best": table.values.best(),
    }
    return Summary(fields | step_fields(found.steps), found.notes, _middle(found.tokens_per_s_of_rank))


def step_fields(steps: Iterable[Weighted]) -> dict[str, float]:
    """The median and the spread of step times; nothing without any."""
    found = quantile(steps, (0.1, 0.5, 0.9))
    return dict(zip(("step_p10_s", "step_s", "step_p90_s"), found, strict=True)) if found else {}


def lost(values: Values, axis: Axis, doubts: Doubts) -> None:
    """Say which losses ended as no finite number, and which values were none for a while."""
    for name, value in values.by_name.items():
        if name in values.lost():
            doubts[f"{DIVERGED}{name} is not a finite number at {axis} {value.lost_at:g}"] += 1
        elif value.not_finite and direction(name) is not None:
            doubts[f"{name} was no finite number for a while"] += value.not_finite


def _middle(rates: Iterable[Weighted]) -> float | None:
    found = quantile(rates, (0.5,))
    return found[0] if found else None


def _epochs(table: Table) -> float:
    if table.axis == "epoch":
        return max(row.at for row in table.rows)
    stated = [row.numbers.get("epoch", 0.0) for row in table.rows]
    return max((epoch for epoch in stated if 0 <= epoch <= 1e9), default=0.0)
