"""Three to six ways to run a sweep that differ in kind, the one that the goal asks for ticked. It rents nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from operator import eq
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.advice import WORTH_SAYING, advice_of, scaled_down, scaled_to
from gpuplan.place.ontime import Timely, in_time, is_in_time
from gpuplan.place.problem import Goal
from gpuplan.place.search import say_nothing
from gpuplan.place.shown import Candidate, Shown, draft_of, option_of
from gpuplan.units import format_duration, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gpuplan.model import Option
    from gpuplan.place.advice import Advice
    from gpuplan.place.market import Found, Market
    from gpuplan.place.problem import JobClass, Rentable, Rented
    from gpuplan.place.shown import Draft

__all__ = ["Options", "goal_of", "options_of"]

MOST_OPTIONS = 6
TIMES_CHEAPEST = 3.0
"""What the fastest option may cost, in multiples of the cheapest, where no budget is given."""
DISREGARDING = frozenset({"scale_up", "scale_down", "unstated", "local"})
"""Kinds of options that do not keep to all that the spec says."""
SIDE_BY_SIDE = frozenset({"local", "one_machine", "scale_up", "scale_down"})
"""Kinds that people ask for by themselves, and so stand even beside one that is cheaper and faster."""
WORTH_LISTING = 0.01
"""Sooner by less than this share is not sooner: it would be shown as the same time."""
CENT_USD = 0.01
MOST_SINGLES = 4
"""Single machines that are tried out, of those that look cheapest."""


class Options(NamedTuple):
    """The options, the chosen one first; the plan behind that one; what would change the choice."""

    options: tuple[Option, ...]
    chosen: Found | None
    advice: tuple[str, ...]


def goal_of(market: Market) -> Goal:
    """Cheapest within the deadline and the budget of the spec."""
    limits = market.experiment.limits
    return Goal("cheapest", deadline_s=limits.deadline or math.inf, budget_usd=_or_inf(limits.budget))


def options_of(
    market: Market,
    shown: Shown,
    *,
    unstated: Market | None = None,
    say_better: Callable[[Draft], None] = say_nothing,
) -> Options:
    """The options on a market; `unstated` is the one of offers that do not state all that is wished for.

    With no plan within the limits, the options are those without limits, and none is chosen. `say_better` hears of
    each better plan on the way to the chosen one.
    """
    goal = goal_of(market)
    cheapest = market.cheapest(goal, say_better=lambda found: say_better(draft_of(found, market)))
    is_met = cheapest is not None
    cheapest = cheapest or market.cheapest(Goal("cheapest"))
    if cheapest is None:
        return Options((), None, ())
    timely = in_time(market, goal, cheapest, failed=shown.failed) if is_met else Timely(cheapest, math.inf)
    within = replace(goal, deadline_s=timely.deadline_s) if is_met else Goal("cheapest")
    if timely.found is not cheapest:
        cheapest = timely.found
        say_better(draft_of(cheapest, market))
    down = scaled_down(market.quick, cheapest, within)
    candidates = [_first(market, cheapest)]
    seen = {cheapest.identity}
    for candidate in _others(market, cheapest, within, down, unstated):
        if candidate.found.identity not in seen and len(candidates) < MOST_OPTIONS:
            seen.add(candidate.found.identity)
            candidates.append(candidate)
    if is_met:
        candidates = _by_bill(market, candidates, goal, failed=shown.failed)
        cheapest = candidates[0].found
    candidates = list(_worth_listing(market, candidates))
    options = tuple(
        option_of(candidate, shown, chosen=is_met and number == 0) for number, candidate in enumerate(candidates)
    )
    if not is_met:
        return Options(options, None, ())
    said = down.candidate.title if down else None
    on_time = (timely.advice,) if timely.advice and cheapest is timely.found else ()
    advice = advice_of(market, cheapest, goal, within=within, down=down)
    surer = _surer(options, goal.deadline_s)
    return Options(options, cheapest, (*on_time, *surer, *_cheaper(options, but=said), *advice))


def _worth_listing(market: Market, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """Those that no other beats in cost without taking longer, and the kinds that stand side by side; the first stays.

    What keeps less of the spec's wishes beats nothing that keeps more of them.
    """
    bills = [one.found.cost_usd + market.data_usd(one.found) for one in candidates]

    def beats(other: int, one: int) -> bool:
        return (
            other != one
            and (candidates[other].kind not in DISREGARDING or candidates[one].kind in DISREGARDING)
            and (bills[other], other) < (bills[one], one)
            and candidates[other].found.makespan_s <= candidates[one].found.makespan_s * (1 + WORTH_LISTING)
        )

    for number, candidate in enumerate(candidates):
        keeps = number == 0 or candidate.kind in SIDE_BY_SIDE
        if keeps or not any(beats(other, number) for other in range(len(candidates))):
            yield candidate


def _by_bill(market: Market, candidates: Sequence[Candidate], goal: Goal, *, failed: float) -> list[Candidate]:
    """The candidates, the one of the smallest bill first: with data and storage counted it need not be the cheapest.

    One that keeps all limits and wishes, and costs less than the first, takes its place; the first is then no option.
    """

    def bill_usd(candidate: Candidate) -> float:
        return candidate.found.cost_usd + market.data_usd(candidate.found)

    first = candidates[0]
    rivals = [one for one in candidates if one.kind not in DISREGARDING and bill_usd(one) <= bill_usd(first) - CENT_USD]
    punctual = [one for one in rivals if is_in_time(one.found, goal.deadline_s, failed=failed)]
    if not punctual:
        return list(candidates)
    best = min(punctual, key=bill_usd)
    found = best.found._replace(bound_usd=first.found.bound_usd)
    return [_first(market, found), *(one for one in candidates[1:] if one is not best)]


def _surer(options: Sequence[Option], deadline_s: float) -> Iterator[str]:
    """The cheapest option with a p90 within the deadline, where that of the chosen one is later."""
    chosen = options[0]
    sure = [one for one in options if one.kind not in DISREGARDING and one.makespan_s.p90 <= deadline_s]
    if sure and chosen not in sure:
        best = min(sure, key=lambda one: one.cost_usd.p50)
        more = f", {best.cost_usd.p50 / chosen.cost_usd.p50 - 1:.0%} more" if chosen.cost_usd.p50 else ""
        yield f"{best.title}, keeps the deadline nine times of ten: {format_usd(best.cost_usd.p50)}{more}"


def _cheaper(options: Sequence[Option], *, but: str | None) -> Iterator[str]:
    """Options that disregard a wish of the spec, and cost less for it."""
    chosen = options[0]
    for option in options[1:]:
        saved = 1 - option.cost_usd.p50 / chosen.cost_usd.p50 if chosen.cost_usd.p50 else 0.0
        if saved >= WORTH_SAYING and option.kind in DISREGARDING and option.title != but:
            yield f"{option.title} saves {saved:.0%}: {format_usd(option.cost_usd.p50)}"


def _first(market: Market, cheapest: Found) -> Candidate:
    by_gpus: dict[str, list[str]] = {}
    for stage in cheapest.stages:
        by_gpus.setdefault(_kinds(stage.solution.machines), []).append(stage.stage or "")
    if len(by_gpus) > 1:
        words = "; ".join(f"{', '.join(stages)} on {gpus}" for gpus, stages in by_gpus.items())
        return Candidate("hybrid", f"hybrid: {words}", cheapest, market)
    return Candidate("cheapest", "cheapest", cheapest, market)


def _others(
    market: Market, cheapest: Found, goal: Goal, down: Advice | None, unstated: Market | None
) -> Iterator[Candidate]:
    """In the order of how much they say; each is searched only when it is asked for."""
    makers: tuple[Callable[[], Candidate | None], ...] = (
        lambda: _local(market.quick),
        lambda: _fastest(market.quick, cheapest, goal),
        lambda: _tier(market.quick, "scale_down"),
        lambda: _tier(market.quick, "scale_up"),
        lambda: down.candidate if down else None,
        lambda: _without_limits(unstated.quick if unstated else None),
        lambda: _one_machine(market.quick, cheapest),
        lambda: _more_machines(market.quick, cheapest, goal),
        lambda: _own_and_rented(market.quick, goal),
    )
    for make in makers:
        if not market.search.keep_going():
            return
        candidate = make()
        if candidate is not None:
            yield candidate


def _local(market: Market) -> Candidate | None:
    """Everything on one's own machines, as soon as that can be."""
    found = market.solve(Goal("fastest"), keep=market.is_own, tiers=False)
    return Candidate("local", "what you have", found, market) if found else None


