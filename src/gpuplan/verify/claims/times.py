"""Do times, costs and counts agree? Each relation is a formula and the claims that it joins."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.units import format_number
from gpuplan.verify.claims.claim import VOCABULARY, Claim, gap
from gpuplan.verify.claims.linking import TOLERANCE, Ledger
from gpuplan.verify.claims.words import contradiction, span, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuplan.model import Finding

__all__ = ["RELATIONS", "Relation", "products", "statements"]


class Relation(NamedTuple):
    """`target` is what `formula` makes of `parts`, all as low and high."""

    check: str
    target: str
    parts: tuple[str, ...]
    signs: str
    fix: str

    def value(self, *claims: Claim) -> tuple[float, float]:
        """The least and the most that the parts allow."""
        low = high = 1.0
        for sign, claim in zip(self.signs, claims, strict=True):
            low, high = (low * claim.low, high * claim.high) if sign == "x" else (low / claim.high, high / claim.low)
        return low, high

    def words(self, *claims: Claim) -> str:
        """`20,000 steps x 3.04 s`."""
        joined = [
            f"{' x ' if sign == 'x' else ' / '}{_part(claim)}" for sign, claim in zip(self.signs, claims, strict=True)
        ]
        text = "".join(joined)
        return text.removeprefix(" x ") if text.startswith(" x ") else f"1{text}"


RECKON = "reckon it again from what was measured, and let both places say the same"
RELATIONS = (
    Relation("claim-run-time", "run", ("steps", "step"), "xx", RECKON),
    Relation("claim-run-time", "run", ("steps", "step rate"), "x/", RECKON),
    Relation("claim-run-time", "run", ("epochs", "epoch"), "xx", RECKON),
    Relation("claim-epoch-time", "epoch", ("rows", "throughput"), "x/", RECKON),
    Relation("claim-epoch-time", "epoch", ("steps", "step rate"), "x/", RECKON),
    Relation("claim-sweep-time", "sweep", ("runs", "run"), "xx", RECKON),
    Relation("claim-cost", "cost", ("sweep", "price"), "xx", "hours x price; say what else is paid for"),
    Relation("claim-cost", "cost", ("runs", "run cost"), "xx", "runs x cost of a run"),
    Relation("claim-cost", "run cost", ("run", "price"), "xx", "hours x price; say what else is paid for"),
    Relation("claim-samples", "samples", ("steps", "batch"), "xx", "is the batch of one rank or of all?"),
    Relation("claim-samples", "samples", ("epochs", "rows"), "xx", "is the data packed, filtered or repeated?"),
    Relation("claim-samples", "tokens", ("samples", "sequence"), "xx", "are rows padded or packed?"),
)
SCALES = {"sweep": ("gpus",), "cost": ("gpus",), "run cost": ("gpus",), "samples": ("ranks", "gpus"), "epoch": ()}
"""What may stand between the two sides without being said: work shared by GPUs, a price for each of them."""


def products(ledger: Ledger) -> Iterator[Finding]:
    """Every claim that some premise contradicts and none in the whole document explains."""
    for target in ledger.claims:
        relations = [relation for relation in RELATIONS if relation.target == target.quantity]
        if relations and not any(_is_explained(ledger, target, relation) for relation in relations):
            found = [worst for relation in relations if (worst := _contradicted(ledger, target, relation))]
            yield from found[:1]


def _is_explained(ledger: Ledger, target: Claim, relation: Relation) -> bool:
    if ledger.explains(target, relation.value, *relation.parts):
        return True
    scales = {
        claim.middle: claim for quantity in SCALES.get(target.quantity, ()) for claim in ledger.of(quantity)
    }.values()
    return any(
        ledger.explains(target, _scaled(relation.value, scale, up=up), *relation.parts)
        for scale in scales
        for up in (True, False)
    )


def _scaled(
    formula: Callable[..., tuple[float, float]], scale: Claim, *, up: bool
) -> Callable[..., tuple[float, float]]:
    def value(*claims: Claim) -> tuple[float, float]:
        low, high = formula(*claims)
        return (low * scale.low, high * scale.high) if up else (low / scale.high, high / scale.low)

    return value


def _contradicted(ledger: Ledger, target: Claim, relation: Relation) -> Finding | None:
    """By the nearest premise that comes closest to it."""
    premises = list(ledger.premises(target, *relation.parts))
    if not premises:
        return None
    premise = min(premises, key=lambda claims: gap(*relation.value(*claims), target))
    off = gap(*relation.value(*premise), target)
    if off <= TOLERANCE:
        return None
    unit = VOCABULARY[target.quantity].unit
    low, high = relation.value(*premise)
    worked = span(low, high, lambda value: spoken(value, unit))
    return contradiction(
        relation.check,
        message=f"{relation.words(*premise)} = {worked}, not {target.text}",
        because=f"off by a factor of {format_number(off)}; nothing else in the document makes it {target.text}",
        fix=relation.fix,
        claims=(target, *premise),
        off=off,
    )


def _part(claim: Claim) -> str:
    """As it was written, with its quantity where the text does not say it."""
    has_unit = any(char.isalpha() or char in "$%" for char in claim.text)
    return claim.text if has_unit else f"{claim.text} {claim.quantity}"


SIZES = {"run": ("steps", "epochs"), "sweep": ("runs",), "epoch": ("rows",), "cost": ("runs",)}
"""A time is of the same thing where the same size stands beside it."""


def statements(ledger: Ledger) -> Iterator[Finding]:
    """Two places that state the same thing, with the same size beside it, and differ."""
    for quantity in SIZES:
        claims = ledger.of(quantity)
        seen: list[Claim] = []
        for claim in claims:
            other = next((one for one in seen if _differ(ledger, one, claim)), None)
            if other is not None:
                yield _two_statements(other, claim)
            seen.append(claim)
    yield from _prices(ledger)


def _differ(ledger: Ledger, one: Claim, other: Claim) -> bool:
    if gap(one.low - one.rounding, one.high + one.rounding, other) <= TOLERANCE or one.line == other.line:
        return False
    if not _same_labels(one, other):
        return False
    return any(_beside(ledger, one, size) & _beside(ledger, other, size) for size in SIZES[one.quantity])


def _same_labels(one: Claim, other: Claim) -> bool:
    a, b = one.about, other.about
    is_named = bool(a.device and b.device) or bool(a.model and b.model)
    return is_named and other in Ledger((one, other)).near(one, other.quantity)


def _beside(ledger: Ledger, claim: Claim, quantity: str) -> set[float]:
    """What the line of the claim says of `quantity`."""
    return {
        one.middle
        for one in ledger.of(quantity)
        if one.place == claim.place and (not one.column or not claim.column or one.column == claim.column)
    }


def _two_statements(one: Claim, other: Claim) -> Finding:
    unit = VOCABULARY[one.quantity].unit
    off = gap(one.low, one.high, other)
    about = other.about.device or other.about.model
    return contradiction(
        "claim-twice",
        message=f"the {_thing(one.quantity)} on {about} is {one.text} and {other.text}",
        because=f"{span(one.low, one.high, lambda v: spoken(v, unit))} against "
        f"{span(other.low, other.high, lambda v: spoken(v, unit))}, off by a factor of {format_number(off)}",
        fix="keep the one that was measured",
        claims=(one, other),
        off=off,
    )


def _thing(quantity: str) -> str:
    return {"run": "time of a run", "sweep": "time of all runs", "epoch": "time of an epoch"}.get(quantity, quantity)


def _prices(ledger: Ledger) -> Iterator[Finding]:
    """A price for an hour and one for a day on one line; the price of a pod in two places."""
    prices = ledger.of("price")
    for index, one in enumerate(prices):
        for other in prices[index + 1 :]:
            off = gap(one.low, one.high, other)
            is_day = one.line == other.line and {one.per, other.per} == {"hour", "day"}
            is_same = one.per == other.per and one.per in ("pod", "gpu", "card", "machine") and one.line != other.line
            if off > TOLERANCE and (
                (is_day and not _has_agreeing(prices, one, other))
                or (is_same and other in Ledger((one, other)).near(one, "price"))
            ):
                yield _two_prices(one, other, off)


def _has_agreeing(prices: list[Claim], one: Claim, other: Claim) -> bool:
    """Whether the price for a day goes with another hourly price of the line: on demand and spot, say."""
    day = one if one.per == "day" else other
    hourly = [price for price in prices if price.line == day.line and price.per == "hour"]
    return any(gap(price.low, price.high, day) <= TOLERANCE for price in hourly)


def _two_prices(one: Claim, other: Claim, off: float) -> Finding:
    per = f" per {one.per}" if one.per == other.per else ""
    return contradiction(
        "claim-price",
        message=f"{one.text} and {other.text}{per} are not one price",
        because=f"{spoken(one.middle, 'USD/s')} against {spoken(other.middle, 'USD/s')}",
        fix="say which of them is meant: of a GPU, of a machine, or of all of them",
        claims=(one, other),
        off=off,
    )
