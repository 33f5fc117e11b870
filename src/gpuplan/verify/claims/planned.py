"""Claims against what gpuplan estimates for a spec: outside p10 to p90 is a warning, beyond twice an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Finding, Quantity
from gpuplan.verify.claims.claim import VOCABULARY, Claim, gap, same_device
from gpuplan.verify.claims.linking import TOLERANCE
from gpuplan.verify.claims.words import WRONG, contradiction, span, spoken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gpuplan.model import Estimate

__all__ = ["Planned", "against"]


class Planned(NamedTuple):
    """What gpuplan says of a spec: estimates by GPU, the whole disk and bill, and what is counted."""

    name: str
    estimates: Mapping[str, tuple[Estimate, ...]]
    disk_bytes: Quantity
    cost_usd: Quantity | None
    counts: Mapping[str, frozenset[float]]


FIGURES = {"run": "duration_s", "step": "step_s", "memory": "memory"}
COUNTED = ("parameters", "steps", "batch", "runs", "epochs", "sequence")


def against(claims: Iterable[Claim], planned: Planned) -> Iterator[Finding]:
    """Each claim that the estimates for its device do not bear out."""
    claims = tuple(claims)
    for claim in claims:
        if claim.quantity in FIGURES:
            yield from _figure(claim, planned)
        elif claim.quantity == "disk":
            yield from _disk(claim, planned)
        elif claim.quantity == "cost" and planned.cost_usd is not None:
            yield from _off(claim, planned.cost_usd, planned, "for all runs")
    yield from _counts(claims, planned)


def _figure(claim: Claim, planned: Planned) -> Iterator[Finding]:
    """On the GPU that it names, or the only one that there are estimates for; what was before is not planned."""
    if claim.about.variant == "before":
        return
    gpus = [gpu for gpu in planned.estimates if claim.about.device and same_device(gpu, claim.about.device)]
    if claim.about.device is None and len(planned.estimates) == 1:
        gpus = list(planned.estimates)
    for gpu in gpus[:1]:
        figures = [_of(claim.quantity, estimate) for estimate in planned.estimates[gpu]]
        yield from _off(claim, _widest(figures), planned, f"on {gpu}")


def _of(quantity: str, estimate: Estimate) -> Quantity:
    if quantity == "memory":
        return estimate.memory.device_bytes
    return estimate.duration_s if quantity == "run" else estimate.step_s


def _widest(figures: list[Quantity]) -> Quantity:
    """One interval around those of all runs."""
    middle = sorted(figures, key=lambda figure: figure.p50)[len(figures) // 2]
    low, high = min(figure.p10 for figure in figures), max(figure.p90 for figure in figures)
    return middle.model_copy(update={"p10": low, "p90": high})


def _off(claim: Claim, figure: Quantity, planned: Planned, where: str) -> Iterator[Finding]:
    if gap(figure.p10, figure.p90, claim) <= 1:
        return
    unit = VOCABULARY[claim.quantity].unit
    off = gap(figure.p50, figure.p50, claim)
    estimated = spoken(figure.p50, unit)
    interval = span(figure.p10, figure.p90, lambda value: spoken(value, unit))
    yield contradiction(
        "claim-estimate",
        message=f"{claim.quantity} {claim.text}, but {planned.name} is estimated at {estimated} {where}, "
        f"{interval} in 80 % of cases",
        because=f"{figure.source.replace('_', ' ')}: {figure.because}",
        fix="measure one run (`gpuplan probe`), or change the document",
        claims=(claim,),
        off=off,
    )


def _disk(claim: Claim, planned: Planned) -> Iterator[Finding]:
    """A disk is too small; too large it never is."""
    needed = planned.disk_bytes
    if needed.p90 <= claim.high:
        return
    interval = span(needed.p10, needed.p90, lambda value: spoken(value, "B"))
    yield contradiction(
        "claim-estimate",
        message=f"{claim.text} of disk, but the runs of {planned.name} leave {spoken(needed.p50, 'B')} on it, "
        f"{interval} in 80 % of cases",
        because=needed.because,
        fix="keep fewer checkpoints (`checkpoint.keep`, and the program's own limit), or a larger disk",
        claims=(claim,),
        off=WRONG * 1.01 if needed.p50 > claim.high else 1.0,
    )


def _counts(claims: tuple[Claim, ...], planned: Planned) -> Iterator[Finding]:
    """Parameters, steps, batch and runs of which the document gives one figure and the spec another."""
    for quantity in COUNTED:
        known = planned.counts.get(quantity, frozenset())
        stated = [claim for claim in claims if claim.quantity == quantity]
        if not known or len({claim.middle for claim in stated}) != 1:
            continue
        off = min(gap(value, value, stated[0]) for value in known)
        if off > TOLERANCE:
            yield Finding(
                severity="error" if off > WRONG else "warning",
                check="claim-spec",
                message=f"{stated[0].text}, but {planned.name} has {_listed(known)} {quantity}",
                place=stated[0].place,
                because="the document and the spec are not about the same runs",
                fix="change the one that is wrong",
            )


def _listed(values: frozenset[float]) -> str:
    return " or ".join(f"{value:,.0f}" for value in sorted(values)[:3])
