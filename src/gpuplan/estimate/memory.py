"""Peak memory of one rank: allocated, reserved and on the device, and whether that fits. It never mixes the three.

On a CPU the device's number is the resident set of the rank's process: what Python with torch holds before the
first tensor, the tensors, and what the C library's allocator keeps beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.estimate.answers import Assumption, at_most
from gpuplan.estimate.peaks import Peaks, capacity_bytes, context_of, predicted
from gpuplan.estimate.remembered import remembered
from gpuplan.footprint import Unknown
from gpuplan.model import MemoryEstimate, Quantity
from gpuplan.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clues
    from gpuplan.model import Footprint

__all__ = ["TIGHT_SHARE", "MemoryAnswer", "memory"]

TIGHT_SHARE = 0.92
"""Of the capacity: a run whose 90th percentile is above it is called tight (trace.md's margin for "fits")."""


class MemoryAnswer(NamedTuple):
    """The estimate and what was taken for granted to get it."""

    estimate: MemoryEstimate
    assumptions: tuple[Assumption, ...]


def memory(case: Case, clues: Clues) -> MemoryAnswer:
    """Peak memory of one rank of `case`; whether all copies of the run fit on the device together."""
    prediction = predicted(case)
    peaks = _ordered(remembered(case, clues, prediction) or prediction or _nothing_known(case))
    capacity = capacity_bytes(case)
    estimate = MemoryEstimate(
        allocated_bytes=peaks.allocated,
        reserved_bytes=peaks.reserved,
        device_bytes=peaks.device,
        components_bytes=_components(case, peaks),
        capacity_bytes=capacity,
        fits=_fits(case, peaks.device, capacity),
    )
    return MemoryAnswer(estimate, tuple(_assumptions(case, peaks)))


def _fits(case: Case, device: Quantity, capacity: int) -> Literal["OK", "TIGHT", "NO FIT", "UNKNOWN"]:
    if device.source == "assumed":
        return "UNKNOWN"
    if device.p50 * case.run.copies > capacity:
        return "NO FIT"
    if case.rows is None and device.source != "measured":
        return "UNKNOWN"  # computed for one row, the least that it can be
    return "TIGHT" if device.p90 * case.run.copies > TIGHT_SHARE * capacity else "OK"


def _ordered(peaks: Peaks) -> Peaks:
    """Tensors are part of what is reserved, and that of what the device shows, wherever each number comes from."""
    reserved = at_most(peaks.reserved, peaks.device)
    return Peaks(at_most(peaks.allocated, reserved), reserved, peaks.device)


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
    return Peaks(tensors, tensors, device)


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
    if case.run.ranks > 1:
        text = "ranks are assumed to run under DDP, with its copy of the gradients"
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
