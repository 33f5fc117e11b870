"""The bill of a plan, line by line, with an interval from playing it again with drawn durations. It chooses nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple, get_args

from gpuplan.model import Bill, BillLine, Quantity
from gpuplan.place.draws import DRAWS, RHO, RHO_SCALED, factors_of, played, spread_of, strands_of
from gpuplan.place.interruptions import expected_interruptions
from gpuplan.place.luck import Hazards, Luck
from gpuplan.place.problem import whole_seconds
from gpuplan.place.rentable import DOWN_S, IMAGE_BYTES, spot_of
from gpuplan.place.schedule import weakest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gpuplan.model import Estimate, Offer, Source
    from gpuplan.place.draws import Played, Spread, Strand
    from gpuplan.place.needs import Needs
    from gpuplan.place.problem import Rented, Solution

__all__ = ["Priced", "Solved", "data_usd", "priced", "usual_end_s"]

HOUR_S = 3600
MONTH_H = 730
GB = 1e9
LEAST_USD = 1e-6
"""Below it, a line is what floating point leaves of nothing."""
LINES: tuple[str, ...] = get_args(BillLine.model_fields["what"].annotation)


class Solved(NamedTuple):
    """A plan of one stage; `stage` is None for a sweep without stages."""

    stage: str | None
    needs: Needs
    solution: Solution


class Priced(NamedTuple):
    """What a plan costs and takes.

    Attributes:
        hours: billed machine-hours, one figure for each machine of each stage.
        utilization: of the GPU time that is billed, the share in which runs have their GPUs.
        ends_s: when each of the draws is over.
    """

    bill: Bill
    makespan_s: Quantity
    hours: tuple[tuple[Quantity, ...], ...]
    utilization: float
    ends_s: tuple[float, ...]

    def late(self, deadline_s: float) -> float:
        """The probability that a deadline is missed: the share of the draws."""
        return fmean(end_s > deadline_s for end_s in self.ends_s)


@dataclass(frozen=True, slots=True)
class _Machine:
    """A rented machine with all that its bill is made from."""

    rented: Rented
    offer: Offer
    per_h: float
    disk_gb: float
    leaves_gb: float
    brings_gb: float
    hazards: Hazards
    strands: tuple[Strand, ...]
    alike: int
    """Machines that are equal in it have the same bill, whatever is drawn, unless something goes wrong on them."""


class _Bill(NamedTuple):
    """One machine's replay: how it went, the seconds that are billed, dollars by line."""

    result: Played
    billed_s: float
    usd: dict[str, float]


class _Play(NamedTuple):
    """One replay of all stages: dollars by line, the end, billed seconds of each machine, GPU-seconds of work.

    The end is on the wall's clock, with the time in which a machine that was taken away is waited for.
    """

    usd: dict[str, float]
    end_s: float
    billed_s: list[float]
    busy_s: float


def priced(stages: Sequence[Solved], *, failed: float = 0.0, disk_bytes: float | None = None) -> Priced:
    """The bill, makespan and utilization of a plan.

    Its p50 are with all durations at their medians, to the cent where nothing may go wrong. Else what goes wrong is in
    the makespan as in the median of the draws, and so are failed attempts in the bill; interruptions alone are in the
    bill as they are in the mean.

    Args:
        stages: the plan.
        failed: the share of all attempts that fail, below 1.
        disk_bytes: the disk that was asked for.
    """
    machines = _machines(stages, failed, disk_bytes)
    medians = _medians(stages)
    source = weakest(one.duration_s.source for stage in stages for one in _estimates(stage))
    spreads, rho = _spreads(stages), RHO_SCALED if source == "scaled" else RHO
    drawn = [
        _played(machines, {key: medians.get(key, 1.0) * factor for key, factor in factors.items()}, Luck(draw, failed))
        for draw, factors in enumerate(factors_of(spreads, rho=rho))
    ]
    middle = _usual(machines, medians, failed)
    quantity = _Quantiles(middle, drawn, source)
    lines = tuple(
        BillLine.model_validate({"what": what, "cost_usd": quantity.line(what)})
        for what in LINES
        if quantity.line(what).p90 > LEAST_USD
    )
    count = sum(len(of_stage) for of_stage in machines)
    billed = f"{count} machine{'s' * (count != 1)} as billed, and the data"
    because = _drawn_words(machines, failed)
    return Priced(
        bill=Bill(
            lines=lines,
            total_usd=quantity.of(lambda play: math.fsum(play.usd.values()), because=f"{billed}; {because}"),
            hours=quantity.of(lambda play: math.fsum(play.billed_s) / HOUR_S, because="billed, of all machines"),
        ),
        makespan_s=quantity.of(lambda play: play.end_s, because=f"until the last run ends; {because}"),
        hours=_by_stage([quantity.hours_of(at) for at in range(count)], machines),
        utilization=_utilization(middle, [one for of_stage in machines for one in of_stage]),
        ends_s=tuple(play.end_s for play in drawn),
    )


