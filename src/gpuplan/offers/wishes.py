"""The filters of a spec over offers that can be believed. What a source does not state passes no filter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import gpu_readings
from gpuplan.model import Refused
from gpuplan.offers.base import OWN_PLACES
from gpuplan.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import Compute, Gpu, Offer

__all__ = ["Wishes", "judged", "runs_on", "wishes_of"]

BUILT_FOR = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


class Wishes(NamedTuple):
    """What an offer has to be; empty and None: whatever it is."""

    compute: Compute
    gpus: frozenset[str]
    places: frozenset[str]
    architectures: tuple[str, ...]


class Doubt(NamedTuple):
    """One wish that an offer does not meet, or of which the source says nothing."""

    wish: str
    has: str | None


def wishes_of(
    compute: Compute, *, gpus: Sequence[str] = (), places: Sequence[str] = (), architectures: Sequence[str] = ()
) -> Wishes:
    """The wishes of `compute`; `gpus` are further ones (of stages), `architectures` what torch was built for."""
    names = [reading.name for name in (*compute.gpus, *gpus) for reading in (gpu_readings(name) or ())]
    unknown = [name for name in (*compute.gpus, *gpus) if not gpu_readings(name)]
    return Wishes(compute, frozenset(names + unknown), frozenset(places), tuple(architectures))


def judged(offer: Offer, gpu: Gpu | None, wishes: Wishes) -> Refused | None:
    """None where the offer is as wished; else what is against it, or what it would have to be and is not stated."""
    doubts = tuple(_doubts(offer, gpu, wishes))
    against = [doubt for doubt in doubts if doubt.has is not None]
    if against:
        reason = "; ".join(f"{doubt.has}, wished {doubt.wish}" for doubt in against)
        return Refused(offer=offer.id, place=offer.place, reason=reason, kind="filtered", stated=offer)
    if doubts:
        reason = f"would pass if {' and '.join(doubt.wish for doubt in doubts)}: not stated"
        return Refused(offer=offer.id, place=offer.place, reason=reason, kind="unstated", stated=offer)
    return None


def runs_on(capability: str, architectures: Sequence[str]) -> bool:
    """Whether code built for `architectures` (torch.cuda.get_arch_list()) runs on a GPU of `capability`.

    A binary runs on its own major version from its minor version on, PTX on everything newer, and those of an `a`
    or `f` variant on their own alone (CUDA C++ Programming Guide, section on compute capabilities).
    """
    major, _, minor = capability.partition(".")
    has = (int(major), int(minor or 0))
    return any(_built(has, match) for match in map(BUILT_FOR.fullmatch, architectures) if match)


def _built(has: tuple[int, int], match: re.Match[str]) -> bool:
    kind, built = match[1], (int(match[2]), int(match[3]))
    if match[4]:
        return has == built
    return has >= built if kind == "compute" else has[0] == built[0] and has[1] >= built[1]


def _doubts(offer: Offer, gpu: Gpu | None, wishes: Wishes) -> Iterator[Doubt]:
    if wishes.gpus and offer.gpu not in wishes.gpus:
        yield Doubt(" or ".join(sorted(wishes.gpus)), "another GPU")
        return
    yield from _kind_doubts(offer, gpu, wishes)
    yield from _machine_doubts(offer, wishes.compute)
    yield from _term_doubts(offer, wishes.compute)


def _kind_doubts(offer: Offer, gpu: Gpu | None, wishes: Wishes) -> Iterator[Doubt]:
    compute = wishes.compute
    if wishes.places and offer.place not in wishes.places:
        yield Doubt(f"at {' or '.join(sorted(wishes.places))}", f"it is at {offer.place}")
    if compute.memory is not None and (gpu is None or gpu.memory_bytes < compute.memory):
        yield Doubt(f"at least {format_bytes(compute.memory)} a GPU", format_bytes(gpu.memory_bytes) if gpu else None)
    capability = gpu.compute_capability if gpu else None
    if compute.capability is not None and (capability is None or float(capability) < compute.capability):
        yield Doubt(f"compute capability {compute.capability:g} or more", capability and f"it has {capability}")
    if wishes.architectures and (capability is None or not runs_on(capability, wishes.architectures)):
        built = f"a GPU that torch was built for ({' '.join(wishes.architectures)})"
        yield Doubt(built, capability and f"compute capability {capability}")


def _machine_doubts(offer: Offer, compute: Compute) -> Iterator[Doubt]:
    if compute.disk is not None and (offer.disk_bytes is None or offer.disk_bytes < compute.disk):
        yield Doubt(_at_least("disk", format_bytes(compute.disk)), _disk(offer))
    if offer.place in OWN_PLACES:
        return
    wished = compute.reliability
    if wished is not None and (offer.reliability is None or offer.reliability < wished):
        has = None if offer.reliability is None else f"reliability {offer.reliability:.3g}"
        yield Doubt(_at_least("reliability", f"{wished:g}"), has)
    rate = offer.download_bytes_per_s
    if compute.download is not None and (rate is None or rate < compute.download):
        yield Doubt(_at_least("download", _bit_rate(compute.download)), None if rate is None else _bit_rate(rate))


def _term_doubts(offer: Offer, compute: Compute) -> Iterator[Doubt]:
    if compute.spot is not None and offer.spot is not compute.spot:
        kinds = {True: "it is spot", False: "it is not spot", None: None}
        yield Doubt(str(kinds[compute.spot]), kinds[offer.spot])
    if compute.region and not (offer.region and any(_is_in(offer.region, wish) for wish in compute.region)):
        yield Doubt(f"it is in {' or '.join(compute.region)}", offer.region and f"it is in {offer.region}")
    price = offer.gpu_price_usd_per_h
    if compute.max_price is not None and price is not None and price > compute.max_price:
        yield Doubt(f"at most {compute.max_price:g}", f"{price:.4g} USD per GPU-hour")
    if offer.available == 0:
        yield Doubt("one that can be had", "sold out")


def _is_in(region: str, wish: str) -> bool:
    """`US` is in `us-east-1` and `US-TX`, `eu-west` in `eu-west1`; a region may list several, with spaces between."""
    folded = wish.casefold()
    return any(
        one == folded or one.startswith(folded) or folded in re.split(r"[^a-z0-9]+", one)
        for one in region.casefold().split()
    )


def _at_least(what: str, value: str) -> str:
    return f"{what} is at least {value}"


def _disk(offer: Offer) -> str | None:
    return None if offer.disk_bytes is None else f"disk {format_bytes(offer.disk_bytes)}"


def _bit_rate(bytes_per_s: float) -> str:
    return f"{format_count(8 * bytes_per_s)}bit/s"
