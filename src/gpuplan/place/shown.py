"""A plan as an option for people: machines, bill, time, utilization, bound, catches. It plans nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Option, RentedMachine
from gpuplan.place.catches import catches_of
from gpuplan.place.money import priced
from gpuplan.place.schedule import total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import OptionKind, Quantity
    from gpuplan.place.catches import Frame
    from gpuplan.place.market import Found, Market
    from gpuplan.place.money import Priced, Solved

__all__ = ["Candidate", "Shown", "option_of"]


class Candidate(NamedTuple):
    """A plan that may become an option, the market it is on, and what to say against it beside the usual."""

    kind: OptionKind
    title: str
    found: Found
    market: Market
    catch: str = ""


class Shown(NamedTuple):
    """What all options are shown with: where they are seen from, and the share of runs that will be repeated."""

    frame: Frame
    failed: float


def option_of(candidate: Candidate, shown: Shown, *, chosen: bool = False) -> Option:
    """The option, with its bill drawn."""
    found = candidate.found
    price = priced(found.stages, failed=shown.failed, disk_bytes=candidate.market.experiment.compute.disk)
    bound_usd = found.bound_usd
    own = (candidate.catch,) if candidate.catch else ()
    return Option(
        kind=candidate.kind,
        title=candidate.title,
        chosen=chosen,
        machines=tuple(_machines(found, price)),
        gpus=max(sum(one.offer.gpu_count for one in stage.solution.machines) for stage in found.stages),
        cost_usd=price.bill.total_usd,
        makespan_s=price.makespan_s,
        bill=price.bill,
        utilization=price.utilization,
        bound_usd=bound_usd,
        gap=max(0.0, found.cost_usd / bound_usd - 1) if bound_usd > 0 else None,
        catches=(*own, *catches_of(found, price, shown.frame)),
    )


def _machines(found: Found, price: Priced) -> Iterator[RentedMachine]:
    for stage, hours in zip(found.stages, price.hours, strict=True):
        by_offer: dict[str, list[Quantity]] = {}
        for one, billed in zip(stage.solution.machines, hours, strict=True):
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
