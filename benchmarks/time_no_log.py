"""Step times without any log of the program, from public dimensions alone, each model held out. It scores nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from time_longer import Measure, fitted_longer
from time_names import relatives
from time_score import Scored

from gpuplan.data.derates import Longer
from gpuplan.estimate.refit import INSIDE, fitted_tables
from gpuplan.estimate.roofline import DERATE, anchored, launch_seconds, work_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from time_rows import TimeRow
    from time_shapes import Shaped

    from gpuplan.data.derates import Tables

__all__ = ["Guess", "guess", "guesses", "longer_of", "order_right", "scored", "width_of"]

COMPUTE, MEMORY = Longer(1.0, 0.0, 0.0), Longer(0.0, 1.0, 0.0)
LEAST_S = 1e-12
FEWEST_GUESSES = 20
UNFITTED_WIDTH = 0.5


class Guess(NamedTuple):
    """A predicted log of seconds of an item; `way` is what of the interval comes from the way between two GPUs."""

    shaped: Shaped
    log_seconds: float
    way: float

    @property
    def error(self) -> float:
        """Of the log."""
        return self.log_seconds - self.shaped.row.sample.log_seconds


def guesses(
    steps: Sequence[Shaped],
    rows: Sequence[TimeRow],
    *,
    widths: Mapping[tuple[str, bool], float],
    architecture: bool = False,
    chip: bool = False,
) -> list[Guess]:
    """Every step by constants that never saw its model, its relatives (`architecture`), or its `chip` besides.

    `widths` are those of the ways between GPUs.
    """
    name = _architecture if architecture else _model
    fitted: dict[tuple[str, str], Tables | None] = {}
    found = []
    for step in steps:
        key = (name(step.row), step.row.generation if chip else "")
        if key not in fitted:
            held = [(name(row), row.generation if chip else None) for row in rows]
            left = {
                id(row) for row, (model, card) in zip(rows, held, strict=True) if model != key[0] and card != key[1]
            }
            fitted[key] = _fitted(steps, rows, left)
        tables = fitted[key]
        if tables:
            made = replace(tables, widths=widths)
            found.append(guess(step, made) or _by_rates(step))
    return found


def guess(step: Shaped, tables: Tables) -> Guess | None:
    """As `estimate.roofline` has it: the work, or its kernels' start if that takes longer; None off the anchor."""
    found = _anchored(step, tables)
    if found is None:
        return None
    work = work_of(step.footprint, step.row.gpu, rows=step.batch, passes=step.passes)
    launches_s = launch_seconds(step.footprint, step.row.gpu, kernels=work.kernels)
    least = max(work.seconds, launches_s, LEAST_S) / step.items_of_step
    return found._replace(log_seconds=max(found.log_seconds, math.log(least)))


def longer_of(steps: Sequence[Shaped], tables: Tables) -> Longer | None:
    """What steps take over their roofline on the anchor; those that wait for the start of their kernels say nothing."""
    measures = [measure for step in steps if (measure := _measure(step, tables))]
    return fitted_longer(measures) if measures else None


def _measure(step: Shaped, tables: Tables) -> Measure | None:
    """The measured time as if on the anchor, beside what of its roofline is computing and moving bytes."""
    parts = [_anchored(step, replace(tables, longer=only)) for only in (COMPUTE, MEMORY)]
    here = work_of(step.footprint, step.row.gpu, rows=step.batch, passes=step.passes)
    if None in parts or launch_seconds(step.footprint, step.row.gpu, kernels=here.kernels) > here.seconds:
        return None
    logs = [part.log_seconds for part in parts if part]
    return Measure(_model(step.row), *(math.exp(log - step.row.sample.log_seconds) for log in logs))


def scored(found: Sequence[Guess]) -> list[Scored]:
    """Errors, and whether an interval held that was fitted on the errors of the other models."""
    widths = {model: width_of([g for g in found if _model(g.shaped.row) != model]) for model in _models(found)}
    return [_scored(guess, widths[_model(guess.shaped.row)]) for guess in found]


def width_of(found: Sequence[Guess]) -> float:
    """What has to be added to the ways so that INSIDE of the errors lie within."""
    beyond = sorted(math.sqrt(max(0.0, guess.error**2 - guess.way**2)) for guess in found)
    return beyond[math.ceil(INSIDE * len(beyond)) - 1] if len(beyond) >= FEWEST_GUESSES else UNFITTED_WIDTH


def order_right(found: Sequence[Guess]) -> float | None:
    """Of two GPUs that one model ran on: in what share the faster one was named, in percent."""
    series: dict[str, list[Guess]] = defaultdict(list)
    for guess in found:
        series[guess.shaped.row.sample.series].append(guess)
    right = [
        (one.log_seconds < other.log_seconds) == (_measured(one) < _measured(other))
        for members in series.values()
        for one, other in combinations(members, 2)
        if _measured(one) != _measured(other) and one.shaped.row.gpu.name != other.shaped.row.gpu.name
    ]
    return round(100 * sum(right) / len(right), 2) if right else None


def _measured(guess: Guess) -> float:
    return guess.shaped.row.sample.log_seconds


def _models(found: Sequence[Guess]) -> set[str]:
    return {_model(guess.shaped.row) for guess in found}


def _model(row: TimeRow) -> str:
    return row.sample.model


def _architecture(row: TimeRow) -> str:
    return relatives(row.sample.model)


def _fitted(steps: Sequence[Shaped], rows: Sequence[TimeRow], left: set[int]) -> Tables | None:
    tables = fitted_tables([row.sample._replace(stack="") for row in rows if id(row) in left])
    longer = longer_of([step for step in steps if id(step.row) in left], tables)
    return replace(tables, longer=longer) if longer else None


def _anchored(step: Shaped, tables: Tables) -> Guess | None:
    found = anchored(step.footprint, step.row.gpu, rows=step.batch, passes=step.passes, tables=tables)
    if found is None:
        return None
    return Guess(step, math.log(max(found.seconds, LEAST_S) / step.items_of_step), found.way)


def _by_rates(step: Shaped) -> Guess:
    work = work_of(step.footprint, step.row.gpu, rows=step.batch, passes=step.passes)
    return Guess(step, math.log(DERATE["gpu"] * work.seconds / step.items_of_step), 0.0)


def _scored(guess: Guess, width: float) -> Scored:
    covered = abs(guess.error) <= math.hypot(guess.way, width)
    return Scored(guess.shaped.row.family, 100 * (math.exp(guess.error) - 1), covered)
