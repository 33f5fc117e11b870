"""What is to be said against an option, in words: old prices, interruptions, what is not stated. It chooses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.interruptions import expected_interruptions
from gpuplan.place.rentable import ASSUMED_MACHINES, OWN_PLACES, SLURM, spot_of
from gpuplan.units import format_bytes, format_duration, format_usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuplan.model import Limits, Offer
    from gpuplan.place.market import Found
    from gpuplan.place.money import Priced, Solved
    from gpuplan.place.problem import Rented

__all__ = ["Frame", "catches_of"]

IDLE = 0.5
COLAB = "colab"
"""Where one asks for a GPU and may get another; its notes say so."""


class Frame(NamedTuple):
    """What the catches are seen from: today, the user's limits, and of each offer what its source does not state."""

    today: str
    limits: Limits
    unstated: Mapping[str, str]


class _Catch(NamedTuple):
    """A sentence, and the stages that it is about."""

    words: str
    stages: tuple[Solved, ...]


def catches_of(found: Found, price: Priced, frame: Frame) -> tuple[str, ...]:
    """One sentence a catch, what matters most first; one that is not about all stages names its own."""
    catches = [*_limits_missed(found, price, frame.limits), *_named(_of_offers(found.stages, frame), found.stages)]
    catches += _named(_of_memory(found.stages), found.stages)
    if price.utilization < IDLE:
        catches.append(f"{1 - price.utilization:.0%} of the GPU time that is paid for is idle")
    return tuple(dict.fromkeys(catches))


def _named(catches: Iterable[_Catch], stages: Sequence[Solved]) -> Iterator[str]:
    about: dict[str, set[str | None]] = {}
    for catch in catches:
        about.setdefault(catch.words, set()).update(stage.stage for stage in catch.stages)
    for words, names in about.items():
        mine = [stage.stage for stage in stages if stage.stage in names]
        yield words if len(mine) == len(stages) else f"{words} (in {', '.join(filter(None, mine))})"


def _limits_missed(found: Found, price: Priced, limits: Limits) -> Iterator[str]:
    budget, deadline = limits.budget, limits.deadline
    if budget is not None and price.bill.total_usd.p50 > budget:
        yield f"{format_usd(price.bill.total_usd.p50 - budget)} over the budget"
    elif budget is not None and price.bill.total_usd.p90 > budget:
        yield f"may exceed the budget: up to {format_usd(price.bill.total_usd.p90)}"
    if deadline is not None and found.makespan_s > deadline:
        yield f"ends {format_duration(found.makespan_s - deadline)} after the deadline"
    elif deadline is not None and price.makespan_s.p90 > deadline:
        usual_s, safe = price.makespan_s.p50, format_duration(price.makespan_s.p90)
        usual = f", usually by {format_duration(usual_s - deadline)}" if usual_s > deadline else ""
        odds = f"a probability of {price.late(deadline):.0%}"
        yield f"misses the deadline with {odds}{usual}; one of {safe} is kept nine times of ten"


def _of_offers(stages: Sequence[Solved], frame: Frame) -> Iterator[_Catch]:
    used: dict[str, list[Solved]] = {}
    for stage in stages:
        for each in dict.fromkeys(one.offer.offer for one in stage.solution.machines):
            used.setdefault(each, []).append(stage)
    offers = [(mine[0].needs.offers[each], tuple(mine)) for each, mine in used.items()]
    for offer, mine in offers:
        if offer.id in frame.unstated:
            wish = frame.unstated[offer.id].removeprefix("would pass if ").removesuffix(": not stated")
            yield _Catch(f"not stated whether {wish}", mine)
    for offer, mine in offers:
        yield from (_Catch(words, mine) for words in _of_offer(offer, mine, frame))


def _of_offer(offer: Offer, stages: Sequence[Solved], frame: Frame) -> Iterator[str]:
    yield from _of_spot(offer, stages)
    if offer.place in OWN_PLACES:
        if offer.notes:
            yield offer.notes
        if offer.place == SLURM and offer.wait_s is None:
            yield "the wait in the queue is not known, and not in the time"
        return
    yield from _of_price(offer, frame.today)
    if offer.available is None and max(len(_machines(offer, stage)) for stage in stages) > 1:
        yield f"whether {offer.place} has so many is not stated (up to {ASSUMED_MACHINES} of one offer are assumed)"
    elif offer.available == 1:
        yield "only one is available"
    if offer.place == COLAB and offer.notes:
        yield offer.notes.rpartition("; ")[2]
    if offer.session_s is not None:
        yield f"a session ends after {format_duration(offer.session_s)}"


def _of_spot(offer: Offer, stages: Sequence[Solved]) -> Iterator[str]:
    """What interruptions do in all stages that use the offer."""
    spots = [spot for stage in stages if (spot := spot_of(offer, stage.needs.load)) is not None]
    if not spots:
        return
    billed_s = sum(one.billed_s for stage in stages for one in _machines(offer, stage))
    times = expected_interruptions(billed_s, spots[0].per_h)
    lost = "" if all(stage.needs.load.resumes for stage in stages) else ", and nothing resumes a run"
    rate = " at the median rate of public traces" if spots[0].is_assumed else ""
    paces = dict.fromkeys(f"{pace:.2f}" for pace in sorted(spot.pace for spot in spots))
    longer = " to ".join([*paces][:: max(1, len(paces) - 1)])
    yield f"spot: expect {times:.2g} interruptions{rate}{lost}; runs take {longer} times as long"


def _machines(offer: Offer, stage: Solved) -> list[Rented]:
    return [one for one in stage.solution.machines if one.offer.offer == offer.id]


def _of_price(offer: Offer, today: str) -> Iterator[str]:
    age = offer.age_days(today)
    if age is None:
        yield f"price at {offer.place} undated"
    elif offer.is_stale(today):
        yield f"price at {offer.place} {age} days old"


class _Tight(NamedTuple):
    oom_probability: float
    words: str
    stage: Solved


def _of_memory(stages: Sequence[Solved]) -> Iterator[_Catch]:
    tight: list[_Tight] = []
    unknown: list[Solved] = []
    for stage in stages:
        machines = stage.solution.machines
        used = sorted({(one.job, machine.offer.gpu) for machine in machines for one in machine.assignments})
        fits = {(job, gpu): stage.needs.works[job].estimates[gpu].memory.fits for job, gpu in used}
        tight += [_tight(stage, job, gpu) for job, gpu in used if fits[job, gpu] == "TIGHT"]
        unknown += [stage] if "UNKNOWN" in fits.values() else []
    if tight:
        worst = max(tight, key=lambda one: one.oom_probability)
        yield _Catch(worst.words, tuple(one.stage for one in tight))
    if unknown:
        yield _Catch("whether the runs fit is not known", tuple(unknown))


def _tight(stage: Solved, job: str, gpu: str) -> _Tight:
    work = stage.needs.works[job]
    memory = work.estimates[gpu].memory
    copies = f"{work.first.copies} x " if work.first.copies > 1 else ""
    needs = f"{copies}{format_bytes(memory.device_bytes.p50)} of {format_bytes(memory.capacity_bytes)} on {gpu}"
    odds = memory.oom_probability or 0.0
    return _Tight(odds, f"fits only tightly, {needs}: out of memory with a probability of {odds:.0%}", stage)
