"""Stages one after the other, each on its own market: which point of each stage's front. It overlaps no stages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.fastest import bound_makespan_s
from gpuplan.place.front import front
from gpuplan.place.improve import DEFAULT_SEARCH
from gpuplan.place.milp import relaxed_cost_usd
from gpuplan.place.search import horizon_s
from gpuplan.place.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.place.problem import Goal, Problem, Solution
    from gpuplan.place.search import Search
    from gpuplan.place.tables import Tables

__all__ = ["Staged", "plan_stages"]


class Staged(NamedTuple):
    """A plan of each stage; a stage begins, and rents its machines, when the one before has ended.

    Attributes:
        bound_usd: no choice of plans meets the deadline for less.
        bound_s: no choice of plans within the budget is over sooner.
    """

    solutions: tuple[Solution, ...]
    cost_usd: float
    makespan_s: int
    bound_usd: float
    bound_s: float

    @property
    def starts_s(self) -> tuple[int, ...]:
        """When each stage begins."""
        ends = [0]
        for solution in self.solutions:
            ends.append(ends[-1] + solution.makespan_s)
        return tuple(ends[:-1])


class _Chain(NamedTuple):
    """A plan for each of the first stages."""

    solutions: tuple[Solution, ...]
    cost_usd: float
    makespan_s: int


def plan_stages(stages: Sequence[Problem], goal: Goal, *, search: Search = DEFAULT_SEARCH) -> Staged | None:
    """The best choice of one plan per stage from their fronts; None if no choice keeps the goal's limits."""
    chains = [_Chain((), 0.0, 0)]
    for stage in stages:
        chains = _undominated(_longer(chains, front(stage, search=search)))
    kept = [one for one in chains if one.cost_usd <= goal.budget_usd and one.makespan_s <= goal.deadline_s]
    if not kept:
        return None
    best = min(kept, key=lambda one: _value(one, goal))
    tables = [tables_of(stage) for stage in stages]
    bound_usd = _bound_usd(tables, goal, search) if goal.kind == "cheapest" else 0.0
    bound_s = _bound_s(tables, goal, search) if goal.kind == "fastest" else 0.0
    return Staged(best.solutions, best.cost_usd, best.makespan_s, bound_usd, bound_s)


def _longer(chains: Iterable[_Chain], solutions: Iterable[Solution]) -> list[_Chain]:
    options = tuple(solutions)
    return [
        _Chain((*chain.solutions, one), chain.cost_usd + one.cost_usd, chain.makespan_s + one.makespan_s)
        for chain in chains
        for one in options
    ]


def _undominated(chains: Iterable[_Chain]) -> list[_Chain]:
    kept: list[_Chain] = []
    for chain in sorted(chains, key=lambda one: (one.makespan_s, one.cost_usd)):
        if not kept or chain.cost_usd < kept[-1].cost_usd:
            kept.append(chain)
    return kept


def _value(chain: _Chain, goal: Goal) -> tuple[float, float]:
    if goal.kind == "cheapest":
        return (chain.cost_usd, chain.makespan_s)
    return (chain.makespan_s, chain.cost_usd)


def _bound_usd(tables: Sequence[Tables], goal: Goal, search: Search) -> float:
    """Each stage costs at least what it costs if all others took the least time possible."""
    least_s = [bound_makespan_s(one, math.inf, search, at_most_s=horizon_s(one)) for one in tables]
    total_s = sum(least_s)
    bound_usd = 0.0
    for one, least in zip(tables, least_s, strict=True):
        bound_usd += relaxed_cost_usd(one, min(goal.deadline_s - total_s + least, horizon_s(one)))
    return bound_usd


def _bound_s(tables: Sequence[Tables], goal: Goal, search: Search) -> float:
    """Each stage takes at least what it takes if all others cost the least possible."""
    least_usd = [relaxed_cost_usd(one, horizon_s(one)) for one in tables]
    total_usd = sum(least_usd)
    budgets = [goal.budget_usd - total_usd + least for least in least_usd]
    pairs = zip(tables, budgets, strict=True)
    return sum(bound_makespan_s(one, budget, search, at_most_s=horizon_s(one)) for one, budget in pairs)
