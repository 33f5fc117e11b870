"""Small problems to plan, drawn by Hypothesis, and all of their plans by brute force."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from gpuplan.place.bill import billed_seconds
from gpuplan.place.problem import Goal, JobClass, Problem, Rentable
from gpuplan.place.search import Search
from gpuplan.place.tables import HOUR_S, Kind, run_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 2**30
GPUS = ("A", "B")
QUICK = Search(rounds=50)


def job(name: str = "train", *, count: int = 1, gpus: int = 1, seconds: float = 3600, gib: int = 8) -> JobClass:
    return JobClass(
        name=name,
        count=count,
        gpus=gpus,
        duration_s=dict.fromkeys(GPUS, seconds),
        memory_bytes=dict.fromkeys(GPUS, gib * GIB),
        utilization=dict.fromkeys(GPUS, 1.0),
    )


def offer(name: str = "one", *, gpu: str = "A", gpus: int = 1, usd: float = 1.0, available: int = 4) -> Rentable:
    return Rentable(name, gpu, gpus, 24 * GIB, usd, available)


@st.composite
def jobs(draw: st.DrawFn, name: str, *, most: int) -> JobClass:
    kinds = draw(st.lists(st.sampled_from(GPUS), min_size=1, unique=True))
    return JobClass(
        name=name,
        count=draw(st.integers(1, most)),
        gpus=draw(st.sampled_from([1, 1, 1, 2])),
        duration_s={gpu: draw(st.integers(60, 20_000)) for gpu in kinds},
        memory_bytes={gpu: draw(st.integers(1, 26)) * GIB for gpu in kinds},
        utilization={gpu: draw(st.sampled_from([0.1, 0.3, 0.5, 1.0])) for gpu in kinds},
        transfer_s=draw(st.sampled_from([0.0, 7.5])),
        transfer_usd=draw(st.sampled_from([0.0, 0.013])),
    )


@st.composite
def offers(draw: st.DrawFn, name: str, *, widths: tuple[int, ...] = (1, 2, 4), most: int = 3) -> Rentable:
    return Rentable(
        offer=name,
        gpu=draw(st.sampled_from(GPUS)),
        gpu_count=draw(st.sampled_from(widths)),
        memory_bytes=draw(st.sampled_from([24, 48])) * GIB,
        price_usd_per_h=draw(st.integers(1, 400)) / 100,
        available=draw(st.integers(1, most)),
        setup_s=draw(st.sampled_from([0.0, 31.5, 900.0])),
        wait_s=draw(st.sampled_from([0.0, 0.0, 600.0])),
        longest_s=draw(st.sampled_from([math.inf, math.inf, 30_000.0])),
        group=draw(st.sampled_from([None, None, "host"])),
        billing_s=draw(st.sampled_from([1, 1, 60, 3600])),
        minimum_s=draw(st.sampled_from([0, 0, 1800])),
        pace=draw(st.sampled_from([1.0, 1.25])),
    )


@st.composite
def problems(draw: st.DrawFn, *, classes: int = 3, runs: int = 4, machines: int = 4) -> Problem:
    found = draw(st.integers(1, classes))
    return Problem(
        jobs=tuple(draw(jobs(f"job{at}", most=runs)) for at in range(found)),
        offers=tuple(draw(offers(f"offer{at}")) for at in range(draw(st.integers(1, machines)))),
    )


@st.composite
def tiny_problems(draw: st.DrawFn) -> Problem:
    """Three runs and three GPUs at most, so that every plan can be tried."""
    one = draw(jobs("job0", most=2))
    two = replace(draw(jobs("job1", most=1)), count=1)
    first = draw(offers("offer0", widths=(1, 2), most=1))
    second = draw(offers("offer1", widths=(1,), most=1))
    return Problem(jobs=draw(st.sampled_from([(one,), (one, two)])), offers=(first, second))


def goals() -> st.SearchStrategy[Goal]:
    return st.builds(
        Goal,
        kind=st.sampled_from(["cheapest", "fastest"]),
        deadline_s=st.sampled_from([math.inf, 5_000.0, 20_000.0, 60_000.0]),
        budget_usd=st.sampled_from([math.inf, 2.0, 10.0, 50.0]),
    )


class Tried(tuple[float, float]):
    """(cost in dollars, makespan in seconds) of one plan."""

    __slots__ = ()


def every_plan(problem: Problem) -> Iterator[Tried]:
    """All plans of whole bundles on aligned blocks. No GPU waits: a machine is over when its fullest GPU is."""
    bundlings = [list(_bundlings(one.count)) for one in problem.jobs]
    for choice in product(*bundlings):
        bundles = [(one, runs) for one, sizes in zip(problem.jobs, choice, strict=True) for runs in sizes]
        for places in product(*(list(_places(one, runs, problem)) for one, runs in bundles)):
            tried = _tried(problem, bundles, places)
            if tried is not None:
                yield tried


def _bundlings(count: int) -> Iterator[tuple[int, ...]]:
    for parts in range(1, count + 1):
        yield from (sizes for sizes in combinations_with_replacement(range(1, count + 1), parts) if sum(sizes) == count)


def _places(one: JobClass, runs: int, problem: Problem) -> Iterator[tuple[int, int]]:
    for at, machine in enumerate(problem.offers):
        fits = machine.gpu in one.duration_s and runs * one.memory_bytes[machine.gpu] <= machine.memory_bytes * 0.92
        if fits and (runs == 1 or one.gpus == 1):
            yield from ((at, first) for first in range(0, machine.gpu_count - one.gpus + 1, one.gpus))


def _tried(problem: Problem, bundles: list[tuple[JobClass, int]], places: tuple[tuple[int, int], ...]) -> Tried | None:
    loads = [[0] * machine.gpu_count for machine in problem.offers]
    for (one, runs), (at, first) in zip(bundles, places, strict=True):
        machine = problem.offers[at]
        seconds = run_seconds(one, Kind(machine.gpu, machine.memory_bytes, machine.pace), runs, problem)
        for gpu in range(first, first + one.gpus):
            loads[at][gpu] += seconds
    used = [machine for machine, load in zip(problem.offers, loads, strict=True) if max(load)]
    groups = [machine.group for machine in used if machine.group is not None]
    if len(set(groups)) < len(groups):
        return None
    cost_usd, last_s = sum(one.count * one.transfer_usd for one in problem.jobs), 0
    for machine, load in zip(problem.offers, loads, strict=True):
        if max(load):
            span_s = math.ceil(machine.setup_s) + max(load)
            end_s = math.ceil(machine.wait_s) + span_s
            if span_s > machine.longest_s:
                return None
            cost_usd += machine.price_usd_per_h * billed_seconds(machine, end_s) / HOUR_S
            last_s = max(last_s, end_s)
    return Tried((cost_usd, last_s))
