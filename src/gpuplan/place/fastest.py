"""The fastest plan within a budget: the deadline is halved in upon, from both sides. It reads no clock.

When no sooner end is found, the cheapest plan that ends as soon is looked for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuplan.place.assign import assigned
from gpuplan.place.cheapest import cheaper, cheaper_of
from gpuplan.place.exact import can_be_exact
from gpuplan.place.greedy import greedy
from gpuplan.place.milp import mix_of, relaxed_cost_usd
from gpuplan.place.moves import ruined
from gpuplan.place.owned import is_owned, spread
from gpuplan.place.problem import Goal
from gpuplan.place.search import horizon_s
from gpuplan.place.solution import bounded, solution_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.place.fleet import Fleet
    from gpuplan.place.problem import Solution
    from gpuplan.place.search import Search
    from gpuplan.place.tables import Tables

__all__ = ["bound_makespan_s", "faster"]

PRECISION = 0.002
"""Of the makespan: how closely the deadline is halved in upon, where the search's own gap is not wider."""
ROUNDS = 25


def faster(tables: Tables, goal: Goal, search: Search) -> Iterator[Solution]:
    """Plans within the budget, each faster than the last, then as fast for less; none if none was found.

    The deadline is not looked at.
    """
    if is_owned(tables):
        yield from spread(tables, goal, search)
        return
    best = None
    for best in _ever_faster(tables, goal, search):
        yield best
    if best is not None:
        yield from _for_less(tables, goal, search, best=best)


def bound_makespan_s(tables: Tables, budget_usd: float, search: Search, *, at_most_s: int) -> int:
    """A time such that no plan within the budget is over sooner, halved in upon with the linear program's bound."""
    low_s, high_s = min(_longest_run_s(tables), at_most_s) - 1, at_most_s
    while high_s - low_s > _close_enough_s(high_s, search) and search.keep_going():
        middle_s = _middle_s(low_s, high_s)
        needed_usd = relaxed_cost_usd(tables, middle_s)
        if math.isinf(needed_usd) or needed_usd > budget_usd:
            low_s = middle_s
        else:
            high_s = middle_s
    return max(0, low_s + 1)


def _ever_faster(tables: Tables, goal: Goal, search: Search) -> Iterator[Solution]:
    best = _within_budget(tables, horizon_s(tables), goal, search, whole=True)
    if best is None:
        return
    yield solution_of(best, goal, method="list schedule")
    low_s = bound_makespan_s(tables, goal.budget_usd, search, at_most_s=best.end_s)
    yield bounded(solution_of(best, goal, method="mix"), goal, makespan_s=low_s)
    for whole in (False, True):
        if low_s and search.is_content(best.end_s / low_s - 1):
            return
        for better in _halved(tables, goal, search, best=best, low_s=low_s, whole=whole):
            best = better
            yield bounded(solution_of(better, goal, method="mix, deadline halved"), goal, makespan_s=low_s)


def _for_less(tables: Tables, goal: Goal, search: Search, *, best: Solution) -> Iterator[Solution]:
    """Plans that end no later than `best`, each cheaper than the last: so far any within the budget was good enough.

    Few runs as where the deadline is given. Many by moves from the linear program's mix: a mix of whole bundles took up
    to ten times as long there, and cost less in three of nine sweeps and more in four.
    """
    low_s, limit = best.bound_makespan_s, Goal("cheapest", deadline_s=best.makespan_s)
    for other in cheaper(tables, limit, search) if can_be_exact(tables) else _moved(tables, limit, search):
        if other.cost_usd < best.cost_usd:
            best = replace(other, bound_cost_usd=0.0, method="as fast, for less")
            yield bounded(best, goal, makespan_s=low_s)


def _moved(tables: Tables, limit: Goal, search: Search) -> Iterator[Solution]:
    mix = mix_of(tables, limit.deadline_s, relaxed=True)
    fleet = assigned(tables, limit.deadline_s, mix=mix)
    if fleet is not None:
        better = ruined(fleet, rounds=max(ROUNDS, search.rounds), keep_going=search.keep_going)
        yield solution_of(better, limit, method="relaxed mix and moves")


def _halved(tables: Tables, goal: Goal, search: Search, *, best: Fleet, low_s: int, whole: bool) -> Iterator[Fleet]:
    """Ever faster fleets: a deadline that can be met becomes the upper end, one that cannot the lower.

    Tried first is what is proven to be too short and a little more, then twice as much more: that is often near.
    """
    high_s = best.end_s
    more_s = max(1, math.ceil(_close_enough_s(low_s, search)))
    while high_s - low_s > _close_enough_s(high_s, search) and search.keep_going():
        middle_s = min(_middle_s(low_s, high_s), low_s + more_s)
        fleet = _within_budget(tables, middle_s, goal, search, whole=whole)
        if fleet is None:
            low_s, more_s = middle_s, 2 * more_s
        else:
            high_s = fleet.end_s
            yield fleet


def _longest_run_s(tables: Tables) -> int:
    """On its quickest kind, after the least set-up: no plan is over sooner."""
    return max(tables.quickest_s, default=0) + min((lot.head_s for lot in tables.lots), default=0)


def _middle_s(low_s: int, high_s: int) -> int:
    """The geometric mean: the ends may be hundreds of times apart."""
    return min(max(math.isqrt(max(low_s, 0) * high_s), low_s + 1), high_s - 1)


def _close_enough_s(high_s: int, search: Search) -> float:
    return max(1.0, max(PRECISION, 0.0 if search.rounds else search.effort.gap) * high_s)


def _within_budget(tables: Tables, deadline_s: int, goal: Goal, search: Search, *, whole: bool) -> Fleet | None:
    """A fleet that keeps both limits, by the least means that find one: list schedule, mix, moves."""
    affordable_usd = goal.budget_usd - tables.extra_usd
    fleet = greedy(tables, deadline_s)
    if fleet is not None and fleet.cost_usd <= affordable_usd:
        return fleet
    mix = mix_of(tables, deadline_s, effort=search.effort, relaxed=not whole)
    if mix.bound_usd > goal.budget_usd or not mix.bundles:
        return None
    fleet = cheaper_of(fleet, assigned(tables, deadline_s, mix=mix))
    if fleet is not None and fleet.cost_usd > affordable_usd:
        fleet = ruined(fleet, rounds=ROUNDS, keep_going=search.keep_going, enough_usd=affordable_usd)
    return fleet if fleet is not None and fleet.cost_usd <= affordable_usd else None
