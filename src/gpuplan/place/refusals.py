"""Why there is no plan, and the least that would make one: offers, memory, deadline, budget. It plans nothing new."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuplan.model import Finding
from gpuplan.place.options import goal_of
from gpuplan.place.problem import Goal
from gpuplan.units import format_duration, format_usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuplan.model import World
    from gpuplan.place.market import Market
    from gpuplan.place.needs import Needs
    from gpuplan.place.problem import JobClass

__all__ = ["cannot_rent", "nothing_offered", "only_unstated", "refusals"]


def nothing_offered(world: World) -> Finding:
    """No offer is as wished."""
    return _finding(
        world,
        "error",
        "offers",
        message="nothing on offer is as wished",
        because="every offer that is known was left out by a wish under `compute`",
        fix="`gpuplan offers SPEC --why-not` says which wish; or a table of your own: `--offers FILE.csv`",
        at="compute",
    )


def only_unstated(world: World) -> Finding:
    """Offers are planned with that do not state all that is wished for."""
    reasons = sorted({one.reason for one in world.unstated})
    return _finding(
        world,
        "warning",
        "unstated",
        message=f"no offer states all that is wished: {len(world.unstated)} {reasons[0]}",
        because="what a source does not state is not known, and may not be so",
        fix="look at the offer before you rent it, or ask the market: `gpuplan offers SPEC --refresh vast`",
        at="compute",
    )


def cannot_rent(world: World, places: Iterable[str]) -> Iterator[Finding]:
    """Places of the plan that the spec does not name, where nothing says yet that apply cannot run there."""
    for place in sorted(places):
        yield _finding(
            world,
            "warning",
            "place",
            message=f"gpuplan cannot run on {place} yet: it is planned and priced there",
            because="`gpuplan apply` runs on this machine only",
            fix="rent the machines of the plan yourself, or `compute: {on: [local]}`",
            at="compute.on",
        )


def refusals(market: Market) -> Iterator[Finding]:
    """Why no plan on this market keeps the limits, with the nearest and what it would take."""
    misfits = [finding for stage in market.stages for finding in _misfits(stage.needs, market)]
    yield from misfits
    goal = goal_of(market)
    if misfits or (math.isinf(goal.deadline_s) and math.isinf(goal.budget_usd)):
        return
    in_time = market.cheapest(replace(goal, budget_usd=math.inf))
    if in_time is None:
        yield from _deadline(market, goal)
        return
    cost_usd = in_time.cost_usd + market.data_usd(in_time)
    if cost_usd > goal.budget_usd:
        yield _budget(market, goal, cost_usd=cost_usd, bound_usd=in_time.bound_usd)


def _deadline(market: Market, goal: Goal) -> Iterator[Finding]:
    fastest = market.solve(Goal("fastest"))
    if fastest is None:
        return
    bound_s = max((stage.solution.bound_makespan_s for stage in fastest.stages), default=0.0)
    proven = f"; nothing on offer takes less than {format_duration(bound_s)}" if bound_s else ""
    yield _finding(
        market.world,
        "error",
        "deadline",
        message=f"the deadline of {format_duration(goal.deadline_s)} cannot be kept",
        because=f"the fastest plan takes {format_duration(fastest.makespan_s)}, "
        f"for {format_usd(fastest.cost_usd)}{proven}",
        fix=f"`limits: {{deadline: {math.ceil(fastest.makespan_s / 60)} min}}`, fewer runs, or fewer steps",
        at="limits.deadline",
    )


def _budget(market: Market, goal: Goal, *, cost_usd: float, bound_usd: float) -> Finding:
    runs = sum(job.count for stage in market.stages for job in stage.needs.problem.jobs)
    bought = min(runs - 1, math.floor(runs * goal.budget_usd / cost_usd))
    within = "" if math.isinf(goal.deadline_s) else " within the deadline"
    return _finding(
        market.world,
        "error",
        "budget",
        message=f"the budget of {format_usd(goal.budget_usd)} does not pay for it",
        because=f"the cheapest plan{within} costs {format_usd(cost_usd)}, "
        f"and none costs less than {format_usd(bound_usd)}",
        fix=f"`limits: {{budget: {cost_usd:.2f} USD}}`; the budget buys about {bought:,} of the {runs:,} runs",
        at="limits.budget",
    )


def _misfits(needs: Needs, market: Market) -> Iterator[Finding]:
    """Classes that no offer can run, whatever the limits; what is too large, the check of the memory explains too."""
    jobs = needs.problem.jobs
    widest = max((offer.gpu_count for offer in needs.problem.offers), default=0)
    too_large = [job for job in jobs if not job.duration_s]
    if too_large:
        kinds = len(needs.works[too_large[0].name].estimates)
        yield _finding(
            market.world,
            "error",
            "offers",
            message=f"{_who(too_large)}: fits on none of the {kinds} GPUs on offer",
            because="see the finding on its memory for the nearest",
            fix="`gpuplan fit SPEC` has remedies and larger cards; or wish for other GPUs under `compute.gpus`",
            at="compute.gpus",
        )
    too_wide = [job for job in jobs if job.duration_s and job.gpus > widest]
    if too_wide:
        yield _finding(
            market.world,
            "error",
            "offers",
            message=f"{_who(too_wide)}: needs {too_wide[0].gpus} GPUs in one machine; the largest offer has {widest}",
            because="ranks of one run stand in one machine",
            fix=f"`ranks: {widest}`, or other offers",
            at="ranks",
        )


def _who(jobs: Sequence[JobClass]) -> str:
    """`own8-shared0 and 3 more runs`."""
    more = sum(job.count for job in jobs) - 1
    return f"{jobs[0].name} and {more} more runs" if more else jobs[0].name


def _finding(world: World, severity: str, check: str, *, message: str, because: str, fix: str, at: str) -> Finding:
    key = at
    while key and key not in world.places:
        key = key.rpartition(".")[0]
    return Finding.model_validate(
        {
            "severity": severity,
            "check": check,
            "message": message,
            "place": world.places.get(key, at),
            "because": because,
            "fix": fix,
        }
    )