def _fastest(market: Market, cheapest: Found, goal: Goal) -> Candidate | None:
    budget_usd, words = goal.budget_usd, "within the budget"
    if math.isinf(budget_usd):
        rented = (
            cheapest if cheapest.cost_usd else market.solve(Goal("cheapest"), keep=lambda one: not market.is_own(one))
        )
        if rented is None:
            return None
        budget_usd = TIMES_CHEAPEST * rented.cost_usd
        words = f"within {TIMES_CHEAPEST:g} times the cheapest, {format_usd(budget_usd)}"
    found = market.solve(Goal("fastest", deadline_s=goal.deadline_s, budget_usd=budget_usd))
    return Candidate("fastest", f"fastest {words}", found, market) if found else None


def _tier(market: Market, which: str) -> Candidate | None:
    """All stages on the tier of least, or of most memory, that the stages name."""
    gpus = market.world.gpus
    named = sorted({gpu for stage in market.stages for gpu in stage.tier if gpu in gpus})
    if len({stage.tier for stage in market.stages}) < 2:
        return None
    pick = min if which == "scale_down" else max
    memory_bytes = pick(gpus[gpu].memory_bytes for gpu in named)
    tier = {gpu for gpu in named if gpus[gpu].memory_bytes == memory_bytes}
    words = f"{which.replace('_', ' ')}: all stages on {' or '.join(sorted(tier))}"
    found = market.solve(Goal("cheapest"), keep=lambda one: one.gpu in tier, tiers=False)
    if found is not None:
        return Candidate("scale_down" if which == "scale_down" else "scale_up", words, found, market)
    return scaled_to(market, tier, title=words) if which == "scale_down" else None


