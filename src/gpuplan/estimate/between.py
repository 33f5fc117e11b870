"""A step time between measured ones of the same program: what the closed form misses, as a surface through them.

It looks at one device alone, and never at another program.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.answers import FITTED, SCALED, UNMEASURED_STEP, Answer, Assumption, around, together
from gpuplan.estimate.ridge import Equation, ridge
from gpuplan.estimate.roofline import step_seconds
from gpuplan.estimate.scaling import on_ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue
    from gpuplan.estimate.scaling import Ranked

__all__ = ["Between", "Lined", "Sized", "between", "between_sizes"]

REACH = 4.0
"""How far from the nearest measured size the surface is trusted, as a ratio of rows or of work a row."""
FLATNESS = 0.1
"""Penalty on its slopes, in squared logs: two sizes that hardly differ make no slope of their noise."""
NEARNESS = 0.1
"""Squared log distance at which a measurement counts half of one at the size itself."""
LEVEL_PENALTY = 1e-6
TOLERANCE = 0.02
"""Of a log: sizes this near are the same."""


class Sized(NamedTuple):
    """A measured step: rows of one pass, seconds of its closed form, and what it took."""

    rows: float
    closed_s: float
    measured_s: float


class Between(NamedTuple):
    """The seconds at a size, and whether it lies between the measured sizes or beyond them."""

    seconds: float
    is_inside: bool


class Lined(NamedTuple):
    """The answer, and the measurements that the surface goes through."""

    answer: Answer
    used: tuple[Clue, ...]


def between_sizes(case: Case, timed: Sequence[Clue], *, step_s: Callable[[Clue], float]) -> Lined | None:
    """The step of `case` from the `timed` ones of its program on this device: on as many ranks, else on one rank.

    `step_s` is the device's part of a measured step, in seconds.
    """
    own = step_seconds(case)
    if own is None or case.rows is None:
        return None
    for ranks in dict.fromkeys((case.run.ranks, 1)):
        alike = [clue for clue in timed if clue.evidence.ranks == ranks and clue.case.rows]
        closed = [(clue, roofline) for clue in alike if (roofline := step_seconds(clue.case)) is not None]
        sizes = [Sized(clue.case.rows or 1, roofline.seconds, step_s(clue)) for clue, roofline in closed]
        found = between(sizes, rows=case.rows, closed_s=own.seconds)
        if found is not None:
            ranked = on_ranks(case, found.seconds) if ranks != case.run.ranks else None
            used = tuple(clue for clue, _ in closed)
            return Lined(_answer(found, ranked, f"{len(used)} measured sizes on {case.gpu.name}"), used)
    return None


def _answer(found: Between, ranked: Ranked | None, sizes: str) -> Answer:
    because = f"scaled: {'between' if found.is_inside else 'beyond'} {sizes}, as far as the closed form misses them"
    width = FITTED if found.is_inside else SCALED
    assumptions: tuple[Assumption, ...] = (UNMEASURED_STEP,)
    seconds = found.seconds
    if ranked is not None:
        seconds, width = seconds * ranked.slow, together(width, ranked.width)
        because, assumptions = f"{because}; {ranked.because}", (*assumptions, ranked.assumption)
    return Answer(around(seconds, width, source="scaled", because=because), assumptions)


def between(points: Sequence[Sized], *, rows: float, closed_s: float) -> Between | None:
    """The step of `rows` rows and `closed_s` by closed form, from two or more measured ones; None without or too far.

    What the closed form misses is a plane over log rows and log work a row, fitted to the measurements around the
    size, the nearer ones counting more; its slopes are kept small, so that beyond them it soon is level.
    """
    steps = [_Step(math.log(one.rows / rows), _log_work(one, rows, closed_s), one) for one in points]
    if len({(round(step.by_rows, 2), round(step.by_work, 2)) for step in steps}) < 2:
        return None
    if min(max(abs(step.by_rows), abs(step.by_work)) for step in steps) > math.log(REACH):
        return None
    equations = [
        Equation(
            {"level": 1.0, "rows": step.by_rows, "work": step.by_work},
            math.log(step.size.measured_s / step.size.closed_s),
            NEARNESS / (NEARNESS + step.by_rows**2 + step.by_work**2),
        )
        for step in steps
    ]
    level = ridge(equations, {"level": LEVEL_PENALTY, "rows": FLATNESS, "work": FLATNESS})["level"]
    inside = _spans([step.by_rows for step in steps]) and _spans([step.by_work for step in steps])
    return Between(closed_s * math.exp(level), inside)


class _Step(NamedTuple):
    """How far a measured size is from the one in question, in logs."""

    by_rows: float
    by_work: float
    size: Sized


def _log_work(one: Sized, rows: float, closed_s: float) -> float:
    return math.log((one.closed_s / one.rows) / (closed_s / rows))


def _spans(distances: Sequence[float]) -> bool:
    return min(distances) <= TOLERANCE and max(distances) >= -TOLERANCE
