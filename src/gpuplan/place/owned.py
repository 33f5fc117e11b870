"""Machines that cost nothing by the hour: all are used, and what counts is when the last run ends (R||Cmax with gangs).

The bound is the linear program of Lenstra, Shmoys and Tardos (1990): a run may be split among kinds, but only among
those that finish it in time; sharpened by counting how many long bundles a GPU can hold.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.assign import whole_bundles
from gpuplan.place.fleet import Fleet, Spot, widest_longest
from gpuplan.place.greedy import sort_key
from gpuplan.place.highs import Effort, Program
from gpuplan.place.lanes import Lane, levelled
from gpuplan.place.solution import bounded, solution_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuplan.place.fleet import Machine
    from gpuplan.place.problem import Goal, Solution
    from gpuplan.place.search import Search
    from gpuplan.place.tables import Bundle, Tables

__all__ = ["is_owned", "spread"]

HOUR_S = 3600
COUNTED_PARTS = (2, 3, 4)
PRECISION = 0.004
"""Of the bound: what another linear program may still raise it by."""
ENOUGH = 1.001
ROUNDS_EACH = 100
"""Relieving the last GPU, for each of the search's rounds."""
SLICE_ROUNDS = 2_000
WHOLE = 1e-6


class _Split(NamedTuple):
    """When everything could be over if runs could be split, and how many bundles of each kind that takes."""

    end_s: float
    bundles: tuple[tuple[int, Bundle, float], ...]


def is_owned(tables: Tables) -> bool:
    """Whether no machine costs anything, and none excludes another."""
    return all(lot.usd_per_s == 0 and lot.group is None for lot in tables.lots)


def spread(tables: Tables, goal: Goal, search: Search) -> Iterator[Solution]:
    """Plans on all machines, each faster than the last; none if sessions are too short."""
    fleet = _soonest(tables)
    if fleet is None:
        return
    yield solution_of(fleet, goal, method="list schedule")
    split, bound_s = _least_split(tables, fleet.end_s, search)
    after = _by_kind(tables, split) or fleet
    best = min((fleet, after), key=lambda one: one.end_s)
    yield bounded(solution_of(best, goal, method="split"), goal, makespan_s=bound_s)
    # Runs that stand on the kinds that the split chose waste less than those of a list schedule that ends as soon.
    for better in _relieved(after, search, below_s=best.end_s, enough_s=bound_s * ENOUGH):
        yield bounded(solution_of(better, goal, method="split and moves"), goal, makespan_s=bound_s)


def _all_machines(tables: Tables) -> Fleet:
    """Every machine that there is, empty; no more than runs."""
    fleet = Fleet(tables, math.inf)
    for lot in tables.lots:
        for _ in range(min(lot.available, sum(tables.counts))):
            fleet.rent(fleet.empty(lot))
    return fleet


def _soonest(tables: Tables) -> Fleet | None:
    """Widest and longest first, each bundle where it is over first."""
    fleet = _all_machines(tables)
    for job in sorted(range(len(tables.counts)), key=lambda job: sort_key(tables, job)):
        left = tables.counts[job]
        while left:
            row = tables.best[job]
            options = {kind: by_runs[min(left, len(by_runs)) - 1] for kind, by_runs in enumerate(row) if by_runs}
            bundle = _put_soonest(fleet, options, range(len(fleet.machines)))
            if bundle is None:
                return None
            left -= bundle.runs
    return fleet


def _put_soonest(fleet: Fleet, options: dict[int, Bundle], places: Iterable[int]) -> Bundle | None:
    """Place one of the bundles, by kind, where it is over first among some machines; which one."""
    best, soonest_s = None, math.inf
    for at in places:
        machine = fleet.machines[at]
        bundle = options.get(machine.lot.kind)
        if bundle is None:
            continue
        spot = machine.spot(bundle)
        if spot is not None and machine.lot.head_s + spot.end_s < soonest_s:
            best, soonest_s = (at, bundle, spot), machine.lot.head_s + spot.end_s
    if best is None:
        return None
    at, bundle, spot = best
    fleet.machines[at] = fleet.machines[at].plus(bundle, spot)
    return bundle


def _by_kind(tables: Tables, split: _Split) -> Fleet | None:
    """What the split wants of each kind, longest first, each where it is over first."""
    wanted: dict[int, list[tuple[float, int, Bundle]]] = {}
    for kind, bundle, number in split.bundles:
        wanted.setdefault(bundle.job, []).append((number, kind, bundle))
    if len(wanted) < len(tables.counts):
        return None
    fleet = _all_machines(tables)
    places: dict[int, list[int]] = {}
    for at, machine in enumerate(fleet.machines):
        places.setdefault(machine.lot.kind, []).append(at)
    pairs = [pair for job, wishes in wanted.items() for pair in whole_bundles(tables, job, wishes)]
    for kind, bundle in sorted(pairs, key=lambda pair: widest_longest(pair[1])):
        if _put_soonest(fleet, {kind: bundle}, places.get(kind, ())) is None:
            return None
    return fleet


