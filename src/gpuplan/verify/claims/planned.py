"""Claims against what gpuplan estimates for a spec: outside p10 to p90 is a warning, beyond twice an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Finding, Quantity
from gpuplan.verify.claims.claim import VOCABULARY, Claim, gap, same_device
from gpuplan.verify.claims.labels import parameters_of
from gpuplan.verify.claims.linking import TOLERANCE
from gpuplan.verify.claims.words import WRONG, contradiction, span, spoken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuplan.model import Estimate, Run

__all__ = ["Planned", "against", "chains_of"]


class Planned(NamedTuple):
    """What gpuplan says of a spec: estimates by GPU, the whole disk and bill, and what is counted."""

    name: str
    estimates: Mapping[str, tuple[Estimate, ...]]
    disk_bytes: Quantity
    cost_usd: Quantity | None
    counts: Mapping[str, frozenset[float]]
    chains: tuple[tuple[str, ...], ...] = ()
    """The waves of each point by the names of their runs, where the spec has stages."""


class _Read(NamedTuple):
    """One thing that a claim may mean: its figure, and words for where or of what it is."""

    figure: Quantity
    where: str


FIGURES = {"run": "duration_s", "step": "step_s", "memory": "memory"}
OTHER_MODEL = 1.5
"""How many times the parameters a model has that is not the spec's; 124M and 137M are both said of GPT-2."""

COUNTED = ("parameters", "steps", "batch", "runs", "epochs", "sequence")


def chains_of(runs: Sequence[Run]) -> tuple[tuple[str, ...], ...]:
    """The runs that belong to one point and seed, in the order of their stages; none where there are no stages."""
    chains: dict[tuple[object, ...], list[str]] = {}
    for run in runs:
        if run.stage is not None:
            chains.setdefault((*sorted(run.point.items()), run.seed), []).append(run.name)
    return tuple(map(tuple, chains.values()))


def against(claims: Iterable[Claim], planned: Planned) -> Iterator[Finding]:
    """Each claim that the estimates for its device do not bear out."""
    claims = tuple(claims)
    at_once = max((claim.high for claim in claims if claim.quantity in ("gpus", "workers")), default=1.0)
    for claim in claims:
        if claim.quantity in FIGURES:
            if not _is_of_another_batch(claim, claims, planned):
                yield from _figure(claim, planned, at_once)
        elif claim.quantity == "disk":
            yield from _disk(claim, planned)
        elif claim.quantity == "cost" and planned.cost_usd is not None:
            yield from _off(claim, _Read(planned.cost_usd, "for all runs"), planned)
    yield from _counts(claims, planned)


def _figure(claim: Claim, planned: Planned, at_once: float) -> Iterator[Finding]:
    """By what it is nearest to, of all that it may mean; what was before, and another model, are not planned."""
    if claim.about.variant == "before" or _is_of_another_model(claim, planned):
        return
    gpus = _gpus_meant(claim, planned)
    figures = [_of(claim.quantity, estimate) for gpu in gpus for estimate in planned.estimates[gpu]]
    if not figures:
        return
    where = f"on {gpus[0]}" if len(gpus) == 1 else f"on any of {', '.join(gpus)}"
    meant = [_Read(_widest(figures), where)]
    if claim.quantity == "run":
        meant += _whole(planned, gpus[0], at_once)
    if not any(gap(read.figure.p10, read.figure.p90, claim) <= 1 for read in meant):
        yield from _off(claim, meant[-1], planned)


def _gpus_meant(claim: Claim, planned: Planned) -> list[str]:
    """The GPU that it names, or the only one that there are estimates for.

    Memory that names none is meant of any: it hardly differs between them.
    """
    if claim.about.device is None:
        is_any = claim.quantity == "memory" or len(planned.estimates) == 1
        return list(planned.estimates) if is_any else []
    return [gpu for gpu in planned.estimates if same_device(gpu, claim.about.device)][:1]


def _is_of_another_model(claim: Claim, planned: Planned) -> bool:
    """Whether it names a model of another size than the spec's."""
    stated = parameters_of(claim.about.model or "")
    counted = planned.counts.get("parameters", frozenset())
    return bool(stated and counted) and all(max(stated / one, one / stated) > OTHER_MODEL for one in counted)


def _is_of_another_batch(claim: Claim, claims: Sequence[Claim], planned: Planned) -> bool:
    """Whether a batch stands beside it that the spec does not have."""
    counted = planned.counts.get("batch", frozenset())
    beside = [one.middle for one in claims if one.quantity == "batch" and one.line and one.place == claim.place]
    return bool(beside and counted) and counted.isdisjoint(beside)


def _whole(planned: Planned, gpu: str, at_once: float) -> list[_Read]:
    """All waves of a point: one after another at the most, as many at once as there are GPUs at the least."""
    of_run = {estimate.run: estimate.duration_s for estimate in planned.estimates[gpu]}
    sums = [_sum([of_run[name] for name in chain if name in of_run]) for chain in planned.chains if len(chain) > 1]
    if not sums:
        return []
    whole = _widest(sums)
    waves = len(planned.chains[0])
    because = f"{waves} waves one after another{_shared(at_once)}; {whole.because}"
    whole = whole.model_copy(update={"p10": whole.p10 / max(1.0, at_once), "because": because})
    return [_Read(whole, f"for all {waves} waves on {gpu}")]


def _shared(at_once: float) -> str:
    return f", or up to {at_once:.0f} at once" if at_once > 1 else ""


def _sum(figures: Sequence[Quantity]) -> Quantity:
    """Of figures that are off together, as those of one program are."""
    longest = max(figures, key=lambda figure: figure.p50)
    ends = {name: sum(getattr(figure, name) for figure in figures) for name in ("p10", "p50", "p90")}
    return longest.model_copy(update=ends)


def _of(quantity: str, estimate: Estimate) -> Quantity:
    if quantity == "memory":
        return estimate.memory.device_bytes
    return estimate.duration_s if quantity == "run" else estimate.step_s


def _widest(figures: list[Quantity]) -> Quantity:
    """One interval around those of all runs."""
    middle = sorted(figures, key=lambda figure: figure.p50)[len(figures) // 2]
    low, high = min(figure.p10 for figure in figures), max(figure.p90 for figure in figures)
    return middle.model_copy(update={"p10": low, "p90": high})


def _off(claim: Claim, read: _Read, planned: Planned) -> Iterator[Finding]:
    figure = read.figure
    if gap(figure.p10, figure.p90, claim) <= 1:
        return
    unit = VOCABULARY[claim.quantity].unit
    off = gap(figure.p50, figure.p50, claim)
    estimated = spoken(figure.p50, unit)
    interval = span(figure.p10, figure.p90, lambda value: spoken(value, unit))
    yield contradiction(
        "claim-estimate",
        message=f"{claim.quantity} {claim.text}, but {planned.name} is estimated at {estimated} {read.where}, "
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
