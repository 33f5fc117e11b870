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
from gpuplan.place.luck import STEADY
from gpuplan.place.problem import whole_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuplan.model import Quantity
    from gpuplan.place.luck import Hazards, Luck, Outages
    from gpuplan.place.problem import Rented

__all__ = [
    "DRAWS",
    "RHO",
    "RHO_SCALED",
    "Link",
    "Played",
    "Spread",
    "Strand",
    "factors_of",
    "played",
    "spread_of",
    "strands_of",
]

DRAWS = 100
"""Enough for a p10 and a p90: their own error is a sixth of a standard deviation."""
RHO = 0.7
"""Correlation of the errors of two classes of one sweep. Measured: within-group correlation of the errors of different
models of one family on the same pair of GPUs, predicted by rates, 0.70 (1,780 ratios in 186 groups of public step
times, November 2026; see docs/reference/placement.md)."""
RHO_SCALED = 0.5
"""The same where all times are scaled from logs. Measured on our own predictions: none where other models of the same
program were measured on both GPUs, 0.33 with the program held out of every constant, 0.51 with the chip held out (3,560
errors in 548 groups). The most is taken: a plan does not know how new its program and its GPUs are."""
Z90 = 1.2816


class Spread(NamedTuple):
    """Standard deviations of the log of a duration, below and above its median."""

    low: float
    high: float

    def factor(self, deviation: float) -> float:
        """Duration over its median at so many standard deviations."""
        return math.exp(deviation * (self.low if deviation < 0 else self.high))


class Link(NamedTuple):
    """`times` lots of `runs` runs at once, one lot after the other, each of which takes `seconds`."""

    runs: int
    seconds: int
    times: int


class Strand(NamedTuple):
    """Work of one class that follows itself on the same GPUs: as long as all of it together."""

    job: str
    gpus: tuple[int, ...]
    seconds: int
    links: tuple[Link, ...]


class Played(NamedTuple):
    """One machine after a replay.

    Attributes:
        end_s: when its last run ended, on the clock of the time that it is there.
        busy_s: GPU-seconds in which runs had GPUs.
        repeated_s: those of them that failed attempts took.
        useful_s: those of them that would have been enough if nothing had gone wrong.
        outages: how many times it was taken away; None where nothing was drawn.
    """

    end_s: float
    busy_s: float
    repeated_s: float
    useful_s: float
    outages: int | None


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
    lanes: dict[tuple[int, ...], list[Strand]] = {}
    order: list[Strand] = []
    is_simple = all(len(one.gpus) == 1 for one in machine.assignments)
    for one in sorted(machine.assignments, key=lambda one: (one.start_s, one.gpus)):
        seconds = one.end_s - one.start_s
        lane = lanes.setdefault(one.gpus, [])
        if is_simple and lane and lane[-1].job == one.job:
            lane[-1] = _longer(lane[-1], one.runs, seconds)
        else:
            lane.append(Strand(one.job, one.gpus, seconds, (Link(one.runs, seconds, 1),)))
            order.append(lane[-1])
    return tuple(strand for lane in lanes.values() for strand in lane) if is_simple else tuple(order)


def played(
    machine: Rented,
    strands: Sequence[Strand],
    factors: Mapping[tuple[str, str], float],
    *,
    hazards: Hazards = STEADY,
    luck: Luck | None = None,
) -> Played:
    """The machine's work with each class as much longer as `factors` say.

    What goes wrong comes from `luck`; without any, nothing fails, and interruptions cost what they do in the mean.
    """
    gpu = machine.offer.gpu
    ready_s = float(whole_seconds(machine.offer.wait_s) + whole_seconds(machine.offer.setup_s))
    outages = luck.outages(hazards, ready_s=ready_s) if luck and hazards.is_interrupted else None
    free_s = [ready_s] * machine.offer.gpu_count
    busy_s = repeated_s = work_s = 0.0
    for strand in strands:
        gpus = strand.gpus
        factor = factors.get((strand.job, gpu), 1.0)
        again_s = _again_s(strand, luck) * factor if luck and hazards.failed else 0.0
        start_s = max(free_s[each] for each in gpus)
        if outages:
            again_s *= hazards.undisturbed
            end_s = outages.end_s(_end_s(outages, strand, start_s, factor * hazards.undisturbed), again_s)
        else:
            end_s = start_s + strand.seconds * factor + again_s
        for each in gpus:
            free_s[each] = end_s
        busy_s += (end_s - start_s) * len(gpus)
        repeated_s += again_s * len(gpus)
        work_s += strand.seconds * factor * len(gpus)
    end_s = max(free_s)
    return Played(end_s, busy_s, repeated_s, work_s / machine.offer.pace, outages.before(end_s) if outages else None)


def _longer(strand: Strand, runs: int, seconds: int) -> Strand:
    """The strand with one more lot of runs at its end."""
    last = strand.links[-1]
    alike = (last.runs, last.seconds) == (runs, seconds)
    links = (
        (*strand.links[:-1], last._replace(times=last.times + 1)) if alike else (*strand.links, Link(runs, seconds, 1))
    )
    return strand._replace(seconds=strand.seconds + seconds, links=links)


def _again_s(strand: Strand, luck: Luck) -> float:
    """What failed attempts add to a strand whose runs take as long as planned."""
    return math.fsum(link.seconds * luck.repeats_in_sequence(link.runs, link.times) for link in strand.links)


def _end_s(outages: Outages, strand: Strand, start_s: float, factor: float) -> float:
    """When a strand has ended on a machine that is taken away now and then."""
    for link in strand.links:
        start_s = outages.end_s(start_s, link.seconds * factor, link.times)
    return start_s


@cache
def _even_normals(draws: int) -> tuple[float, ...]:
    """The middles of `draws` equally likely parts of a normal distribution."""
    normal = NormalDist()
    return tuple(normal.inv_cdf((number + 0.5) / draws) for number in range(draws))
