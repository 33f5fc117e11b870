"""Check of the memory: estimates that fit nowhere, fit tightly or are unknown. It never estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate.remedies import remedies
from gpuplan.units import format_bytes, format_range
from gpuplan.verify.case import role_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Estimate, Experiment, Finding, Run
    from gpuplan.verify.case import Case

__all__ = ["memory_fits"]

BEST_FIRST = ("OK", "TIGHT", "UNKNOWN", "NO FIT")
GROWS_WITH_BATCH = frozenset({"activations", "logits", "temporaries", "inputs"})


class Fit(NamedTuple):
    """One verdict, with the figures that it stands on."""

    fits: str
    gpu: str
    figures: str
    component: str
    component_size: str
    because: str


def memory_fits(case: Case) -> Iterator[Finding]:
    """The best verdict that each run has on any GPU, unless it is OK."""
    found: dict[Fit, list[Run]] = {}
    for run in case.todo:
        estimates = case.estimates.get(run.name)
        best = _best(estimates) if estimates else None
        if best is not None and best.memory.fits != "OK":
            found.setdefault(_fit(best, run), []).append(run)
    for fit in sorted(found, key=lambda fit: -BEST_FIRST.index(fit.fits)):
        yield _finding(case, fit, found[fit])


def _best(estimates: tuple[Estimate, ...]) -> Estimate:
    return min(estimates, key=lambda one: (BEST_FIRST.index(one.memory.fits), -one.memory.capacity_bytes))


def _fit(estimate: Estimate, run: Run) -> Fit:
    memory = estimate.memory
    component, size_bytes = max(memory.components_bytes.items(), key=lambda item: item[1], default=("", 0.0))
    return Fit(
        fits=memory.fits,
        gpu=estimate.gpu,
        figures="" if memory.fits == "UNKNOWN" else _figures(estimate, run),
        component=component,
        component_size=format_bytes(size_bytes),
        because=memory.device_bytes.because,
    )


def _figures(estimate: Estimate, run: Run) -> str:
    """`8 copies x 60.8 GiB (55-67) = 486 GiB of 268 GiB on B300`; with ranks how many devices, and all of them."""
    need, capacity_bytes = estimate.memory.device_bytes, estimate.memory.capacity_bytes
    each = format_range(*(format_bytes(value) for value in (need.p10, need.p50, need.p90)))
    on_one_bytes = need.p50 * run.copies
    if run.copies > 1:
        each = f"{run.copies:,} copies x {each} = {format_bytes(on_one_bytes)}"
    figures = f"{each} of {format_bytes(capacity_bytes)} on {estimate.gpu}"
    if run.ranks == 1:
        return figures
    in_all = f"{format_bytes(on_one_bytes * run.ranks)} of {format_bytes(capacity_bytes * run.ranks)} in all"
    return f"{figures} for each of {run.ranks:,} ranks, {in_all}"


def _finding(case: Case, fit: Fit, runs: list[Run]) -> Finding:
    largest = f"; the largest part is {fit.component}, {fit.component_size}" if fit.component else ""
    because = f"{fit.because}{largest}"
    at = role_at(case.experiment, "micro_batch", "batch", "sequence")
    remedy = _estimated_remedy(case, fit, runs[0]) or _remedy(case.experiment, fit.component)
    if fit.fits == "NO FIT":
        message = f"does not fit on any device: {fit.figures}"
        return case.finding("error", "memory", message=message, because=because, fix=remedy, at=at, runs=runs)
    if fit.fits == "TIGHT":
        message = f"fits only tightly: {fit.figures}"
        return case.finding("warning", "memory-tight", message=message, because=because, fix=remedy, at=at, runs=runs)
    return case.finding(
        "note",
        "memory-unknown",
        message=f"whether it fits on {fit.gpu} is not known",
        because=because,
        fix='`gpuplan probe` measures it; or `footprint: {trace: "module:function"}`',
        at="footprint",
        runs=runs,
    )


def _estimated_remedy(case: Case, fit: Fit, run: Run) -> str:
    """The one that hurts least of those that make `run` fit there; empty where none of them could be estimated."""
    gpu = case.world.gpus.get(fit.gpu)
    ladder = remedies(run, case.experiment, gpu, world=case.world) if gpu and fit.fits != "UNKNOWN" else None
    first = ladder.first if ladder else None
    if first is None or first.memory is None:
        return ""
    count = f"{run.copies:,} x " if run.copies > 1 else ""
    then = f"{count}{format_bytes(first.memory.device_bytes.p50)}"
    time = f", {first.step_ratio:.2f}x the step time" if first.step_ratio else ""
    return f"{first.name}: {first.change} ({then} then{time}); `gpuplan fit` has the others"


def _remedy(experiment: Experiment, component: str) -> str:
    """What makes the largest component smaller."""
    role = experiment.roles.micro_batch or experiment.roles.batch
    batch = f"`{role}`" if isinstance(role, str) else "the micro-batch"
    if component in GROWS_WITH_BATCH or not component:
        return f"lower {batch} (with gradient accumulation the samples of a step stay the same), or a shorter sequence"
    if component == "optimizer":
        return "an optimizer with less state, weights that are not trained (LoRA), or a GPU with more memory"
    return "fewer or narrower layers, bf16 weights, or a GPU with more memory"
