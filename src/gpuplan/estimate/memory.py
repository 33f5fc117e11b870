"""Peak memory of one rank: allocated, reserved and on the device, and whether that fits. It never mixes the three.

On a CPU the device's number is the resident set of the rank's process: what Python with torch holds before the
first tensor, the tensors, and what the C library's allocator keeps beside them.

Whether it fits follows from the probability that all copies of the run together need more than the device has: NO FIT
from one half on, TIGHT from one in twenty on, or where the step fits only once the allocator has given its free blocks
back; UNKNOWN where nothing says what a step needs, or how large its batch is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.estimate.answers import Assumption, at_most, exceeds
from gpuplan.estimate.peaks import Peaks, capacity_bytes, context_of, predicted, usable_bytes
from gpuplan.estimate.remembered import remembered
from gpuplan.footprint import Unknown
from gpuplan.footprint.declared import SHARDED
from gpuplan.model import MemoryEstimate, Quantity
from gpuplan.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clues
    from gpuplan.model import Footprint

__all__ = ["NO_FIT_FROM", "TIGHT_FROM", "MemoryAnswer", "judged", "memory"]

NO_FIT_FROM = 0.5
TIGHT_FROM = 0.05
"""Probabilities of OOM. One run in twenty that dies costs more than the few percent of a card that would have saved
it; with the widths of a closed form (p90 at 1.3) p50 has to stay below 0.7 of the card, of a trace (1.1) below 0.86."""


class MemoryAnswer(NamedTuple):
    """The estimate and what was taken for granted to get it."""

    estimate: MemoryEstimate
    assumptions: tuple[Assumption, ...]


def memory(case: Case, clues: Clues) -> MemoryAnswer:
    """Peak memory of one rank of `case`; whether all copies of the run fit on the device together."""
    prediction = predicted(case)
    peaks = remembered(case, clues, prediction) or prediction or _nothing_known(case)
    return MemoryAnswer(judged(case, peaks), tuple(_assumptions(case, peaks)))


def judged(case: Case, peaks: Peaks) -> MemoryEstimate:
    """The peaks of one rank of `case` as an estimate: their parts, and whether all copies fit on the device."""
    peaks = _ordered(peaks)
    fit = _fit(case, peaks)
    return MemoryEstimate(
        allocated_bytes=peaks.allocated,
        reserved_bytes=peaks.reserved,
        device_bytes=peaks.device,
        components_bytes=_components(case, peaks),
        capacity_bytes=capacity_bytes(case),
        fits=fit.verdict,
        oom_probability=fit.oom_probability,
    )


class _Fit(NamedTuple):
    verdict: Literal["OK", "TIGHT", "NO FIT", "UNKNOWN"]
    oom_probability: float | None


def _fit(case: Case, peaks: Peaks) -> _Fit:
    if peaks.device.source == "assumed":
        return _Fit("UNKNOWN", None)
    usable = usable_bytes(case)
    oom = exceeds(peaks.least.times(case.run.copies), usable)
    if oom >= NO_FIT_FROM:
        return _Fit("NO FIT", oom)
    if case.rows is None and peaks.device.source != "measured":
        return _Fit("UNKNOWN", None)  # computed for one row, the least that it can be
    crowded = peaks.device.p50 * case.run.copies > usable
    return _Fit("TIGHT" if oom >= TIGHT_FROM or crowded else "OK", oom)


def _ordered(peaks: Peaks) -> Peaks:
    """Tensors are part of what is reserved, and that of what the device shows, wherever each number comes from."""
    reserved = at_most(peaks.reserved, peaks.device)
    return Peaks(at_most(peaks.allocated, reserved), reserved, peaks.device, at_most(peaks.least, peaks.device))


def _components(case: Case, peaks: Peaks) -> dict[str, float]:
    """What the device's number is made of at the peak; it adds up to its p50."""
    beside = peaks.device.p50 - peaks.allocated.p50
    context = min(beside, float(context_of(case.gpu).p50))
    outside = {"context": context, "allocator": beside - context}
    if case.known is None:
        return {"unknown": peaks.allocated.p50, **outside}
    rows = case.rows or 1
    moment = case.known.peak(rows)
    whole = moment.total_bytes(rows)
    share = peaks.allocated.p50 / whole if whole else 0.0
    return {**{name: line.at(rows) * share for name, line in moment.alive_bytes.items()}, **outside}


def _nothing_known(case: Case) -> Peaks:
    why = case.footprint.reason if isinstance(case.footprint, Unknown) else "nothing says"
    capacity = float(capacity_bytes(case))
    context = min(float(context_of(case.gpu).p50), capacity / 2)
    because = f"assumed: anything up to the capacity of {format_bytes(capacity)}, as nothing is measured and {why}"
    device = Quantity(p10=context, p50=capacity / 2, p90=capacity, source="assumed", because=because)
    tensors = Quantity(p10=0.0, p50=capacity / 2 - context, p90=capacity - context, source="assumed", because=because)
    return Peaks(tensors, tensors, device, device)


def _assumptions(case: Case, peaks: Peaks) -> Iterator[Assumption]:
    if peaks.device.source == "measured":
        return
    if isinstance(case.footprint, Unknown):
        yield Assumption(text=f"memory has no footprint: {case.footprint.reason}", change=case.footprint.add)
    else:
        yield from _of_footprint(case, case.footprint)
    if case.gpu.context_bytes is None:
        context = format_bytes(context_of(case.gpu).p50)
        text = f"{context} on {case.gpu.name} before the first tensor is assumed"
        yield Assumption(text=text, change="`gpuplan probe` measures it")
    if case.run.ranks > 1 and case.known is not None and SHARDED not in case.known.versions:
        text = "ranks are assumed to run under DDP, with its copy of the gradients and NCCL's buffers"
        yield Assumption(text=text, change="`gpuplan probe --all-ranks` measures it")


def _of_footprint(case: Case, footprint: Footprint) -> Iterator[Assumption]:
    if footprint.source == "closed_form":
        text = "memory is computed from the model's dimensions, for PyTorch's usual kernels (see `because`)"
        yield Assumption(text=text, change="`gpuplan trace` or `gpuplan probe`")
    if footprint.source == "closed_form" and case.shape.precision is None:
        yield Assumption(text="precision fp32 is assumed", change="`roles.precision`")
    if case.rows is None:
        text = "no role says how large a batch is: memory is that of one row, the least it can be"
        yield Assumption(text=text, change="`roles.micro_batch` or `roles.batch`")
    if not case.run.train:
        yield Assumption(text="an evaluation is taken to need what a training step does, the most it can")
