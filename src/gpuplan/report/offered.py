"""The tables of what can be rented, and of what was left out and why. What is not known is shown as `?`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuplan.model import STALE_DAYS
from gpuplan.report.table import Column, Table
from gpuplan.units import format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Offer, Refused

__all__ = ["offers_table", "refused_table", "unstated_table"]

ASKED = "?"
OFFER_COLUMNS = (
    Column("id", "Offer", importance=10),
    Column("gpu", "GPU", importance=9),
    Column("gpu_count", "GPUs", "count", importance=9),
    Column("price_usd_per_gpu_h", "$/GPU-h", importance=9),
    Column("price_usd_per_h", "$/h", importance=8),
    Column("age_days", "Price is", importance=7),
    Column("spot", "Spot", importance=6),
    Column("available", "To be had", importance=5),
    Column("reliability", "Reliability", importance=4),
    Column("region", "Region", importance=3),
    Column("notes", "Notes", importance=2),
)
REFUSED_COLUMNS = (
    Column("offers", "Offers", "count", importance=8),
    Column("reason", "Left out because", importance=10),
    Column("example", "As", importance=9),
)
KINDS = {"source": 0, "bad": 1, "unstated": 2, "filtered": 3}


def offers_table(offers: Sequence[Offer], *, today: str) -> Table:
    """One row an offer, in the order given."""
    rows = tuple(_row(offer, today) for offer in offers)
    stale = sum(offer.is_stale(today) for offer in offers)
    notes = []
    if stale:
        notes.append(f"!: {stale:,} prices are undated or older than {STALE_DAYS} days; --refresh asks again.")
    if any(ASKED in row for row in rows):
        notes.append("?: the source does not say; no filter lets that pass.")
    return Table("offers", "What can be had", OFFER_COLUMNS, rows, tuple(notes))


def unstated_table(refused: Sequence[Refused], *, today: str) -> Table:
    """What would do if what the source does not say were as wished."""
    near = sorted(
        (one for one in refused if one.kind == "unstated" and one.stated is not None),
        key=lambda one: (_gpu_price(one.stated), one.offer),
    )
    reasons = tuple(dict.fromkeys(one.reason for one in near))
    title = "Not counted: something wished for is not stated"
    if len(reasons) == 1:
        rows = tuple(_row(one.stated, today)[:6] for one in near if one.stated)
        return Table("unstated", title, OFFER_COLUMNS[:6], rows, (f"Each {reasons[0]}.",))
    stated = tuple((*_row(one.stated, today)[:6], one.reason) for one in near if one.stated)
    columns = (*OFFER_COLUMNS[:6], Column("reason", "It", importance=8))
    return Table("unstated", title, columns, stated)


def refused_table(refused: Sequence[Refused]) -> Table:
    """The reasons, what is broken first, each with how many offers it kept out and one of them."""
    counts = Counter((one.kind, one.reason) for one in refused)
    first: dict[tuple[str, str], str] = {}
    for one in refused:
        first.setdefault((one.kind, one.reason), one.offer)
    ordered = sorted(counts, key=lambda key: (KINDS[key[0]], -counts[key], key))
    rows = tuple((counts[key], key[1], first[key]) for key in ordered)
    return Table("refused", "Left out", REFUSED_COLUMNS, rows)


def _row(offer: Offer, today: str) -> tuple[str | int, ...]:
    age = offer.age_days(today)
    return (
        offer.id,
        offer.gpu,
        offer.gpu_count,
        _price(offer.gpu_price_usd_per_h),
        _price(offer.price_usd_per_h),
        _age(offer, age) + (" !" if offer.is_stale(today) else ""),
        ASKED if offer.spot is None else "yes" if offer.spot else "no",
        ASKED if offer.available is None else str(offer.available),
        ASKED if offer.reliability is None else f"{offer.reliability:.3g}",
        offer.region or ASKED,
        offer.notes,
    )


def _price(price_usd: float | None) -> str:
    """To the tenth of a cent below a dollar: one GPU-hour may cost 0.107."""
    if price_usd is None:
        return ASKED
    return f"${price_usd:.3f}".rstrip("0").ljust(5, "0") if 0 < price_usd < 1 else format_usd(price_usd)


def _age(offer: Offer, age: int | None) -> str:
    if age is None:
        return "undated"
    return "now" if offer.as_of == "now" else f"{age} d old"


def _gpu_price(offer: Offer | None) -> float:
    return offer.gpu_price_usd_per_h or 0.0 if offer else 0.0
