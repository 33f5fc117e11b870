"""A plan as an option for people: machines, bill, time, utilization, bound, catches. It plans nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Option, Quantity, RentedMachine
from gpuplan.place.catches import catches_of
from gpuplan.place.money import priced
from gpuplan.place.schedule import total

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import OptionKind
    from gpuplan.place.catches import Frame
    from gpuplan.place.market import Found, Market
    from gpuplan.place.money import Solved

__all__ = ["Candidate", "Draft", "Shown", "draft_of", "option_of"]

HOUR_S = 3600


class Candidate(NamedTuple):
    """A plan that may become an option, the market it is on, and what to say against it beside the usual."""

    kind: OptionKind
    title: str
    found: Found
    market: Market
    catch: str = ""


class Draft(NamedTuple):
    """A plan while better ones are looked for, by the planned durations; `gap` as of an option."""

    cost_usd: float
    makespan_s: int
    machines: tuple[RentedMachine, ...]
    gap: float | None


class Shown(NamedTuple):
    """What all options are shown with: where they are seen from, and the share of attempts that fail."""

    frame: Frame
    failed: float


def draft_of(found: Found, market: Market) -> Draft:
    """What there is to say of a plan at once, without drawing its bill."""
    hours = [[_as_planned(one.billed_s) for one in stage.solution.machines] for stage in found.stages]
    cost_usd = found.cost_usd + market.data_usd(found)
    return Draft(cost_usd, found.makespan_s, tuple(_machines(found, hours)), _gap(found))


def option_of(candidate: Candidate, shown: Shown, *, chosen: bool = False) -> Option:
    """The option, with its bill drawn."""
    found = candidate.found
    price = priced(found.stages, failed=shown.failed, disk_bytes=candidate.market.experiment.compute.disk)
    own = (candidate.catch,) if candidate.catch else ()
    failing = (f"{100 * shown.failed:.2g}% of all attempts are counted as failing",) if shown.failed else ()
    return Option(
        kind=candidate.kind,
        title=candidate.title,
        chosen=chosen,
        machines=tuple(_machines(found, price.hours)),
        gpus=max(sum(one.offer.gpu_count for one in stage.solution.machines) for stage in found.stages),
        cost_usd=price.bill.total_usd,
        makespan_s=price.makespan_s,
        bill=price.bill,
        utilization=price.utilization,
        bound_usd=found.bound_usd,
        gap=_gap(found),
        catches=(*own, *catches_of(found, price, shown.frame), *failing),
    )


def _gap(found: Found) -> float | None:
    return max(0.0, found.cost_usd / found.bound_usd - 1) if found.bound_usd > 0 else None


def _as_planned(billed_s: int) -> Quantity:
    hours = billed_s / HOUR_S
    return Quantity(p10=hours, p50=hours, p90=hours, source="assumed", because="as planned")


def _machines(found: Found, hours: Sequence[Sequence[Quantity]]) -> Iterator[RentedMachine]:
    for stage, of_stage in zip(found.stages, hours, strict=True):
        by_offer: dict[str, list[Quantity]] = {}
        for one, billed in zip(stage.solution.machines, of_stage, strict=True):
            by_offer.setdefault(one.offer.offer, []).append(billed)
        for offer, billed_h in by_offer.items():
            yield _machine(stage, offer, billed_h)


def _machine(stage: Solved, offer_id: str, billed_h: list[Quantity]) -> RentedMachine:
    offer = stage.needs.offers[offer_id]
    return RentedMachine(
        offer=offer.id,
        place=offer.place,
        gpu=offer.gpu,
        gpu_count=offer.gpu_count,
        machines=len(billed_h),
        hours=total(billed_h, because=f"billed, of {len(billed_h)}"),
        price_usd_per_h=offer.price_usd_per_h or 0.0,
        spot=offer.spot,
        as_of=offer.as_of,
        stage=stage.stage,
    )