def usual_end_s(stages: Sequence[Solved], *, failed: float = 0.0) -> float:
    """When a plan is over with durations at their medians and as much going wrong as usual: `priced`'s p50."""
    return _usual(_machines(stages, failed, None), _medians(stages), failed).end_s


def data_usd(stages: Sequence[Solved], *, disk_bytes: float | None = None) -> float:
    """What a plan costs beside its machines' hours: data in and out, and storage."""
    machines = [one for of_stage in _machines(stages, 0.0, disk_bytes) for one in of_stage]
    charges = [_data_charges(one, one.rented.billed_s) for one in machines if one.offer.place != "local"]
    return math.fsum(amount for each in charges for amount in each.values())


class _Quantiles(NamedTuple):
    """Figures of a play in the middle with the interval of the drawn ones."""

    middle: _Play
    drawn: list[_Play]
    source: Source

    def of(self, figure: Callable[[_Play], float], *, because: str) -> Quantity:
        middle, drawn = figure(self.middle), sorted(map(figure, self.drawn))
        tenth = len(drawn) // 10
        low, high = sum(drawn[tenth - 1 : tenth + 1]) / 2, sum(drawn[-tenth - 1 : -tenth + 1]) / 2
        return Quantity(p10=min(low, middle), p50=middle, p90=max(high, middle), source=self.source, because=because)

    def line(self, what: str) -> Quantity:
        return self.of(lambda play: play.usd[what], because=what)

    def hours_of(self, machine: int) -> Quantity:
        return self.of(lambda play: play.billed_s[machine] / HOUR_S, because="as billed")


def _usual(machines: Sequence[Sequence[_Machine]], medians: Mapping[tuple[str, str], float], failed: float) -> _Play:
    """All durations at their medians, with as much going wrong as usual."""
    steady = _played(machines, medians)
    if all(one.hazards.is_steady for of_stage in machines for one in of_stage):
        return steady
    plays = [_played(machines, medians, Luck(draw, failed)) for draw in range(DRAWS)]
    end_s = median(play.end_s for play in plays)
    return (_middle_of(plays) if failed else steady)._replace(end_s=end_s)


