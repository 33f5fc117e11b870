"""Plan a sweep on a market: one plan at once, then better ones, with what is proven about them. It rents nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from gpuplan.place.cheapest import cheaper
from gpuplan.place.check import violations
from gpuplan.place.fastest import faster
from gpuplan.place.milp import relaxed_cost_usd
from gpuplan.place.problem import Goal, Solution, Unmet
from gpuplan.place.search import Search, horizon_s
from gpuplan.place.solution import bounded
from gpuplan.place.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuplan.place.problem import Answer, Problem
    from gpuplan.place.tables import Tables

__all__ = ["improve", "plan"]

DEFAULT_SEARCH = Search()


def plan(problem: Problem, goal: Goal, *, search: Search = DEFAULT_SEARCH, known: Iterable[Solution] = ()) -> Answer:
    """The last and best answer of `improve`."""
    *_, answer = improve(problem, goal, search=search, known=known)
    return answer


def improve(
    problem: Problem, goal: Goal, *, search: Search = DEFAULT_SEARCH, known: Iterable[Solution] = ()
) -> Iterator[Answer]:
    """Answers, each better than the last: cheaper (or faster), or with a higher bound. At least one comes.

    `known` are plans of the same runs made for other goals or markets. One that keeps this goal is carried over, so
    that more budget, more time or one more offer never makes the answer worse. An `Unmet` is always the last.
    """
    tables = tables_of(problem)
    if not tables.counts:
        yield _nothing_to_place(tables)
        return
    best: Solution | None = None
    missed: Solution | None = None
    sound = (_unproven(solution, tables) for solution in known)
    carried = (solution for solution in sound if not violations(solution, problem, goal))
    for candidate in chain(carried, _candidates(tables, goal, search)):
        if candidate.cost_usd > goal.budget_usd or candidate.makespan_s > goal.deadline_s:
            missed = candidate
            continue
        chosen = _better(best, candidate, goal)
        if chosen != best:
            best = chosen
            yield best
    if best is None:
        yield _unmet(tables, goal, search, missed)


def _candidates(tables: Tables, goal: Goal, search: Search) -> Iterator[Solution]:
    """Plans that keep the limit that the goal's search is about; the other one is looked at afterwards."""
    if goal.kind == "cheapest":
        return cheaper(tables, replace(goal, budget_usd=math.inf), search)
    return faster(tables, replace(goal, deadline_s=math.inf), search)


def _unproven(solution: Solution, tables: Tables) -> Solution:
    """A plan for another goal: its runs stay, what was proven of it does not."""
    return replace(
        solution, bound_cost_usd=0.0, bound_makespan_s=0.0, gap=math.inf, refused=tables.refused, method="carried over"
    )


def _better(best: Solution | None, candidate: Solution, goal: Goal) -> Solution:
    """The better of two plans, with the better of their bounds; the first at a tie."""
    if best is None:
        return candidate
    winner = min(best, candidate, key=lambda solution: _value(solution, goal))
    loser = candidate if winner is best else best
    method = winner.method if winner is candidate or winner.method == "carried over" else candidate.method
    return bounded(
        replace(winner, method=method), goal, cost_usd=loser.bound_cost_usd, makespan_s=loser.bound_makespan_s
    )


def _value(solution: Solution, goal: Goal) -> tuple[float, float]:
    if goal.kind == "cheapest":
        return (solution.cost_usd, solution.makespan_s)
    return (solution.makespan_s, solution.cost_usd)


def _nothing_to_place(tables: Tables) -> Answer:
    if tables.refused:
        return Unmet("no run fits on anything that is offered", proven=True, refused=tables.refused)
    return Solution((), 0.0, 0, gap=0.0, method="nothing to place")


def _unmet(tables: Tables, goal: Goal, search: Search, missed: Solution | None) -> Unmet:
    """Why there is no plan, and the plan that comes nearest: within the other limit alone."""
    if goal.kind == "cheapest" and missed is None:
        proven = math.isinf(relaxed_cost_usd(tables, min(goal.deadline_s, horizon_s(tables))))
        nearest = _last(faster(tables, Goal("fastest"), search))
        return Unmet("no plan found that meets the deadline", proven=proven, refused=tables.refused, nearest=nearest)
    if goal.kind == "cheapest" and missed is not None:
        proven = missed.bound_cost_usd > goal.budget_usd
        return Unmet(
            "the cheapest plan found exceeds the budget", proven=proven, refused=tables.refused, nearest=missed
        )
    if missed is not None:
        proven = missed.bound_makespan_s > goal.deadline_s
        return Unmet(
            "the fastest plan found misses the deadline", proven=proven, refused=tables.refused, nearest=missed
        )
    nearest = _last(cheaper(tables, Goal("cheapest"), search))
    proven = nearest is not None and nearest.bound_cost_usd > goal.budget_usd
    return Unmet("no plan found within the budget", proven=proven, refused=tables.refused, nearest=nearest)


def _last(solutions: Iterable[Solution]) -> Solution | None:
    return max(enumerate(solutions), default=(0, None), key=lambda pair: pair[0])[1]
