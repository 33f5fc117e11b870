"""One row of measured memory, predicted by the product's own estimate. It never looks at the measured value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memory_score import Answer

from gpuplan.estimate.allocator import FITTED
from gpuplan.estimate.published import confidence_in, published_peaks
from gpuplan.footprint.training import Workload
from gpuplan.units import GIB

if TYPE_CHECKING:
    from memory_rows import Row

    from gpuplan.estimate.allocator import Fitted
    from gpuplan.footprint.convolution import ImageWorkload
    from gpuplan.footprint.perceptron import Perceptron

__all__ = ["answer"]


def answer(row: Row, *, fitted: Fitted = FITTED) -> Answer:
    """What is predicted for `row`, or why nothing is."""
    if row.work is None:
        return _answer(row, reason=row.reason)
    try:
        return _predicted(row, row.work, fitted)
    except (ValueError, ArithmeticError) as error:
        return _answer(row, reason=f"its numbers are beyond any model's: {error!r}"[:200])


def _predicted(row: Row, work: Workload | Perceptron | ImageWorkload, fitted: Fitted) -> Answer:
    gpu = row.gpu
    if gpu is not None and row.capacity_bytes:
        gpu = gpu.model_copy(update={"memory_bytes": int(row.capacity_bytes)})
    recipe = work.recipe if isinstance(work, Workload) else None
    confidence = confidence_in(row.assumed, recipe, origin=row.origin, without=fitted.without)
    peaks = published_peaks(work, row.batch, gpu=gpu, torch=row.torch, confidence=confidence, fitted=fitted)
    quantity = {"allocated": peaks.allocated, "reserved": peaks.reserved, "device": peaks.device}[row.metric]
    quantity = quantity.times(row.ranks_summed)
    reason = quantity.because + (f"; assumed: {', '.join(row.assumed)}" if row.assumed else "")
    return _answer(
        row, p10=quantity.p10 / GIB, p50=quantity.p50 / GIB, p90=quantity.p90 / GIB, oom=peaks.oom, reason=reason
    )


def _answer(
    row: Row,
    *,
    reason: str,
    p10: float | None = None,
    p50: float | None = None,
    p90: float | None = None,
    oom: float | None = None,
) -> Answer:
    return Answer(
        id=row.id,
        group=row.group,
        tier=row.tier,
        metric=row.metric,
        family=row.family,
        how="none" if p50 is None else "closed form",
        measured_gib=row.measured_bytes / GIB if row.measured_bytes else None,
        p10_gib=p10,
        p50_gib=p50,
        p90_gib=p90,
        oom=oom,
        label=row.label,
        sharded=isinstance(row.work, Workload) and row.work.recipe.world > 1,
        reason=reason,
        excluded=row.excluded,
    )