def _without_limits(unstated: Market | None) -> Candidate | None:
    found = unstated.solve(Goal("cheapest")) if unstated else None
    if found is None or unstated is None:
        return None
    return Candidate("unstated", "cheapest of what does not state all that is wished", found, unstated)


def _one_machine(market: Market, cheapest: Found) -> Candidate | None:
    """One machine that does everything, for least; nothing where the cheapest plan is one already."""
    if len(market.stages) > 1 or len(cheapest.stages[0].solution.machines) == 1:
        return None
    needs = market.stages[0].needs
    looked = sorted(needs.problem.offers, key=lambda offer: _alone_usd(needs.problem.jobs, offer))
    best: Found | None = None
    for offer in looked[:MOST_SINGLES]:
        found = market.solve(Goal("cheapest"), keep=partial(eq, offer))
        if found and len(found.stages[0].solution.machines) == 1 and (best is None or found.cost_usd < best.cost_usd):
            best = found
    return Candidate("one_machine", "one machine, nothing to move", best, market) if best else None


def _more_machines(market: Market, cheapest: Found, goal: Goal) -> Candidate | None:
    """The same GPUs in half the time."""
    deadline_s = cheapest.makespan_s / 2
    found = market.solve(
        Goal("cheapest", deadline_s=deadline_s, budget_usd=goal.budget_usd), keep=lambda one: one.gpu in cheapest.gpus
    )
    title = f"more of the same: within half the time, {format_duration(deadline_s)}"
    return Candidate("more_machines", title, found, market) if found else None


def _own_and_rented(market: Market, goal: Goal) -> Candidate | None:
    """One's own machines, and as much rented beside them as halves the time."""
    own = market.solve(Goal("fastest"), keep=market.is_own, tiers=False)
    if own is None:
        return None
    deadline_s = min(own.makespan_s / 2, goal.deadline_s)
    found = market.solve(Goal("cheapest", deadline_s=deadline_s, budget_usd=goal.budget_usd), tiers=False)
    places = {market.is_own(one.offer) for stage in found.stages for one in stage.solution.machines} if found else set()
    if found is None or len(places) < 2:
        return None
    return Candidate("own_and_rented", "your own, and rented beside it", found, market)


def _alone_usd(jobs: Sequence[JobClass], offer: Rentable) -> float:
    """About what one machine of it would cost for everything, its GPUs always busy."""
    work_s = sum(job.count * job.gpus * job.duration_s.get(offer.gpu, math.inf) for job in jobs) * offer.pace
    return offer.price_usd_per_h * (offer.setup_s + work_s / offer.gpu_count)


def _kinds(machines: Iterable[Rented]) -> str:
    return " and ".join(sorted({one.offer.gpu for one in machines}))


def _or_inf(limit: float | None) -> float:
    return math.inf if limit is None else limit
