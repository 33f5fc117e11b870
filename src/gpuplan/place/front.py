"""What time costs: the cheapest plan for each of several deadlines. It recommends none of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gpuplan.place.improve import DEFAULT_SEARCH, plan
from gpuplan.place.problem import Goal, Solution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuplan.place.problem import Problem
    from gpuplan.place.search import Search

__all__ = ["front", "undominated"]

POINTS = 8


def front(
    problem: Problem, *, points: int = POINTS, search: Search = DEFAULT_SEARCH, known: Iterable[Solution] = ()
) -> tuple[Solution, ...]:
    """Plans from the fastest to the cheapest, each dearer and faster than the next.

    The deadlines lie in equal ratios between the fastest plan found and the end of the cheapest. Each plan is known to
    the search for the next deadline, so that a later deadline never costs more; of each, the bound for its own
    deadline is kept. `known` are plans of the same runs for a smaller market: one more offer makes no point dearer.
    """
    carried = list(known)
    quickest = plan(problem, Goal("fastest"), search=search, known=carried)
    if not isinstance(quickest, Solution):
        return ()
    cheapest = plan(problem, Goal("cheapest"), search=search, known=[*carried, quickest])
    assert isinstance(cheapest, Solution), "what can be fast can be slow"
    found = [quickest]
    for deadline_s in _deadlines(quickest.makespan_s, cheapest.makespan_s, points):
        if not search.keep_going():
            break
        goal = Goal("cheapest", deadline_s=deadline_s)
        answer = plan(problem, goal, search=search, known=[*carried, *found])
        if isinstance(answer, Solution):
            found.append(answer)
    return undominated([*found, cheapest])


def undominated(solutions: Iterable[Solution]) -> tuple[Solution, ...]:
    """Those that no other beats in time without costing more, the fastest first."""
    kept: list[Solution] = []
    for solution in sorted(solutions, key=lambda one: (one.makespan_s, one.cost_usd, one.gap)):
        if not kept or solution.cost_usd < kept[-1].cost_usd:
            kept.append(solution)
    return tuple(kept)


def _deadlines(shortest_s: int, longest_s: int, points: int) -> Iterator[int]:
    """From the shortest on, in equal ratios, without the longest."""
    if longest_s > shortest_s > 0:
        ratio = math.log(longest_s / shortest_s) / max(1, points - 1)
        yield from (math.floor(shortest_s * math.exp(ratio * at)) for at in range(points - 1))
