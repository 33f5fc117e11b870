"""A quote -> an Offer, or why it cannot be true: names, units, counts, dates and prices. It never judges by wishes."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from gpuplan.data.places import place_facts, places
from gpuplan.model import LARGEST, Offer, Refused
from gpuplan.offers.base import OWN_PLACES, refused
from gpuplan.offers.name import Unknown, identify
from gpuplan.units import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.offers.base import Quote

__all__ = ["PriceRange", "offer_of", "problem_of"]

MOST_GPUS = 72
"""In one machine that is rented as one: a GB200 NVL72."""
LEAST_USD, MOST_USD = 0.005, 100.0
"""Of one GPU for an hour, whichever it is."""
UNUSUAL = 4.0
"""A price so many times below or above all that were seen for this GPU, at several markets, is one in another unit."""
LEAST_MARKETS = 2
DAY = re.compile(r"\d{4}-\d{2}(-\d{2})?")
SPOT_FACTS = ("notice_s", "interruptions_per_h")
BOUNDS: dict[str, tuple[float, float]] = {
    "gpu_count": (1, MOST_GPUS),
    "available": (0, 1_000_000),
    "interruptions_per_h": (0, 3600),
    "reliability": (0, 1),
    "vcpus": (1, 10_000),
    "host_memory_bytes": (GIB // 4, 2**46),
    "disk_bytes": (10**8, 10**16),
    "download_bytes_per_s": (1, 1.25e12),
    "upload_bytes_per_s": (1, 1.25e12),
    "download_usd_per_gb": (0, 10),
    "upload_usd_per_gb": (0, 10),
    "storage_usd_per_gb_month": (0, 100),
    "stopped_usd_per_gb_month": (0, 100),
    "billing_s": (1e-3, 2_678_400),
    "minimum_s": (0, 31_622_400),
    "startup_s": (0, 86_400),
    "notice_s": (0, 2_678_400),
    "wait_s": (0, 31_622_400),
    "session_s": (1, 3_153_600_000),
}
"""What a machine can be; beyond, a unit was mixed up."""


class PriceRange(NamedTuple):
    """The prices seen for one GPU-hour of a kind: lowest on demand, lowest of all, highest; at how many `markets`.

    Of the large clouds' list prices alone nobody could tell what is too cheap: markets ask a twentieth (V100: 3.06 and
    0.14 USD).
    """

    lowest_on_demand_usd: float
    lowest_usd: float
    highest_usd: float
    markets: int


def offer_of(quote: Quote, *, today: str, usual: Mapping[str, PriceRange]) -> Offer | Refused:
    """The quote as an Offer with what is publicly known of its place filled in, or why it is not believable."""
    found = identify(quote.gpu, quote.memory_bytes, count=_count(quote.facts.get("gpu_count")))
    if isinstance(found, Unknown):
        return refused(quote, found.reason)
    stated = {key: value for key, value in quote.facts.items() if value is not None}
    known = place_facts(str(stated.get("place", "")))
    if stated.get("spot") is not True:
        known = {key: value for key, value in known.items() if key not in SPOT_FACTS}
    notes = "; ".join(note for note in (stated.get("notes"), found.note) if note)
    try:
        offer = Offer.model_validate(
            {"price_usd_per_h": None, **known, **stated, "gpu": found.gpu.name, "notes": notes}
        )
    except ValidationError as error:
        return refused(quote, _first(error))
    reason = problem_of(offer, today=today, usual=usual)
    return refused(quote, reason) if reason else offer


def problem_of(offer: Offer, *, today: str, usual: Mapping[str, PriceRange]) -> str | None:
    """What cannot be true of an offer, or None."""
    for name, (least, most) in BOUNDS.items():
        value = getattr(offer, name)
        if value is not None and not least <= value <= most and (name != "gpu_count" or offer.place != "local"):
            shown = f"{value:g}" if abs(value) < LARGEST else "beyond all bounds"
            return f"{name} {shown} cannot be: {least:g} to {most:g}"
    return _date_problem(offer, today) or _price_problem(offer, usual)


def _count(value: Any) -> int:
    """For telling the memory of one GPU from that of all; whether it can be is judged later."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and 1 <= len(text) <= 2 and int(text) else 1


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"{where} is not stated"
    return f"{where} {str(problem['input'])[:40]!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _date_problem(offer: Offer, today: str) -> str | None:
    if offer.as_of in ("", "now"):
        return None
    if not DAY.fullmatch(offer.as_of):
        return f"as_of {offer.as_of[:40]!r} is not a date such as {today}"
    try:
        date.fromisoformat(f"{offer.as_of}-01"[: len("2026-01-01")])
    except ValueError:
        return f"as_of {offer.as_of!r} is not a day of the calendar"
    return f"its price is of {offer.as_of}, which is yet to come" if offer.as_of > today else None


def _price_problem(offer: Offer, usual: Mapping[str, PriceRange]) -> str | None:
    price = offer.gpu_price_usd_per_h
    if offer.place in OWN_PLACES:
        return None if price is None or 0 <= price <= MOST_USD else f"price {price:g} USD per GPU-hour cannot be"
    if price is None:
        return "no price is stated"
    if price <= 0:
        return f"price {price:g} USD: leave it out for a machine of your own" if price == 0 else f"price {price:g} USD"
    if not LEAST_USD <= price <= MOST_USD:
        return f"{price:g} USD per GPU-hour cannot be: {LEAST_USD:g} to {MOST_USD:g}"
    return _unusual(offer, price, usual.get(offer.gpu)) if offer.place in places() else None


def _unusual(offer: Offer, price: float, seen: PriceRange | None) -> str | None:
    if seen is None or seen.markets < LEAST_MARKETS:
        return None
    lowest = seen.lowest_on_demand_usd if offer.spot is False else seen.lowest_usd
    span = f"{offer.gpu} was seen from {lowest:.2f} to {seen.highest_usd:.2f}"
    if price < lowest / UNUSUAL:
        return f"{price:.3g} USD per GPU-hour, but {span}: of one GPU in place of {offer.gpu_count}, or a stand-in?"
    if price > seen.highest_usd * UNUSUAL:
        return f"{price:.4g} USD per GPU-hour, but {span}: cents, or of another number of GPUs?"
    return None
