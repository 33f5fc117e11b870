"""What one run means on one GPU: memory, step time, duration, disk. It always answers and never measures.

The strongest source counts for each figure and the weaker ones fill in: measured here, scaled from a measurement,
traced, closed form, assumed. Each figure says which it was, and each assumption says what replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.estimate.case import case_of
from gpuplan.estimate.disk import disk
from gpuplan.estimate.duration import duration
from gpuplan.estimate.evidence import clues_of
from gpuplan.estimate.memory import memory
from gpuplan.estimate.pace import bound_of, mfu_of, throughput
from gpuplan.estimate.roofline import step_seconds
from gpuplan.estimate.time import step_time
from gpuplan.model import Estimate

if TYPE_CHECKING:
    from gpuplan.model import Experiment, Gpu, Run, World

__all__ = ["estimate"]


def estimate(run: Run, experiment: Experiment, gpu: Gpu, world: World) -> Estimate:
    """The estimate of `run` on `gpu`, from what `world` holds; equal inputs give equal answers."""
    case = case_of(run, experiment, gpu=gpu, world=world)
    clues = clues_of(case)
    peak = memory(case, clues)
    step = step_time(case, clues)
    whole = duration(case, clues, step_s=step.quantity)
    space = disk(case, clues, training_s=step.quantity.p50 * (case.steps or 0))
    roofline, pace = step_seconds(case), throughput(case, step.quantity.p50)
    assumptions = (*peak.assumptions, *step.assumptions, *whole.assumptions, *space.assumptions)
    return Estimate(
        run=run.name,
        gpu=gpu.name,
        memory=peak.estimate,
        step_s=step.quantity,
        steps=case.steps,
        duration_s=whole.quantity,
        disk_bytes=space.quantity,
        assumptions=tuple(dict.fromkeys(assumptions)),
        throughput_samples_per_s=pace.samples_per_s if pace else None,
        throughput_tokens_per_s=pace.tokens_per_s if pace else None,
        bound=bound_of(case, roofline, waits=step.waits),
        utilization=step.utilization,
        mfu=mfu_of(case, roofline, step.quantity.p50),
    )
