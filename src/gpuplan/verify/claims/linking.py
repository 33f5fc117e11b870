"""Which claims speak of the same thing. Where it is not clear that two do, they do not."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuplan.verify.claims.claim import Claim, gap, same_device, same_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["TOLERANCE", "Ledger", "Premise", "agree"]

TOLERANCE = 1.10
"""Between two figures for one thing; a figure's own rounding is never held against it."""

MOST = 1000
"""Combinations tried for one claim; a document with more says too many things at once."""


def agree(low: float, high: float, claim: Claim) -> bool:
    """Whether low to high is what the claim says, within the tolerance."""
    return gap(low, high, claim) <= TOLERANCE


Premise = tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Ledger:
    """All claims of one document, asked by quantity and by what they are about."""

    claims: tuple[Claim, ...]
    text: str = ""

    def of(self, quantity: str) -> list[Claim]:
        """Every claim of the quantity, in order."""
        return [claim for claim in self.claims if claim.quantity == quantity]

    def premises(self, target: Claim, *quantities: str) -> Iterator[Premise]:
        """Claims of `quantities` that speak of what `target` speaks of, the nearest of each; none if one is missing."""
        once = all(_values(self.of(quantity)) == 1 for quantity in (target.quantity, *quantities))
        found = [self.near(target, quantity, once=once) for quantity in quantities]
        yield from itertools.islice(itertools.product(*found), MOST)

    def near(self, target: Claim, quantity: str, *, once: bool = False) -> list[Claim]:
        """The claims of `quantity` at the smallest distance from `target` that do not speak of something else.

        Far away only what names the same device or model, or where all is said but `once` in the whole document.
        """
        others = [claim for claim in self.of(quantity) if claim is not target and _compatible(claim, target)]
        far = [claim for claim in others if _distance(claim, target) == FAR]
        linked = [claim for claim in others if claim not in far or once or _is_named_alike(claim, target)]
        nearest = min((_distance(claim, target) for claim in linked), default=FAR)
        return [claim for claim in linked if _distance(claim, target) == nearest]

    def explains(
        self, target: Claim, formula: Callable[..., tuple[float, float]], *quantities: str, within: float = TOLERANCE
    ) -> bool:
        """Whether any claims of the document, whatever they are about, make the target true.

        A document that says too many things at once is taken to explain everything.
        """
        found = [_distinct(self.of(quantity)) for quantity in quantities]
        if math.prod(len(claims) for claims in found) > MOST:
            return True
        return any(gap(*formula(*premise), target) <= within for premise in itertools.product(*found))


SIZES = {"steps", "runs", "rows", "epochs"}
"""How much is done, wherever it is done: beside a time they belong to it."""

SAME_LINE, SAME_BLOCK, SAME_SECTION, FAR = range(4)


def _distance(one: Claim, other: Claim) -> int:
    """What the command line claims stands beside everything."""
    if not one.line or not other.line:
        return SAME_SECTION
    if one.block != other.block:
        return SAME_SECTION if one.section == other.section else FAR
    return SAME_LINE if one.line == other.line else SAME_BLOCK


def _compatible(one: Claim, other: Claim) -> bool:
    """Of two columns of a table, or with labels that differ, they speak of two things."""
    if one.block == other.block and one.column and other.column and one.column != other.column:
        return False
    if one.line == other.line and one.block == other.block and {one.quantity, other.quantity} & SIZES:
        return True
    a, b = one.about, other.about
    cards = a.gpus is None or b.gpus is None or a.gpus == b.gpus
    variants = a.variant is None or b.variant is None or a.variant == b.variant
    return same_device(a.device, b.device) and same_model(a.model, b.model) and cards and variants


def _is_named_alike(one: Claim, other: Claim) -> bool:
    """Both name a device or a model, and it is the same."""
    a, b = one.about, other.about
    has_device = a.device is not None and b.device is not None and same_device(a.device, b.device)
    has_model = a.model is not None and b.model is not None and same_model(a.model, b.model)
    return has_device or has_model


def _values(claims: list[Claim]) -> int:
    return len(_distinct(claims))


def _distinct(claims: list[Claim]) -> list[Claim]:
    """One claim of each value."""
    return list({(claim.low, claim.high): claim for claim in claims}.values())