def _middle_of(plays: Sequence[_Play]) -> _Play:
    """The mean of the fifth of the plays whose bills are in the middle: lines that add up to about the median."""
    by_cost = sorted(plays, key=lambda play: math.fsum(play.usd.values()))
    fifth = by_cost[2 * len(plays) // 5 : 3 * len(plays) // 5]
    return _Play(
        usd={what: fmean(play.usd[what] for play in fifth) for what in LINES},
        end_s=fmean(play.end_s for play in fifth),
        billed_s=[fmean(each) for each in zip(*(play.billed_s for play in fifth), strict=True)],
        busy_s=fmean(play.busy_s for play in fifth),
    )


def _drawn_words(machines: Sequence[Sequence[_Machine]], failed: float) -> str:
    """What the draws have in them."""
    per_h = sorted({one.per_h for of_stage in machines for one in of_stage if one.hazards.is_interrupted})
    words = [
        f"{DRAWS} draws of the durations",
        *([f"{100 * failed:.2g}% of all attempts failing"] if failed else []),
        *([f"spot machines taken away {' or '.join(f'{one:.2g}' for one in per_h)} times an hour"] if per_h else []),
    ]
    return ", ".join(words)


def _machines(stages: Sequence[Solved], failed: float, disk_bytes: float | None) -> list[list[_Machine]]:
    numbers: dict[object, int] = {}

    def machine(rented: Rented, stage: Solved) -> _Machine:
        strands = strands_of(rented)
        alike = numbers.setdefault((rented.offer.offer, strands), len(numbers))
        return _machine(rented, stage, strands, failed=failed, disk_bytes=disk_bytes, alike=alike)

    return [[machine(rented, stage) for rented in stage.solution.machines] for stage in stages]


def _machine(
    rented: Rented,
    stage: Solved,
    strands: tuple[Strand, ...],
    *,
    failed: float,
    disk_bytes: float | None,
    alike: int,
) -> _Machine:
    offer, load = stage.needs.offers[rented.offer.offer], stage.needs.load
    works = stage.needs.works
    leaves = sum(one.runs * works[one.job].estimates[offer.gpu].disk_bytes.p50 / GB for one in rented.assignments)
    brings = (load.input_bytes + IMAGE_BYTES) / GB
    spot = spot_of(offer, load)
    disk = disk_bytes / GB if disk_bytes else leaves + brings
    per_h, hazards = spot.per_h if spot else 0.0, Hazards.of(failed, spot)
    return _Machine(rented, offer, per_h, disk, leaves, brings, hazards, strands, alike)


def _played(
    machines: Sequence[Sequence[_Machine]], factors: Mapping[tuple[str, str], float], luck: Luck | None = None
) -> _Play:
    usd = dict.fromkeys(LINES, 0.0)
    end_s, billed_s, busy_s = 0.0, [], 0.0
    known: dict[int, _Bill] = {}
    for of_stage in machines:
        ends_s = [0.0]
        for machine in of_stage:
            if luck and not machine.hazards.is_steady:
                bill = _billed(machine, factors, luck)
            else:
                bill = known.get(machine.alike) or known.setdefault(machine.alike, _billed(machine, factors))
            ends_s.append(bill.result.end_s + DOWN_S * (bill.result.outages or 0))
            billed_s.append(bill.billed_s)
            busy_s += bill.result.busy_s
            for what, amount in bill.usd.items():
                usd[what] += amount
        end_s += max(ends_s)
    return _Play(usd, end_s, billed_s, busy_s)


def _billed(machine: _Machine, factors: Mapping[tuple[str, str], float], luck: Luck | None = None) -> _Bill:
    result = played(machine.rented, machine.strands, factors, hazards=machine.hazards, luck=luck)
    billed_s = _billed_s(machine.rented, result.end_s)
    return _Bill(result, billed_s, _charges(machine, result, billed_s))


def _billed_s(rented: Rented, end_s: float) -> float:
    offer = rented.offer
    units = math.ceil(round((end_s - whole_seconds(offer.wait_s)) / offer.billing_s, 9))
    return float(max(units * offer.billing_s, offer.minimum_s))


def _charges(machine: _Machine, result: Played, billed_s: float) -> dict[str, float]:
    """Dollars by line for one machine."""
    rentable, offer = machine.rented.offer, machine.offer
    usd_per_s = rentable.price_usd_per_h / HOUR_S
    if offer.place == "local":
        return {"electricity": usd_per_s * billed_s}
    setup_s = whole_seconds(rentable.setup_s)
    used_s = result.end_s - whole_seconds(rentable.wait_s)
    busy_s = result.busy_s / rentable.gpu_count
    useful_s, repeated_s = result.useful_s / rentable.gpu_count, result.repeated_s / rentable.gpu_count
    return {
        "rent": usd_per_s * useful_s,
        "interruptions": max(0.0, usd_per_s * (busy_s - useful_s - repeated_s)),
        "repeated work": usd_per_s * repeated_s,
        "setup": usd_per_s * setup_s,
        "idle": max(0.0, usd_per_s * (used_s - setup_s - busy_s)),
        "rounding": max(0.0, usd_per_s * (billed_s - used_s)),
        **_data_charges(machine, billed_s, outages=result.outages),
    }


def _data_charges(machine: _Machine, billed_s: float, *, outages: int | None = None) -> dict[str, float]:
    offer = machine.offer
    down_h = (expected_interruptions(billed_s, machine.per_h) if outages is None else outages) * DOWN_S / HOUR_S
    stopped = offer.stopped_usd_per_gb_month or 0.0
    kept = (offer.storage_usd_per_gb_month or 0.0) * billed_s / HOUR_S + stopped * down_h
    return {
        "download": machine.brings_gb * (offer.download_usd_per_gb or 0.0),
        "upload": machine.leaves_gb * (offer.upload_usd_per_gb or 0.0),
        "storage": machine.disk_gb * kept / MONTH_H,
    }


def _spreads(stages: Sequence[Solved]) -> dict[str, dict[str, Spread]]:
    """Of each class, on the GPUs that it has in the plan."""
    return {
        name: {gpu: spread_of(one.duration_s) for gpu, one in work.estimates.items() if gpu in _gpus(stage)}
        for stage in stages
        for name, work in stage.needs.works.items()
    }


def _medians(stages: Sequence[Solved]) -> dict[tuple[str, str], float]:
    """The median duration over the planned one, where a cautious plan was made with another."""
    return {
        (name, gpu): one.duration_s.p50 / one.duration_s.p90
        for stage in stages
        if stage.needs.cautious
        for name, work in stage.needs.works.items()
        for gpu, one in work.estimates.items()
        if one.duration_s.p90 > 0
    }


def _estimates(stage: Solved) -> Iterator[Estimate]:
    gpus = _gpus(stage)
    for work in stage.needs.works.values():
        yield from (one for gpu, one in work.estimates.items() if gpu in gpus)


def _gpus(stage: Solved) -> frozenset[str]:
    return frozenset(one.offer.gpu for one in stage.solution.machines)


def _by_stage(hours: Sequence[Quantity], machines: Sequence[Sequence[_Machine]]) -> tuple[tuple[Quantity, ...], ...]:
    left = iter(hours)
    return tuple(tuple(next(left) for _ in of_stage) for of_stage in machines)


def _utilization(play: _Play, machines: Sequence[_Machine]) -> float:
    billed = math.fsum(
        seconds * one.rented.offer.gpu_count for seconds, one in zip(play.billed_s, machines, strict=True)
    )
    return min(1.0, play.busy_s / billed) if billed else 0.0
