"""Fits what operators take over their roofline: one factor for arithmetic, one for memory. It reads no file."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.derates import Longer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Measure", "fitted_longer"]

USUAL_COMPUTE, USUAL_MEMORY = 2.5, 1.25
"""What is expected before any row is seen: training gets 40 % of the dense rate of tensor cores out of products, and
elementwise kernels 80 % of the bandwidth. Each counts as one model."""
UNFITTED_WIDTH = 0.5
MEMORY_OVER_COMPUTE = [0.2 * 1.05**step for step in range(34)]


class Measure(NamedTuple):
    """One measured step: what of its time its roofline on the anchor has for arithmetic and for memory."""

    model: str
    compute: float
    memory: float


def fitted_longer(measures: Sequence[Measure]) -> Longer:
    """The two factors with the least squares of the models' median errors in logs, and of the usual ones.

    A model counts once, however many rows it has. For each ratio of the two the best factors are known; the ratios are
    tried one by one.
    """
    by_model: dict[str, list[Measure]] = defaultdict(list)
    for measure in measures:
        by_model[measure.model].append(measure)
    log_compute, ratio = min((_best(by_model, ratio) for ratio in MEMORY_OVER_COMPUTE), key=lambda best: best[0])[1:]
    compute = math.exp(log_compute)
    return Longer(compute, ratio * compute, UNFITTED_WIDTH, len(measures), len(by_model))


def _best(by_model: Mapping[str, Sequence[Measure]], ratio: float) -> tuple[float, float, float]:
    """The squares that are left, the log of the factor of arithmetic, and `ratio`."""
    wanted = [-median(math.log(one.compute + ratio * one.memory) for one in found) for found in by_model.values()]
    wanted += [math.log(USUAL_COMPUTE), math.log(USUAL_MEMORY / ratio)]
    log_compute = fmean(wanted)
    return sum((log - log_compute) ** 2 for log in wanted), log_compute, ratio
