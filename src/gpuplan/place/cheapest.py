"""The cheapest plan within a deadline, step by step: list, mixes, exact or moves. It reads no clock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gpuplan.place.assign import assigned, best_assigned
from gpuplan.place.exact import can_be_exact, exact_fleet
from gpuplan.place.greedy import greedy
from gpuplan.place.milp import mix_of
from gpuplan.place.moves import ruined
from gpuplan.place.search import horizon_s
from gpuplan.place.solution import bounded, solution_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.place.fleet import Fleet
    from gpuplan.place.problem import Goal, Solution
    from gpuplan.place.search import Search
    from gpuplan.place.tables import Tables

__all__ = ["cheaper", "cheaper_of"]

SLICE_ROUNDS = 25
TRIES = 60
ROUNDS_PER_TRY = 5
"""Ways to fill machines after one mix, for so many rounds of moves: a try is quicker and finds more at first."""
GOOD_ENOUGH = 1.001


def cheaper(tables: Tables, goal: Goal, search: Search) -> Iterator[Solution]:
    """Plans within the deadline, each better than the last; none if there is none. The budget is not looked at."""
    deadline_s = min(goal.deadline_s, horizon_s(tables))
    fleet = greedy(tables, deadline_s)
    if fleet is not None:
        yield solution_of(fleet, goal, method="list schedule")
    mix = mix_of(tables, deadline_s, relaxed=True)
    if math.isinf(mix.bound_usd):
        return
    fleet = cheaper_of(fleet, assigned(tables, deadline_s, mix=mix))
    if fleet is not None:
        relaxed = bounded(solution_of(fleet, goal, method="relaxed mix"), goal, cost_usd=mix.bound_usd)
        yield relaxed
        if search.is_content(relaxed.gap):
            return
    whole = mix_of(tables, deadline_s, effort=search.effort, keep_going=search.keep_going)
    mix = max(whole, mix, key=lambda one: one.bound_usd)
    if whole.bundles:
        tries = search.rounds // ROUNDS_PER_TRY
        after = best_assigned(tables, deadline_s, mix=whole, tries=min(tries, TRIES), keep_going=search.keep_going)
        fleet = cheaper_of(fleet, after)
    if fleet is None or math.isinf(mix.bound_usd):
        return
    yield bounded(solution_of(fleet, goal, method="mix"), goal, cost_usd=mix.bound_usd)
    if can_be_exact(tables):
        exact = exact_fleet(tables, deadline_s, mix=mix, known=fleet)
        if exact is not None:
            method = f"optimal among {exact.listed} listed machines"
            yield bounded(solution_of(exact.fleet, goal, method=method), goal, cost_usd=mix.bound_usd)
        return
    for better in _moved(fleet, search, enough_usd=(mix.bound_usd - tables.extra_usd) * GOOD_ENOUGH):
        yield bounded(solution_of(better, goal, method="mix and moves"), goal, cost_usd=mix.bound_usd)


def cheaper_of(one: Fleet | None, other: Fleet | None) -> Fleet | None:
    """The cheaper fleet of those that there are; the first at a tie."""
    fleets = [fleet for fleet in (one, other) if fleet is not None]
    return min(fleets, key=lambda fleet: fleet.cost_usd, default=None)


def _moved(fleet: Fleet, search: Search, *, enough_usd: float) -> Iterator[Fleet]:
    """Each cheaper than the last."""
    for seed in range(search.rounds // SLICE_ROUNDS):
        if not search.keep_going():
            return
        better = ruined(fleet, rounds=SLICE_ROUNDS, seed=seed, keep_going=search.keep_going, enough_usd=enough_usd)
        if better.cost_usd < fleet.cost_usd:
            fleet = better
            yield fleet
