"""A plan that is in time with what usually goes wrong, not only as planned. It draws no bill, and sets no deadline.

The search knows of no failed attempt, and of interruptions only in the mean; so it is given an earlier deadline, until
its plan, played with what goes wrong, keeps the one that was asked for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.money import usual_end_s
from gpuplan.place.problem import Goal
from gpuplan.units import format_duration

if TYPE_CHECKING:
    from gpuplan.place.market import Found, Market

__all__ = ["Timely", "in_time", "is_in_time"]

TRIES = 5
"""Earlier deadlines that are tried."""
MANY = 100
LOOSE = 0.2
"""Of more runs a try is the linear program's plan, unless that is further above its bound: it was 1 % dearer at the
most than a mix of whole bundles, in a tenth of the time (1,000 runs, six deadlines)."""
CLOSE_ENOUGH = 0.02
"""Of the makespan: nothing between is tried in a smaller gap."""
WORTH_SAYING = 0.005


class Timely(NamedTuple):
    """A plan, the deadline that it was planned with, and what to say of it; nothing where that is the goal's own."""

    found: Found
    deadline_s: float
    advice: str = ""


def is_in_time(found: Found, deadline_s: float, *, failed: float) -> bool:
    """Whether it usually keeps a deadline, and does as planned; `failed` is the share of all attempts that fail."""
    if math.isinf(deadline_s):
        return True
    return found.makespan_s <= deadline_s and usual_end_s(found.stages, failed=failed) <= deadline_s


def in_time(market: Market, goal: Goal, cheapest: Found, *, failed: float) -> Timely:
    """The cheapest plan found that usually keeps the goal's deadline; `cheapest` itself where even the fastest is late.

    `cheapest` keeps it as planned. Its bound stays: no plan that is in time costs less than one that is as planned.
    """
    deadline_s = goal.deadline_s
    if is_in_time(cheapest, deadline_s, failed=failed):
        return Timely(cheapest, deadline_s)
    kept = _earlier(market, goal, late=cheapest, failed=failed)
    end_s = usual_end_s(kept.found.stages, failed=failed)
    if end_s > deadline_s:
        said = f"with what usually goes wrong even the fastest plan found takes {format_duration(end_s)}"
        return Timely(cheapest, deadline_s, said)
    found = kept.found._replace(bound_usd=cheapest.bound_usd)
    return Timely(found, kept.deadline_s, _room_words(found, cheapest, deadline_s))


def _earlier(market: Market, goal: Goal, *, late: Found, failed: float) -> Timely:
    """The cheapest plan in time of some with earlier deadlines, else the fastest.

    First earlier by as much as the last plan is late, then halved in upon.
    """
    early_s, late_s = 0.0, float(late.makespan_s)
    end_s = usual_end_s(late.stages, failed=failed)
    kept: Timely | None = None
    for _ in range(TRIES):
        try_s = (early_s + late_s) / 2 if early_s else late_s * goal.deadline_s / end_s
        if late_s - early_s <= CLOSE_ENOUGH * late_s or not market.search.keep_going():
            break
        found = _loose(market).cheapest(replace(goal, deadline_s=try_s))
        if found is None:
            kept = kept or _fastest(market, goal, late)
            if not is_in_time(kept.found, goal.deadline_s, failed=failed):
                return kept
            early_s = max(try_s, kept.deadline_s)
            continue
        end_s = usual_end_s(found.stages, failed=failed)
        if end_s > goal.deadline_s:
            late_s = min(try_s, found.makespan_s)
            continue
        early_s = try_s
        if kept is None or _bill_usd(market, found) <= _bill_usd(market, kept.found):
            kept = Timely(found, try_s)
    return kept or _fastest(market, goal, late)


def _fastest(market: Market, goal: Goal, late: Found) -> Timely:
    found = market.quick.solve(Goal("fastest", budget_usd=goal.budget_usd)) or late
    return Timely(found, found.makespan_s)


def _loose(market: Market) -> Market:
    quick = market.quick
    gap = LOOSE if market.runs > MANY else quick.search.effort.gap
    return replace(quick, search=replace(quick.search, effort=quick.search.effort._replace(gap=gap)))


def _bill_usd(market: Market, found: Found) -> float:
    return found.cost_usd + market.data_usd(found)


def _room_words(found: Found, cheapest: Found, deadline_s: float) -> str:
    room = format_duration(deadline_s - found.makespan_s)
    dearer = found.cost_usd / cheapest.cost_usd - 1 if cheapest.cost_usd else 0.0
    more = f", {dearer:.0%} more" if dearer >= WORTH_SAYING else ""
    return f"planned to be over {room} before the deadline, for what usually goes wrong{more}"
