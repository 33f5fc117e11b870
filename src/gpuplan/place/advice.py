"""What would change the choice: a smaller micro-batch, more time, another offer. It changes nothing itself."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.problem import Goal
from gpuplan.place.shown import Candidate
from gpuplan.place.smaller import smaller
from gpuplan.units import format_bytes, format_duration, format_usd

if TYPE_CHECKING:
    from collections.abc import Collection

    from gpuplan.place.market import Found, Market
    from gpuplan.place.smaller import Smaller

__all__ = ["WORTH_SAYING", "Advice", "advice_of", "scaled_down", "scaled_to"]

WORTH_SAYING = 0.10
"""Savings below it are within the errors of the durations."""
MOST_GPUS = 8
"""Kinds of smaller GPUs that are looked at, the cheapest an hour first."""


class Advice(NamedTuple):
    """A change that saves money: the option that it opens, and the sentence."""

    candidate: Candidate
    text: str


def scaled_down(market: Market, cheapest: Found, goal: Goal) -> Advice | None:
    """The cheapest plan on cards that the runs fit on with smaller micro-batches only, where that saves enough."""
    cut = smaller(market, _cheaper_gpus(market, cheapest))
    if cut is None:
        return None
    found = cut.market.solve(goal, keep=lambda one: one.gpu in cut.micro_batches)
    if found is None or _saved(found, cheapest) < WORTH_SAYING:
        return None
    needs = _cut_words(cut, found)
    down = f"from {_largest(market, cheapest)} down to {_largest(market, found)} saves {_saved(found, cheapest):.0%}"
    candidate = Candidate("scale_down", "scale down: a smaller card", found, cut.market, f"needs {needs}")
    return Advice(candidate, f"{down}: needs {needs}")


def scaled_to(market: Market, gpus: Collection[str], *, title: str) -> Candidate | None:
    """Everything on these GPUs, whatever the stages wish, with small micro-batches; None if that is not enough."""
    cut = smaller(market, gpus)
    found = cut.market.solve(Goal("cheapest"), keep=lambda one: one.gpu in gpus, tiers=False) if cut else None
    if cut is None or found is None:
        return None
    return Candidate("scale_down", title, found, cut.market, f"needs {_cut_words(cut, found)}")


def advice_of(market: Market, cheapest: Found, goal: Goal, *, within: Goal, down: Advice | None) -> tuple[str, ...]:
    """Sentences on what would change the choice; `within` is the goal with room for what usually goes wrong."""
    makers = (_safer, partial(_more_time, of=goal), _without_it)
    found = (make(market.quick, cheapest, within) for make in makers if market.search.keep_going())
    return tuple(text for text in (down.text if down else None, *found) if text)


def _cut_words(cut: Smaller, found: Found) -> str:
    sizes = sorted({cut.micro_batches[gpu] for gpu in found.gpus if gpu in cut.micro_batches})
    return f"micro-batch {' or '.join(f'{size:,}' for size in sizes)}, with as many more accumulated"


def _safer(market: Market, cheapest: Found, goal: Goal) -> str | None:
    """Cards with room, where something in the plan fits only tightly."""
    verdicts = {
        stage.needs.works[one.job].estimates[machine.offer.gpu].memory.fits
        for stage in cheapest.stages
        for machine in stage.solution.machines
        for one in machine.assignments
    }
    if "TIGHT" not in verdicts:
        return None
    works = [work for stage in market.stages for work in stage.needs.works.values()]
    roomy = {
        gpu
        for work in works
        for gpu in work.estimates
        if all(other.estimates[gpu].memory.fits == "OK" for other in works)
    }
    found = market.solve(goal, keep=lambda one: one.gpu in roomy)
    if found is None:
        return "nothing on offer has room for the runs as they are: `gpuplan fit` has remedies"
    gpus = " and ".join(sorted(found.gpus))
    return f"with room to spare, on {gpus}, it costs {format_usd(found.cost_usd)} in place of a tight fit"


def _more_time(market: Market, cheapest: Found, goal: Goal, *, of: Goal) -> str | None:
    if math.isinf(goal.deadline_s):
        return None
    found = market.solve(replace(goal, deadline_s=2 * goal.deadline_s))
    if found is None or _saved(found, cheapest) < WORTH_SAYING:
        return None
    twice = format_duration(2 * of.deadline_s)
    return f"twice the deadline, {twice}, saves {_saved(found, cheapest):.0%}: {format_usd(found.cost_usd)}"


def _without_it(market: Market, cheapest: Found, goal: Goal) -> str | None:
    """The next best, if what the plan rents is gone."""
    machines = [one for stage in cheapest.stages for one in stage.solution.machines]
    rented = {one.offer.offer for one in machines if not market.is_own(one.offer)}
    if not rented:
        return None
    gone = f"if {' and '.join(sorted(rented))} {'is' if len(rented) == 1 else 'are'} gone"
    found = market.solve(goal, keep=lambda one: one.offer not in rented)
    if found is None:
        return f"{gone}, nothing else on offer will do"
    more = f", {found.cost_usd / cheapest.cost_usd - 1:.0%} more" if cheapest.cost_usd else ""
    others = sorted({one.offer.offer for stage in found.stages for one in stage.solution.machines})
    return f"{gone}, the next best is {' and '.join(others)} for {format_usd(found.cost_usd)}{more}"


def _cheaper_gpus(market: Market, cheapest: Found) -> list[str]:
    """Smaller GPUs on which something does not fit, at a lower price an hour than those of the plan."""
    gpus = market.world.gpus
    least: dict[str, float] = {}
    for stage in market.stages:
        for offer in stage.needs.problem.offers:
            price = offer.price_usd_per_h / offer.gpu_count
            least[offer.gpu] = min(price, least.get(offer.gpu, price))
    highest = max(least[gpu] for gpu in cheapest.gpus)
    largest_bytes = max(gpus[gpu].memory_bytes for gpu in cheapest.gpus)
    found = [
        gpu
        for gpu, price in sorted(least.items(), key=lambda pair: (pair[1], pair[0]))
        if price < highest and gpus[gpu].memory_bytes < largest_bytes and _is_too_small(market, gpu)
    ]
    return found[:MOST_GPUS]


def _is_too_small(market: Market, gpu: str) -> bool:
    works = [work for stage in market.stages for work in stage.needs.works.values()]
    return any(work.estimates[gpu].memory.fits in {"NO FIT", "TIGHT"} for work in works if gpu in work.estimates)


def _saved(found: Found, cheapest: Found) -> float:
    return 1 - found.cost_usd / cheapest.cost_usd if cheapest.cost_usd else 0.0


def _largest(market: Market, found: Found) -> str:
    return format_bytes(max(market.world.gpus[gpu].memory_bytes for gpu in found.gpus))
