"""Memory from what was measured of the same program. It never carries a peak over by its ratio alone.

Between sizes the *difference* of measured and predicted is carried over: most of it (libraries, data, context) does
not grow with the batch, so that a factor would be wrong at every other size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.estimate.answers import Width, around
from gpuplan.estimate.peaks import Peaks, device_from, predicted, reserved_from
from gpuplan.estimate.scaling import Point, affine, differs_in_batch_only
from gpuplan.model import Quantity
from gpuplan.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.estimate.case import Case
    from gpuplan.estimate.evidence import Clue, Clues

__all__ = ["remembered"]

Metric = Literal["allocated", "reserved", "device"]
METRICS: tuple[Metric, ...] = ("allocated", "reserved", "device")

AGAIN = {"allocated": Width(0.99, 1.02), "reserved": Width(0.97, 1.06), "device": Width(0.96, 1.08)}
"""The same run again: allocated repeats to the MiB, reserved varies by 1.3 % in the median (memory.md, 40 records)."""
CARRIED_OVER = Width(0.90, 1.15)
"""A residual carried over to another size: what the prediction lacks grows with it in part."""
ON_A_LINE = Width(0.90, 1.20)
"""Peaks of one moment of the step are linear in the batch; another moment may overtake (trace.md)."""


class _Step(NamedTuple):
    """One clue with its measured number and how far its size is from the run's."""

    clue: Clue
    measured: float
    distance: float


def remembered(case: Case, clues: Clues, prediction: Peaks | None) -> Peaks | None:
    """The peaks with each measured number in its place, the others from those or the prediction; None without any."""
    found: dict[Metric, Quantity | None] = {
        metric: _again(clues.same, metric)
        or _carried_over(clues, prediction, metric)
        or _on_a_line(case, clues, metric)
        for metric in METRICS
    }
    largest = found["device"] or found["reserved"] or found["allocated"]
    if largest is None:
        return None
    tensors = prediction.allocated if prediction else largest.model_copy(update={"p10": 0.0})
    allocated = found["allocated"] or tensors
    reserved = found["reserved"] or reserved_from(allocated, case.gpu)
    device = found["device"] or device_from(reserved, case)
    return Peaks(allocated, reserved, device, device)


def _again(clues: Sequence[Clue], metric: Metric) -> Quantity | None:
    """The largest that was measured: a peak that was seen once can be seen again."""
    measured = [value for value in (_measured(clue, metric) for clue in clues) if value]
    if not measured:
        return None
    because = f"measured: {format_bytes(max(measured))} {metric}, the most of {len(measured)}"
    return around(float(max(measured)), AGAIN[metric], source="measured", because=because)


def _carried_over(clues: Clues, prediction: Peaks | None, metric: Metric) -> Quantity | None:
    if prediction is None:
        return None
    now = getattr(prediction, metric).p50
    steps = [_step(clue, metric, now=now) for clue in (*clues.near, *clues.elsewhere)]
    usable = [step for step in steps if step and _holds_here(step.clue, metric)]
    if not usable:
        return None
    nearest = min(usable, key=lambda step: step.distance)
    before = predicted(nearest.clue.case)
    residual = nearest.measured - (getattr(before, metric).p50 if before else now)
    value = max(now + residual, min(now, nearest.measured))
    because = (
        f"scaled: {format_bytes(now)} predicted, and {_signed(residual)} as measured in {nearest.clue.evidence.run} "
        f"({', '.join(nearest.clue.differs) or nearest.clue.evidence.gpu} differ)"
    )
    return around(value, CARRIED_OVER, source="scaled", because=because)


def _holds_here(clue: Clue, metric: Metric) -> bool:
    """Whether the number does not depend on the device: tensors never do, nor does a process on another CPU."""
    return metric == "allocated" or clue.relation != "elsewhere" or clue.case.gpu.kind == "cpu"


def _step(clue: Clue, metric: Metric, *, now: float) -> _Step | None:
    measured = _measured(clue, metric)
    then = predicted(clue.case) if measured and clue.case.rows else None
    if not measured or then is None:
        return None
    return _Step(clue, float(measured), abs(now - getattr(then, metric).p50))


def _on_a_line(case: Case, clues: Clues, metric: Metric) -> Quantity | None:
    """Without a footprint: the line through two measured batches, else something between equal and in proportion."""
    alike = [clue for clue in clues.near if _measured(clue, metric)]
    if not alike:
        return None
    batches = [clue for clue in alike if differs_in_batch_only(clue, case) and clue.case.rows]
    points = [Point(float(clue.case.rows or 0), float(_measured(clue, metric) or 0)) for clue in batches]
    value = affine(points, float(case.rows)) if case.rows else None
    if value is not None:
        because = f"scaled: a line through {len(points)} measured batches"
        return around(value, ON_A_LINE, source="scaled", because=because)
    return _in_proportion(case, alike[0], float(_measured(alike[0], metric) or 0))


def _in_proportion(case: Case, clue: Clue, measured: float) -> Quantity:
    known = bool(case.rows and clue.case.rows)
    factor = (case.rows or 1) / (clue.case.rows or 1) if known else 2.0
    low, high = sorted((measured, measured * factor))
    text = f"{format_bytes(measured)} in {clue.evidence.run}, at another size: between equal and in proportion"
    middle = (low + high) / 2
    return Quantity(p10=low * 0.9, p50=middle, p90=high * 1.1, source="scaled", because=f"scaled: {text}")


def _measured(clue: Clue, metric: Metric) -> int | None:
    measurement = clue.evidence.measurement
    if clue.case.gpu.kind == "cpu":
        return measurement.peak_host_bytes if metric == "device" else None
    return {
        "allocated": measurement.peak_allocated_bytes,
        "reserved": measurement.peak_reserved_bytes,
        "device": measurement.peak_device_bytes,
    }[metric]


def _signed(size_bytes: float) -> str:
    return f"{'+' if size_bytes >= 0 else '-'}{format_bytes(abs(size_bytes))}"
