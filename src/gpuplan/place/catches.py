"""What is to be said against an option, in words: old prices, interruptions, what is not stated. It chooses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.place.interruptions import expected_interruptions
from gpuplan.place.rentable import ASSUMED_MACHINES, OWN_PLACES, spot_of
from gpuplan.units import format_bytes, format_duration, format_usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuplan.model import Limits, Offer
    from gpuplan.place.market import Found
    from gpuplan.place.money import Priced, Solved

__all__ = ["Frame", "catches_of"]

IDLE = 0.5
COLAB = "colab"
"""Where one asks for a GPU and may get another; its notes say so."""


class Frame(NamedTuple):
    """What the catches are seen from: today, the user's limits, and of each offer what its source does not state."""

    today: str
    limits: Limits
    unstated: Mapping[str, str]


def catches_of(found: Found, price: Priced, frame: Frame) -> tuple[str, ...]:
    """One sentence a catch, what matters most first."""
    catches = [
        *_limits_missed(found, price, frame.limits),
        *(catch for stage in found.stages for catch in _of_stage(stage, frame)),
    ]
    if price.utilization < IDLE:
        catches.append(f"{1 - price.utilization:.0%} of the GPU time that is paid for is idle")
    return tuple(dict.fromkeys(catches))


def _limits_missed(found: Found, price: Priced, limits: Limits) -> Iterator[str]:
    budget, deadline = limits.budget, limits.deadline
    if budget is not None and price.bill.total_usd.p50 > budget:
        yield f"{format_usd(price.bill.total_usd.p50 - budget)} over the budget"
    elif budget is not None and price.bill.total_usd.p90 > budget:
        yield f"may exceed the budget: up to {format_usd(price.bill.total_usd.p90)}"
    if deadline is not None and found.makespan_s > deadline:
        yield f"ends {format_duration(found.makespan_s - deadline)} after the deadline"
    elif deadline is not None and price.makespan_s.p50 > deadline:
        usual, late = format_duration(price.makespan_s.p50), format_duration(price.makespan_s.p90)
        yield f"likelier than not to miss the deadline, with what goes wrong: {usual}, up to {late}"
    elif deadline is not None and price.makespan_s.p90 > deadline:
        yield f"may miss the deadline: up to {format_duration(price.makespan_s.p90)}"


def _of_stage(stage: Solved, frame: Frame) -> Iterator[str]:
    ids = dict.fromkeys(one.offer.offer for one in stage.solution.machines)
    offers = [stage.needs.offers[each] for each in ids]
    for offer in offers:
        if offer.id in frame.unstated:
            wish = frame.unstated[offer.id].removeprefix("would pass if ").removesuffix(": not stated")
            yield f"not stated whether {wish}"
    for offer in offers:
        yield from _of_offer(offer, stage, frame)
    yield from _of_memory(stage)


def _of_offer(offer: Offer, stage: Solved, frame: Frame) -> Iterator[str]:
    mine = [one for one in stage.solution.machines if one.offer.offer == offer.id]
    spot = spot_of(offer, stage.needs.load)
    if spot is not None:
        hours_s = sum(one.billed_s for one in mine)
        times = expected_interruptions(hours_s, spot.per_h)
        lost = "" if stage.needs.load.resumes else ", and nothing resumes a run"
        rate = " at the median rate of public traces" if spot.is_assumed else ""
        yield f"spot: expect {times:.2g} interruptions{rate}{lost}; runs take {spot.pace:.2f} times as long"
    if offer.place in OWN_PLACES:
        if offer.notes:
            yield offer.notes
        return
    yield from _of_price(offer, frame.today)
    if offer.available is None and len(mine) > 1:
        yield f"whether {offer.place} has so many is not stated (up to {ASSUMED_MACHINES} of one offer are assumed)"
    elif offer.available == 1:
        yield "only one is available"
    if offer.place == COLAB and offer.notes:
        yield offer.notes.rpartition("; ")[2]
    if offer.session_s is not None:
        yield f"a session ends after {format_duration(offer.session_s)}"


def _of_price(offer: Offer, today: str) -> Iterator[str]:
    age = offer.age_days(today)
    if age is None:
        yield f"price at {offer.place} undated"
    elif offer.is_stale(today):
        yield f"price at {offer.place} {age} days old"


def _of_memory(stage: Solved) -> Iterator[str]:
    used = sorted({(one.job, machine.offer.gpu) for machine in stage.solution.machines for one in machine.assignments})
    tight = [(job, gpu) for job, gpu in used if stage.needs.works[job].estimates[gpu].memory.fits == "TIGHT"]
    if tight:
        yield max((_tight(stage, job, gpu) for job, gpu in tight), key=lambda one: one.oom_probability).words
    if any(stage.needs.works[job].estimates[gpu].memory.fits == "UNKNOWN" for job, gpu in used):
        yield "whether the runs fit is not known"


class _Tight(NamedTuple):
    oom_probability: float
    words: str


def _tight(stage: Solved, job: str, gpu: str) -> _Tight:
    work = stage.needs.works[job]
    memory = work.estimates[gpu].memory
    copies = f"{work.first.copies} x " if work.first.copies > 1 else ""
    needs = f"{copies}{format_bytes(memory.device_bytes.p50)} of {format_bytes(memory.capacity_bytes)} on {gpu}"
    odds = memory.oom_probability or 0.0
    return _Tight(odds, f"fits only tightly, {needs}: out of memory with a probability of {odds:.0%}")
