"""How wide an interval is by where its figure comes from, and how figures are put together. It measures nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import SOURCES, Assumption, Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Source

__all__ = [
    "ASSUMED",
    "CLOSED_FORM",
    "ELSEWHERE",
    "FITTED",
    "MEASURED_PROBE",
    "MEASURED_RUN",
    "SCALED",
    "UNMEASURED_STEP",
    "Answer",
    "Assumption",
    "Width",
    "around",
    "at_most",
    "exceeds",
    "together",
    "total",
    "weakest",
]


class Width(NamedTuple):
    """The 80 % interval of a figure as multiples of it."""

    low: float
    high: float


MEASURED_RUN = Width(0.90, 1.10)
"""The same run again on the same machine: equal hosts differ by 2 % (time.md), a shared CPU by more."""
MEASURED_PROBE = Width(0.85, 1.15)
"""The mean of a whole run from a few steps of it: they miss slow phases, and heat and neighbours change."""
FITTED = Width(0.80, 1.20)
"""A line through two measured sizes of the same program: 9 % mean error over the next doubling (time.md, Qwen)."""
SCALED = Width(0.70, 1.30)
"""One measured size of the same program, by a ratio of closed forms: 19 % mean error from batch 2 to 8 (time.md)."""
ELSEWHERE = Width(0.65, 1.54)
"""A measurement on another GPU, by a ratio: the 80 % interval of 12,992 public pairs (time.md, rule d)."""
CLOSED_FORM = Width(0.60, 1.80)
"""No measurement of the program: its kernels, data loading and host are unknown."""
ASSUMED = Width(0.20, 5.00)
"""Nothing is known but the order of magnitude of what people run."""


UNMEASURED_STEP = Assumption(text="the step time was not measured at this size", change="`gpuplan probe` measures it")


class Answer(NamedTuple):
    """A figure and what was taken for granted to get it."""

    quantity: Quantity
    assumptions: tuple[Assumption, ...] = ()


def around(value: float, width: Width, *, source: Source, because: str) -> Quantity:
    """`value`, which is not negative, with the interval of `width`."""
    return Quantity(p10=value * width.low, p50=value, p90=value * width.high, source=source, because=because)


def at_most(quantity: Quantity, limit: Quantity) -> Quantity:
    """`quantity` with each of its figures no larger than that of `limit`."""
    lower = {name: min(getattr(quantity, name), getattr(limit, name)) for name in ("p10", "p50", "p90")}
    return quantity.model_copy(update=lower)


def total(parts: Sequence[Quantity], *, because: str) -> Quantity:
    """The sum of figures that err together; its source is that of the largest of them."""
    largest = max(parts, key=lambda part: part.p50)
    return Quantity(
        p10=sum(part.p10 for part in parts),
        p50=sum(part.p50 for part in parts),
        p90=sum(part.p90 for part in parts),
        source=largest.source,
        because=because,
    )


def weakest(*sources: Source) -> Source:
    """The weakest of `sources`."""
    return max(sources, key=SOURCES.index)


Z90 = 1.2816
"""Standard deviations from the median of a normal distribution to its 90th percentile."""


def exceeds(quantity: Quantity, limit: float) -> float:
    """The probability, 0 to 1, that `quantity` is more than `limit`.

    Two half log-normal distributions that meet at the median, one through p10 and the other through p90: an interval
    need not be symmetric. Half a distribution without a width is a step.
    """
    if limit <= 0 or quantity.p50 <= 0:
        return float(quantity.p50 > limit)
    edge = quantity.p10 if limit < quantity.p50 else quantity.p90
    middle = math.log(quantity.p50)
    distance = math.log(limit) - middle
    spread = abs(math.log(edge) - middle) / Z90 if edge > 0 else math.inf
    if not spread:
        return float(distance < 0)
    return 0.5 * (1 - math.erf(distance / spread / math.sqrt(2)))


def together(first: Width, second: Width) -> Width:
    """Of two factors that err apart: the squares of the logs add up."""
    low = math.hypot(math.log(first.low), math.log(second.low))
    high = math.hypot(math.log(first.high), math.log(second.high))
    return Width(math.exp(-low), math.exp(high))
