"""How far predictions were off, one by one and on the whole. It never makes a prediction."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuplan.model import Quantity

__all__ = ["Backtest", "Pair", "Residual", "backtest", "residual"]


class Pair(NamedTuple):
    """What was predicted of one figure, and what it came to."""

    predicted: Quantity
    measured: float


class Residual(NamedTuple):
    """How far a prediction was off."""

    ratio: float
    """Measured over predicted."""
    percent: float
    """Predicted minus measured, in percent of the measured; positive where too much was predicted."""
    inside: bool
    """Whether the measured figure lies between p10 and p90."""


class Backtest(NamedTuple):
    """How far predictions were off on the whole; percentages are of the measured figures."""

    pairs: int
    median_abs_percent: float
    mean_abs_percent: float
    coverage: float
    """Share of measured figures between p10 and p90; 0.8 is honest."""
    median_ratio: float
    """Measured over predicted; above 1 where too little was predicted."""


def residual(predicted: Quantity, measured: float) -> Residual | None:
    """How far a prediction was off; None where one of the figures is not above zero."""
    if measured <= 0 or predicted.p50 <= 0:
        return None
    return Residual(
        ratio=measured / predicted.p50,
        percent=100 * (predicted.p50 - measured) / measured,
        inside=predicted.p10 <= measured <= predicted.p90,
    )


def backtest(pairs: Iterable[Pair]) -> Backtest | None:
    """How far predictions were off on the whole; None without a pair that can be judged."""
    judged = [found for found in (residual(pair.predicted, pair.measured) for pair in pairs) if found is not None]
    if not judged:
        return None
    off = [abs(each.percent) for each in judged]
    return Backtest(
        pairs=len(judged),
        median_abs_percent=statistics.median(off),
        mean_abs_percent=statistics.fmean(off),
        coverage=sum(each.inside for each in judged) / len(judged),
        median_ratio=statistics.median(each.ratio for each in judged),
    )
