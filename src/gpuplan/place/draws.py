"""A plan played again with other durations, many times: when it ends and what each machine is billed. It plans nothing.

Runs keep their machines and their order. The errors of one class go together, as all its runs have one estimate; those
of different classes are correlated, as they come from one model of one program family.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.dice import Dice
from gpuplan.place.problem import whole_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.model import Quantity
    from gpuplan.place.problem import Rented

__all__ = ["DRAWS", "RHO", "Played", "Spread", "Strand", "factors_of", "played", "spread_of", "strands_of"]

DRAWS = 100
"""Enough for a p10 and a p90: their own error is a sixth of a standard deviation."""
RHO = 0.7
"""Correlation of the errors of two classes of one sweep. Measured: within-group correlation of the errors of different
models of one family on the same pair of GPUs, predicted by rates, 0.70 (1,780 ratios in 186 groups of public step
times, November 2026; see docs/reference/placement.md)."""
Z90 = 1.2816


class Spread(NamedTuple):
    """Standard deviations of the log of a duration, below and above its median."""

    low: float
    high: float

    def factor(self, deviation: float) -> float:
        """Duration over its median at so many standard deviations."""
        return math.exp(deviation * (self.low if deviation < 0 else self.high))


class Strand(NamedTuple):
    """Work of one class that follows itself on the same GPUs: as long as all of it together."""

    job: str
    gpus: tuple[int, ...]
    seconds: int


class Played(NamedTuple):
    """One machine after a replay: when its last run ended on its own clock, and the GPU-seconds that were worked."""

    end_s: float
    busy_s: float


def spread_of(duration_s: Quantity) -> Spread:
    """The split log-normal through p10, p50 and p90."""
    if duration_s.p50 <= 0:
        return Spread(0.0, 0.0)
    low = math.log(duration_s.p50 / duration_s.p10) / Z90 if duration_s.p10 > 0 else 0.0
    return Spread(low, math.log(duration_s.p90 / duration_s.p50) / Z90)


def factors_of(
    spreads: Mapping[str, Mapping[str, Spread]], *, draws: int = DRAWS, rho: float = RHO
) -> list[dict[tuple[str, str], float]]:
    """For each draw, duration over median by (class, GPU): the same each time.

    Each class takes every part of its own distribution once, in an order that has the common part in it, so that few
    draws give steady quantiles.
    """
    common = _even_normals(draws)
    drawn: list[dict[tuple[str, str], float]] = [{} for _ in range(draws)]
    for number, (job, by_gpu) in enumerate(sorted(spreads.items())):
        own = Dice(number).shuffled(list(range(draws)))
        mixed = [math.sqrt(rho) * common[draw] + math.sqrt(1 - rho) * common[own[draw]] for draw in range(draws)]
        by_rank = sorted(range(draws), key=mixed.__getitem__)
        for deviation, draw in zip(common, by_rank, strict=True):
            drawn[draw].update(((job, gpu), spread.factor(deviation)) for gpu, spread in by_gpu.items())
    return drawn


def strands_of(machine: Rented) -> tuple[Strand, ...]:
    """A machine's work in order, neighbours of one class on the same GPUs put together."""
    strands: dict[tuple[int, ...], list[Strand]] = {}
    order: list[Strand] = []
    is_simple = all(len(one.gpus) == 1 for one in machine.assignments)
    for one in sorted(machine.assignments, key=lambda one: (one.start_s, one.gpus)):
        seconds = one.end_s - one.start_s
        lane = strands.setdefault(one.gpus, [])
        if is_simple and lane and lane[-1].job == one.job:
            lane[-1] = lane[-1]._replace(seconds=lane[-1].seconds + seconds)
        else:
            lane.append(Strand(one.job, one.gpus, seconds))
            order.append(lane[-1])
    return tuple(strand for lane in strands.values() for strand in lane) if is_simple else tuple(order)


def played(machine: Rented, strands: Sequence[Strand], factors: Mapping[tuple[str, str], float]) -> Played:
    """The machine's work with each class as much longer as `factors` say."""
    gpu = machine.offer.gpu
    ready_s = float(whole_seconds(machine.offer.wait_s) + whole_seconds(machine.offer.setup_s))
    free_s = [ready_s] * machine.offer.gpu_count
    busy_s = 0.0
    for job, gpus, seconds in strands:
        taken_s = seconds * factors.get((job, gpu), 1.0)
        end_s = max(free_s[each] for each in gpus) + taken_s
        for each in gpus:
            free_s[each] = end_s
        busy_s += taken_s * len(gpus)
    return Played(max(free_s), busy_s)


@cache
def _even_normals(draws: int) -> tuple[float, ...]:
    """The middles of `draws` equally likely parts of a normal distribution."""
    normal = NormalDist()
    return tuple(normal.inv_cdf((number + 0.5) / draws) for number in range(draws))
