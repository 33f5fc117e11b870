"""Is what is called faster the same work? A step at another batch is not, nor are as many steps of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Finding
from gpuplan.units import format_number
from gpuplan.verify.claims.figures import figures
from gpuplan.verify.claims.words import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.verify.claims.claim import Claim
    from gpuplan.verify.claims.linking import Ledger
    from gpuplan.verify.claims.passages import Passage

__all__ = ["unequal_batches"]

FASTER = re.compile(r"\b(?:fast|quick|speed|improve|gain)", re.IGNORECASE)


class _Side(NamedTuple):
    """One of two that are compared: its step, as seconds, and the batch of that step."""

    step: Claim
    seconds: float
    batch: Claim

    @property
    def seconds_a_row(self) -> float:
        return self.seconds / self.batch.middle


def unequal_batches(ledger: Ledger, passages: Sequence[Passage]) -> Iterator[Finding]:
    """Steps at different batches that are set against each other as so many times faster."""
    for block in dict.fromkeys(claim.block for claim in ledger.of("batch")):
        sides = _sides(ledger, block)
        ratio = _ratio(passages, block)
        if len(sides) == 2 and ratio and sides[0].batch.middle != sides[1].batch.middle:
            slow, fast = sorted(sides, key=lambda side: side.seconds, reverse=True)
            if slow.seconds > fast.seconds:
                yield _finding(ledger, slow, fast, ratio)


def _sides(ledger: Ledger, block: int) -> list[_Side]:
    """The steps of a block with the batch in the same column of a table, or else on the same line."""
    steps = [(claim, claim.middle) for claim in ledger.of("step") if claim.block == block]
    steps += [(claim, 1 / claim.middle) for claim in ledger.of("step rate") if claim.block == block]
    found = []
    for step, seconds in steps:
        beside = [one for one in ledger.of("batch") if one.block == block and _is_beside(one, step)]
        found += [_Side(step, seconds, beside[0])] if len(beside) == 1 else []
    return found


def _is_beside(one: Claim, other: Claim) -> bool:
    return one.column == other.column if one.column or other.column else one.line == other.line


def _ratio(passages: Sequence[Passage], block: int) -> str | None:
    """What says that one is faster, of the block alone: `12x faster`, `speed-up: 12x`."""
    for part in passages:
        ratios = [figure for figure in figures(part.text) if figure.noun == "x" and figure.low > 1]
        if part.block == block and ratios and FASTER.search(f"{part.label} {part.text}"):
            return f"{ratios[0].text.strip('(~≈ ')} faster"
    return None


def _finding(ledger: Ledger, slow: _Side, fast: _Side, ratio: str) -> Finding:
    a_row = slow.seconds_a_row / fast.seconds_a_row
    return Finding(
        severity="warning",
        check="claim-batches",
        message=f"{ratio} compares a step of {slow.batch.middle:,.0f} rows with one of {fast.batch.middle:,.0f}: for "
        f"each row it is {format_number(a_row)}x{places((slow.step, fast.step, slow.batch, fast.batch))}",
        place=fast.step.place,
        because=f"{slow.step.text} / {slow.batch.middle:,.0f} rows against {fast.step.text} / "
        f"{fast.batch.middle:,.0f} rows{_seen(ledger, slow, fast)}",
        fix="compare rows a second, and give both as many rows: steps x batch",
    )


def _seen(ledger: Ledger, slow: _Side, fast: _Side) -> str:
    """What as many steps see on either side, where the document has one number of steps."""
    steps = {claim.middle for claim in ledger.of("steps")}
    if len(steps) != 1:
        return ""
    (count,) = steps
    seen = [f"{count * side.batch.middle:,.0f}" for side in (slow, fast)]
    return f"; {count:,.0f} steps see {seen[0]} rows on the one and {seen[1]} on the other"
