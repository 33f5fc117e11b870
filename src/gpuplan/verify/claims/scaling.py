"""Do several GPUs, several workers and packed rows do what is said of them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.model import Finding
from gpuplan.units import format_number
from gpuplan.verify.claims.claim import Claim, gap
from gpuplan.verify.claims.linking import TOLERANCE
from gpuplan.verify.claims.words import contradiction, places, time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.verify.claims.linking import Ledger

__all__ = ["crowded_gpus", "packed", "rescaled", "sharing", "speedups"]

PACKED = 0.5
"""Of the rows an epoch has: fewer seen by steps x batch cannot be a split or a dropped rest."""

SAMPLER = (
    "where all ranks share the rows, communication alone rarely costs more than the ranks gain; a missing sampler "
    "does: then every rank trains on all rows, and an epoch is as many epochs as there are ranks"
)


def speedups(ledger: Ledger) -> Iterator[Finding]:
    """A speed-up below 1 or above the number of GPUs."""
    seen: set[int] = set()
    for claim in ledger.of("speedup"):
        gpus = _gpus(ledger, claim)
        if gpus is None or gpus < 2 or claim.block in seen:
            continue
        if claim.high < 1:
            seen.add(claim.block)
            yield _negative(claim, gpus, _times(ledger, claim))
        elif claim.low > gpus * TOLERANCE:
            yield contradiction(
                "claim-speedup",
                message=f"a speed-up of {claim.text} on {gpus} GPUs",
                because=f"{gpus} GPUs do at most {gpus} times the work; more means that the two runs differ",
                fix="compare the same batch of all ranks, rows and precision",
                claims=(claim,),
                off=claim.low / gpus,
            )
    yield from _slower(ledger, seen)


def _gpus(ledger: Ledger, claim: Claim) -> int | None:
    """On how many: as the line says, else the most that stands near it."""
    if claim.about.gpus is not None:
        return claim.about.gpus
    near = [one for one in (*ledger.of("gpus"), *ledger.of("ranks")) if one.block == claim.block]
    return int(max(one.high for one in near)) if near else None


def _times(ledger: Ledger, claim: Claim) -> tuple[Claim, ...]:
    """The epoch times on one and on several GPUs that stand beside it."""
    beside = [one for one in ledger.of("epoch") if one.block == claim.block and one.about.gpus is not None]
    return tuple(sorted(beside, key=lambda one: one.about.gpus or 0))


def _slower(ledger: Ledger, seen: set[int]) -> Iterator[Finding]:
    """An epoch that takes longer on several GPUs than on one, without a speed-up being said."""
    for one in ledger.of("epoch"):
        for other in ledger.of("epoch"):
            is_pair = one.about.gpus == 1 and (other.about.gpus or 1) > 1 and one.block == other.block
            is_alike = one.about[:2] == other.about[:2] and one.about.variant == other.about.variant
            if is_pair and is_alike and other.low > one.high and one.block not in seen:
                seen.add(one.block)
                yield _negative(other, other.about.gpus or 0, (one, other))


def _negative(claim: Claim, gpus: int, times: tuple[Claim, ...]) -> Finding:
    shown = f": {times[0].text} on 1, {times[-1].text} on {gpus}" if len(times) > 1 else ""
    return Finding(
        severity="error",
        check="claim-negative-scaling",
        message=f"{gpus} GPUs are slower than 1{shown}{places((claim, *times))}",
        place=claim.place,
        because=SAMPLER,
        fix=f"count: steps of one rank x its batch should be the rows / {gpus}; if it is all the rows, shard them "
        "(DistributedSampler); `gpuplan report` says it of a run",
    )


def crowded_gpus(ledger: Ledger) -> Iterator[Finding]:
    """More workers that want a GPU than GPUs, on one line."""
    for workers in ledger.of("workers"):
        near = [gpus for gpus in ledger.of("gpus") if gpus.line == workers.line and gpus.block == workers.block]
        is_loader = any(word in workers.words.lower() for word in ("load", "data", "cpu"))
        for gpus in near[:1]:
            if workers.low > gpus.high and not is_loader:
                yield contradiction(
                    "claim-workers",
                    message=f"{format_number(workers.low)} workers on {format_number(gpus.high)} GPUs",
                    because=f"{format_number(workers.low - gpus.high)} of them wait or share a card, unless the "
                    "program clamps its workers to the GPUs; two on one card need memory for both",
                    fix=f"{format_number(gpus.high)} workers, or say how many share a card and what each needs",
                    claims=(workers, gpus),
                    off=1.5,
                )


def sharing(ledger: Ledger) -> Iterator[Finding]:
    """Steps of one rank x its batch x ranks that come to all rows for every rank: nothing is shared out."""
    for steps in ledger.of("steps"):
        for batch, rows, epochs, ranks in ledger.premises(steps, "batch", "rows", "epochs", "ranks"):
            seen = steps.middle * batch.middle * ranks.middle
            wanted = rows.middle * epochs.middle
            if ranks.middle >= 2 and gap(wanted * ranks.middle, wanted * ranks.middle, _as(steps, seen)) <= TOLERANCE:
                yield contradiction(
                    "claim-sharding",
                    message=f"{steps.text} x batch {batch.middle:.0f} x {ranks.middle:.0f} ranks = {seen:,.0f} rows, "
                    f"{ranks.middle:.0f} times the {wanted:,.0f} of {epochs.middle:g} epochs",
                    because="every rank trains on all rows: they are not shared out",
                    fix="a DistributedSampler, or fewer epochs if that is meant",
                    claims=(steps, batch, rows, ranks),
                    off=ranks.middle,
                )


def _as(claim: Claim, value: float) -> Claim:
    return Claim(quantity=claim.quantity, low=value, high=value, text=claim.text, place=claim.place)


def packed(ledger: Ledger) -> Iterator[Finding]:
    """Steps x batch far below the rows of the epochs: rows are packed, and steps are not rows / batch."""
    for steps, batch, rows, epochs in _packings(ledger):
        seen, wanted = steps.middle * batch.middle, rows.middle * epochs.middle
        yield Finding(
            severity="warning",
            check="claim-packed",
            message=f"{steps.text} x batch {batch.middle:.0f} = {seen:,.0f}, not {rows.text} x {epochs.middle:g}"
            f"{places((steps, batch, rows))}",
            place=steps.place,
            because=f"about {wanted / seen:.0f} rows are packed into one of a step, or a part of the data is used",
            fix="reckon steps from packed rows, and times in tokens; never as rows / batch",
        )


def _packings(ledger: Ledger) -> Iterator[tuple[Claim, Claim, Claim, Claim]]:
    for steps in ledger.of("steps"):
        ranks = max((one.high for one in (*ledger.near(steps, "ranks"), *ledger.near(steps, "gpus"))), default=1.0)
        for batch, rows, epochs in ledger.premises(steps, "batch", "rows", "epochs"):
            is_block = steps.block == batch.block == rows.block == epochs.block
            if is_block and ranks * steps.middle * batch.middle < PACKED * rows.middle * epochs.middle:
                yield steps, batch, rows, epochs


def rescaled(ledger: Ledger) -> Iterator[Finding]:
    """A time reckoned from rows / batch, where a measured epoch with packed rows says what the rows take."""
    for _, _, rows, _ in _packings(ledger):
        measured = [one for one in ledger.of("epoch") if one.block == rows.block]
        for target in ledger.of("run"):
            if not measured or target.block == rows.block or target.about.variant == "before":
                continue
            yield from _by_rows(ledger, target, measured[0], rows)


def _by_rows(ledger: Ledger, target: Claim, measured: Claim, rows: Claim) -> Iterator[Finding]:
    for wanted, epochs in ledger.premises(target, "rows", "epochs"):
        if wanted.block != target.block or epochs.block != target.block:
            continue
        worth = measured.middle * wanted.middle / rows.middle * epochs.middle
        off = gap(worth, worth, target)
        if off > 1.5:
            yield contradiction(
                "claim-rescaled",
                message=f"{target.text} for {wanted.text} x {epochs.middle:g}; at {measured.text} for {rows.text} it "
                f"is {time(worth)}",
                because="the rows of the measured run are packed, so its steps a second say nothing of rows / batch",
                fix="scale by tokens (or rows), then add loading and checkpoints",
                claims=(target, measured, rows, wanted),
                off=off,
            )
