"""What can one have, and for how much: sources -> offers that can be believed and are as wished, and why not the rest.

It never asks a network: `refresh` does, and only where the user asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import gpus as packaged_gpus
from gpuplan.model import Offer, Refused
from gpuplan.offers.base import Quote, UnavailableError
from gpuplan.offers.believe import offer_of, problem_of
from gpuplan.offers.snapshot import usual_prices
from gpuplan.offers.wishes import judged, wishes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuplan.model import Compute, Gpu
    from gpuplan.offers.base import Item, Source

__all__ = ["MOST_ROWS", "Offered", "offers"]

MOST_ROWS = 50_000
"""Offers read of one source; the rest is counted."""


class Offered(NamedTuple):
    """The offers as wished, the cheapest GPU-hour first, and everything that was left out, with its reason."""

    offers: tuple[Offer, ...]
    refused: tuple[Refused, ...]

    @property
    def unstated(self) -> tuple[Refused, ...]:
        """What would do if what the source does not say were as wished."""
        return tuple(one for one in self.refused if one.kind == "unstated")


def offers(
    compute: Compute,
    *sources: Source,
    today: str,
    gpus: Sequence[str] = (),
    places: Sequence[str] = (),
    architectures: Sequence[str] = (),
    known: Mapping[str, Gpu] | None = None,
) -> Offered:
    """Gather from `sources`, leave out what cannot be true and what is not as wished, and say why.

    `compute` and `gpus` (of stages) are the wishes, `places` where it may be (empty: anywhere), `architectures` what
    torch was built for, `known` the accelerators beside the packaged ones, as measured on this machine. Raises
    UserError only for what the user named himself: a file that is not there, an extra that is not installed.
    """
    facts = packaged_gpus() | dict(known or {})
    wishes = wishes_of(compute, gpus=gpus, places=places, architectures=architectures)
    left: list[Refused] = []
    taken: dict[str, Offer] = {}
    for item in _believed(sources, today):
        if isinstance(item, Refused):
            left.append(item)
        elif against := judged(item, facts.get(item.gpu), wishes) or _twice(item, taken):
            left.append(against)
        else:
            taken[item.id] = item
    return Offered(tuple(sorted(taken.values(), key=_order)), tuple(left))


def _believed(sources: Iterable[Source], today: str) -> Iterator[Offer | Refused]:
    usual = usual_prices()
    for source in sources:
        for item in _items(source):
            if isinstance(item, Quote):
                yield offer_of(item, today=today, usual=usual)
            elif isinstance(item, Offer) and (reason := problem_of(item, today=today, usual=usual)):
                yield Refused(offer=item.id, place=item.place, reason=reason, kind="bad", stated=item)
            else:
                yield item


def _items(source: Source) -> Iterator[Item]:
    """At most MOST_ROWS of them, and what the source says of itself; one that breaks off is a refusal."""
    taken = rest = 0
    try:
        for item in source.items():
            if taken < MOST_ROWS or (isinstance(item, Refused) and item.kind == "source"):
                taken += 1
                yield item
            else:
                rest += 1
    except UnavailableError as error:
        reason = f"{error.message} ({error.hint})" if error.hint else error.message
        yield Refused(offer=source.name, place=source.name, reason=reason, kind="source")
        return
    if rest:
        reason = f"{rest:,} more rows left out: {MOST_ROWS:,} are read of one source"
        yield Refused(offer=source.name, place=source.name, reason=reason, kind="source")


def _twice(offer: Offer, taken: Mapping[str, Offer]) -> Refused | None:
    if offer.id not in taken:
        return None
    return Refused(offer=offer.id, place=offer.place, reason="its id is there twice", kind="bad", stated=offer)


def _order(offer: Offer) -> tuple[float, str]:
    price = offer.gpu_price_usd_per_h
    return (price if price is not None else 0.0, offer.id)