def _least_split(tables: Tables, end_s: int, search: Search) -> tuple[_Split, float]:
    """The split at a time that no plan can undercut, and that time."""
    split = _split(tables, math.inf)
    longest_s = min(lot.head_s for lot in tables.lots) + max(tables.quickest_s)
    low_s = max(split.end_s, longest_s)
    split = _split(tables, low_s)
    if split.end_s <= low_s:
        return split, low_s
    high_s, guess_s = float(end_s), split.end_s * (1 - PRECISION / 2)
    while high_s - low_s > PRECISION * high_s and search.keep_going():
        if not low_s < guess_s < high_s:
            guess_s = (low_s + high_s) / 2
        tried = _split(tables, guess_s)
        if tried.end_s <= guess_s:
            split, high_s, guess_s = tried, guess_s, 0.0
        else:
            low_s, guess_s = guess_s, tried.end_s * (1 - PRECISION / 2)
            high_s = min(high_s, max(tried.end_s, low_s * (1 + PRECISION)))
    return split, low_s


def _split(tables: Tables, guess_s: float) -> _Split:
    """The least end if runs can be split, among plans that end by `guess_s`: later than that, there are none."""
    program = Program()
    head_s = min(lot.head_s for lot in tables.lots)
    end = program.column(1.0)
    covers = [program.row(lower=count) for count in tables.counts]
    columns = []
    for job, rows in enumerate(tables.bundles):
        for kind, bundles in enumerate(rows):
            for bundle in bundles:
                if bundle.seconds <= guess_s - head_s and _gpus_of(tables, kind, bundle.gpus):
                    columns.append((kind, bundle, program.column()))
                    program.put(covers[job], columns[-1][2], bundle.runs)
    for kind in range(len(tables.kinds)):
        for width in sorted({1, *tables.gpus}):
            gpus = _gpus_of(tables, kind, width)
            mine = [(bundle, column) for at, bundle, column in columns if at == kind and bundle.gpus >= width]
            if gpus and mine:
                _add_area(program, mine, gpus, end=end, head_s=head_s)
                _add_counts(program, mine, gpus, room_s=guess_s - head_s)
    solved = program.solve(Effort(), relaxed=True)
    values = solved.values
    found = tuple((kind, one, values[at]) for kind, one, at in columns if values[at] > WHOLE) if values else ()
    return _Split(solved.bound * HOUR_S, found)


def _gpus_of(tables: Tables, kind: int, width: int) -> int:
    """How many GPUs of a kind are in machines with at least so many."""
    return sum(lot.gpus * lot.available for lot in tables.lots if lot.kind == kind and lot.gpus >= width)


def _add_area(program: Program, mine: list[tuple[Bundle, int]], gpus: int, *, end: int, head_s: int) -> None:
    area = program.row(upper=-gpus * head_s / HOUR_S)
    program.put(area, end, -gpus)
    for bundle, column in mine:
        program.put(area, column, bundle.gpus * bundle.seconds / HOUR_S)


def _add_counts(program: Program, mine: list[tuple[Bundle, int]], gpus: int, *, room_s: float) -> None:
    for parts in COUNTED_PARTS:
        long = [(bundle, column) for bundle, column in mine if bundle.seconds * parts > room_s]
        if long:
            row = program.row(upper=gpus * (parts - 1))
            for bundle, column in long:
                program.put(row, column, bundle.gpus)


def _relieved(fleet: Fleet, search: Search, *, below_s: int, enough_s: float) -> Iterator[Fleet]:
    """Each over sooner than the last and than `below_s`; gangs stay where they are."""
    tables = fleet.tables
    seconds = {
        (bundle.job, bundle.runs, kind): bundle.seconds
        for rows in tables.bundles
        for kind, bundles in enumerate(rows)
        for bundle in bundles
    }
    end_s = below_s
    slices = max(1, search.rounds * ROUNDS_EACH // SLICE_ROUNDS)
    lanes = [lane for machine in fleet.machines for lane in _lanes_of(machine)]
    for seed in range(slices):
        if end_s <= enough_s or not search.keep_going():
            return
        lanes = levelled(
            lanes, seconds, rounds=SLICE_ROUNDS, seed=seed, enough_s=enough_s, keep_going=search.keep_going
        )
        if max(lane.end_s for lane in lanes) < end_s:
            fleet = _with_lanes(fleet, lanes)
            end_s = fleet.end_s
            yield fleet


def _lanes_of(machine: Machine) -> Iterator[Lane]:
    """Its GPUs, gangs first on each."""
    gangs = _gangs_of(machine)
    for gpu, gang_s in enumerate(gangs.loads):
        placed = zip(machine.bundles, machine.spots, strict=True)
        mine = tuple(bundle for bundle, spot in placed if bundle.gpus == 1 and spot.gpu == gpu)
        start_s = machine.lot.head_s + gang_s
        limit_s = machine.lot.head_s + machine.room_s
        yield Lane(machine.lot.kind, start_s, limit_s, mine, start_s + sum(bundle.seconds for bundle in mine))


def _gangs_of(machine: Machine) -> Machine:
    gangs = machine.refilled(bundle for bundle in machine.bundles if bundle.gpus > 1)
    assert gangs is not None, "fewer bundles fit too"
    return gangs


def _with_lanes(fleet: Fleet, lanes: list[Lane]) -> Fleet:
    """The same machines with other bundles behind their gangs."""
    other = fleet.without(set())
    queue = iter(lanes)
    for at, machine in enumerate(fleet.machines):
        filled = _gangs_of(machine)
        for gpu in range(machine.lot.gpus):
            for bundle in next(queue).bundles:
                filled = filled.plus(bundle, Spot(filled.loads[gpu] + bundle.seconds, gpu))
        other.machines[at] = filled
    return other
