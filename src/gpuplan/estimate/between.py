"""A step time between two measured ones of the same program: what the closed form misses, drawn as a line between them.

It looks at one device alone, and never at another program.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.answers import FITTED, SCALED, UNMEASURED_STEP, Answer, Assumption, around, together
from gpuplan.estimate.roofline import step_seconds
from gpuplan.estimate.scaling import on_ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue
    from gpuplan.estimate.scaling import Ranked

__all__ = ["Between", "Lined", "Sized", "between", "between_sizes"]

ALIKE = 1.05
"""Closed forms this near are of one size: a line through two such points would follow their noise."""
REACH = 4.0
"""How far beyond the measured sizes the line is trusted, as a ratio of closed forms."""
LEAST_SLOPE, MOST_SLOPE = 0.5, 1.5
"""Of log time over log closed form: 1 where the closed form has every size right."""


class Sized(NamedTuple):
    """A measured step: seconds of its closed form, and what it took."""

    closed_s: float
    measured_s: float


class Between(NamedTuple):
    """The seconds at a size, and whether it lies between the two measured sizes or beyond them."""

    seconds: float
    is_inside: bool


class Lined(NamedTuple):
    """The answer, and the measurements that the line goes through."""

    answer: Answer
    used: tuple[Clue, ...]


def between_sizes(case: Case, timed: Sequence[Clue], *, step_s: Callable[[Clue], float]) -> Lined | None:
    """The step of `case` from the `timed` ones of its program on this device: on as many ranks, else on one rank.

    `step_s` is the device's part of a measured step, in seconds.
    """
    own = step_seconds(case)
    if own is None:
        return None
    for ranks in dict.fromkeys((case.run.ranks, 1)):
        alike = [clue for clue in timed if clue.evidence.ranks == ranks]
        closed = [(clue, roofline) for clue in alike if (roofline := step_seconds(clue.case)) is not None]
        sizes = [Sized(roofline.seconds, step_s(clue)) for clue, roofline in closed]
        found = between(sizes, own.seconds)
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


def between(points: Sequence[Sized], closed_s: float) -> Between | None:
    """The line through the two nearest sizes, in logarithms; None without two, or too far beyond them.

    Inside the measured sizes the nearest below and the nearest above count.
    """
    if len(points) < 2:
        return None
    sizes = sorted(points)
    below = [point for point in sizes if point.closed_s <= closed_s]
    above = [point for point in sizes if point.closed_s > closed_s]
    is_inside = bool(below and above)
    if is_inside:
        low, high = below[-1], above[0]
        if high.closed_s < ALIKE * low.closed_s:
            return Between(math.sqrt(low.measured_s * high.measured_s), is_inside)
    else:
        pair = _apart(below[::-1] or above)
        if pair is None or not 1 / REACH <= closed_s / pair[0].closed_s <= REACH:
            return None
        low, high = sorted(pair)
    slope = math.log(high.measured_s / low.measured_s) / math.log(high.closed_s / low.closed_s)
    if not is_inside:
        slope = min(max(slope, LEAST_SLOPE), MOST_SLOPE)
    nearest = min(low, high, key=lambda point: abs(math.log(closed_s / point.closed_s)))
    return Between(nearest.measured_s * (closed_s / nearest.closed_s) ** slope, is_inside)


def _apart(nearest_first: Sequence[Sized]) -> tuple[Sized, Sized] | None:
    """The nearest, and the next that is of another size."""
    first = nearest_first[0]
    other = next((point for point in nearest_first if not 1 / ALIKE < point.closed_s / first.closed_s < ALIKE), None)
    return (first, other) if other else None
