"""What changes in a step's footprint when gradients are accumulated or shared among ranks. It changes no operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.footprint.declared import SHARDED
from gpuplan.model import Line

if TYPE_CHECKING:
    from gpuplan.model import Component, Footprint, Moment

__all__ = ["in_gang"]


def in_gang(footprint: Footprint, *, ranks: int = 1, accumulation: int = 1) -> Footprint:
    """The footprint of one rank of `ranks`, whose steps are made of `accumulation` micro-batches.

    Accumulated gradients outlive each backward pass; DDP copies all gradients into buckets of the same size, which a
    footprint that was traced as one of several ranks has in it.
    """
    copied = ranks > 1 and footprint.world_size == 1 and SHARDED not in footprint.versions
    if not copied and accumulation == 1:
        return footprint
    kept = float(footprint.gradient_bytes) if accumulation > 1 else 0.0
    buckets = float(footprint.gradient_bytes) if copied else 0.0
    moments = tuple(_with(moment, gradients_bytes=kept, bucket_bytes=buckets) for moment in footprint.moments)
    return footprint.model_copy(update={"moments": moments})


def _with(moment: Moment, *, gradients_bytes: float, bucket_bytes: float) -> Moment:
    gradients = moment.alive_bytes.get("gradients", Line())
    buffers = moment.alive_bytes.get("buffers", Line())
    changed: dict[Component, Line] = {
        "gradients": Line(intercept=max(gradients.intercept, gradients_bytes), slope=gradients.slope),
        "buffers": Line(intercept=buffers.intercept + bucket_bytes, slope=buffers.slope),
    }
    return moment.model_copy(update={"alive_bytes": moment.alive_bytes | changed})
